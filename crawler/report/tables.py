"""The tables of a latency report's page: endpoints, phases, slowest requests, errors, runs.

Each is of a part of the document, and is nothing where that part is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from crawler.report import cells
from crawler.report.markup import Cell, Markup, figure, paragraph, section, table

if TYPE_CHECKING:
    from crawler.report.units import TimeScale

Row = Mapping[str, Any]
"""A part of the document."""

NAMES: Final = {"service": "service time", "response": "response time"}
"""What the two latencies are called."""
TILED: Final = ("p50", "p95", "p99")
"""The percentiles that stand for the others where there is little room."""

_OF_GROUPS: Final = ("p50", "p90", "p95", "p99")
_OF_PHASES: Final = ("mean", "p50", "p95", "p99", "max")


def groups(told: Row, scale: TimeScale) -> Markup:
    """A row an endpoint, or whatever records are grouped by."""
    by, kind = told["group_by"], told["main_latency"]
    origin = origin_of(told)
    headings = [by, "requests", "a second", "failed", "mean", *_OF_GROUPS, "max", "received"]
    rows = [[cells.name(row["name"], origin), *_group(row, kind, scale)] for row in told["groups"]]
    caption = cells.listed(origin, f"{len(rows):,} by {by}", f"{NAMES[kind]} in {scale.unit}")
    heading = "Endpoints" if by == "endpoint" else f"By {by}"
    return section("groups", heading, table("groups", caption, headings, rows))


def _group(row: Row, kind: str, scale: TimeScale) -> list[Cell]:
    times = row[kind]
    return [
        cells.count(row["requests"]),
        cells.rate(row["rate_per_s"]),
        cells.failed_share(row["failed_share"]),
        cells.duration(scale, times["mean_ms"]),
        *(quantile(times["percentiles"][name], scale) for name in _OF_GROUPS),
        cells.duration(scale, times["max_ms"]),
        cells.size(row["bytes"]),
    ]


def quantile(at: Row, scale: TimeScale) -> Cell:
    """A percentile, marked where its sample is too small for it."""
    return cells.hinted(scale, at["value_ms"], supported=at["supported"])


def origin_of(told: Row) -> str:
    """``scheme://host`` that all groups share, "" if there is none."""
    return cells.origin_of(row["name"] for row in told["groups"])


def phases(told: Row, scale: TimeScale) -> Markup:
    """The phases of all responses, and by endpoint as a chart."""
    rows = [
        [
            cells.text(row["phase"]),
            cells.count(row["count"]),
            *(cells.duration(scale, row[f"{name}_ms"]) for name in _OF_PHASES),
        ]
        for row in told["phases"]
    ]
    caption = f"Phases of all responses, {scale.unit}"
    return section(
        "phases",
        "Phases",
        figure("phases", f"Mean of each phase on a new connection, by {told['group_by']}"),
        table("phases", caption, ["phase", "responses", *_OF_PHASES], rows),
        paragraph("DNS, connect and TLS are of new connections only; a reused one has none."),
    )


def slowest(told: Row, scale: TimeScale) -> Markup:
    """The slowest requests by name."""
    origin = cells.origin_of(row["url"] for row in told["slowest"])
    rows = [
        [
            cells.name(row["url"], origin),
            cells.duration(scale, row["response_ms"]),
            cells.duration(scale, row["elapsed_ms"]),
            cells.status(row["status"]),
            cells.moment(row["started_s"]),
        ]
        for row in told["slowest"]
    ]
    headings = ("URL", "response time", "service time", "status", "started, UTC")
    caption = cells.listed(origin, f"latencies in {scale.unit}")
    return section("slowest", "Slowest requests", table("slowest", caption, headings, rows))


def errors(told: Row) -> Markup:
    """Failures by class, each with the first of its kind."""
    requests = told["total"]["requests"]
    rows = [
        [
            cells.text(row["error"]),
            cells.count(row["count"]),
            cells.share(row["count"] / requests),
            cells.text(row["example_detail"]),
            cells.text(row["example_url"]),
        ]
        for row in told["errors"]
    ]
    headings = ("class", "requests", "share", "the first of them", "its URL")
    return section("errors", "Errors", table("errors", "Failed requests", headings, rows))


def statuses(told: Row) -> Markup:
    """Responses by status code."""
    requests = told["total"]["requests"]
    rows = [
        [cells.status(int(code)), cells.count(n), cells.share(n / requests)]
        for code, n in told["statuses"].items()
    ]
    headings = ("status", "responses", "share of requests")
    return section("statuses", "Status codes", table("statuses", "Responses", headings, rows))


def runs(told: Row, scale: TimeScale) -> Markup:
    """A row a run, with what was asked of it where that is known."""
    kind = told["main_latency"]
    headings = ("run", "started, UTC", "length", "requests", "a second", "failed", *TILED)
    rows = [_run(row, kind, scale) for row in told["runs"]]
    caption = f"{NAMES[kind]} in {scale.unit}"
    return section(
        "runs", "Runs", table("runs", caption, (*headings, "rate asked", "concurrency"), rows)
    )


def _run(row: Row, kind: str, scale: TimeScale) -> list[Cell]:
    note = row["note"] or {}
    return [
        cells.text(row["run"]),
        cells.moment(row["started_s"]),
        cells.wall(row["duration_s"]),
        cells.count(row["requests"]),
        cells.rate(row["rate_per_s"]),
        cells.failed_share(row["failed_share"]),
        *(quantile(row[kind]["percentiles"][name], scale) for name in TILED),
        cells.text(note.get("schedule")),
        cells.count(note.get("concurrency")),
    ]
