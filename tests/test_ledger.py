"""The ledger: every item ends in exactly one result, in input order, whoever dies."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.errors import WorkerError
from crawler.ledger import DEATHS_TO_LOSE, Ledger, NoRecovery, Part
from crawler.source import Direct


class Remembering:
    """A recovery for which every item below ``done_below`` was finished before the death."""

    def __init__(self, done_below: int = 0) -> None:
        self.done_below = done_below

    def salvage(self, items):
        done = [item for item in items if item < self.done_below]
        return (done or None), [item for item in items if item >= self.done_below]

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


def test_a_suspect_runs_alone_before_it_is_lost() -> None:
    """After two deaths each item is tried by itself, so that only the guilty one is lost."""
    ledger = Ledger(Direct(range(3)), window=10, recovery=Remembering())
    for _ in range(DEATHS_TO_LOSE - 1):
        part = ledger.take(3)
        assert part is not None
        ledger.died(part)
    assert ledger.take(1) is None
    while ledger.suspects_wait:
        part = ledger.take_suspect()
        assert part.suspect
        assert len(part.items) == 1
        if part.items == [1]:
            ledger.died(part)
        else:
            ledger.finish(part, part.items)
    assert drain(ledger) == [0, 2, "lost 1"]


def test_without_recovery_a_lost_item_ends_the_run() -> None:
    """Where nothing can stand for the item, the error names it."""
    ledger = Ledger(Direct(["poison"]), window=1, recovery=NoRecovery())
    part: Part | None = ledger.take(1)
    for _ in range(DEATHS_TO_LOSE - 1):
        assert part is not None
        ledger.died(part)
        part = ledger.take_suspect() if ledger.suspects_wait else ledger.take(1)
    assert part is not None
    with pytest.raises(WorkerError, match="poison"):
        ledger.died(part)


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


@settings(max_examples=150, deadline=None)
@given(
    count=st.integers(0, 60),
    window=st.integers(1, 30),
    done_below=st.integers(0, 60),
    seed=st.integers(0, 10**6),
)
def test_every_item_has_one_result_whatever_happens(count, window, done_below, seed) -> None:
    """For any interleaving of takes, finishes and deaths: one result an item, batches in order."""
    dice = random.Random(seed)
    ledger = Ledger(Direct(range(count)), window=window, recovery=Remembering(done_below))
    out: list[Part] = []
    given_out: list[object] = []
    while not ledger.done:
        part = ledger.take_suspect() if ledger.suspects_wait else ledger.take(dice.randint(1, 9))
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
