"""Ctrl-C and SIGTERM while work is under way: the first asks it to stop, the second ends it."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType
from typing import Final, Protocol

GRACE_S: Final = 5.0
"""What is in flight at the first Ctrl-C may take so long."""
_STOPPING: Final = (
    f"\ncrawl: stopping: what is in flight gets {GRACE_S:.0f} s; again to stop at once\n".encode()
)
_SAME_PRESS_S: Final = 0.3
"""One Ctrl-C may arrive twice, from the terminal and from a parent; a person is slower."""


class Stoppable(Protocol):
    """Work that can be asked to stop from within a signal handler."""

    def stop(self, grace_s: float) -> None:
        """Begin nothing new; what is in flight may take ``grace_s``."""
        ...


class StopSignals:
    """Turns the first SIGINT or SIGTERM into a stop with a grace, and the second into the end."""

    def __init__(self, work: Stoppable) -> None:
        self._work = work
        self._first_s = 0.0
        self.by: int | None = None

    def __enter__(self) -> StopSignals:
        self._before = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            # After a stop only the summary is left. A further signal would find Python on its way
            # out, with no handler any more, and kill it: the exit code would be another.
            signal.signal(number, handler if self.by is None else signal.SIG_IGN)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.by is None:
            self.by, self._first_s = number, now
            self._work.stop(GRACE_S)
            # Not through sys.stderr: the signal may have come in the middle of a write to it.
            os.write(2, _STOPPING)
        elif now - self._first_s > _SAME_PRESS_S:
            raise KeyboardInterrupt
