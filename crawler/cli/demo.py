"""`crawl demo`: the embedded API, in the foreground until Ctrl-C, to try crawl against."""

from __future__ import annotations

from typing import Final

import click


class DemoCommand(click.Command):
    """Its help ends with the API's knobs, imported only when that help is asked for."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the knobs as they stand, unwrapped."""
        from crawler.demo_api import KNOBS_HELP

        formatter.write_paragraph()
        formatter.write(KNOBS_HELP.strip("\n") + "\n")


def _serve(host: str, port: int) -> int:
    from crawler import demo_api

    demo_api.serve(host, port, on_ready=_announce)
    return 0


def _announce(url: str) -> None:
    click.echo(f"crawl demo: serving on {url}")


demo_command: Final = DemoCommand(
    "demo",
    callback=_serve,
    params=[
        click.Option(
            ["--host"],
            metavar="ADDRESS",
            default="127.0.0.1",
            show_default=True,
            help="Loopback address to listen on.",
        ),
        click.Option(
            ["--port"],
            metavar="PORT",
            type=click.IntRange(0, 65535),
            default=8000,
            help="Port to listen on; 0 takes any free one.  [default: 8000]",
        ),
    ],
    short_help="Serve the demo API to try crawl against.",
    help="Serve a small novel-search API on this machine until Ctrl-C, to try crawl against.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
