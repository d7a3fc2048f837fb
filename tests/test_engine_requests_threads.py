"""The requests engine's threads: bounded, never waited for, given up when stuck."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests

from crawler.engines.base import Reply, Request
from crawler.engines.requests import RequestsEngine
from crawler.settings import Settings
from tests.raw_server import OK, Peer, RawServer, keep_answering


def get(url: str, **changes: Any) -> Request:
    return Request(url, "GET", (), None, 5.0)._replace(**changes)


def run(*requests_made: Request, threads: int) -> list[Reply]:
    """Make all requests at once in one engine."""

    async def all_at_once() -> list[Reply]:
        return await asyncio.gather(*(engine.exchange(request) for request in requests_made))

    engine = RequestsEngine(requests.Session(), Settings(), threads=threads)
    try:
        return asyncio.run(all_at_once())
    finally:
        engine.close()


def test_threads_bound_how_much_runs_at_once() -> None:
    """With two threads four requests are under way two by two, and queueing is not in the times."""

    def slow(peer: Peer) -> None:
        while peer.read_request():
            peer.pause(0.15)
            peer.send(OK)

    began = time.perf_counter()
    with RawServer(slow) as server:
        replies = run(*[get(server.url + "/")] * 4, threads=2)
        assert server.connections == 2
    assert 0.3 <= time.perf_counter() - began < 0.6
    assert [reply.error for reply in replies] == [None] * 4
    assert all(reply.elapsed_us < 290_000 for reply in replies)
    assert sorted(reply.reused for reply in replies) == [False, False, True, True]


def test_every_thread_keeps_its_connection() -> None:
    """As many connections are kept as there are threads, and none is opened beyond."""
    with RawServer(keep_answering(OK)) as server:
        run(*[get(server.url + "/")] * 200, threads=16)
        assert server.connections <= 16


@pytest.fixture
def stuck_look_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Look-ups of stuck.test hang in libc, so to speak, until the test ends."""
    release = threading.Event()
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **options: Any) -> Any:
        if host == "stuck.test":
            release.wait(20)
        return real("127.0.0.1", *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return release.set


def test_a_stuck_look_up_times_out_and_holds_up_nobody(stuck_look_up: Callable[[], None]) -> None:
    """No time-out reaches into getaddrinfo: its thread is given up and replaced."""
    with RawServer(keep_answering(OK)) as server:
        stuck = get("http://stuck.test/", timeout_s=0.3)
        began = time.perf_counter()
        *late, fine = run(stuck, stuck, get(server.url + "/"), threads=1)
        assert time.perf_counter() - began < 2
    stuck_look_up()
    assert [(reply.error, reply.remote) for reply in late] == [("timeout", None)] * 2
    assert "resolved" in str(late[0].detail)
    assert (fine.error, fine.bytes) == (None, 5)


def test_a_cancelled_exchange_frees_its_place() -> None:
    """After a cancel the next request does not wait for the cancelled one's thread."""

    async def cancel_then_get(hanging: str, answering: str) -> Reply:
        engine = RequestsEngine(requests.Session(), Settings(), threads=1)
        first = asyncio.create_task(engine.exchange(get(hanging)))
        await asyncio.sleep(0.1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        reply = await asyncio.wait_for(engine.exchange(get(answering)), 2)
        engine.close()
        return reply

    with RawServer(lambda peer: peer.hang()) as hanging, RawServer(keep_answering(OK)) as server:
        reply = asyncio.run(cancel_then_get(hanging.url + "/", server.url + "/"))
    assert (reply.error, reply.bytes) == (None, 5)


def test_close_does_not_wait_and_the_process_can_exit() -> None:
    """With a thread stuck for 30 s, ``close`` and the exit of the process take a moment."""
    code = """
import asyncio, socket, time, requests
from crawler.engines.base import Request
from crawler.engines.requests import RequestsEngine
from crawler.settings import Settings
socket.getaddrinfo = lambda *args, **options: time.sleep(30)
engine = RequestsEngine(requests.Session(), Settings(), threads=1)
reply = asyncio.run(engine.exchange(Request("http://x.test/", "GET", (), None, 0.2)))
engine.close()
print(reply.error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=10, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("timeout\n", "", 0)
