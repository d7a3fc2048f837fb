"""A server whose every reply takes the same time, and which knows how many requests it holds.

It prints its port, then serves until it is killed. A path that starts with ``/stuck`` is never
answered; ``/stats`` tells the time-weighted mean of the requests held. A request is held from the
moment this loop has read it until its reply is written, so a client that is slow to send its next
request, or a backlog here, lowers the figure: it flatters nobody.

One timer serves all delays: they are equal, so replies fall due in the order of their requests.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import resource
import time
from collections import deque

BODY = b'{"novel":"Dream of the Red Chamber"}'
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)
CHECKPOINT_S = 0.02


class Meter:
    """How many requests are held now, and the integral of that over time."""

    def __init__(self) -> None:
        self.held = 0
        self._area = 0.0
        self._last_s = time.perf_counter()
        self._checkpoints: list[tuple[float, float]] = []

    def add(self, change: int) -> None:
        """Count requests that have come (above 0) or have been answered (below 0)."""
        now = time.perf_counter()
        self._area += self.held * (now - self._last_s)
        self._last_s = now
        self.held += change

    async def keep_checkpoints(self) -> None:
        """Note time and integral every so often, from the first request on."""
        while True:
            if self.held or self._checkpoints:
                self.add(0)
                self._checkpoints.append((self._last_s, self._area))
            await asyncio.sleep(CHECKPOINT_S)

    def mean_of_middle(self) -> float:
        """The mean held between 20 % and 80 % of the time in which any was held."""
        busy = self._until_last_held()
        if len(busy) < 5:
            return 0.0
        (from_s, from_area), (to_s, to_area) = busy[len(busy) // 5], busy[len(busy) * 4 // 5]
        return (to_area - from_area) / (to_s - from_s)

    def _until_last_held(self) -> list[tuple[float, float]]:
        points = self._checkpoints
        end = len(points)
        while end > 1 and points[end - 1][1] == points[end - 2][1]:
            end -= 1
        return points[:end]


class DelayProtocol(asyncio.Protocol):
    """One connection: requests without bodies, one at a time, as all measured clients send them."""

    transport: asyncio.Transport

    def __init__(self, meter: Meter, delays: Delays) -> None:
        self._meter = meter
        self._delays = delays
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while b"\r\n\r\n" in self._buffer:
            head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path.startswith(b"/stats"):
            self.transport.write(_json_reply({"mean_in_flight": self._meter.mean_of_middle()}))
        elif not path.startswith(b"/stuck"):
            self._meter.add(1)
            self._delays.reply_later(self)


class Delays:
    """The replies that are due, in order, behind one timer."""

    def __init__(self, meter: Meter, delay_s: float) -> None:
        self._meter = meter
        self._delay_s = delay_s
        self._due: deque[tuple[float, DelayProtocol]] = deque()
        self._loop = asyncio.get_running_loop()

    def reply_later(self, connection: DelayProtocol) -> None:
        """Answer ``connection`` once the delay has passed."""
        due = self._loop.time() + self._delay_s
        self._due.append((due, connection))
        if len(self._due) == 1:
            self._loop.call_at(due, self._reply_to_all_due)

    def _reply_to_all_due(self) -> None:
        now = self._loop.time()
        while self._due and self._due[0][0] <= now:
            connection = self._due.popleft()[1]
            self._meter.add(-1)
            if not connection.transport.is_closing():
                connection.transport.write(REPLY)
        if self._due:
            self._loop.call_at(self._due[0][0], self._reply_to_all_due)


def _json_reply(value: dict[str, float]) -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def serve(delay_s: float) -> None:
    """Serve for ever on a free port, which is printed first."""
    meter = Meter()
    delays = Delays(meter, delay_s)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: DelayProtocol(meter, delays), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await meter.keep_checkpoints()


def main() -> None:
    """Read the delay and serve."""
    parser = argparse.ArgumentParser(description="Serve replies that take a fixed time.")
    parser.add_argument("--delay-ms", type=float, required=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(parser.parse_args().delay_ms / 1000))


if __name__ == "__main__":
    main()
