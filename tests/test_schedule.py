"""The rules of a schedule: when requests are due, computed and never added up; and its texts."""

from __future__ import annotations

import math
import random
import statistics
import subprocess
import sys
from itertools import islice, pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.durations import duration_s, duration_text
from crawler.errors import UsageError
from crawler.schedule import Rate, Schedule, Stage, parse_ramp, parse_rate

RATES = st.just(0.0) | st.floats(0, 300).map(lambda rate: round(rate, 3))
STAGES = st.builds(Stage, RATES, RATES, st.floats(0.01, 2).map(lambda length: round(length, 3)))
RAMPS = st.lists(STAGES, min_size=1, max_size=5).filter(
    lambda stages: sum(stage.requests for stage in stages) > 0.01
)


def integral(stages: tuple[Stage, ...], offset_s: float) -> float:
    """Requests due until ``offset_s``, added up stage by stage as trapezoids."""
    total = 0.0
    for stage in stages:
        inside = min(max(offset_s, 0.0), stage.length_s)
        total += inside * (stage.start_per_s + stage.rate_at(inside)) / 2
        offset_s -= stage.length_s
    return total


@given(RAMPS)
@example([Stage(0, 500, 3), Stage(500, 500, 6), Stage(0, 0, 1), Stage(500, 0, 1)])
def test_request_k_is_due_when_the_integral_of_the_rate_reaches_k(stages: list[Stage]) -> None:
    """The integral up to the k-th moment is k, over any stages."""
    ramp = tuple(stages)
    for k, due_s in enumerate(Schedule(ramp).offsets()):
        assert integral(ramp, due_s) == pytest.approx(k, rel=1e-9, abs=2e-6)


@given(RAMPS, st.sampled_from(["constant", "poisson"]))
def test_moments_ascend_within_the_schedule_where_the_rate_is_above_0(stages, arrivals) -> None:
    """Moments never go back, end with the last stage, and none falls into a pause."""
    schedule = Schedule(tuple(stages), arrivals, seed=7)
    offsets = list(schedule.offsets())
    assert all(earlier <= later for earlier, later in pairwise(offsets))
    assert schedule.length_s is not None
    for due_s in offsets:
        assert 0 <= due_s <= schedule.length_s + 1e-9
        around = {schedule.stage_at(due_s - 1e-7), schedule.stage_at(due_s + 1e-7)}
        assert any(at is not None and stages[at].requests > 0 for at in around)


@given(RAMPS)
def test_a_ramp_has_as_many_requests_as_its_area(stages: list[Stage]) -> None:
    """As many are due as there are whole numbers from 0 below the integral of all stages."""
    schedule = Schedule(tuple(stages))
    count = sum(1 for _ in schedule.offsets())
    assert count == schedule.requests
    assert count == pytest.approx(math.fsum(stage.requests for stage in stages), abs=1.0)


def test_the_stages_of_the_manual_make_40000_requests() -> None:
    """0..500 in 30 s, 500 for a minute, 500..0 in 10 s: 7,500 + 30,000 + 2,500."""
    schedule = Schedule(parse_ramp("0..500@30s,500@1m,500..0@10s"))
    offsets = list(schedule.offsets())
    assert len(offsets) == schedule.requests == 40_000
    assert offsets[7_500] == 30.0
    assert offsets[37_500] == 90.0
    assert offsets[1] == pytest.approx(math.sqrt(2 * 30 / 500))
    assert offsets[-1] == pytest.approx(100 - math.sqrt(2 * 10 / 500))


@pytest.mark.parametrize(
    ("text", "count"),
    [("0.1@30s", 3), ("100/m@1m", 100), ("7/m@3m", 21), ("3@1s", 3), ("2.5@1s", 3)],
)
def test_a_whole_number_of_requests_is_neither_one_more_nor_less(text: str, count: int) -> None:
    """Rates that binary floats cannot hold still give the number that arithmetic gives."""
    assert sum(1 for _ in Schedule(parse_ramp(text)).offsets()) == count


def test_a_plain_rate_has_no_end_and_does_not_drift() -> None:
    """Request k of a rate is due at k / rate to the last bit, a million requests on."""
    schedule = Schedule(parse_rate("300").stages)
    assert schedule.length_s is None
    assert schedule.requests is None
    *_, last = islice(schedule.offsets(), 1_000_001)
    assert last == 1_000_000 / 300


def test_a_long_ramp_does_not_drift() -> None:
    """In a ramp of a day the last moment is as exact as the first: nothing is added up."""
    stages = (Stage(0, 10, 86_400), Stage(10, 10, 10))
    *_, last = Schedule(stages).offsets()
    assert last == pytest.approx(86_400 + 9.9, abs=1e-9)


def test_what_falls_on_the_beginning_of_a_pause_is_due_at_its_end() -> None:
    """Nothing is due while the rate is 0, not the first request either."""
    pause = Stage(0, 0, 5)
    schedule = Schedule((pause, Stage(2, 2, 1), pause, Stage(1, 1, 2)))
    assert list(schedule.offsets()) == [5.0, 5.5, 11.0, 12.0]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_poisson_gaps_are_exponential(seed: int) -> None:
    """The gaps of Poisson arrivals have mean and deviation 1 / rate, and so their median."""
    offsets = list(islice(Schedule(parse_rate("200").stages, "poisson", seed).offsets(), 40_000))
    gaps = [later - earlier for earlier, later in pairwise([0.0, *offsets])]
    assert statistics.fmean(gaps) == pytest.approx(1 / 200, rel=0.03)
    assert statistics.stdev(gaps) == pytest.approx(1 / 200, rel=0.03)
    assert statistics.median(gaps) == pytest.approx(math.log(2) / 200, rel=0.03)


def test_poisson_counts_follow_the_ramp() -> None:
    """The number of Poisson arrivals of a stage has the stage's area as mean and variance."""
    stages = (Stage(0, 100, 1), Stage(40, 40, 1))
    counts: list[list[int]] = [[], []]
    for seed in range(1500):
        offsets = list(Schedule(stages, "poisson", seed).offsets())
        counts[0].append(sum(due_s < 1 for due_s in offsets))
        counts[1].append(sum(due_s >= 1 for due_s in offsets))
    for stage, seen in zip(stages, counts, strict=True):
        assert statistics.fmean(seen) == pytest.approx(stage.requests, rel=0.03)
        assert statistics.variance(seen) == pytest.approx(stage.requests, rel=0.15)


def test_a_seed_gives_the_same_moments_again() -> None:
    """Poisson arrivals are the same for the same seed, and others for another."""
    stages = parse_rate("50").stages

    def first(seed: int) -> list[float]:
        return list(islice(Schedule(stages, "poisson", seed).offsets(), 20))

    assert first(4) == first(4)
    assert first(4) != first(5)


def test_the_asked_rate_is_told_at_every_moment() -> None:
    """The rate goes evenly in a stage; a boundary is the later stage's; outside there is none."""
    schedule = Schedule(parse_ramp("0..500@30s,500@1m,500..0@10s"))
    told = {at: schedule.rate_at(at) for at in (-1, 0, 15, 30, 60, 90, 95, 100, 200)}
    assert told == pytest.approx(
        {-1: 0, 0: 0, 15: 250, 30: 500, 60: 500, 90: 500, 95: 250, 100: 0, 200: 0}
    )
    assert [schedule.stage_at(at) for at in (-1, 0, 30, 89.9, 90, 100)] == [
        None, 0, 1, 1, 2, None,
    ]  # fmt: skip
    assert Schedule(parse_rate("7").stages).rate_at(1e9) == 7


@pytest.mark.parametrize(
    ("text", "per_s"),
    [("500", 500), ("500/s", 500), ("30/m", 0.5), ("7200/h", 2), ("0.5/s", 0.5), (" 5 / s ", 5)],
)
def test_rates_as_users_write_them(text: str, per_s: float) -> None:
    """A bare number is a second; s, m and h are the units; the text is kept."""
    assert parse_rate(text) == Rate(per_s, text.strip())


def test_ramps_as_users_write_them() -> None:
    """One rate or two, blanks between the stages, a unit at the end for both rates."""
    assert parse_ramp("0..500@30s, 500@1m ,500..0@10") == (
        Stage(0, 500, 30),
        Stage(500, 500, 60),
        Stage(500, 0, 10),
    )
    assert parse_ramp("30..60/m@1.5h") == (Stage(0.5, 1, 5400),)
    assert parse_ramp("0.5..1.5@250ms") == (Stage(0.5, 1.5, 0.25),)


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("", 1, "nothing"),
        ("abc", 1, "'abc'"),
        ("  abc", 3, "'abc'"),
        ("500/x", 5, "'x'"),
        ("500/", 5, "nothing"),
        ("500/s/s", 5, "'s/s'"),
        ("0", 1, "'0'"),
        ("-5", 1, "'-5'"),
        ("1e3", 1, "'1e3'"),
        ("٣", 1, "'٣'"),
        ("9" * 400, 1, "'9"),
    ],
)
def test_what_is_no_rate_is_told_with_its_column(text: str, column: int, part: str) -> None:
    """An error names the option, the text, the column, the part and an example."""
    with pytest.raises(UsageError) as caught:
        parse_rate(text, "--rate")
    message = str(caught.value)
    assert message.startswith(f"--rate {text!r}, column {column}: {part}")
    assert message.endswith("give a rate as 500 or 500/s (a second), 30/m or 7200/h")


@pytest.mark.parametrize(
    ("text", "column", "part"),
    [
        ("", 1, "nothing"),
        ("500", 1, "'500' says not how long"),
        ("0..500@30s,", 12, "nothing"),
        ("500@", 5, "nothing"),
        ("500@1s,@2s", 8, "nothing"),
        ("500@0s", 5, "'0s'"),
        ("500@1s,a..3@1s", 8, "'a' is no rate"),
        ("1..2..3@4s", 1, "'1..2..3'"),
        ("0...5@4s", 4, "'.5'"),
        ("30/m..60@3s", 7, "'60' has no unit"),
        ("500@1m@2", 1, "'500@1m@2' has more than one @"),
        ("1@1s, 0..500@30x", 14, "'30x' is no duration"),
        ("1..2/y@1m", 6, "'y' is no unit"),
        ("0@1s,0..0@5s", 1, "'0@1s,0..0@5s' asks for no request"),
    ],
)
def test_what_is_no_ramp_is_told_with_its_column(text: str, column: int, part: str) -> None:
    """An error points at the part that is wrong, not at the beginning of the text."""
    with pytest.raises(UsageError) as caught:
        parse_ramp(text, "--ramp")
    message = str(caught.value)
    assert message.startswith(f"--ramp {text!r}, column {column}: {part}")
    assert message.endswith("give stages as 0..500@30s,500@1m,500..0@10s")


@given(st.text(alphabet="0123456789.@,smh/ x", max_size=30))
def test_any_text_is_stages_or_an_error_within_it(text: str) -> None:
    """A ramp's text is read or refused as a usage error whose column lies in the text."""
    try:
        stages = parse_ramp(text)
    except UsageError as exc:
        column = int(str(exc).split("column ")[1].split(":")[0])
        assert 1 <= column <= len(text) + 1
    else:
        assert Schedule(stages).requests is not None


@given(st.lists(st.tuples(st.integers(0, 9999), st.integers(1, 9999), st.integers(1, 600))))
def test_a_ramp_that_is_written_is_read_back(stages: list[tuple[int, int, int]]) -> None:
    """Whatever whole numbers stand in it, the stages are those that were written."""
    if stages:
        text = ",".join(f"{start}..{end}/s@{length}s" for start, end, length in stages)
        assert parse_ramp(text) == tuple(Stage(*map(float, stage)) for stage in stages)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Stage(-1, 0, 1),
        lambda: Stage(0, math.nan, 1),
        lambda: Stage(1, 1, 0),
        lambda: Stage(1, 2, math.inf),
        lambda: Stage(0, 0, math.inf),
        lambda: Schedule(()),
        lambda: Schedule((Stage(0, 0, 5),)),
        lambda: Schedule((Stage(1, 1, math.inf), Stage(1, 1, 1))),
        lambda: Schedule((Stage(1, 1, 1),), "uniform"),  # type: ignore[arg-type]
    ],
)
def test_a_schedule_that_cannot_be_is_refused_when_it_is_made(make) -> None:
    """Values are checked on construction, so that no later code needs to."""
    with pytest.raises(ValueError, match=r"rate|schedule|arrivals"):
        make()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("500ms", 0.5), ("250us", 0.00025), ("250 µs", 0.00025), ("2m", 120)],
)
def test_durations_as_users_write_them(text: str, seconds: float) -> None:
    """A bare number is seconds; us, ms, s, m and h are the units."""
    assert duration_s(text, "--duration") == seconds


@given(st.floats(0.001, 1e6))
def test_a_duration_that_is_written_is_read_back(seconds: float) -> None:
    """``duration_text`` writes what ``duration_s`` reads."""
    seconds = round(seconds, random.Random(seconds).randint(0, 6)) or 1.0
    assert duration_s(duration_text(seconds), "-z") == pytest.approx(seconds, rel=1e-9)


def test_a_schedule_loads_neither_numpy_nor_pandas() -> None:
    """Workers and the start of the command import it: it is light."""
    code = (
        "import sys, crawler.schedule; print(*{'pandas', 'numpy', 'requests'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == []
