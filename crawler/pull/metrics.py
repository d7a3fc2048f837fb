"""A job's figures as an OpenMetrics text, for node_exporter's textfile collector and the page.

Gauges only: that collector reads Prometheus' own text format, which knows no ``info``. At most
``MOST_TARGETS`` targets of a job have series, those that fail first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from crawler.exposition import Labels, head, sample
from crawler.files import write_whole
from crawler.pull.overview import JobView, TargetView

MOST_TARGETS: Final = 500


class Figure(NamedTuple):
    """One gauge: its name, unit ("" for a plain number), meaning, and values with their labels."""

    name: str
    unit: str
    told: str
    values: tuple[tuple[Labels, float], ...]


def figures_of(views: Sequence[JobView]) -> Iterator[Figure]:
    """Yield all gauges that have a value."""
    for name, unit, told, values in _job_figures(views):
        if values:
            yield Figure(f"crawl_pull_{name}", unit, told, values)
    targets = [
        ({"job": view.name, "target": _named(target)}, target)
        for view in views
        for target in sorted(view.targets, key=lambda each: -each.failures)[:MOST_TARGETS]
    ]
    for name, unit, told in _TARGET_FIGURES:
        of = [(labels, _value(target, name)) for labels, target in targets]
        known = tuple((labels, value) for labels, value in of if value is not None)
        if known:
            yield Figure(f"crawl_pull_{name}", unit, told, known)


_Row = tuple[str, str, str, tuple[tuple[Labels, float], ...]]


def _job_figures(views: Sequence[JobView]) -> Iterator[_Row]:
    made = [(view, view.last) for view in views if view.last is not None]
    begun = tuple((_job(view), last.started) for view, last in made)
    could = tuple((_job(view), float(last.error is None)) for view, last in made)
    took = tuple((_job(v), last.ended - last.started) for v, last in made if last.error is None)
    asked = tuple(
        ({**_job(view), "outcome": outcome}, float(getattr(last, outcome)))
        for view, last in made
        if last.error is None
        for outcome in ("changed", "unchanged", "failed")
    )
    coming = tuple((_job(v), v.next_at) for v in views if v.next_at is not None)
    firing = tuple(
        ({**_job(v), "rule": alert.rule, "subject": alert.subject}, 1.0)
        for v in views
        for alert in v.alerts
    )
    yield "last_run_timestamp_seconds", "seconds", "When the last pull began, Unix time.", begun
    yield "last_run_made", "", "1 if the last pull could be made.", could
    yield "last_run_seconds", "seconds", "How long the last pull took.", took
    yield "targets", "", "Targets of the last pull by outcome.", asked
    yield "next_run_timestamp_seconds", "seconds", "When the next pull is due.", coming
    yield "alert", "", "1 for each alert that is firing.", firing


_TARGET_FIGURES: Final = (
    ("last_success_timestamp_seconds", "seconds", "When a target last went well, Unix time."),
    ("last_change_timestamp_seconds", "seconds", "When a target last changed, Unix time."),
    ("failures", "", "Failures in a row."),
    ("latency_seconds", "seconds", "Latency of the last success."),
    ("latency_p95_seconds", "seconds", "95th percentile of the last successes."),
    ("latency_baseline_p95_seconds", "seconds", "95th percentile of those before."),
    ("versions", "", "Versions that are kept."),
)


def _value(target: TargetView, name: str) -> float | None:
    times = target.latencies_ms
    values = {
        "last_success_timestamp_seconds": target.succeeded_at,
        "last_change_timestamp_seconds": target.changed_at,
        "failures": float(target.failures),
        "latency_seconds": _seconds(times[-1] if times else None),
        "latency_p95_seconds": _seconds(target.p95_ms),
        "latency_baseline_p95_seconds": _seconds(target.baseline_p95_ms),
        "versions": float(target.versions),
    }
    return values[name]


def _seconds(value_ms: float | None) -> float | None:
    return None if value_ms is None else value_ms / 1000


def _job(view: JobView) -> Labels:
    return {"job": view.name}


def _named(target: TargetView) -> str:
    return target.key if target.page == 1 else f"{target.key} page {target.page}"


def to_metrics(views: Sequence[JobView]) -> str:
    """Give the whole text, ended by ``# EOF`` and a newline."""
    return "\n".join((*_lines(figures_of(views)), "# EOF")) + "\n"


def _lines(figures: Iterable[Figure]) -> Iterator[str]:
    for figure in figures:
        yield from head(figure.name, "gauge", figure.told, figure.unit)
        for labels, value in figure.values:
            yield sample(figure.name, labels, value)


def write_metrics(path: Path, views: Sequence[JobView]) -> None:
    """Write the text so that a collector never reads half of it; raises ``LogError``."""
    write_whole(path, to_metrics(views).encode())
