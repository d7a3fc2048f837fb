"""`crawl compare`: its arguments, options, help and examples."""

from __future__ import annotations

from typing import Final, Unpack

import click

from crawler.cli.compare_options import CompareParams, parse
from crawler.cli.grouped import GroupedCommand, OptionGroup
from crawler.cli.options import GROUPINGS

_FILE: Final = click.Path(allow_dash=True)
_METRICS: Final = ("p50", "p75", "p90", "p95", "p99", "p99.9")


def _compare(**params: Unpack[CompareParams]) -> int:
    ask = parse(params)
    from crawler.cli.compare import execute

    return execute(ask)


WHAT: Final = OptionGroup(
    "What is compared",
    (
        click.Option(
            ["--metric"],
            type=click.Choice(_METRICS),
            default="p95",
            show_default=True,
            help="Percentile of the latency that the verdict and the threshold are about.",
        ),
        click.Option(
            ["--latency"],
            type=click.Choice(("auto", "service", "response")),
            default="auto",
            show_default=True,
            help="Time from the start of a request (service) or from when it was due (response); "
            "auto is response where both logs are of an open loop.",
        ),
        click.Option(
            ["--group-by"],
            metavar="WHAT",
            default="endpoint",
            show_default=True,
            help=f"Rows: {', '.join(GROUPINGS)} or a kept column.",
        ),
        click.Option(
            ["--old-run"],
            metavar="ID",
            help="Run of OLD: last, previous, all, or the beginning of an id.  [default: last; "
            "previous where OLD and NEW are one log]",
        ),
        click.Option(
            ["--new-run"],
            metavar="ID",
            default="last",
            show_default=True,
            help="Run of NEW: last, previous, all, or the beginning of an id.",
        ),
    ),
)

LIMITS: Final = OptionGroup(
    "What breaks (exit code 3)",
    (
        click.Option(
            ["--threshold"],
            metavar="N%",
            default="5%",
            show_default=True,
            help="Slower by more than this, with confidence, breaks.",
        ),
        click.Option(
            ["--error-threshold"],
            metavar="N%",
            default="0.5%",
            show_default=True,
            help="An error share higher by more than so many points, with confidence, breaks.",
        ),
    ),
)

OUTPUT: Final = OptionGroup(
    "Output",
    (
        click.Option(
            ["--json", "json_file"],
            metavar="FILE",
            type=_FILE,
            help="Write the comparison as JSON too; - prints it in place of the text.",
        ),
        click.Option(
            ["--html", "html_file"],
            metavar="FILE",
            type=click.Path(),
            help="Write the comparison as a page too.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            help="Show the traceback of an error, as CRAWL_DEBUG=1 does.",
        ),
    ),
)

compare_command: Final = GroupedCommand(
    "compare",
    callback=_compare,
    arguments=[
        click.Argument(["old"], metavar="OLD", type=_FILE),
        click.Argument(["new"], metavar="NEW", type=_FILE),
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
