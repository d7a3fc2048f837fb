"""How much work a worker asks its parent for."""

from __future__ import annotations

import time
from typing import Final

from crawler.pool_worker import Desk

_AHEAD_S: Final = 0.03
"""Work is asked for so far ahead of need: a few round trips to the parent."""
_AHEAD_MOST: Final = 1024


class Demand:
    """How much to ask the parent for: what is finished in the time that an answer needs.

    Slow replies need a few items at hand, fast ones hundreds; so the pace of what was finished
    since the last time decides, and batches become as large as the work is fast.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._least = self._goal = max(2, desk.share // 4)
        self._coming = desk.share
        self.low = self._goal // 2
        self._asked_s = time.monotonic()
        self.finished = 0

    def arrived(self, count: int) -> None:
        """Note items that came; after a death some come that were not asked for.

        The parent keeps the same count, so it may fall below zero, here as there.
        """
        self._coming -= count

    def ask(self, left: int) -> None:
        """Ask for more if what waits here, ``left``, and what is on its way are too few."""
        if left + max(0, self._coming) > self.low or self._desk.stopping:
            return
        now = time.monotonic()
        pace = self.finished / max(now - self._asked_s, 1e-6)
        self._goal = max(self._least, min(_AHEAD_MOST, int(pace * _AHEAD_S)))
        self.low = self._goal // 2
        count = self._goal - left - self._coming
        if count > 0:
            self.finished, self._asked_s = 0, now
            self._coming += count
            self._desk.more(count)
