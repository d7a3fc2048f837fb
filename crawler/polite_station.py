"""A worker's workplace in a polite run: what may begin is for the turnstile to say.

All of a host's targets are here, so that a limit, a pause or an open breaker holds for it
everywhere. A host that is slow, paused or given up holds up nobody else's jobs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from crawler.batches import Batch, Order
from crawler.fetch import begin, unsent
from crawler.pool_worker import Desk
from crawler.record import ErrorClass, Record, Target
from crawler.retry import Attempt, retry_after_s
from crawler.robots import Robots
from crawler.station import Job, Station, Tools
from crawler.turnstile import Host, Turnstile
from crawler.urls import host_of

_PAUSING: Final = frozenset((429, 503))
"""With Retry-After they speak for the host, not for one URL (RFC 6585; RFC 9110, 15.6.4)."""
_FAILURES: Final = frozenset(("dns", "connect", "tls", "timeout", "protocol"))
_FAILING_STATUSES: Final = frozenset((429, 500, 502, 503, 504))


class PoliteStation(Station):
    """A station that begins a job when its host may be asked."""

    def __init__(self, order: Order, desk: Desk, tools: Tools) -> None:
        super().__init__(order, desk, tools)
        rules = self._settings.polite
        assert rules is not None, "this is a polite run's station"
        self._rules = rules
        self._turnstile: Turnstile[Job] = Turnstile(rules)
        self._robots = Robots(self._plan.engine, self._plan.profile, self._settings)
        # These requests are beside the worker's share of the concurrency, so they are bounded too.
        self._robots_at_once = asyncio.Semaphore(max(1, desk.share // 2))
        self._alarm: asyncio.TimerHandle | None = None

    def _line_up(self, targets: Sequence[Target], batch: Batch) -> None:
        for target in targets:
            name = host_of(target.url)
            begun = None if name else begin(self._plan, target, 1)
            if isinstance(begun, Record):  # no URL, no host: no limit either
                self._record(batch, target, begun)
            else:
                self._turnstile.add(self._host(name, target), Job(target, batch))

    def _line_up_again(self, job: Job) -> None:
        self._turnstile.add_first(self._host(host_of(job.target.url), job.target), job)

    def _host(self, name: str, target: Target) -> Host[Job]:
        host = self._turnstile.host(name)
        if self._rules.robots and self._robots.is_news(host.name):
            self._turnstile.pause(host, float("inf"))
            task = self._loop.create_task(self._read_robots(host, target))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return host

    async def _read_robots(self, host: Host[Job], target: Target) -> None:
        """Hold a host's jobs back until its robots.txt is known."""
        try:
            async with self._robots_at_once:
                delay_s = await self._robots.read(host.name, target.url)
            host.crawl_delay_s = delay_s
            self._turnstile.resume(host)
            self._go_on()
        except Exception as exc:
            self._give_up(exc)

    def _withdrawn(self) -> Iterable[Batch]:
        jobs = list(self._turnstile.withdraw())
        return [job.batch for job in jobs if job.answer is None]

    def _go_on(self) -> None:
        """Begin jobs for as long as a connection is free and a host may be asked."""
        turnstile = self._turnstile
        while self._free > 0:
            taken = turnstile.take()
            if taken is None:
                self._wake_at(turnstile.opens_s)
                break
            self._begin(*taken)
        if turnstile.runnable <= self._demand.low:
            self._demand.ask(turnstile.runnable)

    def _begin(self, host: Host[Job], job: Job) -> None:
        if host.given_up:
            words = f"{host.name} failed again and again: it is left alone (--breaker)"
            self._leave_out(host, job, "aborted", words)
        elif self._rules.robots and not self._robots.allow(host.name, job.target.url):
            self._leave_out(host, job, "blocked", "robots.txt disallows it (--robots)")
        elif job.number > 1 or self._start is None:
            self._in_a_task(job)
        else:
            begun = begin(self._plan, job.target, 1)
            if isinstance(begun, Record):
                self._turnstile.end(host)
                self._record(job.batch, job.target, begun)
            else:
                self._free -= 1
                self._start(begun.request, partial(self._landed, job.batch, begun))

    def _leave_out(self, host: Host[Job], job: Job, error: ErrorClass, words: str) -> None:
        """Record a target without a request."""
        self._turnstile.end(host)
        method = job.target.method or self._settings.method
        made = job.number - 1
        record = unsent(self._plan.run, job.target, method, error, words, attempts=made)
        self._settle(job, Attempt(record))

    def _attempted(
        self, target: Target, record: Record, retry_after: str | None, pause_s: float | None
    ) -> None:
        asked = self._turnstile.host(host_of(target.url))
        answered = self._turnstile.host(host_of(record.final_url or target.url))  # by redirects
        if record.status in _PAUSING:
            asked_s = retry_after_s(retry_after)
            if asked_s is not None:
                self._turnstile.pause(answered, min(asked_s, self._settings.retry_after_max_s))
        if pause_s:
            self._turnstile.pause(answered, pause_s)
        if record.error in _FAILURES or record.status in _FAILING_STATUSES:
            answered.failed(time.monotonic())
        elif record.status is not None:
            answered.succeeded(record.elapsed_ms)
        self._turnstile.end(asked)

    def _wake_at(self, moment_s: float | None) -> None:
        """Go on at the moment when the next host may be asked."""
        if self._alarm is not None:
            if moment_s is not None and self._alarm.when() <= moment_s:
                return
            self._alarm.cancel()
        self._alarm = None if moment_s is None else self._loop.call_at(moment_s, self._awake)

    def _awake(self) -> None:
        self._alarm = None
        self._begin_what_is_due()
