"""An HTTP/1 reply read by the letter, where ``http.client`` forgives (RFC 9112).

A negative or doubtful Content-Length, a bad chunk size, a line without a colon, a NUL, a body that
stops early: each is a ``BadReply``, as it is an error to libcurl. Every read is bounded by the
exchange's deadline, so that a drip cannot outlast it.
"""

from __future__ import annotations

import contextlib
import io
import re
import socket
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import Final, Protocol

MAX_HEAD_BYTES: Final = 300 * 1024
MAX_LINE_BYTES: Final = 100 * 1024
MAX_HEADERS: Final = 5000
"""libcurl's limits: all header lines of a reply (interim ones too), one line, their number."""

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\r\n]*))?\r?\n")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\n]*)?\r?\n")
_LENGTH: Final = re.compile(r"[0-9]+")
_MAX_LENGTH: Final = 2**63 - 1


class BadReply(HTTPException):
    """The server's bytes are not a whole HTTP/1 reply; ``str`` tells why in one line."""


class EmptyReply(BadReply):
    """The server closed the connection before the first byte of a reply."""


class Clock(Protocol):
    """What a reply being read asks of its exchange."""

    status: int | None
    version: str | None

    def remaining_s(self) -> float:
        """Seconds to the deadline. Raises ``TimeoutError`` when it has passed."""
        ...

    def received(self) -> None:
        """Called whenever bytes have come in."""
        ...


class _DeadlineReader(io.RawIOBase):
    """The bytes of a socket, each read bounded by the exchange's deadline."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        # The unbuffered file keeps the socket open when the connection lets go of it.
        self._file = sock.makefile("rb", buffering=0)
        self._sock = sock
        self._clock = clock
        self.is_at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        if self.is_at_end:
            return None
        self._sock.settimeout(self._clock.remaining_s())
        count = self._file.readinto(buffer)
        if count:
            self._clock.received()
        return count

    def spoil(self) -> None:
        """Make the connection unfit for another request."""
        with contextlib.suppress(OSError):  # the other end may have been faster
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Source:
    """What ``HTTPResponse`` takes for a socket: something to make a file of."""

    def __init__(self, reader: _DeadlineReader) -> None:
        self._reader = reader

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._reader)


class StrictResponse(HTTPResponse):
    """A reply whose head and framing must be right. Raises ``BadReply`` where they are not.

    Made by ``http.client`` as its ``response_class``; to be read with ``read1`` alone.
    """

    def __init__(
        self,
        sock: socket.socket,
        debuglevel: int = 0,
        method: str | None = None,
        url: str | None = None,
        *,
        clock: Clock,
        keepalive: bool,
    ) -> None:
        self._reader = _DeadlineReader(sock, clock)
        super().__init__(_Source(self._reader), debuglevel, method, url)  # type: ignore[arg-type]
        self._clock = clock
        self._keepalive = keepalive
        self._head_bytes = 0
        self._chunk_bytes_left = 0
        self._in_chunks = False

    def begin(self) -> None:
        """Read the head of the final reply; interim ones (1xx) are skipped."""
        if self.headers is not None:
            return
        status = self._begin_message()
        headers = self._read_fields()
        while status < 200 and status != 101:
            status = self._begin_message()
            headers = self._read_fields()
        if len(set(headers.get_all("location", []))) > 1:
            raise BadReply("the reply has two Location headers that differ")
        self.headers = self.msg = headers
        self.chunked = _is_chunked(headers)
        self.chunk_left = None
        self.length = None if self.chunked else _content_length(headers)
        if status in (204, 304) or self._method == "HEAD":
            self.length, self.chunked = 0, False
        is_delimited = self.chunked or self.length is not None
        self.will_close = not (self._keepalive and is_delimited) or bool(self._check_close())

    def _begin_message(self) -> int:
        start = self.fp.peek(5)[:5]
        if not start:
            raise EmptyReply("the server closed the connection without a reply")
        if not b"HTTP/".startswith(start):
            raise BadReply(f"the reply does not begin as HTTP/1 does: {_shown(start)}")
        line = self._line("the status line")
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            raise BadReply(f"the status line is not HTTP/1's: {_shown(line)}")
        self.version = 10 + int(match[1])
        self.code = self.status = int(match[2])
        self.reason = (match[3] or b"").decode("latin-1").strip()
        self._clock.version = f"1.{self.version - 10}"
        if self.status >= 200:
            self._clock.status = self.status
        return self.status

    def _line(self, where: str) -> bytes:
        """Read one line with its LF; the limits hold for the head and trailers together."""
        line: bytes = self.fp.readline(MAX_LINE_BYTES + 1)
        self._head_bytes += len(line)
        if len(line) > MAX_LINE_BYTES or self._head_bytes > MAX_HEAD_BYTES:
            raise BadReply(f"the headers are larger than {MAX_HEAD_BYTES // 1024} KiB")
        if not line.endswith(b"\n"):
            raise BadReply(f"the reply ends in {where}")
        return line

    def _read_fields(self) -> HTTPMessage:
        """Read header (or trailer) lines up to the empty one (RFC 9112, section 5)."""
        fields: list[tuple[str, str]] = []
        while (line := self._line("its headers")) not in (b"\r\n", b"\n"):
            content = line.removesuffix(b"\n").removesuffix(b"\r")
            _check_bytes(content)
            text = content.decode("latin-1")
            name, colon, value = text.partition(":")
            if text[0] in " \t" and fields:
                fields[-1] = (fields[-1][0], f"{fields[-1][1]} {text.strip()}")
            elif not colon or text[0] in " \t":
                raise BadReply(f"a header line has no colon: {_shown(content)}")
            elif len(fields) == MAX_HEADERS:
                raise BadReply(f"more than {MAX_HEADERS} header lines")
            else:
                fields.append((name, value.strip(" \t")))
        message = HTTPMessage()
        for name, value in fields:
            message[name] = value
        return message

    def read1(self, n: int = -1) -> bytes:
        """Read up to ``n`` bytes of the body with one read of the socket; b"" at its end."""
        if self.fp is None:
            return b""
        if self.chunked:
            return self._read1_chunk(n)
        if self.length is None:
            data: bytes = self.fp.read1(n)
            if not data:
                self._release()
            return data
        if not self.length:
            self._end()
            return b""
        data = self.fp.read1(self.length if n < 0 else min(n, self.length))
        if not data:
            raise BadReply(f"the body ends {self.length} bytes short of its Content-Length")
        self.length -= len(data)
        if not self.length:
            self._end()
        return data

    def _read1_chunk(self, n: int) -> bytes:
        if not self._chunk_bytes_left:
            self._next_chunk()
            if not self._chunk_bytes_left:
                self._read_fields()
                self._end()
                return b""
        data: bytes = self.fp.read1(
            self._chunk_bytes_left if n < 0 else min(n, self._chunk_bytes_left)
        )
        if not data:
            raise BadReply("the body ends in the middle of a chunk")
        self._chunk_bytes_left -= len(data)
        return data

    def _next_chunk(self) -> None:
        """Read a chunk's size, and before it the end of the last chunk (RFC 9112, section 7.1)."""
        if self._in_chunks and self.fp.readline(2) not in (b"\r\n", b"\n"):
            raise BadReply("a chunk is not followed by the end of its line")
        self._in_chunks = True
        line = self.fp.readline(MAX_LINE_BYTES)
        if not line:
            raise BadReply("the body ends before its last chunk")
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise BadReply(f"a chunk size is not hexadecimal: {_shown(line)}")
        self._chunk_bytes_left = int(match[1], 16)

    def _end(self) -> None:
        """Let go of a reply read to its end; bytes beyond it make the connection unusable."""
        self._reader.is_at_end = True
        if self.fp.peek(1):
            self._reader.spoil()
        self._release()

    def _release(self) -> None:
        """Close the file, which is how urllib3 learns that the connection is free."""
        file, self.fp = self.fp, None  # type: ignore[assignment]
        file.close()


def _check_bytes(line: bytes) -> None:
    if b"\0" in line:
        raise BadReply("a header line holds a NUL")
    if b"\r" in line:
        raise BadReply("a header line holds a bare carriage return")


def _is_chunked(headers: HTTPMessage) -> bool:
    codings = [
        coding
        for value in headers.get_all("transfer-encoding", [])
        for part in value.split(",")
        if (coding := part.strip().lower()) not in ("", "identity")
    ]
    strange = [coding for coding in codings if coding != "chunked"]
    if strange:
        raise BadReply(f"a Transfer-Encoding that was not asked for: {_shown(strange[0].encode())}")
    return bool(codings)


def _content_length(headers: HTTPMessage) -> int | None:
    """The one length that all Content-Length fields give (RFC 9110, section 8.6)."""
    fields = headers.get_all("content-length")
    if fields is None:
        return None
    texts = [part.strip(" \t") for value in fields for part in value.split(",")]
    if not all(_LENGTH.fullmatch(text) and len(text) < 4000 for text in texts):
        raise BadReply(f"the Content-Length is not a number: {_shown(', '.join(texts).encode())}")
    lengths = {int(text) for text in texts}
    if len(lengths) > 1:
        raise BadReply(f"the Content-Length has two values: {_shown(', '.join(texts).encode())}")
    length = lengths.pop()
    return length if length <= _MAX_LENGTH else None


def _shown(data: bytes) -> str:
    text = data[:40].decode("latin-1").encode("unicode_escape").decode("ascii")
    return f"'{text}{'…' if len(data) > 40 else ''}'"
