"""``multiprocessing.Pool``'s interface, none of its hangs.

The parent side. One process and one channel a worker, no lock shared between them; a worker takes
items as it asks for them and runs many at once. Input is read only as the window allows, results
come in input order. A worker that dies is seen at once: what it had not finished goes to others and
a fresh worker takes its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import inspect
import itertools
import pickle
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from crawler import pool_worker
from crawler.channel import Channel, ChannelClosedError
from crawler.errors import UsageError, WorkerError
from crawler.ledger import MOST, Ledger, NoRecovery, OutputOrder, Part, Recovery
from crawler.member import Member, start_method
from crawler.pool_worker import BatchFunction, Desk, LoopFactory, Setup
from crawler.source import Direct, Prefetched, Reading, Source

_STILLBIRTHS: Final = 3
"""So many workers in a row that die before they are ready end the run."""
_GUARD_HINT: Final = (
    ": workers import the main script anew here, so call crawl() below "
    "`if __name__ == '__main__':` in it, or use processes=0"
)
_END_S: Final = 1.0
"""How long workers may take to end by themselves."""


class Pool:
    """Worker processes that run a function over an input: ordered, lazy, bounded and supervised.

    ``processes=0`` runs the same code on a thread of this process. ``concurrency`` is shared out
    among the workers. ``initializer(*initargs)`` runs first in each worker; if it raises, the run
    ends with its error. ``warn`` is told of every worker that died; ``before_start`` is called
    before a worker starts. ``deaths`` counts those that died. Use it
    as a context manager, from one thread.
    """

    def __init__(
        self,
        processes: int,
        initializer: Callable[..., None] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        concurrency: int | None = None,
        loop_factory: LoopFactory = pool_worker.default_loop,
        warn: Callable[[str], None] = lambda _text: None,
        before_start: Callable[[], None] = lambda: None,
    ) -> None:
        total = max(1, processes) if concurrency is None else concurrency
        count = min(processes, total)
        self._warn = warn
        self._before_start = before_start
        self._method = start_method() if count else "thread"
        self._selector = selectors.DefaultSelector()
        self._alarm_in, self._alarm = socket.socketpair()
        self._alarm.setblocking(False)
        self._selector.register(self._alarm_in, selectors.EVENT_READ, None)
        self._grace_s: float | None = None
        self._stop_told = False
        self._stillbirths = 0
        self.deaths = 0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_ids = itertools.count()
        self._function: BatchFunction | None = None
        self._members = [
            Member(Setup(share, initializer, initargs, loop_factory), lane)
            for lane, share in enumerate(_shares(total, max(1, count)))
        ]

    def __enter__(self) -> Pool:
        for member in self._members:
            self._start(member)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def lanes(self) -> int:
        """How many workers there are."""
        return len(self._members)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that live now."""
        return [m.process.pid for m in self._members if m.process and m.process.pid]

    def imap(
        self, function: Callable[[Any], Any], iterable: Iterable[Any], *, window: int = 1000
    ) -> Iterator[Any]:
        """Yield ``function(item)`` for each item, in input order; ``function`` may be a coroutine.

        Errors as ``imap_batches``.
        """
        for results in self.imap_batches(partial(_each, function), iterable, window=window):
            yield from results

    def imap_batches(
        self,
        function: BatchFunction,
        iterable: Iterable[Any],
        *,
        window: int,
        largest: int = MOST,
        recovery: Recovery | None = None,
        reading: Reading = "direct",
        order: OutputOrder = "input",
        through: Callable[[Source], Source] | None = None,
    ) -> Iterator[Any]:
        """Yield the results of ``function(items, desk)``, a coroutine, in ``order``.

        Batches are as large as workers ask for through ``desk.more``, up to ``largest``; at most
        ``window`` items are read and not yet yielded. An ``iterable`` that may keep its reader
        waiting is to be read ``ahead``, on a thread. ``through`` may lay a source over the input's,
        one that spreads items over the workers by what they are. Raises ``WorkerError`` when the
        function or an initializer raised (an error of ours as it was), and whatever ``iterable``
        raises.
        """
        source: Source
        source = Prefetched(iterable, self._wake) if reading == "ahead" else Direct(iterable)
        source = source if through is None else through(source)
        ledger = Ledger(
            source,
            window=window,
            recovery=NoRecovery() if recovery is None else recovery,
            largest=largest,
            order=order,
        )
        self._function = function
        for member in self._members:
            self._send_function(member)
        while True:
            yield from ledger.results()
            if ledger.done:
                return
            self._hand_out(ledger)
            yield from ledger.results()
            if ledger.done:
                return
            self._listen(ledger)

    def wait_until_ready(self) -> None:
        """Return when every worker is up, or the pool is to stop.

        Raises ``WorkerError`` as ``imap_batches``; to be called before it.
        """
        nothing = Ledger(Direct(()), window=1, recovery=NoRecovery())
        while self._grace_s is None and not all(member.ready for member in self._members):
            self._listen(nothing)

    def call_at(self, moment_s: float, action: Callable[[], None]) -> None:
        """Call ``action`` at a ``time.monotonic`` moment, from within ``imap``'s waiting.

        Never early, and late only while whoever iterates over the results is at work.
        """
        heapq.heappush(self._timers, (moment_s, next(self._timer_ids), action))

    def stop(self, grace_s: float) -> None:
        """Begin nothing new; what is under way may take ``grace_s``. Safe in a signal handler.

        ``imap`` then yields what was finished and ends. Called again it can only shorten the grace.
        """
        if self._grace_s is None or grace_s < self._grace_s:
            self._grace_s = grace_s
            self._stop_told = False
        self._wake()

    def _wake(self) -> None:
        """End the wait of ``imap``, from a signal handler or another thread."""
        with contextlib.suppress(OSError):
            self._alarm.send(b"!")

    def close(self) -> None:
        """End every worker: by the end of its channel, after a second by force."""
        for member in self._members:
            self._forget(member)
        for member in self._members:
            member.end(_END_S)
        self._selector.close()
        self._alarm.close()
        self._alarm_in.close()

    def _start(self, member: Member) -> None:
        self._before_start()
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        siblings = [m.channel for m in self._members if m.channel is not None and m is not member]
        member.channel = Channel(ours)
        member.method = self._method
        member.start(theirs, [*siblings, member.channel])
        self._selector.register(member.channel, selectors.EVENT_READ, member)
        if self._function is not None:
            self._send_function(member)

    def _send_function(self, member: Member) -> None:
        assert member.channel is not None
        try:
            member.channel.send((pool_worker.FUNCTION, self._function))
        except (pickle.PicklingError, AttributeError, TypeError) as exc:
            raise UsageError(f"a worker cannot be sent this function: {exc}") from None

    def _hand_out(self, ledger: Ledger) -> None:
        """Give every worker that wants items some, suspects each to a worker of its own."""
        if self._grace_s is not None:
            return
        quarantine = self._quarantine(ledger)
        for member in self._members:
            suspect = None if member.parts else ledger.take_suspect(member.lane)
            if suspect is not None:
                self._give(member, suspect)
        hungry = [m for m in self._members if m is not quarantine and not m.has_suspect]
        while hungry:  # in turn, so that what is due at the same time is not all one worker's
            hungry = [member for member in hungry if self._serve(member, ledger)]

    def _serve(self, member: Member, ledger: Ledger) -> bool:
        """Give a worker one batch if it wants any; tell whether it was given."""
        part = ledger.take(member.wanted, member.lane) if member.wanted > 0 else None
        if part is not None:
            self._give(member, part)
        return part is not None

    def _quarantine(self, ledger: Ledger) -> Member | None:
        """Choose the worker that gets no other items, because suspects wait for it to be idle."""
        fit = [member for member in self._members if ledger.suspects_for(member.lane)]
        return min(fit, key=lambda member: len(member.parts), default=None)

    def _give(self, member: Member, part: Part) -> None:
        assert member.channel is not None
        task = member.note(part)
        member.channel.send((pool_worker.TASK, task, part.items))

    def _listen(self, ledger: Ledger) -> None:
        """Wait for the workers, and take in what they say."""
        for member in self._members:
            if member.channel is not None and member.channel.unsent != member.writing:
                member.writing = member.channel.unsent
                writing = selectors.EVENT_WRITE if member.writing else 0
                self._selector.modify(member.channel, selectors.EVENT_READ | writing, member)
        for key, events in self._selector.select(self._until_timer_s()):
            member = key.data
            if member is None:
                self._alarm_in.recv(64)
            elif events & selectors.EVENT_READ:
                self._hear(member, ledger)
            else:
                member.channel.flush()
        now_s, due = time.monotonic(), list[Callable[[], None]]()
        while self._timers and self._timers[0][0] <= now_s:
            due.append(heapq.heappop(self._timers)[-1])
        for action in due:  # what they set anew is for the next time, however late we are
            action()
        if self._grace_s is not None:
            self._begin_stop(ledger)

    def _until_timer_s(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _hear(self, member: Member, ledger: Ledger) -> None:
        assert member.channel is not None
        try:
            messages = member.channel.receive()
        except ChannelClosedError:
            self._bury(member, ledger)
            return
        for kind, *rest in messages:
            if kind == pool_worker.MORE:
                member.wanted += rest[0]
            elif kind == pool_worker.DONE:
                ledger.finish(member.parts.pop(rest[0]), rest[1])
            elif kind == pool_worker.READY:
                member.ready = True
                self._stillbirths = 0
            else:
                raise rest[-1]

    def _bury(self, member: Member, ledger: Ledger) -> None:
        """A worker is gone: line up what it had again, and start another in its place."""
        self._forget(member)
        words = member.end(_END_S)
        self.deaths += 1
        parts = list(member.parts.values())
        held = sum(len(part.items) for part in parts)
        if not member.ready:
            self._stillbirths += 1
        if self._stillbirths >= _STILLBIRTHS:
            hint = _GUARD_HINT if member.method == "spawn" else ""
            raise WorkerError(
                f"{_STILLBIRTHS} workers in a row {words} before they were ready{hint}"
            )
        self._warn(f"a worker {words} with {held} URLs in hand; they go to another worker")
        member.reset()
        for part in parts:
            ledger.died(part)
        if self._grace_s is not None:
            ledger.close()
        else:
            self._start(member)

    def _begin_stop(self, ledger: Ledger) -> None:
        ledger.close()
        if self._stop_told:
            return
        self._stop_told = True
        for member in self._members:
            if member.channel is not None:
                member.channel.send((pool_worker.STOP, self._grace_s))

    def _forget(self, member: Member) -> None:
        if member.channel is not None:
            self._selector.unregister(member.channel)
            member.channel.close()
            member.channel = None


def _shares(total: int, count: int) -> list[int]:
    """Share ``total`` out among ``count`` workers, as evenly as whole numbers allow."""
    each, rest = divmod(total, count)
    return [each + (index < rest) for index in range(count)]


async def _each(function: Callable[[Any], Any], items: list[Any], desk: Desk) -> list[Any]:
    """Run a plain or coroutine function over a batch, all its items at once."""

    failures: list[BaseException] = []

    async def one(item: Any) -> Any:  # noqa: ANN401 - items and results are the user's
        try:
            result = function(item)
            return await result if inspect.isawaitable(result) else result
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # SystemExit too, which would tear the loop down from here
            failures.append(exc)
        finally:
            desk.more(1)

    results = await asyncio.gather(*map(one, items))
    if failures:
        raise failures[0]
    return results
