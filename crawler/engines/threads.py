"""Blocking work in threads, awaited from an event loop, that can neither hang it nor the exit.

``concurrent.futures`` joins its threads when the interpreter ends, so that one look-up stuck in
libc holds up the exit for as long. These threads are daemons: nobody joins them, and a job that
is long overdue is given up, its thread replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class DaemonThreads:
    """Up to ``size`` daemon threads, started as work needs them."""

    def __init__(self, size: int, *, name: str) -> None:
        self._size = size
        self._name = name
        self._started = 0
        self._idle = threading.Semaphore(0)
        self._jobs: SimpleQueue[_Job[object] | None] = SimpleQueue()

    async def call(
        self, work: Callable[[], T], *, left_s: Callable[[], float], overdue: Callable[[], T]
    ) -> T:
        """Run ``work`` in a thread and give what it returns or raises.

        ``left_s`` tells how many seconds it may still take; once that is 0 or less, what
        ``overdue`` returns is given in its place, whatever the thread is stuck in.
        """
        job = _Job(work, left_s, overdue)
        self._jobs.put(job)  # type: ignore[arg-type]
        if not self._idle.acquire(blocking=False) and self._started < self._size:
            self._start()
        try:
            return await job.outcome()
        finally:
            if job.is_stuck():
                self._size += 1
                self._start()

    def close(self) -> None:
        """Let idle threads end now and busy ones after their job; wait for none."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _start(self) -> None:
        self._started += 1
        name = f"{self._name}-{self._started}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.run():
                return
            del job  # what it holds is not to live until the next one comes
            self._idle.release()


class _Job(Generic[T]):
    """Work on its way through a thread. The lock decides whether it ended or was given up."""

    __slots__ = (
        "_began", "_ended", "_future", "_given_up", "_left_s", "_lock", "_loop", "_overdue",
        "_watch", "_work",
    )  # fmt: skip

    def __init__(
        self, work: Callable[[], T], left_s: Callable[[], float], overdue: Callable[[], T]
    ) -> None:
        self._work = work
        self._left_s = left_s
        self._overdue = overdue
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self._loop.create_future()
        self._lock = threading.Lock()
        self._began = self._ended = self._given_up = False

    async def outcome(self) -> T:
        """Wait for the thread, as long as the work may take."""
        self._watch = self._loop.call_later(self._left_s(), self._look)
        try:
            return await self._future
        finally:
            self._watch.cancel()

    def _look(self) -> None:
        left_s = self._left_s()
        if left_s > 0:
            self._watch = self._loop.call_later(left_s, self._look)
        elif not self._future.done():
            self._future.set_result(self._overdue())

    def is_stuck(self) -> bool:
        """Give the job up if its thread is still at it; tell whether it is."""
        with self._lock:
            self._given_up = not self._ended
            return self._began and not self._ended

    def run(self) -> bool:
        """Do the work, in a thread; tell whether the thread is still wanted afterwards."""
        with self._lock:
            if self._given_up:
                return True
            self._began = True
        settle: Callable[[], None]
        try:
            settle = partial(self._future.set_result, self._work())
        except BaseException as exc:
            settle = partial(self._future.set_exception, exc)
        with self._lock:
            self._ended = True
            still_wanted = not self._given_up
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, settle)
        return still_wanted

    def _settle(self, settle: Callable[[], None]) -> None:
        if not self._future.done():
            settle()
