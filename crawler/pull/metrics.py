"""A job's figures as an OpenMetrics text, for node_exporter's textfile collector and the page.

Gauges only: that collector reads Prometheus' own text format, which knows no ``info``. At most
``MOST_TARGETS`` targets of a job have series, those that fail first, and ``MOST_ALERTS`` alerts,
those that fire longest. No two samples have the same labels: a collector would refuse them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from crawler.exposition import Labels, head, plain, sample
from crawler.files import write_whole
from crawler.pull.overview import JobView, TargetView

MOST_TARGETS: Final = 500
MOST_ALERTS: Final = 500

_Values = Iterable[tuple[Labels, float | None]]


class Figure(NamedTuple):
    """One gauge: its name, unit ("" for a plain number), meaning, and values with their labels."""

    name: str
    unit: str
    told: str
    values: tuple[tuple[Labels, float], ...]


def figures_of(views: Sequence[JobView]) -> Iterator[Figure]:
    """Yield all gauges that have a value; labels are printable."""
    for name, unit, told, values in (*_job_figures(views), *_target_figures(views)):
        known = _known(values)
        if known:
            yield Figure(f"crawl_pull_{name}", unit, told, known)


def _known(values: _Values) -> tuple[tuple[Labels, float], ...]:
    """Leave out what has no value, and all but the first of those that are called the same."""
    found = dict[tuple[tuple[str, str], ...], float]()
    for labels, value in values:
        if value is not None:
            found.setdefault(tuple((key, plain(text)) for key, text in labels.items()), value)
    return tuple((dict(labels), value) for labels, value in found.items())


_Row = tuple[str, str, str, _Values]


def _job_figures(views: Sequence[JobView]) -> Iterator[_Row]:
    made = [(view, view.last) for view in views if view.last is not None]
    begun = [(_job(view), last.started) for view, last in made]
    could = [(_job(view), float(last.error is None)) for view, last in made]
    took = [(_job(v), last.ended - last.started) for v, last in made if last.error is None]
    asked = [
        ({**_job(view), "outcome": outcome}, float(getattr(last, outcome)))
        for view, last in made
        if last.error is None
        for outcome in ("changed", "unchanged", "failed")
    ]
    firing = [
        ({**_job(v), "rule": alert.rule, "subject": alert.subject}, 1.0)
        for v in views
        for alert in v.alerts[:MOST_ALERTS]  # they are in the order of their beginning
    ]
    heeded = [
        (_job(view), float(view.error is None and view.fault is None))
        for view in views
        if view.last is not None or view.error is not None or view.fault is not None
    ]
    coming = [(_job(view), view.next_at) for view in views]
    yield "last_run_timestamp_seconds", "seconds", "When the last pull began, Unix time.", begun
    yield "last_run_made", "", "1 if the last pull could be made.", could
    yield "last_run_seconds", "seconds", "How long the last pull took.", took
    yield "job_heeded", "", "0 if a job's file or state is not right.", heeded
    yield "targets", "", "Targets of the last pull by outcome.", asked
    yield "next_run_timestamp_seconds", "seconds", "When the next pull is due.", coming
    yield "alert", "", "1 for each alert that is firing.", firing


def _target_figures(views: Sequence[JobView]) -> Iterator[_Row]:
    targets = [
        ({**_job(view), "target": target.name}, target)
        for view in views
        for target in sorted(view.targets, key=lambda each: -each.failures)[:MOST_TARGETS]
    ]
    for name, unit, told, value in _TARGET_FIGURES:
        yield name, unit, told, [(labels, value(target)) for labels, target in targets]


_TARGET_FIGURES: Final[tuple[tuple[str, str, str, Callable[[TargetView], float | None]], ...]] = (
    (
        "last_success_timestamp_seconds",
        "seconds",
        "When a target last went well, Unix time.",
        lambda target: target.succeeded_at,
    ),
    (
        "last_change_timestamp_seconds",
        "seconds",
        "When a target last changed, Unix time.",
        lambda target: target.changed_at,
    ),
    ("failures", "", "Failures in a row.", lambda target: float(target.failures)),
    (
        "latency_seconds",
        "seconds",
        "Latency of the last success.",
        lambda target: _seconds(target.latencies_ms[-1] if target.latencies_ms else None),
    ),
    (
        "latency_p95_seconds",
        "seconds",
        "95th percentile of the last successes.",
        lambda target: _seconds(target.p95_ms),
    ),
    (
        "latency_baseline_p95_seconds",
        "seconds",
        "95th percentile of those before.",
        lambda target: _seconds(target.baseline_p95_ms),
    ),
    ("versions", "", "Versions that are kept.", lambda target: float(target.versions)),
)


def _seconds(value_ms: float | None) -> float | None:
    return None if value_ms is None else value_ms / 1000


def _job(view: JobView) -> Labels:
    return {"job": view.name}


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
