"""urllib3's connections, stamping the exchange they carry and bound by its deadline.

A thread works at one ``Exchange`` at a time; the connections find it through their ``Line``.
``--resolve`` and ``--unix-socket`` hold here, at the moment of connecting. Connections fail with
urllib3's own exceptions; the engine translates them.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util import SKIP_HEADER
from urllib3.util.ssl_ import create_urllib3_context

from crawler.engines.exchange import Exchange
from crawler.engines.http1 import StrictResponse
from crawler.errors import SessionError
from crawler.private_addresses import why_private
from crawler.settings import Settings

Address = tuple[int, Any]
"""An address family and the address as ``socket.connect`` takes it."""

_HOSTS_KNOWN: Final = 10_000
"""So many hosts' addresses are kept at once, however many a list has."""

_ADDED_BY_URLLIB3: Final = ("User-Agent", "Accept-Encoding")


class Line:
    """One engine's way out: where connections go in truth, and the exchange each thread is at.

    Raises ``SessionError`` for a ``--resolve`` address that is no IP address.
    """

    def __init__(self, settings: Settings) -> None:
        self.keepalive = settings.keepalive
        self.unix_socket = settings.unix_socket
        self.block_private = settings.block_private
        self._ttl_s = settings.dns_ttl_s
        self._known: dict[tuple[str, int], tuple[float, list[Address]]] = {}
        self._resolved = dict(_resolve_entry(entry) for entry in settings.resolve)
        self._local = threading.local()

    @property
    def exchange(self) -> Exchange:
        """The exchange of the calling thread."""
        exchange: Exchange = self._local.exchange
        return exchange

    @exchange.setter
    def exchange(self, exchange: Exchange) -> None:
        self._local.exchange = exchange

    def addresses(self, host: str, port: int) -> list[Address]:
        """Look up where to connect to. Raises ``OSError`` and ``UnicodeError`` (no host name)."""
        if self.unix_socket is not None:
            return [(socket.AF_UNIX, self.unix_socket)]
        known = self._known.get((host, port))
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        found = self._looked_up(host, port)
        if self._ttl_s:
            if len(self._known) >= _HOSTS_KNOWN:
                self._known.clear()
            self._known[host, port] = (time.monotonic() + self._ttl_s, found)
        return found

    def _looked_up(self, host: str, port: int) -> list[Address]:
        names = self._resolved.get((host.lower(), port)) or self._resolved.get(("*", port))
        found: dict[Address, None] = {}
        for name in names or (host.strip("[]"),):
            for family, _, _, _, address in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM):
                found[int(family), address] = None
        return list(found)


def _resolve_entry(entry: str) -> tuple[tuple[str, int], tuple[str, ...]]:
    """``HOST:PORT:ADDR[,ADDR]...`` as curl's option reads it."""
    host, port, rest = entry.split(":", 2)
    addresses = tuple(part.strip("[] ") for part in rest.split(","))
    for address in addresses:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            raise SessionError(f"--resolve {entry!r}: {address!r} is no IP address") from None
    return (host.lower(), int(port)), addresses


class PrivateAddressError(Exception):
    """All addresses of a host are private; ``str`` says which one and what it is."""


def _public(addresses: list[Address]) -> list[Address]:
    """Leave out private addresses; raises ``PrivateAddressError`` where none is left."""
    kinds = [(address, why_private(str(address[1][0]))) for address in addresses]
    public = [address for address, kind in kinds if kind is None]
    if not public and kinds:
        (_, address), kind = kinds[0]
        raise PrivateAddressError(f"the address {address[0]} is {kind} (--block-private)")
    return public


class _Connection(HTTPConnection):
    """A connection that stamps the exchange it carries."""

    def __init__(self, *args: Any, line: Line, **options: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **options)
        self._line = line
        self._remote: str | None = None
        self._carried = 0

    def connect(self) -> None:
        exchange = self._line.exchange
        self._carried = 0
        self._read_for(exchange)
        super().connect()
        exchange.enter("start")

    def _read_for(self, exchange: Exchange) -> None:
        keepalive = self._line.keepalive
        self.response_class = partial(  # type: ignore[assignment]
            StrictResponse, clock=exchange, keepalive=keepalive
        )

    def _new_conn(self) -> socket.socket:
        exchange = self._line.exchange
        exchange.host = self._dns_host
        exchange.enter("dns")
        try:
            addresses = self._line.addresses(self._dns_host, self.port)
        except (OSError, UnicodeError) as exc:
            raise NameResolutionError(self.host, self, _look_up_error(exc)) from exc
        exchange.enter("connect")
        if self._line.block_private:
            addresses = _public(addresses)
        try:
            sock = self._dial(exchange, addresses)
        except TimeoutError as exc:
            raise ConnectTimeoutError(self, "timed out") from exc
        except OSError as exc:
            raise NewConnectionError(self, "not connected") from exc
        self._remote = exchange.remote = _endpoint(sock)
        exchange.enter("tls" if isinstance(self, HTTPSConnection) else "start")
        return sock

    def _tunnel(self) -> None:
        exchange = self._line.exchange
        exchange.enter("tunnel")
        super()._tunnel()
        exchange.enter("tls")

    def _dial(self, exchange: Exchange, addresses: list[Address]) -> socket.socket:
        """Try one address after the other, sharing out the time there is."""
        for left, (family, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
            exchange.peer = _written(family, address)
            share_s = exchange.remaining_s() / left
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(share_s)
                for option in self.socket_options or () if family != socket.AF_UNIX else ():
                    sock.setsockopt(*option)
                sock.connect(address)
                sock.settimeout(exchange.remaining_s())
            except OSError:
                sock.close()
                if left == 1:
                    raise
            else:
                return sock
        raise OSError("there is no address to connect to")

    def request(  # type: ignore[override]
        self,
        method: str,
        url: str,
        body: Any = None,  # noqa: ANN401 - as urllib3 has it
        headers: Mapping[str, str] | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        exchange = self._line.exchange
        if self.sock is None:
            self.connect()
        exchange.reused, exchange.remote = self._carried > 0, self._remote
        self._carried += 1
        self._read_for(exchange)
        exchange.enter("send")
        self.timeout = exchange.remaining_s()
        try:
            super().request(method, exchange.target or url, body, _just(headers), **options)
        finally:
            exchange.request_sent()


class _TlsConnection(_Connection, HTTPSConnection):
    pass


def _look_up_error(exc: Exception) -> socket.gaierror:
    if isinstance(exc, socket.gaierror):
        return exc
    return socket.gaierror(socket.EAI_NONAME, "it is no host name")


def _just(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """The headers, and word to urllib3 to add none of its own."""
    named = {name.lower() for name in headers or ()}
    exact = headers.copy() if headers else {}  # type: ignore[attr-defined]
    for name in _ADDED_BY_URLLIB3:
        if name.lower() not in named:
            exact[name] = SKIP_HEADER
    return exact


def _written(family: int, address: Any) -> str:  # noqa: ANN401
    if family == socket.AF_INET6:
        return f"[{address[0]}]:{address[1]}"
    return f"{address[0]}:{address[1]}" if family == socket.AF_INET else str(address)


def _endpoint(sock: socket.socket) -> str | None:
    if sock.family == socket.AF_UNIX:
        return None
    with contextlib.suppress(OSError):
        return _written(sock.family, sock.getpeername())
    return None


class _Pool(HTTPConnectionPool):
    """A pool of such connections; a reply that says so is made on a fresh one."""

    ConnectionCls = _Connection

    def __init__(self, host: str, port: int | None = None, *, line: Line, **options: Any) -> None:  # noqa: ANN401
        super().__init__(host, port, **options)
        self._line = line
        self.conn_kw["line"] = line

    def _get_conn(self, timeout: float | None = None) -> Any:  # noqa: ANN401
        conn = super()._get_conn(timeout)
        if self._line.exchange.fresh_only:
            conn.close()
        return conn


class _TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TlsConnection

    def _validate_conn(self, conn: Any) -> None:  # noqa: ANN401
        # urllib3 warns of every unverified request here: --insecure has been asked for.
        if conn.is_closed:
            conn.connect()


def pool_classes(line: Line) -> Mapping[str, Any]:
    """Make what a ``PoolManager`` takes as its ``pool_classes_by_scheme``."""
    return {"http": partial(_Pool, line=line), "https": partial(_TlsPool, line=line)}


def tls_context(
    verify: bool | str,  # noqa: FBT001 - as requests has it
    default_bundle: str,
    cert: tuple[str, str] | str | None,
) -> ssl.SSLContext:
    """Build the TLS context that all connections share: reading a CA bundle costs 10 ms.

    Raises ``SessionError`` for files that cannot be used.
    """
    context = create_urllib3_context()
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        _load_bundle(context, verify if isinstance(verify, str) else default_bundle)
    if cert is not None:
        certificate, key = (cert, None) if isinstance(cert, str) else cert
        try:
            # A password that cannot be right, so that nobody is asked for one on the terminal.
            context.load_cert_chain(certificate, key, password="")
        except (OSError, ValueError) as exc:
            raise SessionError(
                f"client certificate {certificate!r}: {_reason(exc)}; give PEM files, the key "
                "without a password (--cert, --key)"
            ) from None
    return context


def _load_bundle(context: ssl.SSLContext, path: str) -> None:
    is_directory = os.path.isdir(path)
    try:
        context.load_verify_locations(
            cafile=None if is_directory else path, capath=path if is_directory else None
        )
    except (OSError, ValueError) as exc:
        raise SessionError(f"CA bundle {path!r}: {_reason(exc)}; give a PEM file") from None


def _reason(exc: Exception) -> str:
    return getattr(exc, "strerror", None) or getattr(exc, "reason", None) or "not usable"
