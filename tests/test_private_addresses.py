"""Addresses that ``--block-private`` refuses, and that nothing is sent to them."""

from __future__ import annotations

import socket

import pytest
import requests
from requests.adapters import HTTPAdapter

from crawler import crawl as fetch
from crawler.engines.base import Request
from crawler.engines.transport import PrivateAddressError, _public
from crawler.errors import SessionError, UsageError
from crawler.private_addresses import why_private
from crawler.settings import Settings
from tests.conftest import crawl
from tests.engine_cases import ENGINES, exchange
from tests.raw_server import OK, RawServer, answers


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"), ("127.9.9.9", "loopback"), ("::1", "loopback"),
        ("0.0.0.0", "unspecified"), ("::", "unspecified"), ("10.1.2.3", "private"),
        ("172.31.0.1", "private"), ("192.168.1.1", "private"), ("fd12::1", "private"),
        ("169.254.1.1", "link-local"), ("fe80::1%eth0", "link-local"), ("100.64.0.1", "shared"),
        ("100.127.255.255", "shared"), ("224.0.0.1", "multicast"), ("ff02::1", "multicast"),
        ("240.0.0.1", "private"), ("255.255.255.255", "private"), ("169.254.169.254", "metadata"),
        ("fd00:ec2::254", "metadata"), ("100.100.100.200", "metadata"),
        ("::ffff:127.0.0.1", "private"), ("::ffff:10.0.0.1", "private"),
        ("::127.0.0.1", "reserved"), ("192.0.0.8", "reserved"), ("192.88.99.1", "reserved"),
        ("192.0.0.192", "metadata"), ("168.63.129.16", "metadata"),
        ("64:ff9b::c000:c0", "metadata"), ("2606:4700::5efe:7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"), ("64:ff9b::7f00:1", "loopback"),
        ("64:ff9b::a9fe:a9fe", "metadata"), ("fec0::1", "private"), ("/run/sock", "no IP address"),
    ],
)  # fmt: skip
def test_what_is_not_public_is_refused(address: str, kind: str) -> None:
    """Whatever form it has, and whatever IPv6 embeds."""
    assert kind in (why_private(address) or "")


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "2606:2800:220:1::1", "100.63.255.255", "100.128.0.1",
     "172.32.0.1", "64:ff9b::808:808", "2002:808:808::1"],
)  # fmt: skip
def test_what_is_public_is_not(address: str) -> None:
    """Neighbours of private networks, and public addresses in IPv6, may be connected to."""
    assert why_private(address) is None


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "localhost", "api.test"])
def test_nothing_is_sent_to_a_private_address(name: str, host: str) -> None:
    """In whatever form the URL names it, by name or ``--resolve`` too: no connection is made."""
    with RawServer(answers(OK)) as raw:
        port = raw.url.rpartition(":")[2]
        settings = Settings(block_private=True, resolve=(f"api.test:{port}:127.0.0.1",))
        request = Request(f"http://{host}:{port}/", "GET", (), None, 5.0)
        (reply,) = exchange(name, settings, request)
        assert (reply.error, reply.status) == ("blocked", None)
        assert "--block-private" in (reply.detail or "")
        assert raw.requests == []


@pytest.mark.parametrize("engine", ["curl", "requests"])
def test_it_is_recorded_and_not_retried(engine, tmp_path) -> None:
    """One attempt, class ``blocked``."""
    with RawServer(answers(OK)) as raw:
        run = fetch([raw.url], engine=engine, processes=0, block_private=True)
        (record,) = run.records()
        assert raw.requests == []
    assert (record.error, record.attempts, record.status) == ("blocked", 1, None)


def test_a_name_with_a_public_address_goes_there_only() -> None:
    """What is private among a name's addresses is left out."""
    public = (int(socket.AF_INET), ("93.184.216.34", 80))
    private = (int(socket.AF_INET), ("10.0.0.1", 80))
    assert _public([private, public]) == [public]
    with pytest.raises(PrivateAddressError, match=r"10\.0\.0\.1 is private"):
        _public([private])


@pytest.mark.parametrize("name", ENGINES)
def test_names_are_looked_up_again_where_asked_for(name: str) -> None:
    """With ``--dns-ttl 0`` too a name leads where it does."""
    with RawServer(answers(OK), answers(OK)) as raw:
        port = raw.url.rpartition(":")[2]
        request = Request(f"http://localhost:{port}/", "GET", (), None, 5.0)
        settings = Settings(dns_ttl_s=0, keepalive=False)
        assert [reply.error for reply in exchange(name, settings, request, request)] == [None, None]


def test_a_proxy_cannot_be_seen_through(tmp_path) -> None:
    """Exit 2: it would connect for itself."""
    done = crawl("--block-private", "--proxy", "http://127.0.0.1:9", "http://a/", cwd=tmp_path)
    assert (done.returncode, "--block-private" in done.stderr) == (2, True)
    with pytest.raises(UsageError, match="--dns-ttl"):
        Settings(dns_ttl_s=-1)


class _Adapter(HTTPAdapter):
    pass


class _Sender(requests.Session):
    def send(self, *args, **options):
        return super().send(*args, **options)


def _with_proxy() -> requests.Session:
    session = requests.Session()
    session.proxies = {"http": "http://127.0.0.1:9"}
    return session


def _with_adapter() -> requests.Session:
    session = requests.Session()
    session.mount("http://", _Adapter())
    return session


@pytest.mark.parametrize("session", [_with_proxy(), _with_adapter(), _Sender()])
def test_a_session_that_connects_for_itself_is_refused(session) -> None:
    """Its connections would not be looked at: nothing is sent."""
    with RawServer(answers(OK)) as raw:
        with pytest.raises(SessionError, match="--block-private"):
            fetch([raw.url], session=session, processes=0, block_private=True)
        assert raw.requests == []


def test_proxies_of_the_environment_are_refused(monkeypatch) -> None:
    """A proxy connects for itself, whoever named it; ``no_proxy`` alone is none."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with pytest.raises(SessionError, match="unset http_proxy"):
        fetch(["http://10.0.0.1/"], processes=0, block_private=True)
    monkeypatch.delenv("http_proxy")
    monkeypatch.setenv("no_proxy", "a.test")
    run = fetch(["http://127.0.0.1:9/"], processes=0, block_private=True)
    assert [record.error for record in run.records()] == ["blocked"]


@pytest.mark.parametrize("engine", ["curl", "requests"])
def test_a_redirect_is_looked_at_too(engine, monkeypatch) -> None:
    """127.0.0.1 is taken for public here; what it leads to is not connected to."""

    def but_one(address: str) -> str | None:
        return None if address == "127.0.0.1" else why_private(address)

    monkeypatch.setattr("crawler.engines.transfer.why_private", but_one)
    monkeypatch.setattr("crawler.engines.transport.why_private", but_one)
    with RawServer(answers(OK)) as inner:
        port = inner.url.rpartition(":")[2].strip("/")
        away = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.2:{port}/\r\n"
        to = (away + "Content-Length: 0\r\n\r\n").encode()
        with RawServer(answers(to)) as outer:
            run = fetch([outer.url], engine=engine, processes=0, block_private=True)
            (record,) = run.records()
        assert inner.requests == []
    assert (record.error, record.status) == ("blocked", None)
    assert "127.0.0.2 is loopback" in (record.detail or "")


def test_no_list_is_fetched_beside_it(tmp_path) -> None:
    """Neither a list at a URL nor a sitemap, nor one that a sitemap names: nothing is asked for."""
    with RawServer(answers(OK)) as raw:
        (tmp_path / "index.xml").write_text(
            f"<sitemapindex><sitemap><loc>{raw.url}/internal</loc></sitemap></sitemapindex>"
        )
        for options in (
            ("--urls", f"{raw.url}/l.txt"),
            ("--sitemap", f"{raw.url}/s.xml"),
            ("--sitemap", "index.xml"),
        ):
            done = crawl("--block-private", *options, "--out", "none", cwd=tmp_path)
            assert (done.returncode, "--block-private" in done.stderr) == (2, True), done.stderr
        assert raw.requests == []
