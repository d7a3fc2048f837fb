"""The record log: whole lines, appended under a lock that the kernel releases, never lost.

Every process opens the log for itself and appends many lines with one write under an advisory
``flock``: a killed holder frees it at once. A write that comes back short is taken back, so that a
full disk costs no earlier line. Opening repairs a torn last line. A second lock, on ``LOG.lock``,
is held by a whole run, its workers included: one run a log at a time.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crawler.codec import BadLineError, decode
from crawler.errors import LogError, LogLockedError
from crawler.record import Record
from crawler.settings import Fsync

_FSYNC_INTERVAL_S: Final = 1.0
_TAIL_BYTES: Final = 1 << 16
_READ_BYTES: Final = 1 << 20


class LogWriter:
    """Appends lines to the log from this process. Not for use by several threads at once."""

    def __init__(self, path: Path, fsync: Fsync) -> None:
        self._path = path
        self._fsync = fsync
        self._synced_s = time.monotonic()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise _cannot("open", path, exc) from None

    def append(self, lines: Sequence[bytes]) -> None:
        """Append whole lines, all or none; raises ``LogError`` (disk full, file too large …)."""
        data = b"".join(lines)
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            self._write(data)
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        if self._fsync != "none":
            self._sync()

    def _write(self, data: bytes) -> None:
        """Write all of ``data`` or take back what was written; the lock is held."""
        _cut_torn_line(self._fd)
        written = 0
        failure = OSError(errno.ENOSPC, "the write came back short")
        try:
            written = os.write(self._fd, data)
        except OSError as exc:
            failure = exc
        if written == len(data):
            return
        os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
        raise _cannot("append to", self._path, failure) from None

    def _sync(self) -> None:
        now = time.monotonic()
        if self._fsync == "record" or now - self._synced_s >= _FSYNC_INTERVAL_S:
            os.fsync(self._fd)
            self._synced_s = now

    def close(self) -> None:
        """Close this process's descriptor, synced first where the run asked for fsync."""
        if self._fsync != "none":
            os.fsync(self._fd)
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class SharedLog:
    """What the pool's initializer injects: where the log is and how it is kept.

    A lock cannot be pickled into a task, and one inherited in memory stays locked for ever when its
    holder is killed; so each worker opens the file itself and takes the kernel's lock on it.
    """

    path: Path
    fsync: Fsync = "none"

    def open(self) -> LogWriter:
        """Open the log for appending in this process; raises ``LogError``."""
        return LogWriter(self.path, self.fsync)


class RunLock:
    """Held by one run on one log; a context manager.

    The descriptor is inherited by forked workers and shares its lock with them, so the lock lasts
    until the last of them is gone, also when the parent was killed. ``descriptor`` is handed to
    workers that are not forked.
    """

    def __init__(self, log: Path, *, wait: bool = False) -> None:
        self._path = log.with_name(log.name + ".lock")
        self.descriptor = _take(self._path, log, wait=wait)
        holder = f"{os.getpid()} {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n"
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, holder.encode(), 0)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()

    def release(self) -> None:
        """Let go: the lock file is removed while it is still held."""
        if self.descriptor < 0:
            return
        self._path.unlink(missing_ok=True)
        os.close(self.descriptor)
        self.descriptor = -1


def _take(lock: Path, log: Path, *, wait: bool) -> int:
    """Lock the file that stands at ``lock`` now: a holder removes it as it leaves."""
    while True:
        fd = _open_lock(lock, log)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, _, since = os.pread(fd, 100, 0).decode("utf-8", "replace").strip().partition(" ")
            os.close(fd)
            raise LogLockedError(
                f"{log}: another crawl (process {pid or 'unknown'}, since {since or 'unknown'}) is "
                "writing this log; wait for it with --wait, or give another --out"
            ) from None
        if _same_file(fd, lock):
            return fd
        os.close(fd)


def _open_lock(lock: Path, log: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as exc:
        raise _cannot("lock", log, exc) from None


def _same_file(fd: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)


def repair(path: Path) -> str | None:
    """Cut off a torn last line (no newline, or NULs from a crash); say in words what was cut.

    Call it with the run lock held. Raises ``LogError`` when the file cannot be changed.
    """
    try:
        with path.open("r+b") as file:
            torn = _cut_torn_line(file.fileno())
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise _cannot("repair", path, exc) from None
    if not torn:
        return None
    return f"{path}: cut off a torn last line of {torn} bytes left by a run that was killed"


def _cut_torn_line(fd: int) -> int:
    """Cut what a killed writer left of a line; give the number of bytes that were cut."""
    size = os.fstat(fd).st_size
    if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
        return 0
    whole = _whole_lines_end(fd, size)
    os.ftruncate(fd, whole)
    return size - whole


def _whole_lines_end(fd: int, size: int) -> int:
    """Find the offset just after the last newline."""
    end = size
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        cut = os.pread(fd, end - start, start).rfind(b"\n")
        if cut >= 0:
            return start + cut + 1
        end = start
    return 0


def read_log(path: str | os.PathLike[str], *, run: str | None = None) -> Iterator[Record]:
    """Yield the records of a log in the order they were written, of one ``run`` or of all.

    A torn last line is left out; any other line that is no record raises ``LogError`` naming it.
    """
    log = Path(path)
    for number, line in enumerate(read_lines(log), start=1):
        try:
            record = decode(line)
        except BadLineError as exc:
            raise LogError(f"{log}, line {number}: {exc}; is this a record log?") from None
        if run is None or record.run == run:
            yield record


def read_lines(path: Path, *, offset: int = 0) -> Iterator[bytes]:
    """Yield whole lines from ``offset`` on; raises ``LogError`` when the file cannot be read."""
    try:
        with path.open("rb", buffering=_READ_BYTES) as file:
            file.seek(offset)
            for line in file:
                if line.endswith(b"\n"):
                    yield line
    except OSError as exc:
        raise _cannot("read", path, exc) from None


def recorded(path: Path, run: str, seqs: Collection[int], *, offset: int) -> dict[int, bytes]:
    """Find the lines of ``run`` for ``seqs`` that stand in the log at or after ``offset``."""
    found: dict[int, bytes] = {}
    for line in read_lines(path, offset=offset):
        record = decode(line)
        if record.run == run and record.seq in seqs:
            found[record.seq] = line
    return found


def log_size(path: Path) -> int:
    """Give the log's size in bytes, 0 when there is none yet."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _cannot(what: str, path: Path, exc: OSError) -> LogError:
    reason = (exc.strerror or str(exc)).lower()
    remedy = _REMEDIES.get(exc.errno or 0, "check the path and its permissions")
    return LogError(f"cannot {what} {path}: {reason}; {remedy}")


_REMEDIES: Final = {
    errno.ENOSPC: "free some space and go on with --resume; no earlier record is lost",
    errno.EDQUOT: "free some of your quota and go on with --resume; no earlier record is lost",
    errno.EFBIG: "raise the file size limit and go on with --resume; no earlier record is lost",
    errno.EISDIR: "give a file, not a directory",
    errno.ENOENT: "make its directory first",
}


@dataclass(frozen=True, slots=True)
class LogIndex:
    """Where each target's newest line of one run stands in a log, and which columns it carries."""

    path: Path
    offsets: array[int]
    columns: tuple[str, ...]

    def lines(self) -> Iterator[bytes]:
        """Yield each target's newest line, in input order."""
        with self.path.open("rb") as file:
            for offset in self.offsets:
                if offset != _ABSENT:
                    file.seek(offset)
                    yield file.readline()

    def records(self) -> Iterator[Record]:
        """Yield each target's newest record, in input order."""
        return map(decode, self.lines())


_ABSENT: Final = -1


def index_log(path: Path, run: str) -> LogIndex:
    """Find each target's newest line of ``run``: 8 bytes of memory a target."""
    offsets: array[int] = array("q")
    columns: dict[str, None] = {}
    offset = 0
    for line in read_lines(path):
        record = decode(line)
        if record.run == run:
            if record.seq >= len(offsets):
                offsets.extend([_ABSENT] * (record.seq + 1 - len(offsets)))
            offsets[record.seq] = offset
            columns.update(dict.fromkeys(record.fields))
        offset += len(line)
    return LogIndex(path, offsets, tuple(columns))
