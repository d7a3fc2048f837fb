"""Thresholds: how they are read, how they are held against figures, and the words of it."""

from __future__ import annotations

from math import isnan, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.blocks import Block
from crawler.errors import UsageError
from crawler.figures import Figures
from crawler.histogram import Histogram
from crawler.record import ERROR_CLASSES
from crawler.samples import PHASES
from crawler.thresholds import Threshold, parse_limit, parse_thresholds
from crawler.verdicts import Verdict, judge


def figures_of(elapsed_ms, *, lag_ms: float = 0.0, failed: int = 0, per_s: float = 100) -> Figures:
    """Figures of successes that took ``elapsed_ms``, and of failures, begun at an even rate."""
    times = np.concatenate((np.asarray(elapsed_ms, dtype=float), np.full(failed, 5.0)))
    n, ok = len(times), len(times) - failed
    block = Block(
        run="r",
        names=("e",),
        group=np.zeros(n, np.int64),
        started_s=1.7e9 + np.arange(n) / per_s,
        elapsed_ms=times,
        lag_ms=np.full(n, lag_ms),
        phases_ms=np.tile([1.0, 2.0, 3.0, 4.0, 5.0], (n, 1)),
        status=np.where(np.arange(n) < ok, 200, 0),
        error=np.where(np.arange(n) < ok, -1, ERROR_CLASSES.index("timeout")),
        bytes=np.ones(n, np.int64),
        reused=np.arange(n) > 0,
        sent=np.ones(n, np.bool_),
    )
    figures = Figures()
    figures.add(block)
    return figures


def verdict(text: str, figures: Figures, main: Histogram | None = None) -> Verdict:
    (threshold,) = parse_thresholds(text)
    return judge(threshold, figures, figures.total.service if main is None else main)


@pytest.mark.parametrize(
    ("text", "kind", "of", "q", "comparison", "limit"),
    [
        ("p95<300ms", "percentile", "", 0.95, "<", 300),
        ("p99.9<=1s", "percentile", "", 0.999, "<=", 1000),
        ("p99.9999 > 500us", "percentile", "", 0.999999, ">", 0.5),
        ("mean<50ms", "mean", "", 0, "<", 50),
        ("min>=0ms", "min", "", 0, ">=", 0),
        ("max<2s", "max", "", 0, "<", 2000),
        ("errors<1%", "share", "", 0, "<", 0.01),
        ("errors<=0.1 %", "share", "", 0, "<=", 0.001),
        ("errors<=10", "failures", "", 0, "<=", 10),
        ("rate>450/s", "rate", "", 0, ">", 450),
        ("rate>=30/m", "rate", "", 0, ">=", 0.5),
        ("rate>450", "rate", "", 0, ">", 450),
        ("service.p95<1m", "percentile", "service", 0.95, "<", 60_000),
        ("response.p99.9<1.5s", "percentile", "response", 0.999, "<", 1500),
        ("lag.p99<2ms", "percentile", "lag", 0.99, "<", 2),
        ("wait.max<2ms", "max", "wait", 0, "<", 2),
    ],
)
def test_thresholds_as_users_write_them(text, kind, of, q, comparison, limit) -> None:
    """A figure, a comparison and a limit in the figure's own unit."""
    assert parse_thresholds(text) == (Threshold(text, kind, of, q, comparison, limit),)


def test_several_thresholds_in_one_text() -> None:
    """Commas part thresholds, blanks around them do not matter, each keeps its own text."""
    found = parse_thresholds(" p95<300ms, errors<1% ,rate>450/s")
    assert [threshold.text for threshold in found] == ["p95<300ms", "errors<1%", "rate>450/s"]


@pytest.mark.parametrize(
    ("text", "column", "said"),
    [
        ("", 1, "nothing stands there"),
        ("p95", 1, "'p95' has no limit"),
        ("p95<300ms,", 11, "nothing stands there"),
        ("p95<300ms, p99", 12, "'p99' has no limit"),
        ("p95==300ms", 4, "'==' is no comparison"),
        ("p95=<300ms", 4, "'=<' is no comparison"),
        ("p95<", 5, "nothing stands there"),
        ("p95<300", 5, "'300' has no unit"),
        ("p95<300xs", 5, "'300xs' is no duration"),
        ("p95<-3ms", 5, "'-3ms' is no duration"),
        ("<300ms", 1, "nothing stands there"),
        ("p100<3s", 1, "'p100' is nothing that is measured"),
        ("p0<3s", 1, "'p0' is nothing that is measured"),
        ("p<3s", 1, "'p' is nothing that is measured"),
        ("q95<3s", 1, "'q95' is nothing that is measured"),
        ("errors<1%,latency<3s", 11, "'latency' is nothing that is measured"),
        ("service.errors<1%", 9, "'errors' is nothing that is measured"),
        ("servce.p95<3s", 1, "'servce' is no time"),
        ("errors<101%", 8, "'101%' is no share up to 100% and no count"),
        ("errors<1.5", 8, "'1.5' is no share up to 100% and no count"),
        ("rate>450/x", 10, "'x' is no unit of a rate"),
        ("rate>fast", 6, "'fast' is no rate"),
        ("p95<1s<2s", 5, "'1s<2s' is no duration"),
    ],
)
def test_what_is_no_threshold_is_told_with_its_column(text: str, column: int, said: str) -> None:
    """An error names the option, the column of what is wrong, and gives an example."""
    with pytest.raises(UsageError) as caught:
        parse_thresholds(text, "--fail-on")
    message = str(caught.value)
    assert message.startswith(f"--fail-on {text!r}, column {column}: {said}")
    assert "; give it as " in message


@given(st.text(alphabet="p9.5<>=,ms%errorate /", max_size=20))
def test_any_text_is_a_threshold_or_an_error_within_it(text: str) -> None:
    """Whatever is given is read, or refused with a column that lies in it."""
    try:
        found = parse_thresholds(text)
    except UsageError as exc:
        column = int(str(exc).split(", column ")[1].split(":")[0])
        assert 1 <= column <= len(text) + 1
    else:
        assert all(parse_thresholds(threshold.text) == (threshold,) for threshold in found)


@pytest.mark.parametrize(
    ("name", "limit", "text"),
    [
        ("p95", "200ms", "p95<=200ms"),
        ("p99_9", "1s", "p99.9<=1s"),
        ("lag_p99", "2ms", "lag.p99<=2ms"),
        ("errors", "0%", "errors<=0%"),
        ("errors", 3, "errors<=3"),
        ("rate", "450/s", "rate>=450/s"),
        ("rate", 450, "rate>=450"),
        ("p95", "<200ms", "p95<200ms"),
    ],
)
def test_limits_by_name_are_the_most_and_of_a_rate_the_least(name, limit, text) -> None:
    """``p95="200ms"`` means at most that, ``rate=450`` at least; a comparison may be given."""
    assert (parse_limit(name, limit, "marker"),) == parse_thresholds(text)


@given(st.lists(st.floats(0.5, 5000), min_size=1, max_size=80), st.integers(1, 5000))
def test_the_point_estimate_decides(values: list[float], limit: int) -> None:
    """Held or broken goes by the figure itself, whatever the margin of error."""
    figures = figures_of(values)
    for text, value in [
        (f"p95<{limit}ms", figures.total.service.percentile(0.95)),
        (f"mean<{limit}ms", figures.total.service.mean),
        (f"max<{limit}ms", max(values)),
        (f"min<{limit}ms", min(values)),
    ]:
        found = verdict(text, figures)
        assert found.measured == value
        assert found.passed == (value < limit)
        assert f": {'held' if found.passed else 'broken'}: " in found.words


def test_the_words_of_a_clear_verdict() -> None:
    """The threshold, what came of it, what was measured, and how sure that is."""
    figures = figures_of(np.linspace(100, 200, 1001))
    held, broken = verdict("p50<300ms", figures), verdict("p50<120ms", figures)
    assert (held.passed, broken.passed, held.grey, broken.grey) == (True, False, False, False)
    bounds = "(95 % confidence: 147-153 ms)"
    assert held.words == f"p50<300ms: held: service time 150 ms {bounds}"
    assert broken.words == f"p50<120ms: broken: service time 150 ms {bounds}"


@pytest.mark.parametrize(("limit", "came"), [("149ms", "broken"), ("151ms", "held")])
def test_a_limit_within_the_interval_is_said_to_be(limit: str, came: str) -> None:
    """Near the limit another run could end differently: the words say so, both ways."""
    found = verdict(f"p50<{limit}", figures_of(np.linspace(100, 200, 1001)))
    assert found.grey
    assert found.low <= 150 <= found.high
    assert found.words == (
        f"p50<{limit}: {came}: service time 150 ms, within the margin of error: 147-153 ms"
    )


def test_the_words_tell_a_value_from_a_limit_it_is_not_equal_to() -> None:
    """300.04 ms is not under 300 ms, and is not written as 300 ms beside it."""
    found = verdict("max<300ms", figures_of([300.04]))
    assert not found.passed
    assert found.words == "max<300ms: broken: service time 300.04 ms"
    assert verdict("max<=300ms", figures_of([300.0])).passed


@pytest.mark.parametrize(
    ("ms", "text"), [(0.0851, "85.1 µs"), (4.0, "4 ms"), (312.0, "312 ms"), (12_340.0, "12.3 s")]
)
def test_durations_are_told_in_the_unit_that_suits_them(ms: float, text: str) -> None:
    """Microseconds, milliseconds or seconds, to three digits."""
    assert verdict("max<1m", figures_of([ms])).words == f"max<1m: held: service time {text}"


def test_bounds_that_read_alike_are_told_as_one() -> None:
    """Where the margin is finer than the digits, it is still told that there is one."""
    found = verdict("p50<100ms", figures_of([152.0] * 1000))
    assert not found.grey
    assert found.words.endswith("service time 152 ms (95 % confidence: 152 ms)")


def test_too_few_samples_for_a_percentile_are_told() -> None:
    """A percentile of few is judged by nearest rank and never as if it were sure."""
    found = verdict("p99.9<300ms", figures_of(np.linspace(1, 40, 40)))
    assert found.passed
    assert found.grey
    assert found.measured == 40
    assert found.words == (
        "p99.9<300ms: held: service time 40 ms; too few samples: 40 where 5,000 are needed"
    )
    some = verdict("p99<200ms", figures_of(np.linspace(1, 200, 200)))
    assert some.grey
    assert some.words == (
        "p99<200ms: held: service time 198 ms, within the margin of error: 195 ms or more; "
        "too few samples: 200 where 500 are needed"
    )


def test_a_mean_of_few_is_told_to_have_no_margin() -> None:
    """Of 12 requests a mean is given, and said to be of too few for its margin."""
    found = verdict("mean<20ms", figures_of([10.0] * 6 + [20.0] * 6))
    assert found.passed
    assert found.words == ("mean<20ms: held: service time 15 ms; too few for a margin of error: 12")
    sure = verdict("mean<20ms", figures_of([10.0, 20.0] * 200))
    assert not sure.grey
    assert sure.words.endswith("service time 15 ms (95 % confidence: 14.5-15.5 ms)")


def test_a_share_of_errors_has_wilsons_margin() -> None:
    """8 failures of 1,000 hold 1 %, but only just; 32 break it for sure."""
    near = verdict("errors<1%", figures_of([5.0] * 992, failed=8))
    assert near.passed
    assert near.grey
    assert near.words == (
        "errors<1%: held: 0.8 % (8 of 1,000 failed), within the margin of error: 0.406-1.57 %"
    )
    far = verdict("errors<1%", figures_of([5.0] * 968, failed=32))
    assert not far.passed
    assert not far.grey
    assert far.words == (
        "errors<1%: broken: 3.2 % (32 of 1,000 failed; 95 % confidence: 2.28-4.48 %)"
    )


def test_no_errors_at_all_is_a_fact_of_the_run() -> None:
    """That no request ever fails cannot be shown: errors<=0% speaks of those that were made."""
    none = verdict("errors<=0%", figures_of([5.0] * 50))
    assert none.passed
    assert not none.grey
    one = verdict("errors<=0%", figures_of([5.0] * 49, failed=1))
    assert not one.passed
    assert one.words.startswith("errors<=0%: broken: 2 % (1 of 50 failed; ")


def test_a_count_of_errors_has_no_margin() -> None:
    """``errors<=10`` counts the failures of this run."""
    broken = verdict("errors<=10", figures_of([5.0] * 988, failed=12))
    assert not broken.grey
    assert broken.words == "errors<=10: broken: 12 (12 of 1,000 failed)"
    assert verdict("errors<=12", figures_of([5.0] * 988, failed=12)).passed


def test_a_rate_is_of_all_requests_over_the_whole_time() -> None:
    """From the first start to the last end, failures too."""
    found = verdict("rate>95/s", figures_of([1000.0] * 1001, per_s=100))
    assert found.measured == pytest.approx(1001 / 11)
    assert not found.passed
    assert found.words == "rate>95/s: broken: 91/s (1,001 requests in 11 s)"


def test_a_latency_without_a_name_is_the_main_one() -> None:
    """Response time in an open loop, service time else; a name asks for the one it names."""
    figures = figures_of([10.0] * 100, lag_ms=50)
    open_loop = figures.total.response
    assert verdict("max<20ms", figures).words == "max<20ms: held: service time 10 ms"
    assert verdict("max<20ms", figures, open_loop).words == (
        "max<20ms: broken: response time 60 ms"
    )
    assert verdict("service.max<20ms", figures, open_loop).words == "service.max<20ms: held: 10 ms"
    assert verdict("response.max<20ms", figures).words == "response.max<20ms: broken: 60 ms"
    assert verdict("lag.max<60ms", figures).words == "lag.max<60ms: held: 50 ms"


@pytest.mark.parametrize(("phase", "ms"), list(zip(PHASES, range(1, 6), strict=True)))
def test_each_phase_can_have_a_limit(phase: str, ms: int) -> None:
    """The phases of a report are names of times."""
    found = verdict(f"{phase}.max<=9ms", figures_of([20.0] * 10))
    assert found.measured == ms
    assert found.words == f"{phase}.max<=9ms: held: {ms} ms"


@pytest.mark.parametrize(
    ("text", "failed", "why"),
    [
        ("p95<300ms", 7, "no request of 7 succeeded, so there is no latency"),
        ("service.mean<300ms", 7, "no request of 7 succeeded, so there is no latency"),
        ("wait.p95<300ms", 7, "no wait was measured"),
        ("p95>1ms", 7, "no request of 7 succeeded, so there is no latency"),
        ("errors<1%", 0, "no request was made"),
        ("errors>=0", 0, "no request was made"),
        ("rate>1/s", 0, "there is no rate: nothing took any time"),
        ("lag.p99<1ms", 0, "no lag was measured"),
    ],
)
def test_what_cannot_be_measured_is_broken(text: str, failed: int, why: str) -> None:
    """Without a success there is no latency, and no threshold is held by its absence."""
    figures = figures_of([], failed=failed) if failed else Figures()
    found = verdict(text, figures)
    assert not found.passed
    assert not found.grey
    assert isnan(found.measured)
    assert found.words == f"{text}: broken: {why}"


def test_nan_is_on_no_side_of_a_limit() -> None:
    """A figure that is none holds no threshold, whichever way it compares."""
    for comparison in ("<", "<=", ">", ">="):
        assert not Threshold("t", "max", "", 0, comparison, 5).holds(nan)


@given(
    st.lists(st.floats(0.001, 1e6), min_size=1, max_size=60),
    st.integers(0, 20),
    st.sampled_from(["p50", "p90", "p99.9", "mean", "min", "max", "lag.p50", "receive.mean"]),
    st.floats(0.001, 1e6),
)
def test_words_are_one_line_for_any_figures(values, failed, metric, limit) -> None:
    """Whatever was measured, the words are one line that begins with the threshold."""
    text = f"{metric}<{limit:.6f}ms"
    words = verdict(text, figures_of(values, failed=failed)).words
    assert words.startswith(f"{text}: ")
    assert words.isprintable()
    assert "nan" not in words
