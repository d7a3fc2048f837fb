"""What the summary of a run and a latency report both list: errors by class, names of groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from crawler.report.columns import GAP, plain, shorten
from crawler.report.units import count_text


class FailedClass(NamedTuple):
    """Failures of one class: how many, and the first of them."""

    name: str
    failures: int
    url: str
    detail: str


def error_lines(errors: Sequence[FailedClass], width: int) -> list[str]:
    """A line a class with its count, and below it the first of its kind."""
    if not errors:
        return []
    label = max(len(each.name) for each in errors)
    digits = max(len(count_text(each.failures)) for each in errors)
    lines = ["errors, each with its first example"]
    for name, failures, url, detail in errors:
        head = f"{'':{GAP}}{name:<{label}}{'':{GAP}}{count_text(failures):>{digits}}{'':{GAP}}"
        lines.append(head + shorten(plain(url), width - len(head)))
        if detail:
            lines.append(" " * len(head) + plain(detail))
    return lines


def common_origin(group_by: str, names: Sequence[str]) -> str:
    """``scheme://host`` that all groups share, for a heading to say once; "" if there is none."""
    named = [name for name in names if not name.startswith("(")]
    if group_by not in ("endpoint", "url") or not named:
        return ""
    scheme, mark, rest = named[0].partition("://")
    origin = scheme + mark + rest.partition("/")[0]
    return origin if mark and all(name.startswith(origin + "/") for name in named) else ""
