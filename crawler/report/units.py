"""How figures are written: durations in one unit, counts, rates, sizes, for people and programs.

One table has one unit of time, that in which its median reads best, so that figures can be compared
by eye.
"""

from __future__ import annotations

from math import floor, isfinite, isnan, log10
from typing import Final, NamedTuple

UNSUPPORTED: Final = "~"
"""Stands before a percentile that its sample cannot support."""
_SIZES: Final = ("kB", "MB", "GB", "TB")


class TimeScale(NamedTuple):
    """How durations are printed: in ``unit``, of which a millisecond has ``per_ms``."""

    unit: str
    per_ms: float
    decimals: int

    def cell(self, ms: float) -> str:
        """``ms`` with the table's decimals, ``-`` for NaN."""
        return "-" if isnan(ms) else f"{ms * self.per_ms:,.{self.decimals}f}"

    def phrase(self, ms: float) -> str:
        """``ms`` with its unit, however small it is in it."""
        value = ms * self.per_ms
        return f"{value:.2g} {self.unit}" if 0 < value < 1 else f"{self.cell(ms)} {self.unit}"


def time_scales(median_ms: float) -> list[TimeScale]:
    """Scales to try, the one that suits a median (milliseconds) first, the coarsest last."""
    units = [("µs", 1000.0, 0), ("ms", 1.0, 2), ("s", 0.001, 3)]
    if not median_ms < 1:
        del units[0]
    if median_ms >= 1000:
        del units[0]
    if median_ms >= 10_000 or 10 <= median_ms < 1000:
        units[0] = (*units[0][:2], 1 if units[0][0] == "ms" else 2)
    return [
        TimeScale(unit, per_ms, decimals)
        for unit, per_ms, most in units
        for decimals in range(most, -1, -1)
    ]


def finer(scale: TimeScale, least_ms: float) -> TimeScale:
    """``scale`` with the decimals that ``least_ms`` needs for two digits, down to 1 µs."""
    finest = {"µs": 0, "ms": 3, "s": 6}[scale.unit]
    needed = 1 - floor(log10(least_ms * scale.per_ms))
    return scale._replace(decimals=max(scale.decimals, min(needed, finest)))


def count_text(value: float) -> str:
    """A whole number, thousands parted."""
    return f"{value:,.0f}"


def rate_text(per_s: float) -> str:
    """A rate to three digits, ``-`` for NaN."""
    if isnan(per_s):
        return "-"
    return f"{per_s:,.{0 if per_s >= 100 else 1 if per_s >= 10 else 2}f}"


def size_text(count: float) -> str:
    """``count`` bytes to three digits, in SI units: 1 kB is 1,000 B."""
    if count < 1000:
        return f"{count:.0f} B"
    power = 1
    while count >= 999.5 * 1000**power and power < len(_SIZES):
        power += 1
    unit, count = _SIZES[power - 1], count / 1000**power
    return f"{count:,.{0 if count >= 99.95 else 1 if count >= 9.995 else 2}f} {unit}"


def wall_text(seconds: float) -> str:
    """A length of time: ``12.34 s``, ``5 min 07 s``, ``2 h 05 min``."""
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def plain_number(value: object) -> object:
    """``value`` to a nanosecond, of milliseconds; None where it is NaN or infinite."""
    if isinstance(value, float):
        return round(value, 6) if isfinite(value) else None
    return value
