"""Which job may begin now, by a clock of the test's own: hosts in turn, each within its limits."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.concurrency import Adaptive
from crawler.errors import UsageError
from crawler.politeness import Politeness
from crawler.rate_limit import MOST_S, pause_asked_s
from crawler.turnstile import Turnstile
from crawler.urls import host_of


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def going_on(self) -> float:
        """The time, which goes on by a microsecond a look."""
        self.now_s += 1e-6
        return self.now_s


def run_through(
    rules: Politeness, jobs: list[str], *, takes_s: float = 0.0, late_s: float = 0.0
) -> list[tuple[float, str]]:
    """Let every job begin as soon as it may, and last ``takes_s``; give when each began."""
    clock = Clock()
    turnstile: Turnstile[str] = Turnstile(rules, clock=clock, draw=lambda: 0.5)
    for name in jobs:
        turnstile.add(turnstile.host(name), name)
    begun: list[tuple[float, str]] = []
    running: list[tuple[float, str]] = []
    while len(begun) < len(jobs):
        for ends_s, name in [r for r in running if r[0] <= clock.now_s]:
            running.remove((ends_s, name))
            turnstile.end(turnstile.host(name))
        while (taken := turnstile.take()) is not None:
            begun.append((clock.now_s - 1000.0, taken[1]))
            running.append((clock.now_s + takes_s, taken[1]))
        moments = [ends_s for ends_s, _ in running]
        moments += [] if turnstile.opens_s is None else [turnstile.opens_s]
        if len(begun) < len(jobs):
            clock.now_s = max(clock.now_s, min(moments)) + late_s
    return begun


def test_hosts_come_in_turn() -> None:
    """A list sorted by host is not worked through host by host, though a few go in a row."""
    begun = run_through(Politeness(per_host=1), ["a"] * 20 + ["b"] * 20 + ["c"], takes_s=1.0)
    assert all({"a", "b"} <= {name for at_s, name in begun if at_s == s} for s in range(20))
    assert begun[2] == (0.0, "c")
    turnstile: Turnstile[str] = Turnstile(Politeness())
    for name in ["a"] * 12 + ["b"] * 12:
        turnstile.add(turnstile.host(name), name)
    taken = "".join(job for _, job in iter(turnstile.take, None))
    assert taken == "a" * 8 + "b" * 8 + "a" * 4 + "b" * 4


@given(
    jobs=st.lists(st.sampled_from("abc"), min_size=1, max_size=40),
    per_host=st.integers(1, 4),
    takes_s=st.integers(1, 3),
)
def test_no_host_has_more_in_flight_than_its_limit(
    jobs: list[str], per_host: int, takes_s: int
) -> None:
    """Whatever the list, each job begins once and no host is over its limit at any moment."""
    begun = run_through(Politeness(per_host=per_host), jobs, takes_s=takes_s)
    assert Counter(name for _, name in begun) == Counter(jobs)
    for at_s, name in begun:
        beside = [s for s, other in begun if other == name and at_s - takes_s < s <= at_s]
        assert len(beside) <= per_host


@given(
    count=st.integers(2, 60),
    per_s=st.floats(0.5, 50),
    burst=st.integers(1, 5),
    late_s=st.floats(0, 0.015),
)
@settings(max_examples=60)
def test_a_rate_is_kept_and_its_burst_is_never_exceeded(
    count: int, per_s: float, burst: int, late_s: float
) -> None:
    """In any second no more begin than the rate and the burst, but for what timers were late."""
    rules = Politeness(per_host_rate_per_s=per_s, burst=burst)
    begun = [at_s for at_s, _ in run_through(rules, ["a"] * count, late_s=late_s)]
    for at_s in begun:
        assert (
            sum(at_s <= other < at_s + 1 for other in begun) <= per_s * (1 + late_s) + burst + 1e-6
        )
    ideal_s = max(0, count - burst) / per_s
    assert ideal_s - 1 / per_s - 1e-6 <= begun[-1] <= ideal_s + (late_s + 1e-6) * count


def test_late_timers_do_not_slow_a_rate_down() -> None:
    """A thousand at 100/s, each timer 2 ms late, take ten seconds and not twelve."""
    begun = run_through(Politeness(rate_per_s=100), ["a"] * 500 + ["b"] * 500, late_s=0.002)
    assert begun[-1][0] == pytest.approx(9.99, rel=0.02)


def test_a_delay_stands_between_two_requests_to_a_host_and_no_other() -> None:
    """Hosts do not wait for each other's delays."""
    begun = run_through(Politeness(delay_s=1.0), ["a", "a", "a", "b"])
    assert begun == [(0.0, "a"), (0.0, "b"), (1.0, "a"), (2.0, "a")]


def test_a_crawl_delay_is_kept_whatever_the_jitter() -> None:
    """The host's own word is the least; only the user's delay varies."""
    clock = Clock()
    rules = Politeness(delay_s=0.5, jitter=1.0)
    turnstile: Turnstile[str] = Turnstile(rules, clock=clock, draw=lambda: 0.0)
    host = turnstile.host("a")
    host.crawl_delay_s = 1.0
    turnstile.add(host, "1")
    turnstile.add(host, "2")
    assert turnstile.take() == (host, "1")
    turnstile.end(host)
    assert turnstile.take() is None
    assert turnstile.opens_s == clock.now_s + 1.0


def test_hosts_of_which_nothing_is_to_be_kept_are_forgotten() -> None:
    """A list may have a million of them; one that is paused stays."""
    clock = Clock()
    turnstile: Turnstile[str] = Turnstile(Politeness(per_host_rate_per_s=10), clock=clock)
    turnstile.pause(turnstile.host("paused"), 1e6)
    for n in range(50_000):
        host = turnstile.host(str(n))
        turnstile.add(host, "job")
        assert turnstile.take() == (host, "job")
        turnstile.end(host)
        clock.now_s += 0.01
    assert len(turnstile._hosts) < 25_000
    assert turnstile.host("paused").paused_until_s > clock.now_s


def test_a_clock_that_goes_on_meanwhile_turns_nobody_round() -> None:
    """A host whose moment comes between two looks at the clock begins, or waits."""
    clock = Clock()
    turnstile: Turnstile[str] = Turnstile(Politeness(delay_s=1.0), clock=clock.going_on)
    host = turnstile.host("a")
    for job in ("1", "2"):
        turnstile.add(host, job)
    assert turnstile.take() == (host, "1")
    turnstile.end(host)
    clock.now_s = turnstile.opens_s or 0.0
    turnstile.pause(host, 2.5e-6)
    for _ in range(100):
        if turnstile.take() is not None:
            return
    raise AssertionError("it never began")


def test_a_pause_holds_one_host_back() -> None:
    """Neither jobs that were ready nor those that come later begin before it ends."""
    clock = Clock()
    turnstile: Turnstile[str] = Turnstile(Politeness(), clock=clock)
    a, b = turnstile.host("a"), turnstile.host("b")
    turnstile.add(a, "a1")
    turnstile.add(b, "b1")
    turnstile.pause(a, 5.0)
    turnstile.add(a, "a2")
    assert turnstile.take() == (b, "b1")
    assert turnstile.take() is None
    assert turnstile.opens_s == clock.now_s + 5.0
    clock.now_s += 5.0
    assert [turnstile.take(), turnstile.take()] == [(a, "a1"), (a, "a2")]


def test_a_breaker_opens_probes_and_gives_up() -> None:
    """Three probes, after pauses that double; then the host's jobs come out as given up."""
    clock = Clock()
    turnstile: Turnstile[int] = Turnstile(Politeness(breaker=2, breaker_pause_s=1.0), clock=clock)
    host = turnstile.host("a")
    for job in range(9):
        turnstile.add(host, job)
    waits: list[float] = []
    while not host.given_up:
        waited_s, taken = 0.0, turnstile.take()
        if taken is None:
            assert turnstile.opens_s is not None
            waited_s = turnstile.opens_s - clock.now_s
            clock.now_s = turnstile.opens_s
            taken = turnstile.take()
        assert taken is not None
        waits.append(waited_s)
        host.failed(clock.now_s)
        turnstile.end(host)
    assert waits == [0.0, 0.0, 1.0, 2.0, 4.0]
    left = [job for _, job in iter(turnstile.take, None)]
    assert left == [5, 6, 7, 8]


def test_one_success_closes_a_breaker() -> None:
    """What was begun before it opened decides nothing; a probe that is answered does."""
    clock = Clock()
    turnstile: Turnstile[int] = Turnstile(Politeness(breaker=2, breaker_pause_s=1.0), clock=clock)
    host = turnstile.host("a")
    for job in range(12):
        turnstile.add(host, job)
    for _ in range(4):
        assert turnstile.take() is not None
    for _ in range(4):  # two open it, two come late
        host.failed(clock.now_s)
        turnstile.end(host)
    assert turnstile.take() is None
    clock.now_s += 1.0
    assert turnstile.take() is not None
    assert turnstile.take() is None
    host.succeeded(1.0)
    turnstile.end(host)
    assert len([*iter(turnstile.take, None)]) == 7


def test_what_has_not_begun_can_be_withdrawn() -> None:
    """A stop takes back all that waits, and nothing begins after it."""
    turnstile: Turnstile[str] = Turnstile(Politeness(per_host=1))
    for name in "aab":
        turnstile.add(turnstile.host(name), name)
    assert turnstile.take() is not None
    assert sorted(turnstile.withdraw()) == ["a", "b"]
    assert turnstile.take() is None


def test_adaptive_concurrency_follows_the_latency() -> None:
    """Quick replies raise it, slow ones and failures lower it, within 1 and its most."""
    adaptive = Adaptive(most=10)
    limits = [adaptive.limit]
    for _ in range(200):
        adaptive.succeeded(10.0)
    assert adaptive.limit == 10
    limits += [adaptive.limit]
    for _ in range(50):
        adaptive.succeeded(100.0)
    assert adaptive.limit < limits[-1]
    for _ in range(20):
        adaptive.failed()
    assert adaptive.limit == 1


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://me:pw@A.example:81/x@y", "a.example:81"),
        ("https://a.example?q=//b", "a.example:443"),
        ("http://a.example:080/", "a.example:80"),
        ("http://bücher.example/", "xn--bcher-kva.example:80"),
        ("http://[::1]:80#x", "[::1]:80"),
        ("no url", ""),
    ],
)
def test_a_url_names_its_host(url: str, host: str) -> None:
    """Name and port, however they are written, without user and password."""
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("headers", "pause_s"),
    [
        ({"ratelimit": '"default";r=0;t=30'}, 30.0),
        ({"ratelimit": '"default";r=50;t=30'}, None),
        ({"ratelimit": '"a";r=1;t=9, "b";r=0;t=7'}, 7.0),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "12"}, 12.0),
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "12"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "99999999999"}, MOST_S),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1000000001"}, 0.0),
        ({}, None),
    ],
)
def test_rate_limit_headers_ask_for_a_pause(headers: dict[str, str], pause_s: float | None) -> None:
    """The draft's field, its older pair and the X- ones; nothing is asked while some is left."""
    assert pause_asked_s(headers.get) == pause_s


@given(st.text(max_size=60))
def test_no_rate_limit_header_is_an_error(text: str) -> None:
    """Whatever a server sends: None, or a time within bounds."""
    for headers in ({"ratelimit": text}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": text}):
        pause_s = pause_asked_s(headers.get)
        assert pause_s is None or 0 <= pause_s <= MOST_S


@pytest.mark.parametrize(
    "wrong",
    [{"per_host": 0}, {"breaker": 0}, {"burst": 0}, {"rate_per_s": 0.0}, {"jitter": 2.0},
     {"delay_s": -1.0}],
)  # fmt: skip
def test_limits_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    """The message names the option."""
    with pytest.raises(UsageError, match=next(iter(wrong)).split("_")[0]):
        Politeness(**wrong)  # type: ignore[arg-type]


def test_delays_vary_by_their_jitter() -> None:
    """Between half and one and a half of the delay with a jitter of 50 %."""
    clock = Clock()
    draws = iter([0.0, 1.0, 0.5, 0.25])
    rules = Politeness(delay_s=2.0, jitter=0.5)
    turnstile: Turnstile[int] = Turnstile(rules, clock=clock, draw=lambda: next(draws))
    host = turnstile.host("a")
    for job in range(4):
        turnstile.add(host, job)
    moments: list[float] = []
    for _ in range(4):
        clock.now_s = max(clock.now_s, turnstile.opens_s or 0.0)
        assert turnstile.take() is not None
        moments.append(clock.now_s)
    assert [b - a for a, b in pairwise(moments)] == [1.0, 3.0, 2.0]
