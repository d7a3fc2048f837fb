"""When a job is due next: by a cron schedule in its time zone, or after a period.

cronsim computes cron, as Debian's cron does: where the clock is put forward, a job of the hour that
is missing runs right after; where it is put back, a job of the hour that comes twice runs once,
unless it runs every hour anyway. To cron a field that begins with * makes a job one of every hour,
so ``*/30 2 * * *`` would not run at all on the one day and four times on the other, and 0-23 is not
taken for every hour: such fields are put right. (APScheduler 3.11 was measured too: its cron
trigger gave a moment that does not exist, and 02:30 twice.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import pairwise
from typing import Any, Final, Protocol

from crawler.errors import UsageError
from crawler.pull.job import Timing

_HOURS: Final = 24
_LOOKED_AT: Final = 30
"""Moments that are looked at to see how close they are."""


class Trigger(Protocol):
    """Tells moments, Unix seconds. The last one was ``slot_s``, None where there was none."""

    def following(self, slot_s: float | None, now_s: float) -> float:
        """Give the first moment after ``now_s``; ``now_s`` itself where the first is now."""
        ...


@dataclass(frozen=True, slots=True)
class EveryPeriod:
    """A moment every ``period_s``, counted from the last one; the first is now."""

    period_s: float

    def following(self, slot_s: float | None, now_s: float) -> float:
        """See ``Trigger``."""
        if slot_s is None:
            return now_s
        periods = math.floor((now_s - slot_s) / self.period_s) + 1
        return slot_s + max(periods, 1) * self.period_s


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """Five cron fields in a time zone."""

    expression: str
    zone: tzinfo

    def following(self, slot_s: float | None, now_s: float) -> float:
        """See ``Trigger``; ``slot_s`` does not matter to it.

        Asked in the second of two equal hours cronsim gives moments of the first: those are over.
        """
        moments = _cron(self.expression, datetime.fromtimestamp(now_s, self.zone))
        return next(at for at in map(datetime.timestamp, moments) if at > now_s)


def trigger_of(timing: Timing) -> Trigger | None:
    """Give a job's trigger, None without one; raises ``UsageError`` for a schedule that is none."""
    if timing.every_s is not None:
        _check_jitter(timing.jitter_s, timing.every_s)
        return EveryPeriod(timing.every_s)
    if timing.schedule is None:
        return None
    trigger = CronSchedule(timing.schedule, timing.zone)
    try:
        moments = [trigger.following(None, 0.0)]
        while timing.jitter_s and len(moments) < _LOOKED_AT:
            moments.append(trigger.following(None, moments[-1]))
    except StopIteration:
        raise _wrong(timing.schedule, "that day never comes") from None
    gaps = (later - earlier for earlier, later in pairwise(moments))
    _check_jitter(timing.jitter_s, min(gaps, default=math.inf))
    return trigger


def _check_jitter(jitter_s: float, gap_s: float) -> None:
    """Refuse what would have moments overtaken by the next."""
    if jitter_s > gap_s:
        raise UsageError(
            f"jitter: {jitter_s:g} s is longer than the {gap_s:g} s between two moments; give less"
        )


def _cron(expression: str, moment: datetime) -> Any:  # noqa: ANN401 - cronsim has no types
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        raise UsageError(
            "schedule needs the extra: pip install 'crawl-bench[schedule]'; every does not"
        ) from None
    fields = expression.split()
    if len(fields) != 5:
        raise _wrong(expression, "five fields are needed")
    try:
        every_hour = len(CronSim(expression, moment).hours) == _HOURS
        return CronSim(_plain(*fields, every_hour=every_hour), moment)
    except CronSimError as exc:
        raise _wrong(expression, str(exc).lower()) from None


def _plain(minute: str, hour: str, *days: str, every_hour: bool) -> str:
    """Have a * stand for every hour, and for nothing else in the fields of the time."""
    if every_hour:
        return " ".join((minute, "*", *days))
    return " ".join((_written_out(minute, "0-59"), _written_out(hour, "0-23"), *days))


def _written_out(field: str, whole: str) -> str:
    return whole + field.removeprefix("*") if field.startswith("*") else field


def _wrong(expression: str, why: str) -> UsageError:
    return UsageError(
        f'schedule {expression!r}: {why}; give minute hour day month weekday, as "*/15 * * * *"'
    )
