"""A body's Content-Encoding, undone piece by piece (RFC 9110, section 8.4; RFC 1950-1952).

Both engines take bodies raw off the wire and decode them here, so that they count and fail alike.
No more than ``PIECE_BYTES`` is decoded at a time, and the limit holds for what comes out: a bomb
costs no memory. A coding that is not known leaves the body as it is.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final, Protocol

PIECE_BYTES: Final = 64 * 1024
MAX_CODINGS: Final = 5
"""As many as libcurl takes; no honest server sends more than one."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_GZIP_FIRST_BYTE: Final = 0x1F


class TooLarge(Exception):
    """The decoded body is larger than the limit; ``str`` says so in one line."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is larger than {limit_bytes} bytes (--max-body)")


class DecodeFailed(Exception):
    """The body is not what its Content-Encoding says; ``str`` tells why in one line."""


class Decoder:
    """Decodes one body and counts it.

    ``content_encoding`` is the header's value: codings in the order in which they were applied,
    by commas (``gzip``, ``x-gzip``, ``deflate`` with or without zlib's frame, ``identity``). From
    the first unknown coding inwards the body is passed through undecoded. ``limit_bytes`` bounds
    ``size``, the bytes decoded so far. ``sink``, where given, is called with each decoded piece.
    """

    __slots__ = ("_codings", "_limit_bytes", "_sink", "_stages", "size")

    def __init__(
        self,
        content_encoding: str,
        limit_bytes: int,
        sink: Callable[[bytes], object] | None = None,
    ) -> None:
        self._codings = [c for part in content_encoding.split(",") if (c := part.strip().lower())]
        self._limit_bytes = limit_bytes
        self._sink = sink
        self._stages = _stages(self._codings)
        self.size = 0

    def feed(self, chunk: bytes) -> None:
        """Decode the next bytes of the body. Raises ``TooLarge``, ``DecodeFailed``.

        ``size`` never passes the limit: the piece that would do so is not counted.
        """
        self._check_codings()
        if not self._stages:
            self._take(chunk)
            return
        for piece in _through(self._stages, chunk):
            self._take(piece)

    def finish(self) -> None:
        """End the body. Raises ``DecodeFailed`` when the encoded data stop in the middle.

        An empty body is fine under any coding: replies to HEAD and 304 name codings, too.
        """
        self._check_codings()
        for stage in self._stages:
            if not stage.is_complete:
                raise DecodeFailed(f"the {stage.coding} body ends in the middle")

    def _take(self, piece: bytes) -> None:
        if self.size + len(piece) > self._limit_bytes:
            raise TooLarge(self._limit_bytes)
        self.size += len(piece)
        if self._sink is not None and piece:
            self._sink(piece)

    def _check_codings(self) -> None:
        if len(self._codings) > MAX_CODINGS:
            raise DecodeFailed(
                f"the Content-Encoding has {len(self._codings)} codings: at most {MAX_CODINGS}"
            )


class _Stage(Protocol):
    coding: str

    @property
    def is_complete(self) -> bool: ...
    def pieces(self, data: bytes) -> Iterator[bytes]: ...


def _stages(codings: list[str]) -> list[_Stage]:
    """The decoders to run, the coding that was applied last first."""
    stages: list[_Stage] = []
    for coding in reversed(codings):
        if coding in ("gzip", "x-gzip"):
            stages.append(_Gzip())
        elif coding == "deflate":
            stages.append(_Deflate())
        elif coding != "identity":
            break
    return stages


def _through(stages: list[_Stage], data: bytes) -> Iterator[bytes]:
    first, *others = stages
    for piece in first.pieces(data):
        if others:
            yield from _through(others, piece)
        else:
            yield piece


def _inflated(inflater: zlib._Decompress, data: bytes, coding: str) -> Iterator[bytes]:
    """What ``data`` inflates to, in bounded pieces."""
    while True:
        try:
            piece = inflater.decompress(data, PIECE_BYTES)
        except zlib.error as exc:
            raise DecodeFailed(f"the {coding} body is corrupt ({exc})") from None
        if piece:
            yield piece
        data = inflater.unconsumed_tail
        # A full piece may leave more inside the inflater even when all input is consumed.
        if inflater.eof or (not data and len(piece) < PIECE_BYTES):
            return


class _Gzip:
    """Members one after another (RFC 1952, section 2.2); what follows them is ignored, as the
    gzip command, browsers and urllib3 do."""

    __slots__ = ("_ended", "_inflater", "coding")

    def __init__(self) -> None:
        self.coding = "gzip"
        self._inflater: zlib._Decompress | None = None
        self._ended = False

    @property
    def is_complete(self) -> bool:
        return self._inflater is None or self._inflater.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data and not self._ended:
            if self._inflater is None:
                self._inflater = zlib.decompressobj(_GZIP)
            elif self._inflater.eof:
                if data[0] != _GZIP_FIRST_BYTE:
                    self._ended = True
                    return
                self._inflater = zlib.decompressobj(_GZIP)
            inflater = self._inflater
            yield from _inflated(inflater, data, self.coding)
            data = inflater.unused_data


class _Deflate:
    """zlib's format as RFC 9110 asks for, or the bare deflate data that some servers send."""

    __slots__ = ("_begin", "_inflater", "coding")

    def __init__(self) -> None:
        self.coding = "deflate"
        self._begin = b""
        self._inflater: zlib._Decompress | None = None

    @property
    def is_complete(self) -> bool:
        return self._inflater.eof if self._inflater is not None else not self._begin

    def pieces(self, data: bytes) -> Iterator[bytes]:
        if self._inflater is None:
            self._begin += data
            if len(self._begin) < 2:
                return
            data = self._begin
            self._inflater = zlib.decompressobj(_window(data))
        if not self._inflater.eof:
            yield from _inflated(self._inflater, data, self.coding)


def _window(begin: bytes) -> int:
    """The window bits of zlib's format where ``begin`` is its header (RFC 1950, section 2.2)."""
    has_header = begin[0] & 0x0F == zlib.DEFLATED and (begin[0] << 8 | begin[1]) % 31 == 0
    return zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
