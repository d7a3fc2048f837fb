"""A histogram as bars that can be read: equal steps on a log scale, the far ends folded.

One outlier must not waste the rows: the bars cover where the bulk is, and what lies far beyond them
(three interquartile ranges on the log scale, Tukey's "far out"; at most 1 % of the values, or one)
is counted in one first and one last bar of its own. No value is left out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import log
from typing import Final, NamedTuple

from crawler.histogram import Histogram

_LEAST_RATIO: Final = 1.02
"""Narrower bars would show the steps of our own buckets (0.2 %)."""
_FAR: Final = 3.0
_FOLDED: Final = 0.01
_LEAST_MS: Final = 0.001
"""The least that a log scale is asked to show."""


class Bar(NamedTuple):
    """Values from ``low_ms`` up to ``high_ms`` (the last bar's included), and how many."""

    low_ms: float
    high_ms: float
    requests: int


def spread(times: Histogram, most: int) -> list[Bar]:
    """At most ``most`` bars (3 or more) that hold all of ``times``; none of an empty one."""
    if not times.count:
        return []
    low, high = _bulk(times)
    edges = _edges(low, high, most - (low > times.min) - (high < times.max))
    edges[0], edges[-1] = low, high
    if low > times.min:
        edges.insert(0, times.min)
    if high < times.max:
        edges.append(times.max)
    counts = _counted(times, edges)
    return [Bar(*each) for each in zip(edges, edges[1:], counts, strict=False)]


def percentile_curve(times: Histogram, points_a_halving: int = 5) -> list[tuple[float, float]]:
    """``(fraction, ms)`` from the minimum to the maximum, on HdrHistogram's kind of axis.

    Steps halve with what is left: so many points up to p50, as many to p75, to p87.5 … to the
    last that the sample has a value for.
    """
    fractions, start, left = [], 0.0, 1.0
    while times.count * left >= 1:
        step = left / 2 / points_a_halving
        fractions += [start + step * i for i in range(points_a_halving)]
        left /= 2
        start = 1 - left
    if times.count:
        fractions.append(1.0)
    return list(zip(fractions, times.percentiles(fractions), strict=True))


def _bulk(times: Histogram) -> tuple[float, float]:
    """The range that is worth its rows; all of it where nothing is far out."""
    n = times.count
    folded = max(1, int(n * _FOLDED)) if n > 3 else 0
    first, q1, q3, last = times.values_at(
        (1 + folded, max(1, n // 4), max(1, -(-3 * n // 4)), n - folded)
    )
    factor = max(q3 / max(q1, _LEAST_MS), _LEAST_RATIO) ** _FAR
    low = max(times.min, min(q1 / factor, first))
    high = min(times.max, max(q3 * factor, last))
    return low, high


def _edges(low: float, high: float, most: int) -> list[float]:
    start = max(low, min(_LEAST_MS, high))
    if start <= 0 or high / start < _LEAST_RATIO:
        return [low, high]
    bars = max(1, min(most, int(log(high / start) / log(_LEAST_RATIO))))
    return [start * (high / start) ** (i / bars) for i in range(bars + 1)]


def _counted(times: Histogram, edges: Sequence[float]) -> list[int]:
    counts = [0] * (len(edges) - 1)
    middles, held = times.buckets()
    for middle, count in zip(middles.tolist(), held.tolist(), strict=True):
        at = bisect_right(edges, middle) - 1
        counts[min(max(at, 0), len(counts) - 1)] += count
    return counts
