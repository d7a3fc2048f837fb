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

from crawler.log import cannot, write_or_take_back

PENDING_BYTES: Final = 4_000_000
"""What waits to be appended is written once it is so large together."""
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
                start = self._cut_to_end()
                write_or_take_back(self._fd, start, block)
                os.pwrite(self._end_fd, _END.pack(start + len(block)), 0)
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as exc:
            raise cannot("append to", self._path, exc) from None

    def settle(self) -> None:
        """Cut off what a killed writer left. Nobody may be writing."""
        try:
            self._cut_to_end()
        except OSError as exc:
            raise cannot("repair", self._path, exc) from None

    def _cut_to_end(self) -> int:
        """Cut off what lies beyond the noted end; give the size that is left."""
        size, note = os.fstat(self._fd).st_size, os.pread(self._end_fd, _END.size, 0)
        if len(note) < _END.size:  # the file was there before: all of it counts
            os.pwrite(self._end_fd, _END.pack(size), 0)
            return size
        (end,) = _END.unpack(note)
        if size > end:
            os.ftruncate(self._fd, end)
            return int(end)
        return size

    def close(self) -> None:
        """Close this process's descriptors."""
        os.close(self._fd)
        os.close(self._end_fd)


def settle_end(path: Path) -> None:
    """Cut off what a killed writer left, and forget the note. Nobody may be writing."""
    with contextlib.suppress(FileNotFoundError):
        if path.exists():
            with contextlib.closing(Appender(path)) as appender:
                appender.settle()
        end_path(path).unlink()
