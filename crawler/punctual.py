"""Waking up on time: a little early, by as much as this machine is usually late.

A timer fires 0.1 to 0.3 ms late: the kernel's slack (50 us), the core's waking up, the loop's own
work. So the loop is woken so much earlier and looks again and again, at sockets too, until the
moment has come. How late it is, is learnt from each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_LEARN: Final = 0.1
"""Weight of the newest lateness in what is expected."""
_MARGIN: Final = 1.25
_MOST_S: Final = 0.001


class Punctual:
    """An alarm for one moment at a time, in the clock of ``loop`` (that of ``time.monotonic``)."""

    __slots__ = ("_action", "_alarm", "_late_s", "_loop", "_wake_s")

    def __init__(self, loop: asyncio.AbstractEventLoop, action: Callable[[], None]) -> None:
        self._loop = loop
        self._action = action
        self._alarm: asyncio.Handle | None = None
        self._wake_s = 0.0
        self._late_s = 0.0

    def is_due(self, due_s: float) -> bool:
        """Whether the moment has come; if not, ``action`` is called when it may have."""
        left_s = due_s - self._loop.time()
        if left_s <= 0:
            return True
        if self._alarm is None:
            early_s = min(self._late_s * _MARGIN, _MOST_S)
            if left_s <= early_s:
                self._alarm = self._loop.call_soon(self._look)
            else:
                self._wake_s = due_s - early_s
                self._alarm = self._loop.call_at(self._wake_s, self._wake)
        return False

    def _wake(self) -> None:
        late_s = self._loop.time() - self._wake_s
        self._late_s += _LEARN * (min(late_s, _MOST_S) - self._late_s)
        self._look()

    def _look(self) -> None:
        self._alarm = None
        self._action()
