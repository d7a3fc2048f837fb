"""The summary as a person reads it: aligned, 80 columns, one unit of time throughout.

The unit is that in which the median reads best, and every duration of the summary is given in it,
so that figures can be compared by eye. A percentile that its sample cannot support is marked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import floor, isnan, log10
from typing import TYPE_CHECKING, Final, NamedTuple

from crawler.report.columns import GAP, column_widths, columns, cut, plain, shorten, table
from crawler.samples import OTHER
from crawler.summary import LATENCIES, plain_rows

if TYPE_CHECKING:
    from crawler.summary import Health, Results, Row

MAX_GROUPS: Final = 20
"""Groups printed, beside ``(other)`` and ``total``."""
UNSUPPORTED: Final = "~"
FOOTNOTE: Final = f"{UNSUPPORTED} too few successes for this percentile: read it as a hint"

WARNING: Final = "warning: our own CPU is saturated; the latencies may be ours, not the server's"

_LEAST_WIDTH: Final = 60
"""Columns below which eight figures would have to be cut."""
_LEAST_NAME: Final = 16
"""Columns that a name is to have before figures are given in fewer digits."""
_SIZES: Final = ("kB", "MB", "GB", "TB")
_COUNTS: Final = ("requests", "ok", "failed", "req/s", "bytes")
_LATENCIES: Final = ("min", "mean", "p50", "p90", "p95", "p99", "p99.9", "max")


class TimeScale(NamedTuple):
    """How durations are printed: in ``unit``, of which a millisecond has ``per_ms``."""

    unit: str
    per_ms: float
    decimals: int

    def cell(self, ms: float) -> str:
        """``ms`` with the table's decimals, ``-`` for NaN."""
        return "-" if isnan(ms) else f"{ms * self.per_ms:,.{self.decimals}f}"

    def phrase(self, ms: float) -> str:
        """``ms`` with its unit, however small it is in it."""
        value = ms * self.per_ms
        return f"{value:.2g} {self.unit}" if 0 < value < 1 else f"{self.cell(ms)} {self.unit}"


def render(results: Results, *, width: int = 80) -> str:
    """Give the whole summary: lines of at most ``width`` columns (60 at least), each ended."""
    width = max(width, _LEAST_WIDTH)
    rows = results.rows()
    shown, hidden = _select(rows)
    origin = _common_origin(results.group_by, shown)
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


def _common_origin(group_by: str, shown: Sequence[Row]) -> str:
    """``scheme://host`` that all names share, for the heading to say once; "" if there is none."""
    names = [row.name for row in shown[:-1] if not row.name.startswith("(")]
    if group_by not in ("endpoint", "url") or not names:
        return ""
    scheme, mark, rest = names[0].partition("://")
    origin = scheme + mark + rest.partition("/")[0]
    return origin if mark and all(name.startswith(origin + "/") for name in names) else ""


def _headline(total: Row, wall_s: float) -> list[str]:
    at = total.figures
    rate = "" if isnan(at["rate_per_s"]) else f", {_rate(at['rate_per_s'])}/s"
    noun = "request" if at["requests"] == 1 else "requests"
    return [
        f"{_count(at['requests'])} {noun} in {_wall(wall_s)}{rate}: "
        f"{_count(at['ok'])} ok, {_count(at['failed'])} failed, {_size(at['bytes'])}"
    ]


def _counts(shown: Sequence[Row], names: Sequence[str], heading: str, width: int) -> list[str]:
    forms: dict[str, Callable[[float], str]] = {
        "requests": _count,
        "ok": _count,
        "failed": _count,
        "rate_per_s": _rate,
        "bytes": _size,
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
    scales = _scales(total.figures["p50_ms"])
    for scale in scales:
        cells = _latency_cells(shown, scale)
        if width - sum(column_widths(_LATENCIES, cells)) >= wanted:
            return scale
    return scales[-1]


def _scales(median_ms: float) -> list[TimeScale]:
    """Scales to try, the one that suits the median first."""
    units = [("µs", 1000.0, 0), ("ms", 1.0, 2), ("s", 0.001, 3)]
    if not median_ms < 1:
        del units[0]
    if median_ms >= 1000:
        del units[0]
    if median_ms >= 10_000 or 10 <= median_ms < 1000:
        units[0] = (*units[0][:2], 1 if units[0][0] == "ms" else 2)
    return [
        TimeScale(unit, per_ms, decimals)
        for unit, per_ms, most in units
        for decimals in range(most, -1, -1)
    ]


def _phases(results: Results, scale: TimeScale, width: int) -> list[str]:
    """The phases that took place: no TLS over plain HTTP, no DNS for an address."""
    taken = {name: row for name, row in plain_rows(results.phases) if row["mean_ms"] > 0}
    if not taken:
        return []
    scale = _finer(scale, min(row["mean_ms"] for row in taken.values()))
    cells = [
        [scale.cell(row[column]) for column in ("mean_ms", "p50_ms", "p95_ms")]
        for row in taken.values()
    ]
    count = max(row["connections"] for row in taken.values())
    heading = f"{count:,} new connection{'' if count == 1 else 's'}, {scale.unit}"
    return table(heading, ("mean", "p50", "p95"), list(taken), cells, width)


def _finer(scale: TimeScale, least_ms: float) -> TimeScale:
    """``scale`` with the decimals that ``least_ms`` needs for two digits, down to 1 µs."""
    finest = {"µs": 0, "ms": 3, "s": 6}[scale.unit]
    needed = 1 - floor(log10(least_ms * scale.per_ms))
    return scale._replace(decimals=max(scale.decimals, min(needed, finest)))


def _errors(results: Results, width: int) -> list[str]:
    """A line a class with its count, and below it the first of its kind."""
    rows = plain_rows(results.errors)
    if not rows:
        return []
    label = max(len(name) for name, _ in rows)
    digits = max(len(_count(row["count"])) for _, row in rows)
    lines = ["errors, each with its first example"]
    for name, row in rows:
        head = f"{'':{GAP}}{name:<{label}}{'':{GAP}}{_count(row['count']):>{digits}}{'':{GAP}}"
        lines.append(head + shorten(plain(row["example_url"]), width - len(head)))
        if row["example_detail"]:
            lines.append(" " * len(head) + plain(row["example_detail"]))
    return lines


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


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _rate(per_s: float) -> str:
    if isnan(per_s):
        return "-"
    return f"{per_s:,.{0 if per_s >= 100 else 1 if per_s >= 10 else 2}f}"


def _size(count: float) -> str:
    """``count`` bytes to three digits, in SI units: 1 kB is 1,000 B."""
    if count < 1000:
        return f"{count:.0f} B"
    power = 1
    while count >= 999.5 * 1000**power and power < len(_SIZES):
        power += 1
    unit, count = _SIZES[power - 1], count / 1000**power
    return f"{count:,.{0 if count >= 99.95 else 1 if count >= 9.995 else 2}f} {unit}"


def _wall(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
