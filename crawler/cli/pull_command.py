"""`crawl pull`: options, their help, examples."""

from __future__ import annotations

from typing import Final, Unpack

import click

from crawler.cli.grouped import GroupedCommand, OptionGroup
from crawler.cli.option_groups import DEBUG, flag_option, text_option
from crawler.cli.pull_options import PullParams, parse_pull


def _pull(**params: Unpack[PullParams]) -> int:
    options = parse_pull(params)
    from crawler.cli.pull import execute

    return execute(options)


ONCE: Final = OptionGroup(
    "Pulling once, now (for cron, systemd, Kubernetes, CI)",
    (
        flag_option("--wait", help="Wait where the job is being pulled already."),
        flag_option("--skip-if-running", help="End with 0 where the job is being pulled already."),
        click.Option(["--text-on-stdin"], is_flag=True, hidden=True),
        flag_option("-q", "--quiet", help="Say nothing of a pull that went well."),
    ),
)

LOOP: Final = OptionGroup(
    "Pulling by schedule, in the foreground",
    (
        flag_option(
            "--loop",
            help="Pull each job by its schedule or every, until SIGTERM; SIGHUP reads jobs anew.",
        ),
        text_option("--every", metavar="TIME", help="Loop, and pull each job every so often."),
        text_option("--at-once", metavar="N", help="Pulls under way together.  [default: 8]"),
        text_option(
            "--serve",
            metavar="HOST:PORT",
            help="Serve a status page, /api, /metrics and /healthz.",
        ),
        text_option(
            "--token",
            metavar="TOKEN",
            help="What the page asks for, as Bearer or password; best given as '${PAGE_TOKEN}'.",
        ),
    ),
)

LOOK: Final = OptionGroup(
    "Looking",
    (
        flag_option("--status", help="Show jobs and targets: last, next, changed, failing, p95."),
        flag_option("--history", help="Show the pulls of a job."),
        text_option(
            "--since",
            metavar="TIME",
            help="History from then: 2025-11-23T14:30 (UTC), 2025-11-23, or 15m, 2h, 7d ago.  "
            "[default: 7d]",
        ),
        flag_option("--json", help="Show it as JSON."),
    ),
)

MAKE: Final = OptionGroup(
    "Making and checking",
    (
        flag_option("--init", help="Write a commented job file."),
        flag_option("--check", help="Validate, and show what would be sent, secrets masked."),
        flag_option("--schema", help="Print the JSON Schema of job files, for editors."),
        click.Option(
            ["--unit"],
            type=click.Choice(("systemd", "cron", "k8s")),
            help="Print a unit that pulls the jobs by their schedules.",
        ),
        DEBUG,
    ),
)

pull_command: Final = GroupedCommand(
    "pull",
    callback=_pull,
    arguments=[click.Argument(["jobs"], metavar="JOB.toml|DIR...", nargs=-1)],
    groups=(ONCE, LOOP, LOOK, MAKE),
    short_help="Pull endpoints on a schedule and keep what changed.",
    help="""Pull the targets of a job file, keep what changed, tell when something is wrong.

Ends with 0, 1 (more failed than max-errors), 2 (set-up), 3 (a limit broken) or 4 (the job is being
pulled already).""",
    examples=(
        "crawl pull --init prices.toml",
        "crawl pull --check prices.toml",
        "crawl pull prices.toml",
        "crawl pull --loop jobs/ --serve 127.0.0.1:8808",
        "crawl pull --status jobs/",
        "crawl pull --history prices.toml --since 7d",
        "crawl pull --unit systemd prices.toml",
    ),
)
