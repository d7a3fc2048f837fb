"""When jobs are due: cron over changes of the clock, periods, jitter, and a clock that steps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import UsageError
from crawler.pull.job import Timing, zone_of
from crawler.pull.timetable import Timetable
from crawler.pull.triggers import EveryPeriod, trigger_of

BERLIN = ZoneInfo("Europe/Berlin")


def _moments(schedule: str, begin: datetime, count: int) -> list[str]:
    trigger = trigger_of(Timing(schedule=schedule, zone=BERLIN))
    assert trigger is not None
    found, at = [], begin.timestamp()
    for _ in range(count):
        at = trigger.following(at, at)
        found.append(datetime.fromtimestamp(at, BERLIN).isoformat()[5:])
    return found


def test_where_the_clock_is_put_forward() -> None:
    """02:30 is missing on 29 March: its job runs right after; an hourly job goes on."""
    begin = datetime(2026, 3, 29, 0, 45, tzinfo=BERLIN)
    assert _moments("30 2 * * *", begin, 2) == ["03-29T03:00:00+02:00", "03-30T02:30:00+02:00"]
    assert _moments("30 * * * *", begin, 2) == ["03-29T01:30:00+01:00", "03-29T03:30:00+02:00"]


def test_where_the_clock_is_put_back() -> None:
    """02:30 comes twice on 25 October: a daily job runs once, an hourly one each hour."""
    begin = datetime(2026, 10, 25, 1, 45, tzinfo=BERLIN)
    assert _moments("30 2 * * *", begin, 2) == ["10-25T02:30:00+02:00", "10-26T02:30:00+01:00"]
    assert _moments("30 * * * *", begin, 3) == [
        "10-25T02:30:00+02:00", "10-25T02:30:00+01:00", "10-25T03:30:00+01:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "forward", "back"),
    [
        (
            "*/30 2 * * *",
            ["03-29T03:00:00+02:00"],
            ["10-25T02:00:00+02:00", "10-25T02:30:00+02:00"],
        ),
        ("* 2 * * *", ["03-29T03:00:00+02:00"], None),
        (
            "30 */2 * * *",
            ["03-29T03:00:00+02:00", "03-29T04:30:00+02:00"],
            ["10-25T02:30:00+02:00"],
        ),
        ("*/30,45 2-2 * * *", ["03-29T03:00:00+02:00"], None),
    ],
)
def test_stars_of_a_job_of_some_hours(
    schedule: str, forward: list[str], back: list[str] | None
) -> None:
    """It runs on the day without its hour, and not twice on the day that has it twice."""
    begin = datetime(2026, 3, 29, 1, 45, tzinfo=BERLIN)
    assert _moments(schedule, begin, len(forward)) == forward
    found = _moments(schedule, datetime(2026, 10, 25, 1, 45, tzinfo=BERLIN), 70)
    of_the_day = [each for each in found if each.startswith("10-25T02")]
    assert len(of_the_day) == len({each[:11] for each in of_the_day}), "an hour came twice"
    if back is not None:
        assert of_the_day == back


@given(
    st.sampled_from(["*", "*/7", "*/30", "0-20/5", "*/50,3"]),
    st.sampled_from(["*/2", "*/5", "8", "2,3", "*/7,9"]),
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1)),
)
def test_stars_written_out_mean_the_same(minute: str, hour: str, begin: datetime) -> None:
    """Where no clock is put forward or back, cron's own moments come."""
    schedule = f"{minute} {hour} * * *"
    trigger = trigger_of(Timing(schedule=schedule))
    assert trigger is not None
    at = begin.replace(tzinfo=UTC)
    for moment in islice(CronSim(schedule, at), 5):
        at = datetime.fromtimestamp(trigger.following(None, at.timestamp()), UTC)
        assert at == moment


@given(
    st.integers(0, 59),
    st.sampled_from(["2", "1-3", "*/2", "2,3"]),
    st.sampled_from(["Europe/Berlin", "Australia/Lord_Howe", "America/New_York"]),
    st.integers(0, 3 * 3600),
)
def test_no_moment_is_over(minute: int, hour: str, zone: str, later_s: int) -> None:
    """Also asked in the second of two equal hours: the next moment is later than now."""
    trigger = trigger_of(Timing(schedule=f"{minute} {hour} * * *", zone=ZoneInfo(zone)))
    assert trigger is not None
    for day in (datetime(2026, 10, 25, tzinfo=UTC), datetime(2026, 4, 4, 14, tzinfo=UTC),
                datetime(2026, 11, 1, 4, tzinfo=UTC)):  # fmt: skip
        now_s = day.timestamp() + later_s
        assert trigger.following(None, now_s) > now_s


def test_a_loop_begun_in_the_second_of_two_hours_pulls_once() -> None:
    """02:30 is over, and will be again tomorrow only; caught up once, if it was missed."""
    begin_s = datetime(2026, 10, 25, 2, 5, tzinfo=BERLIN, fold=1).timestamp()
    timing = Timing(schedule="30 2 * * *", zone=BERLIN)
    for last_s, count in ((begin_s - 1800, 0), (begin_s - 86_400, 1), (None, 0)):
        table: Timetable[str] = Timetable(lambda _: 0.0)
        table.put("job", timing, last_s, begin_s)
        pulls = 0
        for second in range(7200):
            for key in table.due(begin_s + second, 1):
                table.ended(key)
                pulls += 1
        assert pulls == count


@pytest.mark.parametrize(("by_s", "again"), [(2.0, False), (7200.0, True)])
def test_a_small_step_back_brings_no_moment_twice(by_s: float, again: bool) -> None:
    """As an NTP client makes it right after the job's moment; a large one silences nothing."""
    table = _table(HOURLY, now_s=3599.0)
    assert table.due(3600.0, 1) == ["job"]
    table.ended("job")
    table.set_back(3601.0 - by_s, by_s)
    assert (table.next_at("job") == 7200.0) != again
    begun_anew = _table(HOURLY, last_s=3600.2, now_s=3601.0)
    begun_anew.set_back(3601.0 - by_s, by_s)
    assert (begun_anew.next_at("job") == 7200.0) != again


def test_a_clock_put_back_after_a_long_time_silences_nothing() -> None:
    """The loop was begun anew, its job was last pulled hours ago."""
    timing = replace(EVERY, catch_up=False)
    table = _table(timing, last_s=0.0, now_s=7230.0)
    table.set_back(3630.0, 3600.0)
    assert table.next_at("job") == 3690.0


@pytest.mark.parametrize(
    ("timing", "said"),
    [
        (Timing(every_s=60.0, jitter_s=61.0), "the 60 s between"),
        (Timing(schedule="*/15 * * * *", jitter_s=3600.0), "the 900 s between"),
        (Timing(schedule="0,5 2 * * *", jitter_s=301.0), "the 300 s between"),
    ],
)
def test_jitter_overtakes_no_moment(timing: Timing, said: str) -> None:
    """It would drop moments without a word."""
    with pytest.raises(UsageError, match=said):
        trigger_of(timing)
    assert trigger_of(replace(timing, jitter_s=60.0)) is not None


def test_sunday_is_0_and_7() -> None:
    """As cron has it."""
    begin = datetime(2026, 11, 27, tzinfo=BERLIN)
    sunday = ["11-29T06:00:00+01:00"]
    assert _moments("0 6 * * 0", begin, 1) == _moments("0 6 * * 7", begin, 1) == sunday


@given(
    st.sampled_from(["*/15 *", "*/15 0-23", "0,15,30,45 */1", "0-59/15 0-23"]),
    st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1))
    | st.datetimes(datetime(2026, 10, 24, 20), datetime(2026, 10, 25, 4)),
)
def test_a_quarter_of_an_hour_is_never_missed(schedule: str, begin: datetime) -> None:
    """It comes every 900 s of real time, whatever the clocks on the walls do."""
    trigger = trigger_of(Timing(schedule=f"{schedule} * * *", zone=BERLIN))
    assert trigger is not None
    at = begin.replace(tzinfo=UTC).timestamp()
    moments = []
    for _ in range(12):
        at = trigger.following(at, at)
        moments.append(at)
    assert {later - earlier for earlier, later in pairwise(moments)} == {900.0}


@pytest.mark.parametrize(
    "schedule", ["", "* * * *", "61 * * * *", "0 0 30 2 *", "every day", "* * * * * *"]
)
def test_a_schedule_that_is_none_is_refused(schedule: str) -> None:
    """With the text and the form that is wanted."""
    with pytest.raises(UsageError, match="minute hour day month weekday"):
        trigger_of(Timing(schedule=schedule))


def test_a_zone_that_is_none_is_refused() -> None:
    """A zone is named as the IANA's database has it."""
    with pytest.raises(UsageError, match="no such time zone"):
        zone_of("Mars/Olympus")
    with pytest.raises(UsageError, match="no such time zone"):
        zone_of("../../etc/passwd")


@given(st.floats(0.5, 1e6), st.floats(0, 2e9), st.floats(0, 1e7))
def test_periods_keep_their_grid(period_s: float, slot_s: float, away_s: float) -> None:
    """The next moment is a whole number of periods behind the last, and not later than need be."""
    now_s = slot_s + away_s
    at = EveryPeriod(period_s).following(slot_s, now_s)
    assert at > now_s - 1e-6 * max(1.0, abs(now_s))
    assert at - now_s <= period_s * (1 + 1e-6) + 1e-6 * max(1.0, abs(now_s))


def _table(timing: Timing, *, last_s: float | None = None, now_s: float = 0.0) -> Timetable[str]:
    table: Timetable[str] = Timetable(lambda most: most / 2)
    table.put("job", timing, last_s, now_s)
    return table


EVERY = Timing(every_s=60.0)
HOURLY = Timing(schedule="0 * * * *")


def test_a_period_begins_now_and_goes_on() -> None:
    """First at once, then after each period; nothing is due between."""
    table = _table(EVERY, now_s=1000.0)
    assert table.due(1000.0, 9) == ["job"]
    table.ended("job")
    assert (table.due(1059.0, 9), table.due(1060.0, 9)) == ([], ["job"])


def test_missed_moments_are_caught_up_once() -> None:
    """A machine that slept through ten moments pulls once, and goes on by the grid."""
    table = _table(EVERY, now_s=0.0)
    table.due(0.0, 9)
    table.ended("job")
    assert table.due(605.0, 9) == ["job"]
    table.ended("job")
    assert table.next_at("job") == 660.0


def test_moments_while_it_runs_are_passed_over() -> None:
    """A pull longer than its period is never doubled; how many moments it cost is known."""
    table = _table(EVERY, now_s=0.0)
    assert table.due(0.0, 9) == ["job"]
    for now_s in (60.0, 120.0, 180.0):
        assert table.due(now_s, 9) == []
    assert table.ended("job") == 3
    assert table.due(181.0, 9) == []
    assert table.due(240.0, 9) == ["job"]


@pytest.mark.parametrize(("catch_up", "at"), [(True, 7300.0), (False, 10800.0)])
def test_a_moment_missed_before_the_loop_began(catch_up: bool, at: float) -> None:
    """It is caught up at once, unless the job says not to."""
    timing = Timing(schedule="0 * * * *", catch_up=catch_up)
    table = _table(timing, last_s=3605.0, now_s=7300.0)
    assert table.next_at("job") == at


def test_a_job_never_pulled_waits_for_its_moment() -> None:
    """A schedule does not run at once only because the loop is new."""
    assert _table(HOURLY, now_s=100.0).next_at("job") == 3600.0


def test_a_clock_put_forward_makes_due_what_it_passed() -> None:
    """Once, not once an hour that was skipped."""
    table = _table(HOURLY, now_s=100.0)
    assert table.due(9000.0, 9) == ["job"]
    assert table.next_at("job") == 10800.0


def test_a_clock_put_back_does_not_silence_a_job() -> None:
    """Moments are computed anew: the next one is that of the clock as it is now."""
    table = _table(HOURLY, last_s=7200.0, now_s=7300.0)
    assert table.next_at("job") == 10800.0
    table.set_back(3700.0, 3600.0)
    assert table.next_at("job") == 7200.0
    every = _table(EVERY, last_s=7000.0, now_s=7030.0)
    every.set_back(1000.0, 6030.0)
    assert every.next_at("job") == 1060.0


def test_jitter_comes_on_top() -> None:
    """A moment is late by what was drawn; the grid stays."""
    table = _table(Timing(schedule="0 * * * *", jitter_s=20.0), now_s=100.0)
    assert table.next_at("job") == 3610.0
    assert table.due(3605.0, 9) == []
    assert table.due(3610.0, 9) == ["job"]
    assert table.next_at("job") == 7210.0


def test_places_are_given_to_those_that_wait_longest() -> None:
    """With room for one, the other stays due and has the next place."""
    table: Timetable[str] = Timetable(lambda _: 0.0)
    table.put("late", EVERY, 0.0, 30.0)
    table.put("later", EVERY, 20.0, 30.0)
    assert table.due(100.0, 1) == ["late"]
    assert table.due(101.0, 0) == []
    assert table.due(102.0, 1) == ["later"]


def test_a_job_that_is_read_anew_keeps_its_moment() -> None:
    """Only another timing makes another moment."""
    table = _table(EVERY, last_s=0.0, now_s=30.0)
    table.put("job", EVERY, 0.0, 59.0)
    assert table.next_at("job") == 60.0
    table.put("job", Timing(every_s=600.0), 0.0, 59.0)
    assert table.next_at("job") == 600.0
    table.drop("job")
    assert table.next_at("job") is None
    assert table.wait_s(0.0) == float("inf")


def test_a_job_without_a_schedule_is_refused() -> None:
    """By a loop; a single pull needs none."""
    with pytest.raises(UsageError, match="no schedule"):
        _table(Timing())


def test_a_day_of_23_hours_has_one_daily_moment() -> None:
    """Over a year of Berlin, a daily job runs 365 times."""
    trigger = trigger_of(Timing(schedule="30 2 * * *", zone=BERLIN))
    assert trigger is not None
    at, days = datetime(2026, 1, 1, tzinfo=BERLIN).timestamp(), []
    end = datetime(2027, 1, 1, tzinfo=BERLIN).timestamp()
    while (at := trigger.following(at, at)) < end:
        days.append(datetime.fromtimestamp(at, BERLIN).date())
    assert days == [days[0] + timedelta(n) for n in range(365)]
