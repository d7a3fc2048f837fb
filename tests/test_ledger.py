"""The ledger: every item ends in exactly one result, in input order, whoever dies."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.errors import WorkerError
from crawler.ledger import DEATHS_TO_LOSE, DEATHS_TO_SUSPECT, Ledger, NoRecovery, Part
from crawler.source import Direct


class Remembering:
    """A recovery for which every item below ``done_below`` was finished before the death."""

    def __init__(self, done_below: int = 0) -> None:
        self.done_below = done_below

    def salvage(self, items):
        done = [item for item in items if item < self.done_below]
        return (done or None), done, [item for item in items if item >= self.done_below]

    def lost(self, item):
        return [f"lost {item}"]

    def merge(self, results):
        return sorted(itertools.chain(*results), key=str)


def drain(ledger: Ledger) -> list[int]:
    return [item for result in ledger.results() for item in result]


def test_results_come_in_input_order() -> None:
    """A later part that is finished first waits for the earlier one."""
    ledger = Ledger(Direct(range(6)), window=10, recovery=NoRecovery())
    first, second = ledger.take(3), ledger.take(3)
    assert first is not None
    assert second is not None
    ledger.finish(second, second.items)
    assert drain(ledger) == []
    ledger.finish(first, first.items)
    assert drain(ledger) == [0, 1, 2, 3, 4, 5]
    assert ledger.take(1) is None
    assert ledger.done


def test_the_window_bounds_what_is_read() -> None:
    """No more items are read than the window holds, until results are given out."""
    read = []
    source = (read.append(n) or n for n in itertools.count())  # type: ignore[func-returns-value]
    ledger = Ledger(Direct(source), window=5, recovery=NoRecovery())
    part = ledger.take(100)
    assert part is not None
    assert len(part.items) == 5
    assert ledger.take(1) is None
    ledger.finish(part, part.items)
    assert drain(ledger) == [0, 1, 2, 3, 4]
    assert ledger.take(3).items == [5, 6, 7]  # type: ignore[union-attr]
    assert len(read) == 8


def test_what_a_dead_worker_finished_is_not_done_again() -> None:
    """Salvaged items keep their result; only the rest is handed out again, in the same place."""
    ledger = Ledger(Direct(range(5)), window=10, recovery=Remembering(done_below=3))
    part = ledger.take(5)
    assert part is not None
    ledger.died(part)
    again = ledger.take(5)
    assert again is not None
    assert again.items == [3, 4]
    ledger.finish(again, again.items)
    assert drain(ledger) == [0, 1, 2, 3, 4]


def die_until_alone(ledger: Ledger, guilty: object) -> int:
    """Let every part that holds ``guilty`` die and all others end; count the deaths."""
    deaths = 0
    while True:
        part = ledger.take_suspect(0) if ledger.suspects_wait else ledger.take(100)
        if part is None:
            return deaths
        if guilty in part.items:
            deaths += 1
            ledger.died(part)
        else:
            ledger.finish(part, part.items)


def test_who_kills_workers_is_found_by_halving() -> None:
    """Only the guilty item is lost, after few deaths; what was beside it is done, and in order."""
    ledger = Ledger(Direct(range(100)), window=100, recovery=Remembering())
    deaths = die_until_alone(ledger, 41)
    assert DEATHS_TO_LOSE <= deaths <= 2 + 7
    assert sorted(drain(ledger), key=str) == sorted(
        [*range(41), "lost 41", *range(42, 100)], key=str
    )


def test_parts_of_a_batch_come_together_in_order() -> None:
    """Halves that were finished in another order are put back in theirs."""
    ledger = Ledger(Direct(range(8)), window=8, recovery=NoRecovery())
    for _ in range(DEATHS_TO_SUSPECT):
        part = ledger.take(8)
        assert part is not None
        ledger.died(part)
    halves = [half for half in (ledger.take_suspect(0), ledger.take_suspect(0)) if half]
    assert [half.suspect for half in halves] == [True, True]
    for half in reversed(halves):
        ledger.finish(half, half.items)
    assert drain(ledger) == list(range(8))


def test_suspects_stay_in_their_lane() -> None:
    """A host's targets are never in two workers' hands, however often one dies."""
    source = Direct(range(4))
    source.lanes = 2
    ledger = Ledger(source, window=4, recovery=NoRecovery())
    for _ in range(DEATHS_TO_SUSPECT):
        part = ledger.take(4, 1)
        assert part is not None
        ledger.died(part)
    assert ledger.suspects_wait
    assert (ledger.suspects_for(0), ledger.suspects_for(1)) == (False, True)
    assert ledger.take_suspect(0) is None
    assert ledger.take_suspect(1) is not None


def test_deaths_of_many_do_not_lose_anybody() -> None:
    """An item is lost only if it dies with nothing beside it."""
    ledger = Ledger(Direct(range(4)), window=4, recovery=Remembering())
    for _ in range(DEATHS_TO_SUSPECT):
        part = ledger.take(4)
        assert part is not None
        ledger.died(part)
    suspect = ledger.take_suspect(0)
    assert suspect is not None
    ledger.died(suspect)
    while (part := ledger.take_suspect(0)) is not None:
        ledger.finish(part, part.items)
    assert sorted(drain(ledger)) == [0, 1, 2, 3]


def test_without_recovery_a_lost_item_ends_the_run() -> None:
    """Where nothing can stand for the item, the error names it."""
    ledger = Ledger(Direct(["poison"]), window=1, recovery=NoRecovery())
    with pytest.raises(WorkerError, match="poison"):
        die_until_alone(ledger, "poison")


def test_closing_gives_what_is_out_and_nothing_else() -> None:
    """After ``close`` no item is handed out, and parts stopped with nothing leave no gap."""
    ledger = Ledger(Direct(range(9)), window=9, recovery=NoRecovery())
    parts = [ledger.take(3) for _ in range(2)]
    ledger.close()
    assert ledger.take(3) is None
    ledger.finish(parts[0], None)  # type: ignore[arg-type]
    ledger.finish(parts[1], [3, 4])  # type: ignore[arg-type]
    assert drain(ledger) == [3, 4]
    assert ledger.done


def test_without_an_order_results_come_as_they_are_completed() -> None:
    """A part that is finished first is given out first, and nothing ends while one is out."""
    ledger = Ledger(Direct(range(6)), window=10, recovery=NoRecovery(), order="completion")
    first, second = ledger.take(3), ledger.take(3)
    assert first is not None
    assert second is not None
    assert ledger.take(1) is None
    ledger.finish(second, second.items)
    assert drain(ledger) == [3, 4, 5]
    assert not ledger.done
    ledger.finish(first, first.items)
    assert drain(ledger) == [0, 1, 2]
    assert ledger.done


@settings(max_examples=200)
@given(
    count=st.integers(0, 60),
    window=st.integers(1, 30),
    done_below=st.integers(0, 60),
    order=st.sampled_from(("input", "completion")),
    seed=st.integers(0, 10**6),
)
def test_every_item_has_one_result_whatever_happens(count, window, done_below, order, seed) -> None:
    """For any interleaving of takes, finishes and deaths, in either order: one result an item."""
    dice = random.Random(seed)
    recovery = Remembering(done_below)
    ledger = Ledger(Direct(range(count)), window=window, recovery=recovery, order=order)
    out: list[Part] = []
    given_out: list[object] = []
    while not ledger.done:
        part = ledger.take_suspect(0) if ledger.suspects_wait else ledger.take(dice.randint(1, 9))
        if part is not None:
            out.append(part)
        if out and (part is None or dice.random() < 0.6):
            chosen = out.pop(dice.randrange(len(out)))
            if dice.random() < 0.3:
                ledger.died(chosen)
            else:
                ledger.finish(chosen, chosen.items)
        given_out.extend(drain(ledger))
    numbers = [int(str(item).removeprefix("lost ")) for item in given_out]
    assert sorted(numbers) == list(range(count))
