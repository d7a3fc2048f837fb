"""One file to which many processes append whole blocks, and nothing of a killed writer's block.

As with the record log, each process opens the file itself and appends under the kernel's lock on
it. A block may hold any bytes, so where the whole ones end is written down beside the file, in
``FILE.end``, after each block: what lies beyond it was left by a killed writer and is cut off.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path
from typing import Final

from crawler.log import cannot

_END: Final = struct.Struct("<Q")


def end_path(path: Path) -> Path:
    """Give the place of the note of where a file's whole blocks end."""
    return path.with_name(path.name + ".end")


class Appender:
    """Appends blocks from this process. Raises ``LogError`` where the file cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            self._fd = os.open(path, flags | os.O_APPEND, 0o644)
            self._end_fd = os.open(end_path(path), flags, 0o644)
        except OSError as exc:
            raise cannot("open", path, exc) from None

    def append(self, block: bytes) -> None:
        """Append a block, all of it or nothing."""
        if not block:
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                self._write(block)
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as exc:
            raise cannot("append to", self._path, exc) from None

    def _write(self, block: bytes) -> None:
        start = cut_to_end(self._fd, self._end_fd)
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except BaseException:
            os.ftruncate(self._fd, start)
            raise
        os.pwrite(self._end_fd, _END.pack(start + len(block)), 0)

    def close(self) -> None:
        """Close this process's descriptors."""
        os.close(self._fd)
        os.close(self._end_fd)


def cut_to_end(fd: int, end_fd: int) -> int:
    """Cut off what lies beyond the noted end; give the size that is left."""
    size, note = os.fstat(fd).st_size, os.pread(end_fd, _END.size, 0)
    if len(note) < _END.size:  # the file was there before: all of it counts
        os.pwrite(end_fd, _END.pack(size), 0)
        return size
    (end,) = _END.unpack(note)
    if size > end:
        os.ftruncate(fd, end)
        return int(end)
    return size


def settle_end(path: Path) -> None:
    """Cut off what a killed writer left, and forget the note. Nobody may be writing."""
    with contextlib.suppress(FileNotFoundError):
        appender = Appender(path) if path.exists() else None
        if appender is not None:
            try:
                cut_to_end(appender._fd, appender._end_fd)
            except OSError as exc:
                raise cannot("repair", path, exc) from None
            finally:
                appender.close()
        end_path(path).unlink()
