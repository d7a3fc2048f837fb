"""What only the requests engine does: sessions beyond libcurl, mocks, threads that get stuck."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import responses
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from crawler.engines.base import Reply, Request
from crawler.engines.requests import RequestsEngine
from crawler.errors import SessionError, UsageError
from crawler.settings import Settings
from tests.raw_server import OK, Peer, RawServer, answers, closed_port, keep_answering


def get(url: str, **changes: Any) -> Request:
    return Request(url, "GET", (), None, 5.0)._replace(**changes)


def run(
    *requests_made: Request,
    session: requests.Session | None = None,
    settings: Settings | None = None,
    threads: int = 4,
) -> list[Reply]:
    """Make all requests at once in one engine."""

    async def all_at_once() -> list[Reply]:
        return await asyncio.gather(*(engine.exchange(request) for request in requests_made))

    engine = RequestsEngine(session or requests.Session(), settings or Settings(), threads=threads)
    try:
        return asyncio.run(all_at_once())
    finally:
        engine.close()


def test_a_signed_url_is_sent_letter_by_letter() -> None:
    """urllib3 would write %2f as %2F, which breaks signatures over the URL."""
    with RawServer(keep_answering(OK)) as server:
        run(get(f"{server.url}/a%2fb/../c?d=%c3%a9&e=[1]"))
    assert server.requests[0].startswith(b"GET /a%2fb/../c?d=%c3%a9&e=[1] HTTP/1.1\r\n")


def sign(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
    prepared.headers["X-Signature"] = f"{prepared.method} {prepared.path_url}"
    return prepared


@pytest.mark.parametrize("own_origin", [True, False])
def test_custom_authentication_is_for_the_own_origin_only(own_origin: bool) -> None:
    """A session's auth callable signs what goes to the own origin, and nothing else."""
    session = requests.Session()
    session.auth = sign
    with RawServer(keep_answering(OK)) as server:
        run(get(server.url + "/a", own_origin=own_origin), session=session)
    assert (b"\r\nX-Signature: GET /a\r\n" in server.requests[0]) is own_origin


def test_an_auth_that_changes_the_body_gets_its_length_right() -> None:
    """A body that signing has changed is framed anew."""

    def wrap(prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        prepared.body = b"signed:" + bytes(prepared.body or b"")  # type: ignore[arg-type]
        return prepared

    session = requests.Session()
    session.auth = wrap
    with RawServer(keep_answering(OK)) as server:
        run(get(server.url + "/", method="POST", body=b"x"), session=session)
    assert server.requests[0].endswith(b"\r\n\r\nsigned:x")
    assert b"Content-Length: 8\r\n" in server.requests[0]


def test_digest_authentication_answers_the_challenge() -> None:
    """requests' digest auth works through its own hook: the reply is the second one."""
    challenge = (
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n"
        b'WWW-Authenticate: Digest realm="r", nonce="n", qop="auth"\r\n\r\n'
    )
    session = requests.Session()
    session.auth = HTTPDigestAuth("me", "pw")
    with RawServer(answers(challenge, OK)) as server:
        (reply,) = run(get(server.url + "/a"), session=session)
    assert (reply.status, reply.error, reply.bytes) == (200, None, 5)
    assert b'Authorization: Digest username="me"' in server.requests[1]


@pytest.mark.parametrize("own_origin", [True, False])
def test_response_hooks_see_replies_of_the_own_origin(own_origin: bool) -> None:
    """A session's hooks run for the own origin, as its credentials do."""
    seen: list[int] = []
    session = requests.Session()
    session.hooks["response"].append(lambda response, **_: seen.append(response.status_code))
    with RawServer(keep_answering(OK)) as server:
        run(get(server.url + "/", own_origin=own_origin), session=session)
    assert seen == ([200] if own_origin else [])


class Canned(BaseAdapter):
    """An adapter that needs no network, as a test kit or a ``file:`` adapter might."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        super().__init__()
        self._answer = answer

    def send(self, request: Any, *args: Any, **options: Any) -> requests.Response:
        response = self._answer()
        assert isinstance(response, requests.Response)
        return response

    def close(self) -> None:
        pass


def mounted(answer: Callable[[], Any]) -> requests.Session:
    session = requests.Session()
    session.mount("http://canned.test", Canned(answer))
    return session


def test_a_mounted_adapter_is_used(tmp_path: Path) -> None:
    """What a user has mounted makes the reply; without phases all of the time is wait."""
    body = tmp_path / "body"
    body.write_bytes(b"hello")

    def answer() -> requests.Response:
        time.sleep(0.05)
        response = requests.Response()
        response.status_code = 203
        response.raw = body.open("rb")
        return response

    (reply,) = run(get("http://canned.test/"), session=mounted(answer))
    assert (reply.status, reply.error, reply.bytes) == (203, None, 5)
    assert (reply.dns_us, reply.connect_us, reply.tls_us) == (0, 0, 0)
    assert 45_000 < reply.wait_us <= reply.elapsed_us


def test_a_mounted_subclass_of_httpadapter_works_over_the_network() -> None:
    """urllib3's own connections do as well, without our phases."""

    class Loud(HTTPAdapter):
        def add_headers(self, request: Any, **options: Any) -> None:
            request.headers["X-Loud"] = "yes"

    session = requests.Session()
    session.mount("http://", Loud())
    with RawServer(keep_answering(OK)) as server:
        (reply,) = run(get(server.url + "/"), session=session)
        (refused,) = run(get(f"http://127.0.0.1:{closed_port()}/"), session=session)
        (unknown,) = run(get("http://nothing.invalid/"), session=session)
    assert (reply.error, reply.bytes, reply.http_version) == (None, 5, "1.1")
    assert b"X-Loud: yes" in server.requests[0]
    assert (refused.error, unknown.error) == ("connect", "dns")


def test_a_session_with_its_own_send_keeps_it() -> None:
    """A subclass that overrides ``send`` (a cache, a recorder) is asked."""
    sent: list[str | None] = []

    class Recording(requests.Session):
        def send(self, request: Any, **options: Any) -> requests.Response:
            sent.append(request.url)
            return super().send(request, **options)

    with RawServer(keep_answering(OK)) as server:
        (reply,) = run(get(server.url + "/"), session=Recording())
    assert (reply.error, reply.bytes, sent) == (None, 5, [server.url + "/"])


def test_a_plain_adapters_own_retries_do_not_count() -> None:
    """One exchange is one request: retries are the run's, not the adapter's."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=5))
    with RawServer(answers(b"")) as server:
        (reply,) = run(get(server.url + "/"), session=session)
    assert (reply.error, len(server.requests)) == ("protocol", 1)


def test_the_session_is_left_as_it_was() -> None:
    """Neither adapters, headers nor cookies of the user's session are changed."""
    session = requests.Session()
    adapters, headers = dict(session.adapters), dict(session.headers)
    reply = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    with RawServer(keep_answering(reply)) as server:
        run(get(server.url + "/"), session=session)
    assert dict(session.adapters) == adapters
    assert dict(session.headers) == headers
    assert len(session.cookies) == 0


@pytest.mark.parametrize("version", ["2", "3"])
def test_http_2_and_3_are_refused_with_the_remedy(version: Any) -> None:
    """requests speaks HTTP/1.1 only; the error names the engine that does more."""
    with pytest.raises(SessionError, match="--engine curl"):
        RequestsEngine(requests.Session(), Settings(http=version), threads=1)


@pytest.mark.parametrize("option", ["cacert", "cert"])
def test_a_file_that_is_no_pem_is_refused(option: str, tmp_path: Path) -> None:
    """Certificates are read once, before anything is sent, and errors name the file."""
    path = tmp_path / "bad.pem"
    path.write_text("nothing")
    with pytest.raises(SessionError, match=r"bad\.pem"):
        RequestsEngine(requests.Session(), Settings(**{option: str(path)}), threads=1)  # type: ignore[arg-type]


def test_a_resolve_address_must_be_one() -> None:
    """--resolve maps to addresses, not to further names: for both engines, before anything runs."""
    with pytest.raises(UsageError, match="HOST:PORT:ADDR"):
        Settings(resolve=("a:1:b",))


class TestMocks:
    """``responses`` replaces ``HTTPAdapter.send``; the engine works through it."""

    @responses.activate
    def test_a_mocked_reply_is_a_reply(self) -> None:
        """Status, size, redirect and Retry-After come from the mock; the network is not used."""
        responses.get("http://api.test/a", body="hello", headers={"X": "y"})
        responses.get("http://api.test/b", status=302, headers={"Location": "/a"})
        responses.get("http://api.test/c", status=429, headers={"Retry-After": "7"})
        a, b, c = run(*(get(f"http://api.test/{name}") for name in "abc"))
        assert (a.status, a.error, a.bytes) == (200, None, 5)
        assert (b.status, b.location) == (302, "/a")
        assert (c.status, c.retry_after) == (429, "7")
        assert (a.dns_us, a.connect_us, a.remote, a.reused) == (0, 0, None, False)
        assert 0 <= a.wait_us <= a.elapsed_us

    @responses.activate
    def test_a_mock_sees_the_request_as_it_is(self) -> None:
        """Matchers find method, headers and body."""
        responses.post(
            "http://api.test/",
            match=[
                responses.matchers.header_matcher({"X-A": "1"}),
                responses.matchers.json_params_matcher({"n": 1}),
            ],
        )
        (reply,) = run(
            get("http://api.test/", method="POST", headers=(("X-A", "1"),), body=b'{"n": 1}')
        )
        assert (reply.status, reply.error) == (200, None)

    @pytest.mark.parametrize(
        ("raised", "error"),
        [
            (requests.ConnectionError("no"), "connect"),
            (requests.ConnectTimeout("late"), "timeout"),
            (requests.ReadTimeout("late"), "timeout"),
            (requests.exceptions.SSLError("bad"), "tls"),
            (requests.exceptions.ProxyError("bad"), "connect"),
            (requests.exceptions.ChunkedEncodingError("bad"), "protocol"),
            (requests.ConnectionError(ProtocolError("x", ConnectionResetError(104))), "protocol"),
            (requests.ConnectionError(socket.gaierror(-2, "unknown")), "dns"),
            (requests.exceptions.InvalidSchema("bad"), "invalid_url"),
            (ReadTimeoutError(None, None, "late"), "timeout"),  # type: ignore[arg-type]
            (ConnectionResetError(104, "reset"), "protocol"),
        ],
    )
    @responses.activate
    def test_an_exception_of_the_library_is_an_error_class(
        self, raised: Exception, error: str
    ) -> None:
        """Whatever requests may raise has its row in the table."""
        responses.get("http://api.test/", body=raised)
        (reply,) = run(get("http://api.test/"))
        assert (reply.status, reply.error) == (None, error)
        assert reply.detail
        assert "object at" not in reply.detail

    @responses.activate
    def test_what_is_not_mocked_is_refused_in_a_line(self) -> None:
        """responses' long explanation does not get into a record."""
        (reply,) = run(get("http://me.test/?key=secret"))
        assert reply.error == "connect"
        assert "\n" not in str(reply.detail)
        assert "secret" not in str(reply.detail)

    @responses.activate
    def test_a_bug_in_the_users_code_is_no_reply(self) -> None:
        """An exception that no server or network causes is raised."""
        responses.get("http://api.test/", body=KeyError("mine"))
        with pytest.raises(KeyError, match="mine"):
            run(get("http://api.test/"))


def test_no_secret_reaches_a_detail_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    """A proxy's password is in no error and no warning."""
    settings = Settings(proxy=f"http://me:secret@127.0.0.1:{closed_port()}")
    with caplog.at_level(logging.INFO):
        (reply,) = run(get("http://api.test/"), settings=settings)
    assert reply.error == "connect"
    assert "secret" not in str(reply.detail) + caplog.text


def test_environment_proxies_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    """http_proxy and no_proxy count where the session trusts the environment."""
    with RawServer(keep_answering(OK)) as proxy, RawServer(keep_answering(OK)) as direct:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        run(get("http://target.invalid/"), get(direct.url + "/"))
    assert [request[:26] for request in proxy.requests] == [b"GET http://target.invalid/"]
    assert len(direct.requests) == 1


def test_a_tunnel_refused_is_connect() -> None:
    """A proxy that refuses CONNECT leaves us without a connection, and says why."""
    with RawServer(answers(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as proxy:
        settings = Settings(proxy=f"http://127.0.0.1:{proxy.port}")
        (reply,) = run(get("https://target.invalid/"), settings=settings)
    assert proxy.requests[0].startswith(b"CONNECT target.invalid:443 HTTP/1.")
    assert (reply.status, reply.error) == (None, "connect")
    assert "403" in str(reply.detail)


def test_a_post_on_a_dead_connection_is_not_repeated() -> None:
    """POST is not idempotent: whether the server acted on it cannot be known (RFC 9110, 9.2.2)."""

    def one_reply_only(peer: Peer) -> None:
        peer.read_request()
        peer.send(OK)
        peer.read_request()

    async def in_turn(url: str) -> Reply:
        engine = RequestsEngine(requests.Session(), Settings(), threads=1)
        await engine.exchange(get(url))
        reply = await engine.exchange(get(url, method="POST", body=b"x"))
        engine.close()
        return reply

    with RawServer(one_reply_only, keep_answering(OK)) as server:
        reply = asyncio.run(in_turn(server.url + "/"))
    assert (reply.error, len(server.requests)) == ("protocol", 2)


def test_a_socks_proxy_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot work is told before anything is sent, with two ways out."""
    monkeypatch.setattr("crawler.engines.requests.find_spec", lambda _name: None)
    with pytest.raises(SessionError, match="PySocks"):
        RequestsEngine(requests.Session(), Settings(proxy="socks5h://127.0.0.1:1"), threads=1)
