"""A benchmark: a workload under a load, every request recorded, its figures gathered as it goes.

The report that comes out is the one that the record log gives later, without the network. Our own
part in it (lag, CPU, what was dropped or never sent) is measured along with it and told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crawler.audit import audit
from crawler.batches import BatchResult
from crawler.blocks import Collector
from crawler.crawling import Crawling, Job, to_warnings
from crawler.figures import Figures
from crawler.load import Load, Pace
from crawler.machine import cpu_times
from crawler.moment import Moment
from crawler.record import ARM
from crawler.report.model import Report, RunFigures
from crawler.run_notes import RunNote, write_note
from crawler.settings import VERSION, Settings
from crawler.timings import Timings
from crawler.window import Window
from crawler.workload import Workload

if TYPE_CHECKING:
    import requests

    from crawler.samples import RunClock

SECOND_S: Final = 1.0
_HEAD_START_S: Final = 0.02
"""From the workers' being ready to the first moment that a request can be due."""
_LATE_S: Final = 0.1
"""What a schedule asked for in its last moments may still be sent so long after its end."""
_GATHER_ROWS: Final = 8192
_BATCH_S: Final = 0.005
"""Scheduled targets go to the workers in pieces of so much time, so that all share every moment."""
_WINDOW_MOST: Final = 1_000_000
_HOPELESS: Final = 100
_HOPELESS_S: Final = 2.0
_HOPELESS_LEAST: Final = 3

Watch = Callable[[Moment], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to benchmark, how, and where the records go (None keeps none).

    Settings' retries do not hold: a benchmark times each request. With ``split`` the figures of an
    A/B benchmark's sides are kept apart.
    """

    workload: Workload
    load: Load
    settings: Settings
    out: Path | None = None
    drop_unfinished: bool = False
    keep_going: bool = False
    split: bool = False
    session: requests.Session | None = None
    warn: Callable[[str], None] = to_warnings


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A benchmark that has ended. ``gave_up`` says why it ended early, where it did by itself.

    ``sides`` are the figures of an A/B benchmark's A and B.
    """

    run: str
    log: Path | None
    report: Report
    sides: tuple[Figures, Figures] | None
    gave_up: str | None


class Benchmark:
    """A plan being carried out. ``run`` does it all; ``stop`` may be called from a signal."""

    def __init__(self, plan: Plan, watch: Watch | None = None) -> None:
        self._plan = plan
        self._watch = watch
        group_by = ARM if plan.split else plan.settings.group_by
        self._settings = replace(plan.settings, retries=0, group_by=group_by)
        self._pace = Pace(plan.load, plan.workload, self._end_at)
        self._crawling = Crawling(self._job())
        self._collector = Collector(self._crawling.run)
        self._figures = Figures(self._settings.group_by)
        self._sides = {"A": Figures(ARM), "B": Figures(ARM)} if plan.split else {}
        self._window = Window()
        self._window_began_s = 0.0
        self._done = 0
        self._warmup_ok = 0
        self._dropped = 0
        self._stopped_s = inf
        self._cause = ""
        self._gave_up: str | None = None

    def run(self) -> Bench:
        """Send it all and wait for the replies; raises a ``CrawlError`` as ``crawl`` does."""
        with self._crawling as crawling:
            crawling.pool.wait_until_ready()
            before = cpu_times()
            self._begin()
            for result in crawling:
                self._take(result)
            self._gather()
            after = cpu_times()
            clock = crawling.finish()
        machine_share = after.share_since(before) if before and after else None
        return self._conclude(clock, machine_share)

    def stop(self, grace_s: float) -> None:
        """Begin nothing new; what is in flight may take ``grace_s``. Safe in a signal handler."""
        self._stopped_s = min(self._stopped_s, time.monotonic())
        self._crawling.stop(grace_s)

    def _job(self) -> Job:
        plan, schedule = self._plan, self._plan.load.schedule
        per_s = 0.0 if schedule is None else schedule.highest_per_s
        waiting = int(per_s * self._settings.timeout_s) + 100 * self._settings.concurrency
        return Job(
            targets=self._pace,
            settings=self._settings,
            out=plan.out,
            figures="timings",
            order="completion",
            largest=max(1, int(per_s * _BATCH_S)) if per_s else None,
            window=min(_WINDOW_MOST, max(10_000, waiting)),
            session=plan.session,
            warn=plan.warn,
            tables=False,
        )

    def _begin(self) -> None:
        now_s = self._window_began_s = time.monotonic()
        self._pace.begin(now_s if self._plan.load.schedule is None else now_s + _HEAD_START_S)
        self._crawling.pool.call_at(now_s + SECOND_S, self._second)

    def _end_at(self, moment_s: float) -> None:
        """Begin nothing after this moment; what is in flight is waited for, or dropped."""
        grace_s = 0.0 if self._plan.drop_unfinished else self._settings.timeout_s + SECOND_S
        late_s = 0.0 if self._plan.load.schedule is None else _LATE_S
        self._crawling.pool.call_at(moment_s + late_s, partial(self._crawling.stop, grace_s))

    def _take(self, result: BatchResult) -> None:
        self._done += result.records
        self._dropped += result.dropped
        for timings in result.samples:
            assert isinstance(timings, Timings)
            self._collector.add(timings)
            self._warmup_ok += timings.warmup - timings.warmup_failed
            for error, example in timings.examples.items():
                self._cause = self._cause or f" ({error}: {example.detail})"
        if self._collector.rows >= _GATHER_ROWS:
            self._gather()
        if self._figures.total.ok + self._warmup_ok == 0 and self._gave_up is None:
            self._despair()

    def _gather(self) -> None:
        block = self._collector.take()
        self._figures.add(block)
        self._window.add(block)
        for name, figures in self._sides.items():
            if name in block.names:
                figures.add(block.take(block.group == block.names.index(name)))

    def _despair(self) -> None:
        """End a run in which nothing succeeds: its figures would be those of a failure."""
        elapsed_s = time.monotonic() - self._pace.zero_s
        enough = _HOPELESS_LEAST if elapsed_s >= _HOPELESS_S else _HOPELESS
        if self._plan.keep_going or self._done < enough:
            return
        self._gather()
        if self._figures.total.ok + self._warmup_ok:
            return
        self._gave_up = f"no request succeeded{self._cause}"
        self.stop(0.0)

    def _second(self) -> None:
        """Look at the last second, and come back in another."""
        now_s = time.monotonic()
        self._crawling.pool.call_at(now_s + SECOND_S, self._second)
        self._gather()
        if self._watch is not None:
            self._watch(self._moment(now_s))
        self._window.clear()
        self._window_began_s = now_s

    def _moment(self, now_s: float) -> Moment:
        due = self._pace.due_by(now_s) - self._done
        in_flight = min(due, self._settings.concurrency)
        p50_ms, p99_ms = self._window.percentiles()
        elapsed_s = now_s - self._pace.zero_s
        schedule = self._plan.load.schedule
        return Moment(
            elapsed_s=elapsed_s,
            done=self._done,
            asked_per_s=None if schedule is None else schedule.rate_at(elapsed_s),
            done_per_s=self._window.rows() / (now_s - self._window_began_s),
            in_flight=in_flight,
            waiting=0 if schedule is None else due - in_flight,
            p50_ms=p50_ms,
            p99_ms=p99_ms,
            failed=self._window.failed(),
            failed_in_all=self._figures.total.failed,
        )

    def _conclude(self, clock: RunClock, machine_share: float | None) -> Bench:
        crawling = self._crawling
        note = self._note(clock, machine_share)
        if crawling.log is not None:
            write_note(crawling.log, note)
        figures = self._figures
        report = Report(
            title=self._plan.workload.words,
            figures=figures,
            runs=(RunFigures(crawling.run, figures, note),),
            audit=audit(figures, (note,)),
        )
        sides = (self._sides["A"], self._sides["B"]) if self._sides else None
        return Bench(crawling.run, crawling.log, report, sides, self._gave_up)

    def _note(self, clock: RunClock, machine_share: float | None) -> RunNote:
        load, settings = self._plan.load, self._settings
        never = self._pace.never_begun(self._done + self._dropped, self._stopped_s)
        processes = max(1, min(settings.processes, settings.concurrency))
        return RunNote(
            run=self._crawling.run,
            command="bench",
            version=VERSION,
            wall_s=clock.wall_s,
            cpu_s=clock.cpu_s,
            cores=clock.cores,
            concurrency=settings.concurrency,
            processes=processes,
            worker_share=(clock.workers_cpu_s or clock.cpu_s) / clock.wall_s / processes,
            machine_share=machine_share,
            schedule=load.words,
            rate_per_s=None if load.schedule is None else load.schedule.highest_per_s,
            unfinished=self._dropped if self._gave_up is None else 0,
            unsent=never if self._gave_up is None else 0,
        )
