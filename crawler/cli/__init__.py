"""The command line: verbs, and one place where failures become a line and an exit code.

A verb imports its body only when it is called: ``crawl --help`` loads click and nothing heavier.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

import click

from crawler.cli.bench_command import bench_command
from crawler.cli.compare_command import compare_command
from crawler.cli.completion import answer_shell, completion_command
from crawler.cli.demo import demo_command
from crawler.cli.failures import guarded
from crawler.cli.grouped import VerbGroup
from crawler.cli.pull_command import pull_command
from crawler.cli.report_command import report_command
from crawler.cli.run_command import run_command
from crawler.settings import VERSION


def _print_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click's way to call
    if asked and not ctx.resilient_parsing:
        click.echo(f"crawl {VERSION}")
        ctx.exit()


command_line: Final = VerbGroup(
    "crawl",
    default=run_command,
    verbs=[
        bench_command,
        report_command,
        compare_command,
        pull_command,
        demo_command,
        completion_command,
    ],
    options=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=_print_version,
            help="Show the version and exit.",
        )
    ],
    help="""Fetch URLs in parallel, time each request, keep a record of each, print a summary.

Without a verb, `crawl` is `crawl run`, whose options these are.""",
)


def _open_streams() -> None:
    """Stand in for closed standard streams, and let no character stop the output.

    A closed descriptor 0, 1 or 2 would be taken by the next file that is opened: the record log.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            while os.open(os.devnull, os.O_RDWR) < number:
                pass
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def main(args: Sequence[str]) -> int:
    """Run ``crawl`` with ``args``; return its exit code (see ``crawler.cli.failures``)."""

    _open_streams()

    def body() -> int:
        completed = answer_shell(command_line)
        if completed is not None:
            return completed
        with command_line.make_context("crawl", list(args)) as ctx:
            code = command_line.invoke(ctx)
        return code if isinstance(code, int) else 0

    debug = "--debug" in args or os.environ.get("CRAWL_DEBUG", "") not in ("", "0")
    return guarded(body, debug=debug)
