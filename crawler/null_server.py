"""A server that does nothing: what remains of a latency measured against it is the client's own.

One thread, one epoll, one constant reply to whatever a read brings. It serves those who keep
requests apart (no pipelining) and whose requests fit one read: ourselves. It ends when its standard
input does, so that it cannot outlive who started it, however that one ends.
"""

from __future__ import annotations

import selectors
import signal
import socket
import subprocess
import sys
from types import TracebackType
from typing import Final, Self

REPLY: Final = (
    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{"ok":true}'
)
_READ_BYTES: Final = 1 << 16


def serve(listener: socket.socket) -> None:
    """Answer until standard input ends."""
    selector = selectors.DefaultSelector()
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                _accept(listener, selector)
            elif key.fileobj is sys.stdin:
                return
            else:
                _answer(key.fileobj, selector)


def _accept(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    peer, _ = listener.accept()
    peer.setblocking(False)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    selector.register(peer, selectors.EVENT_READ)


def _answer(peer: object, selector: selectors.BaseSelector) -> None:
    assert isinstance(peer, socket.socket)
    try:
        asked = peer.recv(_READ_BYTES)
        if asked:
            peer.sendall(REPLY)
            return
    except OSError:
        pass
    selector.unregister(peer)
    peer.close()


class NullServer:
    """The server in a process of its own, on a free loopback port; a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],  # -P: nothing of the current directory is imported
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            from crawler.errors import (
                WorkerError,  # here: the server's own process needs none of ours
            )

            self._process.communicate()
            raise WorkerError("the server that --calibrate measures against did not start")
        self.url = f"http://127.0.0.1:{port}/"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()


def main() -> None:
    """Serve on a free port, and print which. Ctrl-C is the owner's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        print(listener.getsockname()[1], flush=True)
        serve(listener)


if __name__ == "__main__":
    main()
