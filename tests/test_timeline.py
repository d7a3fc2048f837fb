"""The timeline against plain counting."""

from __future__ import annotations

from math import isnan, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.timeline import MOST_BINS, Bin, Timeline

START_S = 1_790_000_000
requests = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 20), st.floats(0, 5000), st.floats(-90_000, 90_000)),
        st.floats(0.001, 1e6),
        st.booleans(),
    ),
    min_size=1,
    max_size=60,
)


def timeline_of(*parts: list[tuple[float, float, bool]]) -> Timeline:
    timeline = Timeline()
    for part in parts:
        rows = np.array(part, dtype=np.float64).reshape(-1, 3)
        timeline.add(rows[:, 0] + START_S, rows[:, 1], rows[:, 2] > 0)
    return timeline


def counted(rows: list[tuple[float, float, bool]], width_s: int) -> dict[int, tuple[int, int]]:
    """Requests and failures of each bin that holds any, by its start, counted one by one."""
    bins: dict[int, tuple[int, int]] = {}
    for at_s, _, ok in rows:
        start = int(at_s + START_S) // width_s * width_s
        number, failed = bins.get(start, (0, 0))
        bins[start] = (number + 1, failed + (not ok))
    return bins


@given(requests)
def test_bins_count_what_began_in_them(rows: list[tuple[float, float, bool]]) -> None:
    """Each request is in the bin of the second it began in, however often bins were joined."""
    timeline = timeline_of(rows)
    bins = timeline.bins()
    held = {int(b.start_s): (b.requests, b.failed) for b in bins if b.requests}
    assert held == counted(rows, timeline.width_s)
    assert all(b.width_s == timeline.width_s for b in bins)
    starts = [b.start_s for b in bins]
    assert starts == [starts[0] + i * timeline.width_s for i in range(len(bins))]


@given(requests, st.data())
def test_a_split_changes_nothing(
    rows: list[tuple[float, float, bool]], data: st.DataObject
) -> None:
    """Added in two parts, in either order, requests make the same bins but for their width."""
    at = data.draw(st.integers(0, len(rows)))
    whole = timeline_of(rows)
    for parts in ((rows[:at], rows[at:]), (rows[at:], rows[:at])):
        parted = timeline_of(*parts)
        if parted.width_s == whole.width_s:
            assert [str(b) for b in parted.bins()] == [str(b) for b in whole.bins()]
        assert sum(b.requests for b in parted.bins()) == len(rows)


@given(requests)
def test_latencies_are_those_of_successes(rows: list[tuple[float, float, bool]]) -> None:
    """A bin's maximum is exact, its median within 2.2 %, and both are of its successes alone."""
    timeline = timeline_of(rows)
    for each in timeline.bins():
        times = sorted(
            ms
            for at_s, ms, ok in rows
            if ok and int(at_s + START_S) // each.width_s * each.width_s == each.start_s
        )
        if not times:
            assert isnan(each.p50_ms)
            assert isnan(each.max_ms)
            continue
        assert each.max_ms == times[-1]
        assert each.p50_ms == pytest.approx(times[(len(times) - 1) // 2], rel=0.022)


def test_bins_are_joined_beyond_their_number() -> None:
    """An hour and a day take no more bins than ten minutes do."""
    for seconds, width_s in ((600, 1), (601, 2), (3600, 8), (86_400, 256)):
        timeline = timeline_of([(float(second), 1.0, True) for second in range(seconds)])
        assert timeline.width_s == width_s
        assert len(timeline.bins()) <= MOST_BINS
        assert sum(b.requests for b in timeline.bins()) == seconds


def test_seconds_without_a_request_are_bins_too() -> None:
    """A gap shows: empty bins stand between the first and the last that hold anything."""
    bins = timeline_of([(0, 5.0, True), (3, 7.0, False)]).bins()
    assert [b.requests for b in bins] == [1, 0, 0, 1]
    about: Any = pytest.approx(5.0, rel=0.022)
    assert tuple(bins[0]) == (START_S, 1, 1, 0, about, about, about, 5.0)
    assert str(bins[3]) == str(Bin(START_S + 3.0, 1, 1, 1, nan, nan, nan, nan))


def test_nothing_makes_no_bins() -> None:
    """A timeline of nothing has no bins."""
    assert timeline_of().bins() == []
    assert timeline_of([]).bins() == []
