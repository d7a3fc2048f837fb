"""Figures against a plain reference that keeps every value in lists."""

from __future__ import annotations

import statistics
from collections import Counter
from math import isnan, nan
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.blocks import SLOWEST, Block, Example, Slow
from crawler.figures import FRACTION_NAMES, FRACTIONS, Figures, Tally
from crawler.histogram import Histogram
from crawler.record import ERROR_CLASSES
from crawler.samples import OTHER, PHASES

TIMEOUT = ERROR_CLASSES.index("timeout")
HTTP = ERROR_CLASSES.index("http")


class Row(NamedTuple):
    """One record of a block, as plain values."""

    group: str
    started_s: float
    elapsed_ms: float
    lag_ms: float
    phases_ms: tuple[float, float, float, float, float]
    status: int
    error: int
    bytes: int
    reused: bool
    sent: bool
    seq: int

    @property
    def ok(self) -> bool:
        return self.error < 0

    @property
    def response_ms(self) -> float:
        return self.elapsed_ms + max(self.lag_ms, 0.0)


outcomes = st.sampled_from([(200, -1), (204, -1), (503, HTTP), (0, TIMEOUT), (200, TIMEOUT)])
times = st.floats(0.001, 60_000)


@st.composite
def rows_strategy(draw: st.DrawFn) -> list[Row]:
    count = draw(st.integers(1, 40))
    rows = []
    for seq in range(count):
        status, error = draw(outcomes)
        phases = tuple(draw(st.floats(0, 50)) for _ in PHASES)
        rows.append(
            Row(
                group=draw(st.sampled_from(("/a", "/b", "/c"))),
                started_s=1_790_000_000 + draw(st.floats(0, 100)),
                elapsed_ms=draw(times),
                lag_ms=draw(st.floats(-1, 100)),
                phases_ms=phases,  # type: ignore[arg-type]
                status=status,
                error=error,
                bytes=draw(st.integers(0, 10_000)),
                reused=draw(st.booleans()),
                sent=bool(status) or draw(st.booleans()),
                seq=seq,
            )
        )
    return rows


def block_of(rows: list[Row], run: str = "r", warmup: int = 0) -> Block:
    names = tuple(dict.fromkeys(row.group for row in rows))
    examples: dict[str, Example] = {}
    for row in rows:
        if not row.ok:
            examples.setdefault(ERROR_CLASSES[row.error], Example(f"u{row.seq}", "d"))
    slow = [
        Slow(row.response_ms, row.elapsed_ms, row.started_s, row.seq, row.status, f"u{row.seq}")
        for row in rows
    ]
    return Block(
        run=run,
        names=names,
        group=np.array([names.index(row.group) for row in rows], np.int64),
        started_s=np.array([row.started_s for row in rows]),
        elapsed_ms=np.array([row.elapsed_ms for row in rows]),
        lag_ms=np.array([row.lag_ms for row in rows]),
        phases_ms=np.array([row.phases_ms for row in rows]).reshape(-1, len(PHASES)),
        status=np.array([row.status for row in rows], np.int64),
        error=np.array([row.error for row in rows], np.int64),
        bytes=np.array([row.bytes for row in rows], np.int64),
        reused=np.array([row.reused for row in rows], np.bool_),
        sent=np.array([row.sent for row in rows], np.bool_),
        slowest=tuple(sorted(slow, reverse=True)[:SLOWEST]),
        examples=examples,
        warmup=warmup,
    )


def figures_of(*blocks: Block, limit: int = 1000) -> Figures:
    figures = Figures(limit=limit)
    for block in blocks:
        figures.add(block)
    return figures


def assert_tally(tally: Tally, rows: list[Row]) -> None:
    """A tally holds what the rows add up to."""
    fine = [row for row in rows if row.ok]
    answered = [row for row in rows if row.status]
    assert (tally.ok, tally.failed, tally.requests) == (
        len(fine),
        len(rows) - len(fine),
        len(rows),
    )
    assert tally.failed_share == pytest.approx((len(rows) - len(fine)) / len(rows))
    assert tally.bytes == sum(row.bytes for row in rows)
    assert tally.answered == len(answered)
    assert tally.connections == sum(not row.reused for row in answered)
    sums = [sum(row.phases_ms[i] for row in answered) for i in range(len(PHASES))]
    assert tally.phase_ms.tolist() == pytest.approx(sums)
    for histogram, values in (
        (tally.service, [row.elapsed_ms for row in fine]),
        (tally.response, [row.response_ms for row in fine]),
        (tally.failures, [row.elapsed_ms for row in rows if not row.ok and row.sent]),
    ):
        assert histogram.count == len(values)
        if values:
            assert histogram.mean == pytest.approx(statistics.fmean(values))
            assert histogram.max == max(values)
            median = sorted(values)[(len(values) - 1) // 2]
            assert histogram.percentile(0.5) == pytest.approx(median, rel=0.001)


@given(rows_strategy())
@settings(max_examples=40)
def test_figures_are_those_of_the_records(rows: list[Row]) -> None:
    """Counts, sums, latencies, phases, statuses, errors and lag are what the records say."""
    figures = figures_of(block_of(rows, warmup=3))
    assert figures.warmup == 3
    assert_tally(figures.total, rows)
    assert figures.groups.keys() == {row.group for row in rows}
    for name, tally in figures.groups.items():
        assert_tally(tally, [row for row in rows if row.group == name])
    assert figures.statuses == Counter(row.status for row in rows if row.status)
    failed = Counter(ERROR_CLASSES[row.error] for row in rows if not row.ok)
    assert {name: each.failures for name, each in figures.errors.items()} == failed
    assert figures.lag.count == sum(row.sent for row in rows)
    answered = [row for row in rows if row.status]
    opened = [row for row in answered if not row.reused]
    for i, histogram in enumerate(figures.phases):
        assert histogram.count == len(opened if i < 3 else answered)
    slowest = sorted((row.response_ms for row in rows), reverse=True)[:SLOWEST]
    assert [slow.response_ms for slow in figures.slowest] == slowest


@given(rows_strategy())
@settings(max_examples=40)
def test_a_run_lasts_from_its_first_start_to_its_last_end(rows: list[Row]) -> None:
    """The span, and the rates made from it, are those of the moments of the records."""
    figures = figures_of(block_of(rows))
    first_s = min(row.started_s for row in rows)
    last_s = max(row.started_s for row in rows)
    end_s = max(row.started_s + row.elapsed_ms / 1000 for row in rows)
    assert figures.wall_s == pytest.approx(end_s - first_s)
    if end_s > first_s:
        assert figures.rate_per_s == pytest.approx(len(rows) / (end_s - first_s))
    if last_s > first_s:
        assert figures.sent_per_s == pytest.approx((len(rows) - 1) / (last_s - first_s))
    else:
        assert isnan(figures.sent_per_s)


def told(figures: Figures) -> dict[str, object]:
    """All that figures tell, in a form that can be compared."""
    tallies = {"": figures.total, **figures.groups}
    return {
        "tallies": {
            name: (
                [tally.ok, tally.failed, tally.bytes, tally.answered, tally.connections],
                [h.percentiles((0.0, *FRACTIONS, 1.0)) for h in histograms_of(tally) if h.count],
            )
            for name, tally in tallies.items()
        },
        "lag": figures.lag.percentiles((0.0, 0.5, 1.0)) if figures.lag.count else None,
        "phases": [h.percentiles((0.0, 0.5, 1.0)) for h in figures.phases if h.count],
        "statuses": figures.statuses,
        "errors": figures.errors,
        "slowest": figures.slowest,
        "runs": figures.runs,
        "warmup": figures.warmup,
        "timeline": str(figures.timeline.bins()),
    }


def histograms_of(tally: Tally) -> tuple[Histogram, ...]:
    return tally.service, tally.response, tally.failures


@given(rows_strategy(), st.data())
@settings(max_examples=60)
def test_any_split_of_blocks_gives_the_same_figures(rows: list[Row], data: st.DataObject) -> None:
    """However records are cut into blocks, the figures are the same."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    parts = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    parted = figures_of(*(block_of(part) for part in parts))
    assert told(parted) == told(figures_of(block_of(rows)))


def row_of(group: str, ms: float = 1.0, **changes: object) -> Row:
    row = Row(group, 1_790_000_000.0, ms, 0.0, (0, 0, 0, 0, 0), 200, -1, 0, True, True, 0)
    return row._replace(**changes)  # type: ignore[arg-type]


def test_groups_beyond_the_limit_are_one() -> None:
    """Of more groups than the limit the first come, the rest fall into (other), none is lost."""
    rows = [row_of(f"/{i}", ms=i + 1) for i in range(30)]
    for parts in ([rows], [rows[:7], rows[7:]], [[row] for row in rows]):
        figures = figures_of(*map(block_of, parts), limit=5)
        assert list(figures.groups) == ["/0", "/1", "/2", "/3", "/4", OTHER]
        assert figures.groups[OTHER].requests == 25
        assert figures.groups[OTHER].service.max == 30


def test_a_copy_without_groups_goes_on_by_itself() -> None:
    """What is kept of one run has the same figures, no groups, and is changed by itself alone."""
    figures = figures_of(block_of([row_of("/a"), row_of("/b")]))
    twin = figures.without_groups()
    twin.add(block_of([row_of("/a", ms=9.0, status=404, error=HTTP)]))
    assert (figures.total.requests, twin.total.requests) == (2, 3)
    assert (len(figures.groups), len(twin.groups)) == (2, 0)
    assert (figures.statuses, twin.statuses) == ({200: 2}, {200: 2, 404: 1})
    assert figures.timeline.bins()[0].requests == 2


def test_runs_add_up_and_gaps_between_them_do_not() -> None:
    """The length of two runs is that of both, not of the night between them."""
    figures = figures_of(
        block_of([row_of("/a", ms=2000.0)], run="r1"),
        block_of([row_of("/a", ms=3000.0, started_s=1_790_050_000.0)], run="r2"),
    )
    assert figures.wall_s == pytest.approx(5.0)
    assert figures.rate_per_s == pytest.approx(0.4)


def test_nothing_tells_nothing() -> None:
    """Figures of nothing, or of warm-up alone, have counts of 0 and rates that are NaN."""
    figures = figures_of(block_of([], warmup=4))
    assert (figures.total.requests, figures.warmup, figures.total.failed_share) == (0, 4, 0.0)
    assert str([figures.rate_per_s, figures.sent_per_s]) == str([nan, nan])
    assert figures.runs == {}


def test_fractions_have_their_names() -> None:
    """Each percentile of a report is named by its fraction."""
    assert [f"p{100 * q:g}" for q in FRACTIONS] == list(FRACTION_NAMES)
