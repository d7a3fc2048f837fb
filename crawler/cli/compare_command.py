"""`crawl compare`: its arguments, options, help and examples."""

from __future__ import annotations

from typing import Final, Unpack

import click

from crawler.cli.compare_options import CompareParams, parse
from crawler.cli.grouped import GroupedCommand, OptionGroup
from crawler.cli.option_groups import (
    DEBUG,
    FILE,
    choice_option,
    default_option,
    file_option,
    text_option,
)
from crawler.cli.options import GROUPINGS

_METRICS: Final = ("p50", "p75", "p90", "p95", "p99", "p99.9")


def _compare(**params: Unpack[CompareParams]) -> int:
    ask = parse(params)
    from crawler.cli.compare import execute

    return execute(ask)


WHAT: Final = OptionGroup(
    "What is compared",
    (
        choice_option(
            "--metric",
            among=_METRICS,
            value="p95",
            help="Percentile of the latency that the verdict and the threshold are about.",
        ),
        choice_option(
            "--latency",
            among=("auto", "service", "response"),
            value="auto",
            help="Time from the start of a request (service) or from when it was due (response); "
            "auto is response where both logs are of an open loop.",
        ),
        default_option(
            "--group-by",
            metavar="WHAT",
            value="endpoint",
            help=f"Rows: {', '.join(GROUPINGS)} or a kept column.",
        ),
        text_option(
            "--old-run",
            metavar="ID",
            help="Run of OLD: last, previous, all, or the beginning of an id.  [default: last; "
            "previous where OLD and NEW are one log]",
        ),
        default_option(
            "--new-run",
            metavar="ID",
            value="last",
            help="Run of NEW: last, previous, all, or the beginning of an id.",
        ),
    ),
)

LIMITS: Final = OptionGroup(
    "What breaks (exit code 3)",
    (
        default_option(
            "--threshold",
            metavar="N%",
            value="5%",
            help="Slower by more than this, with confidence, breaks.",
        ),
        default_option(
            "--error-threshold",
            metavar="N%",
            value="0.5%",
            help="An error share higher by more than so many points, with confidence, breaks.",
        ),
    ),
)

OUTPUT: Final = OptionGroup(
    "Output",
    (
        file_option(
            "--json",
            "json_file",
            help="Write the comparison as JSON too; - prints it in place of the text.",
        ),
        file_option("--html", "html_file", help="Write the comparison as a page too."),
        DEBUG,
    ),
)

compare_command: Final = GroupedCommand(
    "compare",
    callback=_compare,
    arguments=[
        click.Argument(["old"], metavar="OLD", type=FILE),
        click.Argument(["new"], metavar="NEW", type=FILE),
    ],
    groups=(WHAT, LIMITS, OUTPUT),
    short_help="Tell whether a new log is slower than an old one.",
    help="""Compare two record logs: what became slower or faster, by how much, how sure that is.

Ends with 3 where something is worse than a threshold with confidence, so that CI can use it.""",
    examples=(
        "crawl compare yesterday.log today.log",
        "crawl compare main.log branch.log --metric p99 --threshold 10%",
        "crawl compare record.log record.log   # its last two runs",
        "crawl compare old.log new.log --json comparison.json --html comparison.html",
    ),
)
