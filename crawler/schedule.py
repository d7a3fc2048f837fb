"""When requests are due: a rate, or a ramp of stages, as a lazy stream of moments.

A schedule is a rate over time, a straight line in each stage. Its integral is the number of
requests due until then: constant arrivals are due where it reaches 0, 1, 2, …; Poisson arrivals
where it reaches the sums of unit exponentials (an inhomogeneous Poisson process by inversion:
Çınlar, "Introduction to Stochastic Processes", 1975, chapter 4.7). Each moment is computed from
the integral and not from the moment before, so that nothing drifts, however long it runs.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, count
from math import ceil, inf, isfinite, sqrt
from random import Random
from typing import Final, Literal

from crawler.durations import seconds_of
from crawler.pieces import Piece

Arrivals = Literal["constant", "poisson"]

RATE_EXAMPLE: Final = "give a rate as 500 or 500/s (a second), 30/m or 7200/h"
RAMP_EXAMPLE: Final = "give stages as 0..500@30s,500@1m,500..0@10s"

_RATE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(?:\s?/\s?([smh]))?")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
_DIGITS: Final = 6
"""Decimals to which integrals are taken as whole: 0.1/s in 30 s are 3 requests, not 4."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests a second, above 0, and the ``text`` that it was given as."""

    per_s: float
    text: str

    @property
    def stages(self) -> tuple[Stage, ...]:
        """This rate without an end."""
        return (Stage(self.per_s, self.per_s, inf),)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of ``length_s`` seconds in which the rate goes evenly from start to end.

    A stage without an end (``length_s`` is infinite) has one rate. Raises ``ValueError``.
    """

    start_per_s: float
    end_per_s: float
    length_s: float

    def __post_init__(self) -> None:
        rates = (self.start_per_s, self.end_per_s)
        if not all(isfinite(rate) and rate >= 0 for rate in rates) or not self.length_s > 0:
            raise ValueError(f"{self}: rates are from 0 up, and a length is above 0")
        if self.length_s == inf and (not self.start_per_s or rates[0] != rates[1]):
            raise ValueError(f"{self}: a stage without an end has one rate above 0")

    @property
    def requests(self) -> float:
        """The integral of the rate: requests due in this stage."""
        return (self.start_per_s + self.end_per_s) / 2 * self.length_s

    @property
    def slope_per_s2(self) -> float:
        """By how much the rate grows in a second."""
        return (self.end_per_s - self.start_per_s) / self.length_s

    def rate_at(self, offset_s: float) -> float:
        """The rate, a second, at an offset from this stage's own start."""
        return self.start_per_s + self.slope_per_s2 * offset_s

    def offset_of(self, requests: float) -> float:
        """The offset from its own start at which ``requests`` were due in this stage.

        Of the two forms of the quadratic's root the one that loses no digits when the slope is
        small (Press et al., "Numerical Recipes", section 5.6).
        """
        if requests <= 0:
            return 0.0
        square = self.start_per_s**2 + 2 * self.slope_per_s2 * requests
        return min(2 * requests / (self.start_per_s + sqrt(max(square, 0.0))), self.length_s)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Stages one after the other, and how arrivals lie in them; ``seed`` is for Poisson arrivals.

    A stage begins where the one before it ends; that moment is its own. Raises ``ValueError`` for
    no stages, for none with a request, and for a stage after one without an end.
    """

    stages: tuple[Stage, ...]
    arrivals: Arrivals = "constant"
    seed: int = 0

    def __post_init__(self) -> None:
        if not any(stage.requests > 0 for stage in self.stages):
            raise ValueError("a schedule needs a stage with a rate above 0")
        if any(stage.length_s == inf for stage in self.stages[:-1]):
            raise ValueError("only the last stage of a schedule may be without an end")
        if self.arrivals not in ("constant", "poisson"):
            raise ValueError(f"arrivals are {self.arrivals!r}: give constant or poisson")

    @property
    def length_s(self) -> float | None:
        """The length of all stages in seconds, None without an end."""
        length_s = sum(stage.length_s for stage in self.stages)
        return None if length_s == inf else length_s

    @property
    def requests(self) -> int | None:
        """Requests due in all, None without an end; of Poisson arrivals the number to expect."""
        total = sum(stage.requests for stage in self.stages)
        return None if total == inf else ceil(round(total, _DIGITS))

    @property
    def highest_per_s(self) -> float:
        """The highest rate that is asked for, a second."""
        return max(max(stage.start_per_s, stage.end_per_s) for stage in self.stages)

    def offsets(self) -> Iterator[float]:
        """Give, lazily and in ascending order, the seconds from the start at which each is due.

        Where the rate is 0 nothing is due: what would fall on the first moment of such a pause is
        due at its end.
        """
        starts_s = list(accumulate((s.length_s for s in self.stages), initial=0.0))
        ends = [round(n, _DIGITS) for n in accumulate(s.requests for s in self.stages)]
        before = [0.0, *ends]
        for due in self._integrals():
            at = bisect_right(ends, due)
            if at == len(ends):
                return
            yield starts_s[at] + self.stages[at].offset_of(due - before[at])

    def stage_at(self, offset_s: float) -> int | None:
        """The index of the stage at an offset from the start, None before it and after the end."""
        if offset_s < 0:
            return None
        ends_s = list(accumulate(stage.length_s for stage in self.stages))
        at = bisect_right(ends_s, offset_s)
        return at if at < len(ends_s) else None

    def rate_at(self, offset_s: float) -> float:
        """The rate asked for, a second, at an offset from the start; 0 before and after."""
        at = self.stage_at(offset_s)
        if at is None:
            return 0.0
        start_s = sum(stage.length_s for stage in self.stages[:at])
        return self.stages[at].rate_at(offset_s - start_s)

    def _integrals(self) -> Iterator[float]:
        """The values of the integral at which a request is due."""
        if self.arrivals == "constant":
            return map(_whole, count())
        random = Random(self.seed)
        return accumulate(random.expovariate(1.0) for _ in count())


def parse_rate(text: str, option: str = "--rate") -> Rate:
    """Read ``500``, ``500/s``, ``30/m``, ``7200/h``, ``0.5/s``.

    Raises ``UsageError`` naming the option, the column and an example of the right form.
    """
    piece = Piece.of(text, option).part(0, len(text))
    per_s = per_s_of(piece, RATE_EXAMPLE)
    if not per_s:
        raise piece.wrong("is no rate: it is to be above 0", RATE_EXAMPLE)
    return Rate(per_s, piece.text)


def per_s_of(piece: Piece, example: str, unit: str = "s") -> float:
    """Read a rate, 0 up, in requests a second; ``unit`` is meant where it gives none.

    Raises ``UsageError`` that ends in ``example``.
    """
    match = _RATE.fullmatch(piece.text)
    if match is None:
        raise _no_rate(piece, example)
    return float(match[1]) / _SECONDS[match[2] or unit]


def parse_ramp(text: str, option: str = "--ramp") -> tuple[Stage, ...]:
    """Read stages as ``0..500@30s,500@1m,500..0@10s``: rates, and for how long.

    A unit after the second rate is that of both (``0..30/m@1m``). Raises ``UsageError`` naming the
    option, the column and an example of the right form.
    """
    stages = tuple(_stage(piece) for piece in Piece.of(text, option).split(","))
    if not any(stage.requests for stage in stages):
        whole = Piece.of(text, option)
        raise whole.wrong("asks for no request: all of its rates are 0", RAMP_EXAMPLE)
    return stages


def _stage(piece: Piece) -> Stage:
    if not piece.text:
        raise piece.wrong("is to be a stage", RAMP_EXAMPLE)
    rates, *lengths = piece.split("@")
    if len(lengths) != 1:
        fault = "says not how long: there is no @" if not lengths else "has more than one @"
        raise piece.wrong(fault, RAMP_EXAMPLE)
    ends = rates.split("..")
    if len(ends) > 2:
        raise rates.wrong("has more than a start and an end", RAMP_EXAMPLE)
    unit = _unit(ends[-1])
    if not unit and _unit(ends[0]):
        raise ends[-1].wrong("has no unit where the start has one", RAMP_EXAMPLE)
    start_per_s, end_per_s = (
        per_s_of(end, RAMP_EXAMPLE, unit or "s") for end in (ends[0], ends[-1])
    )
    return Stage(start_per_s, end_per_s, _length_s(lengths[0]))


def _unit(piece: Piece) -> str:
    match = _RATE.fullmatch(piece.text)
    return (match[2] or "") if match else ""


def _length_s(piece: Piece) -> float:
    length_s = seconds_of(piece.text)
    if length_s is None:
        raise piece.wrong("is no duration (30s, 500ms, 2m or 1h)", RAMP_EXAMPLE)
    if not length_s:
        raise piece.wrong("is no time at all", RAMP_EXAMPLE)
    return length_s


def _no_rate(piece: Piece, example: str) -> Exception:
    """Point at the unit where only that is wrong."""
    number, slash, _ = piece.text.partition("/")
    if slash and _RATE.fullmatch(number.strip()):
        unit = piece.part(len(number) + 1, len(piece.text))
        return unit.wrong("is no unit of a rate (s, m or h)", example)
    return piece.wrong("is no rate", example)


def _whole(number: int) -> float:
    return float(number)
