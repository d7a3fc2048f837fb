"""One target -> one record: the URL checked, headers chosen, redirects followed, time added up.

The engines make single exchanges; what an attempt is, and which of a user's secrets go where, is
decided here, once for all engines: headers, cookies and credentials go to the target's own origin
only. A record comes back for every expected failure; anything that is raised is a bug.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, NamedTuple

from crawler.engines.base import Engine, Reply, Request
from crawler.errors import UsageError
from crawler.expectations import Expectations
from crawler.profile import Profile, with_params
from crawler.record import ErrorClass, Record, Target
from crawler.retry import RETRIED_STATUSES, Attempt
from crawler.settings import METHODS, Settings, check_request
from crawler.urls import InvalidUrl, WireUrl, is_ordinary, join, mask, wire_url

REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_CONTENT_HEADERS: Final = frozenset(
    (
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-type",
        "digest",
        "last-modified",
        "transfer-encoding",
    )
)
"""What tells of a request's body, and goes with it (RFC 9110, section 15.4)."""
_PHRASES: Final = {status.value: f"HTTP {status.value} {status.phrase}" for status in HTTPStatus}

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What every attempt of a run needs: who asks, with what, under which rules.

    ``cookies_for`` gives the Cookie header of a URL where the session's cookies are not the same
    for every target, else it is None.
    """

    run: str
    engine: Engine
    profile: Profile
    settings: Settings
    cookies_for: Callable[[str], str | None] | None = None


class WallClock:
    """Wall-clock time as ISO 8601 text for moments of the monotonic clock.

    A second's text is formatted once; the offset between the clocks is taken anew each second, so
    that a corrected wall clock is followed.
    """

    __slots__ = ("_offset_s", "_prefix", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""
        self._offset_s = 0.0

    def text(self, monotonic_s: float) -> str:
        """Format a moment of ``time.monotonic`` as UTC with microseconds."""
        micros = int((monotonic_s + self._offset_s) * 1_000_000)
        second = micros // 1_000_000
        if second != self._second:
            self._offset_s = time.time() - time.monotonic()
            micros = int((monotonic_s + self._offset_s) * 1_000_000)
            second = micros // 1_000_000
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._prefix}.{micros % 1_000_000:06d}Z"


_CLOCK: Final = WallClock()


class Begun(NamedTuple):
    """An attempt whose request is ready to be sent; ``picked_s`` is when it was taken up."""

    target: Target
    number: int
    picked_s: float
    shown: str
    request: Request


def begin(plan: Plan, target: Target, number: int) -> Begun | Record:
    """Make the request of attempt ``number``; for a URL that is none, give its record instead."""
    settings, profile = plan.settings, plan.profile
    method = target.method or settings.method
    usual = target.headers is None and (target.method is None or method in METHODS)
    if usual and plan.cookies_for is None and is_ordinary(target.url):
        body = settings.body if target.body is None else target.body
        url = with_params(target.url, profile.params) if profile.params else target.url
        request = Request(url, method, profile.headers, body, settings.timeout_s)
        return Begun(target, number, time.monotonic(), target.url, request)
    return _begin_specially(plan, target, method, number)


def _begin_specially(plan: Plan, target: Target, method: str, number: int) -> Begun | Record:
    """Begin where a URL is to be made ready, or a target has headers or an odd method."""
    settings, profile = plan.settings, plan.profile
    try:
        wire = wire_url(target.url)
        shown = wire.shown
        check_request("", target.method, target.headers)
        if profile.params:  # they may hold keys: the record shows the URL without them
            wire = wire_url(with_params(target.url, profile.params))
    except (InvalidUrl, UsageError) as exc:
        return unsent(plan.run, target, method, "invalid_url", str(exc), attempts=number - 1)
    headers = _own_headers(plan, target.headers, wire)
    body = settings.body if target.body is None else target.body
    request = Request(wire.url, method, headers, body, settings.timeout_s)
    return Begun(target, number, time.monotonic(), shown, request)


def leads_on(plan: Plan, reply: Reply) -> bool:
    """Tell whether a reply is a redirect to be followed."""
    return (
        bool(reply.location)
        and reply.error is None
        and reply.status in REDIRECTS
        and plan.settings.max_redirects > 0
    )


async def follow(plan: Plan, begun: Begun, reply: Reply) -> Attempt:
    """Follow a first reply that leads on, and conclude the attempt."""
    chain = _Chain(plan, begun, reply)
    await chain.follow()
    reply = chain.total()
    record = conclude(plan, begun, reply, chain.request.url)
    return Attempt(record, reply.retry_after, reply.kept, reply.pause_s)


async def attempt(plan: Plan, target: Target, number: int) -> Attempt:
    """Make attempt ``number`` at a target, redirects included."""
    begun = begin(plan, target, number)
    if isinstance(begun, Record):
        return Attempt(begun)
    reply = await plan.engine.exchange(begun.request)
    if leads_on(plan, reply):
        return await follow(plan, begun, reply)
    record = conclude(plan, begun, reply)
    return Attempt(record, reply.retry_after, reply.kept, reply.pause_s)


def _own_headers(plan: Plan, own: Headers | None, wire: WireUrl) -> Headers:
    """Lay a target's own headers over what its URL brings, and both over the run's."""
    headers = plan.profile.headers
    for over in (tuple(_brought(plan, wire)), own or ()):
        named = {name.lower() for name, _ in over}
        headers = (*(pair for pair in headers if pair[0].lower() not in named), *over)
    return headers


def _brought(plan: Plan, wire: WireUrl) -> Iterator[tuple[str, str]]:
    """Give what a URL brings with it: the session's cookies for it, and its own credentials."""
    cookies = None if plan.cookies_for is None else plan.cookies_for(wire.url)
    if cookies is not None:
        given = plan.settings.cookies
        named = {_cookie_name(cookie) for cookie in given}
        kept = (cookie for cookie in cookies.split("; ") if _cookie_name(cookie) not in named)
        yield "Cookie", "; ".join((*kept, *given))
    if wire.credentials is not None:
        pair = ":".join(wire.credentials).encode("utf-8")
        yield "Authorization", f"Basic {b64encode(pair).decode('ascii')}"


def _cookie_name(cookie: str) -> str:
    return cookie.partition("=")[0].strip()


class _Chain:
    """A redirect followed hop by hop under one deadline, its times added up."""

    __slots__ = ("_error", "_hops", "_origin", "_own_headers", "_plan", "request")

    def __init__(self, plan: Plan, begun: Begun, reply: Reply) -> None:
        self._plan = plan
        self._origin = wire_url(begun.request.url).origin
        self._own_headers = begun.request.headers
        self._hops = [reply]
        self._error: str | None = None
        self.request = begun.request

    async def follow(self) -> None:
        """Follow until a reply is no redirect, or must not be followed."""
        limit = self._plan.settings.max_redirects
        while self._error is None and self._leads_on(self._hops[-1]):
            if len(self._hops) > limit:
                self._error = f"more than {limit} redirects (--max-redirects)"
            else:
                await self._hop(self._hops[-1])

    @staticmethod
    def _leads_on(reply: Reply) -> bool:
        return reply.error is None and bool(reply.location) and reply.status in REDIRECTS

    async def _hop(self, reply: Reply) -> None:
        assert reply.location is not None
        try:
            there = wire_url(join(self.request.url, reply.location))
        except InvalidUrl as exc:
            self._error = f"redirect to an address that cannot be followed: {exc}"
            return
        spent_s = sum(hop.elapsed_us for hop in self._hops) / 1e6
        left_s = self._plan.settings.timeout_s - spent_s
        if left_s <= 0:
            self._hops[-1] = reply._replace(error="timeout", detail="timed out in redirects")
            return
        self.request = self._next(reply.status, there, left_s)
        self._hops.append(await self._plan.engine.exchange(self.request))

    def _next(self, status: int | None, there: WireUrl, left_s: float) -> Request:
        """Choose method, body and headers of the next hop (RFC 9110, section 15.4)."""
        method, body = self.request.method, self.request.body
        becomes_get = status == 303 or (status in (301, 302) and method == "POST")
        if becomes_get and method != "HEAD" and (method, body) != ("GET", None):
            method, body = "GET", None
            self._own_headers = tuple(
                pair for pair in self._own_headers if pair[0].lower() not in _CONTENT_HEADERS
            )
        own = there.origin == self._origin
        headers = self._own_headers if own else self._plan.profile.neutral_headers
        if body is not None and not own:  # a body that goes along is told apart by its type
            kind = (pair for pair in self._own_headers if pair[0].lower() == "content-type")
            headers = (*headers, *kind)
        return Request(there.url, method, headers, body, left_s, own)

    def total(self) -> Reply:
        """Give the last reply with the times of the whole chain."""
        hops, last = self._hops, self._hops[-1]
        return last._replace(
            error="redirects" if self._error else last.error,
            detail=self._error or last.detail,
            started_s=hops[0].started_s,
            elapsed_us=sum(hop.elapsed_us for hop in hops),
            dns_us=sum(hop.dns_us for hop in hops),
            connect_us=sum(hop.connect_us for hop in hops),
            tls_us=sum(hop.tls_us for hop in hops),
            wait_us=sum(hop.wait_us for hop in hops),
            receive_us=sum(hop.receive_us for hop in hops),
            reused=all(hop.reused for hop in hops),
        )


def conclude(plan: Plan, begun: Begun, reply: Reply, final_url: str | None = None) -> Record:
    """Make the record of an attempt that ended with ``reply``."""
    target, number, picked_s, shown, request = begun
    (
        status, error, detail, started_s, elapsed_us, dns_us, connect_us, tls_us, wait_us,
        receive_us, size, _, _, http_version, remote, reused, *_,
    ) = reply  # fmt: skip
    if error is None and status is not None and (status >= 400 or plan.settings.expect):
        error, detail = _verdict(plan.settings.expect, status, reply)
    elif error == "too_large":
        size = plan.settings.max_body_bytes  # however large the pieces were that an engine saw
    due_s = picked_s if target.due is None or number > 1 else target.due
    lag_us = int((started_s - due_s) * 1_000_000)
    return Record(
        plan.run, target.seq, shown, request.method, status, error, detail,
        _CLOCK.text(started_s), elapsed_us / 1000, dns_us / 1000, connect_us / 1000,
        tls_us / 1000, wait_us / 1000, receive_us / 1000, lag_us / 1000, size, number,
        final_url or shown, http_version, remote, reused, target.fields,
    )  # fmt: skip


_NOT_MODIFIED: Final = 304
"""It stands for a body that the client has, and brings none (RFC 9110, section 15.4.5)."""


def _verdict(
    expect: Expectations | None, status: int, reply: Reply
) -> tuple[ErrorClass | None, str | None]:
    """Judge a whole reply by its status, and by what was expected of it."""
    meets = status < 400 if expect is None else expect.meets_status(status)
    if not meets:
        if expect is None or not expect.statuses or status in RETRIED_STATUSES:
            return "http", _PHRASES.get(status) or f"HTTP {status}"
        return "unexpected", expect.fault_of_status(status)
    kept = reply.kept
    if expect is None or not expect.need_replies or kept is None or status == _NOT_MODIFIED:
        return None, None
    fault = expect.fault_of_type(kept.header("content-type"))
    fault = fault or expect.fault_of_body(kept.body.read())
    return (None, None) if fault is None else ("unexpected", fault)


def unsent(
    run: str, target: Target, method: str, error: ErrorClass, detail: str, *, attempts: int = 0
) -> Record:
    """Give the record of a target for which no request was (or could be) finished."""
    now = _CLOCK.text(time.monotonic())
    url = mask(target.url)
    return Record(
        run, target.seq, url, method, None, error, detail, now,
        0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, attempts, None, None, None, False, target.fields,
    )  # fmt: skip
