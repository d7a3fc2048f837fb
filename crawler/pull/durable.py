"""Files that are on the disk, whole, before anything tells of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from crawler.log import cannot

_PARTS: Final = "tmp"


class Workshop:
    """A job's ``folder`` with a corner for files under way: no other place ever holds half a file.

    Raises ``LogError`` where something cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts = folder / _PARTS

    def tidy(self) -> None:
        """Make the folder, and clear away what a killed pull left under way."""
        self.make(self.folder)
        with _told("clear", self._parts):
            shutil.rmtree(self._parts, ignore_errors=True)
            self._parts.mkdir(exist_ok=True)

    def make(self, folder: Path) -> None:
        """Make a folder and those above it, durably; one that is there is fine."""
        with _told("make", folder):
            _make(folder)

    def move(self, old: Path, new: Path) -> None:
        """Give a folder in this one another name; what has that name goes."""
        with _told("move", old):
            shutil.rmtree(new, ignore_errors=True)
            old.rename(new)
            sync(self.folder)

    @contextmanager
    def writing(self, path: Path) -> Iterator[Path]:
        """Give a place to write at; what is there at the end is moved to ``path``, durably."""
        part = self._parts / path.name
        with _told("write", path):
            _make(path.parent)
            yield part
            sync(part)
            os.replace(part, path)
            sync(path.parent)

    def write(self, path: Path, data: bytes) -> None:
        """Write a file in one go."""
        with self.writing(path) as part:
            part.write_bytes(data)

    def append(self, path: Path, data: bytes, *, start: int) -> int:
        """Have ``data`` stand in a file at byte ``start``, its end then; give the new size.

        What a killed pull appended beyond ``start`` is overwritten: nobody was told of it.
        """
        with _told("append to", path):
            _make(path.parent)
            with path.open("r+b" if path.exists() else "w+b") as file:
                start = min(start, file.seek(0, os.SEEK_END))  # somebody may have shortened it
                file.truncate(start)
                file.seek(start)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            sync(path.parent)
        return start + len(data)


def end_of_others(path: Path, ours: bytes, start: int) -> int:
    """Give where a file's last whole line ends that does not begin with ``ours``.

    Lines are looked at from ``start`` on, where one begins; without one it is the answer.
    """
    end = at = start
    with _told("read", path):
        if not path.exists():
            return start
        with path.open("rb") as file:
            file.seek(start)
            for line in file:
                at += len(line)
                if line.endswith(b"\n") and not line.startswith(ours):
                    end = at
    return end


def _make(folder: Path) -> None:
    """Make a folder that a power cut does not take away again."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def sync(path: Path) -> None:
    """Force a file, or a folder's list of files, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _told(what: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise cannot(what, path, exc) from None
