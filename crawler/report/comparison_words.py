"""The words and figures in which changes are told: in the text of a comparison, and on its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from crawler.compared import TOTAL
from crawler.report.columns import plain, shorten
from crawler.report.units import time_scales
from crawler.shifts import LEVEL

if TYPE_CHECKING:
    from crawler.compared import Compared, Comparison

_LONGEST_NAME: Final = 60


def broken_lines(comparison: Comparison) -> list[str]:
    """Say of each thing that breaks what was measured and what was allowed."""
    lines = []
    for each in comparison.broken:
        if each.beyond:
            lines.append(_too_slow(each, comparison))
        if each.errors_beyond:
            lines.append(_too_many(each, comparison))
    return lines


def unbroken_line(comparison: Comparison) -> str:
    """Say that nothing breaks, and what would."""
    plan = comparison.plan
    return (
        f"nothing broken: no {plan.metric} is slower by more than {limit(plan.threshold)}, and no "
        f"error share higher by more than {limit(plan.error_threshold)[:-2]} points, with "
        f"{100 - 100 * LEVEL:.0f} % confidence"
    )


def _too_slow(row: Compared, comparison: Comparison) -> str:
    plan, change = comparison.plan, row.metric
    scale = time_scales(change.old_ms)[0]
    return (
        f"broken: {called(row)}: {plan.metric} slower by {percent(change.relative)[1:]} "
        f"({scale.phrase(change.old_ms)} → {scale.phrase(change.new_ms)}; 95 % CI "
        f"{bounds(change.relative_low, change.relative_high, percent)}), "
        f"allowed {limit(plan.threshold)}"
    )


def _too_many(row: Compared, comparison: Comparison) -> str:
    change = row.errors
    return (
        f"broken: {called(row)}: errors {share(change.old)} → {share(change.new)} "
        f"({points(change.difference)} points; 95 % CI "
        f"{bounds(change.low, change.high, points)}), "
        f"allowed +{limit(comparison.plan.error_threshold)[:-2]} points"
    )


def called(row: Compared) -> str:
    """Name a row in a sentence."""
    return "all requests" if row.name == TOTAL else plain(shorten(row.name, _LONGEST_NAME))


def percent(share: float) -> str:
    """A change with its sign, in percent: one decimal below 100."""
    percent = 100 * share
    return f"{percent:+,.{1 if abs(percent) < 99.95 else 0}f} %"


def points(share: float) -> str:
    """A change of a share with its sign, in percentage points."""
    return f"{100 * share:+.2f}"


def share(share: float) -> str:
    """A share in percent: two decimals below 10 %."""
    return f"{100 * share:.{2 if share < 0.0995 else 1}f} %"


def limit(share: float) -> str:
    """A threshold as it was given: ``5 %``."""
    return f"{100 * share:.12g} %"


def status(status: int) -> str:
    """A status code, or that there was none."""
    return str(status) if status else "no reply"


def bounds(low: float, high: float, form: Callable[[float], str]) -> str:
    """Give an interval; its unit is that of the change beside it."""
    return f"{form(low).removesuffix(' %')} to {form(high).removesuffix(' %')}"
