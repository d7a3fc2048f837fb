"""What click read becomes typed values: ``RunOptions`` for the run, ``Settings`` for its requests.

Texts are read by ``values``, option by option; what options say of each other (a body makes a POST,
standard input is read once) is decided here. Nothing is sent before all of it holds.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import Final, Literal, TypedDict

from crawler.cli import values
from crawler.cli.body_options import BodyParams, bodies
from crawler.cli.list_options import PickParams, expanded, row_requests
from crawler.cli.list_options import selection as picked
from crawler.cli.polite_options import PoliteParams, politeness
from crawler.cli.reply_options import ReplyParams, expectations, pagination, selected
from crawler.cli.values import MaxErrors
from crawler.errors import UsageError
from crawler.row_requests import RowRequests
from crawler.selection import Selection
from crawler.settings import METHODS, EngineName, Fsync, HttpVersion, Settings

SummaryFormat = Literal["text", "json", "csv", "none"]

STDOUT: Final = "-"
NO_LOG: Final = "none"
DEFAULT_OUT: Final = "record.log"
GROUPINGS: Final = ("endpoint", "host", "path", "url", "status")
"""What ``--group-by`` knows beside the columns of the list."""

_FORM: Final = "application/x-www-form-urlencoded"


class RequestParams(TypedDict):
    """The request options of any verb, as click gives them: texts as typed, None if not given."""

    method: str | None
    header: tuple[str, ...]
    data: tuple[str, ...]
    json_data: str | None
    user: str | None
    bearer: str | None
    cookie: tuple[str, ...]
    proxy: str | None
    cacert: str | None
    cert: str | None
    key: str | None
    insecure: bool
    http: HttpVersion
    no_compression: bool
    no_keepalive: bool
    resolve: tuple[str, ...]
    unix_socket: str | None
    dns_ttl: str
    block_private: bool
    user_agent: str
    max_redirects: int
    timeout: str
    connect_timeout: str
    max_body: str
    engine: EngineName


class ListParams(TypedDict):
    """Where the targets come from, for any verb."""

    urls: tuple[str, ...]
    url_files: tuple[str, ...]
    column: str | None
    keep: tuple[str, ...]
    url_template: str | None


class RetryParams(TypedDict):
    """The retry options of any verb."""

    retries: int
    retry_unsafe: bool
    backoff: str
    backoff_max: str
    retry_after_max: str


class SourceParams(RequestParams, ListParams):
    """What is requested, and where the targets come from: standard input serves one of them."""


class RunParams(SourceParams, RetryParams, PoliteParams, BodyParams, ReplyParams, PickParams):
    """All options of ``crawl run``."""

    concurrency: int
    processes: int
    out: str
    resume: bool
    retry_failed: bool
    wait: bool
    fsync: Fsync
    group_by: str
    summary: SummaryFormat
    max_errors: str
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What ``crawl run`` was told beside its ``Settings``.

    ``urls`` are the arguments, ``url_files`` the lists (``-`` is standard input), ``out`` a path,
    ``STDOUT`` or ``NO_LOG``.
    """

    urls: tuple[str, ...]
    url_files: tuple[str, ...]
    column: str | None
    keep: tuple[str, ...]
    template: str | None
    sitemaps: tuple[str, ...]
    selection: Selection
    rows: RowRequests | None
    out: str
    resume: bool
    retry_failed: bool
    wait: bool
    summary: SummaryFormat
    max_errors: MaxErrors
    quiet: bool


def parse(params: RunParams, *, stdin_piped: bool) -> tuple[RunOptions, Settings]:
    """Read the options of ``crawl run``; raises ``UsageError`` for the first that cannot be used.

    Without any target the list is standard input if something is piped into it.
    """
    options = _run_options(params, stdin_piped=stdin_piped)
    settings = request_settings(params, Settings())
    rows = options.rows
    if params["method"] is None and rows is not None and rows.makes_body:
        settings = replace(settings, method="POST")
    settings = retry_settings(params, settings)
    settings = pool_settings(
        settings, params["concurrency"], params["processes"], params["group_by"], options.keep
    )
    return options, replace(
        settings,
        fsync=params["fsync"],
        polite=politeness(params),
        bodies=bodies(params, options.keep),
        select=selected(params, options.keep),
        expect=expectations(params),
        paginate=pagination(params, options.keep),
        dedupe=params["dedupe"],
    )


def stdin_is_piped() -> bool:
    """Whether a pipe or a file stands at standard input: not a terminal, not /dev/null."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def request_settings(params: RequestParams, base: Settings) -> Settings:
    """Set what is requested and how, whichever verb asks."""
    body = _body(params)
    settings = replace(
        base,
        method=_method(params["method"], has_body=body is not None),
        headers=_headers(params),
        body=body,
        cookies=tuple(values.cookies(params["cookie"], "--cookie")),
        user_agent=params["user_agent"],
        max_redirects=params["max_redirects"],
        timeout_s=values.duration_s(params["timeout"], "--timeout"),
        connect_timeout_s=values.duration_s(params["connect_timeout"], "--connect-timeout"),
        max_body_bytes=values.size_bytes(params["max_body"], "--max-body"),
        engine=params["engine"],
    )
    return _with_connection(params, _with_credentials(params, settings))


def retry_settings(params: RetryParams, base: Settings) -> Settings:
    """Set what is tried again, and after how long."""
    return replace(
        base,
        retries=params["retries"],
        retry_unsafe=params["retry_unsafe"],
        backoff_s=values.duration_s(params["backoff"], "--backoff"),
        backoff_max_s=values.duration_s(params["backoff_max"], "--backoff-max"),
        retry_after_max_s=values.duration_s(params["retry_after_max"], "--retry-after-max"),
    )


def _with_credentials(params: RequestParams, base: Settings) -> Settings:
    user, bearer = params["user"], params["bearer"]
    if params["key"] is not None and params["cert"] is None:
        raise UsageError("--key needs --cert: give the certificate that the key belongs to")
    return replace(
        base,
        user=None if user is None else values.user_password(user, "--user"),
        bearer=None if bearer is None else values.bearer_token(bearer, "--bearer"),
        cert=values.existing_file(params["cert"], "--cert"),
        key=values.existing_file(params["key"], "--key"),
    )


def _with_connection(params: RequestParams, base: Settings) -> Settings:
    proxy = params["proxy"]
    return replace(
        base,
        proxy=None if proxy is None else values.proxy(proxy, "--proxy"),
        cacert=values.existing_file(params["cacert"], "--cacert"),
        verify_tls=not params["insecure"],
        http=params["http"],
        compression=not params["no_compression"],
        keepalive=not params["no_keepalive"],
        resolve=params["resolve"],
        unix_socket=values.existing_socket(params["unix_socket"], "--unix-socket"),
        dns_ttl_s=_ttl_s(params["dns_ttl"]),
        block_private=params["block_private"],
    )


def _ttl_s(text: str) -> float:
    return 0.0 if text.strip() == "0" else values.duration_s(text, "--dns-ttl")


def _method(given: str | None, *, has_body: bool) -> str:
    """Choose as curl does: POST with a body. Methods heed case, but ``-X post`` means POST."""
    if given is None:
        return "POST" if has_body else "GET"
    return given.upper() if given.upper() in METHODS else given


def _body(params: RequestParams) -> bytes | None:
    data, json_data = params["data"], params["json_data"]
    if data and json_data is not None:
        raise UsageError("--data and --json both make the body: give one of them")
    if json_data is not None:
        return values.json_body(json_data, "--json")
    if data:
        return b"&".join([values.body(part, "--data") for part in data])
    return None


def _headers(params: RequestParams) -> tuple[tuple[str, str], ...]:
    """Give the user's headers, and the body's Content-Type unless they hold one."""
    given = tuple(values.headers(params["header"], "--header"))
    if any(name.lower() == "content-type" for name, _ in given):
        return given
    if params["json_data"] is not None:
        return (*given, ("Content-Type", "application/json"))
    if params["data"]:
        return (*given, ("Content-Type", _FORM))
    return given


def pool_settings(
    base: Settings, concurrency: int, processes: int, group_by: str, keep: tuple[str, ...]
) -> Settings:
    """Set how many requests are in flight, in how many workers, and what groups the figures."""
    if group_by not in GROUPINGS and group_by not in keep:
        raise UsageError(
            f"--group-by {group_by!r}: give one of {', '.join(GROUPINGS)}, or a column of the list "
            f"that is kept: --keep {group_by or 'COL'} --group-by {group_by or 'COL'}"
        )
    return replace(base, concurrency=concurrency, processes=processes, group_by=group_by)


def kept_columns(params: ListParams) -> tuple[str, ...]:
    """Give the columns to keep, each once."""
    return tuple(dict.fromkeys(n for text in params["keep"] for n in values.names(text, "--keep")))


def _run_options(params: RunParams, *, stdin_piped: bool) -> RunOptions:
    check_words(params)
    _check_log(params)
    return RunOptions(
        urls=params["urls"],
        url_files=expanded(_url_files(params, stdin_piped=stdin_piped)),
        column=params["column"],
        keep=kept_columns(params),
        template=params["url_template"],
        sitemaps=params["sitemap"],
        selection=picked(params),
        rows=row_requests(params),
        out=params["out"],
        resume=params["resume"],
        retry_failed=params["retry_failed"],
        wait=params["wait"],
        summary=params["summary"],
        max_errors=values.max_errors(params["max_errors"], "--max-errors"),
        quiet=params["quiet"],
    )


def _url_files(params: RunParams, *, stdin_piped: bool) -> tuple[str, ...]:
    """Give the lists to read; without any there must be something to go on with."""
    files = url_files(params, stdin_piped=stdin_piped and not params["sitemap"])
    if files or params["urls"] or params["sitemap"]:
        return files
    if params["resume"] or params["retry_failed"]:
        raise UsageError("to go on, the list is needed again: add --urls LIST, or the URLs")
    raise UsageError("nothing to fetch: give URLs, or a list as in crawl --urls list.txt")


def url_files(params: SourceParams, *, stdin_piped: bool) -> tuple[str, ...]:
    """Give the lists to read, standard input where nothing else is named and it is piped."""
    bodies = [*params["data"], *params["header"], params["json_data"]]
    readers = bodies.count("@-") + params["url_files"].count("-")
    if readers > 1:
        raise UsageError("standard input is named twice (- or @-): it can be read once")
    if params["urls"] or params["url_files"]:
        return params["url_files"]
    return ("-",) if stdin_piped and not readers else ()


def check_words(params: ListParams) -> None:
    """Refuse a bare word for a URL: it is a verb mistyped, or a URL without its scheme."""
    if params["url_template"] is not None:
        return
    for url in params["urls"]:
        if url.isascii() and url.isalpha():
            raise UsageError(
                f"{url!r} is neither a verb nor a URL; crawl --help lists the verbs, and a URL "
                f"starts with its scheme: http://{url}"
            )


def _check_log(params: RunParams) -> None:
    out = params["out"]
    if not out:
        raise UsageError("--out is empty: give a file, - for standard output, or none")
    for option, given in (
        ("--resume", params["resume"]),
        ("--retry-failed", params["retry_failed"]),
    ):
        if given and out in (STDOUT, NO_LOG):
            raise UsageError(
                f"{option} goes on with a record log: give its file, as --out record.log"
            )
