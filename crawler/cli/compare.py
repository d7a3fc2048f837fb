"""The compare verb: read two logs, print the comparison, write its files, give the exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from crawler.cli.compare_options import Ask
from crawler.compared import Plan
from crawler.comparing import LogSide, compare_logs, default_runs
from crawler.errors import UsageError
from crawler.files import check_output, write_whole
from crawler.report.comparison_machine import to_json
from crawler.report.comparison_text import render
from crawler.report.comparison_words import broken_lines

if TYPE_CHECKING:
    from crawler.compared import Comparison

EXIT_BROKEN = 3


def execute(ask: Ask) -> int:
    """Compare; give 0, or 3 where something is worse than a threshold with confidence."""
    old, new = _sides(ask)
    for option, name in (("--json", ask.json_file), ("--html", ask.html_file)):
        if name is not None and name != "-":
            check_output(option, Path(name), (old.path, new.path))
    plan = Plan(metric=ask.metric, threshold=ask.threshold, error_threshold=ask.error_threshold)
    comparison = compare_logs(old, new, plan, group_by=ask.group_by, latency=ask.latency, warn=_say)
    _write(comparison, ask)
    if ask.json_file == "-":
        print(to_json(comparison), end="")
        for line in broken_lines(comparison):
            _say(line)
    else:
        print(render(comparison), end="")
    return EXIT_BROKEN if comparison.broken else 0


def _sides(ask: Ask) -> tuple[LogSide, LogSide]:
    if ask.old == ask.new == "-":
        raise UsageError("OLD and NEW are both standard input; give at least one as a file")
    old, new = (Path("/dev/stdin" if each == "-" else each) for each in (ask.old, ask.new))
    old_run, new_run = default_runs(old, new)
    return (
        LogSide(path=old, run=ask.old_run or old_run),
        LogSide(path=new, run=ask.new_run or new_run),
    )


def _write(comparison: Comparison, ask: Ask) -> None:
    if ask.json_file not in (None, "-"):
        write_whole(Path(str(ask.json_file)), to_json(comparison).encode())
    if ask.html_file is not None:
        from crawler.report.comparison_html import comparison_to_html

        write_whole(Path(ask.html_file), comparison_to_html(comparison).encode())


def _say(text: str) -> None:
    print(f"crawl: {text}", file=sys.stderr)
