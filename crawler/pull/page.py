"""The status page: plain HTML made on the server, complete without any script.

All that comes from servers and lists is escaped by construction (``report.markup``). Nothing is
fetched from anywhere: the style is within.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from typing import Final
from urllib.parse import quote

from crawler.pull.overview import Change, JobView, TargetView
from crawler.pull.status_text import job_facts, moment_text
from crawler.report.markup import MISSING, Markup, escaped, joined
from crawler.report.units import size_text

_REFRESH_S: Final = 10
_WIDTH: Final = 120
_HEIGHT: Final = 24
_HEADINGS: Final = ("Target", "State", "Success", "Change", "p95", "Baseline", "Latency", "Kept")
_DIFF_LINES: Final = 5000
_MOST_TARGETS: Final = 500
"""Targets of a job that are shown, those that fail first."""


def jobs_page(views: Sequence[JobView], now_s: float) -> str:
    """Give the page of all jobs."""
    count = "1 job" if len(views) == 1 else f"{len(views)} jobs"
    failing = sum(bool(target.failures) for view in views for target in view.targets)
    targets = f"{failing or 'no'} target{'s' * (failing > 1)}"
    told = f"{count}, {targets} failing"
    faulty = sum(view.error is not None or view.fault is not None for view in views)
    told += f", {faulty} not right" if faulty else ""
    return _page("crawl pull", told, [_job(view, now_s) for view in views], refresh=True)


def job_page(view: JobView, now_s: float) -> str:
    """Give the page of one job."""
    back = Markup('<p><a href="/">all jobs</a></p>')
    return _page(view.name, "", [back, _job(view, now_s)], refresh=True)


def diff_page(view: JobView, change: Change, text: str) -> str:
    """Give the page of a diff: what was added and removed is told by sign and by colour."""
    lines = text.splitlines()
    shown = "\n".join(map(_diff_line, lines[:_DIFF_LINES]))
    more = len(lines) - _DIFF_LINES
    parts = [
        Markup(f'<p><a href="{_job_path(view)}">{escaped(view.name)}</a></p>'),
        Markup(f'<pre class="diff" tabindex="0">{shown}</pre>'),
    ]
    if more > 0:
        parts.append(Markup(f"<p>and {more:,} lines more</p>"))
    return _page(change.key, "what changed", parts, refresh=False)


def _page(title: str, told: str, parts: Iterable[Markup], *, refresh: bool) -> str:
    style = files("crawler.pull").joinpath("page.css").read_text(encoding="utf-8")
    again = f'<meta http-equiv="refresh" content="{_REFRESH_S}">\n' if refresh else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n{again}'
        f'<link rel="icon" href="data:,">\n<title>{escaped(title)}</title>\n'
        f"<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header><h1>{escaped(title)}</h1><p>{escaped(told)}</p></header>\n"
        f"<main>\n{joined(parts)}\n</main>\n</body>\n</html>\n"
    )


def _job_path(view: JobView) -> Markup:
    return escaped(f"/jobs/{quote(view.name)}")


def _job(view: JobView, now_s: float) -> Markup:
    parts = [
        Markup(f'<h2><a href="{_job_path(view)}">{escaped(view.name)}</a></h2>'),
        Markup(f"<p>{escaped('; '.join(job_facts(view, now_s)))}</p>"),
        *_alerts(view, now_s),
        _targets(view, now_s),
        _changes(view, now_s),
    ]
    return Markup(f'<section class="job">\n{joined(part for part in parts if part)}\n</section>')


def _alerts(view: JobView, now_s: float) -> Iterator[Markup]:
    for alert in view.alerts:
        words = f"{alert.rule}: {alert.subject}, since {moment_text(alert.since, now_s)}"
        yield Markup(f'<p class="alert">{escaped(words)}</p>')


def _targets(view: JobView, now_s: float) -> Markup:
    if not view.targets:
        return Markup("")
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEADINGS)
    shown = sorted(view.targets, key=lambda each: -each.failures)[:_MOST_TARGETS]
    rows = joined(_target(target, now_s) for target in shown)
    more = len(view.targets) - len(shown)
    name = escaped(f"Targets of {view.name}" + (f", {more:,} more are in /api" if more else ""))
    return Markup(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">\n'
        f"<table><caption>{name}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody></table></div>"
    )


def _target(target: TargetView, now_s: float) -> Markup:
    cells = (
        moment_text(target.succeeded_at, now_s),
        moment_text(target.changed_at, now_s),
        _ms(target.p95_ms),
        _ms(target.baseline_p95_ms),
    )
    figures = "".join(f"<td>{escaped(cell)}</td>" for cell in cells)
    name = escaped(target.name)
    return Markup(
        f'<tr><th scope="row"><bdi>{name}</bdi></th>{_state(target, now_s)}{figures}'
        f"<td>{_sparkline(target.latencies_ms)}</td><td>{target.versions:,}</td></tr>"
    )


def _state(target: TargetView, now_s: float) -> Markup:
    if not target.failures:
        slow = target.drift is not None and target.drift.left
        words = "slower than usual" if slow else "fine" if target.succeeded_at else "new"
        return Markup(f'<td class="{"slow" if slow else "fine"}">{words}</td>')
    why = f"{target.error}: {target.detail}" if target.detail else str(target.error)
    since = moment_text(target.failing_since, now_s)
    words = f"failing since {since}, {target.failures} in a row: {why}"
    return Markup(f'<td class="failing">{escaped(words)}</td>')


def _ms(value: float | None) -> str:
    return MISSING if value is None else f"{value:,.1f} ms"


def _sparkline(times: Sequence[float]) -> Markup:
    """A line of the newest latencies, from 0 up; what it shows is said for those who cannot see."""
    if len(times) < 2:
        return Markup(MISSING)
    most, step = max(times) or 1.0, _WIDTH / (len(times) - 1)
    points = " ".join(
        f"{at * step:.1f},{_HEIGHT - 1 - (_HEIGHT - 2) * value / most:.1f}"
        for at, value in enumerate(times)
    )
    told = f"the last {len(times)}: {min(times):.1f} to {most:.1f} ms, newest {times[-1]:.1f} ms"
    return Markup(
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="{escaped(told)}"><title>{escaped(told)}</title>'
        f'<polyline points="{points}"/></svg>'
    )


def _changes(view: JobView, now_s: float) -> Markup:
    if not view.changes:
        return Markup("")
    items = joined(_change(view, change, now_s) for change in view.changes)
    return Markup(f"<h3>Last changes</h3>\n<ul>\n{items}\n</ul>")


def _change(view: JobView, change: Change, now_s: float) -> Markup:
    words = escaped(f"{moment_text(change.at, now_s)}: {change.key}, {size_text(change.bytes)}")
    if change.diff is None:
        return Markup(f"<li>{words}</li>")
    place = quote(change.diff.relative_to(view.folder).as_posix())
    signs = f"+{change.added or 0} −{change.removed or 0}"
    return Markup(
        f'<li>{words}, <a href="{_job_path(view)}/diffs/{escaped(place)}">{escaped(signs)}</a></li>'
    )


def _diff_line(line: str) -> str:
    kind = {"+": "added", "-": "removed", "@": "place"}.get(line[:1])
    text = escaped(line)
    return f'<span class="{kind}">{text}</span>' if kind else text
