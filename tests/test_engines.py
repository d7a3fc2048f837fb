"""The shared suite: every engine makes the same of the same bytes (``engine_cases.ENGINES``)."""

from __future__ import annotations

import gzip
import os
import threading
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crawler.engines.base import Reply, Request
from crawler.settings import Settings
from tests.engine_cases import BAD, ENGINES, GOOD, HEAD, LATE, Case, exchange
from tests.raw_server import OK, Peer, RawServer, answers, closed_port, keep_answering

Run = Callable[..., list[Reply]]


@pytest.fixture(params=sorted(ENGINES))
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(settings, *requests)``: a new engine's replies to requests made in turn."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return partial(exchange, request.param)


def get(url: str, **changes: Any) -> Request:
    return Request(url, "GET", (), None, 5.0)._replace(**changes)


def check(reply: Reply, expected: dict[str, Any]) -> None:
    for field, value in expected.items():
        got = getattr(reply, field)
        right = value(got) if callable(value) else got == value
        assert right, f"{field} is {got!r}, not {value!r}, in {reply}"


def play(run: Run, case: Case) -> Reply:
    with RawServer(case.script) as server:
        request = get(
            server.url + "/", method=case.method, body=case.body, timeout_s=case.timeout_s
        )
        (reply,) = run(case.settings, request)
    return reply


@pytest.mark.parametrize("case", [*GOOD, *BAD], ids=lambda case: case.name)
def test_a_reply_is_read_by_the_letter(run: Run, case: Case) -> None:
    """What the server sent decides status, size and error; nothing is guessed or repaired."""
    check(play(run, case), dict(case.expected))


@pytest.mark.parametrize("case", LATE, ids=lambda case: case.name)
def test_the_time_out_is_total(run: Run, case: Case) -> None:
    """A reply that never ends is a timeout at its time-out, however it trickles in."""
    began = time.perf_counter()
    reply = play(run, Case(**{**vars(case), "timeout_s": 0.3}))
    assert time.perf_counter() - began < 2
    check(reply, {**case.expected, "error": "timeout"})
    assert 0.29e6 <= reply.elapsed_us <= 0.45e6


def test_a_request_is_sent_as_given(run: Run) -> None:
    """Beside the headers given, only Host is sent; case, order, repetition, bytes are kept."""
    headers = (("X-One", "1"), ("x-two", "é"), ("Cookie", "a=b; c=d"), ("X-One", "3"))
    with RawServer(keep_answering(OK)) as server:
        run(Settings(), get(f"{server.url}/a%2Fb;c?d=%C3%A9&&e", headers=headers))
        (request,) = server.requests
    line, *fields = request.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert line == b"GET /a%2Fb;c?d=%C3%A9&&e HTTP/1.1"
    assert sorted(fields) == sorted(
        [
            f"Host: 127.0.0.1:{server.port}".encode(),
            b"X-One: 1",
            "x-two: é".encode(),
            b"Cookie: a=b; c=d",
            b"X-One: 3",
        ]
    )


def test_a_host_header_given_is_the_one_sent(run: Run) -> None:
    """A user's Host header takes the place of the URL's."""
    with RawServer(keep_answering(OK)) as server:
        run(Settings(), get(server.url + "/", headers=(("Host", "other.test"),)))
    assert server.requests == [b"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n"]


def test_a_url_without_path_asks_for_the_root(run: Run) -> None:
    """An empty path is sent as / and a query stays with it (RFC 9112, section 3.2.1)."""
    with RawServer(keep_answering(OK)) as server:
        run(Settings(), get(f"{server.url}?a=b"))
    assert server.requests[0].startswith(b"GET /?a=b HTTP/1.1\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "GET", "SEARCH"])
def test_a_body_is_sent_with_its_length(run: Run, method: str) -> None:
    """A body goes with any method, as bytes, framed by Content-Length and without a type."""
    body = bytes(range(256)) * 1000
    with RawServer(keep_answering(OK)) as server:
        (reply,) = run(Settings(), get(server.url + "/", method=method, body=body))
        (request,) = server.requests
    head, _, sent = request.partition(b"\r\n\r\n")
    assert reply.error is None
    assert sent == body
    assert head.startswith(method.encode() + b" / ")
    assert b"\r\nContent-Length: 256000" in head
    assert b"content-type" not in head.lower()
    assert b"expect" not in head.lower()


def test_a_connection_is_used_again(run: Run) -> None:
    """Keep-alive: the second request costs no connection and says so."""
    with RawServer(keep_answering(OK)) as server:
        first, second = run(Settings(), *[get(server.url + "/")] * 2)
        assert server.connections == 1
    assert (first.reused, second.reused) == (False, True)
    assert first.remote == second.remote == f"127.0.0.1:{server.port}"
    assert first.connect_us > 0
    assert (second.dns_us, second.connect_us, second.tls_us) == (0, 0, 0)


@pytest.mark.parametrize(
    "reply",
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
    ],
    ids=["chunked", "204", "304", "302", "http-1.0"],
)
def test_a_reply_read_to_its_end_frees_its_connection(run: Run, reply: bytes) -> None:
    """However a reply is framed, its connection is free for the next request."""
    with RawServer(keep_answering(reply)) as server:
        replies = run(Settings(), *[get(server.url + "/")] * 3)
        assert server.connections == 1
    assert [reply.reused for reply in replies] == [False, True, True]


@pytest.mark.parametrize("extra", [b"X", b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"])
def test_bytes_beyond_a_reply_are_no_part_of_the_next(run: Run, extra: bytes) -> None:
    """A connection on which more came than the reply is not used again."""
    with RawServer(keep_answering(OK + extra)) as server:
        replies = run(Settings(), *[get(server.url + "/")] * 2)
        assert server.connections == 2
    assert [(reply.error, reply.bytes) for reply in replies] == [(None, 5), (None, 5)]


@pytest.mark.parametrize("settings", [Settings(keepalive=False)])
def test_without_keepalive_every_request_has_its_connection(run: Run, settings: Settings) -> None:
    """--no-keepalive: says so to the server and closes, even where the server would keep on."""
    with RawServer(keep_answering(OK)) as server:
        replies = run(settings, *[get(server.url + "/")] * 2)
        assert server.connections == 2
    assert [reply.reused for reply in replies] == [False, False]
    assert all(b"\r\nConnection: close\r\n" in request for request in server.requests)


def test_connection_close_is_obeyed(run: Run) -> None:
    """A server that says it will close gets the next request on a new connection."""
    reply = HEAD + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello"
    with RawServer(answers(reply)) as server:
        replies = run(Settings(), *[get(server.url + "/")] * 2)
        assert server.connections == 2
    assert [(reply.error, reply.reused) for reply in replies] == [(None, False)] * 2


def test_a_connection_closed_while_idle_is_replaced(run: Run) -> None:
    """A server may close an idle connection: the next request goes over a new one."""
    with RawServer(answers(OK)) as server:
        replies = run(Settings(), *[get(server.url + "/")] * 2, pause_s=0.1)
    assert [(reply.error, reply.reused) for reply in replies] == [(None, False)] * 2


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_closed_under_a_request_is_replaced_once(run: Run, reset: bool) -> None:
    """A used connection that closes without a byte of reply was dead: asked again on a new one."""

    def one_reply_only(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        peer.read_request()
        if reset:
            peer.reset()

    with RawServer(one_reply_only, keep_answering(OK)) as server:
        replies = run(Settings(), *[get(server.url + "/")] * 2)
        assert server.connections == 2
        assert len(server.requests) == 3
    assert [(reply.error, reply.reused) for reply in replies] == [(None, False)] * 2


def test_a_fresh_connection_that_closes_is_not_asked_again(run: Run) -> None:
    """On a new connection an empty reply is the answer: one request, no more."""
    with RawServer(answers(b"")) as server:
        (reply,) = run(Settings(), get(server.url + "/"))
    assert reply.error == "protocol"
    assert len(server.requests) == 1


def test_a_refused_connection_is_connect(run: Run) -> None:
    """Nobody listening is ``connect``, and the detail names the address."""
    port = closed_port()
    (reply,) = run(Settings(), get(f"http://127.0.0.1:{port}/"))
    assert (reply.status, reply.error) == (None, "connect")
    assert "127.0.0.1" in str(reply.detail)
    assert str(port) in str(reply.detail)


def test_an_unknown_host_is_dns(run: Run) -> None:
    """A name that does not resolve is ``dns`` (RFC 6761: .invalid never does)."""
    (reply,) = run(Settings(), get("http://nothing.invalid/"))
    assert (reply.status, reply.error) == (None, "dns")
    assert "nothing.invalid" in str(reply.detail)


def test_resolve_takes_the_place_of_dns(run: Run) -> None:
    """--resolve HOST:PORT:ADDR: connected to the address, asked for the host."""
    with RawServer(keep_answering(OK)) as server:
        settings = Settings(resolve=(f"api.invalid:{server.port}:127.0.0.1",))
        (reply,) = run(settings, get(f"http://api.invalid:{server.port}/"))
    assert (reply.error, reply.remote) == (None, f"127.0.0.1:{server.port}")
    assert f"Host: api.invalid:{server.port}\r\n".encode() in server.requests[0]


def test_a_unix_socket_takes_the_place_of_tcp(run: Run, tmp_path: Path) -> None:
    """--unix-socket: every URL is asked for over the socket."""
    path = tmp_path / "s"
    with RawServer(keep_answering(OK), unix_path=path) as server:
        (reply,) = run(Settings(unix_socket=str(path)), get("http://some.invalid/a"))
    assert (reply.error, reply.bytes) == (None, 5)
    assert server.requests == [b"GET /a HTTP/1.1\r\nHost: some.invalid\r\n\r\n"]


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="this machine has no IPv6")
def test_ipv6_is_written_in_brackets(run: Run) -> None:
    """An IPv6 peer is [address]:port in ``remote``, in Host, and in --resolve."""
    with RawServer(keep_answering(OK), host="::1") as server:
        settings = Settings(resolve=(f"six.invalid:{server.port}:[::1]",))
        plain, resolved = run(
            settings, get(server.url + "/"), get(f"http://six.invalid:{server.port}/")
        )
    assert (plain.error, plain.remote) == (None, f"[::1]:{server.port}")
    assert (resolved.error, resolved.remote) == (None, f"[::1]:{server.port}")
    assert f"Host: [::1]:{server.port}\r\n".encode() in server.requests[0]


def test_a_proxy_is_asked_for_the_whole_url(run: Run) -> None:
    """--proxy: an http URL goes to the proxy in absolute form, its credentials too."""
    with RawServer(keep_answering(OK)) as proxy:
        settings = Settings(proxy=f"http://me:pw@127.0.0.1:{proxy.port}")
        (reply,) = run(settings, get("http://target.invalid/a%2Fb?c"))
    assert reply.error is None
    assert proxy.requests[0].startswith(b"GET http://target.invalid/a%2Fb?c HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic bWU6cHc=\r\n" in proxy.requests[0]


def test_cookies_of_a_reply_are_not_kept(run: Run) -> None:
    """What a server sets goes into no later request."""
    reply = HEAD + b"Set-Cookie: a=b; Path=/\r\nContent-Length: 5\r\n\r\nhello"
    with RawServer(keep_answering(reply)) as server:
        run(Settings(), *[get(server.url + "/")] * 2)
    assert b"cookie" not in server.requests[1].lower()


def test_times_add_up(run: Run) -> None:
    """The wait is the server's, the rest of the body is receive, and no phase is counted twice."""

    def slow(peer: Peer) -> None:
        peer.read_request()
        peer.pause(0.15)
        peer.send(HEAD + b"Content-Length: 2\r\n\r\na")
        peer.pause(0.1)
        peer.send(b"b")

    began = time.monotonic()
    with RawServer(slow) as server:
        (reply,) = run(Settings(), get(server.url + "/"))
    assert 140_000 < reply.wait_us < 240_000
    assert 90_000 < reply.receive_us < 190_000
    phases = reply.dns_us + reply.connect_us + reply.wait_us + reply.receive_us
    assert phases <= reply.elapsed_us <= phases + 50_000
    assert began <= reply.started_s <= began + 1


def test_a_gzip_bomb_is_too_large_and_costs_no_memory(run: Run) -> None:
    """100 MB out of 100 KB stop at the limit, in a few pieces of memory."""
    bomb = gzip.compress(bytes(100_000_000), 9)
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    with RawServer(answers(head + bomb)) as server:
        tracemalloc.start()
        try:
            (reply,) = run(Settings(max_body_bytes=50_000_000), get(server.url + "/"))
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (reply.error, reply.status) == ("too_large", 200)
    assert reply.bytes <= 50_000_000
    assert peak_bytes < 5_000_000


def test_a_large_body_is_counted_to_the_byte(run: Run) -> None:
    """20 MB arrive whole, over one connection that is then free."""
    body = bytes(20_000_000)
    with RawServer(keep_answering(HEAD + b"Content-Length: 20000000\r\n\r\n" + body)) as server:
        replies = run(Settings(), *[get(server.url + "/", timeout_s=20)] * 2)
    assert [(reply.bytes, reply.error) for reply in replies] == [(20_000_000, None)] * 2
    assert replies[1].reused


def test_a_slow_reply_is_not_bound_by_the_connect_time_out(run: Run) -> None:
    """Once connected, only the time-out of the whole counts."""

    def slow(peer: Peer) -> None:
        peer.read_request()
        peer.pause(0.4)
        peer.send(OK)

    with RawServer(slow) as server:
        (reply,) = run(Settings(connect_timeout_s=0.2), get(server.url + "/"))
    assert (reply.error, reply.bytes) == (None, 5)


def test_no_thread_or_connection_outlives_the_engine(run: Run) -> None:
    """After ``close`` the server sees its connections closed."""
    closed = threading.Event()

    def play(peer: Peer) -> None:
        while peer.read_request():
            peer.send(OK)
        closed.set()

    with RawServer(play) as server:
        run(Settings(), get(server.url + "/"))
        assert closed.wait(2)
