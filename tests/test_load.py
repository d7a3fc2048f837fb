"""When a benchmark's targets are due and when it ends, with a clock of the test's own."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import UsageError
from crawler.load import Load, Pace
from crawler.record import STAGE, WARMUP, Target
from crawler.schedule import Schedule, Stage, parse_rate
from crawler.workload import in_turn

WORKLOAD = in_turn([Target(0, "http://h/")])


class Clock:
    """A clock that goes on by ``step_s`` at each look."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 100.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def paced(load: Load, step_s: float = 0.0) -> tuple[list[Target], list[float], Pace]:
    """All targets of a load that begins at 100 s, and the ends that were told."""
    ends: list[float] = []
    pace = Pace(load, WORKLOAD, ends.append, Clock(step_s))
    pace.begin(100.0)
    return list(pace), ends, pace


def warm(targets: list[Target]) -> list[bool]:
    return [target.fields.get(STAGE) == WARMUP for target in targets]


def test_a_number_of_requests_ends_a_closed_loop() -> None:
    """Requests are numbered from 0, due at once, and as many as asked for."""
    targets, ends, _ = paced(Load(requests=3))
    assert [(t.seq, t.due, t.fields) for t in targets] == [
        (0, None, {}),
        (1, None, {}),
        (2, None, {}),
    ]
    assert ends == []


@given(
    st.floats(0, 1e7), st.integers(1, 500), st.integers(1, 40), st.sampled_from([0, 5]),
    st.booleans(),
)  # fmt: skip
def test_a_schedule_has_all_its_requests_and_none_more(
    zero_s: float, per_s: int, tenths: int, warmup: int, in_seconds: bool
) -> None:
    """However the moments of a machine that has been up for months are rounded."""
    load = Load(
        duration_s=tenths / 10, schedule=Schedule(parse_rate(f"{per_s * 10}/s").stages),
        warmup_s=0.1 * bool(warmup) * in_seconds, warmup_requests=warmup * (not in_seconds),
    )  # fmt: skip
    pace = Pace(load, WORKLOAD, lambda _: None, Clock(0))
    pace.begin(zero_s)
    assert warm(list(pace)).count(False) == per_s * tenths


def test_a_duration_ends_a_closed_loop() -> None:
    """Nothing is given out from the end on, and the end is told at the beginning."""
    targets, ends, _ = paced(Load(duration_s=1.0), step_s=0.0625)
    assert ends == [101.0]
    assert len(targets) == 15


def test_whichever_end_comes_first_ends_it() -> None:
    """Requests and a duration together: the earlier of the two."""
    assert len(paced(Load(requests=5, duration_s=1.0), step_s=0.0625)[0]) == 5
    assert len(paced(Load(requests=50, duration_s=1.0), step_s=0.0625)[0]) == 15


def test_a_warm_up_in_requests_comes_before_what_is_counted() -> None:
    """The first N are flagged; requests and duration are counted from then on."""
    targets, ends, _ = paced(Load(requests=3, warmup_requests=2))
    assert warm(targets) == [True, True, False, False, False]
    assert ends == []
    targets, ends, _ = paced(Load(duration_s=1.0, warmup_requests=4), step_s=0.25)
    assert warm(targets) == [True] * 4 + [False] * 4
    assert ends == [102.25]


def test_a_warm_up_in_seconds_comes_before_what_is_counted() -> None:
    """What is given out in the first seconds is flagged, and the end is so much later."""
    targets, ends, _ = paced(Load(duration_s=1.0, warmup_s=0.5), step_s=0.125)
    assert warm(targets) == [True] * 3 + [False] * 8
    assert ends == [101.5]


def test_a_schedule_says_when_each_is_due() -> None:
    """Dues lie at the schedule's moments after the beginning, whatever the clock says."""
    schedule = Schedule(parse_rate("4/s").stages)
    targets, ends, _ = paced(Load(duration_s=2.0, warmup_s=0.5, schedule=schedule), step_s=7.0)
    assert [target.due for target in targets] == [100 + k / 4 for k in range(10)]
    assert warm(targets) == [True] * 2 + [False] * 8
    assert ends == pytest.approx([102.5])


def test_a_ramp_ends_by_itself_and_names_its_stages() -> None:
    """Each target bears the number of its stage, and the last stage's end is the end."""
    schedule = Schedule((Stage(4, 4, 1), Stage(8, 8, 1)))
    targets, ends, _ = paced(Load(schedule=schedule))
    assert Counter(target.fields[STAGE] for target in targets) == {"1": 4, "2": 8}
    assert ends == pytest.approx([102.0])


def test_what_was_due_and_never_begun_is_counted() -> None:
    """Of a schedule that was not kept up with, the rest up to the end was never begun."""
    load = Load(duration_s=10.0, schedule=Schedule(parse_rate("10").stages))
    pace = Pace(load, WORKLOAD, lambda _: None, Clock(0))
    pace.begin(100.0)
    assert len(list(islice(pace, 30))) == 30
    assert pace.never_begun(28, 104.95) == 22
    assert (pace.never_begun(28, inf), pace.never_begun(100, inf)) == (72, 0)


def test_a_closed_loop_leaves_nothing_unbegun() -> None:
    """Nothing is due in a closed loop but what a free connection takes."""
    load = Load(duration_s=10.0)
    pace = Pace(load, WORKLOAD, lambda _: None, Clock(0))
    pace.begin(100.0)
    assert (len(list(islice(pace, 30))), pace.due_by(105.0), pace.never_begun(28, inf)) == (
        30,
        30,
        0,
    )


def test_what_is_due_by_now_is_counted_whether_it_was_given_out_or_not() -> None:
    """The schedule alone says what is due."""
    load = Load(requests=10, schedule=Schedule(parse_rate("10").stages))
    pace = Pace(load, WORKLOAD, lambda _: None, Clock(0))
    pace.begin(100.0)
    assert [pace.due_by(now_s) for now_s in (99.0, 100.0, 100.25, 200.0)] == [0, 1, 3, 10]


def test_nothing_is_left_of_a_schedule_whose_requests_were_all_given_out() -> None:
    """A number of requests that ends it before its time leaves nothing unbegun."""
    load = Load(
        requests=20, duration_s=10.0, warmup_s=1.0, schedule=Schedule(parse_rate("10").stages)
    )
    targets, _, pace = paced(load)
    assert (len(targets), pace.never_begun(30, inf)) == (30, 0)


def test_a_warm_up_in_seconds_is_no_stage_of_a_ramp() -> None:
    """The first stage after it is number 1."""
    load = Load(schedule=Schedule((Stage(0, 4, 2), Stage(8, 8, 1))), warmup_s=1.0)
    targets, ends, _ = paced(load)
    assert Counter(target.fields[STAGE] for target in targets) == {WARMUP: 4, "1": 4, "2": 8}
    assert ends == pytest.approx([104.0])
    assert load.length_s == 4.0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"requests": 1, "schedule": Schedule(parse_rate("300000").stages)}, "more than any"),
        (
            {"schedule": Schedule((Stage(0, 0, 1), Stage(5, 5, 1))), "warmup_s": 1.0},
            "and that is 0",
        ),
        ({}, "needs an end"),
        ({"schedule": Schedule(parse_rate("1").stages)}, "needs an end"),
        ({"requests": 0}, "--requests is 0"),
        ({"duration_s": 0.0}, "--duration is no time"),
        ({"requests": 1, "warmup_requests": -1}, "--warmup is -1"),
    ],
)
def test_a_load_that_cannot_be_is_refused(wrong, words) -> None:
    """The error names the option."""
    with pytest.raises(UsageError, match=words):
        Load(**wrong)
