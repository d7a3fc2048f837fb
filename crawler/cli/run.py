"""The run verb: fetch a list, show how it goes, print the summary.

Records and the summary go to stdout, all talk to stderr. The first Ctrl-C (or SIGTERM) begins
nothing new and gives what is in flight a grace; the second ends the command at once. Whatever
happens, what was recorded stays recorded.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from crawler.cli.options import RunOptions
from crawler.cli.stopping import StopSignals
from crawler.crawling import Crawling, Job, Take
from crawler.errors import UsageError
from crawler.progress import Progress
from crawler.selection import Selection
from crawler.settings import Settings
from crawler.targets import TargetList, open_targets

if TYPE_CHECKING:
    from crawler.summary import Results


def execute(options: RunOptions, settings: Settings) -> int:
    """Run it all; give the exit code: 0, 1 (more failures than allowed), 130 or 143 (stopped)."""
    voice = _Voice()
    _check_lists_stay(options, settings)
    with contextlib.ExitStack() as opened:
        targets = opened.enter_context(open_list(options, settings, opened, voice.say))
        job = Job(
            targets=targets,
            settings=settings,
            out=None if options.out in ("-", "none") else Path(options.out),
            keep_lines=options.out == "-",
            take=_take(options),
            wait_for_lock=options.wait,
            warn=voice.say,
            tables=options.summary != "none",
            live=_bar_is_wanted(options),
            reading="ahead" if "-" in options.url_files else "direct",
        )
        with Crawling(job) as crawling, StopSignals(crawling) as stopped:
            _go_through(crawling, _total(targets, options, settings), options, voice)
            clock = crawling.finish()
    if options.summary != "none":
        _print_summary(crawling.summary.finish(clock), options)
    _conclude(crawling, options, voice)
    if stopped.by is not None:
        return 128 + stopped.by
    failed = crawling.counts.failed + crawling.failed_before
    count = crawling.counts.records + crawling.resumed
    return int(options.max_errors.exceeded(failed, count))


def _check_lists_stay(options: RunOptions, settings: Settings) -> None:
    """Refuse to write over a list that is to be read."""
    lists = {Path(p).resolve() for p in options.url_files if p != "-" and "://" not in p}
    bodies = None if settings.bodies is None else settings.bodies.file
    for option, path in (("--out", options.out), ("--bodies", bodies)):
        if path is not None and {Path(path).resolve(), Path(f"{path}.log").resolve()} & lists:
            raise UsageError(f"{option} {path}: --urls reads that file; give another one")


def open_list(
    options: RunOptions,
    settings: Settings,
    opened: contextlib.ExitStack,
    say: Callable[[str], None],
) -> TargetList:
    """Open what the options list; what is fetched for it goes with ``opened``."""
    for url in options.urls:
        if "://" not in url and Path(url).is_file():
            raise UsageError(f"{url} is a file, not a URL: did you mean --urls {url}?")
    rows = options.rows
    listed = open_targets(
        options.urls,
        _local(options, settings, opened, say),
        column=options.column,
        keep=(*options.keep, *(() if rows is None else rows.columns)),
        template=options.template,
        stdin=_stdin() if "-" in options.url_files else None,
    )
    if rows is not None:
        own = partial(rows.of, keep=options.keep)
        listed = listed.through(own, lambda total: total())
    if options.selection == Selection():
        return listed
    return listed.through(options.selection.of, options.selection.count)


def _local(
    options: RunOptions,
    settings: Settings,
    opened: contextlib.ExitStack,
    say: Callable[[str], None],
) -> list[str]:
    """Give the lists as files: those at URLs are fetched first, into a folder of their own."""
    remote = [path for path in options.url_files if "://" in path]
    if not remote and not options.sitemaps:
        return list(options.url_files)
    from crawler.remote_lists import check_not_fetched, fetch_list, sitemap_list

    private = not settings.block_private
    for path in () if private else remote:
        check_not_fetched(path)

    folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="crawl-")))
    files = [fetch_list(p, folder) if p in remote else p for p in options.url_files]
    if options.sitemaps:
        files.append(sitemap_list(options.sitemaps, folder, warn=say, private=private))
    return files


def _stdin() -> BinaryIO:
    """Give standard input, under a lock of its own: Python ends badly while another is held."""
    try:
        return os.fdopen(os.dup(0), "rb")
    except OSError:
        raise UsageError("--urls -: standard input is closed") from None


def _take(options: RunOptions) -> Take:
    if options.retry_failed:
        return "retry_failed"
    return "resume" if options.resume else "new"


class _Voice:
    """Says things on stderr, above the bar where there is one."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def say(self, text: str) -> None:
        if self.progress is None:
            print(f"crawl: {text}", file=sys.stderr)
        else:
            self.progress.write(f"crawl: {text}")


def _bar_is_wanted(options: RunOptions) -> bool:
    return not options.quiet and sys.stderr.isatty()


def _total(targets: TargetList, options: RunOptions, settings: Settings) -> int | None:
    """Give how many records there will be, for the bar; pages are not known before."""
    return targets.total if _bar_is_wanted(options) and settings.paginate is None else None


def _go_through(crawling: Crawling, total: int | None, options: RunOptions, voice: _Voice) -> None:
    """Take in the results: records to stdout where asked for, the bar to stderr."""
    out = sys.stdout.buffer
    shown = _bar_is_wanted(options)
    stream = sys.stderr if shown else io.StringIO()
    with Progress(total, stream=stream, done=crawling.resumed) as progress:
        voice.progress = progress if shown else None
        for result in crawling:
            if result.lines is not None:
                out.writelines(line for _, line in result.lines)
                out.flush()
            if progress.due():
                progress.update(crawling.summary.live())
        if shown:
            progress.update(crawling.summary.live())
    voice.progress = None


def _print_summary(results: Results, options: RunOptions) -> None:
    """Print the summary to stdout, or to stderr where the records are on stdout."""
    from crawler.report.machine import to_csv, to_json
    from crawler.report.text import render

    stream = sys.stderr if options.out == "-" else sys.stdout
    if options.summary == "json":
        print(to_json(results), end="", file=stream)
    elif options.summary == "csv":
        print(to_csv(results), end="", file=stream)
    else:
        print(render(results), end="", file=stream)


def _conclude(crawling: Crawling, options: RunOptions, voice: _Voice) -> None:
    if crawling.duplicates:
        voice.say(f"{crawling.duplicates} targets ask for what others did: answered from those")
    if crawling.resumed:
        voice.say(
            f"run {crawling.run} taken up: {crawling.resumed} of its records stand, "
            f"{crawling.failed_before} of them failures"
        )
    if options.out not in ("-", "none") and not options.quiet:
        voice.say(f"records of run {crawling.run} are in {options.out}")
