"""A latency report as a person reads it: rows that say what they are, 80 columns, one unit of time.

The latency that is meant comes first: the response time where requests were sent by a schedule,
else the service time; words below the table tell them apart. A percentile that its sample cannot
support is marked ``~``; one that it has no observation for is withheld and shows as ``-``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from crawler.figures import FRACTION_NAMES, FRACTIONS
from crawler.intervals import CONFIDENCE, Quantile, quantiles
from crawler.report.columns import GAP, columns, cut, plain, table
from crawler.report.latency_machine import ranked_groups
from crawler.report.listing import FailedClass, common_origin, error_lines
from crawler.report.spread import Bar, spread
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
from crawler.samples import OTHER, PHASES

if TYPE_CHECKING:
    from crawler.audit import Audit
    from crawler.figures import Figures, Tally
    from crawler.histogram import Histogram
    from crawler.report.model import Report

MAX_GROUPS: Final = 20
"""Groups printed, beside ``(other)`` and ``total``."""
BARS: Final = 14
"""Rows of the histogram."""
SERVICE: Final = "service time"
RESPONSE: Final = "response time"
MEANINGS: Final = {
    RESPONSE: "from the moment a request was due to its last byte, lag included",
    SERVICE: "from the start of a request to its last byte",
}
FOOTNOTES: Final = {
    UNSUPPORTED: "too few successes for this percentile: read it as a hint",
    "-": "so few that not one is expected beyond it",
}
_LEAST_WIDTH: Final = 60
_GROUP_FRACTIONS: Final = (0.50, 0.95, 0.99)
_GROUP_COLUMNS: Final = ("requests", "failed", "req/s", "p50", "p95", "p99")
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def render(report: Report, *, width: int = 80) -> str:
    """Give the whole report: lines of at most ``width`` columns (60 at least), each ended."""
    width = max(width, _LEAST_WIDTH)
    scale = time_scales(report.main.percentile(0.5))[0]
    figures = report.figures
    sections = (
        _headline(report),
        _latency(report, scale, width),
        _failures(figures.total.failures, scale),
        _histogram(report, scale, width),
        _phases(figures, scale, width),
        _statuses(figures, width),
        error_lines(_failed_classes(figures), width),
        _groups(report, scale, width),
        _slowest(report, scale, width),
        _runs(report, scale, width),
        _health(report.audit, scale, width),
    )
    blocks = ["\n".join(cut(line.rstrip(), width) for line in lines) for lines in sections if lines]
    return "\n\n".join(blocks) + "\n"


def _headline(report: Report) -> list[str]:
    figures, total = report.figures, report.figures.total
    rows = {
        "report": plain(report.title),
        "requests": f"{count_text(total.requests)} ({count_text(total.ok)} ok, "
        f"{count_text(total.failed)} failed: {_share(total.failed_share)})",
        "warm-up": f"{count_text(figures.warmup)} more, in no figure" if figures.warmup else "",
        "duration": _duration(figures),
        "rate": _rate(report),
        "bytes": size_text(total.bytes),
    }
    label = max(map(len, rows)) + GAP
    return [f"{name:<{label}}{text}" for name, text in rows.items() if text]


def _duration(figures: Figures) -> str:
    runs = len(figures.runs)
    return wall_text(figures.wall_s) + (f" in {runs:,} runs" if runs > 1 else "")


def _rate(report: Report) -> str:
    """Requests a second; where a schedule asked for a rate, what was asked beside it."""
    figures = report.figures
    if not report.open_loop:
        return f"{rate_text(figures.rate_per_s)}/s"
    asked = {each.note.schedule for each in report.runs if each.note and each.note.schedule}
    return f"{rate_text(figures.sent_per_s)}/s begun; asked for: {plain(', '.join(sorted(asked)))}"


def _latency(report: Report, scale: TimeScale, width: int) -> list[str]:
    """Both latencies side by side, the one that is meant first, a percentile a row."""
    total = report.figures.total
    if not total.ok:
        return ["latency: no request was a success"]
    kinds = {SERVICE: total.service, RESPONSE: total.response}
    order = [RESPONSE, SERVICE] if report.open_loop else [SERVICE, RESPONSE]
    sides = [_side(kinds[name], scale) for name in order]
    names = ["mean", "std deviation", "min", *FRACTION_NAMES, "max"]
    bounds = f"{CONFIDENCE:.0%} bounds"
    lines = table(
        f"latency (ok), {scale.unit}",
        [order[0], bounds, order[1], bounds],
        names,
        [[*left, *right] for left, right in zip(*sides, strict=True)],
        width,
    )
    meanings = [f"{f'{name}:':<15}{MEANINGS[name]}" for name in order]
    return [*lines, *meanings, *_footnotes(lines)]


def _side(times: Histogram, scale: TimeScale) -> list[tuple[str, str]]:
    """A column of the table: each figure and its bounds."""
    exact = [(scale.cell(value), "") for value in (times.mean, times.deviation, times.min)]
    percentiles = [(_value(at, scale), _bounds(at, scale)) for at in quantiles(times, FRACTIONS)]
    return [*exact, *percentiles, (scale.cell(times.max), "")]


def _value(at: Quantile, scale: TimeScale) -> str:
    known = not at.supported and not isnan(at.value_ms)
    return (UNSUPPORTED if known else "") + scale.cell(at.value_ms)


def _bounds(at: Quantile, scale: TimeScale) -> str:
    low, high = scale.cell(at.low_ms), scale.cell(at.high_ms)
    if isnan(at.low_ms) and isnan(at.high_ms):
        return ""
    if isnan(at.high_ms):
        return f"from {low}"
    return f"to {high}" if isnan(at.low_ms) else f"{low} – {high}"


def _footnotes(lines: Sequence[str]) -> list[str]:
    """What the marks in ``lines`` mean, of those that occur."""
    words = " ".join(lines[1:]).split()
    return [
        f"{mark} {meaning}"
        for mark, meaning in FOOTNOTES.items()
        if mark in words or any(word[0] == mark and len(word) > 1 for word in words)
    ]


def _failures(times: Histogram, scale: TimeScale) -> list[str]:
    if not times.count:
        return []
    p50_ms, p95_ms = times.percentiles((0.50, 0.95))
    noun = "failure" if times.count == 1 else "failures"
    return [
        f"latency of {count_text(times.count)} {noun}: "
        f"p50 {scale.phrase(p50_ms)}, p95 {scale.phrase(p95_ms)}, max {scale.phrase(times.max)}"
    ]


def _histogram(report: Report, scale: TimeScale, width: int) -> list[str]:
    bars = _without_gaps(spread(report.main, BARS))
    if len(bars) < 2:
        return []
    scale = _telling(scale, bars)
    spans = [f"{scale.cell(bar.low_ms)} – {scale.cell(bar.high_ms)}" for bar in bars]
    counts = [count_text(bar.requests) for bar in bars]
    shares = [_share(bar.requests / report.main.count) for bar in bars]
    heads = [_wide(cells) for cells in (spans, counts, shares)]
    room = width - sum(heads) - 4 * GAP
    most = max(bar.requests for bar in bars)
    name = RESPONSE if report.open_loop else SERVICE
    return [f"histogram of the {name}, {scale.unit}, in steps on a log scale"] + [
        "".join(f"{'':{GAP}}{cell:>{head}}" for cell, head in zip(cells, heads, strict=True))
        + f"{'':{GAP}}{_bar(room * bar.requests / most)}".rstrip()
        for bar, *cells in zip(bars, spans, counts, shares, strict=True)
    ]


def _without_gaps(bars: Sequence[Bar]) -> list[Bar]:
    """``bars`` with empty ones in a row made one."""
    joined: list[Bar] = []
    for bar in bars:
        if joined and not bar.requests and not joined[-1].requests:
            joined[-1] = joined[-1]._replace(high_ms=bar.high_ms)
        else:
            joined.append(bar)
    return joined


def _telling(scale: TimeScale, bars: Sequence[Bar]) -> TimeScale:
    """``scale`` with decimals that tell one bar's edge from the next."""
    narrowest_ms = min(bar.high_ms - bar.low_ms for bar in bars)
    return finer(scale, narrowest_ms) if narrowest_ms > 0 else scale


def _bar(length: float) -> str:
    """A bar of so many columns, to an eighth; what is not nothing shows."""
    eighths = round(length * 8) or int(length > 0)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _wide(cells: Sequence[str]) -> int:
    return max(map(columns, cells))


def _phases(figures: Figures, scale: TimeScale, width: int) -> list[str]:
    """The phases that took place: no TLS over plain HTTP, no DNS for an address."""
    phases = zip(PHASES, figures.phases, strict=True)
    taken = {name: times for name, times in phases if times.sum > 0}
    if not taken:
        return []
    scale = finer(scale, min(times.mean for times in taken.values()))
    rows = [
        [
            count_text(times.count),
            *map(scale.cell, (times.mean, *times.percentiles((0.50, 0.95, 0.99)), times.max)),
        ]
        for times in taken.values()
    ]
    headings = ("requests", "mean", "p50", "p95", "p99", "max")
    return table(f"phases, {scale.unit}", headings, list(taken), rows, width)


def _statuses(figures: Figures, width: int) -> list[str]:
    if not figures.statuses:
        return []
    counted = sorted(figures.statuses.items())
    requests = figures.total.requests
    rows = [[count_text(n), _share(n / requests)] for _, n in counted]
    return table("status codes", ("requests", ""), [str(at) for at, _ in counted], rows, width)


def _failed_classes(figures: Figures) -> list[FailedClass]:
    ranked = sorted(figures.errors.items(), key=lambda item: (-item[1].failures, item[0]))
    return [FailedClass(name, failed.failures, *failed.example) for name, failed in ranked]


def _groups(report: Report, scale: TimeScale, width: int) -> list[str]:
    figures = report.figures
    groups = ranked_groups(figures)
    if len(groups) < 2:
        return []
    shown = [each for i, each in enumerate(groups) if i < MAX_GROUPS or each[0] == OTHER]
    origin = common_origin(figures.group_by, [name for name, _ in shown])
    names = [plain(name.removeprefix(origin)) for name, _ in shown]
    rows = [_tally_row(tally, figures.wall_s, scale, report) for _, tally in shown]
    heading = f"{plain(origin or figures.group_by)}, {scale.unit}"
    lines = table(heading, _GROUP_COLUMNS, names, rows, width)
    hidden = len(groups) - len(shown)
    if hidden:
        lines.insert(1 + MAX_GROUPS, f"{'':{GAP}}… and {hidden:,} more")
    return [*lines, *_footnotes(lines)]


def _tally_row(tally: Tally, wall_s: float, scale: TimeScale, report: Report) -> list[str]:
    times = tally.response if report.open_loop else tally.service
    rate = tally.requests / wall_s if wall_s > 0 else float("nan")
    return [
        count_text(tally.requests),
        count_text(tally.failed),
        rate_text(rate),
        *(_value(at, scale) for at in quantiles(times, _GROUP_FRACTIONS)),
    ]


def _slowest(report: Report, scale: TimeScale, width: int) -> list[str]:
    slowest = report.figures.slowest
    if not slowest:
        return []
    rows = [
        [scale.cell(slow.response_ms), scale.cell(slow.elapsed_ms), str(slow.status or "-")]
        for slow in slowest
    ]
    origin = common_origin("url", [slow.url for slow in slowest])
    names = [plain(slow.url.removeprefix(origin)) for slow in slowest]
    heading = f"slowest of {plain(origin)}, {scale.unit}" if origin else f"slowest, {scale.unit}"
    return table(heading, ("response", "service", "status"), names, rows, width)


def _runs(report: Report, scale: TimeScale, width: int) -> list[str]:
    """The runs one by one, where there are several."""
    if len(report.figures.runs) < 2:
        return []
    rows = [
        _tally_row(each.figures.total, each.figures.wall_s, scale, report) for each in report.runs
    ]
    names = [plain(each.run) for each in report.runs]
    lines = table(f"runs, {scale.unit}", _GROUP_COLUMNS, names, rows, width)
    older = len(report.figures.runs) - len(report.runs)
    return [*lines, *([f"{'':{GAP}}… and {older:,} older, all in the figures"] if older else [])]


def _health(audit: Audit, scale: TimeScale, width: int) -> list[str]:
    """Whether we ourselves kept up, in a line; a warning each where we did not."""
    facts = []
    if not isnan(audit.lag_p99_ms):
        lags = (audit.lag_p50_ms, audit.lag_p99_ms, audit.lag_max_ms)
        p50, p99, most = map(scale.phrase, lags)
        facts.append(f"lag p50 {p50}, p99 {p99}, max {most}")
    if not isnan(audit.cpu_share):
        cores = f"{audit.cores} core{'' if audit.cores == 1 else 's'}"
        facts.append(f"CPU {100 * audit.cpu_share:.0f} % of {cores}")
    lines = [f"our own health: {'; '.join(facts) or 'nothing was sent'}"]
    lines += [f"warning: {warning}" for warning in audit.warnings]
    return [part for line in lines for part in wrap(line, width, subsequent_indent=" " * GAP)]


def _share(share: float) -> str:
    """A share of all in percent, to two digits where it is small."""
    percent = 100 * share
    return f"{percent:.{0 if percent in (0, 100) else 1 if percent >= 1 else 2}f} %"
