"""The pool's side inside a worker: take batches, run them together, hand results in.

A worker shares nothing with its siblings and waits for its parent alone: when the parent is gone,
however it went, the channel ends and so does the worker. Whatever a task raises goes back as an
error of ours or as text; SIGINT and SIGTERM are the parent's business.
"""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crawler.channel import Channel, ChannelClosedError
from crawler.errors import CrawlError, WorkerError

READY: Final = "ready"
MORE: Final = "more"
DONE: Final = "done"
FAILED: Final = "failed"
BROKEN: Final = "broken"
"""What a worker says: it may be used; it takes n further items; a task's result; a task's error;
its initializer's error."""
FUNCTION: Final = "function"
TASK: Final = "task"
STOP: Final = "stop"
"""What a parent says: what to run; items to run it on; stop within so many seconds."""

_GC_THRESHOLD: Final = (50_000, 20, 100)
"""A worker's garbage is values that die young, without cycles; looking for them costs 5 %."""

BatchFunction = Callable[[list[Any], "Desk"], Coroutine[Any, Any, Any]]
LoopFactory = Callable[[int], asyncio.AbstractEventLoop]


def default_loop(_share: int) -> asyncio.AbstractEventLoop:
    """Give an ordinary loop, whatever the worker's share."""
    return asyncio.SelectorEventLoop()


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker starts with. ``share`` is its part of the concurrency."""

    share: int
    initializer: Callable[..., None] | None = None
    initargs: tuple[Any, ...] = ()
    loop_factory: LoopFactory = default_loop


class Desk:
    """What a batch function sees of the pool: its worker's share, and a way to ask for more items.

    ``on_stop`` is called once when the run is to stop: nothing new is to be begun then, and batch
    functions return what they have. After the grace they are cancelled. ``on_end`` is called, in
    the loop, when a worker that is a thread ends; a process just goes.
    """

    def __init__(self, share: int, send: Callable[[tuple[Any, ...]], None]) -> None:
        self.share = share
        self.stopping = False
        self.on_stop: Callable[[], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self._send = send

    def more(self, count: int) -> None:
        """Ask the parent for ``count`` further items; they come as one batch or several."""
        self._send((MORE, count))

    def stop(self) -> None:
        """Tell whoever registered, once, that nothing new is to be begun."""
        if not self.stopping and self.on_stop is not None:
            self.stopping = True
            self.on_stop()
        self.stopping = True


def run_process(channel: Channel, setup: Setup, inherited: Sequence[Channel]) -> None:
    """Be a worker process until the parent's end of the channel closes."""
    # Ctrl-C, `timeout` and systemd signal a whole group: the parent then lets us finish.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for sibling in inherited:
        sibling.close()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLD)
    run(channel, setup, tidy=False)
    # Not sys.exit: a resolver thread of libcurl's may still wait for a dead name server.
    os._exit(0)


def run(channel: Channel, setup: Setup, *, tidy: bool = True) -> None:
    """Be a worker in this thread until the parent's end of the channel closes."""
    try:
        if setup.initializer is not None:
            setup.initializer(*setup.initargs)
        loop = setup.loop_factory(setup.share)
    except BaseException as exc:
        channel.send((BROKEN, portable(exc)))
        return
    worker = _Worker(channel, setup.share, loop)
    try:
        loop.run_until_complete(worker.serve())
        if tidy:
            loop.run_until_complete(worker.tidy())
    finally:
        channel.close()
        loop.close()


def portable(exc: BaseException) -> CrawlError:
    """Give an error that can cross a pipe: ours as it is, any other as text."""
    if isinstance(exc, CrawlError) and not isinstance(exc, WorkerError):
        return exc
    where = "".join(traceback.format_exception(exc))
    return WorkerError(f"a worker raised {type(exc).__name__}: {_words(exc)}", where)


def _words(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:
        return "(its text cannot be shown)"


class _Worker:
    """One worker's dispatch: messages in, tasks run, results out."""

    def __init__(self, channel: Channel, share: int, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._loop = loop
        self.desk = Desk(share, self._send)
        self._function: BatchFunction | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = loop.create_future()

    async def serve(self) -> None:
        """Work until the parent is gone, then let what runs keep what it has."""
        self._loop.add_reader(self._channel.fileno(), self._read)
        self._send((READY,))
        await self._gone
        self._loop.remove_reader(self._channel.fileno())
        self.desk.stop()
        self._cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)

    async def tidy(self) -> None:
        """Let whoever registered close what a process's end would close."""
        if self.desk.on_end is not None:
            self.desk.on_end()
        await asyncio.sleep(0)

    def _read(self) -> None:
        try:
            messages = self._channel.receive()
        except ChannelClosedError:
            if not self._gone.done():
                self._gone.set_result(None)
            return
        for kind, *rest in messages:
            if kind == TASK:
                self._begin(*rest)
            elif kind == FUNCTION:
                self._function = rest[0]
            elif kind == STOP:
                self._stop(rest[0])

    def _begin(self, task_id: int, items: list[Any]) -> None:
        task = self._loop.create_task(self._perform(task_id, items))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _perform(self, task_id: int, items: list[Any]) -> None:
        assert self._function is not None, "the parent sends the function first"
        try:
            result = await self._function(items, self.desk)
        except asyncio.CancelledError:
            result = None
        except BaseException as exc:
            # SystemExit and KeyboardInterrupt of a task too: they are the task's, not the worker's.
            self._send((FAILED, task_id, portable(exc)))
            return
        try:
            self._send((DONE, task_id, result))
        except (pickle.PicklingError, TypeError, AttributeError) as exc:
            self._send((FAILED, task_id, portable(exc)))

    def _stop(self, grace_s: float) -> None:
        self.desk.stop()
        self._loop.call_later(grace_s, self._cancel)

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _send(self, message: tuple[Any, ...]) -> None:
        self._channel.send(message)
        if self._channel.unsent:
            self._loop.add_writer(self._channel.fileno(), self._flush)

    def _flush(self) -> None:
        self._channel.flush()
        if not self._channel.unsent:
            self._loop.remove_writer(self._channel.fileno())
