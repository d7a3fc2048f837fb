"""Two logs to a comparison: which runs, which latency, whose URLs, and what to keep in mind.

The statistics know only figures; here is said what they cannot see: other lists, other loads, a
client that measured itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Final, Literal

from crawler.compared import Comparison, Latency, Plan, UrlChanges
from crawler.comparison import compare
from crawler.errors import UsageError
from crawler.log_blocks import EVERYTHING, BlockReader, Selection
from crawler.log_chunks import LogFile, is_rereadable
from crawler.reading import LAST, read_report
from crawler.report.model import Report
from crawler.samples import OTHER
from crawler.url_changes import MOST_URLS, UrlOutcomes

ALL: Final = "all"
"""The run that means all runs of a log together."""
PREVIOUS: Final = "previous"
"""The run before the last one."""
_SAME_LIST: Final = 0.95
"""Share of all URLs that both logs must have to be of one list."""
_SAME_MIX: Final = 0.05
"""Share of requests that may go to other endpoints before the total compares another mix."""
_SAME_RATE: Final = 0.05
_DEPENDENT: Final = 2.0
"""Dispersion from which on intervals are clearly too narrow: by 1.4."""

Warn = Callable[[str], None]
Asked = Literal["auto", "service", "response"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSide:
    """A log, and which of its runs: ``last``, ``previous``, ``all`` or the beginning of an id."""

    path: Path
    run: str = LAST


def compare_logs(
    old: LogSide,
    new: LogSide,
    plan: Plan,
    *,
    group_by: str = "endpoint",
    latency: Asked = "auto",
    warn: Warn,
) -> Comparison:
    """Read two logs and compare them; ``latency`` chooses that of the plan.

    ``auto`` is response time where both are open loops, else service time. ``warn`` is told in
    words what was left out. Raises ``LogError`` and ``UsageError`` for what cannot be read.
    """
    reports = [_read(side, group_by, warn) for side in (old, new)]
    chosen: Latency = _latency(reports) if latency == "auto" else latency
    comparison = compare(reports[0].figures, reports[1].figures, replace(plan, latency=chosen))
    comparison = replace(
        comparison,
        old_name=f"{reports[0].title}  {_runs(reports[0])}",
        new_name=f"{reports[1].title}  {_runs(reports[1])}",
        urls=_url_changes((old.path, new.path), reports),
    )
    return replace(comparison, notes=tuple(_notes(comparison, reports)))


def default_runs(old: Path, new: Path) -> tuple[str, str]:
    """The last run of each; of one and the same log, its last two."""
    return (PREVIOUS if _same(old, new) else LAST), LAST


def _same(old: Path, new: Path) -> bool:
    try:
        return old.samefile(new)
    except OSError:
        return old == new


def _read(side: LogSide, group_by: str, warn: Warn) -> Report:
    run = _previous(side.path) if side.run == PREVIOUS else None if side.run == ALL else side.run
    report = read_report([side.path], selection=Selection(run=run), group_by=group_by, warn=warn)
    if not report.figures.total.requests:
        raise UsageError(f"{side.path}: run {_runs(report)} holds nothing but warm-up requests")
    return report


def _previous(path: Path) -> str:
    """The run before the last, by when they began."""
    everything = read_report([path], selection=EVERYTHING, group_by="status", warn=_silent)
    spans = sorted(everything.figures.runs.items(), key=lambda each: each[1].first_s)
    if not spans:
        raise UsageError(f"{path}: it holds nothing but warm-up requests: nothing to compare")
    if len(spans) < 2:
        raise UsageError(
            f"{path}: there is one run in it, {spans[0][0]}: nothing to compare it with; give "
            "another log, or run it again with the same --out"
        )
    return spans[-2][0]


def _silent(_text: str) -> None:
    """Say nothing: the next reading of the same log will."""


def _runs(report: Report) -> str:
    runs = sorted(report.figures.runs)
    return runs[0] if len(runs) == 1 else f"{len(runs)} runs"


def _latency(reports: list[Report]) -> Latency:
    return "response" if all(report.open_loop for report in reports) else "service"


def _url_changes(paths: tuple[Path, Path], reports: list[Report]) -> UrlChanges | None:
    """Read the logs again, by URL; None where one is a pipe or has too many."""
    if not all(map(is_rereadable, paths)):
        return None
    old = _outcomes(paths[0], reports[0])
    return None if old.full else old.changes_to(_outcomes(paths[1], reports[1]))


def _outcomes(path: Path, report: Report) -> UrlOutcomes:
    runs = report.figures.runs
    selection = Selection(run=next(iter(runs))) if len(runs) == 1 else EVERYTHING
    reader = BlockReader("url", selection, bad=lambda _log, _bad: None)
    return UrlOutcomes(reader.blocks(LogFile(path)))


def _notes(comparison: Comparison, reports: list[Report]) -> Iterator[str]:
    if reports[0].figures.runs == reports[1].figures.runs:
        yield f"both sides are the same requests, of {_runs(reports[0])}"
    yield from _of_saturation(reports)
    yield from _of_dependence(comparison, reports)
    yield from _of_loads(comparison, reports)
    yield from _of_lists(comparison, reports)


def _of_saturation(reports: list[Report]) -> Iterator[str]:
    for side, report in zip(("old", "new"), reports, strict=True):
        for warning in report.audit.warnings:
            yield f"{side}: {warning}"


def _of_dependence(comparison: Comparison, reports: list[Report]) -> Iterator[str]:
    """All tests take requests as independent; how far from it a run was can be measured."""
    for side, report in zip(("old", "new"), reports, strict=True):
        times = report.figures.timeline.dispersion(comparison.plan.q)
        if times > _DEPENDENT:
            yield (
                f"{side}: its latency wavered, {times:.1f} times as much from second to second as "
                f"chance would have it: take intervals as {sqrt(times):.1f} times as wide, or "
                "compare several runs"
            )


def _of_loads(comparison: Comparison, reports: list[Report]) -> Iterator[str]:
    """Other loads are other measurements: a server is slower when it is asked more."""
    old, new = reports
    if old.open_loop != new.open_loop:
        loops = ("an open loop (by a schedule)", "a closed loop (as replies came)")
        first, second = loops if old.open_loop else loops[::-1]
        yield f"old is {first}, new {second}: {comparison.plan.latency} times are compared"
    loads = [_load(report) for report in reports]
    if all(loads) and loads[0] != loads[1]:
        yield f"other loads: old had {loads[0]}, new {loads[1]}"
    rates = [report.figures.sent_per_s for report in reports]
    if old.open_loop and new.open_loop and abs(rates[1] - rates[0]) > _SAME_RATE * rates[0]:
        yield f"old was asked {rates[0]:,.0f} times a second, new {rates[1]:,.0f} times"


def _load(report: Report) -> str:
    """What was asked of a report's runs, where their notes tell."""
    said = (
        f"{each.note.concurrency} connections"
        + ("" if each.note.schedule is None else f" at {each.note.schedule}")
        for each in report.runs
        if each.note is not None
    )
    return ", ".join(dict.fromkeys(said))


def _of_lists(comparison: Comparison, reports: list[Report]) -> Iterator[str]:
    urls = comparison.urls
    if urls is None:
        yield f"URLs were not compared one by one: more than {MOST_URLS:,} in a log, or a pipe"
    elif urls.shared_share < _SAME_LIST:
        yield (
            f"the logs are of different lists: {100 * urls.shared_share:.0f} % of their URLs are "
            "in both"
        )
    if any(OTHER in report.figures.groups for report in reports):
        yield "endpoints beyond the first 1,000 of a log are compared in the total only"
    if not comparison.rows and comparison.only_old and comparison.group_by == "endpoint":
        yield "no endpoint is in both logs; --group-by path compares them whatever their host"
    moved = _moved(reports)
    if moved > _SAME_MIX:
        yield (
            f"{100 * moved:.0f} % of the requests went to other endpoints than before: the total "
            "compares another mix; go by the rows"
        )


def _moved(reports: list[Report]) -> float:
    """The share of requests that would have to go to another endpoint for the mixes to be one."""
    old, new = (report.figures for report in reports)
    shares = [
        {name: tally.requests / figures.total.requests for name, tally in figures.groups.items()}
        for figures in (old, new)
    ]
    names = shares[0].keys() | shares[1].keys()
    return sum(abs(shares[0].get(n, 0.0) - shares[1].get(n, 0.0)) for n in names) / 2
