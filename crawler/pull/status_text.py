"""Jobs and their pulls as text for a terminal, and as plain values for JSON."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Final

from crawler.pull.overview import JobView, TargetView
from crawler.pull.state import RunState
from crawler.report.columns import GAP, column_widths, plain, shorten, table

_NONE: Final = "-"
_HEADINGS: Final = ("state", "last pull", "changed", "failing since", "p95 ms", "baseline")
_RUN_HEADINGS: Final = ("began", "took s", "changed", "unchanged", "failed")


def status_text(views: Sequence[JobView], now_s: float, width: int) -> str:
    """Give a table of the targets of each job, below what there is to say of the job."""
    return "\n".join(line for view in views for line in (*_job_lines(view, now_s, width), ""))


def _job_lines(view: JobView, now_s: float, width: int) -> Iterator[str]:
    yield f"{view.name}: {plain('; '.join(job_facts(view, now_s)))}"
    for alert in view.alerts:
        since = moment_text(alert.since, now_s)
        yield f"  alert: {alert.rule}: {shorten(plain(alert.subject), width - 40)} since {since}"
    if view.targets:
        rows = [_cells(target, now_s) for target in view.targets]
        names = _names(view.targets, width - sum(column_widths(_HEADINGS, rows)))
        yield from table("target", _HEADINGS, names, rows, width)
        for name, target in zip(names, view.targets, strict=True):
            if target.failures:
                yield f"  {shorten(name, width // 2)}: {plain(_reason(target))}"


def job_facts(view: JobView, now_s: float) -> Iterator[str]:
    """Say how a job stands, a fact each; texts may hold anything."""
    last = view.last
    if view.error is not None:
        yield view.error
    elif last is None:
        yield "not pulled yet"
    else:
        counts = f"{last.changed} changed, {last.unchanged} unchanged, {last.failed} failed"
        what = f": {counts}" if last.error is None else f" could not be made: {last.error}"
        what += ", and it was cut off" * last.cut
        yield f"last pull {moment_text(last.started, now_s)}{what}"
    if view.fault is not None:
        yield view.fault
    if view.running_since is not None:
        yield f"being pulled since {moment_text(view.running_since, now_s)}"
    if view.next_at is not None:
        yield f"next {moment_text(view.next_at, now_s)}"


def _names(targets: Sequence[TargetView], room: int) -> list[str]:
    """Name targets in a table: those that would look alike by what tells them apart."""
    names = [plain(target.name) for target in targets]
    alike = dict[str, list[str]]()
    for name in names:
        alike.setdefault(shorten(name, room - GAP), []).append(name)
    shown = dict[str, str]()
    for group in alike.values():
        shown |= zip(group, _apart(group) if len(group) > 1 else group, strict=True)
    return [shown[name] for name in names]


def _apart(names: Sequence[str]) -> list[str]:
    """Leave out what all names begin and end with, but for a part between slashes."""
    head = _beginning(names)
    head = head[: head.rfind("/") + 1]
    rests = [name[len(head) :] for name in names]
    tail = _beginning([rest[::-1] for rest in rests])[::-1]
    if tail in rests:  # one is all that the others end with
        tail = ""
    ending = "…" if tail else ""
    return [f"…{rest.removesuffix(tail)}{ending}" for rest in rests]


def _beginning(texts: Sequence[str]) -> str:
    """Give what all texts begin with."""
    same = takewhile(lambda chars: len(set(chars)) == 1, zip(*texts, strict=False))
    return "".join(chars[0] for chars in same)


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
        return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(moment_s))
    size = (
        f"{away_s:.0f} s" if away_s < 60
        else f"{away_s / 60:.0f} min" if away_s < 3600
        else f"{away_s / 3600:.0f} h"
    )  # fmt: skip
    return f"in {size}" if moment_s > now_s else f"{size} ago"


def history_text(name: str, runs: Sequence[RunState], since_s: float, width: int) -> str:
    """Give a row a pull, newest first, and the reasons of those that could not be made."""
    if not runs:
        since = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(since_s))
        return f"{name}: no pull since {since}\n"
    names = [run.id for run in runs]
    rows = [_run_cells(run) for run in runs]
    lines = table(f"{name}: run", _RUN_HEADINGS, names, rows, width)
    lines += [f"  {run.id}: {plain(run.error)}" for run in runs if run.error is not None]
    told = "cut off: not all targets may have been asked"
    lines += [f"  {run.id}: {told}" for run in runs if run.cut]
    return "\n".join(lines) + "\n"


def _run_cells(run: RunState) -> tuple[str, ...]:
    began = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(run.started))
    if run.error is not None:
        return (began, _NONE, _NONE, _NONE, "not made")
    counts = (run.changed, run.unchanged, run.failed)
    return (began, f"{run.ended - run.started:.2f}", *map(str, counts))
