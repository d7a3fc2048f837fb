"""A report as an OpenMetrics 1.0 text file, for Prometheus and what reads its format.

https://prometheus.io/docs/specs/om/open_metrics_spec/. Times are seconds, the base unit there.
Latencies are histograms by group, of successes, so that any sum of groups is a histogram too; their
bounds count within 0.1 %. The number of series is bounded: groups beyond ``MOST_GROUPS`` are added
up as ``(other)``. What is not known (the CPU share of a log without notes) has no sample.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
from itertools import accumulate
from math import isfinite
from typing import TYPE_CHECKING, Final

from crawler.exposition import Labels, head, sample
from crawler.figures import Figures, Tally
from crawler.histogram import Histogram
from crawler.samples import OTHER
from crawler.settings import VERSION

if TYPE_CHECKING:
    from crawler.report.model import Report

MOST_GROUPS: Final = 50
"""Groups with series of their own: those of most requests."""
BOUNDS_S: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the histograms' buckets, ``le``, in seconds; ``+Inf`` comes after them."""

_GROUPED: Final = frozenset(("endpoint", "host", "path", "url", "status"))
"""What records may be grouped by that is a label's name as it stands; a column's may not be."""

_Groups = Sequence[tuple[Labels, Tally]]
_Samples = Iterable[tuple[Labels, float]]


def to_openmetrics(report: Report) -> str:
    """Give the whole file, ended by ``# EOF`` and a newline."""
    figures = report.figures
    key = figures.group_by if figures.group_by in _GROUPED else "group"
    groups = [({key: name}, tally) for name, tally in _groups(figures).items()]
    lines = (
        *_build(),
        *_counters(figures, groups),
        *_latencies(figures, groups),
        *_gauges(report),
        "# EOF",
    )
    return "\n".join(lines) + "\n"


def _groups(figures: Figures) -> dict[str, Tally]:
    """The groups of most requests, most first, then the rest as one."""
    named = {name: tally for name, tally in figures.groups.items() if name != OTHER}
    shown = nlargest(MOST_GROUPS, named, key=lambda name: named[name].requests)
    rest = figures.groups.keys() - set(shown)
    if not rest:
        return {name: named[name] for name in shown}
    other = Tally()
    for name in rest:
        other.merge(figures.groups[name])
    return {**{name: named[name] for name in shown}, OTHER: other}


def _build() -> Iterator[str]:
    yield from head("crawl_build", "info", "The program that wrote this file.")
    yield sample("crawl_build_info", {"version": VERSION}, 1)


def _counters(figures: Figures, groups: _Groups) -> Iterator[str]:
    requests = [
        ({**labels, "outcome": outcome}, value)
        for labels, group in groups
        for outcome, value in (("ok", group.ok), ("failed", group.failed))
    ]
    statuses = [
        ({**labels, "code": str(code)}, n)
        for labels, group in groups
        for code, n in sorted(group.statuses.items())
        if code
    ]
    errors = [({"error": name}, each.failures) for name, each in sorted(figures.errors.items())]
    received = [(labels, group.bytes) for labels, group in groups]
    opened = [(labels, group.connections) for labels, group in groups]
    yield from _counter("crawl_requests", "Requests made, warm-up left out.", requests)
    yield from _counter("crawl_responses", "Responses by status code.", statuses)
    yield from _counter("crawl_failures", "Failed requests by class of error.", errors)
    yield from _counter("crawl_received_bytes", "Body bytes after decoding.", received, "bytes")
    yield from _counter("crawl_connections", "New connections that were answered.", opened)


def _latencies(figures: Figures, groups: _Groups) -> Iterator[str]:
    response = [(labels, group.response) for labels, group in groups]
    service = [(labels, group.service) for labels, group in groups]
    yield from _histogram(
        "crawl_response_seconds", "From the moment a request was due to its last byte.", response
    )
    yield from _histogram(
        "crawl_service_seconds", "From the start of a request to its last byte.", service
    )
    yield from _histogram(
        "crawl_lag_seconds", "How late requests were started by this client.", [({}, figures.lag)]
    )


def _gauges(report: Report) -> Iterator[str]:
    figures, audit = report.figures, report.audit
    spans = figures.runs.values()
    yield from _gauge("crawl_rate", "Requests a second, from first to last.", figures.rate_per_s)
    yield from _gauge("crawl_sent_rate", "Requests begun a second.", figures.sent_per_s)
    yield from _gauge("crawl_wall_seconds", "Length of all runs.", figures.wall_s, "seconds")
    if spans:
        first_s, end_s = min(each.first_s for each in spans), max(each.end_s for each in spans)
        yield from _gauge("crawl_start_seconds", "First start, Unix time.", first_s, "seconds")
        yield from _gauge("crawl_end_seconds", "Last end, Unix time.", end_s, "seconds")
    yield from _gauge("crawl_cpu_ratio", "CPU used, of all there is.", audit.cpu_share, "ratio")
    yield from _gauge(
        "crawl_client_saturated", "1 if the figures may be the client's own.", int(audit.saturated)
    )


def _counter(name: str, told: str, samples: _Samples, unit: str = "") -> Iterator[str]:
    yield from head(name, "counter", told, unit)
    for labels, value in samples:
        yield sample(f"{name}_total", labels, value)


def _gauge(name: str, told: str, value: float, unit: str = "") -> Iterator[str]:
    if isfinite(value):
        yield from head(name, "gauge", told, unit)
        yield sample(name, {}, value)


def _histogram(name: str, told: str, samples: Iterable[tuple[Labels, Histogram]]) -> Iterator[str]:
    yield from head(name, "histogram", told, "seconds")
    for labels, times in samples:
        for bound_s, reached in zip(BOUNDS_S, _reached(times), strict=True):
            yield sample(f"{name}_bucket", {**labels, "le": repr(bound_s)}, reached)
        yield sample(f"{name}_bucket", {**labels, "le": "+Inf"}, times.count)
        yield sample(f"{name}_count", labels, times.count)
        yield sample(f"{name}_sum", labels, times.sum / 1000)


def _reached(times: Histogram) -> list[int]:
    """How many values are at most each of ``BOUNDS_S``."""
    middles_ms, counts = times.buckets()
    middles, up_to = middles_ms.tolist(), [0, *accumulate(counts.tolist())]
    return [up_to[bisect_right(middles, 1000 * bound_s)] for bound_s in BOUNDS_S]
