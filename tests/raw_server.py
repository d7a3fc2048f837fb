"""A server that says on the wire exactly what a test tells it to, byte for byte.

Each connection is played by a script, a function over its ``Peer``. The first connection gets the
first script, and so on; the last script is repeated. All that clients sent is kept.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Peer:
    """The server's end of one connection."""

    def __init__(self, sock: socket.socket, server: RawServer) -> None:
        self._sock = sock
        self._server = server
        self._pending = b""

    def read_request(self) -> bytes:
        """Read one request, its body by Content-Length; b"" when the client has closed."""
        while b"\r\n\r\n" not in self._pending:
            if not self._more():
                return b""
        head, _, rest = self._pending.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(rest) < length and self._more():
            rest = self._pending.partition(b"\r\n\r\n")[2]
        self._pending = rest[length:]
        request = head + b"\r\n\r\n" + rest[:length]
        self._server.requests.append(request)
        return request

    def read_some(self) -> None:
        """Wait for any bytes, of whatever protocol."""
        self._more()

    def _more(self) -> bool:
        piece = self._sock.recv(65536)
        self._pending += piece
        return bool(piece)

    @property
    def shows_certificate(self) -> bool:
        """Whether the client identified itself with a certificate (TLS)."""
        return isinstance(self._sock, ssl.SSLSocket) and bool(self._sock.getpeercert())

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS, as after CONNECT."""
        self._sock = context.wrap_socket(self._sock, server_side=True)

    def drip(self, data: bytes, *, every_s: float) -> None:
        """Send byte by byte until all is sent or the server is closed."""
        for byte in data:
            self.send(bytes((byte,)))
            if self._server.stopped.wait(every_s):
                return

    def pause(self, seconds: float) -> None:
        self._server.stopped.wait(seconds)

    def hang(self) -> None:
        """Say nothing until the server is closed."""
        self._server.stopped.wait()

    def reset(self) -> None:
        """End the connection with RST in place of FIN."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()


Script = Callable[[Peer], None]


def answers(*replies: bytes) -> Script:
    """A script: read a request and send a reply, for each reply, then close."""

    def play(peer: Peer) -> None:
        for reply in replies:
            if not peer.read_request():
                return
            peer.send(reply)

    return play


def keep_answering(reply: bytes) -> Script:
    """A script: send the same reply to every request until the client closes."""

    def play(peer: Peer) -> None:
        while peer.read_request():
            peer.send(reply)

    return play


class RawServer:
    """Listens on a free port of 127.0.0.1 (or a Unix socket) while its ``with`` block runs.

    ``requests`` are the raw requests in order of arrival, ``connections`` how many were accepted.
    """

    def __init__(
        self,
        *scripts: Script,
        tls: ssl.SSLContext | None = None,
        unix_path: Path | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopped = threading.Event()
        self._scripts = scripts
        self._tls = tls
        self._peers: list[Peer] = []
        self._listener = _listen(unix_path, host)
        name = self._listener.getsockname()
        self.port: int = name[1] if isinstance(name, tuple) else 0
        name_of_host = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if tls else 'http'}://{name_of_host}:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._peers:
            peer.close()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock, script), daemon=True).start()

    def _serve(self, sock: socket.socket, script: Script) -> None:
        # A client that gives up early is the client's business: tests look at what it reports.
        with contextlib.suppress(OSError):
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            peer = Peer(sock, self)
            self._peers.append(peer)
            try:
                script(peer)
            finally:
                peer.close()


def _listen(unix_path: Path | None, host: str) -> socket.socket:
    if unix_path is not None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(unix_path))
        listener.listen(64)
        return listener
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, 0), family=family, backlog=64)


def closed_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
