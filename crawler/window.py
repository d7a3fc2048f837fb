"""How a benchmark goes right now: the figures of the last second, for a line that is refreshed."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import numpy as np

from crawler.blocks import Block


@dataclass(frozen=True, slots=True)
class Moment:
    """A benchmark at one moment.

    ``asked_per_s`` is None in a closed loop. ``waiting`` counts requests that are due and have no
    connection. ``p50_ms``, ``p99_ms``, ``done_per_s`` and ``failed`` are of the last second;
    latencies of successes, NaN without any.
    """

    elapsed_s: float
    done: int
    asked_per_s: float | None
    done_per_s: float
    in_flight: int
    waiting: int
    p50_ms: float
    p99_ms: float
    failed: int
    failed_in_all: int


class Window:
    """The blocks since the last look."""

    def __init__(self) -> None:
        self._blocks: list[Block] = []

    def add(self, block: Block) -> None:
        """Take in what has just ended."""
        self._blocks.append(block)

    def percentiles(self) -> tuple[float, float]:
        """The p50 and p99 of what was added, response times in milliseconds."""
        times = [block.response_ms[block.error < 0] for block in self._blocks]
        values = np.concatenate([np.zeros(0), *times])
        if not len(values):
            return nan, nan
        p50_ms, p99_ms = np.percentile(values, (50, 99))
        return float(p50_ms), float(p99_ms)

    def failed(self) -> int:
        """How many of them failed."""
        return sum(int((block.error >= 0).sum()) for block in self._blocks)

    def rows(self) -> int:
        """How many there are, the warm-up's among them."""
        return sum(len(block) + block.warmup for block in self._blocks)

    def clear(self) -> None:
        """Begin another second."""
        self._blocks.clear()
