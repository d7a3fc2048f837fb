"""What an engine is: one request in, one reply out, never an exception for what a server does.

An engine makes ONE exchange: it follows no redirect, retries nothing, keeps no cookies. Redirects,
attempts and the record are ``fetch``'s, so that all engines give the same record for one reply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from crawler.body import Body
from crawler.record import ErrorClass


class Request(NamedTuple):
    """One exchange to make. ``url`` is ready for the wire: ASCII, no credentials, no fragment.

    ``headers`` are all that is sent beside what the engine itself must add. ``own_origin`` tells
    whether the session's credentials (client authentication) may go there. ``timeout_s`` bounds
    the whole exchange, ``most_bytes`` its body where the run's limit does not.
    """

    url: str
    method: str
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    timeout_s: float
    own_origin: bool = True
    keep: bool = False
    most_bytes: int | None = None


class Kept(NamedTuple):
    """A whole reply, for those who want more than its figures. ``body`` is decoded.

    ``headers`` are those of the final block, in their order, repeated ones repeated.
    """

    request: Request
    status_line: str
    headers: tuple[tuple[str, str], ...]
    body: Body

    def header(self, name: str) -> str | None:
        """Give a field, joined by commas where it is repeated; None without it."""
        name = name.lower()
        values = [value for key, value in self.headers if key.lower() == name]
        return ", ".join(values) if values else None


class Reply(NamedTuple):
    """What came of one exchange. Durations are whole microseconds.

    ``started_s`` is ``time.monotonic()`` at the true start. ``location`` is the Location header of
    a 3xx reply as it came. ``error`` is one of ``dns connect tls timeout protocol too_large
    blocked`` or None: a status of 400 and above is no error here. ``kept`` is there if the settings
    ask for it (``keep_replies``), or the request does, and a head has come. ``pause_s`` is how long
    rate-limit headers ask to send nothing more, in polite runs.
    """

    status: int | None
    error: ErrorClass | None
    detail: str | None
    started_s: float
    elapsed_us: int
    dns_us: int = 0
    connect_us: int = 0
    tls_us: int = 0
    wait_us: int = 0
    receive_us: int = 0
    bytes: int = 0
    location: str | None = None
    retry_after: str | None = None
    http_version: str | None = None
    remote: str | None = None
    reused: bool = False
    kept: Kept | None = None
    pause_s: float | None = None


class Engine(Protocol):
    """Makes exchanges inside one event loop."""

    async def exchange(self, request: Request) -> Reply:
        """Make one request and read its reply to the end."""
        ...

    def close(self) -> None:
        """Close every connection. No exchange may be under way."""
        ...


Start = Callable[[Request, Callable[[Reply], object]], object]
"""What an engine may offer beside ``exchange``: begin one and have its reply handed to a function,
without the task, the future and the turns of the loop that awaiting costs."""
