"""One pull of a job, from its lock to what is told of it: the order in which all happens.

What a killed pull left is taken in first. Then the log is rotated, the targets are asked by the
main job's own engine, and what came is committed. Bodies wait in ``spool/`` until they are.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from crawler.body_plan import Bodies
from crawler.crawling import Crawling, Job
from crawler.errors import CrawlError, UsageError
from crawler.log import repair
from crawler.pull.asking import Asking
from crawler.pull.committing import Commit, Committed
from crawler.pull.cursors import Cursors
from crawler.pull.diffs import check_diff
from crawler.pull.durable import Workshop
from crawler.pull.job import PullJob
from crawler.pull.job_lock import lock_job
from crawler.pull.replies import Recorded
from crawler.pull.rotation import LOG_NAME, rotate
from crawler.pull.state import RunState, State
from crawler.pull.versions import check_versions
from crawler.resume import newest_run
from crawler.run_lock import RunLock
from crawler.settings import Settings
from crawler.targets import TargetList

_SPOOL: Final = "spool"
_BODIES: Final = "bodies.jsonl"
_BEGUN: Final = "begun"
_ASIDE: Final = 3
"""Spools that are kept of those that a bug keeps from being taken in: the newest."""


class Requests(Protocol):
    """What a job asks for and how: read anew for each pull, since lists and secrets may change."""

    @property
    def settings(self) -> Settings:
        """How the targets are requested."""
        ...

    def open(self) -> contextlib.AbstractContextManager[TargetList]:
        """Open the job's targets."""
        ...

    @property
    def whole(self) -> bool:
        """Whether all targets were there when they were opened: a part of a list may be missing."""
        ...


@dataclass(frozen=True, slots=True)
class Pulled:
    """A pull that has ended: what it came to, and of what it took up of one that was killed."""

    committed: Committed
    taken_up: Committed | None


Watch = Callable[[Crawling], contextlib.AbstractContextManager[object]]
"""What watches a crawl while it is under way: for signals, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """A pull to be made: ``job`` and what it requests. ``warn`` is told what is odd."""

    job: PullJob
    requests: Requests
    warn: Callable[[str], None]
    watch: Watch = contextlib.nullcontext
    wait: bool = False

    def make(self, then: Callable[[State, Pulled], None]) -> Pulled:
        """Make it; ``then`` is called with the open state while the job is still locked.

        Raises ``JobRunningError`` where the job is being pulled, any ``CrawlError`` where something
        cannot be used or written.
        """
        job = self.job
        check_pull(job, self.requests.settings)
        workshop = Workshop(job.store.folder)
        workshop.make(job.store.folder)
        with lock_job(job.name, job.store.folder, wait=self.wait):
            workshop.tidy()
            with State.open(job.store.folder) as state:
                taken_up = self._take_up(state, workshop)
                rotate(workshop, job.log, time.time())
                pulled = Pulled(self._pull(state, workshop), taken_up)
                then(state, pulled)
                return pulled

    def _take_up(self, state: State, workshop: Workshop) -> Committed | None:
        """Commit what a pull that was killed had recorded.

        Where a bug is in the way the bodies are put aside: it is not to bar every later pull.
        """
        log, spool = workshop.folder / LOG_NAME, workshop.folder / _SPOOL
        if not spool.exists():
            return None
        run = newest_run(log) if _whole_size(log) else None
        committed = None
        try:
            if run is not None:
                # In which manner it was asked is not known any more: the job may have been edited.
                job = replace(self.job, manner="")
                commit = Commit(job, state, workshop, warn=self.warn)
                recorded = Recorded(run, log, spool / _BODIES)
                committed = commit.commit(recorded, time.time(), cut=True)
            if committed is None:
                _note_killed(state, _begun_s(spool))
        except CrawlError:
            raise
        except Exception as exc:
            aside = spool.with_name(f"{_SPOOL}-{run}")
            workshop.move(spool, aside)
            for older in sorted(spool.parent.glob(f"{_SPOOL}-*"))[:-_ASIDE]:
                shutil.rmtree(older, ignore_errors=True)
            self.warn(
                f"what a pull had fetched cannot be taken in, by a bug in crawl "
                f"({type(exc).__name__}); its bodies are put aside in {aside}"
            )
            return None
        shutil.rmtree(spool, ignore_errors=True)
        return committed

    def _pull(self, state: State, workshop: Workshop) -> Committed:
        log, spool = workshop.folder / LOG_NAME, workshop.folder / _SPOOL
        workshop.make(spool)
        workshop.write(spool / _BEGUN, repr(time.time()).encode())
        offset = _whole_size(log)
        settings = _with_spool(self.requests.settings, spool / _BODIES)
        known = {target.key: target for target in state.targets() if target.page == 1}
        asking = Asking(self.job, settings, known, time.time())
        with _telling_errors(spool), self.requests.open() as targets:
            crawl = Job(
                targets=asking.requests(targets), settings=settings, out=log, warn=self.warn,
                tables=False, wait_for_lock=True,
            )  # fmt: skip
            with Crawling(crawl) as crawling, self.watch(crawling):
                for _ in crawling:
                    pass
                crawling.finish()
        commit = Commit(self.job, state, workshop, warn=self.warn)
        recorded = Recorded(crawling.run, log, spool / _BODIES, offset)
        committed = commit.commit(
            recorded, time.time(), cut=crawling.stopped, whole=self.requests.whole
        )
        assert committed is not None, "a run's id is its own"
        shutil.rmtree(spool, ignore_errors=True)
        return committed


def check_pull(job: PullJob, settings: Settings) -> None:
    """Raise ``UsageError`` for what can be known to be wrong before anything is sent."""
    check_diff(job.store.diff)
    check_versions(job.store.versions)
    if job.cursor is not None:
        Cursors(job.cursor)
    if settings.dedupe != "none":
        raise UsageError("dedupe: a pull keeps a version of each target; leave it out")


def note_failure(state: State, words: str, now_s: float) -> None:
    """Note that a pull could not be made, for the history to tell."""
    state.add(RunState(_run_id(now_s), now_s, now_s, 0, 0, 0, words))


def _note_killed(state: State, begun_s: float | None) -> None:
    """Note a pull that was killed before its first record, unless it is one that is there."""
    if begun_s is None:
        return
    told = state.rows("SELECT 1 FROM run WHERE started >= ? AND error IS NULL LIMIT 1", begun_s)
    if not told:
        state.add(RunState(_run_id(begun_s), begun_s, begun_s, 0, 0, 0, None, cut=True))


@contextlib.contextmanager
def _telling_errors(spool: Path) -> Iterator[None]:
    """A pull that ends in an error was not killed, and the error is told."""
    try:
        yield
    except CrawlError:
        (spool / _BEGUN).unlink(missing_ok=True)
        raise


def _begun_s(spool: Path) -> float | None:
    try:
        return float((spool / _BEGUN).read_text())
    except (OSError, ValueError):
        return None


def _run_id(now_s: float) -> str:
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))
    return f"{moment}-{int(now_s * 1e6) % 10**8:08d}"


def _whole_size(log: Path) -> int:
    """Cut off what a killed pull left of a line; give the log's size in bytes, 0 without one."""
    if not log.exists():
        return 0
    with RunLock(log, wait=True):
        repair(log)
    return log.stat().st_size


def _with_spool(settings: Settings, spool: Path) -> Settings:
    """Have bodies kept for the commit; a 304 is always fine where statuses are expected."""
    expect = settings.expect
    if expect is not None and expect.statuses:
        expect = replace(expect, statuses=(*expect.statuses, "304"))
    return replace(settings, bodies=Bodies(file=str(spool), headers=True), expect=expect)
