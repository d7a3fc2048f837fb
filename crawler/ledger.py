"""Who has what, and what comes next: the pool's bookkeeping, with no process in sight.

Input is cut into batches as workers ask; a batch is a place in the output order. It is held by one
part, or by several once a death has split it. Every item ends in exactly one result: its worker's,
a salvaged one, or the one that says it is lost. Whom to blame is found by halving: what was in hand
at two deaths runs apart from all else, and what dies there is split, until one item dies alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, Literal, Protocol

from crawler.errors import WorkerError
from crawler.source import Source

OutputOrder = Literal["input", "completion"]

MOST: Final = 1_000_000
ANY_LANE: Final = -1
"""The lane of a part that any worker may have."""
DEATHS_TO_SUSPECT: Final = 2
"""Items that were in hand at this many deaths are run apart from all others, half by half."""
DEATHS_TO_LOSE: Final = 3
"""An item that was in hand at this many deaths, the last one with nothing beside it, is lost."""


class Recovery(Protocol):
    """What the ledger asks when a worker has died with items in hand."""

    def salvage(self, items: Sequence[Any]) -> tuple[Any | None, list[Any], list[Any]]:
        """Give the result of what was done all the same, the items finished by it, and the rest.

        An item that was begun may be in the rest as another one, which goes on with it.
        """
        ...

    def lost(self, item: Any) -> Any:  # noqa: ANN401 - a result, whatever the function gives
        """Give the result that stands for an item which keeps killing its workers."""
        ...

    def merge(self, results: Sequence[Any]) -> Any:  # noqa: ANN401
        """Make one result of those of a batch that was finished in parts."""
        ...


class NoRecovery:
    """For functions without lasting effects: do everything again, and join lists."""

    def salvage(self, items: Sequence[Any]) -> tuple[None, list[Any], list[Any]]:
        """Nothing was finished."""
        return None, [], list(items)

    def lost(self, item: Any) -> Any:  # noqa: ANN401
        """End the run: nothing can stand for the item's result."""
        raise WorkerError(f"{DEATHS_TO_LOSE} workers died with this item in hand: {item!r:.200}")

    def merge(self, results: Sequence[list[Any]]) -> list[Any]:
        """Join the parts."""
        return [result for part in results for result in part]


class Batch:
    """A place in the output: results with their own place in it, and parts still out."""

    __slots__ = ("open_parts", "results", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.open_parts = 1
        self.results: list[tuple[int, Any]] = []


class Part:
    """Items of one batch that are in one worker's hands, or wait to be."""

    __slots__ = ("batch", "deaths", "items", "lane", "place")

    def __init__(
        self,
        batch: Batch,
        items: list[Any],
        place: int = 0,
        deaths: int = 0,
        lane: int = ANY_LANE,
    ) -> None:
        self.batch = batch
        self.place = place
        self.items = items
        self.deaths = deaths
        self.lane = lane

    @property
    def suspect(self) -> bool:
        """Whether it is to be run in a worker that does nothing else."""
        return self.deaths >= DEATHS_TO_SUSPECT


class Ledger:
    """The input's way through the workers.

    ``window`` bounds the items read but not yet given out, ``largest`` those of one batch. Results
    are given out in the order of the input, or as they are completed.
    """

    def __init__(
        self,
        source: Source,
        *,
        window: int,
        recovery: Recovery,
        largest: int = MOST,
        order: OutputOrder = "input",
    ) -> None:
        self._source = source
        self._closed = False
        self._window = window
        self._largest = largest
        self._recovery = recovery
        self._ordered = order == "input"
        self._order: deque[Batch] = deque()
        self._open = 0
        self._held = 0
        self._again: deque[Part] = deque()
        self._suspects: deque[Part] = deque()

    @property
    def done(self) -> bool:
        """Whether every item was read and every result given out."""
        return (self._closed or self._source.exhausted) and not (self._order or self._open)

    @property
    def suspects_wait(self) -> bool:
        """Whether items are to be tried in a worker that does nothing else."""
        return bool(self._suspects)

    def suspects_for(self, lane: int) -> bool:
        """Tell whether some of them are for the worker of this lane."""
        return any(part.lane in (lane, ANY_LANE) for part in self._suspects)

    def take_suspect(self, lane: int) -> Part | None:
        """Give the worker of a lane the next items that are to be run apart, if it may have them.

        What is of one lane stays there: two workers must not ask one host.
        """
        return self._first_of(self._suspects, lane)

    @staticmethod
    def _first_of(line: deque[Part], lane: int) -> Part | None:
        for part in line:
            if part.lane in (lane, ANY_LANE):
                line.remove(part)
                return part
        return None

    def take(self, count: int, lane: int = 0) -> Part | None:
        """Give up to ``count`` items to the worker of a lane; None when there are none for it now.

        There may be none left, or no room for them.
        """
        part = self._first_of(self._again, lane)
        if part is not None:
            return part
        count = min(count, self._window - self._held, self._largest)
        if count <= 0 or self._closed or self._source.exhausted:
            return None
        items = self._source.take(count, lane)
        if not items:
            return None
        batch = Batch(len(items))
        if self._ordered:
            self._order.append(batch)
        else:
            self._open += 1
        self._held += batch.size
        return Part(batch, items, lane=lane if self._source.lanes else ANY_LANE)

    def finish(self, part: Part, result: Any) -> None:  # noqa: ANN401
        """Note a part's result; None says that it was stopped with nothing done."""
        if result is not None:
            part.batch.results.append((part.place, result))
        self._source.finished(part.items)
        self._put_down(part)

    def _put_down(self, part: Part) -> None:
        """A part is in nobody's hands any more; without an order its batch may be next."""
        part.batch.open_parts -= 1
        if not self._ordered and part.batch.open_parts == 0:
            self._open -= 1
            self._order.append(part.batch)

    def died(self, part: Part) -> None:
        """A worker died with this part in hand: keep what was finished, line up the rest again."""
        result, finished, rest = self._recovery.salvage(part.items)
        if result is not None:
            part.batch.results.append((part.place, result))
        deaths = part.deaths + 1
        if finished:
            self._source.finished(finished)
        if rest and deaths < DEATHS_TO_SUSPECT:
            self._line_up(self._again, Part(part.batch, rest, part.place, deaths, part.lane))
        elif len(rest) == 1 and deaths >= DEATHS_TO_LOSE:
            part.batch.results.append((part.place, self._recovery.lost(rest[0])))
            self._source.finished(rest)
        elif rest:
            middle = (len(rest) + 1) // 2
            for start, half in ((0, rest[:middle]), (middle, rest[middle:])):
                if half:
                    place = part.place + start
                    self._line_up(self._suspects, Part(part.batch, half, place, deaths, part.lane))
        self._put_down(part)

    def _line_up(self, line: deque[Part], part: Part) -> None:
        part.batch.open_parts += 1
        line.append(part)

    def close(self) -> None:
        """Read no more input and hand nothing out again: what is out is all that still comes."""
        self._closed = True
        for part in (*self._again, *self._suspects):
            self._put_down(part)
        self._again.clear()
        self._suspects.clear()

    def results(self) -> Iterator[Any]:
        """Give what is next in the order, as far as it is complete."""
        order = self._order
        while order and order[0].open_parts == 0:
            batch = order.popleft()
            self._held -= batch.size
            if len(batch.results) == 1:
                yield batch.results[0][1]
            elif batch.results:
                batch.results.sort(key=itemgetter(0))
                yield self._recovery.merge([result for _, result in batch.results])
