"""Which targets of a list are fetched: some skipped, some left, a sample, another order.

Targets keep their number in the list, so that records, bodies and the list can be joined; shuffled
ones are numbered anew, in their new order. Equal options on an equal list select the same, so that
``--resume`` goes on with what was begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random

from crawler.errors import UsageError
from crawler.record import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is taken of a list, in this order: skipped, limited, sampled, shuffled.

    Raises ``UsageError``.
    """

    skip: int = 0
    limit: int | None = None
    sample: int | None = None
    shuffle: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.skip < 0:
            raise UsageError(f"--skip is {self.skip}: give a whole number of at least 0")
        for option, count in (("limit", self.limit), ("sample", self.sample)):
            if count is not None and count < 1:
                raise UsageError(f"--{option} is {count}: give a whole number of at least 1")

    def of(self, targets: Iterable[Target]) -> Iterator[Target]:
        """Yield the selected targets. A sample, or shuffling, holds what it takes in memory."""
        end = None if self.limit is None else self.skip + self.limit
        chosen: Iterator[Target] = islice(targets, self.skip, end)
        if self.sample is not None:
            chosen = iter(_sample(chosen, self.sample, Random(self.seed)))
        if self.shuffle:
            mixed = list(chosen)
            Random(self.seed).shuffle(mixed)
            chosen = (target._replace(seq=seq) for seq, target in enumerate(mixed))
        return chosen

    def count(self, total: Callable[[], int | None]) -> int | None:
        """Give how many are selected, where that can be told."""
        found = total()
        if found is None:
            return None
        left = max(0, found - self.skip)
        return min(n for n in (left, self.limit, self.sample) if n is not None)


def _sample(targets: Iterator[Target], count: int, random: Random) -> list[Target]:
    """Choose evenly of a stream (Vitter's algorithm R, 1985), and give them in its order."""
    kept = list(islice(targets, count))
    for number, target in enumerate(targets, start=count):
        place = random.randrange(number + 1)
        if place < count:
            kept[place] = target
    return sorted(kept, key=lambda target: target.seq)
