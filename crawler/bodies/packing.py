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

NOT_PACKED: Final = b"\xff"
"""What ``beginning`` gives for a file that is not packed as its name says: no start of any form."""

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
        packed: bytes = _zstandard().ZstdCompressor(write_checksum=True).compress(block)
        return packed
    return block


def unpack(block: bytes, packing: Packing) -> bytes:
    """Unpack one block."""
    if packing == "plain":
        return block
    content: bytes = _inflater(packing).decompress(block)
    return content


def beginning(path: Path, packing: Packing, size: int) -> bytes:
    """Give what the first bytes of a file hold, unpacked; ``NOT_PACKED`` where they are not.

    Raises ``LogError`` where the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(size)
    except OSError as exc:
        raise LogError(f"cannot read {path}: {exc.strerror or exc}") from None
    if packing == "plain":
        return data
    try:
        head: bytes = _inflater(packing).decompress(data)
    except _errors(packing):
        return NOT_PACKED
    return head


def unpacked(path: Path, packing: Packing) -> Iterator[tuple[int, int, bytes]]:
    """Yield offset, packed length and content of each whole block, in order.

    A block that is cut off ends it, and so do the zeros that a crash of the machine may leave.
    Plain files are cut into lines. Raises ``LogError`` for a file that cannot be read or is damaged
    elsewhere than at its end.
    """
    try:
        with path.open("rb") as file:
            if packing == "plain":
                yield from _lines(file)
            else:
                yield from _members(path, file, packing)
    except OSError as exc:
        raise LogError(f"cannot read {path}: {exc.strerror or exc}") from None


def _lines(file: IO[bytes]) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    for line in file:
        if line.endswith(b"\n"):
            yield offset, len(line), line
        offset += len(line)


def _members(path: Path, file: IO[bytes], packing: Packing) -> Iterator[tuple[int, int, bytes]]:
    offset, data = 0, file.read(_READ_BYTES)
    while data:
        inflater, pieces, length = _inflater(packing), list[bytes](), 0
        while True:
            try:
                pieces.append(inflater.decompress(data))
            except _errors(packing):
                if _only_zeros(data, file):
                    return
                raise LogError(
                    f"{path} is damaged in its block at byte {offset}: restore it, or have what "
                    "stands before copied to another file"
                ) from None
            length += len(data) - len(inflater.unused_data)
            if inflater.eof:
                break
            data = file.read(_READ_BYTES)
            if not data:
                return
        yield offset, length, b"".join(pieces)
        offset += length
        data = inflater.unused_data or file.read(_READ_BYTES)


def _only_zeros(data: bytes, file: IO[bytes]) -> bool:
    while data:
        if data.strip(b"\0"):
            return False
        data = file.read(_READ_BYTES)
    return True


def _inflater(packing: Packing) -> Any:  # noqa: ANN401 - zlib's and zstandard's are alike
    if packing == "gzip":
        return zlib.decompressobj(16 + zlib.MAX_WBITS)
    return _zstandard().ZstdDecompressor().decompressobj()


def _errors(packing: Packing) -> tuple[type[Exception], ...]:
    return (zlib.error,) if packing == "gzip" else (_zstandard().ZstdError,)


def _zstandard() -> Any:  # noqa: ANN401
    try:
        import zstandard
    except ImportError:
        raise UsageError(
            ".zst needs the extra: pip install 'crawl-bench[zstd]'; .gz needs none"
        ) from None
    return zstandard
