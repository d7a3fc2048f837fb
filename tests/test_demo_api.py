"""The demo API over real sockets, its parser in whatever pieces, its data as shipped."""

from __future__ import annotations

import csv
import gzip
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import zlib
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.utils import parsedate_to_datetime
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.demo_api import KNOBS_HELP, BadRequest, DemoServer, RequestParser
from crawler.demo_pages import PAGES, Counts, load_novels
from crawler.demo_values import KnobError, delay_s, duration_s
from crawler.errors import CrawlError, UsageError

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture(scope="module")
def demo() -> Iterator[DemoServer]:
    with DemoServer.start() as server:
        yield server


class Got(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(demo: DemoServer, target: str, method: str = "GET", **more: Any) -> Got:
    connection = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=10)
    try:
        connection.request(method, target, **more)
        reply = connection.getresponse()
        return Got(reply.status, reply.headers, reply.read())
    finally:
        connection.close()


def raw(demo: DemoServer, sent: bytes) -> bytes:
    """All that comes back on one connection, until the server ends it."""
    with socket.create_connection(("127.0.0.1", demo.port), timeout=10) as client:
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(65536), b""))


def wait_for(condition: Any, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not (reached := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return bool(reached)


# The data


def test_the_data_set_is_what_the_demo_promises() -> None:
    """At least 120 distinct novels, 30 and more of them Chinese, each with all five facts."""
    novels = [json.loads(line) for line in (DATA / "novels.jsonl").read_text("utf-8").splitlines()]
    assert len({(novel["title"], novel["author"]) for novel in novels}) == len(novels) >= 120
    assert [novel["id"] for novel in novels] == list(range(1, len(novels) + 1))
    assert all(
        novel.keys() == {"id", "title", "author", "year", "language"}
        and isinstance(novel["year"], int)
        for novel in novels
    )
    chinese = {novel["title"] for novel in novels if novel["language"] == "zh"}
    assert len(chinese) >= 30
    assert {"红楼梦", "西游记", "三国演义", "水浒传"} <= chinese


def test_every_name_of_the_list_finds_something(demo: DemoServer) -> None:
    """names.txt holds 2,000 distinct names, a comment and a blank line; the API knows each name."""
    lines = (DATA / "names.txt").read_text("utf-8").splitlines()
    names = [line for line in lines if line and not line.startswith("#")]
    assert len(lines) == 2002
    assert len(set(names)) == len(names) == 2000
    connection = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=10)
    for name in names:
        connection.request("GET", f"/novelSearchApi?name={quote(name)}")
        assert json.loads(connection.getresponse().read())["count"] > 0, name
    connection.close()


def test_the_csv_names_the_novels() -> None:
    """names.csv has a row for each novel: name, author, year."""
    with (DATA / "names.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["name", "author", "year"]
    assert {"name": "红楼梦", "author": "曹雪芹", "year": "1791"} in rows
    assert len(rows) == len(load_novels())


def test_a_missing_data_set_is_our_error(tmp_path: Path) -> None:
    """Without its data set the demo says which file is missing; the first place found is taken."""
    absent, there = tmp_path / "absent.jsonl", tmp_path / "there.jsonl"
    with pytest.raises(CrawlError, match=r"absent\.jsonl"):
        load_novels([absent])
    there.write_text('{"id": 7, "title": "T", "author": "A", "year": 1}\n')
    assert list(load_novels([absent, there])) == ["7"]


# Pages


@pytest.mark.parametrize(
    ("name", "title"), [("红楼", "红楼梦"), ("pRIDE and", "Pride and Prejudice"), ("éMILE", "Nana")]
)
def test_search_finds_parts_in_any_case(demo: DemoServer, name: str, title: str) -> None:
    """A search takes parts of titles and authors, whatever their case, and repeats the name."""
    got = ask(demo, f"/novelSearchApi?name={quote(name)}")
    assert got.status == 200
    assert got.headers["Content-Type"] == "application/json"
    assert got.json["name"] == name
    assert got.json["count"] == len(got.json["results"])
    assert title in {novel["title"] for novel in got.json["results"]}


def test_search_without_a_find_or_a_name(demo: DemoServer) -> None:
    """An unknown name is a fine answer of none; a missing one is the client's error."""
    assert ask(demo, "/novelSearchApi?name=zzz").json == {"name": "zzz", "count": 0, "results": []}
    missing = ask(demo, "/novelSearchApi")
    assert (missing.status, "name is missing" in missing.json["error"]) == (400, True)


def test_a_novel_by_its_id(demo: DemoServer) -> None:
    """A novel is found by its id; an id and a path that are unknown give 404."""
    assert ask(demo, "/novel/1").json["title"] == "红楼梦"
    assert ask(demo, "/novel/0").status == 404
    assert ask(demo, "/nothing").status == 404
    assert ask(demo, "/novel/1/2").status == 404


def test_pages_lead_to_all_novels(demo: DemoServer) -> None:
    """Following Link rel=next, which JSON next repeats, shows each novel once, in order."""
    seen, target = [], "/pages?per_page=100"
    while target:
        got = ask(demo, target)
        seen += [novel["id"] for novel in got.json["results"]]
        after = got.json["next"]
        assert got.headers["Link"] == (f'<{after}>; rel="next"' if after else None)
        target = after and after.removeprefix(demo.url)
    assert seen == list(range(1, len(load_novels()) + 1))


@pytest.mark.parametrize("code", [200, 201, 204, 304, 404, 429, 503, 599])
@pytest.mark.parametrize("target", ["/status/{}", "/health?status={}"])
def test_any_status_can_be_asked_for(demo: DemoServer, target: str, code: int) -> None:
    """A status by path or by parameter is the reply's; 204 and 304 have no body and no length."""
    got = ask(demo, target.format(code))
    assert got.status == code
    assert (got.body == b"") == (got.headers["Content-Length"] is None) == (code in (204, 304))


def test_retry_after(demo: DemoServer) -> None:
    """429 says when to come back: in seconds, or at a date that lies 1 to 2 s ahead."""
    got = ask(demo, "/429?retry_after=2")
    assert (got.status, got.headers["Retry-After"]) == (429, "2")
    before = time.time()
    date = ask(demo, "/429?retry_after=date").headers["Retry-After"]
    assert before + 1 <= parsedate_to_datetime(date).timestamp() <= time.time() + 2
    assert ask(demo, "/429").headers["Retry-After"] is None


def test_the_first_requests_for_a_key_fail(demo: DemoServer) -> None:
    """``times=2&key=K``: the first two requests for K fail with the status, each key on its own."""
    flaky = "/flaky?times=2&status=502&retry_after=1&key="
    got = [ask(demo, flaky + key) for key in "aaabaabb"]
    assert [one.status for one in got] == [502, 502, 200, 502, 200, 200, 502, 200]
    assert [one.headers["Retry-After"] for one in got[:3]] == ["1", "1", None]
    assert [ask(demo, "/429?times=1").status for _ in range(2)] == [429, 200]


def test_failures_come_with_their_probability(demo: DemoServer) -> None:
    """``fail=p`` fails that share of requests, none for 0 and all for 1, seeded ones repeatably."""
    assert ask(demo, "/health?fail=0").status == 200
    assert ask(demo, "/health?fail=1").status == 503
    targets = [f"/health?fail=0.3&seed=1&n={n}" for n in range(200)]
    first = [ask(demo, target).status for target in targets]
    assert 30 < first.count(503) < 90
    with DemoServer.start() as other:
        assert [ask(other, target).status for target in reversed(targets)] == first[::-1]


def test_etag(demo: DemoServer) -> None:
    """A tag that the client holds, in a list or weak, gives 304 and no body."""
    assert ask(demo, "/etag/a1").headers["ETag"] == '"a1"'
    for known, status in [('"a1"', 304), ('"x", W/"a1"', 304), ("*", 304), ('"a"', 200)]:
        got = ask(demo, "/etag/a1", headers={"If-None-Match": known})
        assert (got.status, got.body == b"") == (status, status == 304), known


def test_redirects(demo: DemoServer) -> None:
    """A chain of n relative redirects ends in 200 and keeps its parameters."""
    target, hops = "/redirect/3?x=%E7%BA%A2", 0
    while (got := ask(demo, target)).status == 302:
        location = got.headers["Location"]
        assert location.startswith("/redirect/")
        parts = urlsplit(urljoin(demo.url + target, location))
        target, hops = f"{parts.path}?{parts.query}", hops + 1
    assert (got.status, hops, target) == (200, 3, "/redirect/0?x=%E7%BA%A2")
    there = ask(demo, "/redirect-to?url=ftp%3A%2F%2Fhost%2F&status=307")
    assert (there.status, there.headers["Location"]) == (307, "ftp://host/")
    assert ask(demo, "/redirect-to?url=%0d%0aX%3a1").status == 400


def test_codings(demo: DemoServer) -> None:
    """Packed replies say their coding and unpack to the JSON."""
    packed = ask(demo, "/gzip")
    assert (packed.headers["Content-Encoding"], json.loads(gzip.decompress(packed.body))) == (
        "gzip",
        {"gzip": True, "method": "GET"},
    )
    packed = ask(demo, "/deflate")
    assert packed.headers["Content-Encoding"] == "deflate"
    assert json.loads(zlib.decompress(packed.body))["deflate"] is True


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 5_000_000])
@pytest.mark.parametrize("chunked", [0, 1])
def test_bytes_have_the_size_asked_for(demo: DemoServer, size: int, chunked: int) -> None:
    """A reply of n bytes has n bytes, with a length or in chunks; HEAD has none of them."""
    got = ask(demo, f"/bytes/{size}?chunked={chunked}")
    assert len(got.body) == size
    assert got.headers["Content-Length"] == (None if chunked else str(size))
    assert ask(demo, f"/bytes/{size}?chunked={chunked}", "HEAD").body == b""


def test_a_client_that_reads_late_gets_all(demo: DemoServer) -> None:
    """A server held up by its client's full buffers waits, and loses no byte."""
    with socket.create_connection(("127.0.0.1", demo.port), timeout=10) as client:
        client.sendall(b"GET /bytes/20000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        time.sleep(0.2)
        count = sum(map(len, iter(lambda: client.recv(1 << 20), b"")))
    assert count > 20_000_000


@pytest.mark.parametrize("chunked", [0, 1])
def test_a_drip_is_slow_all_along(demo: DemoServer, chunked: int) -> None:
    """A drip's head comes at once and its bytes spread over the duration."""
    connection = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=10)
    start = time.monotonic()
    connection.request("GET", f"/drip?bytes=50&duration=400ms&chunked={chunked}")
    reply = connection.getresponse()
    times = [time.monotonic() - start for _ in iter(lambda: reply.read(1), b"")]
    connection.close()
    assert len(times) == 50
    assert times[-1] >= 0.4
    assert times[24] < 0.75 * times[-1]


def test_what_came_is_echoed(demo: DemoServer) -> None:
    """/anything shows method, headers, parameters and body; /headers is the same."""
    got = ask(demo, "/anything?a=1&b=2&b=3", "PUT", body=b'{"n": 1}', headers={"X-One": "1"}).json
    assert (got["method"], got["args"]) == ("PUT", {"a": "1", "b": ["2", "3"]})
    assert (got["data"], got["json"]) == ('{"n": 1}', {"n": 1})
    assert (got["headers"]["X-One"], got["url"]) == ("1", f"{demo.url}/anything?a=1&b=2&b=3")
    got = ask(demo, "/headers", body=b"\xff").json
    assert (got["data"], got["json"], "Host" in got["headers"]) == ("�", None, True)


def test_cookies_and_credentials(demo: DemoServer) -> None:
    """Cookies are echoed; Basic credentials open their own page and no other."""
    got = ask(demo, "/cookies", headers={"Cookie": "a=1; b=x=y"})
    assert got.json == {"cookies": {"a": "1", "b": "x=y"}}
    secret = "Basic " + b64encode("曹:p w".encode()).decode()
    page = f"/basic-auth/{quote('曹')}/p%20w"
    assert ask(demo, page, headers={"Authorization": secret}).json["user"] == "曹"
    for headers in ({}, {"Authorization": secret[:-4]}, {"Authorization": "Bearer x"}):
        refused = ask(demo, page, headers=headers)
        assert (refused.status, refused.headers["WWW-Authenticate"][:5]) == (401, "Basic")


def test_stats_count_requests_by_path_and_in_flight() -> None:
    """/stats tells requests by path and how many were in flight at most, itself not counted."""
    with DemoServer.start() as server:
        asking = [
            threading.Thread(target=ask, args=(server, "/novel/1?delay=300ms")) for _ in range(5)
        ]
        for thread in asking:
            thread.start()
        assert wait_for(lambda: ask(server, "/stats").json["in_flight"] == 5)
        for thread in asking:
            thread.join()
        ask(server, "/basic-auth/me/secret")
        stats = ask(server, "/stats").json
    paths = {"/novel/1": 5, "/basic-auth/me/***": 1}
    assert stats == {"requests": 6, "in_flight": 0, "max_in_flight": 5, "paths": paths}


@pytest.mark.parametrize("target", ["/never", "/health?delay=1000s", "/drip?duration=1000s"])
def test_a_client_that_leaves_ends_its_request(target: str, tmp_path: Path) -> None:
    """A reply that never comes ends with its client, and is in the log without a status."""
    log = tmp_path / "access.log"
    with DemoServer.start(log=log) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target.encode())
            assert wait_for(lambda: ask(server, "/stats").json["in_flight"] == 1)
        assert wait_for(lambda: ask(server, "/stats").json["in_flight"] == 0)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert ("GET", target, None) in [
        (line["method"], line["target"], line["status"]) for line in lines
    ]


def test_the_list_of_pages_is_served_and_whole(demo: DemoServer) -> None:
    """``GET /`` is KNOBS_HELP, which names every page and every parameter."""
    assert ask(demo, "/").body.decode() == KNOBS_HELP
    assert all(page.pattern in KNOBS_HELP for page in PAGES)
    for knob in ("delay=", "seed=", "status=", "fail=", "times=", "key=", "retry_after=", "chunk"):
        assert knob in KNOBS_HELP
    assert max(map(len, KNOBS_HELP.splitlines())) <= 100
    assert KNOBS_HELP.isascii()


# Pages that change


Clock = Callable[[float], None]
NOON = 1_780_000_000.0  # a whole number of 10 s, 20 s and 1 s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sets the time of day, for the demo too: it runs in this process."""

    def at(moment_s: float) -> None:
        monkeypatch.setattr(time, "time", lambda: moment_s)

    at(NOON)
    return at


def test_a_version_lasts_until_the_next(demo: DemoServer, clock: Clock) -> None:
    """Within ``every`` all but generated_at stays; then version, one price and tags change."""
    clock(NOON + 0.25)
    first = ask(demo, "/changing")
    clock(NOON + 9.75)
    same = ask(demo, "/changing?every=10s")
    clock(NOON + 10)
    after = ask(demo, "/changing")
    assert first.json["generated_at"] == "2026-05-28T20:26:40.250Z"
    assert same.json == {**first.json, "generated_at": "2026-05-28T20:26:49.750Z"}
    assert (first.json["version"], after.json["version"]) == (178_000_000, 178_000_001)
    pairs = zip(first.json["items"], after.json["items"], strict=True)
    changed = [(old, new) for old, new in pairs if old != new]
    assert [old["id"] == new["id"] and old["price"] != new["price"] for old, new in changed] == [
        True
    ]
    validators = [
        (one.headers["ETag"], one.headers["Last-Modified"]) for one in (first, same, after)
    ]
    assert validators[0] == validators[1] == ('"178000000"', "Thu, 28 May 2026 20:26:40 GMT")
    assert validators[2] == ('"178000001"', "Thu, 28 May 2026 20:26:50 GMT")


LATEST, EARLIER = "Thu, 28 May 2026 20:26:40 GMT", "Thu, 28 May 2026 20:26:39 GMT"


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        ("", {"If-None-Match": '"178000000"'}, 304),
        ("", {"If-None-Match": '"x", W/"178000000"'}, 304),
        ("", {"If-None-Match": "*"}, 304),
        ("", {"If-None-Match": '"177999999"'}, 200),
        ("", {"If-Modified-Since": LATEST}, 304),
        ("", {"If-Modified-Since": "Thursday, 28-May-26 20:26:41 GMT"}, 304),
        ("", {"If-Modified-Since": "Thu May 28 20:26:40 2026"}, 304),
        ("", {"If-Modified-Since": EARLIER}, 200),
        ("", {"If-Modified-Since": "yesterday"}, 200),
        ("", {"If-Modified-Since": "Thu, 99 Foo 99999 99:99:99 GMT"}, 200),
        ("", {"If-None-Match": '"x"', "If-Modified-Since": LATEST}, 200),
        ("", {"If-None-Match": '"178000000"', "If-Modified-Since": EARLIER}, 304),
        ("etag=weak", {"If-None-Match": 'W/"178000000"'}, 304),
        ("etag=weak", {"If-None-Match": '"178000000"'}, 304),
        ("etag=weak", {"If-Modified-Since": LATEST}, 304),
        ("etag=none", {"If-None-Match": "*"}, 200),
        ("etag=none", {"If-Modified-Since": LATEST}, 200),
        ("etag=same", {"If-None-Match": '"same"'}, 200),
        ("etag=same", {"If-Modified-Since": LATEST}, 200),
        ("every=500ms", {"If-None-Match": '"3560000000"'}, 304),
        ("every=500ms", {"If-Modified-Since": LATEST}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_holds_the_version_gets_304(
    demo: DemoServer, clock: Clock, method: str, query: str, headers: dict[str, str], status: int
) -> None:
    """A tag decides, else a date; a 304 has the tag and neither body nor length."""
    full = ask(demo, f"/changing?{query}", method)
    got = ask(demo, f"/changing?{query}", method, headers=headers)
    assert (got.status, got.headers["ETag"]) == (status, full.headers["ETag"])
    assert (got.body == b"") == (status == 304 or method == "HEAD")
    assert (got.headers["Content-Length"] is None) == (status == 304)


def test_a_post_does_not_look_at_the_date(demo: DemoServer, clock: Clock) -> None:
    """If-Modified-Since is for GET and HEAD only (RFC 9110, section 13.1.3)."""
    assert ask(demo, "/changing", "POST", headers={"If-Modified-Since": LATEST}).status == 200


def test_the_tags_of_versions(demo: DemoServer, clock: Clock) -> None:
    """Tags are strong, weak, absent with the date, or the same whatever the version."""

    def seen(kind: str) -> tuple[str | None, bool]:
        got = ask(demo, f"/changing?etag={kind}")
        return got.headers["ETag"], got.headers["Last-Modified"] is not None

    kinds = ("strong", "weak", "none", "same")
    assert [seen(kind) for kind in kinds] == [
        ('"178000000"', True),
        ('W/"178000000"', True),
        (None, False),
        ('"same"', True),
    ]
    old = ask(demo, "/changing?etag=same").json
    clock(NOON + 10)
    assert seen("same") == ('"same"', True)
    assert ask(demo, "/changing?etag=same").json["version"] == old["version"] + 1


def test_flapping_is_down_half_of_the_time(demo: DemoServer, clock: Clock) -> None:
    """The first half of a period is well, the second 503 in JSON, without a time to come back."""
    seen = []
    for after_s in (0, 9.9, 10, 19.9, 20):
        clock(NOON + after_s)
        got = ask(demo, "/flapping")
        assert (got.headers["Retry-After"], isinstance(got.json, dict)) == (None, True)
        seen.append(got.status)
    assert seen == [200, 200, 503, 503, 200]
    clock(NOON + 1.5)
    assert ask(demo, "/flapping?period=2s").json == {"error": "down until 2026-05-28T20:26:42.000Z"}


def test_events_come_one_after_the_other(demo: DemoServer, clock: Clock) -> None:
    """Following the last id shows each event once, in order, until there are no more."""
    newest = int(NOON)
    got = ask(demo, "/events").json
    assert [item["id"] for item in got["items"]] == list(range(newest - 4, newest + 1))
    assert (got["items"][-1]["updated_at"], got["more"]) == ("2026-05-28T20:26:40.000Z", False)
    clock(NOON + 50)
    since, sizes, seen, more = newest, [], [], True
    while more:
        got = ask(demo, f"/events?since={since}").json
        seen += [item["id"] for item in got["items"]]
        sizes.append(len(got["items"]))
        since, more = seen[-1], got["more"]
    assert (sizes, seen) == ([20, 20, 10], list(range(newest + 1, newest + 51)))
    assert ask(demo, f"/events?since={since}").json == {"items": [], "more": False}
    assert ask(demo, f"/events?since={since + 9}").json == {"items": [], "more": False}


def test_events_come_as_often_as_asked(demo: DemoServer, clock: Clock) -> None:
    """``every`` and ``limit`` count: events a millisecond apart have moments of their own."""
    newest = int(NOON * 1000)
    got = ask(demo, f"/events?every=1ms&limit=2&since={newest - 3}").json
    moments = ["2026-05-28T20:26:39.998Z", "2026-05-28T20:26:39.999Z"]
    assert ([item["updated_at"] for item in got["items"]], got["more"]) == (moments, True)
    assert len(ask(demo, "/events?limit=2").json["items"]) == 2


# Delays


def test_a_delay_comes_before_the_reply(demo: DemoServer) -> None:
    """``delay=`` holds any page back that long."""
    start = time.monotonic()
    assert ask(demo, "/novel/1?delay=200ms").status == 200
    assert 0.2 <= time.monotonic() - start < 2


@pytest.mark.parametrize(
    ("text", "median"),
    [
        ("50ms", 0.05),
        ("uniform:50ms,150ms", 0.1),
        ("normal:100ms,20ms", 0.1),
        ("exp:100ms", 0.0693),
        ("lognormal:100ms,0.5", 0.1),
        ("pareto:100ms,2", 0.1414),
    ],
)
def test_delays_follow_their_distribution(text: str, median: float) -> None:
    """Each distribution has the median that its name and numbers say, and no negative delay."""
    rng = Random(1)
    drawn = [delay_s(text, rng) for _ in range(4000)]
    assert statistics.median(drawn) == pytest.approx(median, rel=0.06)
    assert min(drawn) >= 0


@given(st.floats(0.001, 999), st.sampled_from(["us", "ms", "s"]))
def test_durations_are_read_with_their_unit(number: float, unit: str) -> None:
    """A number and a unit give that many seconds."""
    text = f"{number:.6f}"
    factor = {"us": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
    assert duration_s(text + unit) == pytest.approx(float(text) * factor)


@given(st.text(max_size=12) | st.from_regex(r"(exp|normal|pareto):[0-9,.mus]*", fullmatch=True))
def test_any_other_delay_is_refused_in_words(text: str) -> None:
    """Whatever is written as a delay is read or refused with KnobError; no other error comes."""
    with suppress(KnobError):
        assert 0 <= delay_s(text, Random(1)) <= 3600


@pytest.mark.parametrize(
    "query",
    [
        "delay=5",
        "delay=exp:1",
        "delay=gamma:1s",
        "delay=uniform:1s",
        "delay=pareto:1s,0",
        "fail=2",
        "status=99",
        "status=x",
        "times=-1",
        "status=503&retry_after=soon",
    ],
)
def test_a_knob_that_makes_no_sense_gives_400(demo: DemoServer, query: str) -> None:
    """A knob that cannot be used is refused with words, wherever it stands."""
    got = ask(demo, f"/health?{query}")
    assert (got.status, bool(got.json["error"])) == (400, True)


@pytest.mark.parametrize(
    "path",
    [
        "/status/x",
        "/bytes/-1",
        "/drip?bytes=x",
        "/pages?page=0",
        "/changing?every=0",
        "/changing?every=often",
        "/changing?etag=odd",
        "/flapping?period=1us",
        "/events?since=-1",
        "/events?limit=0",
    ],
)
def test_a_path_that_makes_no_sense_gives_400(demo: DemoServer, path: str) -> None:
    """A number in a page's own path or parameters is checked as knobs are."""
    got = ask(demo, path)
    assert (got.status, bool(got.json["error"])) == (400, True)


def test_counts_forget_the_oldest_keys() -> None:
    """Counters keep to the 100,000 keys seen last, so their memory has an end."""
    counts = Counts()
    assert [counts.next("a"), counts.next("b"), counts.next("a")] == [1, 1, 2]
    for n in range(99_999):
        counts.next(str(n))
    assert (counts.next("a"), counts.next("b")) == (3, 1)


# The parser and the connection

PIPELINE = (
    b"GET /a?x=1&x=%E7%BA%A2 HTTP/1.1\r\nHost: h\r\n\r\n"
    b"\r\nPOST /b%2Fc/d HTTP/1.1\r\nhost:h:1\r\nContent-Length: 5\r\n\r\nGET /"
    b"HEAD http://h/ HTTP/1.1\r\nHost: h\r\nX: a:b \r\nConnection: Close\r\n\r\n"
    b"GET /old HTTP/1.0\r\n\r\n"
)


@given(st.lists(st.integers(0, len(PIPELINE)), max_size=20))
def test_requests_are_the_same_in_any_pieces(cuts: list[int]) -> None:
    """However the bytes are cut, the same requests come out, in order."""
    whole = list(RequestParser().feed(PIPELINE))
    edges = [0, *sorted(cuts), len(PIPELINE)]
    parser = RequestParser()
    pieces = [PIPELINE[low:high] for low, high in pairwise(edges)]
    assert [request for piece in pieces for request in parser.feed(piece)] == whole


def test_requests_come_out_byte_by_byte() -> None:
    """Fed byte by byte, the parser gives each request with all its parts."""
    parser = RequestParser()
    got = [request for byte in PIPELINE for request in parser.feed(bytes([byte]))]
    assert [(one.method, one.path, one.body) for one in got] == [
        ("GET", "/a", b""),
        ("POST", "/b%2Fc/d", b"GET /"),
        ("HEAD", "/", b""),
        ("GET", "/old", b""),
    ]
    assert got[0].pairs == (("x", "1"), ("x", "红"))
    assert got[1].segments == ("b/c", "d")
    assert got[1].header("host") == "h:1"
    assert got[2].header("x") == "a:b"
    assert [one.keep_alive for one in got] == [True, True, False, False]


HOST = b"Host: h\r\n"
BAD = {
    b"hello\r\n\r\n": 400,
    b"GET / HTTP/2.0\r\nHost: h\r\n\r\n": 400,
    b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n": 400,
    b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n": 400,
    b"GET a HTTP/1.1\r\nHost: h\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: h\r\n X: folded\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n": 400,
    b"GET / HTTP/1.1\r\nHost: h\r\nX: a\nY: b\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": 400,
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": 411,
    b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999\r\n\r\n": 413,
    b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 65_536 + b"\r\n\r\n": 431,
    b"GET /" + b"x" * 70_000: 431,
}


@pytest.mark.parametrize("sent", BAD, ids=lambda sent: repr(sent[:48]))
def test_a_bad_request_is_refused_in_any_pieces(demo: DemoServer, sent: bytes) -> None:
    """What is no request gets its 4xx and the end of the connection, whole or byte by byte."""
    reply = raw(demo, sent)
    assert reply.startswith(b"HTTP/1.1 %d " % BAD[sent])
    assert b"\r\nConnection: close\r\n" in reply
    parser = RequestParser()
    with pytest.raises(BadRequest) as refused:
        deque((list(parser.feed(bytes([byte]))) for byte in sent), maxlen=0)
    assert refused.value.status == BAD[sent]


def test_a_head_without_end_gets_its_reply(demo: DemoServer) -> None:
    """A client still sending when it is refused reads 431, not a reset."""
    assert raw(demo, b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000)[:13] == b"HTTP/1.1 431 "


def test_pipelined_replies_keep_their_order(demo: DemoServer) -> None:
    """Replies come in the order of their requests, slow ones first if asked first, 400 last."""
    asked = [b"/novel/1?delay=100ms", b"/drip?duration=50ms", b"/status/404", b"/novel/3"]
    sent = b"".join(b"GET %b HTTP/1.1\r\n%b\r\n" % (target, HOST) for target in asked)
    reply = raw(demo, sent + b"nonsense\r\n\r\n")
    codes = re.findall(rb"HTTP/1\.1 (\d{3}) ", reply)
    assert codes == [b"200", b"200", b"404", b"200", b"400"]
    assert reply.index("红楼梦".encode()) < reply.index(b"****") < reply.index("三国演义".encode())


def test_a_thousand_pipelined_requests(demo: DemoServer) -> None:
    """A client may send far ahead: each request is answered, none twice."""
    sent = b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n" * 999
    last = b"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    assert raw(demo, sent + last).count(b"HTTP/1.1 200 OK") == 1000


def test_connections_are_kept_or_closed_as_asked(demo: DemoServer) -> None:
    """HTTP/1.1 keeps the connection unless told, HTTP/1.0 closes unless told; no chunks in 1.0."""
    connection = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=10)
    ports = set()
    for _ in range(3):
        connection.request("GET", "/health")
        connection.getresponse().read()
        ports.add(connection.sock.getsockname())
    connection.close()
    assert len(ports) == 1
    old = raw(demo, b"GET /health?chunked=1 HTTP/1.0\r\n\r\n")
    assert (b"Connection: close" in old, b"chunked" in old) == (True, False)
    kept = raw(
        demo,
        b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /health HTTP/1.0\r\n\r\n",
    )
    assert kept.count(b"HTTP/1.1 200 OK") == 2


def test_a_client_that_waits_for_100_gets_it(demo: DemoServer) -> None:
    """Expect: 100-continue is answered before the body is sent (RFC 9110, section 10.1.1)."""
    with socket.create_connection(("127.0.0.1", demo.port), timeout=10) as client:
        client.sendall(
            b"POST /anything HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
            b"Expect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hi")
        assert b'"data": "hi"' in b"".join(iter(lambda: client.recv(65536), b""))


# The server


def test_a_server_stops_with_all_its_connections() -> None:
    """After stop nothing listens and every client sees the end; a second stop does nothing."""
    with DemoServer.start() as server:
        client = socket.create_connection(("127.0.0.1", server.port), timeout=5)
        client.sendall(b"GET /never HTTP/1.1\r\nHost: h\r\n\r\n")
        assert wait_for(lambda: ask(server, "/stats").json["in_flight"] == 1)
    server.stop()
    with client, suppress(ConnectionResetError):
        assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_the_log_has_a_line_a_request_without_passwords(tmp_path: Path) -> None:
    """The log tells method, target, status, host and times of each, and never a password."""
    before = time.time()
    log = tmp_path / "access.log"
    with DemoServer.start(log=log) as server:
        ask(server, "/novelSearchApi?name=a")
        ask(server, "/basic-auth/me/secret?x=1", "POST")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["method"], line["target"], line["status"]) for line in lines] == [
        ("GET", "/novelSearchApi?name=a", 200),
        ("POST", "/basic-auth/me/***?x=1", 401),
    ]
    assert all(line["host"] == f"127.0.0.1:{server.port}" for line in lines)
    assert all(before <= line["began"] <= line["ended"] <= time.time() for line in lines)
    with pytest.raises(CrawlError, match="nowhere"):
        DemoServer.start(log=tmp_path / "nowhere" / "log")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.1", "::", "example.com", ""])
def test_other_hosts_than_the_loopback_are_refused(host: str) -> None:
    """The demo listens on the loopback only; any other host is refused, and none is looked up."""
    with pytest.raises(UsageError, match=r"--host .*127\.0\.0\.1"):
        DemoServer.start(host)


def test_a_port_that_cannot_be_had_is_refused(demo: DemoServer) -> None:
    """A port in use, or none at all, is an error that names the option to change."""
    with pytest.raises(UsageError, match=rf"--port {demo.port} .* in use"):
        DemoServer.start(port=demo.port)
    with pytest.raises(UsageError, match="--port 65536"):
        DemoServer.start(port=65536)


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_ipv6_is_served_too() -> None:
    """On ::1 the URL has brackets and works."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no ::1 on this machine")
    with DemoServer.start("::1") as server:
        assert server.url == f"http://[::1]:{server.port}"
        connection = http.client.HTTPConnection("::1", server.port, timeout=5)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_runs_until_a_signal(number: int) -> None:
    """``serve`` gives its URL once, serves, and returns in order at SIGINT and SIGTERM."""
    code = (
        "from functools import partial\n"
        "from crawler.demo_api import serve\n"
        "serve('localhost', 0, on_ready=partial(print, flush=True))\n"
        "print('over')"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        parts = urlsplit(child.stdout.readline().strip())
        assert (parts.scheme, parts.hostname) == ("http", "127.0.0.1")
        with socket.create_connection(("127.0.0.1", parts.port or 0), timeout=5) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
            child.send_signal(number)
            assert child.communicate(timeout=10)[0] == "over\n"
    assert child.returncode == 0
