"""Polite runs as their server sees them: its log tells what was in flight, when and how often."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from crawler import Politeness, Target
from crawler import crawl as fetch
from crawler.demo_api import DemoServer
from crawler.errors import UsageError
from crawler.reorder import Reorder
from crawler.source import Direct
from crawler.spread import Spread
from tests.conftest import assert_each_once, command, crawl, records_of
from tests.raw_server import Peer, RawServer, answers
from tests.test_bodies import reply

Line = dict[str, Any]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[DemoServer, Path]]:
    """A demo API of the test's own, and its access log."""
    log = tmp_path / "access.log"
    with DemoServer.start(log=log) as demo:
        yield demo, log


def by_host(log: Path) -> dict[str, list[Line]]:
    """The server's lines by host, in the order in which the requests came."""
    hosts: dict[str, list[Line]] = defaultdict(list)
    for line in sorted(map(json.loads, log.read_text().splitlines()), key=lambda x: x["began"]):
        hosts[line["host"]].append(line)
    return hosts


def most_in_flight(lines: list[Line]) -> int:
    """The most requests that were with the server at one moment."""
    ends = sorted([(x["began"], 1) for x in lines] + [(x["ended"], -1) for x in lines])
    count = most = 0
    for _, step in ends:
        count += step
        most = max(most, count)
    return most


def listed(path: Path, urls: list[str]) -> Path:
    """A list of these URLs."""
    path.write_text("\n".join(urls) + "\n")
    return path


def test_a_list_sorted_by_host_keeps_every_host_busy_within_its_limit(server, tmp_path) -> None:
    """Two in flight to each of ten hosts, all at once: five times as fast as host by host."""
    demo, access = server
    urls = [
        f"http://h{host}.localhost:{demo.port}/novel/{n}?delay=30ms"
        for host in range(10)
        for n in range(1, 31)
    ]
    began = time.monotonic()
    done = crawl(
        "--urls", listed(tmp_path / "l.txt", urls), "--per-host", "2", "--out", "r.log",
        "--summary", "none", cwd=tmp_path,
    )  # fmt: skip
    took_s = time.monotonic() - began
    assert (done.returncode, done.stdout) == (0, "")
    hosts = by_host(access)
    assert {host: most_in_flight(lines) for host, lines in hosts.items()} == dict.fromkeys(hosts, 2)
    assert took_s < 0.5 * 300 * 0.030 / 2  # host by host
    assert_each_once(tmp_path / "r.log", 300)


def test_records_still_come_in_input_order(server, tmp_path) -> None:
    """``--out -`` puts in order what hosts in turn have put out of it."""
    demo, _ = server
    urls = [f"http://h{n % 7}.localhost:{demo.port}/novel/{n + 1}" for n in range(200)]
    urls[3] = "no url at all"
    done = crawl(
        "--urls", listed(tmp_path / "l.txt", urls), "--per-host", "1", "--out", "-",
        "--max-errors", "1",
    )  # fmt: skip
    assert done.returncode == 0
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == list(range(200))


def test_a_rate_of_a_host_is_kept_and_never_exceeded(server, tmp_path) -> None:
    """As the server counts them, in any second; the hosts do not share it."""
    demo, access = server
    urls = [f"http://h{n % 3}.localhost:{demo.port}/novel/{n + 1}" for n in range(120)]
    assert crawl(
        "--urls", listed(tmp_path / "l.txt", urls), "--per-host-rate", "20/s", "--burst", "3",
        "--out", "none",
    ).returncode == 0  # fmt: skip
    for lines in by_host(access).values():
        moments = [line["began"] for line in lines]
        assert max(sum(m <= x < m + 1 for x in moments) for m in moments) <= 20 + 3
        assert moments[-1] - moments[0] == pytest.approx((40 - 3) / 20, rel=0.1)


def test_a_rate_of_all_is_kept_whatever_the_hosts(server, tmp_path) -> None:
    """One clock holds it, though two processes were to work."""
    demo, access = server
    urls = [f"http://h{n % 9}.localhost:{demo.port}/novel/{n + 1}" for n in range(100)]
    assert crawl(
        "--urls", listed(tmp_path / "l.txt", urls), "--rate", "50", "--processes", "2",
        "--out", "none",
    ).returncode == 0  # fmt: skip
    moments = sorted(line["began"] for lines in by_host(access).values() for line in lines)
    assert moments[-1] - moments[0] == pytest.approx(99 / 50, rel=0.1)


def test_retry_after_pauses_the_host_and_no_other(server, tmp_path) -> None:
    """After a 429 nothing goes to its host until the time is over; another host goes on."""
    demo, access = server
    slow, free = f"http://slow.localhost:{demo.port}", f"http://free.localhost:{demo.port}"
    urls = [f"{slow}/429?retry_after=1&n={n}" for n in range(3)]
    urls += [f"{free}/novel/{n}?delay=20ms" for n in range(1, 40)]
    done = crawl(
        "--urls", listed(tmp_path / "l.txt", urls), "--per-host", "1", "--retries", "0",
        "--out", "none",
    )  # fmt: skip
    assert done.returncode == 1
    hosts = by_host(access)
    refused = hosts[f"slow.localhost:{demo.port}"]
    assert all(after["began"] - before["ended"] >= 0.99 for before, after in pairwise(refused))
    ended = hosts[f"free.localhost:{demo.port}"][-1]["ended"]
    assert ended < refused[-1]["began"]


def test_rate_limit_headers_pause_the_host() -> None:
    """Nothing is left for a second: nothing is sent for a second, through both engines."""
    reply = (
        b'HTTP/1.1 200 OK\r\nRateLimit: "default";r=0;t=1\r\nConnection: close\r\n'
        b"Content-Length: 0\r\n\r\n"
    )
    for engine in ("curl", "requests"):
        with RawServer(answers(reply), answers(reply)) as raw:
            run = fetch(
                [raw.url, raw.url], engine=engine, processes=0,
                polite=Politeness(per_host=1),
            )  # fmt: skip
        first, second = run.frame()["started"]
        assert (second - first).total_seconds() >= 0.99


def test_a_dead_host_is_given_up_and_redone(server, tmp_path) -> None:
    """The breaker ends the wait for it; what was not sent is ``aborted``, and can be redone."""
    demo, _ = server
    urls = [f"http://127.0.0.1:9/{n}" for n in range(60)]
    urls += [f"http://127.0.0.1:{demo.port}/novel/{n}" for n in range(1, 20)]
    arguments = ("--urls", listed(tmp_path / "l.txt", urls), "--out", "r.log", "--summary", "none")
    done = crawl(
        *arguments, "--per-host", "2", "--breaker", "5", "--breaker-pause", "50ms",
        "--retries", "0", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert_each_once(tmp_path / "r.log", 79)
    errors = Counter(record["error"] for record in records_of(tmp_path / "r.log"))
    assert errors[None] == 19
    assert 8 <= errors["connect"] <= 10
    assert errors["aborted"] == 60 - errors["connect"]
    aborted = [r for r in records_of(tmp_path / "r.log") if r["error"] == "aborted"]
    assert all(r["attempts"] == 0 and "127.0.0.1:9" in r["detail"] for r in aborted)
    assert crawl(*arguments, "--retry-failed", "--retries", "0", cwd=tmp_path).returncode == 1
    last = {record["seq"]: record["error"] for record in records_of(tmp_path / "r.log")}
    assert Counter(last.values()) == {None: 19, "connect": 60}


ROBOTS = b"User-agent: *\nDisallow: /private\nAllow: /private/open\nCrawl-delay: 0.2\n"


@pytest.mark.parametrize(
    ("reply", "errors"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ROBOTS), ROBOTS),
         [None, "blocked", None]),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", [None, None, None]),
        (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", ["blocked"] * 3),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n<html><body>Hi</body></html>",
         [None, None, None]),
    ],
)  # fmt: skip
def test_robots_txt_is_heeded(reply: bytes, errors: list[str | None]) -> None:
    """Rules hold; none means all; one that cannot be had means nothing (RFC 9309, 2.3.1)."""
    fine = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    asked: list[bytes] = []

    def script(peer: Any) -> None:
        while head := peer.read_request():
            asked.append(head.split()[1])
            peer.send(reply if asked[-1] == b"/robots.txt" else fine)

    with RawServer(*[script] * 4) as raw:
        urls = [f"{raw.url}/{path}" for path in ("a", "private/x", "private/open")]
        run = fetch(urls, processes=0, retries=0, polite=Politeness(per_host=1, robots=True))
    assert asked[0] == b"/robots.txt"
    assert asked.count(b"/robots.txt") == 1
    records = list(run.records())
    assert [record.error for record in records] == errors
    assert len(asked) == 1 + errors.count(None)


def test_a_killed_worker_costs_no_record_and_no_limit(server, tmp_path) -> None:
    """Its hosts go to a fresh worker: each URL once, at most one request more than the limit."""
    demo, access = server
    urls = [f"http://h{n % 6}.localhost:{demo.port}/novel/1?delay=20ms&n={n}" for n in range(600)]
    running = subprocess.Popen(
        command(
            "--urls", listed(tmp_path / "l.txt", urls), "--per-host", "2", "--processes", "2",
            "--out", tmp_path / "r.log", "--summary", "none",
        ),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(1.0)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 0, said
    assert "killed by signal 9" in said
    assert_each_once(tmp_path / "r.log", 600)
    assert all(most_in_flight(lines) <= 4 for lines in by_host(access).values())


def test_a_polite_run_goes_on_after_a_kill_of_all(server, tmp_path) -> None:
    """``--resume`` fetches what has no record yet, once."""
    demo, _ = server
    urls = [f"http://h{n % 6}.localhost:{demo.port}/novel/1?delay=10ms&n={n}" for n in range(400)]
    arguments = (
        "--urls", listed(tmp_path / "l.txt", urls), "--per-host", "2",
        "--out", tmp_path / "r.log", "--summary", "none",
    )  # fmt: skip
    running = subprocess.Popen(command(*arguments), stderr=subprocess.DEVNULL)
    time.sleep(1.0)
    running.kill()
    running.wait()
    done = crawl(*arguments, "--resume")
    assert done.returncode == 0, done.stderr
    assert_each_once(tmp_path / "r.log", 400)


def test_ctrl_c_ends_a_paused_run(server, tmp_path) -> None:
    """A run that waits for a host's permission hears the stop at once."""
    demo, _ = server
    urls = [f"http://127.0.0.1:{demo.port}/429?retry_after=100&n={n}" for n in range(5)]
    running = subprocess.Popen(
        command(
            "--urls", listed(tmp_path / "l.txt", urls), "--per-host", "1", "--out",
            tmp_path / "r.log",
        ),
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(1.0)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=10) == 130


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--per-host", "0"), "--per-host"),
        (("--per-host-rate", "fast"), "--per-host-rate"),
        (("--rate", "0/s"), "--rate"),
        (("--burst", "3"), "--rate or --per-host-rate"),
        (("--jitter", "5"), "--jitter"),
        (("--jitter", "5%"), "--delay"),
        (("--breaker", "-1"), "--breaker"),
        (("--delay", "soon"), "--delay"),
    ],
)
def test_what_makes_no_sense_is_refused(options: tuple[str, ...], words: str, tmp_path) -> None:
    """Exit 2 before anything is sent, and the option is named."""
    done = crawl(*options, "http://127.0.0.1:9/", cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_spread_gives_each_host_to_one_lane_and_all_in_the_end() -> None:
    """Of a host no more is out than allowed; what is finished makes room for the next."""
    targets = [Target(n, f"http://h{n // 50}/{n}") for n in range(500)]
    spread = Spread(Direct(targets), lanes=3, most_out=8, window=1000)
    lanes: dict[str, set[int]] = defaultdict(set)
    got: list[Target] = []
    out: Counter[str] = Counter()
    while not spread.exhausted:
        for lane in range(3):
            items = spread.take(16, lane)
            for item in items:
                host = item.url.split("/")[2]
                lanes[host].add(lane)
                out[host] += 1
                assert out[host] <= 8
            got += items
        done = [item for item in got if out[item.url.split("/")[2]] > 4][-20:]
        for item in done or got[-1:]:
            host = item.url.split("/")[2]
            if out[host]:
                out[host] -= 1
                spread.finished([item])
    assert sorted(item.seq for item in got) == list(range(500))
    assert all(len(of_host) == 1 for of_host in lanes.values())


def test_a_spread_reads_no_further_than_its_window() -> None:
    """Whatever waits for a host: memory is bounded."""
    read: list[int] = []

    def endless() -> Iterator[Target]:
        for n in range(10_000):
            read.append(n)
            yield Target(n, "http://one/")

    spread = Spread(Direct(endless()), lanes=2, most_out=5, window=100)
    for _ in range(50):
        spread.take(1, 0)
        spread.take(1, 1)
    assert len(read) == 100


def test_lines_come_in_the_order_of_the_targets() -> None:
    """A gap holds back what comes after it, and the rest is not lost at a stop."""
    reorder = Reorder()
    list(reorder.watch([Target(seq, "http://a/") for seq in (2, 3, 5, 8)]))
    assert reorder.put([(3, b"3"), (8, b"8")]) == []
    assert reorder.put([(2, b"2")]) == [(2, b"2"), (3, b"3")]
    assert reorder.pending == 2
    assert reorder.rest() == [(8, b"8")]


def test_a_politeness_needs_sense() -> None:
    """The library refuses what the command does."""
    with pytest.raises(UsageError, match="per-host"):
        fetch(["http://127.0.0.1:9/"], polite=Politeness(per_host=0))


def test_robots_of_many_hosts_are_read_a_few_at_a_time(server, tmp_path) -> None:
    """A list of a thousand hosts opens no thousand connections for their rules."""
    demo, access = server
    urls = [f"http://h{n}.localhost:{demo.port}/novel/1" for n in range(300)]
    done = crawl(
        "--urls", listed(tmp_path / "l.txt", urls), "--robots", "--concurrency", "8",
        "--processes", "1", "--out", "none",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for of_host in by_host(access).values() for line in of_host]
    assert Counter(line["target"] for line in lines) == {"/robots.txt": 300, "/novel/1": 300}
    assert most_in_flight([x for x in lines if x["target"] == "/robots.txt"]) <= 4


def test_a_line_that_is_no_url_opens_no_host(tmp_path) -> None:
    """It is recorded as such; the host's robots.txt is read all the same, and the run goes on."""
    robots = reply(b"\xef\xbb\xbfUser-agent: *\nDisallow: /secret\n")
    page = reply(b"fine")

    def play(peer: Peer) -> None:
        while request := peer.read_request():
            peer.send(robots if b" /robots.txt " in request else page)

    with RawServer(play) as raw:
        host = raw.url.partition("://")[2]
        urls = [f"ftp://{host}/x", f"http://us[er@{host}/y", f"{raw.url}/secret/1", f"{raw.url}/a"]
        (tmp_path / "l.txt").write_bytes(
            "\n".join([*urls, f"{raw.url}/n"]).encode() + f"\n{raw.url}/caf".encode() + b"\xe9\n"
        )
        done = crawl(
            "--urls", "l.txt", "--robots", "--out", "r.log", "--max-errors", "9", "--max-body",
            "20", cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert not any(b"secret" in request for request in raw.requests)
    records = sorted(records_of(tmp_path / "r.log"), key=lambda record: record["seq"])
    bad = "invalid_url"
    assert [record["error"] for record in records] == [bad, None, "blocked", None, None, bad]


def test_a_host_is_one_however_it_is_written(server, tmp_path) -> None:
    """Spellings of a name and port share their limit."""
    demo, log = server
    port = demo.url.rpartition(":")[2]
    hosts = (f"127.0.0.1:{port}", f"127.0.0.1:0{port}", f"me:pw@127.0.0.1:{port}")
    listed(
        tmp_path / "l.txt", [f"http://{h}/novel/1?delay=30ms&{n}" for n in range(4) for h in hosts]
    )
    done = crawl("--urls", "l.txt", "--per-host", "1", "--out", "r.log", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line for lines in by_host(log).values() for line in lines]
    assert (len(lines), most_in_flight(lines)) == (12, 1)


def test_who_answered_is_paused_and_not_who_redirected(tmp_path) -> None:
    """Retry-After is of the host that said it, at the end of a redirect too."""
    came: list[tuple[str, float]] = []

    def busy(peer: Peer) -> None:
        while request := peer.read_request():
            came.append(("busy", time.monotonic()))
            first = b" /first " in request
            peer.send(reply(b"", b"Retry-After: 1", status=b"429 Slow") if first else reply(b"x"))

    with RawServer(busy) as other:

        def leads(peer: Peer) -> None:
            while request := peer.read_request():
                came.append(("leads", time.monotonic()))
                location = b"Location: " + other.url.encode() + b"/first"
                away = b" /go " in request
                peer.send(reply(b"", location, status=b"302 Found") if away else reply(b"x"))

        with RawServer(leads) as raw:
            urls = [f"{raw.url}/go", *(f"{raw.url}/{n}" for n in range(4))]
            urls += [f"{other.url}/{n}" for n in range(4)]
            rules = Politeness(per_host=1, delay_s=0.1)
            fetch(urls, polite=rules, processes=0, retries=0)
    said_s = next(at for name, at in came if name == "busy")
    later = [at - said_s for name, at in came if name == "busy" and at > said_s + 0.05]
    assert min(later) > 0.9
    own = [at - said_s for name, at in came if name == "leads" and at > said_s]
    assert min(own) < 0.5


def test_a_robots_txt_that_is_huge_or_slow_holds_nobody_up() -> None:
    """Of a huge one the first 500 kB count; one that never comes allows nothing (RFC 9309, 2.5)."""
    filler = b"# nothing\n" * 60_000
    huge = reply(b"User-agent: *\nDisallow: /first\n" + filler + b"Disallow: /last\n")

    def large(peer: Peer) -> None:
        while request := peer.read_request():
            peer.send(huge if b" /robots.txt " in request else reply(b"x"))

    def slow(peer: Peer) -> None:
        while request := peer.read_request():
            if b" /robots.txt " in request:
                peer.hang()
            peer.send(reply(b"x"))

    with RawServer(large) as one, RawServer(slow) as other:
        began_s = time.monotonic()
        urls = [f"{one.url}/first", f"{one.url}/last", f"{other.url}/a"]
        run = fetch(urls, processes=0, timeout_s=0.5, retries=0, polite=Politeness(robots=True))
        assert time.monotonic() - began_s < 5
    assert [record.error for record in run.records()] == ["blocked", None, "blocked"]
