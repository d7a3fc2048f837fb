"""A latency report as one HTML page that works offline.

Everything shown is in the document that ``--json`` writes: tables hold its figures beside the text
(``data-value``), and the page's script draws its charts from the document itself. Without a script
the tables stand as they are. The page's size is bounded by the document's: bins, curves and bars
of a run, a row of a group, none of a record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from crawler.report import cells
from crawler.report.latency_machine import document
from crawler.report.markup import (
    Cell,
    Markup,
    figure,
    paragraph,
    section,
    table,
    tiles,
    titled,
    warnings,
)
from crawler.report.page import page
from crawler.report.units import UNSUPPORTED

if TYPE_CHECKING:
    from crawler.report.model import Report
    from crawler.report.units import TimeScale

_Row = Mapping[str, Any]

_TILED: Final = ("p50", "p95", "p99")
_OF_GROUPS: Final = ("p50", "p90", "p95", "p99")
_MOMENTS: Final = {
    "max": "max_ms",
    "min": "min_ms",
    "mean": "mean_ms",
    "standard deviation": "deviation_ms",
}
_NAMES: Final = {"service": "service time", "response": "response time"}
_MEANINGS: Final = {
    "service": "Service time runs from the start of a request to its last byte.",
    "response": (
        "Response time runs from the moment a request was due to its last byte, our own lag "
        "included, so that a stalled server cannot hide the requests it kept waiting."
    ),
}
_FOOTNOTE: Final = (
    f"{UNSUPPORTED} marks a percentile that has too few successes beyond it: read it as a hint. "
    "Bounds are those of a 95 % confidence interval."
)


def to_html(report: Report) -> str:
    """Give the page of a report: the figures of ``latency_machine.document``, as they are.

    Raises ``UsageError`` where plotly is not installed.
    """
    told = document(report)
    return page(f"Latency of {report.title}", _body(told), told)


def _body(told: _Row) -> list[Markup]:
    median_ms = told["total"][told["main_latency"]]["percentiles"]["p50"]["value_ms"]
    scale = cells.scale_of(median_ms)
    main = (
        warnings(told["audit"]["warnings"]),
        tiles(_main_figures(told, scale)),
        _over_time(told),
        _percentiles(told, scale),
        _histogram(told),
        _groups(told, scale),
        _phases(told, scale),
        _slowest(told, scale),
        _errors(told),
        _statuses(told),
        _runs(told, scale),
        _client(told, scale),
    )
    script = {"unit": scale.unit, "per-ms": scale.per_ms, "origin": _origin(told)}
    return titled(f"Latency of {told['title']}", _subtitle(told), main, script)


def _origin(told: _Row) -> str:
    return cells.origin_of(row["name"] for row in told["groups"])


def _subtitle(told: _Row) -> str:
    total, runs = told["total"], len(told["runs"])
    parts = [
        f"{cells.moment(total['started_s']).text} UTC",
        f"{cells.wall(total['duration_s']).text}",
        f"{runs} runs" if runs > 1 else f"run {told['runs'][0]['run']}" if runs else "no run",
        f"latencies are {_NAMES[told['main_latency']]}s",
    ]
    if total["warmup"]:
        parts.append(f"{total['warmup']:,} warm-up requests left out")
    return " · ".join(parts)


def _main_figures(told: _Row, scale: TimeScale) -> Iterator[tuple[str, Cell]]:
    total = told["total"]
    main = total[told["main_latency"]]
    yield "requests", cells.count(total["requests"])
    yield "a second", cells.rate(total["rate_per_s"])
    yield "failed", cells.failed_share(total["failed_share"])
    for name in _TILED:
        at = main["percentiles"][name]
        yield name, _with_bounds(cells.phrase(scale, at["value_ms"]), at, scale)
    yield "max", cells.phrase(scale, main["max_ms"])


def _with_bounds(cell: Cell, at: _Row, scale: TimeScale) -> Cell:
    if at["low_ms"] is None or at["high_ms"] is None:
        return cell
    return cell._replace(note=f"95 %: {scale.cell(at['low_ms'])} to {scale.cell(at['high_ms'])}")


def _over_time(told: _Row) -> Markup:
    if not told["total"]["requests"]:
        return paragraph("There is no request in what was read.")
    shown = figure("timeline", "Percentiles, requests and failures a second, by when each began")
    return section("time", "Latency over time", shown)


def _percentiles(told: _Row, scale: TimeScale) -> Markup:
    kind = told["main_latency"]
    main, service = told["total"][kind], told["total"]["service"]
    headings = ["", _NAMES[kind], "from", "to"]
    rows = [*_quantile_rows(main, scale), *_moment_rows(main, scale)]
    if kind != "service":
        headings.append(_NAMES["service"])
        beside = [*_quantile_rows(service, scale), *_moment_rows(service, scale)]
        rows = [[*row, other[1]] for row, other in zip(rows, beside, strict=True)]
    caption = f"{main['count']:,} successes, {scale.unit}"
    return section(
        "percentiles",
        "Percentiles",
        figure("percentiles", "Latency by percentile: its axis is logarithmic in what lies beyond"),
        table("percentiles", caption, headings, rows, sortable=False),
        paragraph(f"{_MEANINGS[kind]} {_FOOTNOTE}"),
    )


def _quantile_rows(times: _Row, scale: TimeScale) -> list[list[Cell]]:
    return [
        [
            Cell(name),
            _quantile(at, scale),
            cells.duration(scale, at["low_ms"]),
            cells.duration(scale, at["high_ms"]),
        ]
        for name, at in times["percentiles"].items()
    ]


def _moment_rows(times: _Row, scale: TimeScale) -> list[list[Cell]]:
    return [
        [Cell(name), cells.duration(scale, times[key]), Cell(""), Cell("")]
        for name, key in _MOMENTS.items()
    ]


def _quantile(at: _Row, scale: TimeScale) -> Cell:
    return cells.hinted(scale, at["value_ms"], supported=at["supported"])


def _histogram(told: _Row) -> Markup:
    if not told["total"]["ok"]:
        return Markup("")
    return section(
        "histogram",
        "Histogram",
        figure("histogram", "Successes by latency: the area under the line is their number"),
    )


def _groups(told: _Row, scale: TimeScale) -> Markup:
    kind = told["main_latency"]
    columns = [
        told["group_by"],
        "requests",
        "a second",
        "failed",
        "mean",
        *_OF_GROUPS,
        "max",
        "received",
    ]
    origin = _origin(told)
    rows = [[cells.name(row["name"], origin), *_group(row, kind, scale)] for row in told["groups"]]
    caption = f"{origin} · {len(rows):,} by {told['group_by']} · {_NAMES[kind]} in {scale.unit}"
    heading = "Endpoints" if told["group_by"] == "endpoint" else f"By {told['group_by']}"
    return (
        section("groups", heading, table("groups", caption.removeprefix(" · "), columns, rows))
        if rows
        else Markup("")
    )


def _group(row: _Row, kind: str, scale: TimeScale) -> list[Cell]:
    times = row[kind]
    return [
        cells.count(row["requests"]),
        cells.rate(row["rate_per_s"]),
        cells.failed_share(row["failed_share"]),
        cells.duration(scale, times["mean_ms"]),
        *(_quantile(times["percentiles"][name], scale) for name in _OF_GROUPS),
        cells.duration(scale, times["max_ms"]),
        cells.size(row["bytes"]),
    ]


def _phases(told: _Row, scale: TimeScale) -> Markup:
    keys = ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")
    columns = ["phase", "responses", *(key[:-3] for key in keys)]
    rows = [
        [
            cells.text(row["phase"]),
            cells.count(row["count"]),
            *(cells.duration(scale, row[key]) for key in keys),
        ]
        for row in told["phases"]
    ]
    return section(
        "phases",
        "Phases",
        figure("phases", f"Mean of each phase on a new connection, by {told['group_by']}"),
        table("phases", f"Phases of all responses, {scale.unit}", columns, rows),
        paragraph("DNS, connect and TLS are of new connections only; a reused one has none."),
    )


def _slowest(told: _Row, scale: TimeScale) -> Markup:
    columns = ["URL", "response time", "service time", "status", "started, UTC"]
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
    if not rows:
        return Markup("")
    caption = f"{origin} · latencies in {scale.unit}".removeprefix(" · ")
    return section("slowest", "Slowest requests", table("slowest", caption, columns, rows))


def _errors(told: _Row) -> Markup:
    columns = ["class", "requests", "share", "the first: why"]
    columns.append("URL")
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
    if not rows:
        return Markup("")
    return section("errors", "Errors", table("errors", "Failed requests", columns, rows))


def _statuses(told: _Row) -> Markup:
    requests = told["total"]["requests"]
    rows = [
        [cells.status(int(status)), cells.count(n), cells.share(n / requests)]
        for status, n in told["statuses"].items()
    ]
    if not rows:
        return Markup("")
    columns = ["status", "responses", "share of requests"]
    return section("statuses", "Status codes", table("statuses", "Responses", columns, rows))


def _runs(told: _Row, scale: TimeScale) -> Markup:
    columns = ["run", "started, UTC", "length", "requests"]
    columns += ["a second", "failed", *_TILED]
    columns += ["asked", "concurrency"]
    rows = [_run(row, told["main_latency"], scale) for row in told["runs"]]
    if not rows:
        return Markup("")
    caption = f"{_NAMES[told['main_latency']]} in {scale.unit}"
    return section("runs", "Runs", table("runs", caption, columns, rows))


def _run(row: _Row, kind: str, scale: TimeScale) -> list[Cell]:
    note = row["note"] or {}
    return [
        cells.text(row["run"]),
        cells.moment(row["started_s"]),
        cells.wall(row["duration_s"]),
        cells.count(row["requests"]),
        cells.rate(row["rate_per_s"]),
        cells.failed_share(row["failed_share"]),
        *(_quantile(row[kind]["percentiles"][name], scale) for name in _TILED),
        cells.text(note.get("schedule")),
        cells.count(note.get("concurrency")),
    ]


def _client(told: _Row, scale: TimeScale) -> Markup:
    audit = told["audit"]
    shown = [
        ("lag p50", cells.phrase(scale, audit["lag_p50_ms"])),
        ("lag p99", cells.phrase(scale, audit["lag_p99_ms"])),
        ("lag max", cells.phrase(scale, audit["lag_max_ms"])),
        ("CPU", cells.share(audit["cpu_share"])),
        ("cores", cells.count(audit["cores"] or None)),
    ]
    said = "Lag is how late this client started its requests."
    if not audit["warnings"]:
        said += " Nothing here says that the figures are the client's own."
    return section("client", "The client itself", tiles(shown), paragraph(said))
