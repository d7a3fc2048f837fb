"""The summary for programs: one JSON document, or a CSV table of the groups.

Units are in the names of the keys, as everywhere. What there is no figure for (the latency of a
group without a success) is null in JSON and empty in CSV. A percentile that its sample cannot
support is given all the same, and named in ``unsupported``.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from crawler.report.units import plain_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crawler.summary import Results, Row


def to_json(results: Results) -> str:
    """One JSON document, indented, ended by a newline.

    Keys: ``group_by``, ``wall_s``, ``total``, ``groups`` (most requests first), ``phases``,
    ``errors``, ``statuses``, ``health``. A group has ``name``, the columns of ``Results.frame``
    and ``unsupported``.
    """
    *groups, total = [_group(row) for row in results.rows()]
    document = {
        "group_by": results.group_by,
        "wall_s": plain_number(results.clock.wall_s),
        "total": {key: value for key, value in total.items() if key != "name"},
        "groups": groups,
        "phases": [{"phase": name} | _values(row) for name, row in results.phase_table.rows()],
        "errors": [{"error": name} | _values(row) for name, row in results.error_table.rows()],
        "statuses": {str(status): count for status, count in results.statuses.items()},
        "health": _values(asdict(results.health)) | {"saturated": results.health.saturated},
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(results: Results) -> str:
    """``Results.frame`` as CSV (RFC 4180, but lines end in LF), ``total`` the last row.

    The first column bears the name of what was grouped by; the last, ``unsupported``, names the
    percentiles so marked, with spaces between.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([results.group_by, *results.groups.columns, "unsupported"])
    for row in results.rows():
        figures = _values(row.figures).values()
        writer.writerow([row.name, *figures, " ".join(row.unsupported)])
    return text.getvalue()


def _group(row: Row) -> dict[str, object]:
    return {"name": row.name, **_values(row.figures), "unsupported": list(row.unsupported)}


def _values(figures: Mapping[str, object]) -> dict[str, object]:
    return {key: plain_number(value) for key, value in figures.items()}
