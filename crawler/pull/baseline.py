"""Whether a target's latency has left its own baseline: medians and their spread, no fixed limit.

The newest few are held against those before them by the modified z-score of Iglewicz and Hoaglin
(How to Detect and Handle Outliers, 1993): median and median absolute deviation, which a few
outliers do not move. What stays slow becomes the baseline in time, and is told as recovered then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil
from operator import attrgetter
from statistics import median
from typing import Final, NamedTuple

RECENT: Final = 5
BASELINE: Final = 200
LEAST: Final = 20
"""The newest requests that are judged, those before them that are the baseline, and how few of
these say nothing yet."""
_LEFT: Final = 3.5
"""The score from which Iglewicz and Hoaglin call a value an outlier."""
_BACK: Final = 2.0
"""The score below which it is back: lower, so that a value on the edge is no flood of alerts."""
_SIGMA_OF_MAD: Final = 1.4826
_LEAST_SPREAD: Final = 0.05
"""Of the median: latencies that hardly vary are not slow for a twentieth more."""


class Drift(NamedTuple):
    """The newest latencies beside their baseline, in ms; ``score`` is how far they left it."""

    recent_ms: float
    baseline_ms: float
    score: float

    @property
    def left(self) -> bool:
        """Whether latency is above its baseline."""
        return self.score > _LEFT

    @property
    def back(self) -> bool:
        """Whether latency is where it was."""
        return self.score < _BACK


def worst_drift(latencies_ms: Iterable[tuple[bool, float]]) -> Drift | None:
    """Judge latencies of two kinds, oldest first, each kind for itself; give what left furthest.

    So a target that answers with a whole body again is not slower for that, and one whose whole
    replies are slow is not well again for a 304 between.
    """
    kinds: dict[bool, list[float]] = {False: [], True: []}
    for is_304, each in latencies_ms:
        kinds[is_304].append(each)
    found = filter(None, map(drift, kinds.values()))
    return max(found, key=attrgetter("score"), default=None)


def drift(latencies_ms: Sequence[float]) -> Drift | None:
    """Judge latencies of one kind, oldest first; None where there are too few to tell."""
    recent, before = latencies_ms[-RECENT:], latencies_ms[:-RECENT][-BASELINE:]
    if len(before) < LEAST:
        return None
    usual = median(before)
    deviation = median(abs(value - usual) for value in before)
    spread = max(_SIGMA_OF_MAD * deviation, _LEAST_SPREAD * usual, 1e-3)
    now = median(recent)
    return Drift(now, usual, (now - usual) / spread)


def p95(latencies_ms: Sequence[float]) -> float | None:
    """Give the 95th percentile by nearest rank; None of nothing."""
    if not latencies_ms:
        return None
    return sorted(latencies_ms)[ceil(0.95 * len(latencies_ms)) - 1]
