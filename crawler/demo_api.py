"""The demo API: a small HTTP/1.1 server on the loopback, for demos, docs and tests.

``RequestParser`` turns bytes into requests and touches no socket; ``demo_pages`` turns a request
into a reply; a connection sends replies in the order of their requests, one at a time, and drops
what its client no longer waits for. A reply that needs no waiting is written at once.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Final, Self
from urllib.parse import parse_qsl, unquote

from crawler.demo_pages import KNOBS_HELP
from crawler.demo_site import Site
from crawler.demo_values import Reply, Request, json_reply
from crawler.errors import UsageError

__all__ = ["KNOBS_HELP", "BadRequest", "DemoServer", "RequestParser", "serve"]

MAX_HEAD_BYTES: Final = 65_536
MAX_BODY_BYTES: Final = 16_000_000
_BACKLOG: Final = 4096
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEAD: Final = re.compile(
    rb"(%b) ([\x21-\x7e]+) HTTP/1\.([01])((?:\r\n%b:[^\0\r\n]*)*)" % (_TOKEN, _TOKEN)
)
_HOST: Final = re.compile(r"[A-Za-z0-9._~%:\[\]-]*")


class BadRequest(Exception):
    """What came is no request to answer; ``status`` is what to answer before closing."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class RequestParser:
    """Bytes in, requests out (RFC 9112), in whatever pieces they come.

    ``wants_continue`` is set while a client waits for 100 before it sends its body (RFC 9110,
    section 10.1.1). After a ``BadRequest`` the parser is of no more use.
    """

    def __init__(self) -> None:
        self.wants_continue = False
        self._buffer = bytearray()
        self._requests = self._read()

    def feed(self, data: bytes) -> Iterator[Request]:
        """The requests that ``data`` completes. Raises ``BadRequest``."""
        self._buffer += data
        while (request := next(self._requests)) is not None:
            yield request

    def _read(self) -> Iterator[Request | None]:
        while True:
            head = (yield from self._head()).lstrip(b"\r\n")
            if head:
                request = _request(head)
                body = yield from self._body(request)
                yield request._replace(body=body) if body else request

    def _body(self, request: Request) -> Generator[None, None, bytes]:
        if any(name == "transfer-encoding" for name, _ in request.headers):
            raise BadRequest(411, "a body needs a Content-Length here, not a Transfer-Encoding")
        lengths = [value for name, value in request.headers if name == "content-length"]
        if not lengths:
            return b""
        if len(lengths) > 1 or re.fullmatch(r"[0-9]{1,15}", lengths[0]) is None:
            raise BadRequest(400, "Content-Length is not one number")
        if (size := int(lengths[0])) > MAX_BODY_BYTES:
            raise BadRequest(413, f"a body of more than {MAX_BODY_BYTES} bytes")
        self.wants_continue = not self._buffer and "100-continue" in request.header("expect")
        while len(self._buffer) < size:
            yield None
        return self._take(size)

    def _head(self) -> Generator[None, None, bytes]:
        searched = 0
        while (end := self._buffer.find(b"\r\n\r\n", searched)) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                break
            searched = max(0, len(self._buffer) - 3)
            yield None
        if not 0 <= end <= MAX_HEAD_BYTES:
            raise BadRequest(431, f"a head of more than {MAX_HEAD_BYTES} bytes")
        return self._take(end + 4)[:-4]

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


def _request(head: bytes) -> Request:
    match = _HEAD.fullmatch(head)
    if match is None:
        raise BadRequest(400, "not the head of an HTTP/1.1 request")
    method, target, minor, lines = (part.decode("latin-1") for part in match.groups())
    fields = (line.partition(":") for line in lines.split("\r\n")[1:])
    headers = tuple((name.lower(), value.strip(" \t")) for name, _, value in fields)
    hosts = [value for name, value in headers if name == "host"]
    if len(hosts) not in (1, 1 - (minor == "0")) or not all(map(_HOST.fullmatch, hosts)):
        raise BadRequest(400, "one valid Host header is needed")
    options = ",".join(value for name, value in headers if name == "connection").lower()
    keep = "close" not in options if minor == "1" else "keep-alive" in options
    path, _, query = re.sub(r"^https?://[^/?]*", "", target, flags=re.I).partition("?")
    if not path.startswith("/"):
        raise BadRequest(400, "the request target is no path and no http URL")
    segments = tuple(map(unquote, path.split("/")[1:]))
    pairs = tuple(parse_qsl(query, keep_blank_values=True))
    return Request(method, target, path, segments, pairs, headers, b"", int(minor), keep)


class _Connection(asyncio.Protocol):
    """One client: its requests are answered in order, one at a time."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._parser = RequestParser()
        self._waiting: deque[Request | BadRequest] = deque()
        self._current: Request | None = None
        self._work: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._deaf = False
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._site.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._waiting.extend(self._parser.feed(data))
        except BadRequest as error:
            self._deaf = True
            self._waiting.append(error)
        self._advance()
        if self._parser.wants_continue and self._current is None:
            self._parser.wants_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _advance(self) -> None:
        while self._waiting and self._current is None and self._writable.is_set():
            self._begin(self._waiting.popleft())
        if self._waiting:
            self._transport.pause_reading()  # a client that pipelines faster than it reads
        else:
            self._transport.resume_reading()

    def _begin(self, request: Request | BadRequest) -> None:
        if isinstance(request, BadRequest):
            reply = json_reply(request.status, {"error": str(request)})
            self._transport.write(_head(reply, keep_alive=False) + reply.body)
            self._close()
            return
        self._current = request
        self._site.begin(request)
        reply = self._site.api.answer(request)
        if reply.delay_s > 0 and not reply.never:
            self._work = self._loop.call_later(reply.delay_s, self._send_late, reply)
        elif not reply.never:
            self._send(reply)

    def _send_late(self, reply: Reply) -> None:
        self._send(reply)
        self._advance()

    def _send(self, reply: Reply) -> None:
        assert self._current is not None
        request = self._current
        chunked = reply.chunked and request.minor_version == 1
        head = _head(reply, keep_alive=request.keep_alive, chunked=chunked)
        if request.method == "HEAD" or reply.status in (204, 304):
            self._transport.write(head)
            self._end(reply.status)
        elif chunked or reply.parts is not None:
            self._transport.write(head)
            self._work = self._loop.create_task(self._send_parts(reply, chunked=chunked))
        else:
            self._transport.write(head + reply.body)
            self._end(reply.status)

    async def _send_parts(self, reply: Reply, *, chunked: bool) -> None:
        start_s = self._loop.time()
        for at_s, part in reply.parts or iter(((0.0, reply.body),)):
            if (wait_s := start_s + at_s - self._loop.time()) > 0:
                await asyncio.sleep(wait_s)
            await self._writable.wait()
            if part:  # an empty chunk would be the last
                self._transport.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
        if chunked:
            self._transport.write(b"0\r\n\r\n")
        self._end(reply.status)
        self._advance()

    def _end(self, status: int) -> None:
        assert self._current is not None
        request, self._current, self._work = self._current, None, None
        self._site.end(request, status)
        if not request.keep_alive:
            self._close()

    def _close(self) -> None:
        """End our side, then wait for the client's: closing at once could reset its reading."""
        self._deaf = True
        self._waiting.clear()
        with suppress(OSError):
            self._transport.write_eof()
        self._work = self._loop.call_later(1.0, self._transport.abort)

    def abort(self) -> None:
        """End it now, for every process that a fork gave a copy of its socket."""
        with suppress(OSError):
            self._transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        self._transport.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
        self._advance()

    def connection_lost(self, exc: Exception | None) -> None:
        self._site.connections.discard(self)
        self._waiting.clear()
        if self._work is not None:
            self._work.cancel()
        if self._current is not None:
            self._site.end(self._current, None)


def _head(reply: Reply, *, keep_alive: bool, chunked: bool = False) -> bytes:
    reason = next((known.phrase for known in HTTPStatus if known == reply.status), "Unknown")
    length = len(reply.body) if reply.parts is None else reply.length
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {length}"
    lines = [
        f"HTTP/1.1 {reply.status} {reason}",
        f"Date: {formatdate(usegmt=True)}",
        *(f"{name}: {value}" for name, value in reply.headers),
        *(() if reply.status in (204, 304) else (framing,)),
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n",
    ]
    return "\r\n".join(lines).encode("latin-1")


def _listen(host: str, port: int) -> socket.socket:
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise UsageError(f"--host {host}: the demo stays on this machine: give 127.0.0.1 or ::1")
    if not 0 <= port <= 65535:
        raise UsageError(f"--port {port}: give a port of 1 to 65535, or 0 for a free one")
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        return socket.create_server((str(address), port), family=family, backlog=_BACKLOG)
    except OSError as error:
        taken = "it is in use" if error.errno == errno.EADDRINUSE else error.strerror
        message = f"--port {port} on {host}: {taken}: give another, or 0 for a free one"
        raise UsageError(message) from None


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


async def _run(listener: socket.socket, site: Site, stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(site), sock=listener, backlog=_BACKLOG)
    await stopping.wait()
    server.close()
    while site.connections:
        for connection in tuple(site.connections):
            connection.abort()
        await asyncio.sleep(0)
    if site.log is not None:
        site.log.close()


def serve(host: str, port: int, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; ``on_ready`` is given the URL once.

    Raises ``UsageError`` for a host or port that cannot be had, ``CrawlError`` without the data.
    """
    site = Site(None)
    listener = _listen(host, port)

    async def main() -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # Windows: KeyboardInterrupt below
                asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        if on_ready is not None:
            on_ready(_url(listener))
        await _run(listener, site, stopping)

    with suppress(KeyboardInterrupt):
        asyncio.run(main())


class DemoServer:
    """The same server in a thread of this process; ``with DemoServer.start() as demo`` stops it."""

    port: int
    url: str
    _loop: asyncio.AbstractEventLoop
    _stopping: asyncio.Event
    _thread: threading.Thread

    @classmethod
    def start(cls, host: str = "127.0.0.1", port: int = 0, *, log: Path | None = None) -> Self:
        """Start it, on a free port if 0; ``log`` gets JSON lines. Raises as ``serve`` does."""
        server = cls()
        site = Site(log)
        listener = _listen(host, port)
        server.port, server.url = listener.getsockname()[1], _url(listener)
        server._loop = asyncio.new_event_loop()
        server._stopping = asyncio.Event()
        running = _run(listener, site, server._stopping)
        server._thread = threading.Thread(
            target=server._loop.run_until_complete, args=(running,), name="demo-api", daemon=True
        )
        server._thread.start()
        return server

    def stop(self) -> None:
        """Close the port and every connection; a second call does nothing."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()
