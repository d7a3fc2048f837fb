"""Records to timings, across a pipe, to blocks: nothing lost on the way."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from crawler.blocks import Block, Collector
from crawler.record import ERROR_CLASSES, STAGE, WARMUP, Record
from crawler.timings import SLOWEST, Memory, Timings

RECORD = Record(
    "r", 0, "http://h/a", "GET", 200, None, None, "2026-01-02T03:04:05.250000Z", 5.0, 1.0, 2.0,
    0.0, 1.5, 0.5, 0.25, 10, 1, "http://h/a", "1.1", "127.0.0.1:80", False,
)  # fmt: skip
STARTED_S = datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC).timestamp()


def block_of(records: list[Record], batches: int = 1, group_by: str = "path") -> Block:
    """The records through ``batches`` batches of one worker, a pipe and a collector."""
    memory, collector = Memory(), Collector("r")
    for start in range(batches):
        timings = Timings(group_by, memory)
        for record in records[start::batches]:
            timings.add(record)
        collector.add(pickle.loads(pickle.dumps(timings)))
    return collector.take()


def test_a_record_is_a_row() -> None:
    """Each figure stands in its column, under the unit that the column names."""
    block = block_of([RECORD])
    assert (block.run, block.names, len(block)) == ("r", ("/a",), 1)
    assert block.started_s.tolist() == [STARTED_S]
    assert block.elapsed_ms.tolist() == [5.0]
    assert block.lag_ms.tolist() == [0.25]
    assert block.response_ms.tolist() == [5.25]
    assert block.phases_ms.tolist() == [[1.0, 2.0, 0.0, 1.5, 0.5]]
    assert (block.status.tolist(), block.error.tolist(), block.bytes.tolist()) == (
        [200],
        [-1],
        [10],
    )
    assert (block.reused.tolist(), block.sent.tolist()) == ([False], [True])
    assert block.slowest[0][3:] == (0, 200, "http://h/a")


def test_a_failure_is_told_with_its_first_example() -> None:
    """The class is a code, and the first of each class is named."""
    failures = [
        RECORD._replace(seq=n, status=None, error="connect", detail=f"refused {n}") for n in (1, 2)
    ]
    block = block_of(failures)
    assert [ERROR_CLASSES[code] for code in block.error] == ["connect", "connect"]
    assert block.status.tolist() == [0, 0]
    assert block.examples["connect"] == ("http://h/a", "refused 1")


def test_the_warm_up_is_counted_and_is_no_row() -> None:
    """Warm-up records are left out; another stage is not."""
    warm = RECORD._replace(fields={STAGE: WARMUP})
    block = block_of([warm, warm, RECORD._replace(fields={STAGE: "2"})])
    assert (block.warmup, len(block)) == (2, 1)


def test_the_slowest_are_named_over_all_batches() -> None:
    """Whatever the batches, the slowest of all are among those named."""
    records = [RECORD._replace(seq=n, elapsed_ms=float(n * 7919 % 1009)) for n in range(1000)]
    block = block_of(records, batches=50)
    slowest = sorted(block.slowest, reverse=True)[:SLOWEST]
    assert [slow.elapsed_ms for slow in slowest] == sorted(
        (record.elapsed_ms for record in records), reverse=True
    )[:SLOWEST]


@given(st.lists(st.sampled_from("abcde"), max_size=40), st.integers(1, 5))
def test_groups_keep_their_rows_over_any_batches(paths, batches) -> None:
    """However records fall into batches, each row keeps the name of its group."""
    records = [
        RECORD._replace(seq=n, url=f"http://h/{path}", bytes=n) for n, path in enumerate(paths)
    ]
    block = block_of(records, batches)
    rows = zip(block.bytes.tolist(), block.group.tolist(), strict=True)
    assert {n: block.names[group] for n, group in rows} == {
        n: f"/{path}" for n, path in enumerate(paths)
    }


def test_a_collector_begins_anew_after_each_block() -> None:
    """A block holds what came since the one before it; one of nothing is empty."""
    collector, timings = Collector("r"), Timings("path", Memory())
    timings.add(RECORD)
    collector.add(timings)
    assert (len(collector.take()), len(collector.take())) == (1, 0)
