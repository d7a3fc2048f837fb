"""A latency report for programs: one JSON document, or a CSV table of its groups.

``document`` is what ``--json`` writes and what the HTML page is drawn from, so that both say the
same. Units are in the names of the keys. What there is no figure for is null in JSON and empty in
CSV. A percentile that its sample cannot support is given and flagged; one that it has no
observation beyond is null. Every key is told in docs/report.md.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from crawler.figures import FRACTION_NAMES, FRACTIONS
from crawler.intervals import CONFIDENCE, quantiles
from crawler.report.spread import percentile_curve, spread
from crawler.report.units import plain_number
from crawler.samples import OTHER, PHASES

if TYPE_CHECKING:
    from crawler.figures import Figures, Tally
    from crawler.histogram import Histogram
    from crawler.report.model import Report, RunFigures

BARS: Final = 60
"""Bars of a histogram, at most."""
_OF_NEW_CONNECTIONS: Final = 3
"""The first phases, which only a new connection has."""

Row = dict[str, object]


def document(report: Report) -> Row:
    """All figures of a report as what JSON can hold: dicts, lists, texts, numbers, None."""
    figures = report.figures
    return {
        "title": report.title,
        "group_by": figures.group_by,
        "main_latency": "response" if report.open_loop else "service",
        "confidence": CONFIDENCE,
        "total": _figures(figures, report.main) | {"warmup": figures.warmup},
        "groups": [
            {"name": name} | _tally(tally, figures.wall_s) for name, tally in ranked_groups(figures)
        ],
        "phases": [_phase(*each) for each in zip(PHASES, figures.phases, strict=True)],
        "statuses": {str(status): n for status, n in sorted(figures.statuses.items())},
        "errors": _errors(figures),
        "slowest": [
            _row(slow._asdict()) | {"status": slow.status or None} for slow in figures.slowest
        ],
        "runs": [_run(each, response=report.open_loop) for each in report.runs],
        "audit": _row(asdict(report.audit)) | {"saturated": report.audit.saturated},
    }


def to_json(report: Report) -> str:
    """``document`` as indented JSON, ended by a newline."""
    return json.dumps(document(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(report: Report) -> str:
    """A row a group, ``total`` last (RFC 4180, but lines end in LF).

    The first column bears the name of what was grouped by. ``unsupported`` names, with spaces
    between, the percentiles of the main latency that are so flagged.
    """
    text = io.StringIO()
    wall_s = report.figures.wall_s
    rows = [*ranked_groups(report.figures), ("total", report.figures.total)]
    flat = [(name, _flat(_tally(tally, wall_s), report)) for name, tally in rows]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([report.figures.group_by, *flat[-1][1]])
    writer.writerows([name, *row.values()] for name, row in flat)
    return text.getvalue()


def ranked_groups(figures: Figures) -> list[tuple[str, Tally]]:
    """The groups, most requests first, ``(other)`` after them."""
    return sorted(
        figures.groups.items(), key=lambda item: (item[0] == OTHER, -item[1].requests, item[0])
    )


def _figures(figures: Figures, main: Histogram) -> Row:
    """What is told of all records, and of each run by itself."""
    spans = figures.runs.values()
    return _tally(figures.total, figures.wall_s) | {
        "started_s": plain_number(min((span.first_s for span in spans), default=None)),
        "ended_s": plain_number(max((span.end_s for span in spans), default=None)),
        "duration_s": plain_number(figures.wall_s),
        "sent_per_s": plain_number(figures.sent_per_s),
        "histogram": [_row(bar._asdict()) for bar in spread(main, BARS)],
        "curve": [
            {"fraction": fraction, "ms": plain_number(ms)}
            for fraction, ms in percentile_curve(main)
        ],
        "timeline": [_row(each._asdict()) for each in figures.timeline.bins()],
    }


def _tally(tally: Tally, wall_s: float) -> Row:
    return {
        "requests": tally.requests,
        "ok": tally.ok,
        "failed": tally.failed,
        "failed_share": plain_number(tally.failed_share),
        "rate_per_s": plain_number(tally.requests / wall_s) if wall_s > 0 else None,
        "bytes": tally.bytes,
        "service": _latency(tally.service),
        "response": _latency(tally.response),
        "failures": _latency(tally.failures),
        "phases": _phase_means(tally),
    }


def _latency(times: Histogram) -> Row:
    at = zip(FRACTION_NAMES, quantiles(times, FRACTIONS), strict=True)
    return _row(
        {
            "count": times.count,
            "min_ms": times.min,
            "mean_ms": times.mean,
            "deviation_ms": times.deviation,
            "max_ms": times.max,
        }
    ) | {"percentiles": {name: _row(quantile._asdict()) for name, quantile in at}}


def _phase_means(tally: Tally) -> Row:
    """Mean of each phase, in ms: of the first three over new connections only."""
    counts = [tally.connections] * _OF_NEW_CONNECTIONS
    counts += [tally.answered] * (len(PHASES) - _OF_NEW_CONNECTIONS)
    return {
        f"{name}_ms": plain_number(float(total_ms) / n) if n else None
        for name, total_ms, n in zip(PHASES, tally.phase_ms, counts, strict=True)
    }


def _phase(name: str, times: Histogram) -> Row:
    p50_ms, p95_ms, p99_ms = times.percentiles((0.50, 0.95, 0.99))
    figures = {"mean_ms": times.mean, "p50_ms": p50_ms, "p95_ms": p95_ms, "p99_ms": p99_ms}
    return {"phase": name, "count": times.count} | _row(figures | {"max_ms": times.max})


def _errors(figures: Figures) -> list[Row]:
    """Most frequent first."""
    ranked = sorted(figures.errors.items(), key=lambda item: (-item[1].failures, item[0]))
    return [
        {
            "error": name,
            "count": failed.failures,
            "example_url": failed.example.url,
            "example_detail": failed.example.detail,
        }
        for name, failed in ranked
    ]


def _run(each: RunFigures, *, response: bool) -> Row:
    total = each.figures.total
    main = total.response if response else total.service
    note = None if each.note is None else _row(asdict(each.note))
    return {"run": each.run} | _figures(each.figures, main) | {"note": note}


def _flat(tally: Row, report: Report) -> Row:
    """One row of the CSV table: counts, then the three latencies side by side."""
    flat = {key: value for key, value in tally.items() if not isinstance(value, dict)}
    for kind in ("service", "response"):
        flat |= {f"{kind}_{key}": value for key, value in _cells(tally[kind])}
    main = tally["response" if report.open_loop else "service"]
    assert isinstance(main, dict)
    marked = [
        name for name, at in main["percentiles"].items() if main["count"] and not at["supported"]
    ]
    return flat | {"unsupported": " ".join(marked)}


def _cells(latency: object) -> Iterator[tuple[str, object]]:
    assert isinstance(latency, dict)
    for key, value in latency.items():
        if key != "percentiles":
            yield key, value
    for name, at in latency["percentiles"].items():
        stem = name.replace(".", "")
        for bound in ("value", "low", "high"):
            yield f"{stem}_{bound}_ms".replace("_value", ""), at[f"{bound}_ms"]


def _row(values: Mapping[str, object]) -> Row:
    return {key: plain_number(value) for key, value in values.items()}
