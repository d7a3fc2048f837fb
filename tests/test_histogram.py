"""The histogram against exact percentiles of the same values."""

from __future__ import annotations

import statistics
from array import array
from math import ceil, inf, isnan, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.histogram import BufferedHistogram, Histogram, nearest_rank, support_needed, supported

HOUR_MS = 3_600_000.0
durations = st.one_of(
    st.floats(min_value=1e-5, max_value=5 * HOUR_MS),
    st.integers(min_value=0, max_value=100).map(float),
)
samples = st.lists(durations, min_size=1, max_size=200)
fractions = st.one_of(st.floats(0, 1), st.sampled_from((0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)))


def histogram_of(values: list[float]) -> Histogram:
    histogram = Histogram()
    histogram.add_many(values)
    return histogram


def same(a: Histogram, b: Histogram) -> bool:
    grid = [i / 100 for i in range(101)]
    figures = [(h.count, h.min, h.max, h.percentiles(grid)) for h in (a, b)]
    return figures[0] == figures[1] and a.sum == pytest.approx(b.sum)


@given(samples, fractions)
def test_percentiles_are_within_a_thousandth(values: list[float], q: float) -> None:
    """Every percentile is within 0.1 % of the observation of nearest rank."""
    exact = sorted(values)[nearest_rank(q, len(values)) - 1]
    assert histogram_of(values).percentile(q) == pytest.approx(exact, rel=0.001, abs=0)


@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99, 0.999])
def test_percentiles_agree_with_numpy(q: float) -> None:
    """On a long-tailed sample the percentile is numpy's ``inverted_cdf`` to 0.1 %."""
    values = np.random.default_rng(7).lognormal(1, 2, 100_000)
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    assert histogram_of(values.tolist()).percentile(q) == pytest.approx(exact, rel=0.001)


@given(samples)
def test_extremes_and_mean_are_exact(values: list[float]) -> None:
    """min, max, count are exact, sum and mean to the last bits."""
    histogram = histogram_of(values)
    assert (histogram.count, histogram.min, histogram.max) == (
        len(values),
        min(values),
        max(values),
    )
    assert histogram.percentiles((0, 1)) == [min(values), max(values)]
    assert histogram.sum == pytest.approx(sum(values))
    assert histogram.mean == pytest.approx(sum(values) / len(values))


@given(st.lists(samples, max_size=5))
def test_merging_is_the_union_in_any_order(parts: list[list[float]]) -> None:
    """Histograms of parts, merged either way round, are that of all values."""
    whole = histogram_of([value for part in parts for value in part])
    forward, backward = Histogram(), Histogram()
    for part in parts:
        forward.merge(histogram_of(part))
    for part in reversed(parts):
        backward.merge(histogram_of(part))
    if parts:
        assert same(forward, whole)
        assert same(backward, whole)
    else:
        assert forward.count == 0


@given(samples)
def test_buffering_changes_nothing(values: list[float]) -> None:
    """Values that come one by one through the buffer count as all at once."""
    buffered = BufferedHistogram()
    for value in values:
        buffered.add(array("d", [value]))
    assert same(buffered.counted(), histogram_of(values))


def test_the_buffer_is_emptied_by_itself() -> None:
    """A buffer that nobody asks does not grow with the run."""
    buffered = BufferedHistogram()
    for _ in range(1000):
        buffered.add(array("d", [1.0] * 100))
    assert len(buffered._waiting) < 2 * 8 * 1024
    assert buffered.counted().count == 100_000


def test_an_empty_histogram_knows_nothing() -> None:
    """Without values every figure is NaN, and merging one changes nothing."""
    empty = Histogram()
    assert all(map(isnan, (empty.min, empty.max, empty.mean, *empty.percentiles((0, 0.5, 1)))))
    one = histogram_of([3.0])
    one.merge(empty)
    one.add_many([])
    assert (one.count, one.min, one.max) == (1, 3.0, 3.0)


def test_zero_and_jitter_below_it_count_as_zero() -> None:
    """0 is a duration; a negative one, which only clock jitter makes, is 0."""
    histogram = histogram_of([0.0, -0.001, 0, 5.0])
    assert histogram.percentile(0.5) == 0.0
    assert (histogram.min, histogram.sum) == (0.0, 5.0)


@pytest.mark.parametrize("bad", [nan, inf])
def test_what_is_no_duration_is_refused(bad: float) -> None:
    """NaN and infinity raise and leave the histogram as it was."""
    histogram = histogram_of([1.0])
    with pytest.raises(ValueError, match="NaN or infinite"):
        histogram.add_many([2.0, bad])
    assert (histogram.count, histogram.max) == (1, 1.0)


def test_memory_is_flat() -> None:
    """A million values from nanoseconds to months take no more than 217 KB."""
    values = 10 ** np.random.default_rng(3).uniform(-8, 12, 1_000_000)
    histogram = histogram_of(values.tolist())
    assert histogram._counts.nbytes <= 217_096
    assert histogram.percentile(1) == values.max()


def test_ranks_are_not_misled_by_binary_fractions() -> None:
    """0.07 of 100 is rank 7, though 0.07 * 100 is more than 7 in binary."""
    assert ceil(0.07 * 100) == 8
    assert nearest_rank(0.07, 100) == 7
    assert [nearest_rank(q, 10) for q in (0, 0.1, 0.11, 0.9, 1)] == [1, 1, 2, 9, 10]


@pytest.mark.parametrize("q", [-0.1, 1.1, 99, nan])
def test_a_percentile_is_a_fraction(q: float) -> None:
    """99 for 0.99 is refused with the remedy."""
    with pytest.raises(ValueError, match="fraction from 0 to 1"):
        histogram_of([1.0]).percentile(q)


@pytest.mark.parametrize(
    ("q", "least"), [(0, 1), (0.5, 10), (0.9, 50), (0.95, 100), (0.99, 500), (0.999, 5000), (1, 1)]
)
def test_support_needs_five_observations_beyond(q: float, least: int) -> None:
    """A percentile is supported from the count on that puts five observations beyond it."""
    assert support_needed(q) == least
    assert supported(q, least)
    assert not supported(q, least - 1)


@given(samples)
def test_values_at_ranks_are_those_of_the_sorted_values(values: list[float]) -> None:
    """The value at each 1-based rank is the sorted sample's to 0.1 %, the two ends exactly."""
    histogram, exact = histogram_of(values), sorted(values)
    found = histogram.values_at(range(1, len(values) + 1))
    assert found == pytest.approx(exact, rel=0.001, abs=0)
    assert (found[0], found[-1]) == (exact[0], exact[-1])
    assert found == sorted(found)


@given(samples)
def test_buckets_are_the_sample_rounded(values: list[float]) -> None:
    """Each observation is in one bucket, whose middle is within 0.1 % of it; none is empty."""
    middles, counts = histogram_of(values).buckets()
    assert counts.sum() == len(values)
    assert counts.min() > 0
    assert list(middles) == sorted(set(middles))
    assert list(np.repeat(middles, counts)) == pytest.approx(sorted(values), rel=0.001, abs=0)


def test_an_empty_histogram_has_no_bucket() -> None:
    """Without values there is no bucket, and no deviation below two of them."""
    middles, counts = Histogram().buckets()
    assert (len(middles), len(counts)) == (0, 0)
    assert isnan(Histogram().deviation)
    assert isnan(histogram_of([5.0]).deviation)


@given(st.lists(samples, min_size=1, max_size=5))
def test_the_deviation_is_that_of_the_sample(parts: list[list[float]]) -> None:
    """Added in parts or merged, the deviation is that of the statistics module (n - 1)."""
    values = [value for part in parts for value in part]
    added, merged = Histogram(), Histogram()
    for part in parts:
        added.add_many(part)
        merged.merge(histogram_of(part))
    for histogram in (added, merged):
        if len(values) > 1:
            close = pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-9)
            assert histogram.deviation == close
        else:
            assert isnan(histogram.deviation)


def test_a_small_deviation_keeps_its_digits_beside_a_large_mean() -> None:
    """10 ns around 100 s: sums of plain squares would leave nothing of it."""
    histogram = Histogram()
    for _ in range(100):
        histogram.add_many([100_000.0, 100_000.00001] * 500)
    assert histogram.deviation == pytest.approx(0.000005 * sqrt(100_000 / 99_999), rel=1e-5)
