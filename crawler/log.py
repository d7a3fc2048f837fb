"""The record log: whole lines, appended under a lock that the kernel releases, never lost.

Every process opens the log for itself and appends many lines with one write under an advisory
``flock``: a killed holder frees it at once. A write that cannot be finished is taken back, so that
a full disk costs no earlier line. Opening repairs a torn last line, and changes no file that is no
log. Readers need no lock: whole lines, once written, stay. A second lock, on ``LOG.lock``, is held
by a whole run, its workers included: one run a log at a time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
import time
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from crawler.codec import LINE_START, BadLineError, carried, decode, parse
from crawler.errors import LogError
from crawler.record import RECORD_FIELDS, Record, page_number
from crawler.settings import Fsync

_FSYNC_INTERVAL_S: Final = 1.0
_TAIL_BYTES: Final = 1 << 16
_READ_BYTES: Final = 1 << 20
_HEAD_BYTES: Final = 64

_Parsed = TypeVar("_Parsed")


class LogWriter:
    """Appends lines to the log from this process. Not for use by several threads at once."""

    def __init__(self, path: Path, fsync: Fsync) -> None:
        self._path = path
        self._fsync = fsync
        self._synced_s = time.monotonic()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise cannot("open", path, exc) from None

    def append(self, lines: Sequence[bytes]) -> None:
        """Append whole lines, all or none; raises ``LogError`` (disk full, file too large …)."""
        data = b"".join(lines)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                write_or_take_back(self._fd, _cut_torn_line(self._fd), data)
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
            if self._fsync != "none":
                self._sync()
        except OSError as exc:
            raise cannot("append to", self._path, exc) from None

    def _sync(self) -> None:
        now = time.monotonic()
        if self._fsync == "record" or now - self._synced_s >= _FSYNC_INTERVAL_S:
            os.fsync(self._fd)
            self._synced_s = now

    def close(self) -> None:
        """Close this process's descriptor, synced first where the run asked for fsync."""
        try:
            if self._fsync != "none":
                os.fsync(self._fd)
        except OSError as exc:
            raise cannot("sync", self._path, exc) from None
        finally:
            os.close(self._fd)


def write_or_take_back(fd: int, start: int, data: bytes) -> None:
    """Append all of ``data`` to a file of ``start`` bytes, or leave it at them. Hold its lock."""
    rest = memoryview(data)
    try:
        while rest:  # once, unless the disk is full: then the second time tells why
            rest = rest[os.write(fd, rest) :]
    except BaseException:
        os.ftruncate(fd, start)
        raise


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

    def settle(self) -> None:
        """Force what all workers wrote to the disk, where the run asked for fsync."""
        self.open().close()


def repair(path: Path) -> str | None:
    """Cut off a torn last line (no newline, or NULs from a crash); say in words what was cut.

    Call it with the run lock held. Raises ``LogError`` when the file cannot be changed, and, before
    anything is changed, when it is no record log: a list, say, given as ``--out`` by mistake.
    """
    try:
        with path.open("r+b") as file:
            fd = file.fileno()
            size = os.fstat(fd).st_size
            _check_is_log(path, file.readline(), os.pread(fd, _HEAD_BYTES, _whole_size(fd, size)))
            torn = size - _cut_torn_line(fd)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise cannot("repair", path, exc) from None
    if not torn:
        return None
    return f"{path}: cut off a torn last line of {torn} bytes left by a run that was killed"


def _check_is_log(path: Path, first: bytes, torn: bytes) -> None:
    """Refuse a file whose first line, or start of a torn last line, is nothing of ours."""
    if first.endswith(b"\n"):
        _, row = next(_parsed_lines(parse, path, [first]))
        if "sha256" in row and "method" not in row:
            raise LogError(f"{path} holds bodies (--bodies), no records; give another --out")
    text = torn.rstrip(b"\0")
    if not (text.startswith((LINE_START, b"\0")) or LINE_START.startswith(text)):
        raise LogError(
            f"{path}: its last line was cut off and is no record; nothing was changed: "
            "is this a record log? Give another --out"
        )


def _cut_torn_line(fd: int) -> int:
    """Cut what a killed writer left of a line; give the size of what is left."""
    size = os.fstat(fd).st_size
    whole = _whole_size(fd, size)
    if whole < size:
        os.ftruncate(fd, whole)
    return whole


def _whole_size(fd: int, size: int) -> int:
    """Find the offset just after the last newline before ``size``, 0 when there is none."""
    if size and os.pread(fd, 1, size - 1) == b"\n":
        return size
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

    The log may be a gzip file. A torn last line is left out; any other line that is no record
    raises ``LogError`` naming it.
    """
    log = Path(path)
    lines = _packed_lines(log) if _is_gzip(log) else read_lines(log)
    for _, record in _parsed_lines(decode, log, lines):
        if run is None or record.run == run:
            yield record


def _is_gzip(path: Path) -> bool:
    """Look at the first two bytes (RFC 1952); not at a pipe's, which would be gone."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(2) == b"\x1f\x8b"
    except OSError as exc:
        raise cannot("read", path, exc) from None


def _packed_lines(path: Path) -> Iterator[bytes]:
    import gzip
    import zlib

    try:
        with gzip.open(path, "rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
    except (EOFError, zlib.error, gzip.BadGzipFile) as exc:
        raise LogError(f"{path}: no whole gzip file: {exc}") from None
    except OSError as exc:
        raise cannot("read", path, exc) from None


def read_lines(path: Path, *, offset: int = 0) -> Iterator[bytes]:
    """Yield the lines that are whole now, from ``offset``, where one begins, on.

    What others append meanwhile is left out, or half a line could be taken for one. Raises
    ``LogError`` when the file cannot be read.
    """
    try:
        with path.open("rb", buffering=_READ_BYTES) as file:
            about = os.fstat(file.fileno())
            left = sys.maxsize  # of a pipe
            if stat.S_ISREG(about.st_mode):
                left = _whole_size(file.fileno(), about.st_size) - offset
            if offset:
                file.seek(offset)
            for line in file:
                left -= len(line)
                if left < 0 or not line.endswith(b"\n"):
                    return
                yield line
    except OSError as exc:
        raise cannot("read", path, exc) from None


def last_line(path: Path) -> bytes | None:
    """Give the last whole line of a log, None for an empty or absent one; raises ``LogError``."""
    try:
        with path.open("rb") as file:
            fd = file.fileno()
            end = _whole_size(fd, os.fstat(fd).st_size)
            if end == 0:
                return None
            file.seek(_whole_size(fd, end - 1))
            return file.readline()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise cannot("read", path, exc) from None


def parsed_rows(path: Path, *, offset: int = 0) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield each whole line of a log beside its parsed row; raises ``LogError`` naming a bad one.

    For who needs few fields of many lines: see ``codec.parse``.
    """
    return _parsed_lines(parse, path, read_lines(path, offset=offset), offset)


def recorded(
    path: Path, run: str, seqs: Collection[int], *, offset: int
) -> dict[tuple[int, int], bytes]:
    """Find the lines of ``run`` for ``seqs`` that stand in the log at or after ``offset``.

    Give each line by its target's number and its page.
    """
    found: dict[tuple[int, int], bytes] = {}
    for line, row in _parsed_lines(parse, path, read_lines(path, offset=offset), offset):
        if row["run"] == run and row["seq"] in seqs:
            found[row["seq"], page_number(row)] = line
    return found


def _parsed_lines(
    parser: Callable[[bytes], _Parsed], path: Path, lines: Iterable[bytes], offset: int = 0
) -> Iterator[tuple[bytes, _Parsed]]:
    after = f" after byte {offset}" if offset else ""
    for number, line in enumerate(lines, start=1):
        try:
            parsed = parser(line)
        except BadLineError as exc:
            raise _bad_line(f"{path}, line {number}{after}", exc) from None
        yield line, parsed


def _bad_line(where: str, exc: BadLineError) -> LogError:
    return LogError(f"{where}: {exc}; is this a record log?")


def log_size(path: Path) -> int:
    """Give the size in bytes of the log's whole lines, 0 when there is none yet.

    Others may be at work on a line: its bytes do not count, since they may be cut off again.
    """
    try:
        with path.open("rb", buffering=0) as file:
            return _whole_size(file.fileno(), os.fstat(file.fileno()).st_size)
    except FileNotFoundError:
        return 0
    except OSError as exc:
        raise cannot("read", path, exc) from None


def cannot(what: str, path: Path, exc: OSError) -> LogError:
    """Translate an error of the operating system's: what could not be done, why, and the remedy."""
    reason = (exc.strerror or str(exc)).lower()
    remedy = _REMEDIES.get(exc.errno or 0, "check the path and its permissions")
    return LogError(f"cannot {what} {path}: {reason}; {remedy}")


_GO_ON: Final = "then go on (crawl run: with --resume); no earlier record is lost"
_REMEDIES: Final = {
    errno.ENOSPC: f"free some space, {_GO_ON}",
    errno.EDQUOT: f"free some of your quota, {_GO_ON}",
    errno.EFBIG: f"raise the file size limit, {_GO_ON}",
    errno.EISDIR: "give a file, not a directory",
    errno.ENOENT: "make its directory first",
}


@dataclass(frozen=True, slots=True)
class LogIndex:
    """Where each target's newest line of one run stands in a log, and which columns it carries.

    ``pages`` tells it for each further page of a target.
    """

    path: Path
    offsets: array[int]
    columns: tuple[str, ...]
    pages: Mapping[int, Mapping[int, int]]

    def lines(self) -> Iterator[bytes]:
        """Yield each target's newest line, in input order, page by page; raises ``LogError``."""
        try:
            with self.path.open("rb") as file:
                for seq, first in enumerate(self.offsets):
                    pages = self.pages.get(seq, {})
                    for offset in (first, *(pages[page] for page in sorted(pages))):
                        if offset != _ABSENT:
                            file.seek(offset)
                            yield file.readline()
        except OSError as exc:
            raise cannot("read", self.path, exc) from None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Callable[[int], Record | None]]:
        """Give what looks a target's newest record up, None where it has none."""
        with self.path.open("rb") as file:

            def record_of(seq: int) -> Record | None:
                if seq >= len(self.offsets) or self.offsets[seq] == _ABSENT:
                    return None
                file.seek(self.offsets[seq])
                return decode(file.readline())

            yield record_of

    def records(self) -> Iterator[Record]:
        """Yield each target's newest record, in input order; raises ``LogError``."""
        for line in self.lines():
            try:
                record = decode(line)
            except BadLineError as exc:
                raise _bad_line(f"{self.path}, line {line[:60]!r} …", exc) from None
            yield record


_ABSENT: Final = -1


def index_log(path: Path, run: str, *, offset: int = 0) -> LogIndex:
    """Find each target's newest line of ``run``: 8 bytes of memory a target, 100 a further page.

    The log is read from ``offset``, where a line begins. Raises ``LogError`` when it cannot be.
    """
    offsets: array[int] = array("q")
    pages: dict[int, dict[int, int]] = {}
    columns: dict[str, None] = {}
    known = set(RECORD_FIELDS)
    for line, row in parsed_rows(path, offset=offset):
        if row["run"] == run:
            seq = row["seq"]
            if seq >= len(offsets):
                offsets.extend(array("q", (_ABSENT,)) * (seq + 1 - len(offsets)))
            page = page_number(row)
            if page == 1:
                offsets[seq] = offset
            else:
                pages.setdefault(seq, {})[page] = offset
            if not known.issuperset(row):
                columns.update(dict.fromkeys(carried(row)))
                known.update(row)
        offset += len(line)
    return LogIndex(path, offsets, tuple(columns), pages)
