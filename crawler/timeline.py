"""A run over time: requests, failures and latencies in bins of whole seconds, memory flat.

When a run outgrows its bins, neighbours are joined and all bins are twice as wide. Latencies are
counted in 32 buckets a power of two, so a bin's percentiles are within 1.6 %: exact enough to draw.
"""

from __future__ import annotations

from math import nan
from typing import Final, NamedTuple

import numpy as np

from crawler.blocks import Bools, Floats, Ints

MOST_BINS: Final = 600
_PARTS: Final = 32
_LOWEST: Final = -10
_BUCKETS: Final = 31 * _PARTS
"""From ``2**-10`` ms (1 us) to ``2**21`` ms (35 minutes); what lies outside counts as those."""

_LEAST_EXPECTED: Final = 5
_LEAST_BINS: Final = 5


class Bin(NamedTuple):
    """One stretch of time: requests begun in it. Latencies are of successes, NaN without any."""

    start_s: float
    width_s: int
    requests: int
    failed: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class Timeline:
    """Counts requests by the second in which each began (seconds of the epoch)."""

    __slots__ = ("_counts", "_failed", "_first", "_max", "_requests", "width_s")

    def __init__(self) -> None:
        self.width_s = 1
        self._first = 0
        self._requests: Ints = np.zeros(0, np.int64)
        self._failed: Ints = np.zeros(0, np.int64)
        self._max: Floats = np.zeros(0)
        self._counts = np.zeros((0, _BUCKETS), np.int32)

    def add(self, started_s: Floats, times_ms: Floats, ok: Bools) -> None:
        """Count requests: when each began, how long it took, whether it was a success."""
        if not len(started_s):
            return
        self._cover(int(started_s.min()), int(started_s.max()))
        at = started_s.astype(np.int64) // self.width_s - self._first
        bins = len(self._requests)
        self._requests += np.bincount(at, minlength=bins)
        self._failed += np.bincount(at[~ok], minlength=bins)
        np.maximum.at(self._max, at[ok], times_ms[ok])
        np.add.at(self._counts, (at[ok], _bucket_of(times_ms[ok])), 1)

    def bins(self) -> list[Bin]:
        """The bins from the first to the last that holds anything, empty ones between included."""
        held = np.flatnonzero(self._requests)
        if not len(held):
            return []
        return [self._bin(i) for i in range(int(held[0]), int(held[-1]) + 1)]

    def dispersion(self, q: float) -> float:
        """How much more the bins differ than independent requests would: about 1 if they are.

        Pearson's chi-square over its degrees of freedom, of the successes of each bin that are
        below the ``q``-quantile of all (McCullagh & Nelder, "Generalized Linear Models", 1989,
        section 4.5); intervals that take requests as independent are too narrow by its root. Bins
        of fewer than 5 expected on either side are left out; NaN below 5 bins.
        """
        totals = np.cumsum(self._counts.sum(0))
        if not len(self._counts) or not totals[-1]:
            return nan
        edge = int(np.argmin(np.abs(totals / totals[-1] - q)))
        share = totals[edge] / totals[-1]
        requests = self._counts.sum(1)
        kept = requests * min(share, 1 - share) >= _LEAST_EXPECTED
        if kept.sum() < _LEAST_BINS:
            return nan
        below = self._counts[kept, : edge + 1].sum(1)
        expected = requests[kept] * share
        squares = (below - expected) ** 2 / (expected * (1 - share))
        return float(squares.sum() / (kept.sum() - 1))

    def _bin(self, i: int) -> Bin:
        counts = np.cumsum(self._counts[i])
        ok, highest = int(counts[-1]), float(self._max[i])
        p50_ms, p95_ms, p99_ms = (
            min(_middle_of(int(np.searchsorted(counts, max(1.0, q * ok)))), highest) if ok else nan
            for q in (0.50, 0.95, 0.99)
        )
        start_s = float((self._first + i) * self.width_s)
        requests, failed = int(self._requests[i]), int(self._failed[i])
        max_ms = highest if ok else nan
        return Bin(start_s, self.width_s, requests, failed, p50_ms, p95_ms, p99_ms, max_ms)

    def _cover(self, first_s: int, last_s: int) -> None:
        if not len(self._requests):
            self._first = first_s // self.width_s
        low, high = self._span(first_s, last_s)
        while high - low > MOST_BINS:
            self._halve()
            low, high = self._span(first_s, last_s)
        before, bins = self._first - low, len(self._requests)
        if before == 0 and high - low <= bins:
            return
        after = high - low - bins - before
        self._first = low
        self._requests = np.pad(self._requests, (before, after))
        self._failed = np.pad(self._failed, (before, after))
        self._max = np.pad(self._max, (before, after))
        self._counts = np.pad(self._counts, ((before, after), (0, 0)))

    def _span(self, first_s: int, last_s: int) -> tuple[int, int]:
        """The bins, first and end, that hold what there is and what is to come."""
        low = min(self._first, first_s // self.width_s)
        high = max(self._first + len(self._requests), last_s // self.width_s + 1)
        return low, high

    def _halve(self) -> None:
        """Join each even bin with the odd one after it."""
        bins = len(self._requests)
        before = self._first % 2
        after = (before + bins) % 2
        shape = ((before + bins + after) // 2, 2)
        self._requests = np.pad(self._requests, (before, after)).reshape(shape).sum(1)
        self._failed = np.pad(self._failed, (before, after)).reshape(shape).sum(1)
        self._max = np.pad(self._max, (before, after)).reshape(shape).max(1)
        counts = np.pad(self._counts, ((before, after), (0, 0)))
        self._counts = counts.reshape(*shape, _BUCKETS).sum(1, dtype=np.int32)
        self._first //= 2
        self.width_s *= 2


def _bucket_of(times_ms: Floats) -> Ints:
    logs = np.log2(np.maximum(times_ms, 2.0**_LOWEST)) - _LOWEST
    buckets: Ints = np.minimum((logs * _PARTS).astype(np.int64), _BUCKETS - 1)
    return buckets


def _middle_of(bucket: int) -> float:
    return float(2.0 ** ((bucket + 0.5) / _PARTS + _LOWEST))
