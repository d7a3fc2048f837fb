"""What any engine must make of what a server does: the engines, the server's bytes, the reply.

A case is a script for the server, a request, and the fields of the ``Reply`` that must come of it.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from crawler.engines.base import Engine, Reply, Request
from crawler.engines.curl import CurlEngine
from crawler.engines.requests import RequestsEngine
from crawler.session import build_session, profile
from crawler.settings import Settings
from tests.raw_server import OK, Peer, Script, answers

CONNECTIONS: Final = 4


def _requests(settings: Settings) -> tuple[Engine, asyncio.AbstractEventLoop]:
    engine = RequestsEngine(build_session(settings), settings, threads=CONNECTIONS)
    return engine, asyncio.new_event_loop()


def _curl(settings: Settings) -> tuple[Engine, asyncio.AbstractEventLoop]:
    engine = CurlEngine(
        profile(build_session(settings), settings), settings, connections=CONNECTIONS
    )
    return engine, engine.new_event_loop()


ENGINES: Final[Mapping[str, Callable[[Settings], tuple[Engine, asyncio.AbstractEventLoop]]]] = {
    "curl": _curl,
    "requests": _requests,
}
"""The engines that the shared suite runs against: each makes itself and the loop it works in."""


def exchange(name: str, settings: Settings, *requests: Request, pause_s: float = 0) -> list[Reply]:
    """Make the requests with a new engine, one after the other, and close it."""
    engine, loop = ENGINES[name](settings)

    async def in_turn() -> list[Reply]:
        replies: list[Reply] = []
        for request in requests:
            if replies and pause_s:
                await asyncio.sleep(pause_s)
            replies.append(await engine.exchange(request))
        return replies

    try:
        return loop.run_until_complete(in_turn())
    finally:
        engine.close()
        loop.close()


@dataclass(frozen=True, kw_only=True)
class Case:
    """``expected`` are fields of the reply and what each must be, or a test of it."""

    name: str
    script: Script
    expected: Mapping[str, Any]
    method: str = "GET"
    body: bytes | None = None
    timeout_s: float = 5.0
    settings: Settings = field(default_factory=Settings)


def said(name: str, reply: bytes, *, settings: Settings | None = None, **expected: Any) -> Case:
    """A case of one request and the server's bytes for it, the connection closed after them."""
    return Case(
        name=name,
        script=answers(reply),
        expected={"error": None, **expected},
        settings=settings or Settings(),
    )


def refused(name: str, reply: bytes, *, status: Any = 200) -> Case:
    """A case of bytes that are no HTTP: ``protocol``, whatever the engine calls it."""
    return Case(
        name=name,
        script=answers(reply),
        expected={"error": "protocol", "status": status, "detail": is_one_line},
    )


def is_one_line(detail: object) -> bool:
    return (
        isinstance(detail, str) and bool(detail) and "\n" not in detail and " at 0x" not in detail
    )


def drips(reply: bytes, *, after: bytes = b"") -> Script:
    def play(peer: Peer) -> None:
        peer.read_request()
        peer.send(after)
        peer.drip(reply, every_s=0.04)

    return play


def _silent(peer: Peer) -> None:
    peer.read_request()
    peer.hang()


def _reset_in_body(peer: Peer) -> None:
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello")
    peer.pause(0.05)
    peer.reset()


def _reset_at_once(peer: Peer) -> None:
    peer.read_request()
    peer.reset()


def _endless_interim(peer: Peer) -> None:
    peer.read_request()
    while True:
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


HEAD: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ZIPPED: Final = gzip.compress(b"hello" * 100, mtime=0)


def _coded(coding: bytes, body: bytes) -> bytes:
    return HEAD + b"Content-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body)) + body


GOOD: Final = (
    said("plain", OK, status=200, bytes=5, http_version="1.1", reused=False, location=None),
    said("http 1.0 ended by closing", b"HTTP/1.0 200 OK\r\n\r\nhello", bytes=5, http_version="1.0"),
    said("no reason phrase", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", status=200, bytes=0),
    said("bare line feeds", b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", status=200, bytes=5),
    said("folded header", HEAD + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello", bytes=5),
    said("200 headers", HEAD + b"X: a\r\n" * 200 + b"Content-Length: 5\r\n\r\nhello", bytes=5),
    said("one length twice", HEAD + b"Content-Length: 5\r\n" * 2 + b"\r\nhello", bytes=5),
    said("one length in a list", HEAD + b"Content-Length: 5, 5\r\n\r\nhello", bytes=5),
    said("chunked", CHUNKED + b"5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n", bytes=15),
    said("chunked wins over length",
         HEAD + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
         bytes=5),
    said("interim replies", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nX: y\r\n\r\n" + OK,
         status=200, bytes=5),
    said("204 has no body", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
         status=204, bytes=0),
    said("304 has no body", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
         status=304, bytes=0),
    said("gzip", _coded(b"gzip", ZIPPED), bytes=500),
    said("gzip in two members", _coded(b"x-gzip", ZIPPED * 2), bytes=1000),
    said("deflate", _coded(b"deflate", zlib.compress(b"hello" * 100)), bytes=500),
    said("gzip twice", _coded(b"gzip, gzip", gzip.compress(ZIPPED)), bytes=500),
    said("unknown coding", _coded(b"br", b"hello"), bytes=5),
    said("gzip left alone", _coded(b"gzip", ZIPPED), bytes=len(ZIPPED),
         settings=Settings(compression=False)),
    said("just as large as allowed", OK, bytes=5, settings=Settings(max_body_bytes=5)),
    said("404 is no error here", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
         status=404, bytes=0),
    said("retry-after", b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nContent-Length: 0\r\n\r\n",
         status=503, retry_after="120"),
    said("redirect is not followed",
         b"HTTP/1.1 302 Found\r\nLocation: //other.test/?a=%2f\r\nContent-Length: 2\r\n\r\nno",
         status=302, bytes=2, location="//other.test/?a=%2f"),
    said("location of raw bytes",
         b"HTTP/1.1 301 Moved\r\nLocation: /\xc3\xa9\xff x\r\nContent-Length: 0\r\n\r\n",
         status=301, location="/\xc3\xa9\xff x"),
    said("location that is no URL",
         b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\nContent-Length: 0\r\n\r\n",
         status=302, location="http://[::1/"),
    said("cookies are no error", b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff=;;;\r\n" + OK[17:], bytes=5),
    Case(name="HEAD", method="HEAD", script=answers(_coded(b"gzip", b"")[:-4] + b"9\r\n\r\n"),
         expected={"error": None, "status": 200, "bytes": 0}),
)  # fmt: skip

BAD: Final = (
    refused("negative length", HEAD + b"Content-Length: -5\r\n\r\nhello"),
    refused("length of letters", HEAD + b"Content-Length: abc\r\n\r\nhello"),
    refused("length with a sign", HEAD + b"Content-Length: +5\r\n\r\nhello"),
    refused("empty length", HEAD + b"Content-Length:\r\n\r\nhello"),
    refused("two lengths", HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    refused("NUL in a header", HEAD + b"X: a\0b\r\nContent-Length: 5\r\n\r\nhello"),
    refused("carriage return in a header", HEAD + b"X: a\rb\r\nContent-Length: 5\r\n\r\nhello"),
    refused("header without colon", HEAD + b"garbage\r\nContent-Length: 5\r\n\r\nhello"),
    refused("fold without a header", HEAD + b" x\r\nContent-Length: 5\r\n\r\nhello"),
    refused("headers over 300 KB", HEAD + (b"X: " + b"a" * 1000 + b"\r\n") * 400 + b"\r\n"),
    refused("a header of 200 KB", HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n"),
    refused("6000 headers", HEAD + b"X: a\r\n" * 6000 + b"\r\n"),
    refused("two locations", HEAD.replace(b"200", b"302") + b"Location: /a\r\nLocation: /b\r\n"
            b"Content-Length: 0\r\n\r\n", status=302),
    refused("chunk size of letters", CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"),
    refused("negative chunk size", CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"),
    refused("chunk size in Python's way", CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"),
    refused("empty chunk size", CHUNKED + b"\r\nhello\r\n0\r\n\r\n"),
    refused("endless chunk size", CHUNKED + b"f" * 30 + b"\r\nhello\r\n0\r\n\r\n"),
    refused("chunk longer than its size", CHUNKED + b"5\r\nhelloXX0\r\n\r\n"),
    refused("chunk cut short", CHUNKED + b"5\r\nhel"),
    refused("no last chunk", CHUNKED + b"5\r\nhello\r\n"),
    refused("transfer coding not asked for", HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0"),
    refused("body shorter than its length", HEAD + b"Content-Length: 50\r\n\r\nhello"),
    refused("head cut short", HEAD + b"Content-Le"),
    refused("gzip cut short", _coded(b"gzip", ZIPPED[:-1])),
    refused("gzip that is none", _coded(b"gzip", b"\xffhello")),
    refused("six codings", _coded(b",".join([b"gzip"] * 6), ZIPPED)),
    refused("empty reply", b"", status=None),
    refused("status line cut short", b"HTTP/1.1 2", status=None),
    refused("HTTP/0.9", b"hello world\n", status=None),
    refused("HTTP/2 in HTTP/1", b"HTTP/2 200 OK\r\n\r\nhello", status=None),
    refused("status of letters", b"HTTP/1.1 abc OK\r\n\r\n", status=None),
    refused("status of two digits", b"HTTP/1.1 20 OK\r\n\r\n", status=None),
    Case(name="reset in the body", script=_reset_in_body,
         expected={"error": "protocol", "status": 200, "bytes": 5, "detail": is_one_line}),
    Case(name="reset before the reply", script=_reset_at_once,
         expected={"error": "protocol", "status": None, "detail": is_one_line}),
    Case(name="endless interim replies", script=_endless_interim, timeout_s=1,
         expected={"error": lambda error: error in ("protocol", "timeout")}),
    Case(name="too large", script=answers(OK), settings=Settings(max_body_bytes=4),
         expected={"error": "too_large", "status": 200, "detail": is_one_line}),
    Case(name="too large once decoded", script=answers(_coded(b"gzip", ZIPPED)),
         settings=Settings(max_body_bytes=499),
         expected={"error": "too_large", "bytes": lambda size: size <= 499}),
)  # fmt: skip

LATE: Final = (
    Case(name="no answer", script=_silent, expected={"status": None, "bytes": 0}),
    Case(name="drip in the status line", script=drips(OK), expected={"status": None}),
    Case(name="drip in a header", script=drips(b"X: " + b"a" * 100, after=HEAD),
         expected={"bytes": 0}),
    Case(name="drip between headers", script=drips(b"X: y\r\n" * 100, after=HEAD),
         expected={"bytes": 0}),
    Case(name="drip in the body",
         script=drips(b"a" * 200, after=HEAD + b"Content-Length: 200\r\n\r\n"),
         expected={"status": 200, "bytes": lambda size: 0 < size < 200}),
    Case(name="drip in a body without length", script=drips(b"a" * 200, after=HEAD + b"\r\n"),
         expected={"status": 200, "bytes": lambda size: 0 < size < 200}),
    Case(name="drip in a chunk size", script=drips(b"5;" + b"a" * 200, after=CHUNKED),
         expected={"status": 200, "bytes": 0}),
)  # fmt: skip
"""Replies that would take for ever: each is to time out at its time-out."""
