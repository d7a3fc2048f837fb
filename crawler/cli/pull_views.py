"""Jobs looked at: how they stand and what their pulls came to. Nothing is sent, nothing locked."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import replace
from typing import Final

from crawler.cli.job_options import known_keys
from crawler.cli.pull_options import PullOptions
from crawler.errors import CrawlError, UsageError
from crawler.pull.job import PullJob, job_of
from crawler.pull.job_file import read_job_file
from crawler.pull.job_lock import running_since
from crawler.pull.looping import job_files
from crawler.pull.overview import JobView, overview
from crawler.pull.state import RunState, State
from crawler.pull.timetable import Timetable
from crawler.pull.triggers import trigger_of

_NARROW: Final = 100


def show_status(options: PullOptions) -> int:
    """Print how jobs and their targets stand; give the exit code."""
    from crawler.pull.status_text import status_text

    jobs, code = _readable(options)
    views = [_view(job) for job in jobs]
    if options.json:
        from crawler.pull.view_values import view_value

        print(json.dumps([view_value(view) for view in views], indent=1, ensure_ascii=False))
    else:
        print(status_text(views, time.time(), _width()), end="")
    return max(code, *(UsageError.exit_code for view in views if view.error or view.fault), 0)


def _readable(options: PullOptions) -> tuple[list[PullJob], int]:
    """Read the jobs to look at; one of several that is none is told, and makes the exit code."""
    jobs, code, files = list[PullJob](), 0, job_files(options.places)
    for path in files:
        try:
            jobs.append(job_of(read_job_file(path, known_keys())))
        except CrawlError as exc:
            if len(files) == 1:
                raise
            print(f"crawl: error: {exc}", file=sys.stderr, flush=True)
            code = exc.exit_code
    return jobs, code


def _view(job: PullJob) -> JobView:
    folder = job.store.folder
    try:
        view = replace(overview(job), running_since=running_since(folder), fault=_fault(job))
        last_s = None if view.last is None else view.last.started
        return replace(view, next_at=next_at_of(job, last_s))
    except CrawlError as exc:
        return JobView(name=job.name, path=job.path, folder=folder, error=str(exc))


def _fault(job: PullJob) -> str | None:
    """Say what is wrong with a job's schedule; None where nothing is."""
    try:
        trigger_of(job.timing)
    except UsageError as exc:
        return str(exc)
    return None


def next_at_of(job: PullJob, last_s: float | None) -> float | None:
    """Give when a loop would pull a job next, None without a schedule."""
    table: Timetable[str] = Timetable(lambda _: 0.0)
    try:
        table.put(job.name, job.timing, last_s, time.time())
    except UsageError:
        return None
    return table.next_at(job.name)


def show_history(options: PullOptions) -> int:
    """Print the pulls of jobs; give the exit code."""
    from crawler.pull.status_text import history_text
    from crawler.pull.view_values import run_value

    found = {}
    jobs, code = _readable(options)
    for job in jobs:
        try:
            found[job.name] = _runs(job, options.since_s)
        except CrawlError as exc:
            if len(jobs) == 1:
                raise
            print(f"crawl: error: {job.path}: {exc}", file=sys.stderr, flush=True)
            code = exc.exit_code
    if options.json:
        plain = {name: [run_value(run) for run in runs] for name, runs in found.items()}
        print(json.dumps(plain, indent=1, ensure_ascii=False))
    else:
        since_s, width = options.since_s, _width()
        texts = [history_text(name, runs, since_s, width) for name, runs in found.items()]
        print("\n".join(texts), end="")
    return code


def _runs(job: PullJob, since_s: float) -> list[RunState]:
    state = State.reading(job.store.folder)
    if state is None:
        return []
    with state:
        return state.runs(since=since_s)


def _width() -> int:
    return shutil.get_terminal_size((_NARROW, 24)).columns
