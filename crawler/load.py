"""How hard a benchmark asks, and when it ends: a closed loop or a schedule, requests or a duration.

A closed loop sends the next request when a reply frees a connection: the server sets the pace. A
schedule (an open loop) says when each request is due, and it is due whatever the replies do. The
warm-up comes first in either; it is recorded, flagged, and left out of what is counted and timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from math import inf, nextafter
from typing import Final

from crawler.errors import UsageError
from crawler.record import STAGE, WARMUP, Target
from crawler.schedule import Schedule, Stage
from crawler.workload import Workload

MOST_PER_S: Final = 200_000
"""Each request that is due is counted by itself; nobody sends half as many."""
_ROUNDING_S: Final = 1e-7
"""More than a moment of ``time.monotonic`` is rounded by in years, less than two requests are apart
at the highest rate.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How many requests, for how long, at what pace; whichever end comes first ends it.

    Without a ``schedule`` it is a closed loop. ``words`` are the schedule's, as a user gave it.
    Requests and duration are counted from the end of the warm-up. A ramp's begins after a warm-up
    in seconds, which has the higher rate of the ramp's first stage. Raises ``UsageError``.
    """

    requests: int | None = None
    duration_s: float | None = None
    schedule: Schedule | None = None
    words: str | None = None
    warmup_s: float = 0.0
    warmup_requests: int = 0

    def __post_init__(self) -> None:
        endless = self.schedule is None or self.schedule.length_s is None
        if self.requests is None and self.duration_s is None and endless:
            raise UsageError("a benchmark needs an end: give --requests N or --duration 30s")
        if self.requests is not None and self.requests < 1:
            raise UsageError(f"--requests is {self.requests}: give a whole number of at least 1")
        if self.duration_s is not None and not self.duration_s > 0:
            raise UsageError("--duration is no time at all: give one as 30s or 5m")
        if self.schedule is not None and self.schedule.highest_per_s > MOST_PER_S:
            raise UsageError(
                f"a rate of {self.schedule.highest_per_s:,.0f}/s is more than any client can keep: "
                f"give one up to {MOST_PER_S:,}/s"
            )
        first = None if self.schedule is None else self.schedule.stages[0]
        if self.warmup_s and first is not None and not first.requests:
            raise UsageError("--warmup has the rate of the ramp's first stage, and that is 0")
        if self.warmup_requests < 0:
            raise UsageError(f"--warmup is {self.warmup_requests}: give 1000 requests, or 5s")

    @property
    def whole(self) -> Schedule | None:
        """The schedule with the warm-up in seconds as a stage before it."""
        if self.schedule is None or not self.warmup_s:
            return self.schedule
        first = self.schedule.stages[0]
        per_s = max(first.start_per_s, first.end_per_s)
        warmup = Stage(per_s, per_s, self.warmup_s)
        return replace(self.schedule, stages=(warmup, *self.schedule.stages))

    @property
    def length_s(self) -> float | None:
        """How long it lasts, warm-up included; None where only the replies will tell."""
        lengths = [] if self.duration_s is None else [self.duration_s + self.warmup_s]
        if self.whole is not None and self.whole.length_s is not None:
            lengths.append(self.whole.length_s)
        return min(lengths, default=None)

    @property
    def total(self) -> int | None:
        """How many requests are made, warm-up included; None where only time will tell."""
        if self.requests is not None:
            return None if self.warmup_s else self.requests + self.warmup_requests
        return None


class Pace:
    """A load under way: a workload's targets, flagged, due when they are to be, until the end.

    ``on_end`` is told the ``time.monotonic`` moment of the end as soon as it is known: at once, or
    after a warm-up that is counted in requests. It is not told where requests alone end it.
    """

    def __init__(
        self,
        load: Load,
        workload: Workload,
        on_end: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.load = load
        self._schedule = load.whole
        self.given = 0
        self.zero_s = 0.0
        self._clock = clock
        self._on_end = on_end
        self._kept = 0
        self._end_s: float | None = None
        self._targets = workload.targets()
        self._moments_s: Iterator[float] = iter(())
        self._next_due_s = inf
        self._due = 0

    def begin(self, zero_s: float) -> None:
        """Set the moment from which everything is counted."""
        self.zero_s = zero_s
        if self._schedule is not None:
            offsets_s = islice(self._schedule.offsets(), self.load.total)
            self._moments_s = (zero_s + offset_s for offset_s in offsets_s)
            self._next_due_s = next(self._moments_s, inf)
        if not self.load.warmup_requests:
            self._measure_from(zero_s + self.load.warmup_s)

    def __iter__(self) -> Iterator[Target]:
        stream = self._closed() if self._schedule is None else self._open(self._schedule)
        for target in stream:
            self.given += 1
            yield target

    def due_by(self, now_s: float) -> int:
        """How many requests were due by now, asked for or not; in a closed loop those given out."""
        if self._schedule is None:
            return self.given
        if self._end_s is not None:
            now_s = min(now_s, nextafter(self._end_s, 0.0))
        while self._next_due_s <= now_s:
            self._due += 1
            self._next_due_s = next(self._moments_s, inf)
        return self._due

    def never_begun(self, begun: int, until_s: float) -> int:
        """How many were due before the end, or ``until_s``, beside the ``begun``."""
        has_end = self._end_s is not None or until_s < inf
        if self._schedule is None or self._has_all() or not has_end:
            return 0
        return max(0, self.due_by(until_s) - begun)

    def _has_all(self) -> bool:
        """Whether as many requests as were asked for have been given out."""
        return self.load.requests is not None and self._kept >= self.load.requests

    def _closed(self) -> Iterator[Target]:
        for target in self._targets:
            now_s = self._clock()
            if self._is_over(now_s):
                return
            yield self._flagged(target, now_s)

    def _open(self, schedule: Schedule) -> Iterator[Target]:
        staged = self.load.schedule is not None and len(self.load.schedule.stages) > 1
        for offset_s in schedule.offsets():
            due_s = self.zero_s + offset_s
            if self._is_over(due_s):
                return
            target = self._flagged(next(self._targets), due_s)._replace(due=due_s)
            if staged and target.fields.get(STAGE) != WARMUP:
                stage = str(self._stage(schedule, offset_s))
                target = target._replace(fields={**target.fields, STAGE: stage})
            yield target

    def _stage(self, schedule: Schedule, offset_s: float) -> int:
        """The number of a stage, from 1; the warm-up is the one before the first."""
        at = schedule.stage_at(offset_s)
        index = len(schedule.stages) - 1 if at is None else at
        return index + (0 if self.load.warmup_s else 1)

    def _flagged(self, target: Target, moment_s: float) -> Target:
        """Count the target as warm-up, and say so in it, or as what is measured."""
        warm = self.given < self.load.warmup_requests or moment_s < self.zero_s + self.load.warmup_s
        if warm:
            return target._replace(fields={**target.fields, STAGE: WARMUP})
        if self._kept == 0 and self.load.warmup_requests:
            self._measure_from(moment_s)
        self._kept += 1
        return target

    def _is_over(self, moment_s: float) -> bool:
        if self._has_all():
            return True
        return self._end_s is not None and moment_s >= self._end_s

    def _measure_from(self, moment_s: float) -> None:
        ends = [] if self.load.duration_s is None else [moment_s + self.load.duration_s]
        if self._schedule is not None and self._schedule.length_s is not None:
            ends.append(self.zero_s + self._schedule.length_s)
        if ends:
            # What is due at the very end is not sent; sums of floats must not have it due before.
            self._end_s = min(ends) - (_ROUNDING_S if self._schedule is not None else 0.0)
            self._on_end(self._end_s)
