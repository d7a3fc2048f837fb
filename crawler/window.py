"""How a benchmark goes right now: the figures of the last second, for a line that is refreshed."""

from __future__ import annotations

from math import nan

import numpy as np

from crawler.blocks import Block


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
