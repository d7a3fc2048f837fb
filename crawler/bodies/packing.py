"""Blocks of rows, packed or not, and how to find them again: gzip members and zstd frames.

A block is a member of its own, so that many processes can append to one file, any reader of the
format reads all of it, and one block can be read without those before it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, Literal

from crawler.errors import LogError, UsageError

Packing = Literal["plain", "gzip", "zstd"]

_GZIP_LEVEL: Final = 4
_READ_BYTES: Final = 1 << 18


def packing_of(path: str) -> Packing:
    """Give the packing that a file's name tells; raises ``UsageError`` where it cannot be made."""
    name = path.lower()
    if name.endswith(".zst"):
        _zstandard()
        return "zstd"
    return "gzip" if name.endswith(".gz") else "plain"


def pack(block: bytes, packing: Packing) -> bytes:
    """Pack one block."""
    if packing == "gzip":
        return gzip.compress(block, _GZIP_LEVEL, mtime=0)
    if packing == "zstd":
        packed: bytes = _zstandard().ZstdCompressor().compress(block)
        return packed
    return block


def unpack(block: bytes, packing: Packing) -> bytes:
    """Unpack one block."""
    if packing == "plain":
        return block
    content: bytes = _inflater(packing).decompress(block)
    return content


def unpacked(path: Path, packing: Packing) -> Iterator[tuple[int, int, bytes]]:
    """Yield offset, packed length and content of each whole block, in order.

    A block that is cut off ends it. Plain files are cut into lines. Raises ``LogError``.
    """
    try:
        with path.open("rb") as file:
            if packing == "plain":
                yield from _lines(file)
            else:
                yield from _members(file, packing)
    except OSError as exc:
        raise LogError(f"cannot read {path}: {exc.strerror or exc}") from None


def _lines(file: IO[bytes]) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    for line in file:
        if line.endswith(b"\n"):
            yield offset, len(line), line
        offset += len(line)


def _members(file: IO[bytes], packing: Packing) -> Iterator[tuple[int, int, bytes]]:
    offset, data = 0, file.read(_READ_BYTES)
    errors: tuple[type[Exception], ...] = (zlib.error, *_zstd_errors(packing))
    while data:
        inflater, pieces, length = _inflater(packing), list[bytes](), 0
        while True:
            try:
                pieces.append(inflater.decompress(data))
            except errors:
                return
            length += len(data) - len(inflater.unused_data)
            if inflater.eof:
                break
            data = file.read(_READ_BYTES)
            if not data:
                return
        yield offset, length, b"".join(pieces)
        offset += length
        data = inflater.unused_data or file.read(_READ_BYTES)


def _inflater(packing: Packing) -> Any:  # noqa: ANN401 - zlib's and zstandard's are alike
    if packing == "gzip":
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    return _zstandard().ZstdDecompressor().decompressobj()


def _zstd_errors(packing: Packing) -> tuple[type[Exception], ...]:
    return () if packing == "gzip" else (_zstandard().ZstdError,)


def _zstandard() -> Any:  # noqa: ANN401
    try:
        import zstandard
    except ImportError:
        raise UsageError(
            ".zst needs the extra: pip install 'crawl-bench[zstd]'; .gz needs none"
        ) from None
    return zstandard
