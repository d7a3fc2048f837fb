"""The status page's server: read-only, on loopback unless a token guards it.

GET and HEAD, nothing else; what is asked for is looked up among what the views tell, so no path
leads out of a job's folder. On loopback only loopback's own names are answered: a page of another
site whose name was pointed here (DNS rebinding) reads nothing. A connection
carries one request and ends at a deadline, so a client that is stuck costs a thread for moments.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import itertools
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import unquote, urlsplit

from crawler.errors import UsageError
from crawler.private_addresses import is_loopback_name
from crawler.pull.answers import TEXT, Answer, Answers, Metrics, Views

_ADDRESS: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]\s]+)):([0-9]{1,5})")
_HOST: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::[0-9]{1,5})?")
_TIMEOUT_S: Final = 10.0
_DEADLINE_S: Final = 30.0
_MOST_AT_ONCE: Final = 32
_MAKING_ROOM_S: Final = 1.0
_BROKEN: Final = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: text/plain\r\n"
    b"Connection: close\r\n\r\nthe page cannot be shown; the loop's messages say why\n"
)
_GUARDS: Final = (
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)


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
        if token is not None and not token.strip():
            raise UsageError("--token is empty, and would let nobody in; is its variable set?")
        if token is None and not is_loopback_name(host):
            raise UsageError(
                f"--serve {address} is open to others: set a token with --token '${{PAGE_TOKEN}}'"
            )
        self._server = _listening(address, host, port)
        self._server.answers = Answers(views, metrics, healthy)
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
    """A thread a connection, at most so many; none of them keeps the process from its end.

    A connection carries one request, and ends at its deadline, however slowly it is fed. Where all
    places are taken the oldest connection gives up its own.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # a SYN that finds no room in five comes again a second later
    answers: Answers
    token: str | None
    only_loopback: bool

    def __init__(self, family: socket.AddressFamily, at: Any) -> None:  # noqa: ANN401
        self.address_family = family
        self._places = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self._open: dict[socket.socket, float] = {}
        """Connections and the moments of their deadlines, oldest first."""
        self._open_guard = threading.Lock()
        super().__init__(at, _Handler)

    def service_actions(self) -> None:
        """End connections past their deadlines; called between accepts."""
        with self._open_guard:
            late = [each for each, until_s in self._open.items() if until_s < time.monotonic()]
            for connection in late:
                _hang_up(connection)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        if not self._places.acquire(blocking=False):
            with self._open_guard:
                for oldest in itertools.islice(self._open, 1):
                    _hang_up(oldest)
            if not self._places.acquire(timeout=_MAKING_ROOM_S):
                self.shutdown_request(request)
                return
        with self._open_guard:
            self._open[request] = time.monotonic() + _DEADLINE_S
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401
        with self._open_guard:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401
        """Tell of a bug, to the client too; one that left, or was slow, is nobody's error."""
        exc = sys.exception()
        if exc is None or isinstance(exc, OSError):
            return
        where = traceback.extract_tb(exc.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        print(f"crawl: status page: {type(exc).__name__}: {exc} ({place})", file=sys.stderr)
        with contextlib.suppress(OSError):
            request.sendall(_BROKEN)


def _hang_up(connection: socket.socket) -> None:
    """Wake the thread that waits for a client: its connection has ended."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _listening(address: str, host: str, port: int) -> _Server:
    try:
        family, _, _, _, at = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return _Server(family, at)
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise UsageError(f"--serve {address}: {reason}; give another address or port") from None


def _path_of(target: str) -> str:
    """Give the path of a request's target, percent-decoded; one that is no URL is nowhere."""
    try:
        return unquote(urlsplit(target).path)
    except ValueError:
        return ""


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
            refusal = Answer(405, TEXT, "this page can only be read\n")
            return lambda: self._send(refusal, with_body=True, more=self._ALLOWED)
        raise AttributeError(name)

    def _answer(self, *, with_body: bool) -> None:
        path = _path_of(self.path)
        if self.server.only_loopback and not self._names_loopback():
            self._send(Answer(421, TEXT, "ask for 127.0.0.1 or localhost\n"), with_body=with_body)
        elif path == "/healthz":
            self._send(self.server.answers.health(), with_body=with_body)
        elif not self._is_allowed():
            asking = (("WWW-Authenticate", 'Basic realm="crawl pull", charset="UTF-8"'),)
            refusal = Answer(401, TEXT, "a token is needed\n")
            self._send(refusal, with_body=with_body, more=asking)
        else:
            self._send(self.server.answers.of(path), with_body=with_body)

    def _names_loopback(self) -> bool:
        match = _HOST.fullmatch(self.headers.get("Host", ""))
        return match is not None and is_loopback_name(match[1] or match[2])

    def _is_allowed(self) -> bool:
        token = self.server.token
        if token is None:
            return True
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode())
        if scheme.lower() != "basic":
            return False
        try:
            pair = base64.b64decode(given, validate=True)
        except ValueError:  # binascii.Error is one too
            return False
        return hmac.compare_digest(pair.partition(b":")[2], token.encode())

    def _send(
        self, answer: Answer, *, with_body: bool, more: Sequence[tuple[str, str]] = ()
    ) -> None:
        body = answer.body.encode("utf-8", "replace")
        self.send_response(answer.status)
        for name, value in (*_GUARDS, *more):
            self.send_header(name, value)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep no log: a token might be in it."""
