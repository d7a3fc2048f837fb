"""The report verb: read logs, print the report, write it in other forms, follow a log that grows.

The report goes to stdout, all talk to stderr. Where a form goes to stdout, the text does not.
"""

from __future__ import annotations

import importlib.util
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crawler.errors import CrawlError, UsageError
from crawler.files import write_whole
from crawler.log_blocks import Selection
from crawler.reading import LogReading
from crawler.report.latency_text import render

if TYPE_CHECKING:
    from crawler.report.model import Report

STDOUT: Final = "-"
_REFRESH_S: Final = 1.0
_CLEAR: Final = "\x1b[H\x1b[J"
"""ECMA-48: the cursor to the first cell, and all erased from there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What ``crawl report`` was asked; ``outputs`` are files by form, ``-`` for stdout."""

    logs: tuple[Path, ...]
    selection: Selection
    group_by: str
    outputs: Mapping[str, str]
    follow: bool


def execute(options: ReportOptions) -> int:
    """Read, report, write; give the exit code, 0."""
    _check_extra(options)
    reading = LogReading(options.logs, selection=options.selection, group_by=options.group_by)
    if options.follow:
        _follow(reading, live=STDOUT not in options.outputs.values())
    reading.read()
    report = reading.report()
    reading.tell(_say)
    for form, target in options.outputs.items():
        _write(target, _FORMS[form](report))
    if STDOUT not in options.outputs.values():
        print(render(report), end="")
    return 0


def _check_extra(options: ReportOptions) -> None:
    """Say what is missing before a long log is read."""
    if "html" in options.outputs and importlib.util.find_spec("plotly") is None:
        raise UsageError(
            "--html needs the extra: pip install 'crawl-bench[report]'; the other forms do not"
        )


def _write(target: str, text: str) -> None:
    if target == STDOUT:
        sys.stdout.write(text)
    else:
        write_whole(Path(target), text.encode())


def _follow(reading: LogReading, *, live: bool) -> None:
    """Read what is appended, show how it stands each second, until Ctrl-C."""
    show = _Screen() if sys.stdout.isatty() else _Lines()
    with _asked_to_end() as ended:
        while not ended.is_set():
            reading.read()
            if live:
                show(reading)
            ended.wait(_REFRESH_S)
    if live and isinstance(show, _Screen):
        print(_CLEAR, end="")


class _Screen:
    """Shows as much of the report as the terminal has lines, in place of what was there."""

    def __call__(self, reading: LogReading) -> None:
        size = shutil.get_terminal_size()
        try:
            text = render(reading.report(), width=min(size.columns, 80))
        except CrawlError as exc:
            text = f"waiting: {exc}\n"
        lines = text.splitlines()[: size.lines - 2]
        print(_CLEAR + "\n".join([*lines, "", "Ctrl-C ends, with the whole report"]), end="")
        sys.stdout.flush()


class _Lines:
    """Prints a line a second: the time, all requests so far, what came since the line before."""

    def __init__(self) -> None:
        self._before = 0

    def __call__(self, reading: LogReading) -> None:
        total = reading.figures.total
        clock = time.strftime("%H:%M:%S")
        p50_ms, p99_ms = total.response.percentiles((0.50, 0.99))
        latency = "" if isnan(p50_ms) else f", p50 {p50_ms:.3g} ms, p99 {p99_ms:.3g} ms"
        print(
            f"{clock}  {total.requests:,} requests (+{max(0, total.requests - self._before):,}), "
            f"{total.failed:,} failed{latency}",
            flush=True,
        )
        self._before = total.requests


@contextmanager
def _asked_to_end() -> Iterator[threading.Event]:
    """Give what the first Ctrl-C sets, so that no reading is broken off; the second ends all."""
    ended = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def end(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        ended.set()

    signal.signal(signal.SIGINT, end)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGINT, before)


def _html(report: Report) -> str:
    from crawler.report.html import to_html

    return to_html(report)


def _json(report: Report) -> str:
    from crawler.report.latency_machine import to_json

    return to_json(report)


def _csv(report: Report) -> str:
    from crawler.report.latency_machine import to_csv

    return to_csv(report)


def _hgrm(report: Report) -> str:
    from crawler.report.hgrm import to_hgrm

    return to_hgrm(report)


_FORMS: Final[Mapping[str, Callable[[Report], str]]] = {
    "html": _html,
    "json": _json,
    "csv": _csv,
    "hgrm": _hgrm,
}


def _say(text: str) -> None:
    print(f"crawl: {text}", file=sys.stderr)
