"""Groups of options that several verbs share, and the kinds of options they are made of.

Defaults are ``Settings``' own, written as a user would write them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from crawler.cli.grouped import OptionGroup
from crawler.cli.values import duration_text, size_text
from crawler.settings import Settings

DEFAULTS: Final = Settings()
FILE: Final = click.Path(allow_dash=True)


def flag_option(*names: str, help: str) -> click.Option:
    """Make an option without a value."""
    return click.Option(names, is_flag=True, help=help)


def text_option(*names: str, metavar: str, help: str) -> click.Option:
    """Make an option that is None where it is not given."""
    return click.Option(names, metavar=metavar, help=help)


def texts_option(*names: str, metavar: str, help: str) -> click.Option:
    """Make an option that may be given several times."""
    return click.Option(names, metavar=metavar, multiple=True, help=f"{help} Repeatable.")


def file_option(*names: str, help: str) -> click.Option:
    """Make an option that names a file."""
    return click.Option(names, metavar="FILE", type=FILE, help=help)


def default_option(*names: str, metavar: str, value: str | int, help: str) -> click.Option:
    """Make an option with a default that the help shows."""
    return click.Option(names, metavar=metavar, default=value, show_default=True, help=help)


def choice_option(*names: str, among: Sequence[str], value: str, help: str) -> click.Option:
    """Make an option that takes one of some words."""
    return click.Option(
        names, type=click.Choice(among), default=value, show_default=True, help=help
    )


TARGETS: Final = OptionGroup(
    "Targets",
    (
        click.Option(
            ["--urls", "url_files"],
            metavar="FILE",
            type=FILE,
            multiple=True,
            help="List of URLs: .txt, .csv, .tsv, .jsonl, any of them .gz; - is standard input. "
            "Repeatable.",
        ),
        text_option(
            "--column",
            metavar="NAME",
            help="Column of the list that holds the URLs.  [default: the one that looks like URLs]",
        ),
        texts_option(
            "--keep", metavar="COL,...", help="Columns of the list to keep in the records."
        ),
        text_option(
            "--url-template",
            metavar="URL",
            help="URL with {column} filled from each row, or {name} from each line.",
        ),
    ),
)

REQUEST: Final = OptionGroup(
    "Request (${ENV} is expanded in -H, --user, --bearer, --cookie and --proxy)",
    (
        text_option(
            "-X",
            "--method",
            metavar="METHOD",
            help="HTTP method.  [default: GET; POST with a body]",
        ),
        texts_option(
            "-H", "--header", metavar="'NAME: VALUE'", help="Header to send; @FILE has one a line."
        ),
        texts_option(
            "-d",
            "--data",
            metavar="TEXT",
            help="Body to send as a form; @FILE or @- (standard input) as it is; joined with &.",
        ),
        text_option("--json", "json_data", metavar="JSON", help="JSON body to send, or @FILE."),
        text_option("-u", "--user", metavar="USER:PASSWORD", help="Basic authentication."),
        text_option(
            "--bearer", metavar="TOKEN", help="Bearer token, best given as '${API_TOKEN}'."
        ),
        texts_option("--cookie", metavar="NAME=VALUE", help="Cookie to send."),
        text_option(
            "-x",
            "--proxy",
            metavar="URL",
            help="Proxy, as http://host:3128 or socks5h://host:1080.",
        ),
        file_option("--cacert", help="CA certificates to trust, PEM."),
        file_option("--cert", help="Client certificate, PEM."),
        file_option("--key", help="Private key of the client certificate, PEM."),
        flag_option("-k", "--insecure", help="Accept any server certificate."),
        choice_option("--http", among=("1.1", "2", "3"), value=DEFAULTS.http, help="HTTP version."),
        flag_option("--no-compression", help="Ask for no compressed replies."),
        flag_option("--no-keepalive", help="Open a new connection for each request."),
        texts_option(
            "--resolve", metavar="HOST:PORT:ADDR", help="Address to use for a host and port."
        ),
        file_option("--unix-socket", help="Connect to this Unix domain socket."),
        default_option(
            "--dns-ttl",
            metavar="TIME",
            value=duration_text(DEFAULTS.dns_ttl_s),
            help="How long a host's addresses are kept; 0 asks each time.",
        ),
        flag_option(
            "--block-private",
            help="Connect to public addresses only, also after redirects.",
        ),
        default_option(
            "-A",
            "--user-agent",
            metavar="TEXT",
            value=DEFAULTS.user_agent,
            help="User-Agent header.",
        ),
        default_option(
            "--max-redirects",
            metavar="N",
            value=DEFAULTS.max_redirects,
            help="Redirects to follow; 0 follows none.",
        ),
        default_option(
            "--timeout",
            metavar="TIME",
            value=duration_text(DEFAULTS.timeout_s),
            help="Longest time of one attempt in all, as 30s, 500ms or 2m.",
        ),
        default_option(
            "--connect-timeout",
            metavar="TIME",
            value=duration_text(DEFAULTS.connect_timeout_s),
            help="Longest time to connect.",
        ),
        default_option(
            "--max-body",
            metavar="SIZE",
            value=size_text(DEFAULTS.max_body_bytes),
            help="Largest body, decoded, as 100MB, 1MiB or 1000.",
        ),
        choice_option(
            "--engine",
            among=("auto", "curl", "requests"),
            value=DEFAULTS.engine,
            help="What makes the requests; auto is curl where it can do what is asked.",
        ),
    ),
)

DEBUG: Final = click.Option(
    ["--debug"],
    is_flag=True,
    expose_value=False,
    help="Show the traceback of an error, as CRAWL_DEBUG=1 does.",
)
