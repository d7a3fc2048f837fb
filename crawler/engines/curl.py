"""The libcurl engine: one multi handle a worker, which is also what the worker's loop waits on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pycurl

from crawler.engines.base import Reply, Request
from crawler.engines.multi import CurlSelector
from crawler.engines.transfer import Connections, Transfer
from crawler.profile import Profile
from crawler.settings import Settings


class CurlEngine:
    """Makes exchanges through libcurl inside the loop that ``new_event_loop`` gives.

    ``connections`` is the most exchanges that are ever under way at once.
    """

    def __init__(self, profile: Profile, settings: Settings, *, connections: int) -> None:
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
            self._multi, connections=connections, finished=self._finish, before=self._stamp_fresh
        )
        self._loop = asyncio.SelectorEventLoop(self._selector)

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

    def start(self, request: Request, done: Callable[[Reply], object]) -> Transfer:
        """Begin one exchange; ``done`` is called with its reply, from within the loop's wait.

        A URL that libcurl refuses is told in the loop's next turn.
        """
        idle = self._idle
        transfer = idle.pop() if idle else self._new_transfer()
        refusal = transfer.prepare(request)
        if refusal is not None:
            idle.append(transfer)
            reply = Reply(None, "invalid_url", refusal, time.monotonic(), 0)
            self._loop.call_soon(done, reply)
            return transfer
        transfer.done = done
        self._multi.add_handle(transfer.curl)
        self._fresh.append(transfer)
        return transfer

    def _finish(self, curl: Any, code: int, words: str) -> None:  # noqa: ANN401
        transfer: Transfer = curl.transfer
        reply = transfer.reply(code, words)
        done, transfer.done = transfer.done, None
        self._idle.append(transfer)
        if done is not None:
            done(reply)

    async def exchange(self, request: Request) -> Reply:
        """Make one request and read its reply to the end."""
        future: asyncio.Future[Reply] = self._loop.create_future()

        def done(reply: Reply) -> None:
            if not future.done():  # cancelled, and the cancellation has not arrived here yet
                future.set_result(reply)

        transfer = self.start(request, done)
        try:
            return await future
        except asyncio.CancelledError:
            self._drop(transfer)
            raise

    def _new_transfer(self) -> Transfer:
        return Transfer(self._profile, self._settings, self._connections)

    def _drop(self, transfer: Transfer) -> None:
        """Give up a transfer under way: its connection is closed with it."""
        if transfer.done is not None:
            transfer.done = None
            self._multi.remove_handle(transfer.curl)
            transfer.curl.close()

    def close(self) -> None:
        """Close every connection; what is still under way is given up."""
        self._selector.detach()
        for transfer in self._idle:
            transfer.curl.close()
        self._multi.close()
