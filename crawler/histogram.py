"""A histogram of durations that keeps every percentile within 0.1 % and its memory flat.

Log-linear buckets: each power of two is cut into 512 equal parts, so that a bucket's middle is at
most 1/1024 (0.098 %) from any value in it. From 1 ns (``2**-20`` ms) to 99 days (``2**33`` ms);
below that a value counts as 0, above as the longest. Buckets are kept only for the range that was
seen, at most 217 KB and commonly 20 to 40. Two histograms add up to that of the union, whatever the
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, nan, sqrt
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from array import array

_PARTS: Final = 512
"""Buckets in one power of two."""
_LOWEST: Final = -20
"""Bucket 1 begins at ``2**_LOWEST`` ms; bucket 0 holds what is less."""
_HIGHEST: Final = 33
_BUCKETS: Final = (_HIGHEST - _LOWEST) * _PARTS + 1
LAYOUT: Final = (_HIGHEST - _LOWEST, _PARTS)
"""Powers of two that are told apart, and the buckets in each."""

_BUFFER_BYTES: Final = 1024 * 8

_BEYOND: Final = 5
"""Observations that must lie beyond a percentile for the sample to support it."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Histogram:
    """Counts of durations in milliseconds, floats from 0 up.

    ``count``, ``sum``, ``min`` and ``max`` are exact; the last two are NaN while it is empty. The
    squares of the deviations from the mean are kept, not those of the values: these lose all their
    digits where the deviation is small beside the mean.
    """

    __slots__ = ("_counts", "_first", "_squares", "count", "max", "min", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self._squares = 0.0
        self.min = nan
        self.max = nan
        self._first = 0
        self._counts: Ints = np.zeros(0, np.int64)

    def add_many(self, values: npt.ArrayLike) -> None:
        """Count values. One below 0, which only a clock's jitter makes, counts as 0.

        Raises ``ValueError`` for a NaN or an infinity, and counts none of ``values`` then.
        """
        data = np.maximum(np.asarray(values, dtype=np.float64).reshape(-1), 0.0)
        if data.size == 0:
            return
        if not np.isfinite(data).all():
            raise ValueError("a duration is NaN or infinite: only finite milliseconds are counted")
        buckets = _bucket_of(data)
        first = int(buckets.min())
        self._add_counts(first, np.bincount(buckets - first))
        self._add_range(float(data.min()), float(data.max()))
        total = float(data.sum())
        self._add_sums(data.size, total, float(np.square(data - total / data.size).sum()))

    def merge(self, other: Histogram) -> None:
        """Count all that ``other`` has counted."""
        if other.count:
            self._add_counts(other._first, other._counts)
            self._add_range(other.min, other.max)
            self._add_sums(other.count, other.sum, other._squares)

    @property
    def mean(self) -> float:
        """The exact arithmetic mean in milliseconds, NaN when empty."""
        return self.sum / self.count if self.count else nan

    @property
    def deviation(self) -> float:
        """The standard deviation of the sample (n - 1) in milliseconds, NaN below two values."""
        if self.count < 2:
            return nan
        return sqrt(self._squares / (self.count - 1))

    def percentile(self, q: float) -> float:
        """The value of nearest rank: the smallest that at least ``q`` of all do not exceed.

        ``q`` is a fraction from 0 (the minimum) to 1 (the maximum), both exact; the others are
        within 0.1 % of the observation. NaN when empty.
        """
        return self.percentiles((q,))[0]

    def percentiles(self, fractions: Sequence[float]) -> list[float]:
        """``percentile`` of each of ``fractions``, for the price of one."""
        if not self.count:
            return [nan] * len(fractions)
        return self.values_at([nearest_rank(q, self.count) for q in fractions])

    def values_at(self, ranks: Sequence[int]) -> list[float]:
        """The values of 1-based ``ranks`` in ascending order, each from 1 to ``count``."""
        at = np.searchsorted(np.cumsum(self._counts), ranks)
        return [
            self._value(rank, self._first + int(bucket))
            for rank, bucket in zip(ranks, at, strict=True)
        ]

    def buckets(self) -> tuple[Floats, Ints]:
        """The middles in milliseconds, ascending, and the counts of all buckets that hold any."""
        held = np.flatnonzero(self._counts)
        return _middles_of(held + self._first), self._counts[held]

    def _value(self, rank: int, bucket: int) -> float:
        if rank == 1:
            return self.min
        if rank == self.count:
            return self.max
        return min(max(_middle_of(bucket), self.min), self.max)

    def _add_counts(self, first: int, counts: Ints) -> None:
        self._cover(first, first + len(counts))
        at = first - self._first
        self._counts[at : at + len(counts)] += counts

    def _add_range(self, low: float, high: float) -> None:
        self.min = min(low, self.min) if self.count else low
        self.max = max(high, self.max) if self.count else high

    def _add_sums(self, count: int, total: float, squares: float) -> None:
        """Add up, the squares as Chan, Golub & LeVeque do (1979, "Updating Formulae")."""
        if self.count:
            apart = total / count - self.mean
            squares += apart * apart * (self.count * count / (self.count + count))
        self._squares += squares
        self.count += count
        self.sum += total

    def _cover(self, low: int, high: int) -> None:
        """Widen the kept range to hold buckets ``low`` up to ``high``, by whole powers of two."""
        first, end = self._first, self._first + len(self._counts)
        if first <= low and high <= end:
            return
        if first == end:
            first, end = low, high
        new_first = min(low, first) // _PARTS * _PARTS
        new_end = min(-(-max(high, end) // _PARTS) * _PARTS, _BUCKETS)
        wider = np.zeros(new_end - new_first, np.int64)
        at = self._first - new_first
        if len(self._counts):
            wider[at : at + len(self._counts)] = self._counts
        self._first, self._counts = new_first, wider


class BufferedHistogram:
    """A histogram behind a buffer, for values that come a few at a time.

    Counting one value costs as much as counting hundreds, so they wait until there are 1,024.
    """

    __slots__ = ("_histogram", "_waiting")

    def __init__(self) -> None:
        self._histogram = Histogram()
        self._waiting = bytearray()

    def add(self, values: array[float]) -> None:
        """Count an array of doubles, milliseconds, soon."""
        self._waiting += values
        if len(self._waiting) >= _BUFFER_BYTES:
            self.counted()

    def counted(self) -> Histogram:
        """The histogram of all that was added; it goes on changing."""
        if self._waiting:
            self._histogram.add_many(np.frombuffer(self._waiting))
            self._waiting = bytearray()
        return self._histogram


def nearest_rank(q: float, count: int) -> int:
    """The 1-based rank of fraction ``q`` among ``count`` ordered values.

    Raises ``ValueError`` when ``q`` is no fraction. Rounded first: 0.07 x 100 is
    7.000000000000001 in binary, and its rank is 7.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"percentile {q!r}: give a fraction from 0 to 1, as 0.99")
    return min(max(ceil(round(q * count, 6)), 1), count)


def supported(q: float, count: int) -> bool:
    """Whether ``count`` observations are enough to speak of percentile ``q``.

    At least 5 must be expected beyond it: p50 needs 10, p90 50, p95 100, p99 500, p99.9 5,000.
    The minimum and the maximum are what they are, of any sample that is not empty.
    """
    if q in (0, 1):
        return count > 0
    return round(count * (1 - q), 6) >= _BEYOND


def support_needed(q: float) -> int:
    """How many observations percentile ``q`` needs to be supported."""
    return 1 if q in (0, 1) else ceil(round(_BEYOND / (1 - q), 6))


def _bucket_of(values: Floats) -> Ints:
    mantissa, exponent = np.frexp(values)  # value = mantissa * 2**exponent, 0.5 <= mantissa < 1
    part = (mantissa * (2 * _PARTS)).astype(np.int64) - _PARTS
    bucket = (exponent.astype(np.int64) - 1 - _LOWEST) * _PARTS + part + 1
    bucket[values < 2.0**_LOWEST] = 0
    counted: Ints = np.minimum(bucket, _BUCKETS - 1)
    return counted


def _middle_of(bucket: int) -> float:
    return float(_middles_of(np.array([bucket]))[0])


def _middles_of(buckets: Ints) -> Floats:
    power, part = np.divmod(buckets - 1, _PARTS)
    middles = (1 + (part + 0.5) / _PARTS) * np.exp2(power + _LOWEST)
    return np.where(buckets == 0, 0.0, middles)
