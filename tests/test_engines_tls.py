"""The shared suite over TLS: certificates, handshakes, tunnels (``engine_cases.ENGINES``)."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from crawler.engines.base import Reply, Request
from crawler.settings import Settings
from tests.engine_cases import ENGINES, exchange
from tests.raw_server import OK, Peer, RawServer, keep_answering

Run = Callable[..., list[Reply]]


@pytest.fixture(params=sorted(ENGINES))
def run(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(settings, *requests)``: a new engine's replies to requests made in turn."""
    for name in ("https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return partial(exchange, request.param)


def get(url: str, **changes: Any) -> Request:
    return Request(url, "GET", (), None, 5.0)._replace(**changes)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost and 127.0.0.1, with its key, in one PEM file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([openssl, *command, "-addext", names, *files], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes((folder / "cert.pem").read_bytes() + (folder / "key.pem").read_bytes())
    return both


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_self_signed_certificate_is_tls(run: Run, tls: ssl.SSLContext) -> None:
    """A certificate nobody vouches for ends the exchange before anything is sent."""
    with RawServer(keep_answering(OK), tls=tls) as server:
        (reply,) = run(Settings(), get(server.url + "/"))
    assert (reply.status, reply.error) == (None, "tls")
    assert "certificate" in str(reply.detail).lower()
    assert server.requests == []


def test_insecure_takes_any_certificate(run: Run, tls: ssl.SSLContext) -> None:
    """--insecure: fine, timed, kept alive."""
    with RawServer(keep_answering(OK), tls=tls) as server:
        first, second = run(Settings(verify_tls=False), *[get(server.url + "/")] * 2)
    assert (first.error, first.bytes, first.reused) == (None, 5, False)
    assert first.tls_us > 0
    assert (second.error, second.tls_us, second.reused) == (None, 0, True)


def test_cacert_vouches_for_a_certificate(run: Run, tls: ssl.SSLContext, certificate: Path) -> None:
    """--cacert: verified against the bundle given."""
    with RawServer(keep_answering(OK), tls=tls) as server:
        (reply,) = run(Settings(cacert=str(certificate)), get(server.url + "/"))
    assert (reply.error, reply.status) == (None, 200)


def test_a_certificate_for_another_name_is_tls(
    run: Run, tls: ssl.SSLContext, certificate: Path
) -> None:
    """A trusted certificate counts for the hosts it names only."""
    with RawServer(keep_answering(OK), tls=tls) as server:
        settings = Settings(
            cacert=str(certificate), resolve=(f"other.test:{server.port}:127.0.0.1",)
        )
        (reply,) = run(settings, get(f"https://other.test:{server.port}/"))
    assert reply.error == "tls"


@pytest.mark.parametrize("own_origin", [True, False])
def test_a_client_certificate_is_shown_to_the_own_origin_only(
    run: Run, tls: ssl.SSLContext, certificate: Path, own_origin: bool
) -> None:
    """--cert identifies the user: a server that a redirect leads to is not to see it."""
    tls.verify_mode = ssl.CERT_OPTIONAL
    tls.load_verify_locations(certificate)
    shown: list[bool] = []

    def play(peer: Peer) -> None:
        while peer.read_request():
            shown.append(peer.shows_certificate)
            peer.send(OK)

    with RawServer(play, tls=tls) as server:
        settings = Settings(cacert=str(certificate), cert=str(certificate))
        (reply,) = run(settings, get(server.url + "/", own_origin=own_origin))
    assert reply.error is None
    assert shown == [own_origin]


def test_a_tunnel_carries_https_through_a_proxy(run: Run, tls: ssl.SSLContext) -> None:
    """An https URL goes through CONNECT: the proxy sees the host, the server the request."""

    def play(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        peer.start_tls(tls)
        while peer.read_request():
            peer.send(OK)

    with RawServer(play) as proxy:
        settings = Settings(proxy=f"http://127.0.0.1:{proxy.port}", verify_tls=False)
        headers = (("X-Secret", "s"),)
        first, second = run(settings, *[get("https://target.invalid/a", headers=headers)] * 2)
    assert (first.error, first.bytes, first.reused) == (None, 5, False)
    assert (second.error, second.reused) == (None, True)
    connect, request, again = proxy.requests
    assert connect.startswith(b"CONNECT target.invalid:443 HTTP/1.")
    assert b"Secret" not in connect
    assert request == again
    assert request.startswith(b"GET /a HTTP/1.1\r\n")


def test_tls_against_a_plain_port_is_tls(run: Run) -> None:
    """A port that does not speak TLS fails the handshake."""

    def plain(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        peer.pause(0.2)

    with RawServer(plain) as server:
        (reply,) = run(Settings(), get(f"https://127.0.0.1:{server.port}/"))
    assert (reply.status, reply.error) == (None, "tls")


def test_a_handshake_cut_off_is_tls(run: Run) -> None:
    """A server that closes in the handshake fails it."""

    def cut_off(peer: Peer) -> None:
        peer.read_some()
        peer.reset()

    with RawServer(cut_off) as server:
        (reply,) = run(Settings(), get(f"https://127.0.0.1:{server.port}/"))
    assert (reply.status, reply.error) == (None, "tls")


def test_the_connect_time_out_covers_the_handshake(run: Run) -> None:
    """--connect-timeout bounds look-up, TCP and TLS together."""
    with RawServer(lambda peer: peer.hang()) as server:
        settings = Settings(connect_timeout_s=0.3)
        (reply,) = run(settings, get(f"https://127.0.0.1:{server.port}/"))
    assert (reply.status, reply.error) == (None, "timeout")
    assert 0.29e6 <= reply.elapsed_us <= 0.6e6
