"""The two values that flow through the house: a ``Target`` goes in, a ``Record`` comes out.

Both are immutable. They are named tuples rather than frozen dataclasses because one of each is
built for every URL: 0.3 us against 1.9 us, and a target crosses a pipe as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, get_args

ErrorClass = Literal[
    "invalid_url",
    "dns",
    "connect",
    "tls",
    "timeout",
    "protocol",
    "redirects",
    "too_large",
    "blocked",
    "http",
    "unexpected",
    "aborted",
    "worker_lost",
]

ERROR_CLASSES: Final[tuple[ErrorClass, ...]] = get_args(ErrorClass)

STAGE: Final = "stage"
"""The carried column in which a benchmark says which part of it a request belongs to."""
WARMUP: Final = "warmup"
"""The ``STAGE`` of requests that are recorded and left out of all figures."""
ARM: Final = "arm"
"""The carried column in which an A/B benchmark says which side a request belongs to: A or B."""

DUPLICATE_OF: Final = "duplicate_of"
"""The carried column in which a duplicate's record names the target that it was answered from."""
PAGE: Final = "page"
NEXT: Final = "next"
"""The carried columns of a run that follows pages: the number of a page, and the next one's URL."""

NO_FIELDS: Final[Mapping[str, str]] = {}


class Target(NamedTuple):
    """One request to make.

    ``seq`` is the 0-based index in the input. ``method``, ``headers`` and ``body`` are None where
    the run's settings hold. ``due`` is the monotonic moment (``time.monotonic`` seconds) at which
    it is to start, None for as soon as possible. ``fields`` are input columns carried into the
    record.
    """

    seq: int
    url: str
    method: str | None = None
    headers: tuple[tuple[str, str], ...] | None = None
    body: bytes | None = None
    due: float | None = None
    fields: Mapping[str, str] = NO_FIELDS

    def __repr__(self) -> str:
        """Name the target without what may be secret: its URL's userinfo, header values, body."""
        scheme, mark, rest = self.url.partition("://")
        url = f"{scheme}{mark}***@{rest.rpartition('@')[2]}" if "@" in rest else self.url
        names = [name for name, _ in self.headers or ()]
        return f"Target(seq={self.seq}, url={url!r}, method={self.method!r}, headers={names})"


class Record(NamedTuple):
    """What came of one target; one JSON line of the record log. Times are milliseconds.

    ``elapsed_ms`` runs from the start of the request to its last body byte, of the last attempt,
    redirects included and waiting in our own queues excluded. ``dns_ms``, ``connect_ms`` and
    ``tls_ms`` are 0 on a reused connection; ``wait_ms`` is request sent to first byte.
    ``lag_ms`` is how late we ourselves started it. ``bytes`` counts the body after decoding.
    ``error`` is None when all is well (see ``ErrorClass``); ``detail`` tells the cause in words.
    """

    run: str
    seq: int
    url: str
    method: str
    status: int | None
    error: ErrorClass | None
    detail: str | None
    started: str
    elapsed_ms: float
    dns_ms: float
    connect_ms: float
    tls_ms: float
    wait_ms: float
    receive_ms: float
    lag_ms: float
    bytes: int
    attempts: int
    final_url: str | None
    http_version: str | None
    remote: str | None
    reused: bool
    fields: Mapping[str, str] = NO_FIELDS


RECORD_FIELDS: Final = Record._fields[:-1]
"""Names of a record's own fields, in the order of the log; carried columns come after them."""


def page_number(row: Mapping[str, Any]) -> int:
    """Give the page that a record's carried columns tell of; 1 where pages are not followed."""
    text = row.get(PAGE)
    if text is None or NEXT not in row or not isinstance(text, str):
        return 1
    return int(text) if text.isascii() and text.isdigit() else 1
