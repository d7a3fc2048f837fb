"""Where an exchange's time went: its phases, stamped by the thread that makes it.

Moments are ``time.perf_counter``; at each stage one limit is in force, the connect time-out or the
time-out of the whole, and every wait asks for what is left of it.
"""

from __future__ import annotations

import time
from typing import Final, Literal

from crawler.engines.base import Kept, Reply
from crawler.record import ErrorClass

Stage = Literal["start", "dns", "connect", "tunnel", "tls", "send", "receive"]

CONNECTING: Final[tuple[Stage, ...]] = ("dns", "connect", "tunnel", "tls")


def _us(seconds: float) -> int:
    return max(0, round(seconds * 1_000_000))


class Exchange:
    """The course of one exchange. ``begin`` starts its clock."""

    __slots__ = (
        "_phase_began", "_start", "connect_timeout_s", "connect_us", "dns_us", "first_byte",
        "fresh_only", "host", "kept", "limit", "location", "pause_s", "peer", "remote",
        "retry_after", "reused", "sent", "size", "stage", "started_s", "status", "target",
        "timeout_s", "tls_us", "version",
    )  # fmt: skip

    def __init__(self, *, timeout_s: float, connect_timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.connect_timeout_s = min(timeout_s, connect_timeout_s)
        self.started_s = self._start = self.limit = 0.0
        self.stage: Stage = "start"
        self._phase_began = 0.0
        self.dns_us = self.connect_us = self.tls_us = self.size = 0
        self.sent: float | None = None
        self.first_byte: float | None = None
        self.status: int | None = None
        self.version: str | None = None
        self.remote: str | None = None
        self.location: str | None = None
        self.retry_after: str | None = None
        self.target: str | None = None
        self.kept: Kept | None = None
        self.pause_s: float | None = None
        self.host = self.peer = ""
        self.reused = self.fresh_only = False

    def begin(self) -> None:
        """Start the clock: what waited before in our own queues is no part of it."""
        self.started_s = time.monotonic()
        self._start = time.perf_counter()
        self.limit = self._start + self.timeout_s

    def left_s(self) -> float:
        """Seconds to the limit in force, negative when it has passed; all before the start."""
        return self.limit - time.perf_counter() if self._start else self.connect_timeout_s

    def remaining_s(self) -> float:
        """Seconds to the limit in force. Raises ``TimeoutError`` when it has passed."""
        left_s = self.limit - time.perf_counter()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    def enter(self, stage: Stage) -> None:
        """Begin a phase, and end the one before it."""
        now = time.perf_counter()
        spent_us = _us(now - self._phase_began)
        if self.stage == "dns":
            self.dns_us = spent_us
        elif self.stage in ("connect", "tunnel"):
            self.connect_us += spent_us
        elif self.stage == "tls":
            self.tls_us = spent_us
        connecting = stage in CONNECTING
        self.limit = self._start + (self.connect_timeout_s if connecting else self.timeout_s)
        self.stage, self._phase_began = stage, now

    def request_sent(self) -> None:
        """Note that the request is on its way; what came in before is no part of its reply."""
        self.enter("receive")
        self.sent, self.first_byte = time.perf_counter(), None

    def received(self) -> None:
        """Note that bytes have come in."""
        if self.first_byte is None:
            self.first_byte = time.perf_counter()

    def head_read(self) -> None:
        """Note that the head is there, for adapters that stamp nothing: all before it is wait."""
        if self.sent is None:
            self.sent = self._start
        self.received()

    def start_over(self) -> None:
        """Go back to before the connection, for one on a fresh connection."""
        self.enter("start")
        self.fresh_only, self.sent, self.first_byte = True, None, None

    def reply(self, error: ErrorClass | None = None, detail: str | None = None) -> Reply:
        """Give what came of it, ended now."""
        if self.stage in CONNECTING:
            self.enter("start")
        end = time.perf_counter()
        first = self.first_byte or end
        return Reply(
            status=self.status,
            error=error,
            detail=detail,
            started_s=self.started_s,
            elapsed_us=_us(end - self._start),
            dns_us=self.dns_us,
            connect_us=self.connect_us,
            tls_us=self.tls_us,
            wait_us=_us(first - self.sent) if self.sent else 0,
            receive_us=_us(end - first),
            bytes=self.size,
            location=self.location,
            retry_after=self.retry_after,
            http_version=self.version,
            remote=self.remote,
            reused=self.reused,
            kept=self.kept,
            pause_s=self.pause_s,
        )
