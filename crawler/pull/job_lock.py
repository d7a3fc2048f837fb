"""One pull of a job at a time: a lock of the kernel's on the job's folder.

It is inherited by the workers that a pull forks, so it is free when the last of them is gone, also
where the pull was killed.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from crawler.errors import JobRunningError, LogLockedError
from crawler.run_lock import RunLock, is_held

_LOCKED: Final = "pull"


def lock_job(name: str, folder: Path, *, wait: bool) -> RunLock:
    """Take the lock, a context manager; raises ``JobRunningError`` that says who holds it."""
    try:
        return RunLock(folder / _LOCKED, wait=wait)
    except LogLockedError as exc:
        raise JobRunningError(
            f"{name}: it is being pulled by process {exc.pid}, since {exc.since}; --wait waits "
            "for it, --skip-if-running ends at once with 0"
        ) from None


def running_since(folder: Path) -> float | None:
    """Give since when a job is being pulled, Unix seconds, None where it is not.

    The kernel is asked: the process that the file names may be of another container, or be gone
    and another have its number.
    """
    lock = folder / f"{_LOCKED}.lock"
    try:
        _, since = lock.read_text().split()
        return datetime.fromisoformat(since).timestamp() if is_held(lock) else None
    except (OSError, ValueError):
        return None
