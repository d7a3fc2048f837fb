"""The summary as a person reads it: aligned, 80 columns, one unit of time throughout.

The unit is that in which the median reads best, and every duration of the summary is given in it,
so that figures can be compared by eye. A percentile that its sample cannot support is marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import isnan
from typing import TYPE_CHECKING, Final

from crawler.report.columns import GAP, column_widths, columns, cut, plain, table
from crawler.report.listing import FailedClass, common_origin, error_lines
from crawler.report.units import (
    UNSUPPORTED,
    TimeScale,
    count_text,
    finer,
    rate_text,
    size_text,
    time_scales,
    wall_text,
)
from crawler.samples import OTHER
from crawler.summary import LATENCIES

if TYPE_CHECKING:
    from crawler.summary import Health, Results, Row

MAX_GROUPS: Final = 20
"""Groups printed, beside ``(other)`` and ``total``."""
FOOTNOTE: Final = f"{UNSUPPORTED} too few successes for this percentile: read it as a hint"

WARNING: Final = "warning: our own CPU is saturated; the latencies may be ours, not the server's"

_LEAST_WIDTH: Final = 60
"""Columns below which eight figures would have to be cut."""
_LEAST_NAME: Final = 16
"""Columns that a name is to have before figures are given in fewer digits."""
_COUNTS: Final = ("requests", "ok", "failed", "req/s", "bytes")
_LATENCIES: Final = ("min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max")


def render(results: Results, *, width: int = 80) -> str:
    """Give the whole summary: lines of at most ``width`` columns (60 at least), each ended."""
    width = max(width, _LEAST_WIDTH)
    rows = results.rows()
    shown, hidden = _select(rows)
    origin = common_origin(results.group_by, [row.name for row in shown[:-1]])
    names = [plain(row.name.removeprefix(origin)) for row in shown]
    heading = plain(origin or results.group_by)
    scale = _scale(rows[-1], shown, names, width)
    sections = (
        _headline(rows[-1], results.clock.wall_s),
        _note_hidden(_counts(shown, names, heading, width), hidden),
        _latencies(shown, names, scale, width),
        _phases(results, scale, width),
        _errors(results, width),
        [*_statuses(results.statuses), *_health(results.health, scale)],
    )
    blocks = ["\n".join(cut(line, width) for line in lines) for lines in sections if lines]
    return "\n\n".join(blocks) + "\n"


def _select(rows: Sequence[Row]) -> tuple[list[Row], int]:
    """The rows to print (the first groups, ``(other)``, the total) and the number left out."""
    *groups, total = rows
    shown = [row for i, row in enumerate(groups) if i < MAX_GROUPS or row.name == OTHER]
    return [*shown, total], len(groups) - len(shown)


def _headline(total: Row, wall_s: float) -> list[str]:
    at = total.figures
    rate = "" if isnan(at["rate_per_s"]) else f", {rate_text(at['rate_per_s'])}/s"
    noun = "request" if at["requests"] == 1 else "requests"
    return [
        f"{count_text(at['requests'])} {noun} in {wall_text(wall_s)}{rate}: "
        f"{count_text(at['ok'])} ok, {count_text(at['failed'])} failed, {size_text(at['bytes'])}"
    ]


def _counts(shown: Sequence[Row], names: Sequence[str], heading: str, width: int) -> list[str]:
    forms: dict[str, Callable[[float], str]] = {
        "requests": count_text,
        "ok": count_text,
        "failed": count_text,
        "rate_per_s": rate_text,
        "bytes": size_text,
    }
    rows = [[form(row.figures[column]) for column, form in forms.items()] for row in shown]
    return table(heading, _COUNTS, names, rows, width)


def _note_hidden(lines: list[str], hidden: int) -> list[str]:
    """``lines`` of a table with one after the groups that tells how many were left out."""
    if not hidden:
        return lines
    at = 1 + MAX_GROUPS
    return [*lines[:at], f"{' ' * GAP}… and {hidden:,} more", *lines[at:]]


def _latencies(
    shown: Sequence[Row], names: Sequence[str], scale: TimeScale, width: int
) -> list[str]:
    if not shown[-1].figures["ok"]:
        return []
    cells = _latency_cells(shown, scale)
    lines = table(f"latency (ok), {scale.unit}", _LATENCIES, names, cells, width)
    marked = any(cell.startswith(UNSUPPORTED) for row in cells for cell in row)
    return [*lines, FOOTNOTE] if marked else lines


def _latency_cells(shown: Iterable[Row], scale: TimeScale) -> list[list[str]]:
    return [
        [
            (UNSUPPORTED if column in row.unsupported and row.figures["ok"] else "")
            + scale.cell(row.figures[column])
            for column in LATENCIES
        ]
        for row in shown
    ]


def _scale(total: Row, shown: Sequence[Row], names: Sequence[str], width: int) -> TimeScale:
    """The finest scale for the median that leaves room for the names, else the coarsest."""
    wanted = min(_LEAST_NAME, GAP + max(map(columns, names)))
    scales = time_scales(total.figures["p50_ms"])
    for scale in scales:
        cells = _latency_cells(shown, scale)
        if width - sum(column_widths(_LATENCIES, cells)) >= wanted:
            return scale
    return scales[-1]


def _phases(results: Results, scale: TimeScale, width: int) -> list[str]:
    """The phases that took place: no TLS over plain HTTP, no DNS for an address."""
    taken = {name: row for name, row in results.phase_table.rows() if row["mean_ms"] > 0}
    if not taken:
        return []
    scale = finer(scale, min(row["mean_ms"] for row in taken.values()))
    cells = [
        [scale.cell(row[column]) for column in ("mean_ms", "p50_ms", "p95_ms")]
        for row in taken.values()
    ]
    count = max(row["connections"] for row in taken.values())
    heading = f"{count:,} new connection{'' if count == 1 else 's'}, {scale.unit}"
    return table(heading, ("mean", "p50", "p95"), list(taken), cells, width)


def _errors(results: Results, width: int) -> list[str]:
    errors = [
        FailedClass(name, row["count"], row["example_url"], row["example_detail"])
        for name, row in results.error_table.rows()
    ]
    return error_lines(errors, width)


def _statuses(statuses: dict[int, int]) -> list[str]:
    if not statuses:
        return []
    return ["status: " + ", ".join(f"{status} × {n:,}" for status, n in statuses.items())]


def _health(health: Health, scale: TimeScale) -> list[str]:
    """Whether we kept up, in one line; a second one only when we did not."""
    facts = []
    if not isnan(health.lag_p99_ms):
        lag = f"lag p99 {scale.phrase(health.lag_p99_ms)}, max {scale.phrase(health.lag_max_ms)}"
        facts.append(lag)
    if not isnan(health.cpu_share):
        cores = f"{health.cores} core{'' if health.cores == 1 else 's'}"
        facts.append(f"CPU {100 * health.cpu_share:.0f} % of {cores}")
    line = f"our own health: {'; '.join(facts) or 'nothing was sent'}"
    return [line, WARNING] if health.saturated else [line]
