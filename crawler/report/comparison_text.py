"""A comparison as a person reads it: a row an endpoint, verdicts in words, what breaks last.

At most 80 columns, one unit of time throughout. A change is always given with the bounds of its
95 % confidence interval; a percentile that a sample cannot support is marked, and has no bounds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import isnan
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from crawler.report.columns import GAP, column_widths, columns, cut, plain, table
from crawler.report.comparison_words import (
    bounds,
    broken_lines,
    called,
    limit,
    percent,
    points,
    share,
    status,
    unbroken_line,
)
from crawler.report.listing import common_origin
from crawler.report.units import UNSUPPORTED, TimeScale, count_text, time_scales

if TYPE_CHECKING:
    from crawler.compared import Compared, Comparison, OneSided, StatusFlip
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
        _urls(comparison),
        [f"note: {plain(note)}" for note in comparison.notes],
        _conclusion(comparison),
    )
    blocks = ("\n".join(_fitted(lines, width)) for lines in sections if lines)
    return "\n\n".join(blocks) + "\n"


def _sides(comparison: Comparison) -> list[str]:
    total = comparison.total
    names = [plain(comparison.old_name), plain(comparison.new_name)]
    room = max(map(columns, names))
    lines = [
        f"{label}  {name}{' ' * (room - columns(name))}  {count_text(side.requests)} requests, "
        f"{count_text(side.failed)} failed"
        for label, name, side in zip(("old", "new"), names, (total.old, total.new), strict=True)
    ]
    origin = _origin(comparison)
    return [*lines, f"of   {plain(origin)}"] if origin else lines


def _endpoints(comparison: Comparison, width: int) -> list[str]:
    """The table of the chosen metric: endpoints, then all."""
    shown = [*comparison.rows[:MOST_ROWS], comparison.total]
    scale = _scale(comparison, shown, width)
    origin = _origin(comparison)
    names = [plain(row.name.removeprefix(origin)) for row in shown]
    headings = _headings(comparison)
    cells = _padded([_metric_cells(row, scale) for row in shown], headings[-1])
    lines = table(
        f"{comparison.group_by}, {scale.unit}",
        (*headings[:-1], cells[0][-1]),
        names,
        cells[1:],
        width,
    )
    hidden = comparison.rows[MOST_ROWS:]
    if hidden:
        bad = sum(row.breaks for row in hidden)
        told = f"{bad:,} of them broken" if bad else "none of them broken"
        lines.insert(len(lines) - 1, f"{' ' * GAP}… and {len(hidden):,} more, {told}")
    return [*(line.rstrip() for line in lines), *_footnotes(comparison, shown)]


def _footnotes(comparison: Comparison, shown: Sequence[Compared]) -> Iterator[str]:
    metric = comparison.plan.metric
    if not all(row.metric.supported for row in shown):
        yield FOOTNOTE
    if any(row.by_ranks for row in shown):
        yield f"* by the ranks of all its requests; of {metric} itself no change is shown"
    if any(row.beyond for row in shown):
        yield f"! slower by more than {limit(comparison.plan.threshold)}, with confidence"
    if any(_shows_alone(row) for row in shown):
        yield "Verdicts are corrected for all tests made here; an interval by itself is not."
    for row in shown:
        if row.mixed:
            most = "faster" if row.verdict == "slower" else "slower"
            yield f"mixed: {called(row)}: {metric} is {row.verdict}, but most requests are {most}"


def _shows_alone(row: Compared) -> bool:
    """Whether a row's interval leaves no change out, and the correction takes the verdict back."""
    change = row.metric
    alone = change.relative_low > 0 or change.relative_high < 0
    return row.verdict == "no difference shown" and alone


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
        mark + percent(change.relative) if not isnan(change.relative) else "-",
        bounds(change.relative_low, change.relative_high, percent) if _has_bounds(change) else "",
    ]


def _has_bounds(change: Change) -> bool:
    return change.supported and not isnan(change.relative)


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
        f"chance that a new request is slower than an old one: {share(ranks.slower)} "
        f"({share(ranks.low)[:-2]} to {share(ranks.high)[:-2]})"
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
        share(change.old),
        share(change.new),
        points(change.difference) + " pp",
        bounds(change.low, change.high, points),
    ]


def _statuses(comparison: Comparison) -> list[str]:
    changes = comparison.status_changes
    if not changes:
        return []
    lines = ["most frequent status, changed"]
    for change in changes[:MOST_ROWS]:
        old = f"{status(change.old_status)} ({share(change.old_share)})"
        new = f"{status(change.new_status)} ({share(change.new_share)})"
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


def _urls(comparison: Comparison) -> list[str]:
    """URLs of one log only, where they are not the endpoints just listed, and flips."""
    urls, lines = comparison.urls, list[str]()
    if urls is None:
        return lines
    for side, count, examples, listed in (
        ("old", urls.only_old, urls.only_old_examples, comparison.only_old),
        ("new", urls.only_new, urls.only_new_examples, comparison.only_new),
    ):
        names = {each.name for each in listed}
        if count and not (count == len(names) and names.issuperset(examples)):
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


def _origin(comparison: Comparison) -> str:
    return common_origin(comparison.group_by, [row.name for row in comparison.rows])


def _conclusion(comparison: Comparison) -> list[str]:
    """What breaks, each by name, the total last; or that nothing does."""
    lines = broken_lines(comparison)
    if not lines:
        return [unbroken_line(comparison)]
    more = len(lines) - MOST_ROWS
    return lines if more <= 0 else [*lines[: MOST_ROWS - 1], f"… {more:,} more", lines[-1]]


def _fitted(lines: Iterable[str], width: int) -> Iterator[str]:
    """Wrap sentences between words, and cut what is too wide: a name without spaces."""
    for line in lines:
        if columns(line) > width and not line.startswith(" "):
            kept = line.replace(" %", "\N{NO-BREAK SPACE}%").replace(" ms", "\N{NO-BREAK SPACE}ms")
            room = width - columns(line) + len(line)
            wrapped = wrap(kept, room, subsequent_indent=" " * GAP, break_long_words=False)
            yield from (cut(part.replace("\N{NO-BREAK SPACE}", " "), width) for part in wrapped)
        else:
            yield cut(line, width).rstrip()
