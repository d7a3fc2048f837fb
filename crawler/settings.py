"""All that a run can be told, in one frozen value, validated once.

What the command's options and the library's keywords say ends here; nothing below asks again.
Secrets are kept out of ``repr``.
"""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from crawler.body_plan import Bodies
from crawler.errors import UsageError
from crawler.expectations import Expectations
from crawler.pagination import Pagination
from crawler.politeness import Politeness

VERSION: Final = "0.1.0"
DEFAULT_USER_AGENT: Final = f"crawl/{VERSION}"
MB: Final = 1_000_000

EngineName = Literal["auto", "curl", "requests"]
Fsync = Literal["none", "interval", "record"]
Dedupe = Literal["none", "exact", "canonical"]
HttpVersion = Literal["1.1", "2", "3"]


def available_cores() -> int:
    """The number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How targets are requested, retried, run and recorded.

    Raises ``UsageError`` naming the first value that cannot be used. Times are seconds
    (``_s``), sizes bytes. ``group_by`` is ``endpoint``, ``host``, ``path``, ``url``, ``status`` or
    the name of a carried column. ``headers``, ``cookies`` and credentials go to a target's own
    origin only. ``resolve`` entries are ``HOST:PORT:ADDR``, as curl's. ``processes=0`` works in
    this process. ``polite`` limits what each host is asked for, ``bodies`` says where bodies
    go, ``select`` (pairs of a name and an expression) what of JSON replies records tell, ``expect``
    what replies must be; ``dedupe`` finds targets that ask for the same again. ``keep_replies``
    hands whole replies to those in the worker who look at them.
    """

    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    user: tuple[str, str] | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    cookies: tuple[str, ...] = field(default=(), repr=False)
    proxy: str | None = field(default=None, repr=False)
    cacert: str | None = None
    cert: str | None = None
    key: str | None = None
    verify_tls: bool = True
    http: HttpVersion = "1.1"
    compression: bool = True
    keepalive: bool = True
    resolve: tuple[str, ...] = ()
    unix_socket: str | None = None
    dns_ttl_s: float = 60.0
    block_private: bool = False
    user_agent: str = DEFAULT_USER_AGENT
    max_redirects: int = 10
    timeout_s: float = 30.0
    connect_timeout_s: float = 10.0
    max_body_bytes: int = 100 * MB
    keep_replies: bool = False
    bodies: Bodies | None = None
    select: tuple[tuple[str, str], ...] = ()
    expect: Expectations | None = None
    paginate: Pagination | None = None

    engine: EngineName = "auto"

    retries: int = 2
    retry_unsafe: bool = False
    backoff_s: float = 0.25
    backoff_max_s: float = 30.0
    retry_after_max_s: float = 300.0

    polite: Politeness | None = None

    concurrency: int = 64
    processes: int = field(default_factory=available_cores)

    dedupe: Dedupe = "none"
    fsync: Fsync = "none"
    group_by: str = "endpoint"

    def __post_init__(self) -> None:
        if isinstance(self.headers, Mapping):
            object.__setattr__(self, "headers", tuple(self.headers.items()))
        looks = self.expect is not None and self.expect.need_replies
        if self.bodies is not None or self.select or looks or self.paginate is not None:
            object.__setattr__(self, "keep_replies", True)
        _pairs("headers", self.headers)
        _pairs("user", () if self.user is None else (self.user,))
        _at_least("concurrency", self.concurrency, 1)
        _at_least("processes", self.processes, 0)
        _at_least("retries", self.retries, 0)
        _at_least("max-redirects", self.max_redirects, 0)
        _at_least("max-body", self.max_body_bytes, 0)
        _above_zero("timeout", self.timeout_s)
        _above_zero("connect-timeout", self.connect_timeout_s)
        _above_zero("backoff", self.backoff_s)
        _one_of("engine", self.engine, ("auto", "curl", "requests"))
        _one_of("fsync", self.fsync, ("none", "interval", "record"))
        _one_of("dedupe", self.dedupe, ("none", "exact", "canonical"))
        _one_of("http", self.http, ("1.1", "2", "3"))
        check_request("--", self.method, self.headers)
        for entry in self.resolve:
            _resolve_entry(entry)
        _at_least("backoff-max", math.ceil(self.backoff_max_s), 1)
        _at_least("retry-after-max", math.ceil(self.retry_after_max_s), 0)
        _check_private(self)
        if not 0 <= self.dns_ttl_s <= _DNS_TTL_MOST_S:
            raise UsageError(f"--dns-ttl is {self.dns_ttl_s:g} s: give from 0 to a day")
        if self.key is not None and self.cert is None:
            raise UsageError("--key needs --cert: a key alone identifies nobody")
        if self.user is not None and self.bearer is not None:
            raise UsageError("--user and --bearer both set Authorization: give one of them")


_DNS_TTL_MOST_S: Final = 86_400.0


def _check_private(settings: Settings) -> None:
    if settings.block_private and (settings.proxy or settings.unix_socket):
        raise UsageError(
            "--block-private looks at the address that is connected to: with --proxy or "
            "--unix-socket that is not the server's"
        )


def _pairs(option: str, values: object) -> None:
    """Refuse what is no sequence of pairs of text; the values may be secrets and are not told."""
    if not isinstance(values, tuple | list) or not all(
        isinstance(pair, tuple | list) and len(pair) == 2 and all(isinstance(x, str) for x in pair)
        for pair in values
    ):
        raise UsageError(f"{option}: give pairs of text, as ('name', 'value')")


def _at_least(option: str, value: int, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise UsageError(f"--{option} is {value}: give a whole number of at least {least}")


def _above_zero(option: str, value: float) -> None:
    if not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise UsageError(f"--{option} is {value}: give a number of seconds above 0")


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UsageError(f"--{option} is {value!r}: give one of {', '.join(allowed)}")


_TOKEN: Final = frozenset(
    "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)
"""The characters of a method or a header name (RFC 9110, section 5.6.2)."""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip().removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


METHODS: Final = frozenset(
    ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT")
)
"""Those of RFC 9110, section 9.3, and of RFC 5789."""


def check_request(
    where: str, method: str | None, headers: Iterable[tuple[str, str]] | None
) -> None:
    """Raise ``UsageError`` for a method or header, where there is one, that cannot be sent."""
    if method is not None:  # RFC 9110, section 9.1
        _token(f"{where}method", method)
    for name, value in headers or ():
        check_header(f"{where}header", name, value)


def check_header(where: str, name: str, value: str) -> None:
    """Raise ``UsageError`` for a header that would break a request apart; its value is not told."""
    _token(where, name)
    if any(ch in "\r\n\0" for ch in value):
        raise UsageError(f"{where} {name}: the value holds a line break or NUL; remove it")


def _token(where: str, value: str) -> None:
    if not value or not _TOKEN.issuperset(value):
        raise UsageError(f"{where}: {value!r} is not an HTTP token (letters, digits and -_.~ …)")


def _resolve_entry(entry: str) -> None:
    host, _, rest = entry.partition(":")
    port, _, address = rest.partition(":")
    if not host or not port.isdigit() or not all(map(_is_address, address.split(","))):
        raise UsageError(
            f"--resolve {entry!r}: the form is HOST:PORT:ADDR, as api.test:443:127.0.0.1"
        )
