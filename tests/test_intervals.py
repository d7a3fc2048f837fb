"""Intervals of percentiles, shares and means, held to scipy and to what they promise."""

from __future__ import annotations

from math import ceil, isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, t

from crawler.figures import FRACTIONS
from crawler.histogram import Histogram, nearest_rank, supported
from crawler.intervals import mean_bounds, quantiles, rank_bounds, share_bounds

TAIL = (1 - 0.95) / 2
QS = (0.001, 0.05, 0.123, 0.25, *FRACTIONS, 0.9876)
COUNTS = (*range(1, 120), 366, 367, 368, 999, 1000, 4321, 10_000, 123_457, 1_000_000, 10_000_000)


def histogram_of(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add_many(values)
    return histogram


def tightest(q: float, count: int) -> tuple[int | None, int | None]:
    """The same ranks by scipy: the largest and the smallest whose tails are at most 2.5 %."""
    near = binom.ppf([TAIL, 1 - TAIL], count, q).astype(int)
    lows = range(near[0] + 2, -1, -1)
    low = next(rank for rank in lows if rank == 0 or binom.cdf(rank - 1, count, q) <= TAIL)
    highs = range(max(near[1] - 2, 0), count + 2)
    high = next(rank for rank in highs if binom.cdf(rank - 1, count, q) >= 1 - TAIL)
    return (low or None), (high if high <= count else None)


@pytest.mark.parametrize("q", QS)
def test_ranks_are_the_tightest_that_scipy_allows(q: float) -> None:
    """Of all ranks with at most 2.5 % beyond each side, the bounds are the innermost."""
    wrong = [n for n in COUNTS if rank_bounds(q, n) != tightest(q, n)]
    assert wrong == []


@given(st.floats(0.0005, 0.9995), st.integers(1, 2000), st.floats(0.5, 0.999))
def test_ranks_hold_what_they_promise_for_any_confidence(
    q: float, count: int, confidence: float
) -> None:
    """Each tail beyond a bound is at most half of what the confidence leaves."""
    low, high = rank_bounds(q, count, confidence)
    tail = (1 - confidence) / 2
    if low is not None:
        assert binom.cdf(low - 1, count, q) <= tail * (1 + 1e-9)
    if high is not None:
        assert binom.sf(high - 1, count, q) <= tail * (1 + 1e-9)
    assert 1 <= (low or 1) <= nearest_rank(q, count) <= (high or count) <= count


@pytest.mark.parametrize(
    ("q", "count"), [(0.5, 25), (0.5, 1000), (0.9, 60), (0.95, 400), (0.99, 2000)]
)
def test_intervals_cover_the_true_percentile_as_often_as_they_say(q: float, count: int) -> None:
    """Of 4,000 samples at least 95 % of the intervals hold the true percentile (less 4 sigma)."""
    rng = np.random.default_rng(int(q * 1000) + count)
    low, high = rank_bounds(q, count)
    assert low is not None
    assert high is not None
    uniform = np.sort(rng.random((4000, count)), axis=1)  # the true q-quantile is q
    covered = ((uniform[:, low - 1] <= q) & (q <= uniform[:, high - 1])).mean()
    assert covered >= 0.95 - 4 * (0.95 * 0.05 / 4000) ** 0.5
    assert covered <= binom.cdf(high - 1, count, q) - binom.cdf(low - 1, count, q) + 0.014


def test_intervals_of_a_heavy_tail_cover_its_percentiles() -> None:
    """From the histogram too, with its 0.1 %: a Pareto tail, ties and all, asks nothing more."""
    rng = np.random.default_rng(5)
    true_ms = 10 * (1 - 0.95) ** (-1 / 1.5)
    hits = 0
    for _ in range(400):
        values = 10 * (1 - rng.random(500)) ** (-1 / 1.5)
        (found,) = quantiles(histogram_of(values), (0.95,))
        hits += found.low_ms * 0.999 <= true_ms <= found.high_ms * 1.001
    assert hits >= 400 * 0.95 - 4 * (400 * 0.95 * 0.05) ** 0.5


@given(st.lists(st.floats(0.001, 1e5), min_size=1, max_size=300), st.sampled_from(QS))
def test_a_percentile_lies_within_its_bounds(values: list[float], q: float) -> None:
    """The bounds are values at the ranks, and enclose the percentile of nearest rank."""
    times = histogram_of(np.array(values))
    (found,) = quantiles(times, (q,))
    if isnan(found.value_ms):
        assert all(map(isnan, found[1:4]))
        return
    assert found.value_ms == times.percentile(q)
    assert isnan(found.low_ms) or found.low_ms <= found.value_ms
    assert isnan(found.high_ms) or found.value_ms <= found.high_ms
    ranks = rank_bounds(q, len(values))
    assert [isnan(found.low_ms), isnan(found.high_ms)] == [rank is None for rank in ranks]


@pytest.mark.parametrize(("q", "least"), [(0.5, 2), (0.95, 20), (0.99, 100), (0.999, 1000)])
def test_a_percentile_is_withheld_where_none_is_expected_beyond_it(q: float, least: int) -> None:
    """From the count on that puts one observation beyond it a percentile is given at all."""
    (below,) = quantiles(histogram_of(np.arange(1.0, least)), (q,))
    assert all(map(isnan, below[1:4]))
    assert not below.supported
    (given_,) = quantiles(histogram_of(np.arange(1.0, least + 1)), (q,))
    assert not isnan(given_.value_ms)


@pytest.mark.parametrize(("q", "least"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368)])
def test_a_bound_is_none_where_no_rank_can_be_it(q: float, least: int) -> None:
    """q**n above 2.5 %: even the maximum is no upper bound with that confidence."""
    assert least == ceil(np.log(TAIL) / np.log(q))
    assert rank_bounds(q, least)[1] == least
    assert rank_bounds(q, least - 1)[1] is None


def test_support_is_that_of_the_histogram() -> None:
    """A percentile is marked by the rule that the summary marks it by."""
    for count in (1, 2, 10, 99, 100, 499, 500, 5000):
        for found in quantiles(histogram_of(np.arange(1.0, count + 1)), FRACTIONS):
            assert found.supported == (supported(found.q, count) and not isnan(found.value_ms))


def test_an_empty_histogram_has_no_percentile() -> None:
    """Without a value there is neither a percentile nor a bound nor a mean's bound."""
    for found in quantiles(Histogram(), FRACTIONS):
        assert all(map(isnan, found[1:4]))
        assert not found.supported
    assert all(map(isnan, mean_bounds(Histogram())))


@pytest.mark.parametrize(
    ("count", "total"),
    [(0, 1), (1, 1), (0, 100), (1, 100), (50, 100), (99, 100), (100, 100), (3, 1_000_000)],
)
def test_bounds_of_a_share_are_wilsons(count: int, total: int) -> None:
    """The bounds are scipy's, and stay within 0 and 1."""
    exact = binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert share_bounds(count, total) == pytest.approx((exact.low, exact.high), abs=1e-12)


@given(st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_lies_within_its_bounds(pair: tuple[int, int]) -> None:
    """0 <= low <= share <= high <= 1, whatever was counted."""
    low, high = share_bounds(*pair)
    assert 0 <= low <= pair[0] / pair[1] + 1e-15
    assert pair[0] / pair[1] <= high + 1e-15
    assert high <= 1


@pytest.mark.parametrize("count", [30, 31, 100, 5000])
def test_bounds_of_a_mean_are_students(count: int) -> None:
    """The bounds are scipy's t interval to a hundredth of a percent of its width."""
    values = np.random.default_rng(count).gamma(2, 20, count)
    half = t.ppf(1 - TAIL, count - 1) * values.std(ddof=1) / count**0.5
    low_ms, high_ms = mean_bounds(histogram_of(values))
    assert low_ms == pytest.approx(values.mean() - half, abs=half * 1e-4)
    assert high_ms == pytest.approx(values.mean() + half, abs=half * 1e-4)


def test_a_mean_of_few_has_no_bounds() -> None:
    """29 observations are not told as if their mean were normal."""
    assert all(map(isnan, mean_bounds(histogram_of(np.arange(29.0)))))
    assert not any(map(isnan, mean_bounds(histogram_of(np.arange(30.0)))))
