"""The pull verb: jobs pulled once or by their schedules, looked at, checked, and made.

One line a pull goes to stdout, all other talk to stderr. What a pull recorded stays, whatever ends
it: the next one takes it up.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from crawler.cli.job_options import (
    JobRequests,
    check_cursor,
    known_keys,
    read_requests,
    standing_at,
)
from crawler.cli.job_twins import twins_of
from crawler.cli.pull_options import PullOptions
from crawler.cli.pull_views import next_at_of, show_history, show_status
from crawler.cli.stopping import StopSignals
from crawler.crawling import Crawling
from crawler.errors import CrawlError, JobRunningError, TargetError, UsageError
from crawler.files import write_whole
from crawler.pull.alerting import Finding, deliver, failure_of, findings, note
from crawler.pull.channels import check_channels, check_program
from crawler.pull.committing import Committed
from crawler.pull.durable import Workshop
from crawler.pull.job import PullJob, job_of
from crawler.pull.job_file import JobFile, parse_job, read_job_file
from crawler.pull.job_lock import lock_job
from crawler.pull.looping import AT_ONCE, LoadedJob, Loop, check_apart, job_files
from crawler.pull.overview import view_of
from crawler.pull.pulling import Pull, Pulled, check_pull, note_failure
from crawler.pull.rotation import LOG_NAME
from crawler.pull.state import State
from crawler.pull.triggers import trigger_of

_BROKEN: Final = 3
_FAILURES_SAID: Final = 3


def execute(options: PullOptions) -> int:
    """Do what was asked; give the exit code."""
    return _MODES[options.mode](options)


def _say(text: str) -> None:
    print(f"crawl: {text}", file=sys.stderr, flush=True)


# -- pulling


def _once(options: PullOptions) -> int:
    """Pull each job, one after another: none keeps the next from its turn. The worst code counts.

    Where only one was named, its error is the command's own; a bug is told last.
    """
    if len(options.places) == 1 and not options.places[0].is_dir():
        return _pull_file(options.places[0], options)
    _check_apart(options.places)
    codes, bugs = list[int](), list[Exception]()
    for path in job_files(options.places):
        try:
            codes.append(_pull_file(path, options))
        except CrawlError as exc:
            _say(f"error: {exc}")
            codes.append(exc.exit_code)
        except Exception as exc:
            bugs.append(exc)
            continue
        if codes[-1] > 128:  # it was told to stop
            break
    if bugs:
        raise bugs[0]
    return max(codes)


def _check_apart(places: Sequence[Path]) -> None:
    """Refuse jobs that would pull into one folder; those that cannot be read are told later."""
    jobs = list[PullJob]()
    for path in job_files(places):
        with contextlib.suppress(CrawlError):
            jobs.append(job_of(read_job_file(path, known_keys())))
    check_apart(jobs)


def _pull_file(path: Path, options: PullOptions) -> int:
    file = _read(path, options)
    with standing_at(file.path), _naming(path):
        job = job_of(file)
        try:
            return _pull(job, file, options)
        except JobRunningError as exc:
            if not options.skip_if_running:
                raise
            if not options.quiet:
                _say(str(exc).partition(";")[0] + ": skipped")
            return 0
        except Exception as exc:
            _note_failure(job, _words_of(exc))
            raise


def _words_of(exc: Exception) -> str:
    """Say why a pull could not be made; of a bug its kind only: its words may hold a secret."""
    if isinstance(exc, CrawlError):
        return str(exc)
    return f"{type(exc).__name__}, a bug in crawl: with --debug it shows where"


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have an error name the job file, where it does not do so already."""
    try:
        yield
    except (UsageError, TargetError) as exc:
        if path.name in str(exc):
            raise
        raise type(exc)(f"{path}: {exc}") from None


def _read(path: Path, options: PullOptions) -> JobFile:
    if options.text_on_stdin:
        return parse_job(path, sys.stdin.buffer.read(), known_keys())
    return read_job_file(path, known_keys())


@dataclass(slots=True)
class _Stopping:
    """Watches a crawl for signals, and knows afterwards which came."""

    signals: StopSignals | None = field(default=None)

    def watch(self, crawling: Crawling) -> StopSignals:
        self.signals = StopSignals(crawling)
        return self.signals

    @property
    def by(self) -> int | None:
        return None if self.signals is None else self.signals.by


def _pull(job: PullJob, file: JobFile, options: PullOptions) -> int:
    check_channels(job.alerts)
    requests = read_requests(file, _warner(job))
    for text in () if options.text_on_stdin else twins_of(job):  # a loop has looked
        _say(text)
    check_pull(job, requests.settings)
    check_cursor(file, job.cursor)
    stopping, codes = _Stopping(), list[int]()

    def then(state: State, pulled: Pulled) -> None:
        broken = _tell(job, state, pulled)
        codes.append(_code(requests, pulled, broken=broken, by=stopping.by))

    pull = Pull(
        job=job, requests=requests, warn=_warner(job), watch=stopping.watch, wait=options.wait
    )
    try:
        pulled = pull.make(then)
    except KeyboardInterrupt:
        if stopping.by is None:
            raise
        _say(f"{job.name}: stopped at once; the next pull takes up what was recorded")
        return 128 + stopping.by
    if not options.quiet or codes[0]:
        if pulled.taken_up is not None:
            print("what a pull that was killed had recorded: " + _line(job, pulled.taken_up))
        print(_line(job, pulled.committed), flush=True)
        _say_failures(job, pulled.committed)
    return codes[0]


def _say_failures(job: PullJob, committed: Committed) -> None:
    """Say of the first targets that failed why they did: cron mails what a pull says."""
    failing = [target for target in committed.targets if target.failures]
    for target in failing[:_FAILURES_SAID]:
        _say(f"{job.name}: {failure_of(target)}")
    if len(failing) > _FAILURES_SAID:
        more = len(failing) - _FAILURES_SAID
        _say(f"{job.name}: and {more} more; crawl pull --status {job.path} tells of all")


def _warner(job: PullJob) -> Callable[[str], None]:
    return lambda text: _say(f"{job.name}: {text}")


def _tell(job: PullJob, state: State, pulled: Pulled) -> bool:
    """Tell whoever is to know; give whether a limit was broken."""
    run, warn = pulled.committed.run, _warner(job)
    broken = list[Finding]()
    if job.alerts.thresholds and pulled.committed.targets:  # else it was stopped before a reply
        from crawler.pull.limits import broken_limits

        broken = broken_limits(job, job.store.folder / LOG_NAME, pulled.committed)
    found = [*broken, *findings(job, state, pulled.committed)]
    note(job, state, found, run.id, run.ended, made=True)
    deliver(job, state, time.time(), warn)
    _export_view(job, state, run.started)
    for each in broken:
        if each.firing:
            warn(each.message)
    return any(each.firing for each in broken)


def _export_view(job: PullJob, state: State, now_s: float) -> None:
    """Write and send the figures; that they cannot be is no failure of the pull."""
    if job.textfile is None and job.otlp is None:
        return
    view = view_of(job, state, next_at=next_at_of(job, now_s))
    try:
        if job.textfile is not None:
            from crawler.pull.metrics import write_metrics

            write_metrics(job.textfile, [view])
        if job.otlp is not None:
            from crawler.pull.otlp import push

            push(job.otlp, view)
    except CrawlError as exc:
        _say(f"{job.name}: {exc}")


def _code(requests: JobRequests, pulled: Pulled, *, broken: bool, by: int | None) -> int:
    run = pulled.committed.run
    if by is not None:
        return 128 + by
    if broken:
        return _BROKEN
    count = run.changed + run.unchanged + run.failed
    return int(requests.options.max_errors.exceeded(run.failed, count))


def _line(job: PullJob, committed: Committed) -> str:
    run = committed.run
    count = run.changed + run.unchanged + run.failed
    return (
        f"{job.name}: {count} asked: {run.changed} changed, {run.unchanged} unchanged, "
        f"{run.failed} failed, in {run.ended - run.started:.2f} s; in {job.store.folder}"
    )


def _note_failure(job: PullJob, words: str) -> None:
    """Have history and alerts tell of a pull that could not be made.

    One that is under way in another process tells what there is to tell itself.
    """
    now_s = time.time()
    try:
        Workshop(job.store.folder).make(job.store.folder)
        lock = lock_job(job.name, job.store.folder, wait=False)
        with lock, State.open(job.store.folder) as state:
            note_failure(state, words, now_s)
            message = f"it could not be pulled: {words}"
            found = [Finding("pull", job.name, firing=True, message=message)]
            note(job, state, found, "", now_s, made=False)
            deliver(job, state, now_s, _warner(job))
            _export_view(job, state, now_s)
    except (CrawlError, OSError):
        return  # the error itself may be that the state cannot be used


# -- by schedule


def _loop(options: PullOptions) -> int:
    loop = Loop(
        options.places, _loaded, _say, every=options.every, at_once=options.at_once or AT_ONCE
    )
    with loop.listening():
        loop.begin()
        return _run(loop, options)


def _run(loop: Loop, options: PullOptions) -> int:
    if options.serve is None:
        return loop.run()
    from crawler.pull.metrics import to_metrics
    from crawler.pull.serving import StatusServer

    server = StatusServer(
        options.serve,
        loop.views,
        token=options.token,
        metrics=to_metrics,
        healthy=loop.healthy,
    )
    with server:
        _say(f"status at {server.url}")
        return loop.run()


def _loaded(path: Path) -> LoadedJob:
    """Read a job and all that it needs, so that a loop begins only with what can be pulled."""
    try:
        text = path.read_bytes()
    except OSError as exc:
        raise UsageError(f"{path}: cannot read the job file: {exc.strerror or exc}") from None
    job, _ = _checked(parse_job(path, text, known_keys()))
    return LoadedJob(job, text)


def _checked(file: JobFile) -> tuple[PullJob, JobRequests]:
    """Read a job and what it requests, and hold both to what can be known before a pull."""
    with standing_at(file.path), _naming(file.path):
        job = job_of(file)
        requests = read_requests(file, _say)
        trigger_of(job.timing)
        check_channels(job.alerts)
        check_pull(job, requests.settings)
        check_cursor(file, job.cursor)
    return job, requests


# -- making and checking


def _check(options: PullOptions) -> int:
    from crawler.cli.job_preview import preview

    _check_apart(options.places)
    for path in job_files(options.places):
        file = read_job_file(path, known_keys())
        job, requests = _checked(file)
        with standing_at(file.path), _naming(path):
            check_program(job.alerts, file.path.parent)
            if job.store.folder.exists() and not job.store.folder.is_dir():
                raise UsageError(f"[store] dir: {job.store.folder} is no folder; give another name")
            if job.otlp is not None:
                from crawler.pull.otlp import check_otlp

                check_otlp(job.otlp)
            if job.textfile is not None and not job.textfile.parent.is_dir():
                raise UsageError(f"[metrics] textfile: {job.textfile.parent} is no folder; make it")
            print(preview(file, job, requests), end="")
    return 0


def _init(options: PullOptions) -> int:
    from crawler.pull.job_template import job_template

    for path in options.places:
        if path.exists():
            raise UsageError(f"--init {path}: there is such a file; give another name")
        if path.suffix != ".toml":
            raise UsageError(f"--init {path}: a job is a .toml file; give {path.name}.toml")
        if not path.parent.is_dir():
            raise UsageError(f"--init {path}: {path.parent} is no directory; make it first")
        write_whole(path, job_template(path.stem, known_keys()).encode())
        _say(f"{path} is written: edit it, then crawl pull --check {path}")
    return 0


def _schema(_: PullOptions) -> int:
    from crawler.pull.job_schema import job_schema

    print(json.dumps(job_schema(known_keys()), indent=2, ensure_ascii=False))
    return 0


def _unit(options: PullOptions) -> int:
    from crawler.pull.units import unit_of

    jobs = [job_of(read_job_file(path, known_keys())) for path in job_files(options.places)]
    check_apart(jobs)
    for job in jobs:
        with _naming(job.path):
            trigger_of(job.timing)
    assert options.unit is not None, "that is what made this the mode"
    print(unit_of(options.unit, jobs, _program()), end="")
    return 0


def _program() -> str:
    """Give the absolute path of the program that was called."""
    called = Path(sys.argv[0])
    found = shutil.which("crawl") if called.name != "crawl" else str(called)
    return str(Path(found).absolute()) if found else "crawl"


_MODES: Final[Mapping[str, Callable[[PullOptions], int]]] = {
    "once": _once,
    "loop": _loop,
    "status": show_status,
    "history": show_history,
    "check": _check,
    "init": _init,
    "schema": _schema,
    "unit": _unit,
}
