"""A comparison as a person reads it: a row an endpoint, verdicts in words, what breaks last.

At most 80 columns, one unit of time throughout. A change is always given with the bounds of its
95 % confidence interval; a percentile that a sample cannot support is marked, and has no bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import isnan
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from crawler.compared import TOTAL
from crawler.report.columns import GAP, column_widths, columns, cut, plain, shorten, table
from crawler.report.listing import common_origin
from crawler.report.units import UNSUPPORTED, TimeScale, count_text, time_scales
from crawler.shifts import LEVEL

if TYPE_CHECKING:
    from crawler.compared import Compared, Comparison, OneSided, StatusFlip, UrlChanges
    from crawler.shifts import Change, ShareChange

MOST_ROWS: Final = 20
MOST_NAMES: Final = 5
"""Names given of those that only one log has."""
FOOTNOTE: Final = f"{UNSUPPORTED} too few successes for this percentile: read it as a hint"
_LEAST_WIDTH: Final = 60
_LEAST_NAME: Final = 14
_NO_CHANGE: Final = "no difference shown"


def render(comparison: Comparison, *, width: int = 80) -> str:
    """Give the whole comparison: lines of at most ``width`` columns (60 at least), each ended."""
    width = max(width, _LEAST_WIDTH)
    sections = (
        _sides(comparison),
        _endpoints(comparison, width),
        _total(comparison, width),
        _errors(comparison, width),
        _statuses(comparison),
        [*_only("old", comparison.only_old), *_only("new", comparison.only_new)],
        [] if comparison.urls is None else _urls(comparison.urls),
        [f"note: {plain(note)}" for note in comparison.notes],
        _conclusion(comparison),
    )
    blocks = ("\n".join(_fitted(lines, width)) for lines in sections if lines)
    return "\n\n".join(blocks) + "\n"


def broken_lines(comparison: Comparison) -> list[str]:
    """Say of each thing that breaks what was measured and what was allowed."""
    lines = []
    for each in comparison.broken:
        if each.beyond:
            lines.append(_too_slow(each, comparison))
        if each.errors_beyond:
            lines.append(_too_many(each, comparison))
    return lines


def _sides(comparison: Comparison) -> list[str]:
    total = comparison.total
    names = [plain(comparison.old_name), plain(comparison.new_name)]
    room = max(map(columns, names))
    return [
        f"{label}  {name}{' ' * (room - columns(name))}  {count_text(side.requests)} requests, "
        f"{count_text(side.failed)} failed"
        for label, name, side in zip(("old", "new"), names, (total.old, total.new), strict=True)
    ]


def _endpoints(comparison: Comparison, width: int) -> list[str]:
    """The table of the chosen metric: endpoints, then all."""
    shown = [*comparison.rows[:MOST_ROWS], comparison.total]
    scale = _scale(comparison, shown, width)
    origin = _origin(comparison)
    names = [plain(row.name.removeprefix(origin)) for row in shown]
    headings = _headings(comparison)
    cells = _padded([_metric_cells(row, scale) for row in shown], headings[-1])
    lines = table(
        f"{plain(origin) or comparison.group_by}, {scale.unit}",
        (*headings[:-1], cells[0][-1]),
        names,
        cells[1:],
        width,
    )
    hidden = len(comparison.rows) - len(shown) + 1
    if hidden:
        lines.insert(len(lines) - 1, f"{' ' * GAP}… and {hidden:,} more, none of them broken")
    return [*(line.rstrip() for line in lines), *_footnotes(comparison, shown)]


def _footnotes(comparison: Comparison, shown: Sequence[Compared]) -> Iterator[str]:
    metric = comparison.plan.metric
    if not all(row.metric.supported for row in shown):
        yield FOOTNOTE
    if any(row.by_ranks for row in shown):
        yield f"* by the ranks of all its requests; of {metric} itself no change is shown"
    if any(row.beyond for row in shown):
        yield f"! slower by more than {_limit(comparison.plan.threshold)}, with confidence"
    for row in shown:
        if row.mixed:
            most = "faster" if row.verdict == "slower" else "slower"
            yield f"mixed: {_called(row)}: {metric} is {row.verdict}, but most requests are {most}"


def _scale(comparison: Comparison, shown: Sequence[Compared], width: int) -> TimeScale:
    """The finest scale of the old median's unit that leaves room for names, or the finest."""
    median_ms = comparison.total.changes["p50"].old_ms
    finest, *coarser = time_scales(median_ms)
    for scale in (finest, *coarser):
        if scale.unit != finest.unit:
            break
        cells = [_metric_cells(row, scale) for row in shown]
        if width - sum(column_widths(_headings(comparison), cells)) >= _LEAST_NAME:
            return scale
    return finest


def _headings(comparison: Comparison) -> tuple[str, ...]:
    metric = comparison.plan.metric
    return f"old {metric}", f"new {metric}", "change", "95 % CI", "verdict"


def _padded(rows: list[list[str]], heading: str) -> list[list[str]]:
    """Words to the left in the last column; the first row is its heading alone."""
    room = max(len(row[-1]) for row in rows)
    return [[heading.ljust(room)], *([*row[:-1], row[-1].ljust(room)] for row in rows)]


def _metric_cells(row: Compared, scale: TimeScale) -> list[str]:
    mark = " !" if row.beyond else " *" if row.by_ranks else ""
    return [*_change_cells(row.metric, scale), row.verdict + mark]


def _change_cells(change: Change, scale: TimeScale) -> list[str]:
    mark = "" if change.supported or isnan(change.old_ms) or isnan(change.new_ms) else UNSUPPORTED
    return [
        mark + scale.cell(change.old_ms),
        mark + scale.cell(change.new_ms),
        mark + _percent(change.relative) if not isnan(change.relative) else "-",
        _bounds(change.relative_low, change.relative_high, _percent) if change.supported else "",
    ]


def _total(comparison: Comparison, width: int) -> list[str]:
    """All percentiles and the errors of all requests, then the size of the effect in words."""
    total = comparison.total
    scale = time_scales(total.changes["p50"].old_ms)[0]
    of = f"all, {comparison.plan.latency} time, {scale.unit}"
    cells = [_change_cells(change, scale) for change in total.changes.values()]
    errors = _share_cells(total.errors)
    lines = table(
        of, ("old", "new", "change", "95 % CI"), [*total.changes, "errors"], [*cells, errors], width
    )
    return [*lines, *_effect(total)]


def _effect(total: Compared) -> Iterator[str]:
    if total.ranks is None:
        yield "too few successes for a rank test: 10 are needed on both sides"
        return
    ranks, p_value = total.ranks, total.p_values.ranks
    yield (
        f"chance that a new request is slower than an old one: {_share(ranks.slower)} "
        f"({_share(ranks.low)[:-2]} to {_share(ranks.high)[:-2]})"
    )
    p_text = "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.2g}"
    yield f"effect: {ranks.effect}; Mann-Whitney {p_text}, corrected for all tests"


def _errors(comparison: Comparison, width: int) -> list[str]:
    """The rows whose error share changed, with confidence."""
    rows = [row for row in comparison.rows if row.error_verdict != _NO_CHANGE][:MOST_ROWS]
    if comparison.total.error_verdict != _NO_CHANGE:
        rows.append(comparison.total)
    if not rows:
        return []
    origin = _origin(comparison)
    names = [plain(row.name.removeprefix(origin)) for row in rows]
    cells = _padded(
        [
            [*_share_cells(row.errors), row.error_verdict + (" !" if row.errors_beyond else "")]
            for row in rows
        ],
        "verdict",
    )
    headings = ("old", "new", "change", "95 % CI", cells[0][-1])
    lines = table("share of errors", headings, names, cells[1:], width)
    return [line.rstrip() for line in lines]


def _share_cells(change: ShareChange) -> list[str]:
    if isnan(change.difference):
        return ["-", "-", "-", ""]
    return [
        _share(change.old),
        _share(change.new),
        _points(change.difference) + " pp",
        _bounds(change.low, change.high, _points),
    ]


def _statuses(comparison: Comparison) -> list[str]:
    changes = comparison.status_changes
    if not changes:
        return []
    lines = ["most frequent status, changed"]
    for change in changes[:MOST_ROWS]:
        old = f"{_status(change.old_status)} ({_share(change.old_share)})"
        new = f"{_status(change.new_status)} ({_share(change.new_share)})"
        lines.append(f"  {plain(change.name)}: {old} → {new}")
    return [*lines, *_more(len(changes), MOST_ROWS)]


def _only(side: str, only: Sequence[OneSided]) -> list[str]:
    if not only:
        return []
    noun = "endpoint" if len(only) == 1 else "endpoints"
    lines = [f"only in {side}: {count_text(len(only))} {noun}, not compared"]
    for each in only[:MOST_NAMES]:
        lines.append(f"  {plain(each.name)}  {count_text(each.requests)} requests")
    return [*lines, *_more(len(only), MOST_NAMES)]


def _urls(urls: UrlChanges) -> list[str]:
    lines = []
    for side, count, examples in (
        ("old", urls.only_old, urls.only_old_examples),
        ("new", urls.only_new, urls.only_new_examples),
    ):
        if count:
            lines += [f"URLs only in {side}: {count_text(count)}", *_examples(examples, count)]
    if urls.flips:
        lines.append("URLs whose status flipped (always the one, now always the other)")
        lines += [line for flip in urls.flips[:MOST_ROWS] for line in _flip(flip)]
        lines += _more(len(urls.flips), MOST_ROWS)
    return lines


def _flip(flip: StatusFlip) -> list[str]:
    noun = "URL" if flip.urls == 1 else "URLs"
    first = f"  {plain(flip.old)} → {plain(flip.new)}: {count_text(flip.urls)} {noun}"
    return [first, *(f"  {line}" for line in _examples(flip.examples, flip.urls))]


def _examples(examples: Sequence[str], count: int) -> list[str]:
    return [f"  {plain(url)}" for url in examples] + _more(count, len(examples))


def _more(count: int, shown: int) -> list[str]:
    return [f"  … and {count_text(count - shown)} more"] if count > shown else []


def _conclusion(comparison: Comparison) -> list[str]:
    """What breaks, each by name; or that nothing does."""
    plan = comparison.plan
    broken = broken_lines(comparison)
    if broken:
        return broken
    return [
        f"nothing broken: no {plan.metric} is slower by more than {_limit(plan.threshold)}, and no "
        f"error share higher by more than {_limit(plan.error_threshold)[:-2]} points, with "
        f"{100 - 100 * LEVEL:.0f} % confidence"
    ]


def _too_slow(row: Compared, comparison: Comparison) -> str:
    plan, change = comparison.plan, row.metric
    scale = time_scales(change.old_ms)[0]
    return (
        f"broken: {_called(row)}: {plan.metric} slower by {_percent(change.relative)[1:]} "
        f"({scale.phrase(change.old_ms)} → {scale.phrase(change.new_ms)}; 95 % CI "
        f"{_bounds(change.relative_low, change.relative_high, _percent)}), "
        f"allowed {_limit(plan.threshold)}"
    )


def _too_many(row: Compared, comparison: Comparison) -> str:
    change = row.errors
    return (
        f"broken: {_called(row)}: errors {_share(change.old)} → {_share(change.new)} "
        f"({_points(change.difference)} points; 95 % CI "
        f"{_bounds(change.low, change.high, _points)}), "
        f"allowed +{_limit(comparison.plan.error_threshold)[:-2]} points"
    )


def _called(row: Compared) -> str:
    return "all requests" if row.name == TOTAL else plain(shorten(row.name, 60))


def _origin(comparison: Comparison) -> str:
    return common_origin(comparison.group_by, [row.name for row in comparison.rows])


def _percent(share: float) -> str:
    """A change with its sign, in percent: one decimal below 100."""
    percent = 100 * share
    return f"{percent:+,.{1 if abs(percent) < 99.95 else 0}f} %"


def _points(share: float) -> str:
    return f"{100 * share:+.2f}"


def _share(share: float) -> str:
    return f"{100 * share:.{2 if share < 0.0995 else 1}f} %"


def _limit(share: float) -> str:
    return f"{100 * share:.12g} %"


def _status(status: int) -> str:
    return str(status) if status else "no reply"


def _bounds(low: float, high: float, form: Callable[[float], str]) -> str:
    """Give an interval; its unit is that of the change beside it."""
    return f"{form(low).removesuffix(' %')} to {form(high).removesuffix(' %')}"


def _fitted(lines: Iterable[str], width: int) -> Iterator[str]:
    """Wrap sentences, and cut what still is too wide: a name without spaces."""
    for line in lines:
        if columns(line) > width and not line.startswith(" "):
            yield from wrap(line, width, subsequent_indent=" " * GAP, break_long_words=False)
        else:
            yield cut(line, width)
