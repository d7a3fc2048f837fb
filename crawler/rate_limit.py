"""What a server says of its rate limit, read as "for how long to send nothing more".

``RateLimit`` of draft-ietf-httpapi-ratelimit-headers (``"default";r=0;t=30``, as structured field),
the older ``RateLimit-Remaining`` and ``RateLimit-Reset`` of the same draft, and ``X-RateLimit-…``
as GitHub and others have it, whose reset may be a moment (seconds since 1970) in place of a time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

MOST_S: Final = 300.0
"""Longer pauses are not kept: a server's mistake must not end a run."""

_PARAMETER: Final = re.compile(r";\s*([rt])\s*=\s*(\d{1,12})(?![\d.])")
_MOMENTS_FROM_S: Final = 1_000_000_000
"""A reset as large as this is a moment and no time."""


def pause_asked_s(header: Callable[[str], str | None]) -> float | None:
    """Seconds for which nothing may be sent; None where the server says no such thing.

    ``header`` gives a field's value by its name in lower case.
    """
    policy = header("ratelimit")
    if policy is not None and ";" in policy:
        return _of_items(policy)
    for prefix in ("ratelimit", "x-ratelimit", "x-rate-limit"):
        remaining, reset = header(f"{prefix}-remaining"), header(f"{prefix}-reset")
        if remaining is not None and reset is not None:
            return _of_pair(remaining.strip(), reset.strip())
    return None


def _of_items(policy: str) -> float | None:
    """Give the longest time of the list's items that have nothing left."""
    pauses_s = [
        float(found["t"])
        for item in policy.split(",")
        if (found := dict(_PARAMETER.findall(item))).get("r", "1").strip("0") == "" and "t" in found
    ]
    return min(max(pauses_s), MOST_S) if pauses_s else None


def _of_pair(remaining: str, reset: str) -> float | None:
    if not remaining.isascii() or not remaining.isdigit() or int(remaining[:12]) > 0:
        return None
    if not reset.isascii() or not reset.isdigit():
        return None
    seconds = float(reset[:12])
    if seconds >= _MOMENTS_FROM_S:
        seconds -= time.time()
    return min(max(0.0, seconds), MOST_S)
