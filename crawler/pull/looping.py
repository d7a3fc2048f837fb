"""Jobs pulled by their schedules, in the foreground: each pull is a process of its own.

So whatever happens to one stops no other, nothing of it stays in memory, and a loop that is killed
leaves its pulls to end by themselves. A job is read when the loop begins and on SIGHUP; its pulls
get the text that was read, so a file that is edited to rubbish meanwhile does no harm.
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Final

from crawler.errors import CrawlError, UsageError
from crawler.pull.job import PullJob, Timing
from crawler.pull.overview import JobView, Overviews
from crawler.pull.state import State
from crawler.pull.timetable import Timetable

AT_ONCE: Final = 8
"""Pulls under way together, unless told otherwise; others wait for a place."""
_LONGEST_NAP_S: Final = 1.0
_SAME_PRESS_S: Final = 0.3
_PUT_BACK_S: Final = 1.0
"""How far the wall clock must have fallen behind the monotonic one to count as put back."""
_HEALTHY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class LoadedJob:
    """A job as it was read, and the text that it was read from."""

    job: PullJob
    text: bytes


Load = Callable[[Path], LoadedJob]
Say = Callable[[str], None]


def job_files(places: Sequence[Path]) -> list[Path]:
    """Give the job files that some paths name: files, and the .toml files of folders.

    Raises ``UsageError`` for what is neither, and for a folder without one.
    """
    files = list[Path]()
    for place in places:
        found = sorted(place.glob("*.toml")) if place.is_dir() else [place]
        if not found:
            raise UsageError(f"{place} holds no .toml file; crawl pull --init {place}/job.toml")
        files += found
    return list(dict.fromkeys(path.absolute() for path in files))


def check_apart(jobs: Sequence[PullJob]) -> None:
    """Raise ``UsageError`` where two jobs have one name, or keep their data in one folder."""
    claimed: dict[tuple[str, str], PullJob] = {}
    for job in jobs:
        _claim(claimed, job)


def _claim(claimed: dict[tuple[str, str], PullJob], job: PullJob) -> None:
    """Note a job's places as its own; raises ``UsageError`` where one is another's."""
    places = _places(job).items()
    for what, value in places:
        if (what, value) in claimed:
            other = claimed[what, value]
            raise UsageError(f"{other.path} and {job.path} have the same {what}; change one")
    claimed |= dict.fromkeys(places, job)


def _places(job: PullJob) -> dict[str, str]:
    """Give what no two jobs may share."""
    places = {"name": job.name, "[store] dir": str(job.store.folder.resolve())}
    if job.textfile is not None:
        places["[metrics] textfile"] = str(job.textfile.resolve())
    return places


@dataclass(frozen=True, slots=True)
class _Running:
    process: subprocess.Popen[bytes]
    since_s: float


class Loop:
    """Pulls jobs until it is told to stop; ``places`` are job files and folders of them."""

    def __init__(
        self,
        places: Sequence[Path],
        load: Load,
        say: Say,
        *,
        every: Timing | None = None,
        at_once: int = AT_ONCE,
    ) -> None:
        self._places = tuple(places)
        self._load = load
        self._say = say
        self._every = every
        self._at_once = at_once
        self._table: Timetable[Path] = Timetable(lambda most: random.uniform(0.0, most))
        self._running: dict[Path, _Running] = {}
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Its put is reentrant, as a signal's handler needs it (an Event's set is not)."""
        self._stops: list[float] = []
        self._reload = False
        self._has_begun = False
        self._clock = time.time() - time.monotonic()
        self._ticked_s = time.monotonic()
        self._jobs: dict[Path, LoadedJob] = {}
        self._overviews = Overviews()
        self._waiting: dict[Path, str] = {}
        """Files of which no job could be read, and why."""
        self._stale: dict[Path, str] = {}
        """Files whose jobs stay as they were, and why."""

    def begin(self) -> None:
        """Read all jobs; raises ``UsageError`` for one that was named and cannot be pulled.

        One of a folder waits until it is mended and read anew, and keeps no other back.
        """
        named = {place.absolute() for place in self._places if not place.is_dir()}
        files = job_files(self._places)
        fresh, errors = self._readable(files)
        jobs = self._chosen(files, fresh, errors)
        for path, error in errors.items():
            if path in named or not jobs:
                raise error
            self._say(f"{error}; the job waits")
        self._take(jobs)
        self._waiting = {path: str(error) for path, error in errors.items()}
        self._has_begun = True
        self._say_next()

    def _say_next(self) -> None:
        """Say what there is to do: the first pull may be hours away."""
        moments = {path: self._table.next_at(path) or 0.0 for path in self._jobs}
        path = min(moments, key=moments.__getitem__)
        at = datetime.fromtimestamp(moments[path], self._timing(self._jobs[path].job).zone)
        count = len(moments)
        self._say(
            f"{count} job{'s' * (count > 1)}; next pull: {self._jobs[path].job.name}, "
            f"{at.isoformat(' ', 'seconds')}"
        )

    def _readable(
        self, files: Sequence[Path]
    ) -> tuple[dict[Path, LoadedJob], dict[Path, CrawlError]]:
        """Read job files; give those that can be pulled, and why others cannot."""
        jobs, errors = dict[Path, LoadedJob](), dict[Path, CrawlError]()
        for path in files:
            try:
                loaded = self._load(path)
                trial: Timetable[Path] = Timetable(lambda _: 0.0)
                _put(trial, path, self._timing(loaded.job), None, time.time())
            except CrawlError as exc:
                errors[path] = exc
            else:
                jobs[path] = loaded
        return jobs, errors

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Heed signals: SIGTERM and SIGINT stop, a second one at once; SIGHUP reads jobs anew."""
        handlers = {
            signal.SIGINT: self._on_stop,
            signal.SIGTERM: self._on_stop,
            signal.SIGHUP: self._on_reload,
            signal.SIGCHLD: self._on_child,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run(self) -> int:
        """Pull until told to stop, then wait for pulls under way; give the exit code."""
        while not (self._stops and not self._running):
            self._tick(time.time())
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=self._nap_s())
        return 0

    def views(self, name: str | None = None) -> list[JobView]:
        """Look at the job of a name, or at all jobs; safe in another thread."""
        there = [
            replace(self._view(path, loaded.job), fault=self._stale.get(path))
            for path, loaded in list(self._jobs.items())
            if name in (None, loaded.job.name)
        ]
        waiting = [
            JobView(name=path.stem, path=path, folder=path.parent, error=f"it waits: {error}")
            for path, error in list(self._waiting.items())
            if name in (None, path.stem)
        ]
        return there + waiting

    def healthy(self) -> bool:
        """Whether the loop is alive; safe in another thread."""
        return time.monotonic() - self._ticked_s < _HEALTHY_S

    def _view(self, path: Path, job: PullJob) -> JobView:
        next_at, running = self._table.next_at(path), self._running.get(path)
        since_s = None if running is None else running.since_s
        try:
            return replace(self._overviews.of(job), next_at=next_at, running_since=since_s)
        except CrawlError as exc:
            return JobView(
                name=job.name, path=job.path, folder=job.store.folder,
                next_at=next_at, running_since=since_s, error=str(exc),
            )  # fmt: skip

    def _tick(self, now_s: float) -> None:
        """Do all that is to be done now."""
        self._ticked_s = time.monotonic()
        self._reap()
        if self._stops:
            return
        self._heed_clock(now_s)
        if self._reload:
            self._reload = False
            self._read_anew()
        for path in self._table.due(now_s, self._at_once - len(self._running)):
            if self._stops:
                return
            self._start(path, now_s)

    def _nap_s(self) -> float:
        """The wall clock may be put forward at any time, so no nap is long.

        Where all places are taken only the end of a pull, which wakes the loop, makes room.
        """
        if len(self._running) >= self._at_once:
            return _LONGEST_NAP_S
        return min(_LONGEST_NAP_S, max(0.01, self._table.wait_s(time.time())))

    def _heed_clock(self, now_s: float) -> None:
        clock = now_s - time.monotonic()
        if clock < self._clock - _PUT_BACK_S:
            self._say(f"the clock was put back by {self._clock - clock:.0f} s: next moments anew")
            self._table.set_back(now_s, self._clock - clock)
        self._clock = clock

    def _start(self, path: Path, now_s: float) -> None:
        """Pull a job in a process and a session of its own: Ctrl-C is the loop's to pass on."""
        command = [sys.executable, "-m", "crawler", "pull", "--skip-if-running"]
        try:
            # No pipe: a child that does not read it would hold up the loop.
            with tempfile.TemporaryFile() as text:
                text.write(self._jobs[path].text)
                text.seek(0)
                process = subprocess.Popen(
                    [*command, "--text-on-stdin", str(path)], stdin=text, start_new_session=True
                )
        except OSError as exc:
            self._say(f"{path}: cannot start its pull: {exc.strerror or exc}")
            self._table.ended(path)
            return
        self._running[path] = _Running(process, now_s)
        if self._stops:  # told to stop while it was begun
            process.send_signal(signal.SIGTERM)

    def _reap(self) -> None:
        for path, running in list(self._running.items()):
            code = running.process.poll()
            if code is None:
                continue
            del self._running[path]
            passed_over = self._table.ended(path)
            if code < 0 and not self._stops:
                name = signal.Signals(-code).name
                self._say(f"{path}: its pull was killed by {name}; the next one takes it up")
            if passed_over:
                took_s = time.time() - running.since_s
                self._say(
                    f"{path}: its pull took {took_s:.1f} s with the start of its process, longer "
                    f"than its period; moments passed over: {passed_over}"
                )

    def _read_anew(self) -> None:
        """Read all jobs; one that cannot be pulled any more stays as it was."""
        try:
            files = job_files(self._places)
        except UsageError as exc:
            self._say(f"{exc}; the jobs stay as they were")
            return
        fresh, errors = self._readable(files)
        jobs = self._chosen(files, fresh, errors)
        for path, error in errors.items():
            self._say(f"{error}; the job {'stays as it was' if path in jobs else 'waits'}")
        gone = ", ".join(path.name for path in self._jobs if path not in files)
        self._take(jobs)
        self._waiting = {path: str(errors[path]) for path in errors if path not in jobs}
        told = "it is pulled as its file was, which now is not right"
        self._stale = {path: f"{told}: {errors[path]}" for path in errors if path in jobs}
        self._say(f"jobs read anew: {len(fresh)}" + f"; gone: {gone}" * bool(gone))

    def _chosen(
        self, files: Sequence[Path], fresh: Mapping[Path, LoadedJob], errors: dict[Path, CrawlError]
    ) -> dict[Path, LoadedJob]:
        """Choose for each file its job as it is now, else as it was; ``errors`` tells why not.

        Of two that would be one job, the one that was that job before is taken.
        """
        chosen, claimed = dict[Path, LoadedJob](), dict[tuple[str, str], PullJob]()

        def newness(path: Path) -> int:
            old = self._jobs.get(path)
            if old is None:
                return 2
            return int(_places(fresh.get(path, old).job) != _places(old.job))

        for path in sorted(files, key=newness):
            for loaded in filter(None, (fresh.get(path), self._jobs.get(path))):
                try:
                    _claim(claimed, loaded.job)
                except UsageError as exc:
                    errors.setdefault(path, exc)
                else:
                    chosen[path] = loaded
                    break
        return {path: chosen[path] for path in files if path in chosen}

    def _take(self, jobs: Mapping[Path, LoadedJob]) -> None:
        """Take up jobs in place of those before."""
        now_s = time.time()
        for path, loaded in jobs.items():
            last_s = _last_begun_s(loaded.job)
            _put(self._table, path, self._timing(loaded.job), last_s, now_s)
            if path in self._running:  # it may have been dropped meanwhile
                self._table.begun(path)
        for path in self._jobs.keys() - jobs.keys():
            self._table.drop(path)
        self._jobs = dict(jobs)

    def _timing(self, job: PullJob) -> Timing:
        return job.timing if self._every is None else self._every

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        if not self._has_begun:  # it may hang, in reading a file
            raise SystemExit(0)
        now_s = time.monotonic()
        if self._stops and now_s - self._stops[-1] < _SAME_PRESS_S:
            return
        self._stops.append(now_s)
        number = signal.SIGTERM if len(self._stops) == 1 else signal.SIGKILL
        for running in self._running.values():
            running.process.send_signal(number)
        if self._running:
            count = len(self._running)
            # Not through sys.stderr: the signal may have come in the middle of a write to it.
            os.write(2, f"\ncrawl: stopping: pulls under way: {count}\n".encode())
        self._wake.put(None)

    def _on_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._reload = True
        self._wake.put(None)

    def _on_child(self, _number: int, _frame: FrameType | None) -> None:
        self._wake.put(None)


def _put(
    table: Timetable[Path], path: Path, timing: Timing, last_s: float | None, now_s: float
) -> None:
    try:
        table.put(path, timing, last_s, now_s)
    except UsageError as exc:
        raise UsageError(f"{path}: {exc}") from None


def _last_begun_s(job: PullJob) -> float | None:
    """Give when a job was last pulled, None where that was never, or cannot be told."""
    try:
        state = State.reading(job.store.folder)
        if state is None:
            return None
        with state:
            newest = state.runs(most=1)
    except CrawlError:
        return None  # the pull will say what is wrong with it
    return newest[0].started if newest else None
