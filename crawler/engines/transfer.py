"""One easy handle of libcurl's, used for one exchange after another.

All that is constant is set once; a request that looks like the handle's last one costs a URL and a
few reads. Bodies arrive raw and are decoded here, so that both engines count and fail alike.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Final

import pycurl

from crawler.body import Body
from crawler.decoding import DecodeFailed, Decoder, TooLarge
from crawler.engines.base import Kept, Reply, Request
from crawler.engines.curl_options import (
    ERRORS,
    connection_options,
    header_list,
    run_options,
    url_options,
)
from crawler.private_addresses import why_private
from crawler.profile import Profile
from crawler.rate_limit import pause_asked_s
from crawler.record import ErrorClass
from crawler.settings import Settings
from crawler.urls import mask

_VERSIONS: Final = {
    pycurl.CURL_HTTP_VERSION_1_0: "1.0",
    pycurl.CURL_HTTP_VERSION_1_1: "1.1",
    pycurl.CURL_HTTP_VERSION_2_0: "2",
    pycurl.CURL_HTTP_VERSION_3: "3",
}
_CODING_FIELD: Final = b"\ncontent-encoding:"
_BLANK_LINES: Final = (b"\r\n", b"\n")
_CONNECTIONS_KNOWN: Final = 4096
_NEVER_BEGUN_US: Final = 86_400_000_000
"""No exchange takes a day: libcurl's own limit is the time-out."""
_EMPTY_BODY: Final = frozenset(("POST", "PUT", "PATCH"))
"""Methods that say ``Content-Length: 0`` where there is no body (RFC 9110, section 8.6)."""


class Connections:
    """Where each live connection leads, by libcurl's number for it; asked once a connection."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, tuple[str | None, str | None]] = {}

    def of(self, curl: Any) -> tuple[str | None, str | None]:  # noqa: ANN401 - pycurl has no types
        """Give the HTTP version and the peer, as ip:port, of a handle's last connection."""
        number = curl.getinfo(pycurl.CONN_ID)
        known = self._known.get(number)
        if known is None:
            known = self._ask(curl)
            if known[0] is not None and number >= 0:
                if len(self._known) >= _CONNECTIONS_KNOWN:
                    self._known.clear()
                self._known[number] = known
        return known

    @staticmethod
    def _ask(curl: Any) -> tuple[str | None, str | None]:  # noqa: ANN401
        version = _VERSIONS.get(curl.getinfo(pycurl.INFO_HTTP_VERSION))
        address, port = curl.getinfo(pycurl.PRIMARY_IP), curl.getinfo(pycurl.PRIMARY_PORT)
        if not address or port <= 0:  # a Unix socket has a path and no port
            return version, None
        return version, f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Transfer:
    """One easy handle and what its current exchange has brought so far."""

    __slots__ = (
        "_blocked",
        "_body",
        "_connections",
        "_decoder",
        "_fault",
        "_heeds_rates",
        "_limit",
        "_lines",
        "_own_origin",
        "_profile",
        "_request",
        "_settings",
        "_shape",
        "_size",
        "_url_matters",
        "curl",
        "done",
        "started_s",
    )

    def __init__(self, profile: Profile, settings: Settings, connections: Connections) -> None:
        self._profile = profile
        self._settings = settings
        self._connections = connections
        self._limit = settings.max_body_bytes
        self._heeds_rates = settings.polite is not None
        self._lines: list[bytes] = []
        self._size = 0
        self._decoder: Decoder | None = None
        self._request: Request | None = None
        self._body: Body | None = None
        self._blocked: str | None = None
        self._fault: tuple[ErrorClass, str] | None = None
        self._shape: tuple[Any, ...] = ()
        self._url_matters = bool(url_options("http://x/", profile, settings))
        self.started_s = 0.0
        self.done: Callable[[Reply], object] | None = None
        self.curl = pycurl.Curl()
        self.curl.transfer = self

    def prepare(self, request: Request) -> str | None:
        """Set what differs from the handle's last request; tell why a URL is refused, if it is."""
        shape = request[1:]
        if shape != self._shape:
            self._take_shape(request)
            self._shape = shape
        self._lines.clear()
        self._size = 0
        self._decoder = self._fault = self._blocked = None
        keep = self._settings.keep_replies or request.keep
        self._request, self._body = request if keep else None, None
        try:
            self.curl.setopt(pycurl.URL, request.url)
            if self._url_matters:
                for option, value in url_options(request.url, self._profile, self._settings):
                    self.curl.setopt(option, value)
        except (pycurl.error, ValueError) as exc:
            return f"libcurl refuses this URL: {exc}"
        return None

    def _take_shape(self, request: Request) -> None:
        """Set all but the URL anew."""
        curl = self.curl
        curl.reset()
        for option, value in run_options(self._settings):
            curl.setopt(option, value)
        for option, value in connection_options(self._profile, own_origin=request.own_origin):
            curl.setopt(option, value)
        curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        most = request.most_bytes
        self._limit = self._settings.max_body_bytes if most is None else most
        keep = self._settings.keep_replies or request.keep
        curl.setopt(pycurl.WRITEFUNCTION, self._on_kept_body if keep else self._on_body)
        if self._settings.block_private:
            curl.setopt(pycurl.OPENSOCKETFUNCTION, self._open_socket)
        curl.setopt(pycurl.TIMEOUT_MS, max(1, round(request.timeout_s * 1000)))
        curl.setopt(pycurl.HTTPHEADER, header_list(request, keepalive=self._settings.keepalive))
        body = b"" if request.body is None and request.method in _EMPTY_BODY else request.body
        if request.method == "HEAD":
            curl.setopt(pycurl.NOBODY, 1)
        elif body is not None:
            curl.setopt(pycurl.POST, 1)
            curl.setopt(pycurl.POSTFIELDS, body)
        if request.method not in ("GET", "HEAD") or (body is not None and request.method == "GET"):
            curl.setopt(pycurl.CUSTOMREQUEST, request.method)

    def _open_socket(self, _purpose: int, address: Any) -> Any:  # noqa: ANN401
        """Open a socket to a public address only: nothing is sent to any other."""
        kind = why_private(address.addr[0])
        if kind is None:
            return socket.socket(address.family, address.socktype, address.protocol)
        self._blocked = f"the address {address.addr[0]} is {kind} (--block-private)"
        return pycurl.SOCKET_BAD

    def _on_body(self, chunk: bytes) -> int | None:
        """Count (and decode) a piece of the body; -1 makes libcurl break the transfer off."""
        size = self._size
        decoder = self._decoder
        if size == 0 and decoder is None and _CODING_FIELD in b"".join(self._lines).lower():
            decoder = self._decoder = self._new_decoder()
        if decoder is not None:
            return self._decode(decoder, chunk)
        self._size = size = size + len(chunk)
        if size <= self._limit:
            return None
        self._fault = ("too_large", str(TooLarge(self._limit)))
        return -1

    def _on_kept_body(self, chunk: bytes) -> int | None:
        """Keep a piece of the body, decoded; -1 makes libcurl break the transfer off."""
        if self._body is None:
            self._body = Body()
        verdict = self._on_body(chunk)
        if verdict is None and self._decoder is None:
            self._body.write(chunk)
        return verdict

    def _kept(self) -> Kept | None:
        """Give the reply as it came, where replies are kept and a head was read."""
        if self._request is None or not self._lines:
            return None
        lines = self._lines
        start = len(lines) - 1
        while start and not lines[start].startswith(b"HTTP/"):
            start -= 1
        headers: list[tuple[str, str]] = []
        for line in lines[start + 1 :]:
            name, _, value = line.decode("latin-1").partition(":")
            if not (name := name.strip()):
                break
            headers.append((name, value.strip()))
        status_line = lines[start].decode("latin-1").rstrip("\r\n")
        return Kept(self._request, status_line, tuple(headers), self._body or Body())

    def _pause_s(self) -> float | None:
        head = b"".join(self._lines).lower()  # few servers say anything of rates
        if b"ratelimit" not in head and b"rate-limit" not in head:
            return None
        return pause_asked_s(self._header)

    def _decode(self, decoder: Decoder, chunk: bytes) -> int | None:
        try:
            decoder.feed(chunk)
        except TooLarge as exc:
            self._fault = ("too_large", str(exc))
            return -1
        except DecodeFailed as exc:
            self._fault = ("protocol", str(exc))
            return -1
        finally:
            self._size = decoder.size
        return None

    def _new_decoder(self) -> Decoder | None:
        coding = self._header("content-encoding") if self._settings.compression else None
        sink = None if self._body is None else self._body.write
        return Decoder(coding, self._limit, sink) if coding else None

    def _header(self, name: str) -> str | None:
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
        first_us = get(pycurl.STARTTRANSFER_TIME_T) or total_us
        sent_us = get(pycurl.PRETRANSFER_TIME_T) or first_us
        connects = get(pycurl.NUM_CONNECTS)
        error: ErrorClass | None = None
        detail: str | None = None
        dns_us = connect_us = tls_us = 0
        if code or self._fault is not None or self._decoder is not None or not self._size:
            error, detail = self._outcome(code, words)
        if code and total_us > _NEVER_BEGUN_US:
            # libcurl failed before it started its clock, and gives the time since it was zero
            total_us = first_us = sent_us = 0
        if connects or not status:
            dns_us, connect_us, tls_us = self._connection_phases(total_us if error else 0)
            # On a new connection libcurl may stamp "about to send" as late as it starts to read.
            sent_us = dns_us + connect_us + tls_us
        version, remote = self._connections.of(self.curl)
        return Reply(
            status or None,
            error,
            detail,
            self.started_s,
            total_us,
            dns_us,
            connect_us,
            tls_us,
            first_us - sent_us if first_us > sent_us else 0,
            total_us - first_us if total_us > first_us else 0,
            self._size,
            self._header("location") if 300 <= status < 400 else None,
            self._header("retry-after") if status >= 400 else None,
            version if status else None,
            remote,
            not connects and status != 0,
            None if self._request is None else self._kept(),
            self._pause_s() if self._heeds_rates else None,
        )

    def _outcome(self, code: int, words: str) -> tuple[ErrorClass | None, str | None]:
        if self._fault is not None:
            return self._fault
        if code == pycurl.E_COULDNT_CONNECT and self._blocked is not None:
            return "blocked", self._blocked
        if code:
            return ERRORS.get(code, "protocol"), mask(words or pycurl.easy_strerror(code))
        if self._decoder is not None:
            try:
                self._decoder.finish()
            except DecodeFailed as exc:
                return "protocol", str(exc)
        elif not self._size and not any(blank in self._lines for blank in _BLANK_LINES):
            return "protocol", "the connection was closed within the reply's header"
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
