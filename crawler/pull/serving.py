"""The status page's server: read-only, on loopback unless a token guards it.

GET and HEAD, nothing else; what is asked for is looked up among what the views tell, so no path
leads out of a job's folder. On loopback only loopback's own names are answered: a page of another
site whose name was pointed here (DNS rebinding) reads nothing. A client that is stuck costs a
thread for ten seconds, of a few.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from crawler.errors import UsageError
from crawler.private_addresses import is_loopback_name
from crawler.pull.overview import JobView
from crawler.pull.page import diff_page, job_page, jobs_page
from crawler.pull.view_values import view_value

Views = Callable[[], Sequence[JobView]]
Metrics = Callable[[Sequence[JobView]], str]

_HTML: Final = "text/html; charset=utf-8"
_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"
_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\s]+)):([0-9]{1,5})")
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::[0-9]{1,5})?")
_TIMEOUT_S: Final = 10.0
_MOST_AT_ONCE: Final = 32
_LARGEST_DIFF: Final = 5_000_000
_GUARDS: Final = (
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)


class _Answer(NamedTuple):
    status: int
    kind: str
    body: str


class StatusServer:
    """Serves the page in threads of its own, inside ``with``; ``url`` is where.

    ``address`` is HOST:PORT, port 0 a free one. Raises ``UsageError`` that names ``--serve``.
    """

    def __init__(
        self,
        address: str,
        views: Views,
        *,
        token: str | None,
        metrics: Metrics,
        healthy: Callable[[], bool],
    ) -> None:
        host, port = _host_and_port(address)
        if token is None and not is_loopback_name(host):
            raise UsageError(
                f"--serve {address} is open to others: set a token with --token '${{PAGE_TOKEN}}'"
            )
        self._server = _listening(address, host, port)
        self._server.answering = _Answering(views, metrics, healthy)
        self._server.token = token
        self._server.only_loopback = is_loopback_name(host)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="status-page", daemon=True
        )
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}/"

    def __enter__(self) -> StatusServer:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _host_and_port(address: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match[3]) > 65535:
        raise UsageError(f"--serve {address}: give HOST:PORT, as 127.0.0.1:8808 or [::1]:8808")
    return match[1] or match[2], int(match[3])


class _Server(ThreadingHTTPServer):
    """A thread a connection, at most so many; none of them keeps the process from its end."""

    daemon_threads = True
    block_on_close = False
    answering: _Answering
    token: str | None
    only_loopback: bool

    def __init__(self, family: socket.AddressFamily, at: Any) -> None:  # noqa: ANN401
        self.address_family = family
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        super().__init__(at, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """A client that left is nobody's error."""


def _listening(address: str, host: str, port: int) -> _Server:
    try:
        family, _, _, _, at = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return _Server(family, at)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise UsageError(f"--serve {address}: {reason}; give another address or port") from None


class _Answering:
    """From a path to what is to be answered."""

    def __init__(self, views: Views, metrics: Metrics, healthy: Callable[[], bool]) -> None:
        self._views = views
        self._metrics = metrics
        self._healthy = healthy

    def health(self) -> _Answer:
        return _Answer(200, _TEXT, "ok\n") if self._healthy() else _Answer(503, _TEXT, "stuck\n")

    def of(self, path: str) -> _Answer:
        views = self._views()
        if path == "/":
            return _Answer(200, _HTML, jobs_page(views, time.time()))
        if path == "/metrics":
            return _Answer(200, _METRICS, self._metrics(views))
        if path == "/api":
            return _json([view_value(view) for view in views])
        kind, _, rest = path.lstrip("/").partition("/jobs/")
        if kind == "api":
            kind, rest = "api", rest
        elif path.startswith("/jobs/"):
            kind, rest = "jobs", path.removeprefix("/jobs/")
        name, _, inner = rest.partition("/")
        view = next((view for view in views if view.name == name), None)
        if view is None or kind not in ("api", "jobs"):
            return _not_found()
        if not inner:
            return (
                _json(view_value(view))
                if kind == "api"
                else _Answer(200, _HTML, job_page(view, time.time()))
            )
        return _diff(view, inner.removeprefix("diffs/")) if kind == "jobs" else _not_found()


def _diff(view: JobView, place: str) -> _Answer:
    """Answer a diff that the view's changes name, nothing else."""
    for change in view.changes:
        if change.diff is not None and change.diff.relative_to(view.folder).as_posix() == place:
            try:
                with change.diff.open("rb") as file:
                    text = file.read(_LARGEST_DIFF).decode("utf-8", "replace")
            except OSError:
                return _not_found()
            return _Answer(200, _HTML, diff_page(view, change, text))
    return _not_found()


def _json(value: object) -> _Answer:
    return _Answer(200, _JSON, json.dumps(value, ensure_ascii=False) + "\n")


def _not_found() -> _Answer:
    return _Answer(404, _TEXT, "there is no such page; / shows all jobs\n")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "crawl"
    sys_version = ""
    timeout = _TIMEOUT_S
    _ALLOWED: ClassVar = (("Allow", "GET, HEAD"),)

    def do_GET(self) -> None:
        """Answer a page, with its body."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Answer a page, without its body."""
        self._answer(with_body=False)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - any other method there may be
        if name.startswith("do_"):
            refusal = _Answer(405, _TEXT, "this page can only be read\n")
            return lambda: self._send(refusal, with_body=True, more=self._ALLOWED, close=True)
        raise AttributeError(name)

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.server.only_loopback and not self._names_loopback():
            self._send(_Answer(421, _TEXT, "ask for 127.0.0.1 or localhost\n"), with_body=with_body)
        elif path == "/healthz":
            self._send(self.server.answering.health(), with_body=with_body)
        elif not self._is_allowed():
            asking = (("WWW-Authenticate", 'Basic realm="crawl pull", charset="UTF-8"'),)
            refusal = _Answer(401, _TEXT, "a token is needed\n")
            self._send(refusal, with_body=with_body, more=asking)
        else:
            self._send(self.server.answering.of(path), with_body=with_body)

    def _names_loopback(self) -> bool:
        match = _HOST.fullmatch(self.headers.get("Host", ""))
        return match is not None and is_loopback_name(match[1] or match[2])

    def _is_allowed(self) -> bool:
        token = self.server.token
        if token is None:
            return True
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                pair = base64.b64decode(given, validate=True)
            except binascii.Error:
                return False
            given_bytes = pair.partition(b":")[2]
        else:
            given_bytes = given.strip().encode("utf-8", "replace") if scheme == "Bearer" else b""
        return hmac.compare_digest(given_bytes, token.encode())

    def _send(
        self,
        answer: _Answer,
        *,
        with_body: bool,
        more: Sequence[tuple[str, str]] = (),
        close: bool = False,
    ) -> None:
        body = answer.body.encode("utf-8", "replace")
        self.send_response(answer.status)
        for name, value in (*_GUARDS, *more):
            self.send_header(name, value)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(body)))
        if close:  # the request's body was not read
            self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep no log: a token might be in it."""
