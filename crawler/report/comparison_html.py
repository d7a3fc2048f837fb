"""A comparison as one HTML page that works offline; the same frame as a latency report's.

All figures are those of ``comparison_machine.document``, what ``crawl compare --json`` writes:
changes are drawn with the bounds of their 95 % confidence intervals, worst first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from crawler.report import cells
from crawler.report.comparison_machine import document
from crawler.report.comparison_words import broken_lines
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
from crawler.report.tables import NAMES, Row
from crawler.report.units import UNSUPPORTED

if TYPE_CHECKING:
    from crawler.compared import Comparison
    from crawler.report.units import TimeScale

_STYLES: Final = {"slower": "bad", "more errors": "bad", "faster": "good", "fewer errors": "good"}
_FOOTNOTE: Final = (
    "Bounds are those of 95 % confidence intervals; p-values are corrected for all tests of the "
    f"comparison. {UNSUPPORTED} marks a percentile that a sample is too small for."
)


def comparison_to_html(comparison: Comparison) -> str:
    """Give the page of a comparison: the figures of ``comparison_machine.document``.

    Raises ``UsageError`` where plotly is not installed.
    """
    told: Row = document(comparison)
    scale = cells.scale_of(_of_metric(told, told["total"])["old_ms"])
    main = (
        warnings("Worse than allowed", broken_lines(comparison)),
        warnings("Keep in mind", told["notes"]),
        tiles(_main_figures(told, scale)),
        _changes(told, scale),
        _percentiles(told, scale),
        _failures(told),
        *_others(told),
    )
    script = {"unit": scale.unit, "per-ms": scale.per_ms, "origin": _origin(told)}
    title = f"{told['new']} against {told['old']}"
    return page(title, titled(title, _subtitle(told), main, script), told)


def _of_metric(told: Row, row: Row) -> Row:
    change: Row = row["changes"][told["metric"]]
    return change


def _origin(told: Row) -> str:
    return cells.origin_of(row["name"] for row in told["endpoints"])


def _subtitle(told: Row) -> str:
    return cells.listed(
        f"{told['metric']} of {NAMES[told['latency']]}",
        f"allowed: {_percent(told['threshold']).text} slower",
        f"{_points(told['error_threshold']).text} more failures",
    )


def _main_figures(told: Row, scale: TimeScale) -> Iterator[tuple[str, Cell]]:
    total, metric = told["total"], told["metric"]
    change, errors = _of_metric(told, total), total["errors"]
    yield "in all", _verdict(total["verdict"])
    yield f"{metric}, old", cells.phrase(scale, change["old_ms"])
    yield f"{metric}, new", cells.phrase(scale, change["new_ms"])
    bounds = _between(change["relative_low"], change["relative_high"])
    yield f"change of {metric}", _percent(change["relative"])._replace(note=bounds)
    yield "failed, old", cells.share(errors["old"])
    yield "failed, new", cells.share(errors["new"])


def _verdict(words: str) -> Cell:
    return cells.text(words)._replace(style=_STYLES.get(words, ""))


def _percent(value: float | None) -> Cell:
    cell = cells.share(value)
    return cell if value is None or value <= 0 else cell._replace(text=f"+{cell.text}")


def _points(value: float | None) -> Cell:
    cell = _percent(value)
    return cell._replace(text=cell.text.replace("%", "points"))


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{_percent(low).text} to {_percent(high).text}"


def _changes(told: Row, scale: TimeScale) -> Markup:
    metric, by, origin = told["metric"], told["group_by"], _origin(told)
    headings = (by, "verdict", f"{metric} old", f"{metric} new", "change", "from", "to", "p-value")
    rows = [[cells.name(row["name"], origin), *_compared(told, row, scale)] for row in _rows(told)]
    caption = cells.listed(origin, f"{NAMES[told['latency']]} in {scale.unit}")
    more = ("effect", "requests old", "requests new")
    return section(
        "changes",
        f"Change of {metric}",
        figure("changes", f"Change of {metric} by {by}, with 95 % confidence bounds"),
        table("changes", caption, (*headings, *more), rows),
        paragraph(_FOOTNOTE),
    )


def _rows(told: Row) -> list[Row]:
    return [*told["endpoints"], told["total"]]


def _compared(told: Row, row: Row, scale: TimeScale) -> list[Cell]:
    ranks = row["ranks"]
    return [
        _verdict(row["verdict"]),
        *_change_cells(_of_metric(told, row), scale),
        _p_value(row["p_values"]["metric"]),
        cells.text(ranks and ranks["effect"]),
        cells.count(row["old"]["requests"]),
        cells.count(row["new"]["requests"]),
    ]


def _failures(told: Row) -> Markup:
    """The shares of failures, where there is any."""
    origin = _origin(told)
    rows = [
        [
            cells.name(row["name"], origin),
            _verdict(row["errors"]["verdict"]),
            cells.share(row["errors"]["old"]),
            cells.share(row["errors"]["new"]),
            *(_points(row["errors"][key]) for key in ("difference", "low", "high")),
            _p_value(row["p_values"]["errors"]),
        ]
        for row in _rows(told)
        if row["old"]["failed"] or row["new"]["failed"]
    ]
    headings = (told["group_by"], "verdict", "old", "new", "change", "from", "to", "p-value")
    shown = table("failures", cells.listed(origin, "failed requests"), headings, rows)
    return section("failures", "Change of failures", shown)


def _change_cells(change: Row, scale: TimeScale) -> list[Cell]:
    return [
        *(
            cells.hinted(scale, change[f"{side}_ms"], supported=change["supported"])
            for side in ("old", "new")
        ),
        _percent(change["relative"]),
        _percent(change["relative_low"]),
        _percent(change["relative_high"]),
    ]


def _p_value(value: float | None) -> Cell:
    if value is None:
        return cells.text(None)
    return Cell("< 0.001" if value < 0.001 else f"{value:.3f}", value)


def _percentiles(told: Row, scale: TimeScale) -> Markup:
    changes = told["total"]["changes"]
    rows = [[Cell(name), *_change_cells(at, scale)] for name, at in changes.items()]
    headings = ("", "old", "new", "change", "from", "to")
    caption = f"All requests, {scale.unit}"
    shown = table("percentiles", caption, headings, rows, sortable=False)
    return section("in-all", "Percentiles in all", shown)


def _others(told: Row) -> Iterator[Markup]:
    for side in ("old", "new"):
        rows = [
            [cells.text(row["name"]), cells.count(row["requests"])] for row in told[f"only_{side}"]
        ]
        shown = table(f"only-{side}", told[side], (told["group_by"], "requests"), rows)
        yield section(f"only-{side}", f"Only in the {side} log", shown)
    yield _statuses(told)
    yield _flips(told)


def _statuses(told: Row) -> Markup:
    rows = [
        [
            cells.text(row["name"]),
            cells.status(row["old_status"]),
            cells.share(row["old_share"]),
            cells.status(row["new_status"]),
            cells.share(row["new_share"]),
        ]
        for row in told["status_changes"]
    ]
    headings = (told["group_by"], "old", "share", "new", "share")
    shown = table("statuses", "The most frequent status", headings, rows)
    return section("statuses", "Statuses that changed", shown)


def _flips(told: Row) -> Markup:
    rows = [
        [
            cells.text(row["old"]),
            cells.text(row["new"]),
            cells.count(row["urls"]),
            cells.text(" ".join(row["examples"])),
        ]
        for row in (told["urls"] or {}).get("flips", ())
    ]
    caption = "URLs that always came to one thing, and always come to another now"
    shown = table("flips", caption, ("old", "new", "URLs", "such as"), rows)
    return section("flips", "URLs that changed", shown)
