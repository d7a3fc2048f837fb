"""Moments in targets: ``{today:%Y-%m-%d}``, ``{last_success}`` and what else is known by name.

A target's identity is its text with these places in it; what they hold is filled in for each pull.
Values are percent-encoded where they stand, so a template may be a URL.
"""

from __future__ import annotations

import difflib
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
_LIKE_A_PLACE: Final = re.compile(r"\{([A-Za-z_]\w*)[^{}]*\}")
_FORM: Final = re.compile(r"(?:[^%]|%[-_0^#]?[aAbBcCdDeFfgGhHIjklmMnpPrRsStTuUVwWxXyYzZ]|%%)+")
"""What strftime knows: anything else it would leave as it stands."""
_SECONDS: Final = re.compile(r"(?<!%)((?:%%)*)%[-_0^#]?s")


def place_fault(text: str, *, others: bool) -> str:
    """Say what is wrong with a place in a text, "" where nothing is.

    With ``others`` there may be places that are not ours, as in a template of columns.
    """
    for match in _LIKE_A_PLACE.finditer(text):
        before = text[: match.start()]
        if before.count("{") > before.count("}"):  # within braces: GraphQL, say
            continue
        place = _PLACE.fullmatch(match[0])
        if place is not None:
            if place[2] is not None and not _FORM.fullmatch(place[2]):
                return f"{match[0]}: no format of strftime's, as {{today:%Y-%m-%d}} has"
            if place[1] == "cursor" and place[2] is not None:
                return f"{match[0]}: a cursor has no format; write {{cursor}}"
        elif match[1] in PLACES:
            return f"{match[0]}: write {{{match[1]}}}, or with a format as {{today:%Y-%m-%d}}"
        elif not others:
            near = difflib.get_close_matches(match[1], PLACES, 1, 0.5)
            words = f"did you mean {{{near[0]}}}?" if near else f"there are {', '.join(PLACES)}"
            return f"there is no {{{match[1]}}}: {words} (a brace itself is %7B)"
    return ""


def sample(text: str) -> str:
    """Fill all places with something, to see whether what comes of it can be a URL."""
    return _PLACE.sub("0", text)


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
        "yesterday": (local.replace(tzinfo=None) - timedelta(days=1)).replace(tzinfo=zone),
        "now": now.astimezone(UTC),
    }


def filled(text: str, moments: Mapping[str, datetime], cursor: str | None) -> str:
    """Fill all places; ``cursor`` None leaves nothing where it would stand."""

    def value(match: re.Match[str]) -> str:
        name, form = match[1], match[2]
        if name == "cursor":
            return quote(cursor or "", safe="")
        return quote(_formatted(moments[name], form or _FORMATS[name]), safe="")

    return _PLACE.sub(value, text)


def _formatted(moment: datetime, form: str) -> str:
    """Format a moment; strftime itself would give %s (Unix seconds) as if it were local time."""
    return moment.strftime(_SECONDS.sub(rf"\g<1>{int(moment.timestamp())}", form))


def read_moment(text: str, zone: tzinfo) -> datetime:
    """Read an ISO 8601 date or time, of ``zone`` where it names none; raises ``UsageError``."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"[targets] start: {text!r} is no time; give one as 2026-01-31 or 2026-01-31T12:00Z"
        ) from None
