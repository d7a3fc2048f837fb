"""The status page: what it shows, to whom, and what it refuses; in Chromium without any script."""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from crawler.errors import UsageError
from crawler.pull import serving
from crawler.pull.baseline import drift
from crawler.pull.metrics import to_metrics
from crawler.pull.overview import AlertView, Change, JobView, TargetView
from crawler.pull.serving import StatusServer
from crawler.pull.state import RunState
from tests.browser import Browser

HOSTILE = "http://h/<script>alert(1)</script>\u202e\x1b[31m"
TIMES = tuple(10.0 + n % 5 for n in range(40))


def _target(key: str, **more: Any) -> TargetView:
    now = time.time()
    usual: dict[str, Any] = {
        "key": key, "page": 1, "latest": None, "tried_at": now, "succeeded_at": now - 60,
        "changed_at": now - 3600, "failing_since": None, "failures": 0, "error": None,
        "detail": None, "status": 200, "latencies_ms": TIMES, "p95_ms": 14.0,
        "baseline_p95_ms": 13.5, "drift": drift(TIMES), "versions": 3, "cursor": None,
    }  # fmt: skip
    return TargetView(**(usual | more))


def _view(folder: Path, name: str = "prices", **more: Any) -> JobView:
    (folder / "versions").mkdir(exist_ok=True)
    diff = folder / "versions" / "a b.diff"
    diff.write_text(
        "--- before\n+++ after\n@@ -1 +1 @@\n-<b>old</b>\n+<script>new</script>\n same\n"
    )
    now = time.time()
    failing = _target(
        HOSTILE, failures=3, failing_since=now - 900, error="http", detail="HTTP <503>"
    )
    usual: dict[str, Any] = {
        "path": folder / f"{name}.toml", "folder": folder, "next_at": now + 300,
        "last": RunState("r", now - 60, now - 59, 1, 2, 1, None),
        "targets": (_target("http://api.test/v1/prices"), failing),
        "alerts": (AlertView(rule="failures", subject=HOSTILE, since=now - 900),),
        "changes": (
            Change(key="http://api.test/v1/prices", at=now - 3600, place=folder / "v.json",
                   diff=diff, bytes=2048, added=2, removed=1),
        ),
    }  # fmt: skip
    return JobView(name=name, **(usual | more))


def _serve(views: Sequence[JobView], token: str | None = None, **more: Any) -> StatusServer:
    return StatusServer(
        more.pop("address", "127.0.0.1:0"),
        lambda name: [view for view in views if name in (None, view.name)],
        token=token,
        metrics=to_metrics,
        healthy=more.pop("healthy", lambda: True),
    )


@pytest.fixture(name="url")
def _url(tmp_path: Path) -> Iterator[str]:
    with _serve([_view(tmp_path), _view(tmp_path, "never", last=None, targets=())]) as server:
        yield server.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_reads_well_without_scripts(
    url: str, browser: Browser, scheme: str, width: int
) -> None:
    """On a phone and on a screen, in light and dark: all is told, nothing sticks out."""
    browser.open(url, width=width, scheme=scheme, script=False)
    text = browser.value("document.body.innerText")
    told = (
        *("prices", "1 changed, 2 unchanged, 1 failed", "next in 5 min", "3 in a row"),
        *("http: HTTP <503>", "failures:", "not pulled yet", "14.0 ms", "+2 −1"),
    )
    for words in told:
        assert words in text, words
    wide = browser.value("document.documentElement.scrollWidth")
    assert wide <= width
    assert browser.value("document.scripts.length") == 0
    assert browser.value("document.querySelectorAll('svg[role=img][aria-label]').length") == 2
    assert browser.value("document.querySelectorAll('th:not([scope])').length") == 0
    assert browser.complaints() == []
    assert [request for request in browser.requests() if request != url] == []


def test_text_can_be_read_on_its_ground(url: str, browser: Browser) -> None:
    """Ink and paper differ in both schemes: each follows the reader's."""
    for scheme, dark in (("light", False), ("dark", True)):
        browser.open(url, scheme=scheme, script=False)
        ground = browser.value("getComputedStyle(document.body).backgroundColor")
        red = int(ground.split("(")[1].split(",")[0])
        assert (red < 128) == dark


def test_what_is_hostile_is_shown_as_text(url: str) -> None:
    """No markup, no control character and no mark that turns writing comes through."""
    text = requests.get(url, timeout=5).text
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_a_diff_is_shown_line_by_line(url: str, browser: Browser) -> None:
    """The page links to it; what was added and removed is marked, and text stays text."""
    browser.open(url, script=False)
    link = browser.value("document.querySelector('li a').href")
    browser.open(link, script=False)
    assert browser.value("document.querySelector('.added').textContent") == "+++ after"
    assert "<script>new</script>" in browser.value("document.querySelector('pre').innerText")
    assert browser.complaints() == []


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/none",
        "/jobs/prices/diffs/versions/none.diff",
        "/jobs/prices/diffs/../prices.toml",
        "/jobs/prices/diffs/%2e%2e/prices.toml",
        "/jobs/prices/diffs//etc/passwd",
        "/jobs/prices/other",
        "/api/jobs/none",
        "/api/jobs/prices/diffs/versions/a%20b.diff",
        "/etc/passwd",
        "/x/jobs/prices",
    ],
)
def test_nothing_else_is_there(url: str, path: str) -> None:
    """Whatever is asked for beside what the page links to: 404."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=5)
    connection.request("GET", path)
    assert connection.getresponse().status == 404
    connection.close()


def test_the_api_tells_all_views(url: str) -> None:
    """As JSON: moments in UTC, units in names, paths of the job's folder."""
    views = requests.get(f"{url}api", timeout=5).json()
    assert [view["name"] for view in views] == ["prices", "never"]
    one = requests.get(f"{url}api/jobs/prices", timeout=5).json()
    assert one.keys() == views[0].keys()
    assert one["targets"][1]["failures"] == 3
    assert one["targets"][0]["p95_ms"] == 14.0
    assert one["changes"][0]["diff"] == "versions/a b.diff"
    assert one["last"]["started"].endswith("Z")
    assert requests.get(f"{url}jobs/prices", timeout=5).status_code == 200


def test_metrics_and_health(url: str, tmp_path: Path) -> None:
    """OpenMetrics for a scraper; 503 where the loop is stuck."""
    reply = requests.get(f"{url}metrics", timeout=5)
    assert reply.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert reply.text.endswith("# EOF\n")
    assert requests.get(f"{url}healthz", timeout=5).text == "ok\n"
    with _serve([], healthy=lambda: False) as server:
        assert requests.get(f"{server.url}healthz", timeout=5).status_code == 503


def test_it_can_only_be_read(url: str) -> None:
    """Other methods are refused, HEAD has no body, and what guards a page is sent with all."""
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FOO"):
        reply = requests.request(method, url, data=b"x" * 100, timeout=5)
        assert (reply.status_code, reply.headers["Allow"]) == (405, "GET, HEAD")
    reply = requests.head(url, timeout=5)
    assert (reply.status_code, reply.content) == (200, b"")
    assert int(reply.headers["Content-Length"]) > 1000
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    assert "script-src" not in reply.headers["Content-Security-Policy"]
    assert reply.headers["Server"].strip() == "crawl"


def test_only_loopback_s_own_names_are_answered(url: str) -> None:
    """A name of another site that points here reads nothing (DNS rebinding)."""
    for host, status in (("evil.test", 421), ("localhost:1", 200), ("[::1]:2", 200), ("", 421)):
        reply = requests.get(url, headers={"Host": host}, timeout=5)
        assert reply.status_code == status, host


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        ("Bearer t0ken", 200),
        ("bearer t0ken", 200),
        ("Bearer wrong", 401),
        ("Bearer ", 401),
        ("Basic dXNlcjp0MGtlbg==", 200),
        ("Basic dXNlcjp3cm9uZw==", 401),
        ("Basic !", 401),
        ("Digest t0ken", 401),
    ],
)
def test_a_token_guards_it(tmp_path: Path, given: str | None, status: int) -> None:
    """As Bearer or as Basic's password; health needs none."""
    with _serve([_view(tmp_path)], token="t0ken") as server:
        headers = {} if given is None else {"Authorization": given}
        for path in ("", "api", "metrics"):
            reply = requests.get(server.url + path, headers=headers, timeout=5)
            assert reply.status_code == status
            assert "t0ken" not in reply.text
            assert ("WWW-Authenticate" in reply.headers) == (status == 401)
        assert requests.get(f"{server.url}healthz", timeout=5).status_code == 200


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("0.0.0.0:0", "is open to others"),
        ("8808", "give HOST:PORT"),
        (":8808", "give HOST:PORT"),
        ("127.0.0.1:99999", "give HOST:PORT"),
        ("no.such.host.test:1", "is open to others"),
        ("127.0.0.1:x", "give HOST:PORT"),
    ],
)
def test_an_address_that_cannot_be_is_refused(address: str, said: str) -> None:
    """With --serve named; beyond loopback a token is needed."""
    with pytest.raises(UsageError, match=said) as error:
        _serve([], address=address)
    assert "--serve" in str(error.value)


def test_a_port_in_use_is_refused() -> None:
    """Not taken over, not another one in silence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}: .*in use"):
            _serve([], address=f"127.0.0.1:{port}")


def test_a_view_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """The error stands where the job's figures would."""
    view = JobView(
        name="x", path=tmp_path / "x.toml", folder=tmp_path, error="state.db: the state is damaged"
    )
    with _serve([view]) as server:
        assert "the state is damaged" in requests.get(server.url, timeout=5).text


def test_stuck_clients_hold_up_nobody(url: str) -> None:
    """More than there are places for, idle, and some kept after a reply: the page is answered."""
    at = (urlsplit(url).hostname, urlsplit(url).port)
    silent = [socket.create_connection(at, timeout=5) for _ in range(80)]
    for each in silent[::2]:
        each.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    try:
        began = time.monotonic()
        for _ in range(5):
            assert requests.get(url, timeout=5).status_code == 200
        assert time.monotonic() - began < 4
    finally:
        for each in silent:
            each.close()


def test_a_connection_ends_at_its_deadline(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is fed: a byte now and then keeps no thread for ever."""
    monkeypatch.setattr(serving, "_DEADLINE_S", 1.0)
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=5) as raw:
        began, ended = time.monotonic(), False
        raw.sendall(b"GET / HTTP/1.1\r\n")
        while not ended and time.monotonic() - began < 8:
            try:
                raw.sendall(b"X-Drip: 1\r\n")
            except OSError:
                ended = True
            time.sleep(0.05)
    assert ended
    assert 0.9 < time.monotonic() - began < 6


def test_a_bug_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Status 500 for the client, one line that names it and its place for whoever runs the loop."""

    def broken(_: str | None) -> list[JobView]:
        raise KeyError("no such thing")

    with StatusServer(
        "127.0.0.1:0", broken, token=None, metrics=to_metrics, healthy=lambda: True
    ) as server:
        assert requests.get(server.url, timeout=5).status_code == 500
        assert requests.get(f"{server.url}healthz", timeout=5).status_code == 200
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "KeyError: 'no such thing' (test_pull_page.py:" in said


@pytest.mark.parametrize("token", ["", "  "])
def test_an_empty_token_is_refused(token: str) -> None:
    """It would guard nothing."""
    with pytest.raises(UsageError, match="--token is empty"):
        _serve([], token=token)


def test_only_what_is_asked_for_is_looked_at(tmp_path: Path) -> None:
    """Of many jobs one, and nothing for a page that is none: a look may take seconds."""
    asked = list[str | None]()

    def views(name: str | None) -> list[JobView]:
        asked.append(name)
        return [_view(tmp_path)]

    with StatusServer(
        "127.0.0.1:0", views, token=None, metrics=to_metrics, healthy=lambda: True
    ) as server:
        for path in ("jobs/prices", "api/jobs/prices", "nothing", "jobs/", "metrics"):
            requests.get(server.url + path, timeout=5)
    assert asked == ["prices", "prices", None]


@pytest.mark.parametrize("more", ["Authorization: Basic \xff", "X: 1"])
def test_what_cannot_be_read_is_refused_quietly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], more: str
) -> None:
    """A client that knows no token writes no lines on our stderr."""
    with _serve([_view(tmp_path)], token="t") as server:
        at = (urlsplit(server.url).hostname, urlsplit(server.url).port)
        with socket.create_connection(at, timeout=5) as raw:
            head = f"GET http://[/ HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n\r\n"
            raw.sendall(head.encode("latin-1"))
            assert raw.recv(100).split()[1] == b"401"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("sent", [b"\0\n\n", b"GET / HTTP/9.9\r\n\r\n", b"GET " + b"x" * 70_000])
def test_odd_requests_are_refused(url: str, sent: bytes) -> None:
    """With a status of 400 or above, or a closed connection; the server goes on."""
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=5) as raw:
        raw.sendall(sent + b"\r\n\r\n")
        reply = raw.recv(100)
    assert not reply or reply.split()[1][:1] in (b"4", b"5") or b"<!DOCTYPE" in reply
    assert requests.get(url, timeout=5).status_code == 200
