"""Changes as alerts: each version of a target that had one before is told of, once.

That a version is news stands in the state from the transaction that has it, until the one that has
its alert: a kill between loses none and doubles none.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from crawler.pull.job import PullJob
from crawler.pull.state import State, TargetState, Version

MOST_TOLD: Final = 20
"""Changes of one pull that have an alert each; of more, one alert says how many."""
_LONGEST: Final = 10_000
"""Characters of a diff in an alert."""


def changes(job: PullJob, state: State) -> Iterator[dict[str, str]]:
    """Yield the alerts of what changed, where the job wants them; it is no news any more then."""
    news = state.news()
    if not news:
        return
    state.change("UPDATE version SET news = 0 WHERE news")
    if not job.alerts.changes:
        return
    for target, version in news[:MOST_TOLD]:
        yield _alert(job, target, version)
    if len(news) > MOST_TOLD:
        yield _rest(job, news[-1][1], len(news) - MOST_TOLD)


def _alert(job: PullJob, target: TargetState, version: Version) -> dict[str, str]:
    subject = subject_of(target)
    lines = "" if version.added is None else f" (+{version.added} -{version.removed} lines)"
    alert = _base(job, version, subject, f"{subject} changed{lines}") | {"version": version.place}
    if version.diff is not None:
        alert["diff"] = _text_of(job.store.folder / version.diff)
    return alert


def _rest(job: PullJob, newest: Version, count: int) -> dict[str, str]:
    return _base(job, newest, job.name, f"and {count} more changed; crawl pull --status tells")


def _base(job: PullJob, version: Version, subject: str, words: str) -> dict[str, str]:
    return {
        "job": job.name,
        "rule": "changes",
        "subject": subject,
        "state": "changed",
        "since": iso(version.at),
        "at": iso(version.at),
        "message": f"{job.name}: {words}",
        "run": version.run,
    }


def _text_of(diff: Path) -> str:
    """Read a diff; of a long one its beginning, of one that was taken away nothing."""
    try:
        text = diff.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n(and more, in {diff.name})"


def subject_of(target: TargetState) -> str:
    """Name a target in an alert."""
    return target.key if target.page == 1 else f"{target.key} page {target.page}"


def iso(moment_s: float) -> str:
    """Give a Unix time as alerts have it."""
    return (
        datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    )
