"""Moments in targets: ``{today:%Y-%m-%d}``, ``{last_success}`` and what else is known by name.

A target's identity is its text with these places in it; what they hold is filled in for each pull.
Values are percent-encoded where they stand, so a template may be a URL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from urllib.parse import quote

from crawler.errors import UsageError

UTC_ZONE: Final[tzinfo] = UTC
PLACES: Final = ("today", "yesterday", "now", "last_success", "cursor")
_DATE: Final = "%Y-%m-%d"
_MOMENT: Final = "%Y-%m-%dT%H:%M:%SZ"
_FORMATS: Final = {"today": _DATE, "yesterday": _DATE, "now": _MOMENT, "last_success": _MOMENT}
_PLACE: Final = re.compile(r"\{(" + "|".join(PLACES) + r")(?::([^{}]*))?\}")


def has_places(text: str) -> bool:
    """Tell whether there is anything to fill in."""
    return _PLACE.search(text) is not None


def names_cursor(text: str) -> bool:
    """Tell whether the text says where the cursor goes."""
    return any(match[1] == "cursor" for match in _PLACE.finditer(text))


def protected(template: str) -> str:
    """Double the braces of our places, so that a template of columns leaves them as they are."""
    return _PLACE.sub(lambda match: "{" + match[0] + "}", template)


def moments_at(now: datetime, zone: tzinfo) -> Mapping[str, datetime]:
    """Give the named moments of a pull: days are those of ``zone``, ``now`` is UTC."""
    local = now.astimezone(zone)
    return {
        "today": local,
        # Wall-clock arithmetic: a day of 23 or 25 hours has a yesterday too.
        "yesterday": local.replace(tzinfo=None) - timedelta(days=1),
        "now": now.astimezone(UTC),
    }


def filled(text: str, moments: Mapping[str, datetime], cursor: str | None) -> str:
    """Fill all places; ``cursor`` None leaves nothing where it would stand."""

    def value(match: re.Match[str]) -> str:
        name, form = match[1], match[2]
        if name == "cursor":
            return quote(cursor or "", safe="")
        return quote(moments[name].strftime(form or _FORMATS[name]), safe="")

    return _PLACE.sub(value, text)


def read_moment(text: str, zone: tzinfo) -> datetime:
    """Read an ISO 8601 date or time, of ``zone`` where it names none; raises ``UsageError``."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"[targets] start: {text!r} is no time; give one as 2026-01-31 or 2026-01-31T12:00Z"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
