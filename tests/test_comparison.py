"""Comparisons held to scipy, to published examples, and to what their words promise."""

from __future__ import annotations

from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, brunnermunzel, mannwhitneyu

from crawler.compared import Compared, Plan
from crawler.comparison import compare
from crawler.errors import UsageError
from crawler.figures import Figures
from crawler.histogram import Histogram
from crawler.rank_test import holm, rank_test
from crawler.shifts import (
    LEVEL,
    percentile_change,
    percentile_evidence,
    share_change,
    share_evidence,
)
from tests.comparison_cases import block, drawn, figures_of, histogram_of

NOMINAL = 0.05


def slack(share: float, trials: int) -> float:
    """How far off chance may put a share seen in so many trials: 3.5 standard errors."""
    return 3.5 * sqrt(share * (1 - share) / trials)


# The rank test.

tied_times = st.lists(st.integers(1, 40), min_size=10, max_size=60)


@given(tied_times, tied_times)
def test_the_rank_test_is_scipys(old: list[int], new: list[int]) -> None:
    """U, its p-value with ties, and the bounds of the chance of slower are what scipy has."""
    ours = rank_test(histogram_of(old), histogram_of(new))
    assert ours is not None
    theirs = mannwhitneyu(new, old, method="asymptotic")
    assert ours.u == theirs.statistic
    if len(set(old + new)) > 1:
        assert ours.p_value == pytest.approx(theirs.pvalue, abs=1e-12)
    if ours.low > 0 and ours.high < 1 and ours.high > ours.low:
        munzel = brunnermunzel(old, new, distribution="normal")
        error = (ours.high - ours.slower) / 1.959963984540054
        assert (ours.slower - 0.5) / error == pytest.approx(munzel.statistic, abs=1e-6)


def test_the_rank_test_of_large_logs_is_exact_enough() -> None:
    """A million requests do not overflow, and buckets of 0.2 % change nothing that counts."""
    rng = np.random.default_rng(7)
    old, new = drawn("pareto", 50_000, rng), 1.01 * drawn("pareto", 50_000, rng)
    theirs = mannwhitneyu(new, old, method="asymptotic")
    ours = rank_test(histogram_of(old), histogram_of(new))
    assert ours is not None
    assert ours.u == pytest.approx(theirs.statistic, rel=1e-4)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=0.05)
    same = histogram_of(np.full(1_000_000, 3.0))
    tied = rank_test(same, same)
    assert tied is not None
    assert (tied.p_value, tied.slower, tied.effect) == (1.0, 0.5, "negligible")


def test_the_rank_test_needs_ten() -> None:
    """Nine on a side are too few for the normal approximation."""
    assert rank_test(histogram_of(range(1, 10)), histogram_of(range(1, 100))) is None
    assert rank_test(histogram_of(range(1, 11)), histogram_of(range(1, 100))) is not None


@pytest.mark.parametrize(
    ("slower", "word"), [(50, "negligible"), (60, "small"), (70, "medium"), (80, "large")]
)
def test_the_size_of_an_effect_in_words(slower: int, word: str) -> None:
    """Cliff's delta is told in Romano's words: 0.147, 0.33 and 0.474 part them."""
    old = histogram_of([2.0] * 100)
    new = histogram_of([3.0] * slower + [1.0] * (100 - slower))
    ranks = rank_test(old, new)
    assert ranks is not None
    assert ranks.delta == pytest.approx((2 * slower - 100) / 100)
    assert ranks.effect == word


def test_holm_by_hand() -> None:
    """The smallest p-value is multiplied by all, the next by one fewer, never decreasing."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=30))
def test_holm_stands_between_none_and_bonferroni(p_values: list[float]) -> None:
    """Adjusted p-values keep their order, and none is below its own or above Bonferroni's."""
    adjusted = holm(p_values)
    for raw, each in zip(p_values, adjusted, strict=True):
        assert raw <= each <= max(1.0, raw)
        assert min(adjusted, default=0) <= min(1.0, len(p_values) * min(p_values)) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= 0)


# Changes of shares.


@pytest.mark.parametrize(
    ("new", "old", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
    ],
)
def test_the_change_of_a_share_is_newcombes(
    new: tuple[int, int], old: tuple[int, int], low: float, high: float
) -> None:
    """The bounds are those that Newcombe's paper gives for method 10 (1998, table II)."""
    change = share_change(old, new)
    assert (change.low, change.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 300), st.integers(0, 300), st.integers(1, 300), st.integers(1, 300))
def test_the_change_of_a_share_is_joined_of_scipys_intervals(
    old: int, new: int, olds: int, news: int
) -> None:
    """Wilson's bounds as scipy has them, joined by distances; the p-value agrees with them."""
    old, new = min(old, olds), min(new, news)
    before = binomtest(old, olds).proportion_ci(method="wilson")
    after = binomtest(new, news).proportion_ci(method="wilson")
    shares = old / olds, new / news
    difference = shares[1] - shares[0]
    low = difference - np.hypot(shares[1] - after.low, before.high - shares[0])
    high = difference + np.hypot(after.high - shares[1], shares[0] - before.low)
    change = share_change((old, olds), (new, news))
    assert (change.difference, change.low, change.high) == pytest.approx((difference, low, high))
    evidence = share_evidence((old, olds), (new, news), 0.01)
    assert (evidence.changed <= LEVEL) == (change.low > 0 or change.high < 0)
    assert (evidence.beyond <= LEVEL) == (change.low > 0.01)


# Changes of percentiles.


@pytest.mark.parametrize("kind", ["lognormal", "pareto", "ties"])
@pytest.mark.parametrize(("q", "count"), [(0.5, 40), (0.5, 600), (0.95, 120), (0.95, 600)])
def test_intervals_of_changes_cover(kind: str, q: float, count: int) -> None:
    """The 95 % interval holds the true change at least so often, heavy tails and ties included."""
    rng = np.random.default_rng(11)
    trials, held = 300, 0
    for old, new in drawn(kind, (trials, 2, count), rng):
        factor = 2.0 if kind == "ties" else 1.2  # ceiled times keep their ties when doubled
        change = percentile_change(histogram_of(old), histogram_of(factor * new), q)
        held += change.relative_low <= factor - 1 <= change.relative_high
    assert held / trials >= 1 - NOMINAL - slack(NOMINAL, trials)


@given(
    st.lists(st.floats(0.01, 1e4), min_size=30, max_size=300),
    st.lists(st.floats(0.01, 1e4), min_size=30, max_size=300),
    st.sampled_from([0.0, 0.05, 0.5]),
)
def test_a_p_value_says_what_the_interval_says(
    old: list[float], new: list[float], threshold: float
) -> None:
    """A change is shown exactly where the 95 % interval leaves none out, and so for a threshold."""
    olds, news = histogram_of(old), histogram_of(new)
    change = percentile_change(olds, news, 0.5)
    evidence = percentile_evidence(olds, news, 0.5, threshold)
    assert (evidence.changed <= LEVEL) == (change.relative_low > 0 or change.relative_high < 0)
    assert (evidence.beyond <= LEVEL) == (change.relative_low > threshold)
    assert change.relative_low <= change.relative <= change.relative_high
    assert change.difference_low_ms <= change.difference_ms <= change.difference_high_ms


def test_changes_that_there_are_not() -> None:
    """Empty samples, bounds that a small one cannot give and times of zero are NaN, no crash."""
    few, empty = histogram_of([1, 2, 3]), Histogram()
    assert isnan(percentile_change(empty, few, 0.5).relative)
    assert isnan(percentile_change(few, few, 0.95).relative_low)
    assert not percentile_change(few, few, 0.95).supported
    zero = histogram_of([0.0] * 50)
    change = percentile_change(zero, histogram_of([1.0] * 50), 0.5)
    assert isnan(change.relative)
    assert change.difference_ms == 1.0
    assert isnan(share_change((0, 0), (1, 2)).difference)


# Verdicts.


def compared(old: object, new: object, **plan: object) -> Compared:
    """One endpoint's latencies on both sides, compared."""
    before, after = (figures_of({"/a": values}) for values in (old, new))  # type: ignore[dict-item]
    return compare(before, after, Plan(**plan)).total  # type: ignore[arg-type]


def verdicts(kind: str, factor: float, count: int, trials: int, seed: int) -> list[Compared]:
    rng = np.random.default_rng(seed)
    pairs = drawn(kind, (trials, 2, count), rng)
    return [compared(old, factor * new) for old, new in pairs]


@pytest.mark.parametrize("kind", ["lognormal", "pareto", "ties"])
def test_false_alarms_are_near_the_nominal_share(kind: str) -> None:
    """With nothing changed, one endpoint gets a word of change in at most 5 %, but not never."""
    trials = 400
    words = [each.verdict for each in verdicts(kind, 1.0, 300, trials, 23)]
    alarms = sum(word != "no difference shown" for word in words) / trials
    assert 0.005 <= alarms <= NOMINAL + slack(NOMINAL, trials)


def test_false_alarms_of_many_endpoints_are_those_of_one() -> None:
    """Of whole comparisons of 16 endpoints at most 5 % show any word of change anywhere."""
    rng = np.random.default_rng(31)
    trials, alarms = 100, 0
    uncorrected = 0
    for _ in range(trials):
        old, new = (
            figures_of({f"/{i}": drawn("lognormal", 120, rng) for i in range(16)}) for _ in "ab"
        )
        comparison = compare(old, new, Plan())
        rows = (*comparison.rows, comparison.total)
        alarms += any(row.verdict != "no difference shown" for row in rows)
        uncorrected += any(row.ranks is not None and row.ranks.p_value < NOMINAL for row in rows)
        assert not comparison.broken
    assert alarms / trials <= NOMINAL + slack(NOMINAL, trials)
    assert uncorrected / trials > 0.4  # what the correction is for


@pytest.mark.parametrize(
    ("kind", "factor", "least", "most"),
    [
        ("lognormal", 1.02, 0.02, 0.25),
        ("lognormal", 1.05, 0.30, 0.65),
        ("lognormal", 1.20, 0.99, 1.0),
        ("pareto", 1.02, 0.02, 0.30),
        ("pareto", 1.05, 0.35, 0.85),
        ("pareto", 1.20, 0.99, 1.0),
        ("ties", 1.20, 0.99, 1.0),
    ],
)
def test_power_to_see_a_shift(kind: str, factor: float, least: float, most: float) -> None:
    """Of 1,000 requests a side, 2 % slower is rarely seen, 5 % often, 20 % always; never as faster.

    Theory for the lognormal (sigma 0.5): z = (ln(factor) / 0.5) x 0.977 x sqrt(1000 / 2), so 0.09,
    0.46 and 1.00 at the corrected level of 2.5 %.
    """
    trials = 150
    words = [each.verdict for each in verdicts(kind, factor, 1000, trials, 41)]
    assert least <= words.count("slower") / trials <= most
    assert words.count("faster") / trials <= NOMINAL


def test_breaking_is_rare_at_the_threshold_and_sure_beyond_it() -> None:
    """A p95 just at the threshold breaks in at most 2.5 %; one far beyond it always does."""
    trials = 250
    at = [each.beyond for each in verdicts("lognormal", 1.05, 400, trials, 53)]
    assert sum(at) / trials <= NOMINAL / 2 + slack(NOMINAL / 2, trials)
    far = [each.beyond for each in verdicts("lognormal", 1.6, 1000, 50, 59)]
    assert all(far)


def steady(count: int, seed: int = 1) -> np.ndarray:
    return drawn("lognormal", count, np.random.default_rng(seed))


def test_a_slower_tail_is_slower_though_most_requests_are_not() -> None:
    """A tail that the rank test hardly sees is found by the metric's own interval, and breaks."""
    old, new = steady(3000), steady(3000)
    new[new > np.quantile(new, 0.94)] *= 2
    tail = compared(old, new)
    assert (tail.verdict, tail.beyond, tail.by_ranks) == ("slower", True, False)
    assert tail.p_values.ranks > LEVEL


def test_most_requests_slower_though_the_metric_is_not() -> None:
    """A shift that p95 cannot show is shown by ranks, is told as such, and does not break."""
    old, new = steady(1000), steady(1000, 2)
    bulk = new < np.quantile(new, 0.9)
    new[bulk] *= 1.2
    shift = compared(old, new)
    assert (shift.verdict, shift.beyond, shift.by_ranks) == ("slower", False, True)


def test_opposite_ways_are_told() -> None:
    """Where most requests got faster and the tail slower, the metric decides, marked as mixed."""
    old, new = steady(3000), 0.8 * steady(3000, 2)
    new[new > np.quantile(new, 0.9)] *= 3
    both = compared(old, new)
    assert (both.verdict, both.mixed, both.beyond) == ("slower", True, True)
    assert both.ranks is not None
    assert both.ranks.slower < 0.5


def test_too_few_samples() -> None:
    """A p95 of 50 requests is too few to say that nothing changed, but not to see twice as slow."""
    old, new = steady(50), steady(50, 2)
    few = compared(old, new)
    assert few.verdict == "too few samples"
    assert (few.p_values.metric, few.p_values.beyond) == (1.0, 1.0)
    slow = compared(old, 3 * new)
    assert (slow.verdict, slow.by_ranks, slow.breaks) == ("slower", True, False)
    assert compared(old, new, metric="p50").verdict == "no difference shown"
    assert compared(old[:3], 9 * new[:3]).verdict == "too few samples"


def test_identical_logs_show_nothing() -> None:
    """A log against itself: no change, whatever the percentile, and nothing breaks."""
    same = figures_of({"/a": steady(500), "/b": steady(700, 2)})
    comparison = compare(same, same, Plan(threshold=0.0, error_threshold=0.0))
    assert not comparison.broken
    for row in (*comparison.rows, comparison.total):
        assert row.verdict == "no difference shown"
        assert {change.relative for change in row.changes.values()} == {0.0}


def test_more_errors_break_beyond_their_own_threshold() -> None:
    """An error share that surely rose is told, and breaks where surely beyond its limit."""
    old = figures_of({"/a": steady(1000)})
    few, many = (figures_of({"/a": steady(1000)}, failed=failed) for failed in (9, 50))
    slight = compare(old, few, Plan()).total
    assert (slight.error_verdict, slight.errors_beyond) == ("more errors", False)
    assert compare(old, few, Plan(error_threshold=0.001)).total.errors_beyond
    grave = compare(old, many, Plan())
    assert grave.total.errors_beyond
    assert grave.total.verdict == "no difference shown"
    assert [row.name for row in grave.broken] == ["/a"]
    assert compare(many, old, Plan()).total.error_verdict == "fewer errors"


def test_a_side_without_successes() -> None:
    """Where all requests failed there is no latency to compare, but there are the errors."""
    old = figures_of({"/a": steady(200)})
    new = figures_of({"/a": []}, failed=200)
    total = compare(old, new, Plan()).total
    assert (total.verdict, total.error_verdict) == ("too few samples", "more errors")
    assert total.errors_beyond
    nothing = compare(figures_of({}), new, Plan())
    assert (nothing.total.verdict, nothing.broken) == ("too few samples", ())


def test_endpoints_of_one_log_only_and_those_of_both() -> None:
    """Endpoints are matched by name; what only one log has is listed, and not compared."""
    old = figures_of({"/a": steady(300), "/gone": steady(30)})
    new = figures_of({"/a": steady(300, 2), "/b": steady(20), "/c": steady(40)})
    comparison = compare(old, new, Plan())
    assert [row.name for row in comparison.rows] == ["/a"]
    assert comparison.only_old == (("/gone", 30),)
    assert comparison.only_new == (("/c", 40), ("/b", 20))
    assert comparison.total.new.requests == 360
    whole = compare(old, new, Plan(scope="total"))
    assert (whole.rows, whole.only_old, whole.only_new) == ((), (), ())


def test_one_endpoint_is_tested_once() -> None:
    """Where the only endpoint is all there is, the total is the same test and costs nothing."""
    old, new = steady(800), 1.1 * steady(800, 2)
    alone = compare(figures_of({"/a": old}), figures_of({"/a": new}), Plan())
    total = compare(figures_of({"/a": old}), figures_of({"/a": new}), Plan(scope="total"))
    assert alone.rows[0].p_values == alone.total.p_values == total.total.p_values


def test_what_breaks_stands_first() -> None:
    """Rows are ordered: those that break, those that changed, then by requests."""
    times = {"/busy": steady(2000), "/worse": steady(400), "/better": steady(400)}
    new = {**times, "/worse": 3 * steady(400), "/better": 0.5 * steady(400)}
    comparison = compare(figures_of(times), figures_of(new), Plan())
    assert [row.name for row in comparison.rows] == ["/worse", "/better", "/busy"]


def test_an_endpoint_whose_status_changed_is_listed() -> None:
    """An endpoint whose most frequent status is another one now is told with both shares."""
    old = figures_of({"/a": steady(90), "/b": steady(90)}, failed=10)
    new = figures_of({"/a": steady(90)}, failed=10, status=204)
    new.add(block("/b", steady(90), failed=10))
    assert compare(old, new, Plan()).status_changes == (("/a", 200, 0.9, 204, 0.9),)


def test_response_times_are_compared_where_asked() -> None:
    """The latency is the one that the plan names: response time has our lag in it."""
    old, new = figures_of({"/a": [5.0] * 100}), figures_of({"/a": [5.0] * 100})
    new.total.response.merge(histogram_of([50.0] * 100))
    new.groups["/a"].response.merge(histogram_of([50.0] * 100))
    assert compare(old, new, Plan()).total.verdict == "no difference shown"
    assert compare(old, new, Plan(latency="response")).total.verdict == "slower"


@pytest.mark.parametrize(
    "plan",
    [{"metric": "p42"}, {"threshold": -0.1}, {"threshold": float("nan")}, {"error_threshold": 1.5}],
)
def test_a_plan_that_cannot_be_is_refused(plan: dict[str, object]) -> None:
    """Unknown metrics and thresholds that are no shares are usage errors."""
    with pytest.raises(UsageError):
        Plan(**plan)  # type: ignore[arg-type]


def test_what_only_ranks_show_never_breaks() -> None:
    """A metric that is not shown to have changed breaks nothing, whatever its own limit says."""
    same = {f"/{i}": steady(100, i) for i in range(9)}
    old = figures_of({"/x": steady(1000), **same})
    new = figures_of({"/x": 1.1 * steady(1000, 27), **same})
    row = next(row for row in compare(old, new, Plan(threshold=0.0)).rows if row.name == "/x")
    assert row.by_ranks
    assert row.p_values.beyond <= LEVEL < row.p_values.metric
    assert not row.breaks


def test_the_group_of_others_is_not_compared() -> None:
    """What a log counts as (other) is not the same endpoints in two logs."""
    both = []
    for seed in (1, 2):
        figures = Figures(limit=1)
        for name in ("/a", "/b"):
            figures.add(block(name, steady(100, seed)))
        both.append(figures)
    comparison = compare(both[0], both[1], Plan())
    assert [row.name for row in comparison.rows] == ["/a"]
    assert comparison.only_old == comparison.only_new == ()
