"""libcurl as an asyncio loop's selector: both drivers, against a real server on loopback."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import statistics
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import pytest

from crawler.engines.base import Reply, Request
from crawler.engines.curl import CurlEngine
from crawler.engines.multi import (
    SELECT_LIMIT,
    CurlSelector,
    PerformDriver,
    SocketActionDriver,
)
from crawler.profile import Profile
from crawler.settings import Settings

T = TypeVar("T")
PROFILE = Profile((), (), proxies=(None, None))
SETTINGS = Settings(processes=0, connect_timeout_s=3.0)
DRIVERS: dict[type, int] = {PerformDriver: 64, SocketActionDriver: SELECT_LIMIT}
"""Each driver, and a number of connections that chooses it."""

both_drivers = pytest.mark.parametrize("driver", DRIVERS)


class _Talk(asyncio.Protocol):
    """One connection: ``/N`` is answered with N bytes, ``/hang`` never, ``/all`` when all are."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._pending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._server.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open.discard(self)
        self._server.hanging.discard(self)

    def data_received(self, data: bytes) -> None:
        *heads, self._pending = (self._pending + data).split(b"\r\n\r\n")
        for head in heads:
            self._server.answer(self, head.split(b" ", 2)[1][1:].decode())

    def reply(self, size: int) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)


class Server:
    """A keep-alive server on 127.0.0.1, in a thread of its own while its ``with`` block runs.

    ``open`` are its connections, ``hanging`` those with a request that is never answered. Requests
    for ``/all`` are answered together, once ``crowd`` of them wait.
    """

    def __init__(self, *, crowd: int = 0) -> None:
        self.open: set[_Talk] = set()
        self.hanging: set[_Talk] = set()
        self._crowd = crowd
        self._waiting: list[_Talk] = []
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Talk(self), "127.0.0.1", 0, backlog=1024)
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def answer(self, talk: _Talk, path: str) -> None:
        if path == "hang":
            self.hanging.add(talk)
        elif path == "all":
            self._waiting.append(talk)
            if len(self._waiting) == self._crowd:
                for waiting in self._waiting:
                    waiting.reply(3)
        else:
            talk.reply(int(path))

    def hang_up_idle(self) -> None:
        """Close every connection on which no request waits."""

        def close() -> None:
            for talk in self.open - self.hanging:
                talk.transport.close()

        self._loop.call_soon_threadsafe(close)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        def stop() -> None:
            self._server.close()
            for talk in set(self.open):
                talk.transport.abort()
            self._loop.call_soon(self._loop.stop)

        self._loop.call_soon_threadsafe(stop)
        self._thread.join(10)
        self._loop.run_until_complete(self._accepts_ended())
        self._loop.close()

    async def _accepts_ended(self) -> None:
        """Wait for what asyncio still does for connections that came as we closed."""
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        for talk in set(self.open):
            talk.transport.abort()
        await asyncio.sleep(0)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@dataclass
class Client:
    """An engine and its loop."""

    engine: CurlEngine
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T], *, within_s: float = 60.0) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(work, within_s))

    async def get(self, url: str) -> Reply:
        return await self.engine.exchange(Request(url, "GET", (), None, 30.0))


@contextmanager
def client(driver: type) -> Iterator[Client]:
    """An engine that is driven by ``driver``, and its loop; both closed at the end."""
    engine = CurlEngine(PROFILE, SETTINGS, connections=DRIVERS[driver])
    assert type(driver_of(engine)) is driver
    loop = engine.new_event_loop()
    try:
        yield Client(engine, loop)
    finally:
        loop.close()
        engine.close()


def driver_of(engine: CurlEngine) -> object:
    selector = engine._selector
    assert isinstance(selector, CurlSelector)
    return selector._driver


async def until(condition, *, within_s: float = 20.0) -> None:
    """Wait, asking now and then, until ``condition()``; fail when it takes too long."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about"
        await asyncio.sleep(0.005)


@contextmanager
def hanging(this: Client, server: Server) -> Iterator[asyncio.Task[Reply]]:
    """A transfer under way that is never answered; cancelled at the end."""
    task = this.loop.create_task(this.get(f"{server.url}hang"))
    this.run(until(lambda: server.hanging))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            this.run(asyncio.wait_for(task, 10))


# --- Work is done --------------------------------------------------------------------------


@both_drivers
def test_500_requests_each_get_their_own_reply(driver: type, server: Server) -> None:
    """Every exchange is resolved, with its own reply, over at most as many connections."""
    sizes = [n * 37 % 500 for n in range(500)]

    async def fetch_all(this: Client) -> list[Reply]:
        at_once = asyncio.Semaphore(32)

        async def one(size: int) -> Reply:
            async with at_once:
                return await this.get(f"{server.url}{size}")

        return await asyncio.gather(*map(one, sizes))

    with client(driver) as this:
        replies = this.run(fetch_all(this))
        assert len(server.open) <= 32
    assert [(reply.status, reply.error, reply.bytes) for reply in replies] == [
        (200, None, size) for size in sizes
    ]
    assert sum(reply.reused for reply in replies) >= 500 - 32


@both_drivers
def test_all_that_ends_at_once_is_handed_over(driver: type) -> None:
    """Replies that arrive together, more than one slice of them, are all handed over at once."""
    with Server(crowd=150) as server, client(driver) as this:

        async def together() -> list[Reply]:
            return await asyncio.gather(*[this.get(f"{server.url}all") for _ in range(150)])

        started_s = time.monotonic()
        assert {reply.status for reply in this.run(together())} == {200}
        assert time.monotonic() - started_s < 10


@both_drivers
def test_a_failed_transfer_is_handed_over_as_well(driver: type) -> None:
    """A transfer that fails ends its exchange with an error, and the loop goes on."""
    with Server() as gone:
        pass
    with client(driver) as this, Server() as server:
        assert this.run(this.get(gone.url + "1")).error == "connect"
        assert this.run(this.get(server.url + "1")).status == 200


@both_drivers
def test_libcurls_own_timers_fire(driver: type, server: Server) -> None:
    """A time-out of libcurl's wakes a loop that has nothing else to wait for."""
    request = Request(f"{server.url}hang", "GET", (), None, 0.2)
    with client(driver) as this:
        started_s = time.monotonic()
        reply = this.run(this.engine.exchange(request))
        assert reply.error == "timeout"
        assert 0.19 < time.monotonic() - started_s < 5


# --- The loop stays a loop -----------------------------------------------------------------


@both_drivers
def test_timers_fire_while_transfers_run(driver: type, server: Server) -> None:
    """The loop's timers are on time while requests go out and come back without a pause."""
    done = 0

    async def fetch_on(this: Client) -> None:
        nonlocal done
        while True:
            await this.get(f"{server.url}10")
            done += 1

    async def watch(this: Client) -> list[float]:
        runners = [asyncio.create_task(fetch_on(this)) for _ in range(16)]
        late_s = []
        for _ in range(30):
            due_s = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            late_s.append(time.monotonic() - due_s)
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)
        return late_s

    with client(driver) as this:
        late_s = this.run(watch(this))
    assert done > 30
    assert statistics.median(late_s) < 0.05
    assert max(late_s) < 1.0


@both_drivers
def test_timers_fire_while_a_transfer_waits(driver: type, server: Server) -> None:
    """A timer shorter than all of libcurl's is not held up by a transfer that waits."""
    with client(driver) as this, hanging(this, server):
        started_s = time.monotonic()
        this.run(asyncio.sleep(0.05))
        assert 0.049 < time.monotonic() - started_s < 1.0


@both_drivers
@pytest.mark.parametrize("busy", [True, False], ids=["a transfer waits", "nothing to do"])
def test_another_thread_wakes_the_loop(driver: type, busy: bool, server: Server) -> None:
    """``call_soon_threadsafe`` wakes a waiting loop promptly, with and without transfers."""
    called_s = 0.0

    async def wait_for_a_call() -> float:
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def call() -> None:
            nonlocal called_s
            called_s = time.monotonic()
            loop.call_soon_threadsafe(woken.set)

        threading.Timer(0.1, call).start()
        await woken.wait()
        return time.monotonic()

    with client(driver) as this, hanging(this, server) if busy else nullcontext():
        assert this.run(wait_for_a_call()) - called_s < 0.5


@both_drivers
def test_a_loop_that_waits_uses_no_cpu(driver: type, server: Server) -> None:
    """A transfer that waits and connections that the server has closed make no busy loop."""
    with client(driver) as this:

        async def some_connections() -> None:
            await asyncio.gather(*[this.get(f"{server.url}5") for _ in range(8)])

        this.run(some_connections())
        with hanging(this, server) as task:
            server.hang_up_idle()
            this.run(until(lambda: server.open == server.hanging))
            started_s, used_s = time.monotonic(), time.process_time()
            this.run(asyncio.sleep(1.0))
            used_s = time.process_time() - used_s
            assert not task.done()
            assert used_s < 0.2 * (time.monotonic() - started_s)


# --- Cancelling ----------------------------------------------------------------------------


@both_drivers
def test_cancelling_an_exchange_closes_its_connection(driver: type, server: Server) -> None:
    """What is cancelled is taken from libcurl at once; the server sees it go, others go on."""

    async def cancel_all(this: Client) -> Reply:
        doomed = [asyncio.create_task(this.get(f"{server.url}hang")) for _ in range(20)]
        await until(lambda: len(server.hanging) == 20)
        other = asyncio.create_task(this.get(f"{server.url}5"))
        for task in doomed:
            task.cancel()
        outcomes = await asyncio.gather(*doomed, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        await until(lambda: not server.hanging)
        return await other

    with client(driver) as this:
        assert this.run(cancel_all(this)).status == 200
        assert this.run(this.get(f"{server.url}7")).bytes == 7


@both_drivers
def test_cancelling_leaks_no_descriptor(driver: type, server: Server) -> None:
    """However many exchanges are cancelled, at whatever stage, no descriptor stays open."""

    async def cancel_one(this: Client, turns: int) -> None:
        task = asyncio.create_task(this.get(f"{server.url}hang"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with client(driver) as this:
        this.run(this.get(f"{server.url}1"))
        gc.collect()  # what earlier tests left would hide as many leaks
        before = len(os.listdir("/proc/self/fd"))
        for turn in range(200):
            this.run(cancel_one(this, turn % 7))
        # The server may still have to accept, and close, connections that we gave up.
        this.run(until(lambda: len(os.listdir("/proc/self/fd")) <= before + 2))
        assert this.run(this.get(f"{server.url}7")).bytes == 7


@both_drivers
def test_a_timer_may_cancel_an_exchange(driver: type, server: Server) -> None:
    """asyncio's own time-out ends an exchange that is never answered."""

    async def give_up(this: Client) -> None:
        async with asyncio.timeout(0.1):
            await this.get(f"{server.url}hang")

    with client(driver) as this:
        with pytest.raises(TimeoutError):
            this.run(give_up(this), within_s=10)
        assert this.run(this.get(f"{server.url}7")).bytes == 7


# --- Many descriptors ----------------------------------------------------------------------


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Room for 4096 descriptors, where the machine allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        pytest.skip(f"only {hard} descriptors are allowed here")
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def descriptors_in_use(count: int) -> Iterator[None]:
    """``count`` descriptors taken, so that later ones have higher numbers."""
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(count)]
    try:
        yield
    finally:
        for fd in taken:
            os.close(fd)


@pytest.mark.usefixtures("many_descriptors")
def test_more_connections_than_select_knows() -> None:
    """600 connections at once, both ends in this process, pass descriptor 1023 with ease."""
    with Server(crowd=600) as server, client(SocketActionDriver) as this:

        async def together() -> list[Reply]:
            return await asyncio.gather(*[this.get(f"{server.url}all") for _ in range(600)])

        replies = this.run(together())
        assert len(server.open) == 600
        assert max(int(fd) for fd in os.listdir("/proc/self/fd")) > 1200
    assert {(reply.status, reply.bytes) for reply in replies} == {(200, 3)}


@pytest.mark.usefixtures("many_descriptors")
def test_descriptors_of_others_choose_the_driver() -> None:
    """Where low descriptors are taken already, few connections too are driven without select."""
    with descriptors_in_use(1100), Server() as server:
        engine = CurlEngine(PROFILE, SETTINGS, connections=4)
        assert type(driver_of(engine)) is SocketActionDriver
        this = Client(engine, engine.new_event_loop())
        assert [this.run(this.get(f"{server.url}{n}")).bytes for n in range(5)] == list(range(5))
        this.loop.close()
        engine.close()


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("count", [1, 20])
def test_descriptors_taken_later_stop_nothing(count: int) -> None:
    """Descriptors that others take while we work, up to 1023 and beyond, delay no reply."""
    with Server(crowd=count) as server, client(PerformDriver) as this, descriptors_in_use(1100):

        async def together() -> list[Reply]:
            return await asyncio.gather(*[this.get(f"{server.url}all") for _ in range(count)])

        started_s = time.monotonic()
        replies = this.run(together())
        took_s = time.monotonic() - started_s
    assert {reply.status for reply in replies} == {200}
    assert took_s < 2
