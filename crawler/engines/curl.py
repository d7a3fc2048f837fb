"""The libcurl engine: one multi handle a worker, which is also what the worker's loop waits on."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Literal

import pycurl

from crawler.engines.base import Reply, Request
from crawler.engines.multi import CurlSelector
from crawler.engines.stepping import Pause, Runners, Stepped, Tasks, Waiting
from crawler.engines.transfer import Connections, Transfer
from crawler.session import Profile
from crawler.settings import Settings


class CurlEngine:
    """Makes exchanges through libcurl inside the loop that ``new_event_loop`` gives.

    ``connections`` is the most exchanges that are ever under way at once. Who awaits ``exchange``
    is a ``task`` of the loop, or a ``runner`` (see ``stepping``), which costs far less.
    """

    def __init__(
        self,
        profile: Profile,
        settings: Settings,
        *,
        connections: int,
        awaited_by: Literal["task", "runner"] = "task",
    ) -> None:
        self._profile = profile
        self._settings = settings
        self._connections = Connections()
        self._idle: list[Transfer] = []
        self._fresh: list[Transfer] = []
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        pipelining = pycurl.PIPE_NOTHING if settings.http == "1.1" else pycurl.PIPE_MULTIPLEX
        self._multi.setopt(pycurl.M_PIPELINING, pipelining)
        self._selector = CurlSelector(
            self._multi, connections=connections, finished=_finish, before=self._stamp_fresh
        )
        self._loop = asyncio.SelectorEventLoop(self._selector)
        stepped = awaited_by == "runner"
        self._new_wait = Pause if stepped else self._loop.create_future
        self.runners: Runners = Stepped() if stepped else Tasks()

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Give the loop whose selector is this engine's libcurl; one engine has one loop."""
        return self._loop

    def _stamp_fresh(self) -> None:
        """Note the true start: libcurl starts what was added only when it is driven next."""
        if self._fresh:
            now = time.monotonic()
            for transfer in self._fresh:
                transfer.started_s = now
            self._fresh.clear()

    async def exchange(self, request: Request) -> Reply:
        """Make one request and read its reply to the end."""
        idle = self._idle
        transfer = idle.pop() if idle else self._new_transfer()
        refusal = transfer.prepare(request)
        if refusal is not None:
            idle.append(transfer)
            return Reply(None, "invalid_url", refusal, time.monotonic(), 0)
        transfer.waiting = waiting = self._new_wait()
        self._multi.add_handle(transfer.curl)
        self._fresh.append(transfer)
        try:
            code, words = await waiting
        except BaseException:
            # Cancelled, or its runner is closed: the connection is closed with the transfer.
            self._drop(transfer)
            raise
        reply = transfer.reply(code, words)
        idle.append(transfer)
        return reply

    def _new_transfer(self) -> Transfer:
        return Transfer(self._profile, self._settings, self._connections)

    def _drop(self, transfer: Transfer) -> None:
        if not transfer.ended:
            self._multi.remove_handle(transfer.curl)
        transfer.curl.close()

    def close(self) -> None:
        """End the runners, and close every connection."""
        self.runners.close()
        self._selector.detach()
        for transfer in self._idle:
            transfer.curl.close()
        self._multi.close()


def _finish(curl: Any, code: int, words: str) -> None:  # noqa: ANN401 - pycurl has no types
    transfer: Transfer = curl.transfer
    transfer.ended = True
    waiting: Waiting = transfer.waiting
    if not waiting.done():
        waiting.set_result((code, words))
