"""A polite run's way through the pool: by hosts, each on one lane, results as they are completed.

So a host that is slow or paused holds up nobody else. Where order matters, lines are put back in
order behind it, and the reading of targets waits for what is kept back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from crawler.batches import BatchResult
from crawler.politeness import Politeness
from crawler.pool import Pool
from crawler.record import Target
from crawler.recovery import LogRecovery
from crawler.reorder import Reorder
from crawler.source import Reading
from crawler.spread import Spread

POLITE_WINDOW: Final = 100_000
"""Targets that a polite run reads ahead: so far it looks for hosts that may be asked."""
_TOGETHER: Final = 16
_MOST_OUT: Final = 1024


def imap_by_hosts(
    pool: Pool,
    fetch: Callable[..., Any],
    targets: Iterable[Target],
    *,
    rules: Politeness,
    recovery: LogRecovery,
    window: int,
    reading: Reading,
    reorder: Reorder | None,
) -> Iterator[BatchResult]:
    """Yield results as they are completed; ``reorder`` tells how many lines are kept back."""
    spread = partial(
        Spread,
        lanes=pool.lanes,
        most_out=_most_out(rules),
        window=window,
        held=None if reorder is None else lambda: reorder.pending,
    )
    return pool.imap_batches(
        fetch,
        targets,
        window=2 * window,
        recovery=recovery,
        largest=_TOGETHER,
        reading=reading,
        order="completion",
        through=spread,
    )


def in_turn(result: BatchResult, reorder: Reorder) -> BatchResult:
    """Keep back the lines whose turn has not come, and add those whose turn has."""
    return result._replace(lines=reorder.put(result.lines or ()))


def _most_out(rules: Politeness) -> int:
    """How many targets of one host a worker may have: enough for its next moments."""
    return _MOST_OUT if rules.per_host is None else min(_MOST_OUT, max(64, 16 * rules.per_host))
