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

from crawler.errors import UsageError
from crawler.log import cannot, write_or_take_back

PENDING_BYTES: Final = 4_000_000
"""What waits to be appended is written once it is so large together."""
_NOTE: Final = struct.Struct("<8sQQ")
_MAGIC: Final = b"crawlend"
"""A note begins so, and names the file that it is of: a copy of that is another one."""


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
                self._note(start + len(block))
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
        about, note = os.fstat(self._fd), os.pread(self._end_fd, _NOTE.size, 0)
        size, end = about.st_size, _end_of(note, about.st_ino)
        if end is None:  # the file was there before: all of it counts
            self._note(size)
            return size
        if size > end:
            os.ftruncate(self._fd, end)
            return end
        return size

    def _note(self, end: int) -> None:
        os.pwrite(self._end_fd, _NOTE.pack(_MAGIC, os.fstat(self._fd).st_ino, end), 0)

    def close(self) -> None:
        """Close this process's descriptors."""
        os.close(self._fd)
        os.close(self._end_fd)


def _end_of(note: bytes, inode: int) -> int | None:
    """Read a note; None where it is none, or of another file."""
    if len(note) != _NOTE.size:
        return None
    magic, noted, end = _NOTE.unpack(note)
    return int(end) if (magic, noted) == (_MAGIC, inode) else None


def forget_end(path: Path) -> bool:
    """Remove the note that a run left which was killed; tell whether there was one.

    Raises ``UsageError`` for a file that is no note: it is somebody's.
    """
    place = end_path(path)
    try:
        note = place.read_bytes()
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise cannot("read", place, exc) from None
    if note and not note.startswith(_MAGIC):
        raise UsageError(f"--bodies {path}: {place} is in the way; give another file")
    place.unlink()
    return True


def settle_end(path: Path) -> None:
    """Cut off what a killed writer left, and forget the note. Nobody may be writing."""
    with contextlib.suppress(FileNotFoundError):
        if path.exists():
            with contextlib.closing(Appender(path)) as appender:
                appender.settle()
        end_path(path).unlink()
