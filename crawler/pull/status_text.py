"""Jobs and their pulls as text for a terminal, and as plain values for JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from crawler.pull.overview import JobView, TargetView
from crawler.pull.state import RunState
from crawler.report.columns import plain, shorten, table

_NONE: Final = "-"
_HEADINGS: Final = ("state", "last pull", "changed", "failing since", "p95 ms", "baseline")
_RUN_HEADINGS: Final = ("began", "took s", "changed", "unchanged", "failed")


def status_text(views: Sequence[JobView], now_s: float, width: int) -> str:
    """Give a table of the targets of each job, below what there is to say of the job."""
    return "\n".join(line for view in views for line in (*_job_lines(view, now_s, width), ""))


def _job_lines(view: JobView, now_s: float, width: int) -> Iterator[str]:
    yield f"{view.name}: {', '.join(_facts(view, now_s))}"
    if view.error is not None:
        yield f"  {plain(view.error)}"
    for alert in view.alerts:
        since = moment_text(alert.since, now_s)
        yield f"  alert: {alert.rule}: {shorten(plain(alert.subject), width - 40)} since {since}"
    if view.targets:
        names = [plain(_named(target)) for target in view.targets]
        rows = [_cells(target, now_s) for target in view.targets]
        yield from table("target", _HEADINGS, names, rows, width)
        for target in view.targets:
            if target.failures:
                yield f"  {shorten(plain(_named(target)), width // 2)}: {plain(_reason(target))}"


def _facts(view: JobView, now_s: float) -> Iterator[str]:
    if view.last is None:
        yield "not pulled yet" if view.error is None else "it cannot be told how it stands"
    elif view.last.error is not None:
        yield f"last pull {moment_text(view.last.started, now_s)} could not be made"
        yield plain(view.last.error)
    else:
        last = view.last
        yield (
            f"last pull {moment_text(last.started, now_s)}: {last.changed} changed, "
            f"{last.unchanged} unchanged, {last.failed} failed"
        )
    if view.running_since is not None:
        yield f"being pulled since {moment_text(view.running_since, now_s)}"
    if view.next_at is not None:
        yield f"next {moment_text(view.next_at, now_s)}"


def _named(target: TargetView) -> str:
    return target.key if target.page == 1 else f"{target.key} page {target.page}"


def _reason(target: TargetView) -> str:
    times = "once" if target.failures == 1 else f"{target.failures} times"
    return f"failed {times}: {target.error}" + (f": {target.detail}" if target.detail else "")


def _cells(target: TargetView, now_s: float) -> tuple[str, ...]:
    return (
        "failing" if target.failures else "fine" if target.succeeded_at else "new",
        moment_text(target.tried_at, now_s),
        moment_text(target.changed_at, now_s),
        moment_text(target.failing_since, now_s),
        _ms(target.p95_ms),
        _ms(target.baseline_p95_ms),
    )


def _ms(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.1f}"


def moment_text(moment_s: float | None, now_s: float) -> str:
    """Give a moment as people tell it: how long ago, or in how long; beyond a day its date."""
    if moment_s is None:
        return _NONE
    away_s = abs(moment_s - now_s)
    if away_s < 0.5:
        return "now"
    if away_s >= 86_400:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment_s))
    size = (
        f"{away_s:.0f} s" if away_s < 60
        else f"{away_s / 60:.0f} min" if away_s < 3600
        else f"{away_s / 3600:.0f} h"
    )  # fmt: skip
    return f"in {size}" if moment_s > now_s else f"{size} ago"


def history_text(name: str, runs: Sequence[RunState], width: int) -> str:
    """Give a row a pull, newest first, and the reasons of those that could not be made."""
    if not runs:
        return f"{name}: no pull\n"
    names = [run.id for run in runs]
    rows = [_run_cells(run) for run in runs]
    lines = table(f"{name}: run", _RUN_HEADINGS, names, rows, width)
    lines += [f"  {run.id}: {plain(run.error)}" for run in runs if run.error is not None]
    return "\n".join(lines) + "\n"


def _run_cells(run: RunState) -> tuple[str, ...]:
    began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.started))
    if run.error is not None:
        return (began, _NONE, _NONE, _NONE, "not made")
    counts = (run.changed, run.unchanged, run.failed)
    return (began, f"{run.ended - run.started:.2f}", *map(str, counts))
