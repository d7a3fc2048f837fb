"""Whether one sample tends to larger values than another, from ranks alone, and by how much.

No distribution is assumed and no value, however extreme, counts for more than its rank. All is
computed from the buckets of two histograms: values of one bucket (0.2 % wide) are ties.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, inf, sqrt
from statistics import NormalDist
from typing import Final, Literal, NamedTuple

import numpy as np

from crawler.histogram import Floats, Histogram
from crawler.intervals import CONFIDENCE

LEAST: Final = 10
"""Observations on each side below which the normal approximation is not to be trusted."""
_Z: Final = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)

EffectSize = Literal["negligible", "small", "medium", "large"]
_SIZES: Final[tuple[tuple[float, EffectSize], ...]] = (
    (0.147, "negligible"),
    (0.33, "small"),
    (0.474, "medium"),
    (inf, "large"),
)


class RankTest(NamedTuple):
    """What the ranks of an old and a new sample tell.

    ``u`` is Mann and Whitney's statistic of the new sample, ``p_value`` that of their two-sided
    test. ``slower`` is the chance that a new value is above an old one, ties counted half (0.5: no
    tendency); ``low`` and ``high`` bound it with 95 % confidence.
    """

    u: float
    p_value: float
    slower: float
    low: float
    high: float

    @property
    def delta(self) -> float:
        """Cliff's delta (Psychological Bulletin 114, 1993): -1 all faster, 0, 1 all slower."""
        return 2 * self.slower - 1

    @property
    def effect(self) -> EffectSize:
        """Cliff's delta in words, by the bounds of Romano et al. (2006): 0.147, 0.33, 0.474."""
        return next(word for bound, word in _SIZES if abs(self.delta) < bound)


def rank_test(old: Histogram, new: Histogram) -> RankTest | None:
    """Compare two samples by ranks; None where either has fewer than ``LEAST`` values.

    Mann & Whitney's test (Annals of Mathematical Statistics 18, 1947) by its normal approximation,
    variance corrected for ties, continuity of a half. The bounds of ``slower`` do not assume equal
    spread: Brunner & Munzel (Biometrical Journal 42, 2000), as normal, from 0 to 1.
    """
    if min(old.count, new.count) < LEAST:
        return None
    olds, news = _on_common_values(old, new)
    u = _wins(news, olds)
    slower = u / (old.count * new.count)
    half = _Z * sqrt(_placement_variance(olds, news) + _placement_variance(news, olds))
    p_value = _p_value(u, olds, news)
    return RankTest(u, p_value, slower, max(0.0, slower - half), min(1.0, slower + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust ``p_values`` of many tests, in the same order, each still at most 1.

    Rejecting those below 0.05 keeps the chance of even one false alarm at 5 %, however the tests
    depend on each other (Holm, Scandinavian Journal of Statistics 6, 1979).
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for done, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - done)))
        adjusted[index] = highest
    return adjusted


def _on_common_values(old: Histogram, new: Histogram) -> tuple[Floats, Floats]:
    """Give both counts on the values that either has, ascending; floats: their cubes are large."""
    (old_values, old_counts), (new_values, new_counts) = old.buckets(), new.buckets()
    values = np.union1d(old_values, new_values)
    olds, news = np.zeros(len(values)), np.zeros(len(values))
    olds[np.searchsorted(values, old_values)] = old_counts
    news[np.searchsorted(values, new_values)] = new_counts
    return olds, news


def _placements(counts: Floats) -> Floats:
    """Give how many of ``counts`` lie below each value, those on it counted half."""
    return np.cumsum(counts) - counts / 2


def _wins(ours: Floats, theirs: Floats) -> float:
    """Count the pairs in which ours is the larger, ties half."""
    return float(ours @ _placements(theirs))


def _placement_variance(ours: Floats, theirs: Floats) -> float:
    """Give the part of the variance of ``slower`` that the choice of ours brings."""
    count = ours.sum()
    shares = _placements(theirs) / theirs.sum()
    mean = ours @ shares / count
    return float(ours @ (shares - mean) ** 2 / (count - 1) / count)


def _p_value(u: float, olds: Floats, news: Floats) -> float:
    pairs, total = olds.sum() * news.sum(), olds.sum() + news.sum()
    ties = olds + news
    tied = float((ties**3 - ties).sum()) / (total * (total - 1))
    deviation = sqrt(max(0.0, pairs / 12 * (total + 1 - tied)))
    distance = max(0.0, abs(u - pairs / 2) - 0.5)
    return float(erfc(distance / deviation / sqrt(2))) if deviation > 0 else 1.0
