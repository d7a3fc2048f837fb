"""The worker's workplace: jobs lined up, exchanges under way, lines on their way out.

A line is in the log before its batch is reported. A connection takes one job after another; a job
that is to be retried sleeps without one and comes back to the front.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from crawler.batches import Batch, FiguresMaker, Order
from crawler.codec import encode
from crawler.demand import Demand
from crawler.fetch import Begun, Plan, attempt, begin, conclude, follow, leads_on
from crawler.keeping import new_keeper
from crawler.log import LogWriter
from crawler.paging import Pager
from crawler.pool_worker import Desk
from crawler.punctual import Punctual
from crawler.record import Record, Target
from crawler.retry import Attempt, retry, worth_retrying

if TYPE_CHECKING:
    from crawler.engines.base import Kept, Reply, Start

_FLUSH_LINES: Final = 256
_FLUSH_S: Final = 0.005


class Tools(NamedTuple):
    """What a station works with. Engines that can only be awaited have no ``start``."""

    plan: Plan
    start: Start | None
    log: LogWriter | None


class Job(NamedTuple):
    """An attempt to be made. A further one has an ``answer`` that ``retry``, a task, waits for."""

    target: Target
    batch: Batch
    number: int = 1
    answer: asyncio.Future[Attempt] | None = None
    retry: asyncio.Task[None] | None = None


class Station:
    """The worker's workplace: jobs lined up, exchanges under way, lines on their way out.

    Two lanes, one meaning. A first attempt whose engine can ``start`` goes the fast one: no task
    and no future, its reply is handed to ``_landed``. Redirects, retries and engines that can only
    be awaited go the slow one, in a task each.
    """

    def __init__(self, order: Order, desk: Desk, tools: Tools) -> None:
        self._order = order
        self._desk = desk
        self._plan, self._start, self._log = tools
        self._settings = self._plan.settings
        rules = self._settings.paginate
        self._pager = None if rules is None else Pager(rules)
        self._keeper = new_keeper(order.run, self._settings, self._pager)
        self._loop = asyncio.get_running_loop()
        self._new_figures = FiguresMaker(order)
        self._punctual = Punctual(self._loop, self._begin_what_is_due)
        self._first: deque[tuple[Target, Batch]] = deque()
        self._again: deque[Job] = deque()
        self._free = desk.share
        self._lines: list[bytes] = []
        self._open: set[Batch] = set()
        self._complete: list[Batch] = []
        self._flush_timer: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._retries: dict[asyncio.Task[None], Batch] = {}
        self._on_the_wire: set[asyncio.Task[None]] = set()
        self._demand = Demand(desk)
        self._failure: BaseException | None = None
        desk.on_stop = self._begin_nothing
        desk.on_end = self._end

    def add(self, targets: Sequence[Target]) -> Batch:
        """Line up a batch."""
        done = self._loop.create_future()
        batch = Batch(len(targets), self._new_figures(), done, keep_lines=self._order.keep_lines)
        if self._failure is not None:
            done.set_exception(self._failure)
            return batch
        if self._desk.stopping:  # it came together with the order to stop
            done.set_result(None)
            return batch
        self._open.add(batch)
        self._demand.arrived(len(targets))
        self._line_up(targets, batch)
        self._go_on()
        return batch

    def _line_up(self, targets: Sequence[Target], batch: Batch) -> None:
        self._first.extend(zip(targets, repeat(batch)))

    def _line_up_again(self, job: Job) -> None:
        self._again.append(job)

    def _withdrawn(self) -> Iterable[Batch]:
        """Line nobody up any more; give the batch of each target that was not begun."""
        batches = [batch for _, batch in self._first]
        self._first.clear()
        self._again.clear()
        return batches

    def _attempted(
        self, target: Target, record: Record, retry_after: str | None, pause_s: float | None
    ) -> None:
        """Note that an attempt has ended, whatever becomes of it, and what the server asks for."""

    def _go_on(self) -> None:
        """Begin jobs for as long as a connection is free for them and the next one is due."""
        while self._free and self._again:
            self._in_a_task(self._again.popleft())
        first, demand = self._first, self._demand
        while self._free and first:
            target, batch = first[0]
            if target.due is not None and not self._punctual.is_due(target.due):
                return
            first.popleft()
            if len(first) <= demand.low:
                demand.ask(len(first))
            if self._start is None:
                self._in_a_task(Job(target, batch))
                continue
            begun = begin(self._plan, target, 1)
            if isinstance(begun, Record):
                self._record(batch, target, begun)
            else:
                self._free -= 1
                self._start(begun.request, partial(self._landed, batch, begun))

    def _begin_what_is_due(self) -> None:
        try:
            self._go_on()
        except Exception as exc:
            self._give_up(exc)

    def _landed(self, batch: Batch, begun: Begun, reply: Reply) -> None:
        """The fast lane's end: record the reply, or go on in a task."""
        try:
            if reply.location is not None and leads_on(self._plan, reply):
                self._free += 1  # the task takes it over
                self._in_a_task(Job(begun.target, batch), follow(self._plan, begun, reply))
                return
            self._free += 1
            self._demand.finished += 1
            record = conclude(self._plan, begun, reply)
            self._attempted(begun.target, record, reply.retry_after, reply.pause_s)
            if record.error is None:
                self._record(batch, begun.target, record, reply.kept)
            else:
                outcome = Attempt(record, reply.retry_after, reply.kept)
                self._settle(Job(begun.target, batch), outcome)
            self._go_on()
        except Exception as exc:
            self._give_up(exc)

    def _in_a_task(self, job: Job, coming: Coroutine[Any, Any, Attempt] | None = None) -> None:
        """The slow lane: make the job's attempt, or end the one that is ``coming``, in a task."""
        self._free -= 1
        if coming is None:
            coming = attempt(self._plan, job.target, job.number)
        task = self._loop.create_task(self._slowly(job, coming))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _slowly(self, job: Job, coming: Coroutine[Any, Any, Attempt]) -> None:
        if job.retry is not None:
            self._on_the_wire.add(job.retry)
        try:
            outcome = await coming
            if job.retry is not None:
                self._on_the_wire.discard(job.retry)
            self._free += 1
            self._demand.finished += 1
            record, retry_after, _, pause_s = outcome
            self._attempted(job.target, record, retry_after, pause_s)
            self._settle(job, outcome)
            self._go_on()
        except Exception as exc:
            self._give_up(exc)

    def _settle(self, job: Job, outcome: Attempt) -> None:
        """Give an outcome to the retry that waits for it, begin to retry, or record it."""
        if job.answer is not None and not job.answer.done():
            job.answer.set_result(outcome)
        elif job.answer is not None:  # its retry was cancelled by a stop: this is the last word
            self._record(job.batch, job.target, outcome.record, outcome.kept)
        elif worth_retrying(outcome, self._settings) and not self._desk.stopping:
            task = self._loop.create_task(self._retry(job, outcome))
            self._retries[task] = job.batch
            task.add_done_callback(self._retries.pop)
        else:
            self._record(job.batch, job.target, outcome.record, outcome.kept)

    async def _retry(self, job: Job, first: Attempt) -> None:
        task = asyncio.current_task()
        assert task is not None

        async def again(number: int) -> Attempt:
            answer: asyncio.Future[Attempt] = self._loop.create_future()
            self._line_up_again(Job(job.target, job.batch, number, answer, task))
            self._go_on()
            return await answer

        try:
            outcome = await retry(first, again, self._settings)
            self._record(job.batch, job.target, outcome.record, outcome.kept)
        except Exception as exc:
            self._give_up(exc)

    def _record(
        self, batch: Batch, target: Target, record: Record, kept: Kept | None = None
    ) -> None:
        if batch.closed:  # reported already: what is not in the report is not in the log
            return
        if kept is not None and self._keeper is not None:
            record = self._keeper.keep(record, kept)
            if self._pager is not None:
                self._follow(batch, self._pager.further(target, record))
        line = encode(record)
        lines = self._lines
        lines.append(line)
        batch.add(record, line)
        if batch.open == 0:
            self._complete.append(batch)
        if len(lines) >= _FLUSH_LINES:
            self.flush()
        elif self._flush_timer is None:
            self._flush_timer = self._loop.call_later(_FLUSH_S, self._flush_due)

    def _follow(self, batch: Batch, page: Target | None) -> None:
        """Line up a further page of a target: its batch is complete when all pages are there."""
        if page is None or self._desk.stopping:
            return
        batch.open += 1
        self._line_up((page,), batch)
        self._loop.call_soon(self._begin_what_is_due)

    def _flush_due(self) -> None:
        try:
            self.flush()
        except Exception as exc:
            self._give_up(exc)

    def flush(self) -> None:
        """Append what is finished to the log, then report the batches that are complete."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None
        if self._keeper is not None:
            self._keeper.flush()
        if self._lines and self._log is not None:
            self._log.append(self._lines)
        if self._keeper is not None:
            self._keeper.settled()
        self._lines.clear()
        for batch in self._complete:
            self._open.discard(batch)
            if not batch.done.done():
                batch.done.set_result(None)
        self._complete.clear()

    def close(self, batch: Batch) -> None:
        """Take no further record of a batch, and let what it has be durable: its time is up."""
        batch.closed = True
        self.flush()

    def _give_up(self, exc: Exception) -> None:
        """A bug, or the log cannot be written: every batch ends with it, this and later ones."""
        self._failure = exc
        for batch in self._open:
            if not batch.done.done():
                batch.done.set_exception(exc)
        self._open.clear()

    def _end(self) -> None:
        """Let go of everything; called where no process's end does it."""
        for task in (*self._under_way, *self._retries):
            task.cancel()
        self._plan.engine.close()
        if self._keeper is not None:
            self._keeper.close()
        if self._log is not None:
            self._log.close()

    def _begin_nothing(self) -> None:
        """The run is to stop: give back what is not on the wire; what is may still be answered."""
        given_back = list(self._withdrawn())
        for task, batch in self._retries.items():
            task.cancel()
            if task not in self._on_the_wire:
                given_back.append(batch)
        for batch in given_back:
            batch.open -= 1
            if batch.open == 0:
                self._complete.append(batch)
        self._loop.call_soon(self._flush_due)
