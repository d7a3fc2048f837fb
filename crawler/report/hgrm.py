"""The main latency as HdrHistogram prints a percentile distribution: what its plotters read.

Format and levels are those of ``AbstractHistogram.outputPercentileDistribution`` with 5 ticks a
half distance (HdrHistogram, Java): from 0 % on, each half of what is left to 100 % is cut into five
steps, until the last value is reached. Values are milliseconds, those of the report to 1 us.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate, count
from math import isnan
from typing import TYPE_CHECKING, Final, NamedTuple

from crawler.histogram import LAYOUT

if TYPE_CHECKING:
    from crawler.histogram import Histogram
    from crawler.report.model import Report

_TICKS: Final = 5
_HEADER: Final = f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}"


class _Level(NamedTuple):
    """All but ``left`` of ``parts`` equal parts of the sample: in whole numbers, so exact."""

    left: int
    parts: int

    @property
    def fraction(self) -> float:
        return 1 - self.left / self.parts

    def rank(self, total: int) -> int:
        """The least rank, of ``total``, at which this much of the sample is reached."""
        return -(-total * (self.parts - self.left) // self.parts)


def to_hgrm(report: Report) -> str:
    """Give the text of a ``.hgrm`` file: the report's main latency, of successes, in ms."""
    times = report.main
    lines = [_HEADER, "", *_rows(times), *_footer(times)]
    return "\n".join(lines) + "\n"


def _levels() -> Iterator[_Level]:
    """0 %, 10 %, … 50 %, 55 %, … 75 %, 77.5 %, … without end."""
    for halvings in count():
        for tick in range(_TICKS):
            yield _Level(2 * _TICKS - tick, 2 * _TICKS << halvings)


def _rows(times: Histogram) -> Iterator[str]:
    total = times.count
    if not total:
        return
    reached = list(accumulate(times.buckets()[1].tolist()))
    for level in _levels():
        rank = level.rank(total)
        up_to = reached[bisect_left(reached, rank)]
        value_ms = times.values_at([max(rank, 1)])[0]
        inverse = level.parts / level.left
        yield f"{value_ms:12.3f} {level.fraction:2.12f} {up_to:10d} {inverse:14.2f}"
        if up_to == total:
            break
    yield f"{times.max:12.3f} {1:2.12f} {total:10d}"


def _footer(times: Histogram) -> tuple[str, ...]:
    mean_ms, deviation_ms, max_ms = (
        0.0 if isnan(value) else value for value in (times.mean, times.deviation, times.max)
    )
    powers, parts = LAYOUT
    return (
        f"#[Mean    = {mean_ms:12.3f}, StdDeviation   = {deviation_ms:12.3f}]",
        f"#[Max     = {max_ms:12.3f}, Total count    = {times.count:12d}]",
        f"#[Buckets = {powers:12d}, SubBuckets     = {2 * parts:12d}]",
    )
