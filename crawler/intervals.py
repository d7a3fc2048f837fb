"""How sure a percentile is: distribution-free confidence intervals from order statistics.

Of ``n`` independent observations the number that lie below the true ``q``-quantile is binomial
(n, q), whatever the distribution; so two ranks bound the quantile with at least the asked
confidence (Hahn & Meeker, "Statistical Intervals", 1991, section 5.2). Where the sample is too
small for a rank to exist, there is no bound on that side. Requests in a row are not quite
independent: an interval is the least, not the most, that one should doubt.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, lgamma, log, nan, sqrt
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np

from crawler.histogram import Floats, Histogram, Ints, nearest_rank, supported

CONFIDENCE: Final = 0.95
_SPAN: Final = 12.0
"""Standard deviations around the mean within which a binomial distribution is added up."""
_Z: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_LEAST_FOR_MEAN: Final = 30
"""Observations below which the mean of a skewed sample is not near enough to normal."""


class Quantile(NamedTuple):
    """A percentile with the bounds of its 95 % confidence interval, in milliseconds.

    ``low_ms`` or ``high_ms`` is NaN where the sample is too small for that bound; ``value_ms`` is
    NaN where not even one observation is expected beyond ``q``. ``supported`` says whether at
    least five are (see ``histogram.supported``).
    """

    q: float
    value_ms: float
    low_ms: float
    high_ms: float
    supported: bool


def quantiles(times: Histogram, fractions: Sequence[float]) -> list[Quantile]:
    """Give ``Quantile`` of each of ``fractions`` (0 to 1, exclusive)."""
    return [_quantile(times, q) for q in fractions]


def _quantile(times: Histogram, q: float) -> Quantile:
    count = times.count
    if count == 0 or round(count * (1 - q), 6) < 1:
        return Quantile(q, nan, nan, nan, False)
    low, high = rank_bounds(q, count)
    ranks = (low or 1, nearest_rank(q, count), high or count)
    low_ms, value_ms, high_ms = times.values_at(ranks)
    return Quantile(
        q, value_ms, low_ms if low else nan, high_ms if high else nan, supported(q, count)
    )


def rank_bounds(
    q: float, count: int, confidence: float = CONFIDENCE
) -> tuple[int | None, int | None]:
    """Give the 1-based ranks whose values bound the ``q``-quantile; None for a bound there is not.

    The coverage of both together is at least ``confidence``, each tail at most half of what is
    left.
    """
    low, high = (int(ranks[0]) for ranks in ranks_at(q, count, np.array([1 - confidence])))
    return (low if low >= 1 else None), (high if high <= count else None)


def ranks_at(q: float, count: int, levels: Floats) -> tuple[Ints, Ints]:
    """Give the ranks of ``rank_bounds`` for many ``levels``, each 1 less its confidence.

    A bound that there is not has the rank 0 below, and ``count + 1`` above.
    """
    first, probabilities = _binomial(q, count)
    at_most = np.cumsum(probabilities)  # P(X <= first + i), X observations below the quantile
    low = first + np.searchsorted(at_most, levels / 2, side="right")  # P(X < low) <= tail
    high = first + np.searchsorted(at_most, 1 - levels / 2, side="left") + 1  # P(X >= high) <= tail
    return low, np.minimum(high, count + 1)


def share_bounds(count: int, total: int) -> tuple[float, float]:
    """Give Wilson's 95 % bounds, from 0 to 1, of a share seen as ``count`` of ``total`` (1 up)."""
    share, square = count / total, _Z * _Z / total
    middle = (share + square / 2) / (1 + square)
    half = sqrt(share * (1 - share) * square + square * square / 4) / (1 + square)
    low = middle - half if count else 0.0
    return max(0.0, low), min(1.0, middle + half) if count < total else 1.0


def mean_bounds(times: Histogram) -> tuple[float, float]:
    """Give the 95 % bounds of the mean in milliseconds, NaN for fewer than 30 observations."""
    if times.count < _LEAST_FOR_MEAN:
        return nan, nan
    half = _student(times.count - 1) * times.deviation / sqrt(times.count)
    return times.mean - half, times.mean + half


def _student(freedom: int) -> float:
    """Student's t for 95 %, by its expansion in 1/freedom (Abramowitz & Stegun, 26.7.5)."""
    first = (_Z**3 + _Z) / 4
    second = (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    return _Z + first / freedom + second / freedom**2


def _binomial(q: float, count: int) -> tuple[int, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Give the probabilities of binomial (count, q) from ``first`` on, as far as they matter."""
    mean, deviation = count * q, sqrt(count * q * (1 - q))
    first = max(0, floor(mean - _SPAN * deviation) - 1)
    last = min(count, ceil(mean + _SPAN * deviation) + 1)
    at = np.arange(first, last, dtype=np.float64)
    steps = np.log(count - at) - np.log(at + 1) + (log(q) - log(1 - q))
    start = lgamma(count + 1) - lgamma(first + 1) - lgamma(count - first + 1)
    start += first * log(q) + (count - first) * log(1 - q)
    logs = start + np.concatenate(([0.0], np.cumsum(steps)))
    return first, np.exp(logs)
