"""By how much a percentile or a share changed from one sample to another, and how sure that is.

The two samples' own intervals (order statistics for a percentile, Wilson's for a share) are joined
by the distances from each estimate to its bounds, as by Pythagoras: the method of variance
estimates recovery (Zou & Donner, Statistics in Medicine 27, 2008), of which Newcombe's interval for
shares (Statistics in Medicine 17, 1998, method 10) is the first case. Skewed, heavy-tailed and tied
samples keep their skewed intervals, and nothing is drawn at random: the same logs give the same
figures. A p-value is the smallest level at which the interval leaves a change out.
"""

from __future__ import annotations

from math import expm1, log, nan
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from crawler.histogram import Floats, Histogram, nearest_rank, supported
from crawler.intervals import CONFIDENCE, ranks_at

_LEAST_MS: Final = 2.0**-20
"""A nanosecond: a shorter time, which only a coarse clock gives, is taken as this in a ratio."""
LEVEL: Final = 1 - CONFIDENCE
"""The p-value from which down something counts as shown."""
_AT_95: Final = np.array([LEVEL])
_LEVELS: Final = np.union1d(np.logspace(-9, 0, 361), _AT_95)[::-1]
"""Levels at which intervals are tried for a p-value; a smaller one is given as the last."""
_NANS: Final = (nan, nan, nan)
_Z_OF_LEVELS: Final = np.array([NormalDist().inv_cdf(1 - level / 2) for level in _LEVELS])
_Z_AT_95: Final = np.array([NormalDist().inv_cdf((1 + CONFIDENCE) / 2)])


class Change(NamedTuple):
    """The change of a percentile, with 95 % confidence bounds.

    Times are milliseconds; ``relative`` ones are shares of the old value (0.05: 5 % slower).
    ``difference_ms`` and ``relative`` are of point estimates; a figure that the samples cannot give
    is NaN. ``supported`` says whether both samples support the percentile at all (see
    ``histogram.supported``).
    """

    q: float
    old_ms: float
    new_ms: float
    difference_ms: float
    difference_low_ms: float
    difference_high_ms: float
    relative: float
    relative_low: float
    relative_high: float
    supported: bool


class Evidence(NamedTuple):
    """Two-sided p-values: of no change at all, and of a rise no greater than a threshold."""

    changed: float
    beyond: float


class ShareChange(NamedTuple):
    """The change of the share of failures, from 0 to 1, with 95 % confidence bounds."""

    old: float
    new: float
    difference: float
    low: float
    high: float


def percentile_change(old: Histogram, new: Histogram, q: float) -> Change:
    """Compare the ``q``-quantiles (0 to 1, exclusive) of two samples of milliseconds."""
    if not (old.count and new.count):
        return Change(q, old.percentile(q), new.percentile(q), *_NANS, *_NANS, False)
    olds, news = _Bounds.of(old, q, _AT_95), _Bounds.of(new, q, _AT_95)
    low_ms, high_ms = _joined(olds, news)
    relative = _NANS if olds.value < _LEAST_MS else _relative(olds.logs(), news.logs())
    difference = (news.value - olds.value, float(low_ms[0]), float(high_ms[0]))
    both = supported(q, old.count) and supported(q, new.count)
    return Change(q, olds.value, news.value, *difference, *relative, both)


def percentile_evidence(old: Histogram, new: Histogram, q: float, threshold: float) -> Evidence:
    """Test the change of the ``q``-quantile, and whether it rose by more than ``threshold``.

    ``threshold`` is a share of the old value. Neither sample may be empty.
    """
    olds, news = (_Bounds.of(each, q, _LEVELS).logs() for each in (old, new))
    low, high = _joined(olds, news)
    return Evidence(_level_without(low, high, 0.0), _level_above(low, float(np.log1p(threshold))))


def share_change(old: tuple[int, int], new: tuple[int, int]) -> ShareChange:
    """Compare two shares, each a count and a total; all is NaN where a total is 0."""
    if not (old[1] and new[1]):
        return ShareChange(_share(*old), _share(*new), *_NANS)
    olds, news = _wilson(*old, _Z_AT_95), _wilson(*new, _Z_AT_95)
    low, high = _joined(olds, news)
    difference = news.value - olds.value
    return ShareChange(olds.value, news.value, difference, float(low[0]), float(high[0]))


def share_evidence(old: tuple[int, int], new: tuple[int, int], threshold: float) -> Evidence:
    """Test the change of a share, and whether it rose by more than ``threshold`` (0 to 1)."""
    low, high = _joined(_wilson(*old, _Z_OF_LEVELS), _wilson(*new, _Z_OF_LEVELS))
    return Evidence(_level_without(low, high, 0.0), _level_above(low, threshold))


class _Bounds(NamedTuple):
    """An estimate and its bounds at each of some levels; NaN where the sample gives none."""

    value: float
    low: Floats
    high: Floats

    @classmethod
    def of(cls, times: Histogram, q: float, levels: Floats) -> _Bounds:
        """Bound the ``q``-quantile by order statistics."""
        values, counts = times.buckets()
        values = np.clip(values, times.min, times.max)
        at_most = np.cumsum(counts)
        low, high = (
            np.where(
                (ranks >= 1) & (ranks <= times.count),
                values[np.minimum(np.searchsorted(at_most, ranks), len(values) - 1)],
                nan,
            )
            for ranks in ranks_at(q, times.count, levels)
        )
        value = values[np.searchsorted(at_most, nearest_rank(q, times.count))]
        return cls(float(value), low, high)

    def logs(self) -> _Bounds:
        """Give the same of the logarithm, whose differences are ratios.

        By ratios to the estimate: a bound that is the estimate stays so to the last digit.
        """
        value, low, high = (np.maximum(each, _LEAST_MS) for each in self)
        middle = log(value)
        return _Bounds(middle, middle + np.log(low / value), middle + np.log(high / value))


def _share(count: int, total: int) -> float:
    return count / total if total else nan


def _wilson(count: int, total: int, z: Floats) -> _Bounds:
    """Bound a share (Wilson, Journal of the American Statistical Association 22, 1927)."""
    share, square = count / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    half = np.sqrt(share * (1 - share) * square + square * square / 4) / (1 + square)
    # Rounding must not let a bound pass the estimate: with no failure the lower one is 0.
    return _Bounds(share, np.minimum(middle - half, share), np.maximum(middle + half, share))


def _relative(old: _Bounds, new: _Bounds) -> tuple[float, float, float]:
    low, high = _joined(old, new)
    return expm1(new.value - old.value), expm1(low[0]), expm1(high[0])


def _joined(old: _Bounds, new: _Bounds) -> tuple[Floats, Floats]:
    """Bound the difference of two estimates."""
    difference = new.value - old.value
    down = np.hypot(new.value - new.low, old.high - old.value)
    up = np.hypot(new.high - new.value, old.value - old.low)
    return difference - down, difference + up


def _level_without(low: Floats, high: Floats, value: float) -> float:
    """Give the smallest level whose interval leaves ``value`` out; 1 where none does."""
    return _smallest((low > value) | (high < value))


def _level_above(low: Floats, value: float) -> float:
    """Give the smallest level whose interval is wholly above ``value``; 1 where none is."""
    return _smallest(low > value)


def _smallest(holds: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    """Give the last level of those, from the first on, at which it holds."""
    held = int(np.argmin(holds)) if not holds.all() else len(holds)
    return float(_LEVELS[held - 1]) if held else 1.0
