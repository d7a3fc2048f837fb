"""A run under way: targets, pool, record log and summary composed, started, stopped and ended."""

from __future__ import annotations

import contextlib
import importlib
import resource
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from crawler.batches import BatchResult, FiguresKind, Order
from crawler.by_hosts import POLITE_WINDOW, imap_by_hosts, in_turn
from crawler.codec import encode
from crawler.engine_choice import with_engine
from crawler.errors import LogError, UsageError
from crawler.export import writer_for
from crawler.file_limit import allow_files
from crawler.ledger import MOST, OutputOrder
from crawler.log import SharedLog, index_log, repair
from crawler.paging import first_page
from crawler.pool import Pool
from crawler.profile import ca_bundle, environment_proxies
from crawler.record import Target
from crawler.recovery import LogRecovery
from crawler.reorder import Reorder
from crawler.resume import Done, load_done
from crawler.run_lock import RunLock
from crawler.samples import Counts, RunClock, Samples
from crawler.settings import Settings, available_cores
from crawler.source import Reading
from crawler.worker import fetch_batch, initialize, new_event_loop

if TYPE_CHECKING:
    import requests

    from crawler.body_plan import Bodies
    from crawler.duplicates import Duplicates
    from crawler.summary import Summary

Take = Literal["new", "resume", "retry_failed"]
"""What to do with a log that exists: append a new run, go on with the newest, or redo its failures
as well."""

_WINDOW_LEAST: Final = 10_000
_WINDOW_PER_CONNECTION: Final = 100
"""Targets read and not yet given out in order: so many that stragglers at the head of the order
leave no connection idle, even if every hundredth target waits for its time-out."""


_STREAMED_TOGETHER: Final = 8
"""A batch is given out when all of it is done: small ones, where records are waited for."""

_WRITTEN_TOGETHER: Final = 256


def to_warnings(text: str) -> None:
    """Tell of something as a Python warning: what a library does."""
    warnings.warn(text, RuntimeWarning, stacklevel=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to run.

    ``out`` is where records are kept: a ``.log`` or ``.jsonl`` file of JSON lines, ``.csv`` or
    ``.parquet``, or None. ``keep_lines`` brings the records' lines back to the parent. Targets that
    may keep their reader waiting are read ``ahead``. Without ``tables`` the run ends with no
    summary, and pandas is not imported; nor is numpy, if no ``live`` figures are wanted either.
    With ``timings`` for ``figures`` counting is the caller's business. ``window`` and ``largest``
    are the pool's, where its usual ones do not fit.
    """

    targets: Iterable[Target]
    settings: Settings
    out: Path | None = None
    keep_lines: bool = False
    figures: FiguresKind = "samples"
    order: OutputOrder = "input"
    window: int | None = None
    largest: int | None = None
    take: Take = "new"
    wait_for_lock: bool = False
    session: requests.Session | None = None
    warn: Callable[[str], None] = to_warnings
    tables: bool = True
    live: bool = False
    reading: Reading = "direct"


class _Import(threading.Thread):
    """Imports what counts (numpy) while the workers are at work."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.cpu_s = 0.0

    def run(self) -> None:
        """Import, and note the CPU time that it took: it is no part of the crawling."""
        importlib.import_module("crawler.summary")
        self.cpu_s = time.thread_time()


class Crawling:
    """A run under way: iterate over its results, in input order, inside ``with``."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.settings, self._session = with_engine(job.settings, job.session)
        self._export = None if job.out is None else writer_for(job.out)
        self.log = _log_path(job.out, exports=self._export is not None)
        self.run = _new_run_id()
        self.resumed = 0
        self._pool: Pool | None = None
        self._stop_grace_s: float | None = None
        self._summary: Summary | None = None
        self._summing = job.tables or job.live
        self._importing = _Import()
        self.counts = Counts()
        self.failed_before = 0
        self._cleanup = contextlib.ExitStack()
        self._duplicates = self._new_duplicates()
        self.duplicates = 0
        polite = self.settings.polite is not None
        self._reorder = Reorder() if polite and job.keep_lines else None

    def __enter__(self) -> Crawling:
        with self._cleanup:
            done = self._take_log()
            self._check_selects()
            if self.settings.bodies is not None:
                self._prepare_bodies(self.settings.bodies)
            self._results = self._start(self._targets(done))
            self._cleanup = self._cleanup.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._cleanup.close()
        self._finish_importing()  # no thread of a run outlives it
        if self._duplicates is not None:
            self._duplicates.close()

    def _new_duplicates(self) -> Duplicates | None:
        how = self.settings.dedupe
        if how == "none":
            return None
        if self.settings.paginate is not None:
            raise UsageError("--dedupe answers a target by a record, --paginate by many: give one")
        if self.log is None or self._job.keep_lines:  # their records would be lost
            raise UsageError(
                "--dedupe makes records of records when the run ends: it needs a log to read them "
                "back from, and cannot stream them; give --out FILE"
            )
        from crawler.duplicates import Duplicates

        return Duplicates(how)

    def _targets(self, done: Done | None) -> Iterable[Target]:
        """Give the targets to fetch: no duplicates, and none that is done."""
        targets = self._job.targets
        if done is not None:
            targets = done.whole(targets)
        if self._duplicates is not None:
            targets = self._duplicates.leave_out(targets)
        if self.settings.paginate is not None:
            targets = map(first_page, targets)
        return targets if done is None else done.open_targets(targets)

    def __iter__(self) -> Iterator[BatchResult]:
        for result in self._results:
            for samples in result.samples:
                if isinstance(samples, Samples):
                    self.counts.add(samples)
                    if self._summing:
                        self.summary.add(samples)
            yield result if self._reorder is None else in_turn(result, self._reorder)
        if self._reorder is not None:
            yield BatchResult(0, (), self._reorder.rest())

    @property
    def summary(self) -> Summary:
        """What has been counted so far."""
        if self._summary is None:
            from crawler.summary import Summary

            self._summary = Summary(self.settings.group_by)
        return self._summary

    @property
    def pool(self) -> Pool:
        """The workers, inside ``with``."""
        assert self._pool is not None, "a run's pool is there inside its with"
        return self._pool

    def stop(self, grace_s: float) -> None:
        """Begin nothing new; what is in flight may take ``grace_s``. Safe in a signal handler."""
        self._stop_grace_s = grace_s
        if self._pool is not None:
            self._pool.stop(grace_s)

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop, so that some targets may have no record."""
        return self._stop_grace_s is not None

    def finish(self) -> RunClock:
        """End the workers, and write the export if one was asked for; tell what the run took."""
        wall_s = time.monotonic() - self._began_s
        if self._pool is not None:
            self._pool.close()
        self._finish_importing()
        if self.settings.bodies is not None:
            from crawler.bodies.settling import conclude

            disturbed = self._job.take != "new" or self.pool.deaths > 0
            plan = self.settings.bodies
            missing = conclude(plan, self.run, self.log, disturbed=disturbed)
            if missing:
                place = plan.folder or plan.file
                self._job.warn(f"{missing} bodies that records tell of are not in {place}")
        ends = zip(self._began_cpu_s, _cpu_s(), strict=True)
        own_s, workers_s = (after - before for before, after in ends)
        cpu_s = own_s + workers_s - self._importing.cpu_s
        clock = RunClock(wall_s, cpu_s, available_cores(), workers_s)
        if self.log is not None:
            self._answer_duplicates(self.log)
            SharedLog(self.log, self.settings.fsync).settle()
        if self._export is not None:
            self._write_export()
        return clock

    def _check_selects(self) -> None:
        if self.settings.select:
            from crawler.selecting import compiled

            for _, expression in self.settings.select:
                compiled(expression, "--select")

    def _prepare_bodies(self, plan: Bodies) -> None:
        """Let no other run append to the same file: the end of it is noted by one only."""
        from crawler.bodies.preparing import check_place, prepare
        from crawler.bodies.sinks import rows_path

        check_place(plan, tuple(path for path in (self.log, self._job.out) if path is not None))
        if plan.file is not None:
            lock = RunLock(rows_path(plan), wait=self._job.wait_for_lock)
            self._cleanup.enter_context(lock)
        prepare(plan, resumed=self._job.take != "new")

    def _answer_duplicates(self, log: Path) -> None:
        """Make the records of duplicates of those of the first ones, once all those are there."""
        if self._duplicates is None or not self._duplicates.count:
            return
        writer = SharedLog(log, self.settings.fsync).open()
        with index_log(log, self.run).reading() as record_of:
            answered = self._duplicates.answered(record_of)
            while records := list(islice(answered, _WRITTEN_TOGETHER)):
                writer.append([encode(record) for record in records])
                self.duplicates += len(records)
                for record in records:
                    self.counts.note(failed=record.error is not None)
        writer.close()

    def _take_log(self) -> Done | None:
        if self.log is None:
            if self._job.take != "new":
                raise UsageError("--resume and --retry-failed need a record log: give --out FILE")
            return None
        self._cleanup.enter_context(RunLock(self.log, wait=self._job.wait_for_lock))
        repaired = repair(self.log)
        if repaired is not None:
            self._job.warn(repaired)
        if self._job.take == "new":
            return None
        pages = self.settings.paginate
        most = 1 if pages is None else pages.max_pages
        done = load_done(self.log, retry_failed=self._job.take == "retry_failed", max_pages=most)
        if done is None and self._job.take == "retry_failed":
            raise LogError(f"{self.log}: there is no run whose failures could be redone")
        if done is None:
            self._job.warn(f"{self.log} holds no run yet: this is its first")
            return None
        self.run, self.resumed, self.failed_before = done.run, done.count, done.failed
        return done

    def _start(self, targets: Iterable[Target]) -> Iterator[BatchResult]:
        settings = self.settings
        allow_files(settings.concurrency)
        log = None if self.log is None else SharedLog(self.log, settings.fsync)
        if log is not None:
            log.open().close()
        job = self._job
        order = Order(self.run, settings.group_by, job.keep_lines, job.figures)
        recovery = LogRecovery(order, settings, log)
        polite = settings.polite
        self._pool = self._new_pool(log)
        self._began_s, self._began_cpu_s = time.monotonic(), _cpu_s()
        self._cleanup.enter_context(self._pool)
        if self._stop_grace_s is not None:  # it was stopped before there was a pool
            self._pool.stop(self._stop_grace_s)
        if self._summing:
            self._importing.start()
        usual = max(_WINDOW_LEAST, _WINDOW_PER_CONNECTION * settings.concurrency)
        if self._reorder is not None:
            targets = self._reorder.watch(targets)
        window = job.window or (POLITE_WINDOW if polite and self._reorder is None else usual)
        if polite is not None:
            return imap_by_hosts(
                self._pool,
                partial(fetch_batch, order),
                recovery.watch(targets),
                rules=polite,
                recovery=recovery,
                window=window,
                reading=job.reading,
                reorder=self._reorder,
            )
        return self._pool.imap_batches(
            partial(fetch_batch, order),
            recovery.watch(targets),
            window=window,
            recovery=recovery,
            largest=job.largest or (_STREAMED_TOGETHER if job.keep_lines else MOST),
            reading=job.reading,
            order=job.order,
        )

    def _new_pool(self, log: SharedLog | None) -> Pool:
        settings, polite = self.settings, self.settings.polite
        if settings.engine == "curl":  # once, before workers are forked, and not in each of them
            with contextlib.suppress(ImportError):  # a worker tells of it
                importlib.import_module("crawler.engines.curl")
            ca_bundle()  # both import what they need
            environment_proxies()
        one_clock = polite is not None and polite.rate_per_s is not None
        return Pool(
            min(settings.processes, 1) if one_clock else settings.processes,
            initialize,
            (log, self._session, settings),
            concurrency=settings.concurrency,
            loop_factory=new_event_loop,
            warn=self._job.warn,
            before_start=self._finish_importing,
        )

    def _finish_importing(self) -> None:
        """Let no worker be forked while another thread holds the import system's locks."""
        if self._importing.ident is not None:
            self._importing.join()

    def _write_export(self) -> None:
        assert self._export is not None
        assert self._job.out is not None
        assert self.log is not None
        index = index_log(self.log, self.run)
        self._export(self._job.out, index.records(), index.columns)


def _log_path(out: Path | None, *, exports: bool) -> Path | None:
    if out is not None and (out.is_dir() or not out.name):
        raise LogError(f"cannot write {out}: it is a directory; give a file in it")
    if out is not None and out.exists() and not out.is_file():
        raise LogError(f"cannot write {out}: it is no regular file; --out - is for standard output")
    if out is None or not exports:
        return out
    return out.with_name(out.name + ".log")


def _new_run_id() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(4)


def _cpu_s() -> tuple[float, float]:
    """CPU seconds of this process, and of its children that have ended."""
    own, children = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime
