"""Which job may begin now: hosts in turn, each within its limits, none in another's way.

Pure bookkeeping over a clock: no job is known here but by its host. A host that may begin is in a
queue, one that waits for a moment in a heap, and one that is full or has no job in neither; so a
step costs the same for ten hosts and for a hundred thousand. Rates are those of the generic cell
rate algorithm (ITU-T I.371): a request may begin at its theoretical time, and late ones are made up
for as far as a timer is late, so that nothing drifts.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from math import inf
from typing import Final, Generic, TypeVar

from crawler.concurrency import Adaptive
from crawler.politeness import Politeness

J = TypeVar("J")

_LATE_S: Final = 0.02
"""So much lateness of ours is made up for: longer gaps are the host's, or the list's."""
_IN_A_ROW: Final = 8
"""So many requests go to a host before it is another's turn, if its limits let them: connections
are reused then. With a thousand hosts that saves a sixth of the CPU."""
_PROBES: Final = 3
"""A breaker that half-opened in vain so many times stays open for the rest of the run."""

_HOSTS_LEAST: Final = 10_000
"""Fewer hosts are all kept, 2 KB each."""

_OUT, _READY, _TIMED = range(3)


class Rate:
    """A theoretical arrival time: when the next request is due at a rate with a burst."""

    __slots__ = ("_burst_s", "_period_s", "_theory_s")

    def __init__(self, per_s: float, burst: int) -> None:
        self._period_s = 1 / per_s
        self._burst_s = (burst - 1) * self._period_s
        self._theory_s = -inf

    @property
    def opens_s(self) -> float:
        """The moment from which the next request may begin."""
        return self._theory_s - self._burst_s

    def rested(self, now_s: float) -> bool:
        """Whether a whole burst may begin."""
        return self._theory_s <= now_s

    def take(self, now_s: float) -> None:
        """Count a request that begins now."""
        is_late = now_s - self._theory_s <= min(_LATE_S, self._period_s)
        self._theory_s = (self._theory_s if is_late else now_s) + self._period_s


class Host(Generic[J]):
    """One host: what waits for it, what is in flight, and from when on it may be asked again."""

    __slots__ = (
        "_adaptive",
        "_draw",
        "_failed_probes",
        "_failures",
        "_next_s",
        "_probing",
        "_rate",
        "_rules",
        "counted",
        "crawl_delay_s",
        "given_up",
        "in_flight",
        "jobs",
        "name",
        "paused_until_s",
        "place",
        "turns",
    )

    def __init__(self, name: str, rules: Politeness, draw: Callable[[], float]) -> None:
        self.name = name
        self.jobs: deque[J] = deque()
        self.in_flight = 0
        self.crawl_delay_s = 0.0
        self.paused_until_s = -inf
        self.given_up = False
        self.turns = 0
        self.place = _OUT
        self.counted = 0
        self._rules = rules
        self._draw = draw
        per_s = rules.per_host_rate_per_s
        self._rate = None if per_s is None else Rate(per_s, rules.burst)
        self._adaptive = Adaptive(most=rules.per_host) if rules.adaptive else None
        self._next_s = -inf
        self._failures = 0
        self._failed_probes = 0
        self._probing = False

    @property
    def room(self) -> int:
        """How many requests may begin as far as their number goes."""
        if self._probing and not self.given_up:
            return 1 - self.in_flight
        if self._adaptive is not None:
            return self._adaptive.limit - self.in_flight
        most = self._rules.per_host
        return len(self.jobs) if most is None else most - self.in_flight

    @property
    def opens_s(self) -> float:
        """The moment from which the next request may begin."""
        if self.given_up:
            return -inf
        opens_s = max(self.paused_until_s, self._next_s)
        return opens_s if self._rate is None else max(opens_s, self._rate.opens_s)

    def begin(self, now_s: float) -> None:
        """Count a request that begins now."""
        self.in_flight += 1
        if self._rate is not None:
            self._rate.take(now_s)
        if self._rules.delay_s or self.crawl_delay_s:
            spread = self._rules.jitter * (2 * self._draw() - 1)
            self._next_s = now_s + max(self._rules.delay_s * (1 + spread), self.crawl_delay_s)

    def is_as_new(self, now_s: float) -> bool:
        """Whether nothing has to be kept of it: one that is met anew would be treated alike."""
        busy = self.jobs or self.in_flight or self.place != _OUT
        learnt = self._failures or self._probing or self._adaptive or self.crawl_delay_s
        rested = self._rate is None or self._rate.rested(now_s)
        return not (busy or learnt) and rested and self.opens_s <= now_s

    def succeeded(self, elapsed_ms: float) -> None:
        """Note a reply that was fine: a breaker closes."""
        self._failures = self._failed_probes = 0
        self._probing = False
        if self._adaptive is not None:
            self._adaptive.succeeded(elapsed_ms)

    def failed(self, now_s: float) -> None:
        """Note a failure: a breaker may open, for a while or, after failed probes, for good."""
        self._failures += 1
        if self._adaptive is not None:
            self._adaptive.failed()
        most = self._rules.breaker
        if most is None or self.given_up or (not self._probing and self._failures < most):
            return
        if self._probing and now_s < self.paused_until_s:  # begun before the breaker opened
            return
        self._failed_probes += self._probing
        self.given_up = self._failed_probes >= _PROBES
        pause_s = self._rules.breaker_pause_s * 2.0**self._failed_probes
        self.paused_until_s = max(self.paused_until_s, now_s + pause_s)
        self._probing = True


class Turnstile(Generic[J]):
    """Jobs lined up by host, and which may begin now."""

    def __init__(
        self,
        rules: Politeness,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._rules = rules
        self._clock = clock
        self._draw = draw
        self._hosts: dict[str, Host[J]] = {}
        self._ready: deque[Host[J]] = deque()
        self._timed: list[tuple[float, int, Host[J]]] = []
        self._order = itertools.count()
        self._rate = None if rules.rate_per_s is None else Rate(rules.rate_per_s, rules.burst)
        self.runnable = 0
        self._look_over_at = _HOSTS_LEAST

    def host(self, name: str) -> Host[J]:
        """Give a host, a new one where it was not heard of."""
        host = self._hosts.get(name)
        if host is None:
            if len(self._hosts) >= self._look_over_at:
                self._forget()
            host = self._hosts[name] = Host(name, self._rules, self._draw)
        return host

    def _forget(self) -> None:
        """Let go of hosts of which nothing has to be kept: a list may have millions."""
        now_s = self._clock()
        self._hosts = {n: host for n, host in self._hosts.items() if not host.is_as_new(now_s)}
        self._look_over_at = max(_HOSTS_LEAST, 2 * len(self._hosts))

    def add(self, host: Host[J], job: J) -> None:
        """Line a job up behind the host's others."""
        host.jobs.append(job)
        self._look(host)

    def add_first(self, host: Host[J], job: J) -> None:
        """Line a job up before the host's others."""
        host.jobs.appendleft(job)
        self._look(host)

    def take(self) -> tuple[Host[J], J] | None:
        """Give a job that is to begin now, and count it as begun; None when none may."""
        now_s = self._clock()
        while self._timed and self._timed[0][0] <= now_s:
            host = heapq.heappop(self._timed)[-1]
            host.place = _OUT
            self._look(host, now_s)
        if self._rate is not None and self._rate.opens_s > now_s:
            return None
        while self._ready:
            host = self._ready.popleft()
            host.place = _OUT
            self.runnable -= host.counted
            if host.jobs and host.room > 0 and host.opens_s <= now_s:
                job = host.jobs.popleft()
                self._begin(host, now_s)
                return host, job
            self._look(host, now_s)
        return None

    def _begin(self, host: Host[J], now_s: float) -> None:
        host.turns += 1
        if not host.given_up:
            host.begin(now_s)
            if self._rate is not None:
                self._rate.take(now_s)
        else:
            host.in_flight += 1
        self._look(host)

    def end(self, host: Host[J]) -> None:
        """A request that was begun has ended, or was not sent after all."""
        host.in_flight -= 1
        self._look(host)

    def pause(self, host: Host[J], seconds: float) -> None:
        """Begin nothing at this host for so long."""
        host.paused_until_s = max(host.paused_until_s, self._clock() + seconds)

    def resume(self, host: Host[J]) -> None:
        """End every pause of a host."""
        host.paused_until_s = -inf
        self._look(host)

    @property
    def opens_s(self) -> float | None:
        """When the next job may begin, as ``take`` gives none now; None if others' ends decide."""
        opens_s = self._timed[0][0] if self._timed else inf
        if self._ready:
            opens_s = -inf if self._rate is None else self._rate.opens_s
        elif self._rate is not None:
            opens_s = max(opens_s, self._rate.opens_s)
        return None if opens_s == inf else opens_s

    def withdraw(self) -> Iterator[J]:
        """Take back every job that has not begun."""
        for host in self._hosts.values():
            while host.jobs:
                yield host.jobs.popleft()

    def _look(self, host: Host[J], now_s: float | None = None) -> None:
        """Put a host where it belongs now, by one look at the clock where there are many steps."""
        if host.place == _READY:
            self.runnable -= host.counted
            host.counted = min(len(host.jobs), host.room)
            self.runnable += host.counted
            return
        if host.place == _TIMED or not host.jobs or host.room <= 0:
            return
        opens_s = host.opens_s
        if opens_s <= (self._clock() if now_s is None else now_s):
            host.place = _READY
            host.counted = min(len(host.jobs), host.room)
            self.runnable += host.counted
            if host.turns % _IN_A_ROW:
                self._ready.appendleft(host)
            else:
                self._ready.append(host)
        elif opens_s < inf:
            host.place = _TIMED
            heapq.heappush(self._timed, (opens_s, next(self._order), host))
