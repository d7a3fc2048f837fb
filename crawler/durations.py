"""Durations as a user writes them: ``30``, ``30s``, ``500ms``, ``2m``, ``1.5h``, ``7d``.

A bare number is seconds. Pure, and light enough for a worker.
"""

from __future__ import annotations

import re
from typing import Final

from crawler.errors import UsageError

_PER_SECOND: Final = {"µs": 1_000_000, "μs": 1_000_000, "us": 1_000_000, "ms": 1000}
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

# Digits are bounded so that no text, however long, costs time or overflows.
_DURATION: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s?([µμu]s|ms|s|m|h|d)?")


def duration_s(text: str, option: str) -> float:
    """Seconds of ``30``, ``30s``, ``500ms``, ``250us``, ``2m``, ``1.5h``; raises ``UsageError``."""
    seconds = seconds_of(text)
    if seconds is None:
        raise UsageError(f"{option}: {text!r} is no duration; give one as 30s, 500ms, 2m or 1h")
    return seconds


def seconds_of(text: str) -> float | None:
    """Seconds of a duration, None for what is none."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    number, unit = float(match[1]), match[2] or "s"
    return number / _PER_SECOND[unit] if unit in _PER_SECOND else number * _SECONDS[unit]


def duration_text(seconds: float) -> str:
    """Write a duration as ``duration_s`` reads it: ``250ms``, ``30s``, ``5m``."""
    if seconds < 1:
        return f"{seconds * 1000:.12g}ms"
    if seconds % 60 == 0:
        return f"{seconds / 60:.12g}m"
    return f"{seconds:.12g}s"
