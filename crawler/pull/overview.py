"""What there is to tell of a job: one value for the status, the page, its API and the metrics."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crawler.pull.baseline import BASELINE, RECENT, Drift, p95, worst_drift
from crawler.pull.job import PullJob
from crawler.pull.latest import latest_path
from crawler.pull.state import RunState, State, TargetState, Version, state_files
from crawler.pull.state_file import stamp_of

_P95_OF: Final = 20
_SHOWN: Final = 60
"""Latencies of a target that are shown as a line."""
_CHANGES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """A target as it is told. Moments are Unix seconds, None where there was none yet.

    ``latencies_ms`` are the newest ones of successes, oldest first; ``p95_ms`` that of the last 20,
    ``baseline_p95_ms`` that of up to 200 before them. ``versions`` counts those that are kept.
    """

    key: str
    page: int
    latest: Path | None
    tried_at: float | None
    succeeded_at: float | None
    changed_at: float | None
    failing_since: float | None
    failures: int
    error: str | None
    detail: str | None
    status: int | None
    latencies_ms: tuple[float, ...]
    p95_ms: float | None
    baseline_p95_ms: float | None
    drift: Drift | None
    versions: int
    cursor: str | None

    @property
    def name(self) -> str:
        """The target's URL as the job has it, and its page behind the first."""
        return self.key if self.page == 1 else f"{self.key} page {self.page}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """An alert that is firing."""

    rule: str
    subject: str
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A version that was kept: ``place`` and ``diff`` are files, ``diff`` None without one."""

    key: str
    at: float
    place: Path
    diff: Path | None
    bytes: int
    added: int | None
    removed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job as it is told. ``last`` is its newest run; ``next_at`` is None without a schedule.

    ``running_since`` is None where nothing tells; ``error`` says why nothing is known of it,
    ``fault`` what is wrong with its file, although something is.
    """

    name: str
    path: Path
    folder: Path
    last: RunState | None = None
    next_at: float | None = None
    running_since: float | None = None
    targets: tuple[TargetView, ...] = ()
    alerts: tuple[AlertView, ...] = ()
    changes: tuple[Change, ...] = ()
    error: str | None = None
    fault: str | None = None


def overview(
    job: PullJob, *, next_at: float | None = None, running_since: float | None = None
) -> JobView:
    """Look at a job's state as it is now; raises ``StateError``."""
    folder = job.store.folder
    state = State.reading(folder)
    if state is None:
        return JobView(
            name=job.name, path=job.path, folder=folder,
            next_at=next_at, running_since=running_since,
        )  # fmt: skip
    with state:
        return view_of(job, state, next_at=next_at, running_since=running_since)


class Overviews:
    """Views of jobs, made anew only where a job's state has changed; safe in several threads."""

    def __init__(self) -> None:
        self._made: dict[Path, tuple[object, JobView]] = {}
        self._guard = threading.Lock()

    def of(self, job: PullJob) -> JobView:
        """Look at a job, without what only a loop knows of it; raises ``StateError``."""
        with self._guard:
            signature = (job, *map(stamp_of, state_files(job.store.folder)))
            known = self._made.get(job.path)
            if known is None or known[0] != signature:
                known = self._made[job.path] = (signature, overview(job))
            return known[1]


def view_of(
    job: PullJob,
    state: State,
    *,
    next_at: float | None = None,
    running_since: float | None = None,
) -> JobView:
    """Tell what an open state holds of a job."""
    folder = job.store.folder
    targets, dropped = state.targets(), state.dropped()
    keys = {target.id: target.key for target in targets}
    newest = state.runs(most=1)
    return JobView(
        name=job.name,
        path=job.path,
        folder=folder,
        last=newest[0] if newest else None,
        next_at=next_at,
        running_since=running_since,
        targets=tuple(_target(state, folder, each) for each in targets if each.id not in dropped),
        alerts=tuple(
            AlertView(rule=rule, subject=subject, since=since)
            for rule, subject, since in state.rows(
                "SELECT rule, subject, since FROM alert ORDER BY since, rule, subject"
            )
        ),
        changes=tuple(
            _change(folder, keys[each.target], each) for each in state.versions(most=_CHANGES)
        ),
    )


def _target(state: State, folder: Path, target: TargetState) -> TargetView:
    newest = state.outcomes(target.id, 1)
    latencies = state.latencies_ms(target.id, BASELINE + max(RECENT, _P95_OF))
    times = tuple(each for _, each in latencies)
    versions = state.rows("SELECT count(*) FROM version WHERE target = ?", target.id)
    latest = latest_path(folder, target)
    return TargetView(
        key=target.key,
        page=target.page,
        latest=latest if target.digest is not None else None,
        tried_at=target.tried_at,
        succeeded_at=target.succeeded_at,
        changed_at=target.changed_at,
        failing_since=target.failing_since,
        failures=target.failures,
        error=target.error,
        detail=target.detail,
        status=newest[-1].status if newest else None,
        latencies_ms=times[-_SHOWN:],
        p95_ms=p95(times[-_P95_OF:]),
        baseline_p95_ms=p95(times[:-_P95_OF][-BASELINE:]),
        drift=worst_drift(latencies),
        versions=versions[0][0],
        cursor=target.cursor,
    )


def _change(folder: Path, key: str, version: Version) -> Change:
    return Change(
        key=key,
        at=version.at,
        place=folder / version.place,
        diff=None if version.diff is None else folder / version.diff,
        bytes=version.bytes,
        added=version.added,
        removed=version.removed,
    )
