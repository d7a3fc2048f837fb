"""An HTTP server that stands still: a second in ten, say, nobody gets an answer.

    python -m tests.stall_server PERIOD_S STALL_S [DELAYS_MS]

It prints its port. Between stalls it answers at once, or after a delay: one of DELAYS_MS (numbers
parted by commas), the next one for each request, so that their distribution is known exactly.
"""

from __future__ import annotations

import asyncio
import sys
import time
from itertools import cycle

REPLY = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Stalling(asyncio.Protocol):
    delays_s = cycle((0.0,))
    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        delay_s = next(self.delays_s)
        if delay_s:
            asyncio.get_running_loop().call_later(delay_s, self.transport.write, REPLY)
        else:
            self.transport.write(REPLY)


async def main() -> None:
    period_s, stall_s = float(sys.argv[1]), float(sys.argv[2])
    if len(sys.argv) > 3:
        Stalling.delays_s = cycle([float(ms) / 1000 for ms in sys.argv[3].split(",")])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Stalling, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while True:
        await asyncio.sleep(period_s - stall_s if stall_s else 3600)
        time.sleep(stall_s)


asyncio.run(main())
