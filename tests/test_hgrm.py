"""HdrHistogram's percentile distribution: levels, figures and form as its plotter reads them."""

from __future__ import annotations

import re
from itertools import count, islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.report.hgrm import to_hgrm
from tests.report_cases import block_of, note_of, report_of

PUBLISHED = """\
       Value   Percentile   TotalCount 1/(1-Percentile)

      16.000     0.000000            1         1.00
     980.000     0.100000        47530         1.11
    3609.000     0.200000        95042         1.25
    6783.000     0.300000       142539         1.43
    9183.000     0.400000       190154         1.67
   11167.000     0.500000       237581         2.00
   12295.000     0.550000       261367         2.22
   13759.000     0.600000       285105         2.50
   15375.000     0.650000       308930         2.86
   16703.000     0.700000       332844         3.33
   18639.000     0.750000       356366         4.00
   19951.000     0.775000       368356         4.44
   21951.000     0.800000       380158         5.00
#[Mean    =    25048.210, StdDeviation   =   120097.522]
#[Max     =  9420800.000, Total count    =       475109]
#[Buckets =           27, SubBuckets     =         2048]
"""
"""The beginning and end of HdrHistogram's GoogleChartsExample/example1.txt (public domain)."""

FOOTERS = (
    r"#\[Mean    = +([\d.]+), StdDeviation   = +([\d.]+)\]",
    r"#\[Max     = +([\d.]+), Total count    = +(\d+)\]",
    r"#\[Buckets = +(\d+), SubBuckets     = +(\d+)\]",
)


def plotted(text: str) -> list[tuple[float, float]]:
    """The points (1/(1-percentile), value) that HdrHistogram's plotFiles.html reads from a file."""
    rows = [line.strip().split() for line in text.splitlines() if not line.strip().startswith("#")]
    points = []
    for row in rows:
        if len(row) == 4 and row[0] != "Value":
            points.append((float(row[3]), float(row[0])))
    return points


def rows_of(text: str) -> list[list[float]]:
    lines = text.splitlines()[2:-3]
    return [[float(cell) for cell in line.split()] for line in lines]


def java_rows(values: list[float]) -> list[tuple[float, int]]:
    """Percentile level and total count of each row, as Java's PercentileIterator steps."""
    ordered = sorted(values)
    distinct = sorted(set(ordered))
    totals = np.searchsorted(ordered, distinct, side="right").tolist()
    level, at, rows = 0.0, 0, []
    while True:
        while 100.0 * totals[at] / len(ordered) < level - 1e-9:
            at += 1
        rows.append((level / 100, totals[at]))
        if totals[at] == len(ordered):
            return [*rows, (1.0, len(ordered))]
        halvings = next(h for h in count() if level < 100 - 100 / 2 ** (h + 1) - 1e-9)
        level += 100 / (5 * 2 ** (halvings + 1))


def test_the_form_is_that_which_is_published() -> None:
    """Header, columns and footers read as those of the published example do."""
    text = to_hgrm(report_of(block_of(np.linspace(1, 100, 1000))))
    ours, theirs = text.splitlines(), PUBLISHED.splitlines()
    assert ours[0].split() == theirs[0].split()
    assert ours[1] == theirs[1] == ""
    for pattern, mine, published in zip(FOOTERS, ours[-3:], theirs[-3:], strict=True):
        assert re.fullmatch(pattern, mine), mine
        assert re.fullmatch(pattern, published)
    assert text.endswith("]\n")


def test_the_plotter_reads_the_levels_of_the_published_example() -> None:
    """Each row's 1/(1-percentile) is the published one's, and the last row, 100 %, has none."""
    text = to_hgrm(report_of(block_of(np.linspace(1, 100, 1000))))
    theirs = plotted(PUBLISHED)
    assert len(theirs) == 13
    assert [x for x, _ in plotted(text)[:13]] == [x for x, _ in theirs]
    assert len(text.splitlines()[-4].split()) == 3
    assert len(plotted(text)) == len(rows_of(text)) - 1


def test_values_are_those_of_the_report_in_milliseconds() -> None:
    """A row's value is the report's own percentile, to the microsecond; the last is the maximum."""
    report = report_of(block_of(np.geomspace(0.2, 900, 5000)))
    rows = rows_of(to_hgrm(report))
    by_level = {row[1]: row[0] for row in rows}
    for q in (0.5, 0.75, 0.9, 0.95):
        assert by_level[q] == pytest.approx(report.main.percentile(q), abs=0.0006)
    assert rows[-1] == [900.0, 1.0, 5000.0]
    mean, deviation = re.findall(r"= +([\d.]+)", to_hgrm(report).splitlines()[-3])
    assert float(mean) == pytest.approx(report.main.mean, abs=0.0006)
    assert float(deviation) == pytest.approx(report.main.deviation, abs=0.0006)


def test_the_response_time_is_printed_of_an_open_loop() -> None:
    """With a schedule the file holds response times, our own lag included; without, service."""
    block = block_of([10.0] * 50, lag_ms=5.0)
    closed = to_hgrm(report_of(block))
    opened = to_hgrm(report_of(block, notes=[note_of("r1", schedule="100/s")]))
    assert rows_of(closed)[-1][0] == 10.0
    assert rows_of(opened)[-1][0] == 15.0


@pytest.mark.parametrize("values", [[], [3.0]])
def test_samples_of_none_and_of_one_are_told(values: list[float]) -> None:
    """No success gives the frame without rows; one gives its value at 0 % and at 100 %."""
    text = to_hgrm(report_of(block_of(values)) if values else report_of())
    assert [row[0] for row in rows_of(text)] == values * 2
    assert "nan" not in text
    assert f"Total count    = {len(values):12d}]" in text


@given(st.lists(st.sampled_from([1.0, 1.5, 2.0, 3.0, 8.0, 40.0, 41.0]), min_size=1, max_size=300))
def test_rows_are_those_of_the_java_iterator(values: list[float]) -> None:
    """Levels and total counts are those at which Java's iterator stops, whatever the sample."""
    rows = rows_of(to_hgrm(report_of(block_of(values))))
    expected = java_rows(values)
    assert [int(row[2]) for row in rows] == [total for _, total in expected]
    assert [row[1] for row in rows] == pytest.approx([level for level, _ in expected], abs=1e-9)


def test_rows_climb() -> None:
    """Values, levels and counts never fall, and rows stay few however large the sample."""
    rng = np.random.default_rng(1)
    rows = rows_of(to_hgrm(report_of(block_of(rng.lognormal(2, 1, 200_000)))))
    for column in zip(*rows, strict=False):
        assert list(column) == sorted(column)
    assert 60 < len(rows) < 120
    assert list(islice((row[1] for row in rows), 3)) == [0.0, 0.1, 0.2]
