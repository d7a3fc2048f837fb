"""`crawl report`: its options, their help, its examples."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypedDict, Unpack

import click

from crawler.cli import values
from crawler.cli.grouped import GroupedCommand, OptionGroup
from crawler.cli.option_groups import DEBUG, default_option, file_option, flag_option, text_option
from crawler.cli.options import GROUPINGS
from crawler.errors import UsageError

if TYPE_CHECKING:
    from crawler.cli.report import ReportOptions

ALL_RUNS: Final = "all"
STDOUT: Final = "-"


class ReportParams(TypedDict):
    """All options of ``crawl report``, as click gives them."""

    logs: tuple[str, ...]
    html: str | None
    json: str | None
    csv: str | None
    hgrm: str | None
    group_by: str
    run: str
    since: str | None
    until: str | None
    follow: bool


def _report(**params: Unpack[ReportParams]) -> int:
    from crawler.cli.report import execute

    return execute(_options(params, now_s=time.time()))


def _options(params: ReportParams, *, now_s: float) -> ReportOptions:
    """Hold what was typed to what makes sense together; raises ``UsageError``."""
    from crawler.cli.report import ReportOptions
    from crawler.log_blocks import Selection

    logs = tuple(map(Path, params["logs"]))
    if not logs:
        raise UsageError("no log is named; give one or more, as crawl report record.log")
    run = params["run"]
    since_s, until_s = (
        None if text is None else values.moment_s(text, option, now_s=now_s)
        for option, text in (("--since", params["since"]), ("--until", params["until"]))
    )
    if since_s is not None and until_s is not None and since_s >= until_s:
        raise UsageError(
            f"--since {params['since']} is not before --until {params['until']}: nothing is between"
        )
    given = {
        "html": params["html"],
        "json": params["json"],
        "csv": params["csv"],
        "hgrm": params["hgrm"],
    }
    outputs = {form: target for form, target in given.items() if target is not None}
    _check_outputs(outputs, logs)
    return ReportOptions(
        logs=logs,
        selection=Selection(None if run == ALL_RUNS else run, since_s, until_s),
        group_by=params["group_by"],
        outputs=outputs,
        follow=params["follow"],
    )


def _check_outputs(outputs: dict[str, str], logs: tuple[Path, ...]) -> None:
    """Each output has a place of its own, and none is a log that is to be read."""
    from crawler.files import check_output

    taken: dict[str, str] = {}
    for form, target in outputs.items():
        if target in taken:
            raise UsageError(
                f"--{taken[target]} and --{form} cannot both write to {target}; "
                "give one of them another file"
            )
        taken[target] = form
        if target != STDOUT:
            check_output(f"--{form}", Path(target), logs)


OUTPUT: Final = OptionGroup(
    "Output (FILE - is standard output, in place of the report in text)",
    (
        file_option("--html", help="Write one page that works offline: charts and tables."),
        file_option("--json", help="Write all figures as one JSON document."),
        file_option("--csv", help="Write a row for each group, and the total."),
        file_option("--hgrm", help="Write percentiles in HdrHistogram's text format."),
        default_option(
            "--group-by",
            metavar="WHAT",
            value="endpoint",
            help=f"Rows of the report: {', '.join(GROUPINGS)}, or a kept column.",
        ),
        flag_option("--follow", help="Refresh the report each second, until Ctrl-C."),
    ),
)

SELECTION: Final = OptionGroup(
    "Which records",
    (
        default_option(
            "--run",
            metavar="ID|last|all",
            value=ALL_RUNS,
            help="Of this run: its id, or how it begins; last is the newest.",
        ),
        text_option(
            "--since",
            metavar="TIME",
            help="Begun then or later: 2025-11-23T14:30 (UTC), 2025-11-23, or 15m, 2h, 7d ago.",
        ),
        text_option("--until", metavar="TIME", help="Begun before that."),
    ),
)

MORE: Final = OptionGroup(
    "More",
    (DEBUG,),
)

report_command: Final = GroupedCommand(
    "report",
    callback=_report,
    arguments=[click.Argument(["logs"], metavar="LOG...", nargs=-1)],
    groups=(OUTPUT, SELECTION, MORE),
    short_help="Report the latencies that logs hold, in text, HTML, JSON, CSV.",
    help="Report what record logs hold: latencies with their confidence, errors, endpoints, runs. "
    "Several logs are merged; any of them may be .gz.",
    examples=(
        "crawl report record.log",
        "crawl report record.log --run last --group-by host",
        "crawl report monday.log.gz tuesday.log --html report.html",
        "crawl report record.log --since 15m --json - | jq .total.service.percentiles",
        "crawl report record.log --follow",
    ),
)
