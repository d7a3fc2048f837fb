"""The limit of open files, raised to what connections need before workers inherit it."""

from __future__ import annotations

import resource
from typing import Final

from crawler.errors import UsageError

_OTHER_FILES: Final = 200


def allow_files(concurrency: int) -> None:
    """Raise the soft limit to what so many connections need; ``UsageError`` if it cannot be."""
    need = 2 * concurrency + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= need:
        return
    if hard != resource.RLIM_INFINITY and hard < need:
        most = max(1, (hard - _OTHER_FILES) // 2)
        raise UsageError(
            f"--concurrency {concurrency} needs {need} open files and the limit here is "
            f"{hard}: raise it (ulimit -Hn), or give at most --concurrency {most}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
