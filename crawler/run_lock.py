"""One run a log at a time: a lock on ``LOG.lock``, held by a whole run, its workers included.

It is the kernel's, so it is free as soon as the last of its holders is gone, however they went.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from crawler.errors import LogLockedError
from crawler.log import cannot

_LOOKS: Final = 10
_LOOK_S: Final = 0.02
"""Who asks whether a lock is held has it for a moment: that is not to be in anyone's way."""


class RunLock:
    """Held by one run on one log; a context manager.

    The descriptor is inherited by forked workers and shares its lock with them, so the lock lasts
    until the last of them is gone, also when the parent was killed.
    """

    def __init__(self, log: Path, *, wait: bool = False) -> None:
        self._path = log.with_name(log.name + ".lock")
        self.descriptor = _take(self._path, log, wait=wait)
        holder = f"{os.getpid()} {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n"
        try:
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, holder.encode(), 0)
        except OSError as exc:
            self.release()
            raise cannot("lock", log, exc) from None

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
            _lock(fd, wait=wait)
        except BlockingIOError:
            pid, _, since = os.pread(fd, 100, 0).decode("utf-8", "replace").strip().partition(" ")
            os.close(fd)
            pid, since = pid or "unknown", since or "unknown"
            raise LogLockedError(
                f"{log}: another crawl (process {pid}, since {since}) is "
                "writing this file; wait for it with --wait, or give another one",
                pid=pid,
                since=since,
            ) from None
        except OSError as exc:
            os.close(fd)
            raise cannot("lock", log, exc) from None
        if _same_file(fd, lock):
            return fd
        os.close(fd)


def _lock(fd: int, *, wait: bool) -> None:
    """Lock; raises ``BlockingIOError`` where another holds it for longer than it takes to look."""
    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    for look in range(_LOOKS):
        try:
            fcntl.flock(fd, how)
        except BlockingIOError:
            if look == _LOOKS - 1:
                raise
            time.sleep(_LOOK_S)
        else:
            return


def is_held(lock: Path) -> bool:
    """Ask the kernel whether a lock is held, by whatever process; a look takes no time.

    Raises ``OSError`` where there is no such file.
    """
    fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _open_lock(lock: Path, log: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as exc:
        raise cannot("write", log, exc) from None


def _same_file(fd: int, path: Path) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
