"""A job's view as plain values: the shape of ``--status --json`` and of ``/api``.

Moments are ISO 8601 in UTC, paths those of the job's folder, units stand in names.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crawler.pull.overview import Change, JobView, TargetView
from crawler.pull.state import RunState


def view_value(view: JobView) -> dict[str, Any]:
    """Give a job as JSON tells it."""
    return {
        "name": view.name,
        "job": str(view.path),
        "folder": str(view.folder),
        "error": view.error,
        "fault": view.fault,
        "last": None if view.last is None else run_value(view.last),
        "next": iso(view.next_at),
        "running_since": iso(view.running_since),
        "alerts": [
            {"rule": alert.rule, "subject": alert.subject, "since": iso(alert.since)}
            for alert in view.alerts
        ],
        "targets": [_target(target, view.folder) for target in view.targets],
        "changes": [_change(change, view.folder) for change in view.changes],
    }


def run_value(run: RunState) -> dict[str, Any]:
    """Give a run as JSON tells it."""
    return {
        "run": run.id,
        "started": iso(run.started),
        "ended": iso(run.ended),
        "changed": run.changed,
        "unchanged": run.unchanged,
        "failed": run.failed,
        "error": run.error,
        "cut": run.cut,
    }


def iso(moment_s: float | None) -> str | None:
    """Give a moment in UTC as ISO 8601, None for none."""
    if moment_s is None:
        return None
    return datetime.fromtimestamp(moment_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _target(target: TargetView, folder: Path) -> dict[str, Any]:
    return {
        "target": target.key,
        "page": target.page,
        "latest": _relative(target.latest, folder),
        "tried": iso(target.tried_at),
        "succeeded": iso(target.succeeded_at),
        "changed": iso(target.changed_at),
        "failing_since": iso(target.failing_since),
        "failures": target.failures,
        "status": target.status,
        "error": target.error,
        "detail": target.detail,
        "p95_ms": target.p95_ms,
        "baseline_p95_ms": target.baseline_p95_ms,
        "slower": target.drift is not None and target.drift.left,
        "latencies_ms": list(target.latencies_ms),
        "versions": target.versions,
        "cursor": target.cursor,
    }


def _change(change: Change, folder: Path) -> dict[str, Any]:
    return {
        "target": change.key,
        "at": iso(change.at),
        "version": _relative(change.place, folder),
        "diff": _relative(change.diff, folder),
        "bytes": change.bytes,
        "added": change.added,
        "removed": change.removed,
    }


def _relative(path: Path | None, folder: Path) -> str | None:
    return None if path is None else path.relative_to(folder).as_posix()
