"""Figures of a document as cells of a page's tables: read in one unit, kept exact beside it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from crawler.report.markup import MISSING, Cell
from crawler.report.units import (
    UNSUPPORTED,
    TimeScale,
    count_text,
    rate_text,
    size_text,
    time_scales,
    wall_text,
)

_LONG: Final = 1000
"""From here on, of whatever unit, a figure that stands alone needs no decimals."""


def scale_of(median_ms: float | None) -> TimeScale:
    """The unit in which a page's durations read best."""
    return time_scales(1.0 if median_ms is None else median_ms)[0]


def duration(scale: TimeScale, ms: float | None) -> Cell:
    """A duration without its unit, for a table that tells it once."""
    return Cell(MISSING) if ms is None else Cell(scale.cell(ms), ms)


def hinted(scale: TimeScale, ms: float | None, *, supported: bool) -> Cell:
    """A percentile, marked where its sample cannot support it."""
    cell = duration(scale, ms)
    if supported or ms is None:
        return cell
    return cell._replace(text=UNSUPPORTED + cell.text, style="hint")


def phrase(scale: TimeScale, ms: float | None) -> Cell:
    """A duration with its unit, to stand alone."""
    if ms is None:
        return Cell(MISSING)
    long = ms * scale.per_ms >= _LONG
    return Cell((scale._replace(decimals=0) if long else scale).phrase(ms), ms)


def count(value: float | None) -> Cell:
    """A whole number."""
    return Cell(MISSING) if value is None else Cell(count_text(value), value)


def rate(per_s: float | None) -> Cell:
    """Requests a second."""
    return Cell(MISSING) if per_s is None else Cell(rate_text(per_s), per_s)


def share(value: float | None, *, style: str = "") -> Cell:
    """A fraction as a percentage."""
    return Cell(MISSING) if value is None else Cell(f"{100 * value:.3g} %", value, style)


def failed_share(value: float | None) -> Cell:
    """A share that ought to be 0."""
    return share(value, style="bad" if value else "")


def size(value: float) -> Cell:
    """A number of bytes."""
    return Cell(size_text(value), value)


def wall(seconds: float | None) -> Cell:
    """A length of wall-clock time."""
    return Cell(MISSING) if seconds is None else Cell(wall_text(seconds), seconds)


def moment(seconds: float | None) -> Cell:
    """A moment of wall-clock time (seconds of the epoch), in UTC."""
    if seconds is None:
        return Cell(MISSING)
    return Cell(f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}", seconds)


def text(value: str | None) -> Cell:
    """A name or a text, as it is."""
    return Cell(value, value) if value else Cell(MISSING)


def name(value: str, origin: str = "") -> Cell:
    """A name without the ``origin`` that all names have in common."""
    return Cell(value.removeprefix(origin) or value, value)


def status(code: int | None) -> Cell:
    """A status code; none where there was no reply."""
    return Cell(MISSING) if not code else Cell(str(code), code)


def origin_of(names: Iterable[str]) -> str:
    """``scheme://host`` that all names share, to be told once; "" if there is none.

    Names in parentheses, such as ``(other)``, are ours and have none.
    """
    urls = [each for each in names if not each.startswith("(")]
    scheme, mark, rest = urls[0].partition("://") if urls else ("", "", "")
    origin = scheme + mark + rest.partition("/")[0]
    return origin if mark and all(url.startswith(origin + "/") for url in urls) else ""


def listed(*parts: str) -> str:
    """Parts of a caption, those that say something, with dots between."""
    return " · ".join(filter(None, parts))
