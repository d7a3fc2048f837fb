"""What passes between a run and its workers beside targets: an order, and a result a batch."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal, NamedTuple

from crawler.record import Record
from crawler.samples import GroupNames, Samples
from crawler.timings import Memory, Timings

FiguresKind = Literal["samples", "timings"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a run wants of its workers. ``keep_lines`` sends the records' lines to the parent.

    ``figures`` are ``samples`` for a summary, or ``timings``, every record's, for a benchmark.
    """

    run: str
    group_by: str
    keep_lines: bool
    figures: FiguresKind = "samples"


class FiguresMaker:
    """Makes the empty figures of each batch, which share what they know of earlier ones."""

    __slots__ = ("_known", "_memory", "_order")

    def __init__(self, order: Order) -> None:
        self._order = order
        self._known = GroupNames()
        self._memory = Memory()

    def __call__(self) -> Samples | Timings:
        """Make those of one batch."""
        if self._order.figures == "timings":
            return Timings(self._order.group_by, self._memory)
        return Samples(self._order.group_by, self._known)


class BatchResult(NamedTuple):
    """What a worker reports of a batch: how many records, their figures, and their lines.

    ``lines`` are ``(seq, line)`` in the order of ``seq``, pages in theirs; None unless the order
    asked for them.
    ``dropped`` counts requests that were on the wire when the batch was closed.
    """

    records: int
    samples: tuple[Samples | Timings, ...]
    lines: list[tuple[int, bytes]] | None
    dropped: int = 0


class Batch:
    """Targets that are reported together, and what has come of them."""

    __slots__ = ("_count", "_lines", "_samples", "closed", "done", "open")

    def __init__(
        self,
        size: int,
        samples: Samples | Timings,
        done: asyncio.Future[None],
        *,
        keep_lines: bool,
    ) -> None:
        self.open = size
        self.done = done
        self.closed = False
        self._count = 0
        self._samples = samples
        self._lines: list[tuple[int, bytes]] | None = [] if keep_lines else None

    def add(self, record: Record, line: bytes) -> None:
        """Note one finished record and its line."""
        self.open -= 1
        self._count += 1
        self._samples.add(record)
        if self._lines is not None:
            self._lines.append((record.seq, line))

    def result(self) -> BatchResult:
        """Give what was finished so far."""
        if self._lines is not None:
            self._lines.sort(key=itemgetter(0))  # pages of one target stay in their order
        dropped = self.open if self.closed else 0
        return BatchResult(self._count, (self._samples,), self._lines, dropped)
