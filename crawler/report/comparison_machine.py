"""A comparison for programs: one JSON document.

Units are in the names of the keys; shares and relative changes are fractions (0.05 for 5 %). What
there is no figure for is null. P-values are corrected for all tests of the comparison, and 1
where nothing was tested. Every key is told in docs/compare.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from crawler.intervals import CONFIDENCE
from crawler.report.units import plain_number

if TYPE_CHECKING:
    from crawler.compared import Compared, Comparison, Side

Row = dict[str, object]


def document(comparison: Comparison) -> Row:
    """All of a comparison as what JSON can hold: dicts, lists, texts, numbers, None."""
    plan = comparison.plan
    return {
        "old": comparison.old_name,
        "new": comparison.new_name,
        "group_by": comparison.group_by,
        "latency": plan.latency,
        "metric": plan.metric,
        "threshold": plan.threshold,
        "error_threshold": plan.error_threshold,
        "confidence": CONFIDENCE,
        "broken": [each.name for each in comparison.broken],
        "total": _compared(comparison.total),
        "endpoints": [_compared(row) for row in comparison.rows],
        "only_old": _rows(comparison.only_old),
        "only_new": _rows(comparison.only_new),
        "status_changes": [
            _row(each)
            | {"old_status": each.old_status or None, "new_status": each.new_status or None}
            for each in comparison.status_changes
        ],
        "urls": _urls(comparison),
        "notes": list(comparison.notes),
    }


def to_json(comparison: Comparison) -> str:
    """``document`` as indented JSON, ended by a newline."""
    return json.dumps(document(comparison), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _compared(row: Compared) -> Row:
    ranks = row.ranks
    return {
        "name": row.name,
        "verdict": row.verdict,
        "by_ranks": row.by_ranks,
        "mixed": row.mixed,
        "beyond_threshold": row.beyond,
        "old": _side(row.old),
        "new": _side(row.new),
        "changes": {metric: _row(change) for metric, change in row.changes.items()},
        "ranks": None
        if ranks is None
        else _row(ranks) | {"delta": plain_number(ranks.delta), "effect": ranks.effect},
        "errors": _row(row.errors)
        | {"verdict": row.error_verdict, "beyond_threshold": row.errors_beyond},
        "p_values": row.p_values._asdict(),
    }


def _side(side: Side) -> Row:
    return {"requests": side.requests, "ok": side.ok, "failed": side.failed}


def _urls(comparison: Comparison) -> Row | None:
    urls = comparison.urls
    if urls is None:
        return None
    return _row(urls) | {
        "flips": _rows(urls.flips),
        "shared_share": plain_number(urls.shared_share),
    }


def _rows(values: Iterable[NamedTuple]) -> list[Row]:
    return [_row(value) for value in values]


def _row(value: NamedTuple) -> Row:
    return {key: plain_number(each) for key, each in value._asdict().items()}
