"""A log as pieces of whole lines, plain or gzip, so that memory stays flat whatever its length.

What others append meanwhile is left out of a plain file: the lines that were whole when reading
began are read (see ``log.read_lines``). A gzip file (RFC 1952, known by its first two bytes) or a
pipe is read to its end.
"""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from crawler.errors import LogError
from crawler.log import cannot, log_size

CHUNK_BYTES: Final = 1 << 24
"""16 MiB: some 35,000 records, whose columns take a few MB."""
_GZIP: Final = b"\x1f\x8b"
_TABLES: Final = (".csv", ".parquet")


def is_rereadable(path: Path) -> bool:
    """Whether ``path`` can be read again from its start: a file, no pipe."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True  # reading it will say what is wrong


def check_is_log(path: Path) -> None:
    """Raise ``LogError`` for a path that is no log by what it is called or is: table, directory."""
    if path.is_dir():
        raise LogError(f"cannot read {path}: is a directory; give a log, as {path}/record.log")
    if path.suffix.lower() in _TABLES:
        raise LogError(
            f"{path} is a table, not a record log; give the log that stands beside it, {path}.log"
        )


class LogFile:
    """One log, read on from ``offset``; ``torn`` bytes stand after its last whole line.

    ``lines`` counts the lines that its reader has gone through: whoever reads counts them anyway.
    """

    __slots__ = ("_identity", "lines", "offset", "path", "torn")

    def __init__(self, path: Path) -> None:
        check_is_log(path)
        self.path = path
        self.offset = 0
        self.lines = 0
        self.torn = 0
        self._identity: tuple[int, int] | None = None

    def replaced(self) -> bool:
        """Whether the file has become another one, or shorter than what was read of it."""
        try:
            about = self.path.stat()
        except OSError:
            return True
        known = self._identity
        return known is not None and ((about.st_dev, about.st_ino) != known or self._shrunk(about))

    def chunks(self) -> Iterator[bytes]:
        """Yield what is whole now and was not read before; raises ``LogError``."""
        try:
            with self.path.open("rb") as file:
                about = os.fstat(file.fileno())
                self._identity = (about.st_dev, about.st_ino)
                if not stat.S_ISREG(about.st_mode):
                    yield from self._pieces(file, None)
                elif file.read(len(_GZIP)) == _GZIP:
                    yield from self._unpacked(file)
                else:
                    file.seek(self.offset)
                    yield from self._pieces(file, log_size(self.path) - self.offset)
                    self._see_rest(about.st_size)
        except FileNotFoundError:
            raise LogError(f"{self.path}: no such file; check the path") from None
        except OSError as exc:
            raise cannot("read", self.path, exc) from None

    def _shrunk(self, about: os.stat_result) -> bool:
        return stat.S_ISREG(about.st_mode) and about.st_size < self.offset

    def _unpacked(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield what a gzip file holds; once, since it does not grow."""
        if self.offset:
            return
        file.seek(0)
        unpacked = _Unpacked(file)
        yield from self._pieces(unpacked, None)
        if unpacked.broken is None:
            return
        if not self.offset:
            raise LogError(f"{self.path}: no whole gzip file: {unpacked.broken}")
        self.torn = max(1, self.torn)

    def _pieces(self, file: BinaryIO | _Unpacked, left: int | None) -> Iterator[bytes]:
        """Cut what ``file`` gives, ``left`` bytes of it or all, behind newlines."""
        rest = b""
        while data := file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)):
            left = None if left is None else left - len(data)
            end = data.rfind(b"\n") + 1
            if not end:
                rest += data
                continue
            whole, rest = rest + data[:end], data[end:]
            yield whole
            self.offset += len(whole)
        self.torn = len(rest)

    def _see_rest(self, size: int) -> None:
        self.torn = max(0, size - self.offset)


class _Unpacked:
    """What a gzip file holds; of a broken one what stands before the break, then its end."""

    __slots__ = ("_file", "broken")

    def __init__(self, file: BinaryIO) -> None:
        self._file = gzip.GzipFile(fileobj=file)
        self.broken: Exception | None = None

    def read(self, size: int) -> bytes:
        """Give ``size`` bytes, fewer only at the end."""
        parts: list[bytes] = []
        try:
            while size and (part := self._file.read1(size)):
                parts.append(part)
                size -= len(part)
        except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
            self.broken = exc
        return b"".join(parts)
