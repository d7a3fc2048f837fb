"""`crawl run`, the verb that is meant where none is named: its options, their help, its examples.

Defaults are ``Settings``' own, written as a user would write them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Unpack

import click

from crawler.cli.grouped import GroupedCommand, OptionGroup
from crawler.cli.options import DEFAULT_OUT, GROUPINGS, RunParams, parse, stdin_is_piped
from crawler.cli.values import duration_text, size_text
from crawler.settings import Settings

_DEFAULTS: Final = Settings()
_FILE: Final = click.Path(allow_dash=True)


def _flag(*names: str, help: str) -> click.Option:
    return click.Option(names, is_flag=True, help=help)


def _text(*names: str, metavar: str, help: str) -> click.Option:
    return click.Option(names, metavar=metavar, help=help)


def _texts(*names: str, metavar: str, help: str) -> click.Option:
    return click.Option(names, metavar=metavar, multiple=True, help=f"{help} Repeatable.")


def _file(*names: str, help: str) -> click.Option:
    return click.Option(names, metavar="FILE", type=_FILE, help=help)


def _default(*names: str, metavar: str, value: str | int, help: str) -> click.Option:
    return click.Option(names, metavar=metavar, default=value, show_default=True, help=help)


def _choice(*names: str, among: Sequence[str], value: str, help: str) -> click.Option:
    return click.Option(
        names, type=click.Choice(among), default=value, show_default=True, help=help
    )


TARGETS: Final = OptionGroup(
    "Targets",
    (
        click.Option(
            ["--urls", "url_files"],
            metavar="FILE",
            type=_FILE,
            multiple=True,
            help="List of URLs: .txt, .csv, .tsv, .jsonl, any of them .gz; - is standard input. "
            "Repeatable.",
        ),
        _text(
            "--column",
            metavar="NAME",
            help="Column of the list that holds the URLs.  [default: the one that looks like URLs]",
        ),
        _texts("--keep", metavar="COL,...", help="Columns of the list to keep in the records."),
        _text(
            "--url-template",
            metavar="URL",
            help="URL with {column} filled from each row, or {name} from each line.",
        ),
    ),
)

REQUEST: Final = OptionGroup(
    "Request (${ENV} is expanded in -H, --user, --bearer, --cookie and --proxy)",
    (
        _text(
            "-X",
            "--method",
            metavar="METHOD",
            help="HTTP method.  [default: GET; POST with a body]",
        ),
        _texts(
            "-H", "--header", metavar="'NAME: VALUE'", help="Header to send; @FILE has one a line."
        ),
        _texts(
            "-d",
            "--data",
            metavar="TEXT",
            help="Body to send as a form; @FILE or @- (standard input) as it is; joined with &.",
        ),
        _text("--json", "json_data", metavar="JSON", help="JSON body to send, or @FILE."),
        _text("-u", "--user", metavar="USER:PASSWORD", help="Basic authentication."),
        _text("--bearer", metavar="TOKEN", help="Bearer token, best given as '${API_TOKEN}'."),
        _texts("--cookie", metavar="NAME=VALUE", help="Cookie to send."),
        _text(
            "-x",
            "--proxy",
            metavar="URL",
            help="Proxy, as http://host:3128 or socks5h://host:1080.",
        ),
        _file("--cacert", help="CA certificates to trust, PEM."),
        _file("--cert", help="Client certificate, PEM."),
        _file("--key", help="Private key of the client certificate, PEM."),
        _flag("-k", "--insecure", help="Accept any server certificate."),
        _choice("--http", among=("1.1", "2", "3"), value=_DEFAULTS.http, help="HTTP version."),
        _flag("--no-compression", help="Ask for no compressed replies."),
        _flag("--no-keepalive", help="Open a new connection for each request."),
        _texts("--resolve", metavar="HOST:PORT:ADDR", help="Address to use for a host and port."),
        _file("--unix-socket", help="Connect to this Unix domain socket."),
        _default(
            "-A",
            "--user-agent",
            metavar="TEXT",
            value=_DEFAULTS.user_agent,
            help="User-Agent header.",
        ),
        _default(
            "--max-redirects",
            metavar="N",
            value=_DEFAULTS.max_redirects,
            help="Redirects to follow; 0 follows none.",
        ),
        _default(
            "--timeout",
            metavar="TIME",
            value=duration_text(_DEFAULTS.timeout_s),
            help="Longest time of one attempt in all, as 30s, 500ms or 2m.",
        ),
        _default(
            "--connect-timeout",
            metavar="TIME",
            value=duration_text(_DEFAULTS.connect_timeout_s),
            help="Longest time to connect.",
        ),
        _default(
            "--max-body",
            metavar="SIZE",
            value=size_text(_DEFAULTS.max_body_bytes),
            help="Largest body, decoded, as 100MB, 1MiB or 1000.",
        ),
        _choice(
            "--engine",
            among=("auto", "curl", "requests"),
            value=_DEFAULTS.engine,
            help="What makes the requests; auto is curl where it can do what is asked.",
        ),
    ),
)

RETRIES: Final = OptionGroup(
    "Retries (of failed transfers and of 408, 425, 429, 500, 502, 503, 504)",
    (
        _default(
            "--retries",
            metavar="N",
            value=_DEFAULTS.retries,
            help="Further attempts after a failed one.",
        ),
        _flag("--retry-unsafe", help="Retry POST and PATCH too."),
        _default(
            "--backoff",
            metavar="TIME",
            value=duration_text(_DEFAULTS.backoff_s),
            help="Longest wait before the first retry; doubles with each.",
        ),
        _default(
            "--backoff-max",
            metavar="TIME",
            value=duration_text(_DEFAULTS.backoff_max_s),
            help="Longest wait before any retry.",
        ),
        _default(
            "--retry-after-max",
            metavar="TIME",
            value=duration_text(_DEFAULTS.retry_after_max_s),
            help="Longest Retry-After to wait for; beyond it the reply stands.",
        ),
    ),
)

POOL_AND_RECORD: Final = OptionGroup(
    "Pool and record",
    (
        _default(
            "-c",
            "--concurrency",
            metavar="N",
            value=_DEFAULTS.concurrency,
            help="Requests in flight, in all.",
        ),
        click.Option(
            ["--processes"],
            metavar="N",
            type=int,
            default=_DEFAULTS.processes,
            help="Worker processes; 0 works in this one.  [default: all cores]",
        ),
        click.Option(
            ["-o", "--out"],
            metavar="FILE",
            type=_FILE,
            default=DEFAULT_OUT,
            show_default=True,
            help="Record log to append to (.log, .jsonl), or to write (.csv, .parquet); - prints "
            "the records in input order, none keeps none.",
        ),
        _flag("--resume", help="Go on with the log's last run where it was cut off."),
        _flag("--retry-failed", help="Go on with the log's last run and redo what failed in it."),
        _flag("--wait", help="Wait for another crawl that is writing the same log."),
        _choice(
            "--fsync",
            among=("none", "interval", "record"),
            value=_DEFAULTS.fsync,
            help="When records are forced to the disk.",
        ),
    ),
)

OUTPUT: Final = OptionGroup(
    "Output",
    (
        _default(
            "--group-by",
            metavar="WHAT",
            value=_DEFAULTS.group_by,
            help=f"Rows of the summary: {', '.join(GROUPINGS)} or a kept column.",
        ),
        _choice(
            "--summary",
            among=("text", "json", "csv", "none"),
            value="text",
            help="Form of the summary.",
        ),
        _default(
            "--max-errors",
            metavar="N|N%",
            value="0",
            help="Failures, or share of them, above which the exit code is 1.",
        ),
        _flag("-q", "--quiet", help="Show no progress bar."),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            help="Show the traceback of an error, as CRAWL_DEBUG=1 does.",
        ),
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
    groups=(TARGETS, REQUEST, RETRIES, POOL_AND_RECORD, OUTPUT),
    short_help="Fetch, time and record URLs (meant where no verb is named).",
    help="Fetch URLs in parallel, time each request, keep a record of each, print a summary.",
    examples=(
        "crawl https://example.org/",
        "crawl --urls list.txt --out record.log",
        "crawl --urls list.txt --out record.log --resume",
        "crawl --urls names.txt --url-template 'http://api.test/search?name={name}'",
        "crawl --urls list.csv --bearer '${API_TOKEN}' --timeout 5s --out - | head",
    ),
)
