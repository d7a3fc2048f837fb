"""The latency report as people and as programs read it."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from itertools import pairwise
from math import log
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.figures import FRACTION_NAMES, Figures
from crawler.histogram import Histogram
from crawler.report.latency_machine import BARS, document, to_csv, to_json
from crawler.report.latency_text import MAX_GROUPS, MEANINGS, RESPONSE, SERVICE, render
from crawler.report.model import Report
from crawler.report.spread import percentile_curve, spread
from tests.report_cases import HOSTILE, block_of, note_of, report_of
from tests.test_docs import rows_under

RNG = np.random.default_rng(11)
TIMES = RNG.lognormal(1.2, 0.5, 20_000)


WHOLE = """\
report    record.log
requests  10 (9 ok, 1 failed: 10.0 %)
duration  4.50 s
rate      2.22/s
bytes     820 B

latency (ok), ms  service time   95% bounds  response time   95% bounds
  mean                    1.44                        1.94
  std deviation           0.53                        0.53
  min                     1.00                        1.50
  p50                    ~1.00  1.00 – 2.00          ~1.50  1.50 – 2.50
  p75                    ~2.00    from 1.00          ~2.50    from 1.50
  p90                        -                           -
  p95                        -                           -
  p99                        -                           -
  p99.9                      -                           -
  p99.99                     -                           -
  max                     2.00                        2.50
service time:  from the start of a request to its last byte
response time: from the moment a request was due to its last byte, lag included
~ too few successes for this percentile: read it as a hint
- so few that not one is expected beyond it

latency of 1 failure: p50 3.00 ms, p95 3.00 ms, max 3.00 ms

histogram of the service time, ms, in steps on a log scale
  1.000 – 1.051  5  55.6 %  ████████████████████████████████████████████████████
  1.051 – 1.903  0     0 %
  1.903 – 2.000  4  44.4 %  █████████████████████████████████████████▋

phases, ms  requests   mean    p50    p95    p99    max
  dns              8  0.028  0.020  0.040  0.040  0.040
  connect          8  0.110  0.080  0.160  0.160  0.160
  wait             9  0.878  0.600  1.300  1.300  1.300
  receive          9  0.444  0.300  0.700  0.700  0.700

status codes  requests
  200                9  90.0 %

errors, each with its first example
  timeout  1  http://h/a
              no answer in 10 s

slowest of http://h, ms  response  service  status
  /a                         3.00     3.00     200

our own health: lag p50 0.5 ms, p99 0.5 ms, max 0.5 ms
"""


def widths(text: str) -> list[int]:
    """Terminal columns of each line, counted apart from the code under test."""
    return [
        sum(
            0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
            for c in line
        )
        for line in text.splitlines()
    ]


def section(text: str, heading: str) -> list[str]:
    """The lines of the block whose first line begins with ``heading``."""
    for block in text.split("\n\n"):
        if block.startswith(heading):
            return block.splitlines()
    raise AssertionError(f"no block {heading!r} in:\n{text}")


def sample(**changes: Any) -> Report:
    return report_of(block_of(TIMES, failed=200, lag_ms=0.5, **changes))


def open_loop() -> Report:
    block = block_of(TIMES, lag_ms=100.0)
    return report_of(block, notes=[note_of("r1", schedule="2,000/s constant")])


def test_the_whole_report() -> None:
    """A report of ten requests says all it knows in this form, and marks what it hardly knows."""
    block = block_of([1.0] * 5 + [2.0] * 4 + [3.0], failed=1, lag_ms=0.5, seconds=5)
    assert render(report_of(block)) == WHOLE


def test_rows_say_what_they_are() -> None:
    """Each part of a report is headed by what it tells, with its unit."""
    text = render(sample(names=("http://h/a", "http://h/b")))
    for heading in (
        "report ", "latency (ok), ms", "latency of 200 failures: p50", "histogram of the service",
        "phases, ms", "status codes", "errors, each", "http://h, ms", "slowest of http://h, ms",
        "our own health: lag p50",
    ):  # fmt: skip
        section(text, heading)
    assert section(text, "status codes") == [
        "status codes  requests",
        "  200           19,800  99.0 %",
    ]
    assert section(text, "errors")[1] == "  timeout  200  http://h/a"


def test_the_latency_that_is_meant_comes_first() -> None:
    """Of an open loop that is the response time, else the service time; words tell them apart."""
    for report, order in ((sample(), (SERVICE, RESPONSE)), (open_loop(), (RESPONSE, SERVICE))):
        lines = section(render(report), "latency (ok)")
        head = lines[0]
        assert head.index(order[0]) < head.index(order[1])
        told = [line for line in lines if line.startswith(order)]
        assert [re.split(r":\s+", line) for line in told] == [[n, MEANINGS[n]] for n in order]
        median = next(line for line in lines if line.startswith("  p50")).split()
        assert float(median[1]) == pytest.approx(report.main.percentile(0.5), abs=0.06)


def test_an_open_loop_tells_what_was_asked() -> None:
    """Beside the rate at which requests were begun stands what the schedule asked for."""
    line = render(open_loop()).splitlines()[3]
    assert re.fullmatch(r"rate      2,000/s begun; asked for: 2,000/s constant", line)


def test_bounds_hold_the_value() -> None:
    """Each percentile stands between its bounds."""
    for line in section(render(sample()), "latency (ok)")[4:9]:
        value, low, high = map(float, re.findall(r"\d+\.\d+", line)[:3])
        assert low <= value <= high


def test_what_the_sample_cannot_tell_is_marked_or_withheld() -> None:
    """Too few successes beyond a percentile: ``~``; not one expected: ``-``; both explained."""
    lines = section(render(report_of(block_of(TIMES[:600]))), "latency (ok)")
    rows = {line.split()[0]: line.split()[1] for line in lines[1:-2]}
    assert rows["p99"][0].isdigit()
    assert rows["p99.9"] == rows["p99.99"] == "-"
    assert lines[-1].startswith("- ")
    few = section(render(report_of(block_of(TIMES[:60]))), "latency (ok)")
    assert next(line for line in few if "p95" in line).split()[1].startswith("~")
    assert [line[:2] for line in few[-2:]] == ["~ ", "- "]


def test_an_outlier_does_not_waste_the_rows() -> None:
    """One value a thousand times the rest is folded into a last row; the others tell them apart."""
    lines = section(render(report_of(block_of([*TIMES, 60_000.0]))), "histogram")
    counts = [int(line.split("%")[0].split()[-2].replace(",", "")) for line in lines[1:]]
    assert sum(counts) == len(TIMES) + 1
    assert counts[-1] == 1
    assert "60,000" in lines[-1]
    assert sum(count > len(TIMES) / 50 for count in counts) >= 5


def test_a_report_without_a_success_says_so() -> None:
    """Nothing is made up where there is no latency: the failures alone are told."""
    text = render(report_of(block_of([5.0, 6.0], failed=2)))
    assert "latency: no request was a success" in text
    assert "histogram" not in text
    assert "2 (0 ok, 2 failed: 100 %)" in text


def test_a_report_of_warm_up_alone() -> None:
    """A report of no counted request has no figures and does not fail."""
    figures = Figures()
    report = report_of()
    text = render(report)
    assert "requests  0 (0 ok, 0 failed: 0 %)" in text
    assert "nothing was sent" in text
    assert json.loads(to_json(report))["total"]["rate_per_s"] is None
    assert figures.runs == {}


def test_groups_beyond_those_shown_are_counted() -> None:
    """The groups with most requests are listed, and the number of the others is told."""
    names = tuple(f"http://h/{i}" for i in range(MAX_GROUPS + 7))
    lines = section(render(sample(names=names)), "http://h, ms")
    assert f"  … and {7} more" in lines
    assert sum(line.startswith("  /") for line in lines) == MAX_GROUPS


def test_runs_are_listed_where_there_are_several() -> None:
    """Each run has a row, oldest first; a report of one run has none."""
    report = report_of(block_of(TIMES[:600], run="r1"), block_of(2 * TIMES[:600], run="r2"))
    lines = section(render(report), "runs, ms")
    assert [line.split()[0] for line in lines[1:3]] == ["r1", "r2"]
    assert "in 2 runs" in render(report)
    assert "runs, ms" not in render(sample())


def test_a_saturated_client_is_told() -> None:
    """Where the figures may be ours, the report says so in words, within its width."""
    note = note_of("r1", schedule="9/s", cpu_s=19.4)
    report = report_of(block_of(TIMES, lag_ms=80.0), notes=[note])
    text = render(report)
    warned = " ".join(line.strip() for line in section(text, "our own health"))
    assert "max 80.0 ms; CPU 97 % of 2 cores" in warned
    assert warned.count("warning: ") == 2
    assert "client saturated: 97 % CPU" in warned
    assert max(widths(text)) <= 80


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_keep_to_the_width(width: int) -> None:
    """No line is wider than asked, and none moves the reader's terminal, whatever a URL holds."""
    names = (HOSTILE, "http://h/" + "三" * 90, "http://h/" + "x" * 300)
    report = report_of(
        block_of([*TIMES, 3e6], names=names, failed=9, detail=HOSTILE), title=HOSTILE
    )
    text = render(report, width=width)
    assert max(widths(text)) <= width
    assert all(line.isprintable() and line == line.rstrip() for line in text.splitlines())


durations = st.lists(
    st.one_of(st.floats(0, 1e7), st.sampled_from((0.0, 1.0, 1.0001, 5e-5))), min_size=1, max_size=60
)


@given(durations, st.integers(3, 60))
def test_bars_hold_every_value(values: list[float], most: int) -> None:
    """Bars follow on each other from the minimum to the maximum, and leave no value out."""
    times = Histogram()
    times.add_many(values)
    bars = spread(times, most)
    assert 1 <= len(bars) <= most
    assert sum(bar.requests for bar in bars) == len(values)
    assert (bars[0].low_ms, bars[-1].high_ms) == (min(values), max(values))
    assert all(a.high_ms == b.low_ms for a, b in pairwise(bars))
    assert all(bar.low_ms <= bar.high_ms for bar in bars)


def test_bars_are_even_on_a_log_scale() -> None:
    """Where nothing is far out, each bar is as many times as wide as its neighbour is."""
    times = Histogram()
    times.add_many(np.exp(RNG.uniform(0, 3, 5000)))
    steps = [log(bar.high_ms / bar.low_ms) for bar in spread(times, 20)]
    assert len(steps) == 20
    assert steps == pytest.approx([steps[0]] * 20)


@given(durations)
def test_a_curve_rises_from_the_minimum_to_the_maximum(values: list[float]) -> None:
    """The points of a percentile curve are the histogram's, and rise in both directions."""
    times = Histogram()
    times.add_many(values)
    curve = percentile_curve(times)
    assert curve == sorted(curve)
    assert (curve[0], curve[-1]) == ((0.0, min(values)), (1.0, max(values)))
    assert [ms for _, ms in curve] == times.percentiles([fraction for fraction, _ in curve])


def test_nothing_has_no_bars_and_no_curve() -> None:
    """An empty histogram is drawn as nothing."""
    assert spread(Histogram(), 10) == []
    assert percentile_curve(Histogram()) == []


def test_the_document_has_the_figures_of_the_report() -> None:
    """JSON says what the figures say, to the nanosecond, for all, each group and each run."""
    report = report_of(
        block_of(TIMES, failed=200, names=("http://h/a", "http://h/b")),
        block_of(TIMES[:100], run="r2"),
        notes=[note_of("r1", schedule="100/s")],
    )
    told = json.loads(to_json(report))
    total, figures = told["total"], report.figures
    assert (total["requests"], total["failed"]) == (20_100, 200)
    for kind in ("service", "response", "failures"):
        times = getattr(figures.total, kind)
        assert total[kind]["count"] == times.count
        assert total[kind]["mean_ms"] == pytest.approx(times.mean, abs=1e-6)
        p99 = total[kind]["percentiles"]["p99"]
        assert p99["value_ms"] == pytest.approx(times.percentile(0.99), abs=1e-6)
        assert p99["low_ms"] <= p99["value_ms"]
        assert list(total[kind]["percentiles"]) == list(FRACTION_NAMES)
    assert told["main_latency"] == "response"
    assert [group["name"] for group in told["groups"]] == ["http://h/a", "http://h/b"]
    assert sum(group["requests"] for group in told["groups"]) == 20_100
    assert [(run["run"], run["requests"]) for run in told["runs"]] == [("r1", 20_000), ("r2", 100)]
    assert told["runs"][0]["note"]["schedule"] == "100/s"
    assert told["runs"][1]["note"] is None
    assert sum(each["requests"] for each in total["timeline"]) == 20_100
    assert sum(bar["requests"] for bar in total["histogram"]) == figures.total.response.count
    assert len(total["histogram"]) <= BARS
    assert total["curve"][-1] == {"fraction": 1.0, "ms": pytest.approx(TIMES.max(), abs=1e-6)}


def test_the_text_has_the_figures_of_the_document() -> None:
    """What a person reads and what a program reads is the same."""
    report = sample()
    told = document(report)["total"]
    assert isinstance(told, dict)
    for line in section(render(report), "latency (ok)")[4:11]:
        name, value = line.split()[:2]
        expected = told["service"]["percentiles"][name]["value_ms"]
        assert value.strip("~") == f"{expected:.2f}"


def test_json_has_null_for_what_there_is_no_figure_for() -> None:
    """No NaN and no infinity, which JSON does not have; a percentile too far out is null."""
    text = to_json(report_of(block_of([1.0, 2.0])))
    told = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert told["total"]["service"]["percentiles"]["p99"]["value_ms"] is None
    assert told["total"]["failures"]["mean_ms"] is None
    assert told["audit"]["cpu_share"] is None


def keys_of(value: object, place: str = "document") -> dict[str, set[str]]:
    """The keys of a document by the place that they stand in, as the docs name it."""
    found: dict[str, set[str]] = {}
    if isinstance(value, list):
        parts = [keys_of(each, f"{place}[]") for each in value]
    elif isinstance(value, dict):
        if place not in ("statuses", "percentiles"):
            found[place] = set(value)
        inside = "percentiles.*" if place == "percentiles" else None
        parts = [keys_of(each, inside or key) for key, each in value.items()]
    else:
        return {}
    for part in parts:
        for name, keys in part.items():
            found[name] = found.get(name, set()) | keys
    return found


def test_every_key_of_the_document_is_told_in_the_docs() -> None:
    """The page on reports lists the keys of each part of the document: all, and no others."""
    report = report_of(
        block_of(TIMES, failed=2, lag_ms=80.0), notes=[note_of("r1", schedule="9/s", cpu_s=19.4)]
    )
    listed: dict[str, set[str]] = {}
    for places, keys, *_ in rows_under("report.md", "JSON"):
        for place in re.findall(r"[\w.*]+(?:\[\])?", places):
            listed.setdefault(place, set()).update(re.findall(r"\w+", keys))
    assert keys_of(document(report)) == listed


def test_csv_has_a_row_a_group_and_the_total() -> None:
    """Groups by size and the total last; the same figures as JSON, units in the headings."""
    report = sample(names=("http://h/a", 'http://h/"b",'))
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert [row["endpoint"] for row in rows] == ['http://h/"b",', "http://h/a", "total"]
    total = json.loads(to_json(report))["total"]
    assert rows[-1]["requests"] == "20000"
    for name, column in (("p50", "p50"), ("p99.9", "p999"), ("p99.99", "p9999")):
        quantile = total["service"]["percentiles"][name]
        assert float(rows[-1][f"service_{column}_ms"]) == quantile["value_ms"]
        assert float(rows[-1][f"service_{column}_low_ms"]) == quantile["low_ms"]
    assert rows[-1]["unsupported"] == "p99.99"
