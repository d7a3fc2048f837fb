"""`crawl bench`: its options, their help, its examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Unpack

import click

from crawler.cli.grouped import GroupedCommand, OptionGroup
from crawler.cli.option_groups import (
    DEBUG,
    DEFAULTS,
    REQUEST,
    TARGETS,
    choice_option,
    default_option,
    flag_option,
    text_option,
    texts_option,
)
from crawler.cli.options import GROUPINGS, stdin_is_piped

if TYPE_CHECKING:
    from crawler.cli.bench_options import BenchParams

WORKLOAD: Final = OptionGroup(
    "Workload (several URLs are requested in turn)",
    (
        text_option(
            "--rand-url",
            metavar="PATTERN",
            help="Another URL for each request, as http://host/item/[0-9]{4}.",
        ),
        click.Option(
            ["--ab"],
            nargs=2,
            metavar="URL_A URL_B",
            help="Compare two URLs in one run, their requests interleaved at random.",
        ),
        flag_option("--shuffle", help="Request the URLs in a random order."),
        text_option("--weights", metavar="N,...", help="How often each URL is requested, as 8,2."),
        default_option("--seed", metavar="N", value=1, help="Start of all random choices."),
    ),
)

LOAD: Final = OptionGroup(
    "Load (a closed loop, unless a rate is set)",
    (
        default_option(
            "-c",
            "--concurrency",
            metavar="N",
            value=DEFAULTS.concurrency,
            help="Connections: the most requests in flight, in all.",
        ),
        click.Option(
            ["-n", "--requests"],
            metavar="N",
            type=int,
            help="Requests to make, beside the warm-up.",
        ),
        text_option(
            "-z",
            "--duration",
            metavar="TIME",
            help="How long to go on, as 30s or 5m.  [default: 10s, without -n and --ramp]",
        ),
        text_option(
            "--rate",
            metavar="RATE",
            help="Open loop: requests due a second, whatever the replies do: 500, 500/s, 30/m.",
        ),
        choice_option(
            "--arrivals",
            among=("constant", "poisson"),
            value="constant",
            help="How requests that are due lie in time.",
        ),
        text_option(
            "--ramp",
            metavar="STAGES",
            help="Open loop in stages, as 0..500@30s,500@1m,500..0@10s.",
        ),
        text_option(
            "--warmup",
            metavar="TIME|N",
            help="First seconds, or requests, that are recorded and left out of all figures.",
        ),
        flag_option(
            "--drop-unfinished",
            help="Drop what is in flight at the end instead of waiting for it.",
        ),
        flag_option("--keep-going", help="Go on even if no request succeeds."),
        flag_option(
            "--calibrate", help="Measure our own floor too, against a server that does nothing."
        ),
        click.Option(
            ["--processes"],
            metavar="N",
            type=int,
            default=DEFAULTS.processes,
            help="Worker processes; 0 works in this one.  [default: all cores]",
        ),
    ),
)

RESULT: Final = OptionGroup(
    "Result",
    (
        click.Option(
            ["-o", "--out"],
            metavar="FILE",
            help="Record log to append to; none keeps none.  [default: bench-DATE-TIME.log]",
        ),
        texts_option(
            "--fail-on",
            metavar="LIMIT",
            help="Limit to hold: 'p95<300ms', 'errors<1%', 'rate>450/s'; broken, the exit code "
            "is 3.",
        ),
        text_option(
            "--metrics", metavar="FILE", help="Write the figures as an OpenMetrics text file."
        ),
        default_option(
            "--group-by",
            metavar="WHAT",
            value=DEFAULTS.group_by,
            help=f"Rows of the report: {', '.join(GROUPINGS)} or a kept column.",
        ),
        flag_option("-q", "--quiet", help="Show no progress."),
        DEBUG,
    ),
)


def _run(**params: Unpack[BenchParams]) -> int:
    from crawler.cli.bench_options import parse

    options, settings = parse(params, stdin_piped=stdin_is_piped())
    from crawler.cli.bench import execute  # numpy only once the options are right

    return execute(options, settings)


bench_command: Final = GroupedCommand(
    "bench",
    callback=_run,
    arguments=[click.Argument(["urls"], metavar="[URL]...", nargs=-1)],
    groups=(TARGETS, WORKLOAD, LOAD, RESULT, REQUEST),
    short_help="Measure the latency of an API under load.",
    help="""Measure an API's latency under a closed loop or at a set rate, honestly.

Every request is a record in the log, from which `crawl report` makes the same figures again.""",
    examples=(
        "crawl bench -c 20 -z 30s http://127.0.0.1:8000/novelSearchApi?name=a",
        "crawl bench --rate 500 -z 1m --warmup 5s --fail-on 'p95<300ms' http://api.test/",
        "crawl bench --ramp '0..500@30s,500@1m,500..0@10s' --urls list.txt",
        "crawl bench --ab http://api.test/v1 http://api.test/v2 -n 20000",
    ),
)
