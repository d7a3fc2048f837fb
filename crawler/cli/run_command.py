"""`crawl run`, the verb that is meant where none is named: options, their help, examples."""

from __future__ import annotations

from typing import Final, Unpack

import click

from crawler.cli.body_options import BODIES
from crawler.cli.grouped import GroupedCommand, OptionGroup
from crawler.cli.list_options import LISTS
from crawler.cli.option_groups import (
    DEBUG,
    DEFAULTS,
    FILE,
    REQUEST,
    TARGETS,
    choice_option,
    default_option,
    flag_option,
)
from crawler.cli.options import DEFAULT_OUT, GROUPINGS, RunParams, parse, stdin_is_piped
from crawler.cli.polite_options import POLITENESS
from crawler.cli.reply_options import REPLIES
from crawler.cli.values import duration_text

RETRIES: Final = OptionGroup(
    "Retries (of failed transfers and of 408, 425, 429, 500, 502, 503, 504)",
    (
        default_option(
            "--retries",
            metavar="N",
            value=DEFAULTS.retries,
            help="Further attempts after a failed one.",
        ),
        flag_option("--retry-unsafe", help="Retry POST and PATCH too."),
        default_option(
            "--backoff",
            metavar="TIME",
            value=duration_text(DEFAULTS.backoff_s),
            help="Longest wait before the first retry; doubles with each.",
        ),
        default_option(
            "--backoff-max",
            metavar="TIME",
            value=duration_text(DEFAULTS.backoff_max_s),
            help="Longest wait before any retry.",
        ),
        default_option(
            "--retry-after-max",
            metavar="TIME",
            value=duration_text(DEFAULTS.retry_after_max_s),
            help="Longest Retry-After to wait for; beyond it the reply stands.",
        ),
    ),
)

POOL_AND_RECORD: Final = OptionGroup(
    "Pool and record",
    (
        default_option(
            "-c",
            "--concurrency",
            metavar="N",
            value=DEFAULTS.concurrency,
            help="Requests in flight, in all.",
        ),
        click.Option(
            ["--processes"],
            metavar="N",
            type=int,
            default=DEFAULTS.processes,
            help="Worker processes; 0 works in this one.  [default: all cores]",
        ),
        click.Option(
            ["-o", "--out"],
            metavar="FILE",
            type=FILE,
            default=DEFAULT_OUT,
            show_default=True,
            help="Record log to append to (.log, .jsonl), or to write (.csv, .parquet); - prints "
            "the records in input order, none keeps none.",
        ),
        flag_option("--resume", help="Go on with the log's last run where it was cut off."),
        flag_option(
            "--retry-failed", help="Go on with the log's last run and redo what failed in it."
        ),
        flag_option("--wait", help="Wait for another crawl that is writing the same log."),
        choice_option(
            "--fsync",
            among=("none", "interval", "record"),
            value=DEFAULTS.fsync,
            help="When records are forced to the disk.",
        ),
    ),
)

OUTPUT: Final = OptionGroup(
    "Output",
    (
        default_option(
            "--group-by",
            metavar="WHAT",
            value=DEFAULTS.group_by,
            help=f"Rows of the summary: {', '.join(GROUPINGS)} or a kept column.",
        ),
        choice_option(
            "--summary",
            among=("text", "json", "csv", "none"),
            value="text",
            help="Form of the summary.",
        ),
        default_option(
            "--max-errors",
            metavar="N|N%",
            value="0",
            help="Failures, or share of them, above which the exit code is 1.",
        ),
        flag_option("-q", "--quiet", help="Show no progress bar."),
        DEBUG,
    ),
)


def _run(**params: Unpack[RunParams]) -> int:
    options, settings = parse(params, stdin_piped=stdin_is_piped())
    if options.url_files == ("-",) and not params["url_files"] and not options.quiet:
        click.echo("crawl: reading URLs from standard input", err=True)
    from crawler.cli.run import execute

    return execute(options, settings)


run_command: Final = GroupedCommand(
    "run",
    callback=_run,
    arguments=[click.Argument(["urls"], metavar="[URL]...", nargs=-1)],
    groups=(TARGETS, LISTS, REQUEST, POLITENESS, RETRIES, REPLIES, BODIES, POOL_AND_RECORD, OUTPUT),
    short_help="Fetch, time and record URLs (meant where no verb is named).",
    help="Fetch URLs in parallel, time each request, keep a record of each, print a summary.",
    examples=(
        "crawl https://example.org/",
        "crawl --urls list.txt --out record.log",
        "crawl --urls list.txt --out record.log --resume",
        "crawl --urls list.txt --polite --bodies pages.warc.gz",
        "crawl --urls names.txt --url-template 'http://api.test/search?name={name}'",
        "crawl --urls list.csv --bearer '${API_TOKEN}' --timeout 5s --out - | head",
    ),
)
