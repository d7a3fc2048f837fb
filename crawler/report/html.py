"""A latency report as one HTML page that works offline.

Everything shown is in the document that ``--json`` writes: tables hold its figures beside the text
(``data-value``), and the page's script draws its charts from the document itself. Without a script
the tables stand as they are. The page's size is bounded by the document's: bins, curves and bars
of a run, a row of a group, none of a record.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from crawler.report import cells, tables
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
from crawler.report.tables import NAMES, TILED, Row
from crawler.report.units import UNSUPPORTED

if TYPE_CHECKING:
    from crawler.report.model import Report
    from crawler.report.units import TimeScale

_MOMENTS: Final = {
    "max": "max_ms",
    "min": "min_ms",
    "mean": "mean_ms",
    "standard deviation": "deviation_ms",
}
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


def _body(told: Row) -> list[Markup]:
    total = told["total"]
    times = total[told["main_latency"] if total["ok"] else "failures"]
    scale = cells.scale_of(times["percentiles"]["p50"]["value_ms"])
    main = (
        warnings("Read these figures with care", told["audit"]["warnings"]),
        tiles(_main_figures(told, scale)),
        *(_latencies(told, scale) if total["requests"] else [_nothing()]),
        tables.errors(told),
        tables.statuses(told),
        tables.runs(told, scale),
        _client(told, scale),
    )
    script = {
        "unit": scale.unit,
        "per-ms": scale.per_ms,
        "origin": tables.origin_of(told),
    }
    return titled(f"Latency of {told['title']}", _subtitle(told), main, script)


def _nothing() -> Markup:
    return section("none", "No requests", paragraph("There is no request in what was read."))


def _latencies(told: Row, scale: TimeScale) -> list[Markup]:
    over_time = figure("timeline", "Percentiles, requests and failures a second, by their start")
    bars = figure("histogram", "Successes by latency: the area under the line is their number")
    none = paragraph("No request was a success: there is no latency to tell.")
    ok = told["total"]["ok"]
    return [
        section("time", "Latency over time", over_time),
        _percentiles(told, scale) if ok else section("percentiles", "Percentiles", none),
        section("histogram", "Histogram", bars if ok else Markup("")),
        tables.groups(told, scale),
        tables.phases(told, scale),
        tables.slowest(told, scale),
    ]


def _subtitle(told: Row) -> str:
    total, runs = told["total"], told["runs"]
    warmup = total["warmup"]
    return cells.listed(
        f"{cells.moment(total['started_s']).text} UTC" if runs else "",
        cells.wall(total["duration_s"]).text if runs else "",
        f"{len(runs)} runs" if len(runs) > 1 else "".join(f"run {each['run']}" for each in runs),
        f"latencies are {NAMES[told['main_latency']]}s",
        f"{warmup:,} warm-up requests left out" if warmup else "",
    )


def _main_figures(told: Row, scale: TimeScale) -> Iterator[tuple[str, Cell]]:
    total = told["total"]
    main = total[told["main_latency"]]
    yield "requests", cells.count(total["requests"])
    yield "a second", cells.rate(total["rate_per_s"])
    yield "failed", cells.failed_share(total["failed_share"])
    for name in TILED:
        at = main["percentiles"][name]
        yield name, _with_bounds(cells.phrase(scale, at["value_ms"]), at, scale)
    yield "max", cells.phrase(scale, main["max_ms"])


def _with_bounds(cell: Cell, at: Row, scale: TimeScale) -> Cell:
    if at["low_ms"] is None or at["high_ms"] is None:
        return cell
    return cell._replace(note=f"95 %: {scale.cell(at['low_ms'])} to {scale.cell(at['high_ms'])}")


def _percentiles(told: Row, scale: TimeScale) -> Markup:
    kind = told["main_latency"]
    main, service = told["total"][kind], told["total"]["service"]
    headings = ["", NAMES[kind], "from", "to"]
    rows = [*_quantile_rows(main, scale), *_moment_rows(main, scale)]
    if kind != "service":
        headings.append(NAMES["service"])
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


def _quantile_rows(times: Row, scale: TimeScale) -> list[list[Cell]]:
    return [
        [
            Cell(name),
            tables.quantile(at, scale),
            cells.duration(scale, at["low_ms"]),
            cells.duration(scale, at["high_ms"]),
        ]
        for name, at in times["percentiles"].items()
    ]


def _moment_rows(times: Row, scale: TimeScale) -> list[list[Cell]]:
    return [
        [Cell(name), cells.duration(scale, times[key]), Cell(""), Cell("")]
        for name, key in _MOMENTS.items()
    ]


def _client(told: Row, scale: TimeScale) -> Markup:
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
    if audit["cpu_share"] is None:
        said += " Its CPU share is noted by benchmarks only."
    known = [(name, cell) for name, cell in shown if cell.value is not None]
    return section("client", "The client itself", tiles(known), paragraph(said))
