"""A job's gauges: both of Prometheus' parsers read them, and OTLP carries the same."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_prometheus

from crawler.errors import CrawlError, LogError, UsageError
from crawler.exposition import plain
from crawler.pull import otlp
from crawler.pull.metrics import MOST_ALERTS, MOST_TARGETS, figures_of, to_metrics, write_metrics
from crawler.pull.otlp import OtlpError, push
from crawler.pull.overview import AlertView, JobView, TargetView
from crawler.pull.state import RunState
from crawler.pull.status_text import status_text
from crawler.settings import VERSION
from tests.raw_server import RawServer, answers, closed_port, keep_answering

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def target(key: str = "https://h/a", **changes: Any) -> TargetView:
    plain_one: dict[str, Any] = {
        "key": key,
        "page": 1,
        "latest": None,
        "tried_at": 1000.0,
        "succeeded_at": 900.5,
        "changed_at": 800.25,
        "failing_since": None,
        "failures": 0,
        "error": None,
        "detail": None,
        "status": 200,
        "latencies_ms": (10.0, 20.0, 12.5),
        "p95_ms": 20.0,
        "baseline_p95_ms": 15.0,
        "drift": None,
        "versions": 3,
        "cursor": None,
    }
    return TargetView(**{**plain_one, **changes})


def test_long_targets_are_told_apart() -> None:
    """Of names that share their beginning and their end, what differs is shown."""
    long = "http://api.example.org/v1/{}/prices?since={{last_success:%Y-%m-%dT%H:%M:%S}}&key=abc"
    other = "https://other.example.org/" + "x" * 90
    targets = tuple(target(long.format(name)) for name in ("7", "8", "78"))
    targets = (*targets, target(other))
    view = JobView(name="job", path=Path("job.toml"), folder=Path("job"), targets=targets)
    text = status_text([view], 0.0, 100)
    twice = tuple(target("http://h/" + "q/v?a=1" * n + "x" * 40) for n in (1, 2))
    shown = status_text([replace(view, targets=twice)], 0.0, 100).splitlines()
    assert len({line.split()[0] for line in shown[2:4]}) == 2
    assert [f"…{name}…" in text for name in ("7", "8", "78", "9")] == [True, True, True, False]


def run(error: str | None = None) -> RunState:
    return RunState("r1", 1000.0, 1002.5, changed=1, unchanged=2, failed=3, error=error)


def job(*targets: TargetView, name: str = "prices", **changes: Any) -> JobView:
    plain_one: dict[str, Any] = {"path": Path("job.toml"), "folder": Path("job"), "last": run()}
    return JobView(name=name, targets=targets, **{**plain_one, **changes})


def alert(subject: str, since: float = 1.0) -> AlertView:
    return AlertView(rule="failures", subject=subject, since=since)


def families_of(*views: JobView) -> dict[str, Metric]:
    """The families as the strict parser reads them; that the other reads the same is checked."""
    text = to_metrics(views)
    families = {each.name: each for each in read_openmetrics(text)}  # type: ignore[no-untyped-call]
    others = list(read_prometheus(text))
    assert samples_of(others) == samples_of(families.values())
    assert {each.type for each in others} <= {"gauge"}
    assert len(others) == len(families)
    return families


def samples_of(families: Any) -> Samples:
    """Each sample's value by its name and labels; none may come twice."""
    found: Samples = {}
    for family in families:
        for sample in family.samples:
            series = (sample.name, frozenset(sample.labels.items()))
            assert series not in found
            found[series] = sample.value
    return found


def values_of(families: dict[str, Metric], name: str) -> dict[tuple[str, ...], float]:
    """The values of a gauge by its labels' values."""
    samples = families[f"crawl_pull_{name}"].samples
    return {tuple(sample.labels.values()): sample.value for sample in samples}


def test_each_figure_of_a_job_is_there() -> None:
    """What the state knows is told in base units, with its labels."""
    families = families_of(job(target(), next_at=1900.0, alerts=(alert("https://h/a"),)))
    one = ("prices", "https://h/a")
    assert {name: values_of(families, name.removeprefix("crawl_pull_")) for name in families} == {
        "crawl_pull_last_run_timestamp_seconds": {("prices",): 1000},
        "crawl_pull_last_run_made": {("prices",): 1},
        "crawl_pull_last_run_seconds": {("prices",): 2.5},
        "crawl_pull_job_heeded": {("prices",): 1},
        "crawl_pull_targets": {
            ("prices", "changed"): 1,
            ("prices", "unchanged"): 2,
            ("prices", "failed"): 3,
        },
        "crawl_pull_next_run_timestamp_seconds": {("prices",): 1900},
        "crawl_pull_alert": {("prices", "failures", "https://h/a"): 1},
        "crawl_pull_last_success_timestamp_seconds": {one: 900.5},
        "crawl_pull_last_change_timestamp_seconds": {one: 800.25},
        "crawl_pull_failures": {one: 0},
        "crawl_pull_latency_seconds": {one: 0.0125},
        "crawl_pull_latency_p95_seconds": {one: 0.02},
        "crawl_pull_latency_baseline_p95_seconds": {one: 0.015},
        "crawl_pull_versions": {one: 3},
    }


def test_labels_are_called_as_the_docs_have_them() -> None:
    """Dashboards and rules name them: job, target, outcome, rule, subject."""
    families = families_of(job(target(), next_at=1.0, alerts=(alert("x"),)))
    labels = {name: set(family.samples[0].labels) for name, family in families.items()}
    assert labels.pop("crawl_pull_targets") == {"job", "outcome"}
    assert labels.pop("crawl_pull_alert") == {"job", "rule", "subject"}
    assert {frozenset(each) for each in labels.values()} == {
        frozenset({"job"}),
        frozenset({"job", "target"}),
    }


def test_names_end_in_their_units() -> None:
    """OpenMetrics has a gauge in seconds be called so, and all figures are gauges."""
    for family in families_of(job(target(), next_at=1.0)).values():
        assert family.type == "gauge"
        assert (family.unit == "seconds") == family.name.endswith("_seconds")
        assert family.documentation


def test_what_is_not_known_has_no_sample() -> None:
    """A target that never answered has no moment and no latency; a job not yet pulled nothing."""
    never = target(
        succeeded_at=None, changed_at=None, latencies_ms=(), p95_ms=None, baseline_p95_ms=None,
        failures=4, versions=0,
    )  # fmt: skip
    families = families_of(job(never))
    of_targets = {name for name, each in families.items() if "target" in each.samples[0].labels}
    assert of_targets == {"crawl_pull_failures", "crawl_pull_versions"}
    assert families_of(job(last=None)) == {}
    assert to_metrics([]) == "# EOF\n"


@pytest.mark.parametrize("more", [{"fault": "no TOML"}, {"error": "damaged", "last": None}])
def test_a_job_that_is_not_right_is_seen(more: dict[str, Any]) -> None:
    """Its file under a loop, or its state: a rule can find it."""
    assert values_of(families_of(job(**more)), "job_heeded") == {("prices",): 0}


def test_a_pull_that_could_not_be_made_is_seen() -> None:
    """Its moment and that it failed; how many targets it asked is no figure of it."""
    families = families_of(job(last=run("the list cannot be read")))
    assert values_of(families, "last_run_made") == {("prices",): 0}
    assert values_of(families, "last_run_timestamp_seconds") == {("prices",): 1000}
    assert "crawl_pull_targets" not in families


def test_a_page_of_a_target_has_a_series_of_its_own() -> None:
    """And the first page is called as its target."""
    families = families_of(job(target(), target(page=2, versions=7)))
    assert values_of(families, "versions") == {
        ("prices", "https://h/a"): 3,
        ("prices", "https://h/a page 2"): 7,
    }


def test_jobs_share_their_families() -> None:
    """A family stands once, with the samples of all jobs: a parser refuses it twice."""
    families = families_of(job(target(), name="a"), job(target(), name="b"))
    assert values_of(families, "versions") == {("a", "https://h/a"): 3, ("b", "https://h/a"): 3}


def test_the_number_of_series_is_bounded() -> None:
    """Of many targets those that fail have series first; of many alerts the oldest."""
    many = [target(f"https://h/{n}") for n in range(MOST_TARGETS + 100)]
    failing = [target(f"https://h/failing/{n}", failures=n + 1) for n in range(3)]
    alerts = tuple(alert(f"s{n}", float(n)) for n in range(MOST_ALERTS + 100))
    families = families_of(job(*many, *failing, alerts=alerts))
    failures = values_of(families, "failures")
    assert len(failures) == MOST_TARGETS
    assert [name for _, name in list(failures)[:4]] == [
        "https://h/failing/2",
        "https://h/failing/1",
        "https://h/failing/0",
        "https://h/0",
    ]
    firing = [subject for _, _, subject in values_of(families, "alert")]
    assert firing == [f"s{n}" for n in range(MOST_ALERTS)]
    assert max(len(family.samples) for family in families.values()) <= MOST_TARGETS


def test_targets_that_read_the_same_are_one_series() -> None:
    """A collector refuses a whole file for one series that is in it twice."""
    same = ("a\nb", "a\\nb", "c page 2")
    families = families_of(job(*map(target, same), target("c", page=2), target("a\nb")))
    assert list(values_of(families, "versions")) == [("prices", "a\\nb"), ("prices", "c page 2")]
    assert len(values_of(families_of(job(target()), job(target())), "versions")) == 1


@given(st.lists(st.text(max_size=30), max_size=5), st.text(max_size=30))
def test_any_name_makes_a_valid_label(names: list[str], subject: str) -> None:
    """Whatever targets and alerts are called, both parsers give the printable names back."""
    families = families_of(job(*map(target, names), alerts=(alert(subject),)))
    expected = {("prices", plain(name)) for name in names}
    if names:
        assert values_of(families, "versions").keys() == expected
    assert values_of(families, "alert").keys() == {("prices", "failures", plain(subject))}


@pytest.mark.parametrize("name", ['"} 9\n# EOF\n', "\\", '\\"', "a\r\nb", "\x1b[31m", "\udc80"])
def test_a_hostile_name_stays_in_its_label(name: str) -> None:
    """Quotes, line ends and control characters end no label and no line."""
    text = to_metrics([job(target(name))])
    assert text.count("# EOF\n") == 1
    assert text.endswith("\n# EOF\n")
    assert all(line.isprintable() for line in text.split("\n"))
    text.encode()
    assert values_of(families_of(job(target(name))), "versions") == {("prices", plain(name)): 3}


@given(st.floats(0, 1e12), st.floats(0, 1e9))
def test_values_are_told_exactly(moment_s: float, latency_ms: float) -> None:
    """No digit of a moment or of a time is lost in the text."""
    families = families_of(job(target(changed_at=moment_s, latencies_ms=(latency_ms,))))
    assert [*values_of(families, "last_change_timestamp_seconds").values()] == [moment_s]
    assert [*values_of(families, "latency_seconds").values()] == [latency_ms / 1000]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    """As the text is, UTF-8, with nothing left beside it."""
    path = tmp_path / "prices.prom"
    path.write_text("what was there")
    views = [job(target("https://h/täglich"))]
    write_metrics(path, views)
    assert path.read_bytes().decode() == to_metrics(views)
    assert [each.name for each in tmp_path.iterdir()] == ["prices.prom"]
    with pytest.raises(LogError, match="no/such"):
        write_metrics(tmp_path / "no" / "such", views)


# -- OTLP


def exported(view: JobView, **environment: str) -> tuple[bytes, ExportMetricsServiceRequest]:
    """What a real collector gets: the head of the one request, and its body decoded."""
    with RawServer(answers(TAKEN)) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        push(f"{server.url}/v1/metrics", view)
    (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    return head, ExportMetricsServiceRequest.FromString(body)


def otlp_samples(request: ExportMetricsServiceRequest) -> Samples:
    """Each point's value by its name and attributes."""
    found: Samples = {}
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.gauge.data_points:
            labels = frozenset((each.key, each.value.string_value) for each in point.attributes)
            found[metric.name, labels] = point.as_double
    return found


def test_otlp_carries_what_the_text_tells() -> None:
    """The same gauges, labels and values, to the last digit."""
    view = job(
        target(), target("a\n\"\\b", latencies_ms=(1 / 3,)), target("\udc80", page=2),
        next_at=1900.125, alerts=(alert("x"),),
    )  # fmt: skip
    head, request = exported(view)
    assert head.startswith(b"POST /v1/metrics HTTP/1.1\r\n")
    assert b"application/x-protobuf" in head
    assert otlp_samples(request) == samples_of(families_of(view).values())


def test_otlp_tells_units_and_where_it_is_from() -> None:
    """Units are UCUM's; the service is called crawl unless the environment calls it otherwise."""
    _, request = exported(job(target()))
    (of,) = request.resource_metrics
    resource = {each.key: each.value.string_value for each in of.resource.attributes}
    assert (resource["service.name"], resource["service.version"]) == ("crawl", VERSION)
    (scope,) = of.scope_metrics
    assert (scope.scope.name, scope.scope.version) == ("crawl.pull", VERSION)
    units = {metric.name: metric.unit for metric in scope.metrics}
    assert set(units.values()) == {"s", "1"}
    assert {name for name, unit in units.items() if unit == "s"} == {
        name for name in units if name.endswith("_seconds")
    }
    told = {metric.name: metric.description for metric in scope.metrics}
    assert told == {figure.name: figure.told for figure in figures_of([job(target())])}
    head, request = exported(
        job(target()), OTEL_SERVICE_NAME="ours", OTEL_EXPORTER_OTLP_HEADERS="x-token=t0k3n"
    )
    named = request.resource_metrics[0].resource.attributes
    assert "ours" in [each.value.string_value for each in named if each.key == "service.name"]
    assert b"\r\nx-token: t0k3n" in head


def test_otlp_carries_as_many_series_as_the_text() -> None:
    """None is added up by the library's own limit of series."""
    view = job(
        *(target(f"https://h/{n}") for n in range(MOST_TARGETS + 10)),
        alerts=tuple(alert(f"s{n}") for n in range(MOST_ALERTS + 10)),
    )
    _, request = exported(view)
    assert otlp_samples(request) == samples_of(families_of(view).values())


def test_nothing_known_sends_nothing() -> None:
    """A job that was never pulled asks no collector."""
    with RawServer(answers(TAKEN)) as server:
        push(server.url, job(last=None))
    assert server.connections == 0


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_figures_that_are_not_taken_are_an_error(
    status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Asked once, told by the host alone; the library itself says nothing."""
    reply = b"HTTP/1.1 %d X\r\nContent-Length: 6\r\n\r\ns3cr3t" % status
    with RawServer(keep_answering(reply)) as server, pytest.raises(OtlpError) as caught:
        push(f"{server.url}/t0k3n?k=v", job(target()))
    assert str(caught.value) == "[metrics] otlp: http://127.0.0.1 did not take the figures"
    assert isinstance(caught.value, CrawlError)
    assert len(server.requests) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("there", ["nobody", "busy", "silent"])
def test_a_collector_that_does_not_answer_is_given_up(
    there: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """When the time is over, whatever it waits for."""
    monkeypatch.setattr(otlp, "_TIMEOUT_S", 0.3)
    busy = b"HTTP/1.1 503 X\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n"
    with RawServer(keep_answering(busy) if there == "busy" else lambda peer: peer.hang()) as server:
        url = f"http://127.0.0.1:{closed_port()}" if there == "nobody" else server.url
        with pytest.raises(OtlpError, match="did not take"):
            push(url, job(target()))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "endpoint", ["", "host:4318", "grpc://host:4317", "http://", "http://[::1/t0k3n"]
)
def test_an_endpoint_that_is_none_is_a_usage_error(endpoint: str) -> None:
    """The key is named, and an example given."""
    with pytest.raises(
        UsageError, match=r"\[metrics\] otlp: give it as http://host:4318"
    ) as caught:
        push(endpoint, job(target()))
    assert "t0k3n" not in str(caught.value)


def test_nothing_of_the_library_stays() -> None:
    """No thread, and loggers as they were."""
    logger = logging.getLogger("opentelemetry")
    logger.setLevel(logging.WARNING)
    before = set(threading.enumerate())
    with RawServer(answers(TAKEN)) as server:
        serving = set(threading.enumerate())
        push(server.url, job(target()))
        started = {each for each in threading.enumerate() if "_serve" not in each.name}
        assert started <= before | serving
    assert logger.level == logging.WARNING
    logger.setLevel(logging.NOTSET)


def test_a_pull_without_the_extra_says_what_to_install() -> None:
    """In a process where nothing of OpenTelemetry can be imported."""
    code = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from pathlib import Path\n"
        "from crawler.errors import UsageError\n"
        "from crawler.pull.otlp import push\n"
        "from crawler.pull.overview import JobView\n"
        "try:\n"
        "    push('http://h/', JobView(name='a', path=Path('a'), folder=Path('a')))\n"
        "except UsageError as exc:\n"
        "    print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[metrics] otlp")
    assert "pip install 'crawl-bench[otlp]'" in done.stdout
    assert done.stderr == ""
