"""The requests engine: a ``requests.Session`` in daemon threads, behind the ``Engine`` protocol.

For what libcurl cannot do: mounted adapters, custom authentication, response hooks, mocks. A
session's adapters and proxies hold everywhere, its credentials and hooks on the own origin only.
No cookie is kept, no redirect followed, nothing retried, but for a request on a connection that
the server had closed meanwhile, which is made once more on a fresh one (RFC 9112, section 9.3.1).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from requests.hooks import dispatch_hook
from requests.utils import get_environ_proxies
from urllib3 import HTTPHeaderDict
from urllib3.response import BaseHTTPResponse

from crawler.body import Body
from crawler.decoding import Decoder
from crawler.engines.base import Kept, Reply, Request
from crawler.engines.exchange import Exchange
from crawler.engines.faults import died_idle, translated
from crawler.engines.threads import DaemonThreads
from crawler.engines.transport import Line, pool_classes, tls_context
from crawler.errors import SessionError
from crawler.profile import ca_bundle, environment_proxies
from crawler.rate_limit import pause_asked_s
from crawler.session import profile, sends_itself
from crawler.settings import Settings

READ_BYTES: Final = 64 * 1024
GRACE_S: Final = 0.1
"""How long after its deadline a thread may still answer before it is given up as stuck."""

_SAFE_TO_REPEAT: Final = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
"""The idempotent methods (RFC 9110, section 9.2.2)."""


def _wants_socks(session: requests.Session, settings: Settings) -> bool:
    proxies = [settings.proxy or "", *map(str, session.proxies.values())]
    return any(proxy.lower().startswith("socks") for proxy in proxies)


class RequestsEngine:
    """Makes exchanges through a session in at most ``threads`` threads.

    The session itself is only read. Raises ``SessionError`` for what requests cannot do.
    """

    def __init__(self, session: requests.Session, settings: Settings, *, threads: int) -> None:
        if settings.http != "1.1":
            raise SessionError(
                f"--http {settings.http}: requests speaks HTTP/1.1 only; use --engine curl"
            )
        if _wants_socks(session, settings) and find_spec("socks") is None:
            raise SessionError(
                "a SOCKS proxy needs PySocks with --engine requests: pip install it, "
                "or use --engine curl"
            )
        self._session = session
        self._settings = settings
        self._profile = profile(session, settings)
        self._has_environment_proxies = bool(environment_proxies())
        self._line = Line(settings)
        self._threads = DaemonThreads(threads, name="crawl-requests")
        bundle = ca_bundle()
        plain = tls_context(self._profile.verify, bundle, None)
        cert = self._profile.cert
        own = plain if cert is None else tls_context(self._profile.verify, bundle, cert)
        self._adapter = _Adapter(self._line, own=own, foreign=plain, connections=threads)
        self._sends_itself = sends_itself(session)

    async def exchange(self, request: Request) -> Reply:
        """Make one request and read its reply to the end."""
        exchange = Exchange(
            timeout_s=request.timeout_s, connect_timeout_s=self._settings.connect_timeout_s
        )
        return await self._threads.call(
            lambda: self._make(request, exchange),
            left_s=lambda: exchange.left_s() + GRACE_S,
            overdue=lambda: exchange.reply(*translated(TimeoutError(), exchange)),
        )

    def close(self) -> None:
        """Close every connection. No exchange may be under way; threads are not waited for."""
        self._threads.close()
        self._adapter.close()

    def _make(self, request: Request, exchange: Exchange) -> Reply:
        """Do the whole of an exchange, in a thread. Raises only what is no doing of a server."""
        self._line.exchange = exchange
        exchange.begin()
        try:
            self._send_and_read(request, exchange)
        except Exception as exc:
            return exchange.reply(*translated(exc, exchange))
        return exchange.reply()

    def _send_and_read(self, request: Request, exchange: Exchange) -> None:
        try:
            self._once(request, exchange)
        except Exception as exc:
            if request.method not in _SAFE_TO_REPEAT or not died_idle(exc, exchange):
                raise
            exchange.start_over()
            self._once(request, exchange)

    def _once(self, request: Request, exchange: Exchange) -> None:
        prepared = self._prepared(request)
        own = request.own_origin
        options: dict[str, Any] = {
            "stream": True,
            "timeout": (
                min(exchange.remaining_s(), self._settings.connect_timeout_s),
                exchange.remaining_s(),
            ),
            "verify": self._profile.verify,
            "cert": self._profile.cert if own else None,
            "proxies": self._proxies(request.url),
        }
        if self._sends_itself:
            response = self._session.send(prepared, allow_redirects=False, **options)
        else:
            response = self._adapter_for(request.url).send(prepared, **options)
            response = dispatch_hook(  # type: ignore[no-untyped-call]
                "response", prepared.hooks, response, **options
            )
        try:
            exchange.head_read()
            self._read(request, response, exchange)
        finally:
            response.close()

    def _prepared(self, request: Request) -> requests.PreparedRequest:
        """Make the request by hand: what ``Session.prepare_request`` would add is not wanted."""
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        prepared.url = request.url
        headers = HTTPHeaderDict()
        for name, value in request.headers:
            # http.client writes latin-1; the bytes on the wire are to be UTF-8.
            headers.add(name, value.encode("utf-8", "surrogateescape").decode("latin-1"))
        if not self._settings.keepalive:
            headers.setdefault("Connection", "close")
        prepared.headers = headers  # type: ignore[assignment]
        prepared.body = request.body
        _set_length(prepared)
        if request.own_origin:
            self._authenticate(prepared)
        return prepared

    def _authenticate(self, prepared: requests.PreparedRequest) -> None:
        """Apply the session's hooks and any scheme beyond Basic, whose header is there already."""
        prepared.hooks = {event: list(hooks) for event, hooks in self._session.hooks.items()}
        auth = self._session.auth
        if not callable(auth) or type(auth) is HTTPBasicAuth:
            return
        prepared.prepare_cookies({})
        body = prepared.body
        signed = auth(prepared)
        prepared.__dict__.update(signed.__dict__)
        if prepared.body is not body:
            prepared.headers.pop("Content-Length", None)
            _set_length(prepared)

    def _adapter_for(self, url: str) -> requests.adapters.BaseAdapter:
        """The user's own adapter, or ours in place of requests' plain one."""
        adapter = self._session.get_adapter(url)
        return self._adapter if type(adapter) is HTTPAdapter else adapter

    def _proxies(self, url: str) -> dict[str, str]:
        given = self._profile.proxies
        if self._settings.unix_socket is not None:
            return {}
        if given is not None:
            pairs = zip(("http", "https"), given, strict=True)
            general = {scheme: proxy for scheme, proxy in pairs if proxy}
            return {**self._session.proxies, **general}
        if not self._has_environment_proxies:
            return {}
        proxies: dict[str, str] = get_environ_proxies(url)
        return proxies

    def _read(self, request: Request, response: requests.Response, exchange: Exchange) -> None:
        """Read the body to its end and note what a reply tells of itself."""
        headers, status = response.headers, response.status_code
        exchange.status = status
        if 300 <= status < 400:
            exchange.location = headers.get("Location")
        elif status >= 400:
            exchange.retry_after = headers.get("Retry-After")
        raw: Any = response.raw
        exchange.version = exchange.version or _VERSIONS.get(getattr(raw, "version", 0))
        coding = headers.get("Content-Encoding", "") if self._settings.compression else ""
        if self._settings.polite is not None:
            exchange.pause_s = pause_asked_s(headers.get)
        body = Body() if self._settings.keep_replies or request.keep else None
        if body is not None:
            exchange.kept = _kept(request, response, body)
        sink = None if body is None else body.write
        most = request.most_bytes
        decoder = Decoder(coding, self._settings.max_body_bytes if most is None else most, sink)
        try:
            for piece in _pieces(raw):
                decoder.feed(piece)
                exchange.remaining_s()
            decoder.finish()
        finally:
            exchange.size = decoder.size


_VERSIONS: Final = {10: "1.0", 11: "1.1"}


def _set_length(prepared: requests.PreparedRequest) -> None:
    framed = "Content-Length" in prepared.headers or "Transfer-Encoding" in prepared.headers
    if isinstance(prepared.body, str | bytes) and not framed:
        body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
        prepared.headers["Content-Length"] = str(len(body))


def _kept(request: Request, response: requests.Response, body: Body) -> Kept:
    fields = getattr(response.raw, "headers", None)
    pairs = fields.iteritems() if isinstance(fields, HTTPHeaderDict) else response.headers.items()
    status_line = f"HTTP/1.1 {response.status_code} {response.reason or ''}".rstrip()
    return Kept(request, status_line, tuple(pairs), body)


def _pieces(raw: Any) -> Iterator[bytes]:  # noqa: ANN401 - a foreign adapter may give any file
    """The body as it came, in pieces as they come in."""
    if isinstance(raw, BaseHTTPResponse):
        while piece := raw.read1(READ_BYTES, decode_content=False):
            yield piece
    elif raw is not None:
        while piece := raw.read(READ_BYTES):
            yield piece


class _Adapter(HTTPAdapter):
    """requests' adapter over our connections. It leaves ``send`` alone: mocks replace that."""

    def __init__(
        self, line: Line, *, own: ssl.SSLContext, foreign: ssl.SSLContext, connections: int
    ) -> None:
        self._line = line
        self._own = own
        self._foreign = foreign
        super().__init__(pool_connections=max(connections, 10), pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = pool_classes(self._line)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401
        if proxy not in self.proxy_manager and proxy.lower().startswith("https:"):
            options["proxy_ssl_context"] = self._foreign
        manager = super().proxy_manager_for(proxy, **options)
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = pool_classes(self._line)
        return manager

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: Any,  # noqa: ANN401
        cert: Any = None,  # noqa: ANN401
    ) -> tuple[Any, Any]:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._own if cert else self._foreign}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:  # noqa: ANN401
        """Leave the pool as it is: its TLS context holds all of it."""

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:  # noqa: ANN401
        target = super().request_url(request, proxies)
        # urllib3 would write percent-encodings anew, and break signed URLs.
        assert request.url is not None
        exact = _origin_form(request.url) if target.startswith("/") else request.url
        self._line.exchange.target = exact
        return target


def _origin_form(url: str) -> str:
    """Path and query, letter by letter (RFC 9112, section 3.2.1)."""
    path = re.sub(r"^[^:]+://[^/?#]*", "", url).partition("#")[0]
    return path if path.startswith("/") else f"/{path}"
