"""One pull of a job at a time: a lock of the kernel's on the job's folder.

It is inherited by the workers that a pull forks, so it is free when the last of them is gone, also
where the pull was killed.
"""

from __future__ import annotations

from pathlib import Path

from crawler.errors import JobRunningError, LogLockedError
from crawler.run_lock import RunLock


def lock_job(name: str, folder: Path, *, wait: bool) -> RunLock:
    """Take the lock, a context manager; raises ``JobRunningError`` that says who holds it."""
    try:
        return RunLock(folder / "pull", wait=wait)
    except LogLockedError as exc:
        raise JobRunningError(
            f"{name}: it is being pulled by process {exc.pid}, since {exc.since}; --wait waits "
            "for it, --skip-if-running ends at once with 0"
        ) from None
