"""The OpenMetrics file: read by Prometheus' own strict parser, equal to the report's figures."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from crawler.report.columns import plain
from crawler.report.model import Report
from crawler.report.openmetrics import BOUNDS_S, MOST_GROUPS, to_openmetrics
from crawler.settings import VERSION
from tests.conftest import ROOT
from tests.report_cases import HOSTILE, block_of, note_of, report_of


def parsed(text: str) -> dict[str, Metric]:
    """The families of a file by name, as Prometheus' parser reads them; it raises for a slip."""
    families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return {family.name: family for family in families}


def families_of(report: Report) -> dict[str, Metric]:
    return parsed(to_openmetrics(report))


def values_of(family: Metric, suffix: str = "") -> dict[tuple[str, ...], float]:
    """The values of a family's samples of that suffix, by their labels' values."""
    return {
        tuple(sample.labels.values()): sample.value
        for sample in family.samples
        if sample.name == family.name + suffix
    }


@pytest.fixture
def report() -> Report:
    names = ("http://h/a", "http://h/b")
    times = np.linspace(0.5, 400, 1000)
    block = block_of(times, names=names, failed=100, lag_ms=2.0)
    return report_of(block, notes=[note_of("r1", schedule="100/s")])


def test_counters_are_those_of_the_report(report: Report) -> None:
    """Requests by outcome, status and class of error add up to the report's own counts."""
    families = families_of(report)
    assert values_of(families["crawl_requests"], "_total") == {
        ("http://h/a", "ok"): 450,
        ("http://h/a", "failed"): 50,
        ("http://h/b", "ok"): 450,
        ("http://h/b", "failed"): 50,
    }
    assert values_of(families["crawl_responses"], "_total") == {
        ("http://h/a", "200"): 450,
        ("http://h/b", "200"): 450,
    }
    assert values_of(families["crawl_failures"], "_total") == {("timeout",): 100}
    assert sum(values_of(families["crawl_received_bytes"], "_total").values()) == 82_000
    assert sum(values_of(families["crawl_connections"], "_total").values()) == 8


def test_buckets_count_what_is_at_most_their_bound(report: Report) -> None:
    """A bucket holds the successes up to its bound, in seconds; the sum and the count are exact."""
    families = families_of(report)
    buckets = values_of(families["crawl_service_seconds"], "_bucket")
    times = np.linspace(0.5, 400, 1000)[:900:2]
    for bound_s in BOUNDS_S:
        expected = int((times <= 1000 * bound_s).sum())
        assert buckets["http://h/a", repr(bound_s)] == pytest.approx(expected, abs=1)
    assert buckets["http://h/a", "+Inf"] == 450
    sums = values_of(families["crawl_service_seconds"], "_sum")
    assert sums["http://h/a",] == pytest.approx(times.sum() / 1000)


def test_response_and_service_time_are_apart(report: Report) -> None:
    """Response time has our lag in it and service time has not, both over the same successes."""
    families = families_of(report)
    response = sum(values_of(families["crawl_response_seconds"], "_sum").values())
    service = sum(values_of(families["crawl_service_seconds"], "_sum").values())
    assert response - service == pytest.approx(900 * 0.002)
    assert values_of(families["crawl_lag_seconds"], "_count") == {(): 1000}


def test_gauges_and_build_tell_the_run(report: Report) -> None:
    """Rate, length, CPU share and our version are there."""
    families = families_of(report)
    assert values_of(families["crawl_build"], "_info") == {(VERSION,): 1}
    assert values_of(families["crawl_rate"]) == {(): report.figures.rate_per_s}
    assert values_of(families["crawl_cpu_ratio"]) == {(): pytest.approx(0.1)}
    assert values_of(families["crawl_client_saturated"]) == {(): 0}
    assert families["crawl_wall_seconds"].unit == "seconds"


def test_what_is_not_known_has_no_sample() -> None:
    """A log without notes or records gives a valid file without NaN."""
    text = to_openmetrics(report_of())
    assert "nan" not in text.lower().replace("nanosecond", "")
    families = families_of(report_of())
    assert "crawl_cpu_ratio" not in families
    assert "crawl_rate" not in families
    assert values_of(families["crawl_lag_seconds"], "_count") == {(): 0}


def test_the_number_of_series_is_bounded() -> None:
    """Groups beyond the most used are one, and nothing is lost by it."""
    names = tuple(f"http://h/{i}" for i in range(3 * MOST_GROUPS))
    block = block_of(np.full(1000, 5.0), names=names)
    requests = values_of(families_of(report_of(block))["crawl_requests"], "_total")
    assert len({name for name, _ in requests}) == MOST_GROUPS + 1
    assert sum(requests.values()) == 1000
    assert requests["(other)", "ok"] > 500


@given(st.text(min_size=1, max_size=60))
def test_any_name_makes_a_valid_label(name: str) -> None:
    """Whatever a group is called, the file is valid and the parser gives the name back."""
    families = families_of(report_of(block_of([1.0], names=(name,))))
    (labels,) = values_of(families["crawl_received_bytes"], "_total")
    assert labels == (plain(name),)


def test_a_column_grouped_by_is_no_name_of_a_label() -> None:
    """The label is what records are grouped by, or ``group`` where that is a column of the list."""
    for group_by, label in (("host", "host"), ("le", "group"), ("a column", "group")):
        report = report_of(block_of([1.0]), group_by=group_by)
        samples = families_of(report)["crawl_service_seconds"].samples
        assert all(sample.labels.keys() <= {label, "le"} for sample in samples)
        assert samples[0].labels[label] == "http://h/a"


def test_a_hostile_name_stays_in_its_label() -> None:
    """Quotes, line ends and control characters of a URL end no label and no line."""
    text = to_openmetrics(report_of(block_of([1.0], names=(HOSTILE + '"} 9\n# EOF\n',))))
    assert text.count("# EOF\n") == 1
    assert text.isprintable() or all(line.isprintable() for line in text.splitlines())
    assert text.endswith("\n# EOF\n")
    assert parsed(text)


def test_the_docs_tell_every_series(report: Report) -> None:
    """The table of docs/report-files.md names each series with its type and its labels."""
    page = (ROOT / "docs" / "report-files.md").read_text(encoding="utf-8")
    told = {}
    for row in re.findall(r"^\| (`crawl_.*) \|$", page, re.MULTILINE):
        names, kind, labels, _ = (cell.strip() for cell in row.split("|"))
        for name in re.findall(r"`(\w+)`", names):
            told[name] = (kind, set(re.findall(r"`(\w+)`", labels)))
    made: dict[str, tuple[str, set[str]]] = {}
    for family in families_of(report).values():
        for sample in family.samples:
            suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
            name = family.name + suffix
            made[name] = (family.type, set(sample.labels) - {"le"})
    assert told == made


def test_bounds_are_canonical_numbers() -> None:
    """Bounds are written as the specification's canonical floats, so that series stay the same."""
    text = to_openmetrics(report_of(block_of([1.0])))
    bounds = re.findall(r'crawl_lag_seconds_bucket\{le="([^"]+)"\}', text)
    assert bounds[:3] == ["0.0001", "0.00025", "0.0005"]
    assert bounds[-3:] == ["30.0", "60.0", "+Inf"]
