"""The scripted engine: replies from a table in place of a network, for tests and dry runs.

Nothing is sent. A script says what each URL answers; the engine keeps what it was asked for and
how many exchanges were under way at once. Time is the event loop's: ``delay_s`` is slept, a
scripted duration is only reported, and what would take longer than a request's time-out is a
time-out, as with every engine.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from crawler.engines.base import Reply, Request

Answer = Reply | Sequence[Reply]
"""What a URL replies: always the same, or one after another, of which the last is repeated."""
Script = Mapping[str, Answer] | Callable[[Request], Answer]
"""What to answer: a table by URL as it goes on the wire, or a function of the request."""

OK: Final = Reply(200, None, None, 0.0, 0, http_version="1.1")
"""A fine reply that took no time; ``OK._replace(…)`` makes others."""
UNSCRIPTED: Final = Reply(None, "connect", "the script has no reply for this URL", 0.0, 0)
"""What a URL that is not in the script answers, like a port on which nobody listens."""


class FakeEngine:
    """An engine that answers from a script, each reply after ``delay_s`` of the loop's time.

    A reply comes as scripted, but ``started_s`` is when its exchange began, and the delay is added
    to ``elapsed_us`` and ``wait_us``. ``requests`` are all that were made, in order; ``in_flight``
    are under way now, ``most_in_flight`` were so at once. An exception that the script raises
    propagates.
    """

    def __init__(self, script: Script, *, delay_s: float = 0.0) -> None:
        self.requests: list[Request] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.closed = False
        self._script = script
        self._delay_s = delay_s
        self._asked: Counter[str] = Counter()

    async def exchange(self, request: Request) -> Reply:
        """Give the script's next reply for this URL."""
        if self.closed:
            raise RuntimeError("this engine is closed: make another")
        started_s = time.monotonic()
        self.requests.append(request)
        reply = self._delayed(self._next(request), request.timeout_s)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self._delay_s:
                await asyncio.sleep(min(self._delay_s, request.timeout_s))
        finally:
            self.in_flight -= 1
        return reply._replace(started_s=started_s)

    def _next(self, request: Request) -> Reply:
        script = self._script
        answer = script(request) if callable(script) else script.get(request.url, UNSCRIPTED)
        if isinstance(answer, Reply):
            return answer
        turn = self._asked[request.url]
        self._asked[request.url] += 1
        return answer[min(turn, len(answer) - 1)]

    def _delayed(self, reply: Reply, timeout_s: float) -> Reply:
        """Add the delay to a reply's times, or make a time-out of it."""
        delay_us, timeout_us = round(self._delay_s * 1e6), round(timeout_s * 1e6)
        elapsed_us = reply.elapsed_us + delay_us
        if elapsed_us > timeout_us:
            detail = f"no complete reply within {timeout_s:g} s"
            return Reply(None, "timeout", detail, 0.0, timeout_us, wait_us=timeout_us)
        return reply._replace(elapsed_us=elapsed_us, wait_us=reply.wait_us + delay_us)

    def close(self) -> None:
        """Refuse further exchanges. Raises ``RuntimeError`` while one is under way."""
        if self.in_flight:
            raise RuntimeError(f"{self.in_flight} exchanges are under way: await them first")
        self.closed = True
