"""The libcurl engine: one multi handle a worker, handles reused, times from libcurl's own clock.

All that is constant is set once on a handle; a request that looks like the handle's last one costs
a URL and a few reads. Bodies arrive raw and are decoded here, so that both engines count and fail
alike.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import pycurl

from crawler.decoding import DecodeFailed, Decoder, TooLarge
from crawler.engines.base import Reply, Request
from crawler.engines.curl_options import (
    ERRORS,
    connection_options,
    header_list,
    http2_for,
    run_options,
)
from crawler.engines.multi import CurlSelector
from crawler.record import ErrorClass
from crawler.session import Profile
from crawler.settings import Settings
from crawler.urls import mask

_VERSIONS: Final = {
    pycurl.CURL_HTTP_VERSION_1_0: "1.0",
    pycurl.CURL_HTTP_VERSION_1_1: "1.1",
    pycurl.CURL_HTTP_VERSION_2_0: "2",
    pycurl.CURL_HTTP_VERSION_3: "3",
}
_CODING_FIELD: Final = b"\ncontent-encoding:"


class CurlEngine:
    """Makes exchanges through libcurl inside the loop that ``new_event_loop`` gives.

    ``connections`` is the most exchanges that are ever under way at once.
    """

    def __init__(self, profile: Profile, settings: Settings, *, connections: int) -> None:
        self._profile = profile
        self._settings = settings
        self._idle: list[_Transfer] = []
        self._fresh: list[_Transfer] = []
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        pipelining = pycurl.PIPE_NOTHING if settings.http == "1.1" else pycurl.PIPE_MULTIPLEX
        self._multi.setopt(pycurl.M_PIPELINING, pipelining)
        self._selector = CurlSelector(
            self._multi, connections=connections, finished=_finish, before=self._stamp_fresh
        )
        self._loop = asyncio.SelectorEventLoop(self._selector)

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        """Give the loop whose selector is this engine's libcurl; one engine has one loop."""
        return self._loop

    def _stamp_fresh(self) -> None:
        """Note the true start: libcurl starts what was added only when it is driven next."""
        if self._fresh:
            now = time.monotonic()
            for transfer in self._fresh:
                transfer.started_s = now
            self._fresh.clear()

    async def exchange(self, request: Request) -> Reply:
        """Make one request and read its reply to the end."""
        idle = self._idle
        transfer = idle.pop() if idle else _Transfer(self._profile, self._settings)
        refusal = transfer.prepare(request)
        if refusal is not None:
            idle.append(transfer)
            return Reply(None, "invalid_url", refusal, time.monotonic(), 0)
        future = transfer.future = self._loop.create_future()
        self._multi.add_handle(transfer.curl)
        self._fresh.append(transfer)
        try:
            code, words = await future
        except asyncio.CancelledError:
            self._drop(transfer)
            raise
        reply = transfer.reply(code, words)
        idle.append(transfer)
        return reply

    def _drop(self, transfer: _Transfer) -> None:
        """Give up a transfer under way; its connection is closed with it."""
        if not transfer.ended:
            self._multi.remove_handle(transfer.curl)
        transfer.curl.close()

    def close(self) -> None:
        """Close every connection. No exchange may be under way."""
        for transfer in self._idle:
            transfer.curl.close()
        self._multi.close()


def _finish(curl: Any, code: int, words: str) -> None:  # noqa: ANN401 - pycurl has no types
    transfer: _Transfer = curl.transfer
    transfer.ended = True
    if not transfer.future.done():
        transfer.future.set_result((code, words))


class _Transfer:
    """One easy handle and what its current exchange has brought so far."""

    __slots__ = (
        "_body",
        "_decoder",
        "_fault",
        "_headers",
        "_limit",
        "_lines",
        "_method",
        "_own_origin",
        "_profile",
        "_settings",
        "_size",
        "_timeout_s",
        "curl",
        "ended",
        "future",
        "started_s",
    )

    future: asyncio.Future[tuple[int, str]]

    def __init__(self, profile: Profile, settings: Settings) -> None:
        self._profile = profile
        self._settings = settings
        self._limit = settings.max_body_bytes
        self._lines: list[bytes] = []
        self._size = 0
        self._decoder: Decoder | None = None
        self._fault: tuple[ErrorClass, str] | None = None
        self.started_s = 0.0
        self.ended = True
        self.curl = pycurl.Curl()
        self.curl.transfer = self
        self._reset()

    def _reset(self) -> None:
        """Set all that stays the same from request to request."""
        curl, settings = self.curl, self._settings
        curl.reset()
        self._method, self._own_origin = "GET", True
        self._body: bytes | None = None
        self._headers: tuple[tuple[str, str], ...] = ()
        self._timeout_s = -1.0
        for option, value in run_options(settings):
            curl.setopt(option, value)
        curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        curl.setopt(pycurl.WRITEFUNCTION, self._on_body)
        for option, value in connection_options(self._profile):
            curl.setopt(option, value)

    def prepare(self, request: Request) -> str | None:
        """Set what differs from the handle's last request; tell why a URL is refused, if it is."""
        curl = self.curl
        if (
            request.method != self._method
            or request.body is not self._body
            or request.own_origin != self._own_origin
        ):
            self._reset()
            self._shape(request)
        if request.headers is not self._headers:
            curl.setopt(pycurl.HTTPHEADER, header_list(request, keepalive=self._settings.keepalive))
            self._headers = request.headers
        if request.timeout_s != self._timeout_s:
            curl.setopt(pycurl.TIMEOUT_MS, max(1, round(request.timeout_s * 1000)))
            self._timeout_s = request.timeout_s
        self._lines.clear()
        self._size = 0
        self._decoder = self._fault = None
        self.ended = False
        try:
            curl.setopt(pycurl.URL, request.url)
            if self._settings.http == "2":
                curl.setopt(pycurl.HTTP_VERSION, http2_for(request.url))
            proxies = self._profile.proxies
            if proxies is not None and proxies[0] != proxies[1]:
                secure = request.url.startswith("https:")
                curl.setopt(pycurl.PROXY, proxies[secure] or "")
        except (pycurl.error, ValueError) as exc:
            return f"libcurl refuses this URL: {exc}"
        return None

    def _shape(self, request: Request) -> None:
        """Set method, body and client certificate on a handle just reset."""
        curl = self.curl
        self._method, self._body = request.method, request.body
        self._own_origin = request.own_origin
        if request.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif request.body is not None:
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(request.body))
            curl.setopt(pycurl.COPYPOSTFIELDS, request.body)
        if request.method not in ("GET", "HEAD"):
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)
        if not request.own_origin:
            curl.unsetopt(pycurl.SSLCERT)
            curl.unsetopt(pycurl.SSLKEY)

    def _on_body(self, chunk: bytes) -> int | None:
        """Count (and decode) a piece of the body; -1 makes libcurl break the transfer off."""
        if self._size == 0 and self._decoder is None:
            coding = self._content_coding()
            if coding:
                self._decoder = Decoder(coding, self._limit)
        if self._decoder is not None:
            return self._decode(self._decoder, chunk)
        self._size += len(chunk)
        if self._size <= self._limit:
            return None
        self._fault = ("too_large", f"the body is larger than {self._limit} bytes (--max-body)")
        return -1

    def _decode(self, decoder: Decoder, chunk: bytes) -> int | None:
        try:
            decoder.feed(chunk)
        except TooLarge:
            self._fault = ("too_large", f"the body is larger than {self._limit} bytes (--max-body)")
            return -1
        except DecodeFailed as exc:
            self._fault = ("protocol", str(exc))
            return -1
        finally:
            self._size = decoder.size
        return None

    def _content_coding(self) -> str:
        if not self._settings.compression:
            return ""
        if _CODING_FIELD not in b"".join(self._lines).lower():
            return ""
        return self.header("content-encoding") or ""

    def header(self, name: str) -> str | None:
        """Give a field of the final header block, joined by commas where it is repeated."""
        values: list[str] = []
        for line in self._lines:
            if line.startswith(b"HTTP/"):
                values.clear()
            key, _, value = line.partition(b":")
            if key.decode("latin-1").lower() == name:
                values.append(value.strip().decode("latin-1"))
        return ", ".join(values) if values else None

    def reply(self, code: int, words: str) -> Reply:
        """Read the handle's figures; ``code`` is libcurl's, 0 when the transfer was fine."""
        get = self.curl.getinfo
        status = get(pycurl.RESPONSE_CODE)
        total_us = get(pycurl.TOTAL_TIME_T)
        first_us = get(pycurl.STARTTRANSFER_TIME_T)
        connects = get(pycurl.NUM_CONNECTS)
        error, detail = self._outcome(code, words)
        dns_us = connect_us = tls_us = 0
        if connects:
            dns_us, connect_us, tls_us = self._connection_phases(total_us if error else 0)
        sent_us = get(pycurl.PRETRANSFER_TIME_T)
        if not first_us:
            first_us = total_us
        address = get(pycurl.PRIMARY_IP)
        return Reply(
            status or None,
            error,
            detail,
            self.started_s,
            total_us,
            dns_us,
            connect_us,
            tls_us,
            max(0, first_us - sent_us) if sent_us else 0,
            max(0, total_us - first_us),
            self._size,
            self.header("location") if 300 <= status < 400 else None,
            self.header("retry-after") if status >= 400 else None,
            _VERSIONS.get(get(pycurl.INFO_HTTP_VERSION)) if status else None,
            _endpoint(address, get(pycurl.PRIMARY_PORT)) if address else None,
            not connects and status != 0,
        )

    def _outcome(self, code: int, words: str) -> tuple[ErrorClass | None, str | None]:
        if self._fault is not None:
            return self._fault
        if code:
            return ERRORS.get(code, "protocol"), mask(words or pycurl.easy_strerror(code))
        if self._decoder is not None:
            try:
                self._decoder.finish()
            except DecodeFailed as exc:
                return "protocol", str(exc)
        return None, None

    def _connection_phases(self, ended_us: int) -> tuple[int, int, int]:
        """Give dns, connect and tls; a phase that a failure cut short lasts until its end."""
        get = self.curl.getinfo
        resolved_us = get(pycurl.NAMELOOKUP_TIME_T) or ended_us
        connected_us = get(pycurl.CONNECT_TIME_T) or ended_us
        secured_us = get(pycurl.APPCONNECT_TIME_T)
        return (
            resolved_us,
            max(0, connected_us - resolved_us),
            max(0, secured_us - connected_us) if secured_us else 0,
        )


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
