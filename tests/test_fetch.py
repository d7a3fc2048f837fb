"""One target -> one record: headers to whom, redirects how far, time added up, never a raise."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64encode
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.engines.base import Reply, Request
from crawler.engines.fake import OK, UNSCRIPTED, FakeEngine, Script
from crawler.fetch import Plan, WallClock, attempt, unsent
from crawler.profile import Profile
from crawler.record import Record, Target
from crawler.settings import Settings

HERE = "http://here.test/"
NEUTRAL = (("User-Agent", "crawl"), ("Accept", "*/*"))
OWN = (*NEUTRAL, ("Authorization", "Bearer s3cret"), ("X-Own", "1"))
PROFILE = Profile(headers=OWN, neutral_headers=NEUTRAL)
SETTINGS = Settings(processes=0)


def fetch(
    engine: FakeEngine,
    target: Target | str = HERE,
    settings: Settings = SETTINGS,
    *,
    profile: Profile = PROFILE,
    cookies_for=None,
    number: int = 1,
) -> Record:
    """The record of one attempt, made with ``engine``."""
    if isinstance(target, str):
        target = Target(0, target)
    plan = Plan("run-1", engine, profile, settings, cookies_for)
    return asyncio.run(attempt(plan, target, number)).record


def redirect(location: str | None, status: int = 302, *, elapsed_us: int = 0) -> Reply:
    return OK._replace(status=status, location=location, elapsed_us=elapsed_us)


def names(request: Request) -> dict[str, str]:
    """A request's headers by name in lower case; one that is sent twice fails the test."""
    lowered = [name.lower() for name, _ in request.headers]
    assert len(lowered) == len(set(lowered)), f"sent twice: {lowered}"
    return {name.lower(): value for name, value in request.headers}


def basic(pair: str) -> str:
    return f"Basic {b64encode(pair.encode()).decode()}"


def test_a_fine_reply_becomes_a_record_field_by_field() -> None:
    """A reply's figures are the record's, microseconds as milliseconds."""
    reply = Reply(
        200, None, None, 0.0, 9_500, 1_000, 2_000, 3_000, 2_500, 1_000, 82, None, None,
        "2", "127.0.0.1:80", True,
    )  # fmt: skip
    fields = {"name": "金瓶梅"}
    record = fetch(FakeEngine({HERE: reply}), Target(7, HERE, fields=fields))
    assert record._replace(started="", lag_ms=0.0) == Record(
        "run-1", 7, HERE, "GET", 200, None, None, "", 9.5, 1.0, 2.0, 3.0, 2.5, 1.0, 0.0, 82, 1,
        HERE, "2", "127.0.0.1:80", True, fields,
    )  # fmt: skip


def test_the_number_of_the_attempt_is_the_number_of_requests() -> None:
    """``attempts`` counts the requests made for the target: attempt 3 was the third."""
    assert fetch(FakeEngine({HERE: OK}), number=3).attempts == 3


# --- URLs and the secrets in them -----------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["", "no url", "ftp://h/x", "http://h:99999/", "http://a..b/", "http://[::1/", "http://h/\0"],
)
def test_an_invalid_url_is_a_record_and_no_exchange(url: str) -> None:
    """What is no URL is answered with ``invalid_url``; nothing is sent, and no attempt counted."""
    engine = FakeEngine({})
    record = fetch(engine, url)
    assert (record.error, record.status, record.attempts) == ("invalid_url", None, 0)
    assert record.detail
    assert record.url == url
    assert record.final_url is None
    assert engine.requests == []


@pytest.mark.parametrize("tail", ["/", "/x", ":99999/", "..b/"])
def test_a_password_in_the_url_is_in_no_field(tail: str) -> None:
    """Credentials in a URL are masked in the record, whether it can be fetched or not."""
    record = fetch(FakeEngine(lambda _: OK), f"http://ann:pa55word@here.test{tail}")
    assert record.url == f"http://***@here.test{tail}"
    assert "pa55word" not in repr(record)


@pytest.mark.parametrize("number", [1, 2])
def test_what_was_not_sent_has_a_record_too(number: int) -> None:
    """``unsent`` gives a whole record: the URL masked, the attempts made, no status, no time."""
    target = Target(3, "http://ann:pa55word@h/", fields={"a": "b"})
    record = unsent("r", target, "PUT", "worker_lost", "killed", attempts=number)
    assert (record.seq, record.method, record.error, record.detail) == (
        3, "PUT", "worker_lost", "killed",
    )  # fmt: skip
    assert (record.url, record.status, record.elapsed_ms) == ("http://***@h/", None, 0.0)
    assert (record.attempts, record.fields) == (number, {"a": "b"})


def test_credentials_of_the_url_go_to_its_own_origin_only() -> None:
    """``user:pass@`` becomes Authorization there, in place of the run's, and nowhere else."""
    engine = FakeEngine(
        {"http://here.test/in": redirect("/on"), "http://here.test/on": redirect("http://b.test/")}
    )
    record = fetch(engine, "http://ann:p%40ss@here.test/in")
    asked = [names(request).get("authorization") for request in engine.requests]
    assert asked == [basic("ann:p@ss"), basic("ann:p@ss"), None]
    assert engine.requests[0].url == "http://here.test/in"
    assert record.final_url == "http://b.test/"


def test_credentials_in_a_location_are_neither_sent_nor_recorded() -> None:
    """A Location's userinfo is dropped: who redirects does not choose what we authenticate as."""
    engine = FakeEngine({HERE: redirect("http://eve:evil@here.test/x"), f"{HERE}x": OK})
    record = fetch(engine)
    assert names(engine.requests[1])["authorization"] == "Bearer s3cret"
    assert record.final_url == f"{HERE}x"
    assert "evil" not in repr(record)


# --- What is sent --------------------------------------------------------------------------


def test_the_run_says_what_is_sent_where_the_target_says_nothing() -> None:
    """Method, body, headers and time-out are the settings' and the session's."""
    settings = Settings(processes=0, method="PUT", body=b"all", timeout_s=7.0)
    engine = FakeEngine({HERE: OK})
    assert fetch(engine, settings=settings).method == "PUT"
    assert engine.requests == [Request(HERE, "PUT", OWN, b"all", 7.0)]


def test_a_target_says_it_otherwise() -> None:
    """A target's method and body win over the run's; its headers replace those of that name."""
    target = Target(0, HERE, "PATCH", (("x-own", "2"), ("X-New", "3")), b"")
    engine = FakeEngine({HERE: OK})
    record = fetch(engine, target, Settings(processes=0, method="PUT", body=b"all"))
    (sent,) = engine.requests
    assert (sent.method, sent.body, record.method) == ("PATCH", b"", "PATCH")
    assert names(sent) == {
        "user-agent": "crawl", "accept": "*/*", "authorization": "Bearer s3cret",
        "x-own": "2", "x-new": "3",
    }  # fmt: skip


def test_a_targets_own_headers_win_over_its_urls_and_its_cookies() -> None:
    """Authorization and Cookie are sent once: the target's own before what its URL brings."""
    own = (("authorization", "Token t"), ("cookie", "own=1"))
    engine = FakeEngine({HERE: OK})
    fetch(engine, Target(0, "http://ann:pw@here.test/", headers=own), cookies_for=lambda _: "jar=1")
    sent = names(engine.requests[0])
    assert (sent["authorization"], sent["cookie"]) == ("Token t", "own=1")


@pytest.mark.parametrize(
    ("jar", "given", "sent"),
    [
        ("a=1; b=2", (), "a=1; b=2"),
        ("a=1", ("b=2",), "a=1; b=2"),
        ("a=1; b=2; c=3", ("b=9",), "a=1; c=3; b=9"),
        (None, ("b=9",), "everywhere=1"),
    ],
)
def test_cookies_of_the_jar_are_asked_for_each_url(jar, given, sent: str) -> None:
    """The jar's cookies for this URL are sent, and the options' win over those of that name."""
    profile = Profile((*NEUTRAL, ("Cookie", "everywhere=1")), NEUTRAL)
    engine = FakeEngine({HERE: OK})
    fetch(
        engine,
        settings=Settings(processes=0, cookies=given),
        profile=profile,
        cookies_for={HERE: jar}.__getitem__,
    )
    assert names(engine.requests[0])["cookie"] == sent


def test_the_sessions_params_are_part_of_the_url() -> None:
    """``session.params`` are appended to the query of every target."""
    engine = FakeEngine({f"{HERE}?q=1&page=2": OK})
    profile = Profile(OWN, NEUTRAL, params=(("page", "2"),))
    assert fetch(engine, f"{HERE}?q=1", profile=profile).status == 200


# --- Redirects: where to -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("http://b.test/x", "http://b.test/x"),
        ("https://b.test", "https://b.test/"),
        ("//b.test/x", "http://b.test/x"),
        ("/x", "http://here.test/x"),
        ("x", "http://here.test/a/x"),
        ("../x?q=1", "http://here.test/x?q=1"),
        ("?q=2", "http://here.test/a/b?q=2"),
        ("/x#part", "http://here.test/x"),
        ("/a b", "http://here.test/a%20b"),
        ("/\u00e9\u0087\u0091", "http://here.test/%E9%87%91"),  # UTF-8, read as latin-1
        ("/\u00ff", "http://here.test/%FF"),
        ("http://B\u00c3\u00bccher.test/", "http://xn--bcher-kva.test/"),
    ],
)
def test_a_redirect_is_followed(location: str, url: str) -> None:
    """A Location may be absolute, relative, without a scheme, and not even ASCII."""
    engine = FakeEngine({"http://here.test/a/b": redirect(location), url: OK})
    record = fetch(engine, "http://here.test/a/b")
    assert [request.url for request in engine.requests] == ["http://here.test/a/b", url]
    assert (record.status, record.error, record.final_url) == (200, None, url)
    assert record.url == "http://here.test/a/b"


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://here.test/x",
        "javascript:alert(1)",
        "data:text/plain,x",
        "http://",
        "http://[::1/",
        "http://h:99999/",
        "//",
        "http://a..b/",
        "/nul\0byte",
        "http:here",
    ],
)
def test_a_redirect_that_leads_nowhere_is_an_error(location: str) -> None:
    """Only http and https URLs are followed; the reply that led astray is the record's."""
    engine = FakeEngine({HERE: redirect(location, elapsed_us=4_000)})
    record = fetch(engine)
    assert len(engine.requests) == 1
    assert (record.status, record.error) == (302, "redirects")
    assert record.detail
    assert record.detail.startswith("redirect to an address that cannot be followed: ")
    assert "\n" not in record.detail
    assert "\0" not in record.detail
    assert (record.elapsed_ms, record.final_url, record.attempts) == (4.0, HERE, 1)


@pytest.mark.parametrize("location", [None, ""])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_without_a_location_is_a_reply_like_any_other(status, location) -> None:
    """A 3xx reply that names no place is the final one, and no error."""
    engine = FakeEngine({HERE: redirect(location, status)})
    record = fetch(engine, f"{HERE}#part")
    assert (record.status, record.error, record.final_url) == (status, None, f"{HERE}#part")
    assert len(engine.requests) == 1


@pytest.mark.parametrize("location", [None, ""])
def test_a_chain_ends_where_no_location_leads_on(location) -> None:
    """A later redirect that names no place ends the chain there, and is no error."""
    engine = FakeEngine({HERE: redirect("/x"), f"{HERE}x": redirect(location, 307)})
    record = fetch(engine)
    assert (record.status, record.error, record.final_url) == (307, None, f"{HERE}x")
    assert len(engine.requests) == 2


@pytest.mark.parametrize("status", [200, 201, 300, 304, 305, 306, 399])
def test_a_location_is_followed_from_a_redirect_only(status: int) -> None:
    """Of all replies only 301, 302, 303, 307 and 308 lead on."""
    engine = FakeEngine({HERE: redirect("/x", status)})
    assert fetch(engine).status == status
    assert len(engine.requests) == 1


def test_a_broken_redirect_is_not_followed() -> None:
    """A redirect whose transfer failed is a failure, not a way on."""
    broken = redirect("/x")._replace(error="protocol", detail="transfer closed")
    engine = FakeEngine({HERE: broken})
    record = fetch(engine)
    assert (record.status, record.error, record.detail) == (302, "protocol", "transfer closed")
    assert len(engine.requests) == 1


def test_a_failure_behind_a_redirect_is_the_records() -> None:
    """When the place that a redirect leads to cannot be reached, that is what is told."""
    engine = FakeEngine({HERE: redirect("http://b.test/")})
    record = fetch(engine)
    assert (record.status, record.error, record.detail) == (None, "connect", UNSCRIPTED.detail)
    assert record.final_url == "http://b.test/"


# --- Redirects: how far --------------------------------------------------------------------


def ring(request: Request) -> Reply:
    """``/0`` leads to ``/1``, that to ``/2``, and so on without end."""
    return redirect(f"/{int(request.url.rpartition('/')[2]) + 1}", elapsed_us=1_000)


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_no_more_redirects_are_followed_than_allowed(limit: int) -> None:
    """After ``max_redirects`` hops the next redirect is the error ``redirects``."""
    engine = FakeEngine(ring)
    record = fetch(engine, f"{HERE}0", Settings(processes=0, max_redirects=limit))
    assert [request.url for request in engine.requests] == [f"{HERE}{n}" for n in range(limit + 1)]
    assert (record.status, record.error) == (302, "redirects")
    assert record.detail == f"more than {limit} redirects (--max-redirects)"
    assert record.elapsed_ms == limit + 1
    assert record.final_url == f"{HERE}{limit}"


def test_as_many_redirects_as_allowed_are_fine() -> None:
    """A chain of exactly ``max_redirects`` hops arrives."""
    engine = FakeEngine({HERE: redirect("/1"), f"{HERE}1": redirect("/2"), f"{HERE}2": OK})
    record = fetch(engine, settings=Settings(processes=0, max_redirects=2))
    assert (record.status, record.error, record.final_url) == (200, None, f"{HERE}2")


def test_no_redirect_is_followed_where_none_is_allowed() -> None:
    """With ``max_redirects`` 0 a redirect is the answer: status 302 and no error."""
    engine = FakeEngine({HERE: redirect("/x")})
    record = fetch(engine, settings=Settings(processes=0, max_redirects=0))
    assert (record.status, record.error, record.final_url) == (302, None, HERE)
    assert len(engine.requests) == 1


def test_a_loop_ends_at_the_limit() -> None:
    """A URL that redirects to itself is given up like any other endless chain."""
    engine = FakeEngine({HERE: redirect(HERE)})
    assert fetch(engine).error == "redirects"
    assert len(engine.requests) == 11


# --- Redirects: with what ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "POST", "GET"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
        (301, "PUT", "PUT"),
        (302, "DELETE", "DELETE"),
        (303, "PUT", "GET"),
        (303, "GET", "GET"),
        (307, "PATCH", "PATCH"),
        (301, "HEAD", "HEAD"),
        (303, "HEAD", "HEAD"),
        (308, "HEAD", "HEAD"),
    ],
)
def test_a_redirect_chooses_the_method(status: int, method: str, then: str) -> None:
    """POST becomes GET after 301 and 302, all but HEAD after 303; a body goes with the method."""
    body = None if method in ("GET", "HEAD") else b"text"
    engine = FakeEngine({HERE: redirect("/x", status), f"{HERE}x": OK})
    record = fetch(engine, Target(0, HERE, method, None, body))
    assert engine.requests[1].method == then
    assert engine.requests[1].body == (body if then == method else None)
    assert record.method == method


def test_headers_of_a_body_go_when_the_body_goes() -> None:
    """Content-Type and the like describe a body; after a POST became GET they are gone for good."""
    own = (("Content-Type", "text/plain"), ("content-length", "4"), ("X-Own", "1"))
    engine = FakeEngine({HERE: redirect("/x", 303), f"{HERE}x": redirect("/y", 307)})
    fetch(engine, Target(0, HERE, "POST", own, b"text"))
    sent = [names(request).keys() for request in engine.requests]
    assert {"content-type", "content-length"} <= sent[0]
    for later in sent[1:]:
        assert later == {"user-agent", "accept", "authorization", "x-own"}


@pytest.mark.parametrize(("status", "body"), [(307, b"text"), (302, None)])
def test_headers_of_a_body_stay_while_nothing_changes(status: int, body: bytes | None) -> None:
    """A redirect that keeps the method keeps a Content-Type that the user gave."""
    method = "GET" if body is None else "POST"
    engine = FakeEngine({HERE: redirect("/x", status), f"{HERE}x": OK})
    fetch(engine, Target(0, HERE, method, (("Content-Type", "text/plain"),), body))
    assert names(engine.requests[1])["content-type"] == "text/plain"


@pytest.mark.parametrize(
    "there",
    [
        "https://here.test/",
        "http://here.test:8080/",
        "http://sub.here.test/",
        "http://test/",
        "http://here.test.evil.test/",
        "http://127.0.0.1/",
    ],
)
def test_own_headers_go_to_the_own_origin_only(there: str) -> None:
    """Scheme, host and port must all be the target's; any other origin gets neutral headers."""
    engine = FakeEngine({HERE: redirect(there), there: OK})
    target = Target(0, HERE, headers=(("X-Key", "k3y"),))
    fetch(engine, target, cookies_for=lambda _: "session=1")
    first, second = engine.requests
    assert names(first).keys() >= {"authorization", "x-own", "x-key", "cookie"}
    assert first.own_origin
    assert second.headers == NEUTRAL
    assert not second.own_origin


@pytest.mark.parametrize("there", ["http://here.test:80/x", "HTTP://HERE.test/x", "/x"])
def test_the_own_origin_may_be_written_otherwise(there: str) -> None:
    """The default port and capitals in the host make no other origin."""
    engine = FakeEngine({HERE: redirect(there)})
    fetch(engine)
    assert engine.requests[1].headers == OWN
    assert engine.requests[1].own_origin


def test_own_headers_come_back_with_the_chain() -> None:
    """A chain that leads away and home again shows the own headers at home only."""
    engine = FakeEngine(
        {HERE: redirect("http://b.test/"), "http://b.test/": redirect(f"{HERE}home")}
    )
    fetch(engine)
    assert [request.headers for request in engine.requests] == [OWN, NEUTRAL, OWN]
    assert [request.own_origin for request in engine.requests] == [True, False, True]


# --- Time ----------------------------------------------------------------------------------


def test_times_of_a_chain_are_added_up() -> None:
    """Duration and phases are the whole chain's; bytes, remote and version the last reply's."""
    first = Reply(302, None, None, 0.0, 10_000, 1_000, 2_000, 3_000, 3_500, 500, 99, "/x", None,
                  "1.1", "127.0.0.1:1", False)  # fmt: skip
    last = Reply(200, None, None, 0.0, 5_000, 0, 0, 0, 4_000, 1_000, 7, None, None,
                 "2", "127.0.0.1:2", True)  # fmt: skip
    record = fetch(FakeEngine({HERE: first, f"{HERE}x": last}))
    assert (record.elapsed_ms, record.dns_ms, record.connect_ms) == (15.0, 1.0, 2.0)
    assert (record.tls_ms, record.wait_ms, record.receive_ms) == (3.0, 7.5, 1.5)
    assert (record.bytes, record.remote, record.http_version) == (7, "127.0.0.1:2", "2")
    assert not record.reused


def test_a_chain_starts_when_its_first_request_starts() -> None:
    """``started`` is the start of the chain, not of its last hop."""
    begun_s: list[float] = []

    def script(request: Request) -> Reply:
        begun_s.append(time.time())
        return redirect("/x") if request.url == HERE else OK

    record = fetch(FakeEngine(script, delay_s=0.1))
    started_s = datetime.fromisoformat(record.started).timestamp()
    assert begun_s[1] - begun_s[0] > 0.09
    assert started_s == pytest.approx(begun_s[0], abs=0.05)
    assert record.elapsed_ms == pytest.approx(200.0)


def test_the_deadline_spans_the_chain() -> None:
    """Each hop has what the hops before it left of the time-out; the sum never exceeds it."""
    engine = FakeEngine(lambda request: ring(request)._replace(elapsed_us=4_000_000))
    record = fetch(engine, f"{HERE}0", Settings(processes=0, timeout_s=10.0))
    assert [request.timeout_s for request in engine.requests] == pytest.approx([10.0, 6.0, 2.0])
    assert (record.error, record.status, record.elapsed_ms) == ("timeout", None, 10_000.0)


def test_no_hop_begins_when_the_time_is_up() -> None:
    """A redirect that arrives with the deadline is a time-out, its time counted once."""
    used_up = redirect("/x", elapsed_us=2_000_000)._replace(wait_us=1_900_000, dns_us=1_000)
    engine = FakeEngine({HERE: used_up})
    record = fetch(engine, settings=Settings(processes=0, timeout_s=2.0))
    assert len(engine.requests) == 1
    assert (record.error, record.detail) == ("timeout", "timed out in redirects")
    assert (record.elapsed_ms, record.wait_ms, record.dns_ms) == (2000.0, 1900.0, 1.0)


def test_lateness_counts_from_the_moment_due() -> None:
    """``lag_ms`` is the true start minus the moment due."""
    target = Target(0, HERE, due=time.monotonic() - 2.0)
    assert 2000.0 <= fetch(FakeEngine({HERE: OK}), target).lag_ms < 12_000.0


def test_what_is_due_at_once_is_due_when_it_is_picked() -> None:
    """Without a moment due, only what passes between picking a target and its start is lag."""

    class Late(FakeEngine):
        async def exchange(self, request: Request) -> Reply:
            await asyncio.sleep(0.1)
            return await super().exchange(request)

    assert 100.0 <= fetch(Late({HERE: OK})).lag_ms < 10_000.0
    assert 0.0 <= fetch(FakeEngine({HERE: OK}, delay_s=0.1)).lag_ms < 99.0


def test_started_is_utc_with_microseconds() -> None:
    """``started`` is ISO 8601 in UTC with exactly six decimals, near the present."""
    record = fetch(FakeEngine({HERE: OK}))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record.started)
    age = datetime.now(UTC) - datetime.fromisoformat(record.started)
    assert 0 <= age.total_seconds() + 0.01 < 10


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Both clocks as a test sets them: ``wall_s`` and ``monotonic_s``."""
    now = SimpleNamespace(wall_s=1_700_000_000.25, monotonic_s=500.0)
    mocked = SimpleNamespace(
        time=lambda: now.wall_s,
        monotonic=lambda: now.monotonic_s,
        strftime=time.strftime,
        gmtime=time.gmtime,
    )
    monkeypatch.setattr("crawler.fetch.time", mocked)
    return now


def test_the_wall_clock_formats_moments_of_the_monotonic_clock(clocks) -> None:
    """A moment before or after the present is shown as far before or after it."""
    clock = WallClock()
    assert clock.text(500.0) == "2023-11-14T22:13:20.250000Z"
    assert clock.text(500.5) == "2023-11-14T22:13:20.750000Z"
    assert clock.text(499.0) == "2023-11-14T22:13:19.250000Z"
    assert clock.text(500.0) == "2023-11-14T22:13:20.250000Z"


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 0.5])
def test_a_stepped_wall_clock_is_followed_within_a_second(clocks, step_s: float) -> None:
    """When somebody sets the wall clock, text follows it from the next second on at the latest."""
    clock = WallClock()
    clock.text(500.0)
    clocks.monotonic_s += 1.0
    clocks.wall_s += 1.0 + step_s
    shown = datetime.fromisoformat(clock.text(501.0)).timestamp()
    assert shown == pytest.approx(clocks.wall_s, abs=1e-5)


@given(st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=20))
def test_a_moments_text_does_not_depend_on_what_was_asked_before(offsets) -> None:
    """Moments asked in any order are shown to the microsecond where they are."""
    clock = WallClock()
    now_s, ahead_s = time.monotonic(), time.time() - time.monotonic()
    for offset_s in offsets:
        shown = datetime.fromisoformat(clock.text(now_s + offset_s)).timestamp()
        assert shown == pytest.approx(now_s + offset_s + ahead_s, abs=0.01)


# --- Outcomes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (400, "HTTP 400 Bad Request"),
        (404, "HTTP 404 Not Found"),
        (429, "HTTP 429 Too Many Requests"),
        (503, "HTTP 503 Service Unavailable"),
        (499, "HTTP 499"),
        (599, "HTTP 599"),
        (999, "HTTP 999"),
    ],
)
def test_a_status_of_400_and_above_is_an_error(status: int, detail: str) -> None:
    """``http`` with the status and, where there is one, its phrase."""
    record = fetch(FakeEngine({HERE: OK._replace(status=status)}))
    assert (record.status, record.error, record.detail) == (status, "http", detail)


@pytest.mark.parametrize("status", [200, 204, 299, 304, 399])
def test_a_status_below_400_is_fine(status: int) -> None:
    """No other status is an error."""
    record = fetch(FakeEngine({HERE: OK._replace(status=status)}))
    assert (record.status, record.error, record.detail) == (status, None, None)


@pytest.mark.parametrize("error", ["dns", "connect", "tls", "timeout", "protocol", "too_large"])
@pytest.mark.parametrize("status", [None, 200, 500])
def test_an_engines_error_is_the_records(error, status) -> None:
    """What an engine calls an error keeps its class and words, whatever the status was."""
    reply = OK._replace(status=status, error=error, detail="in words")
    record = fetch(FakeEngine({HERE: reply}))
    assert (record.status, record.error, record.detail) == (status, error, "in words")


def test_retry_after_is_handed_on_as_it_came() -> None:
    """What the server asked for in Retry-After goes to the policy verbatim."""
    engine = FakeEngine({HERE: OK._replace(status=429, retry_after="soon")})
    outcome = asyncio.run(attempt(Plan("r", engine, PROFILE, SETTINGS), Target(0, HERE), 1))
    assert outcome.retry_after == "soon"


LOCATIONS = st.one_of(
    st.text(max_size=50),
    st.binary(max_size=50).map(lambda raw: raw.decode("latin-1")),
    st.lists(
        st.sampled_from(
            ["http:", "https:", "//", "/", "\\", "@", "u:p@", "b.test", "here.test", ":", "80", "[",
             "::1]", "?q", "#", "..", ".", "%", "%zz", " ", "\t", "\r\n", "\0", "金", "\ud800",
             "file:", "javascript:"]
        ),
        max_size=8,
    ).map("".join),
)  # fmt: skip


@given(LOCATIONS)
def test_any_location_gives_a_record(location: str) -> None:
    """Whatever a server writes into Location, a record comes back and only http(s) is asked."""
    engine = FakeEngine(lambda request: redirect(location) if request.url == HERE else OK)
    record = fetch(engine)
    assert record.error in (None, "redirects")
    assert record.detail is None or record.detail.isprintable()
    for request in engine.requests[1:]:
        assert re.fullmatch(r"https?://[!-~]+", request.url)
        assert re.match(r"https?://[^/@]*/", request.url), "no userinfo goes on the wire"
        at_home = re.match(r"http://here\.test(:80)?/", request.url) is not None
        assert request.headers == (OWN if at_home else NEUTRAL)


@given(st.text(max_size=50))
def test_any_text_for_a_url_gives_a_record(text: str) -> None:
    """Whatever stands in a list, a record comes back; what is refused is not sent."""
    engine = FakeEngine(lambda _: OK)
    record = fetch(engine, f"http://{text}")
    assert (record.error == "invalid_url") == (not engine.requests)


# --- The scripted engine itself ------------------------------------------------------------


def exchanges(engine: FakeEngine, *urls: str, timeout_s: float = 9.0) -> list[Reply]:
    async def all_at_once() -> list[Reply]:
        asked = [engine.exchange(Request(url, "GET", (), None, timeout_s)) for url in urls]
        return await asyncio.gather(*asked)

    return asyncio.run(all_at_once())


def test_a_list_of_replies_is_played_in_order() -> None:
    """Each request for a URL takes its next reply; the last one is repeated."""
    script: Script = {HERE: [OK._replace(status=n) for n in (500, 502, 200)], "http://b/": OK}
    replies = exchanges(FakeEngine(script), HERE, "http://b/", HERE, HERE, HERE)
    assert [reply.status for reply in replies] == [500, 200, 502, 200, 200]


def test_a_url_without_a_script_is_a_closed_port() -> None:
    """What is not in the script answers with a connect error, and never raises."""
    assert exchanges(FakeEngine({}), HERE)[0].error == "connect"


def test_exchanges_under_way_are_counted() -> None:
    """``most_in_flight`` is how many were under way at once; at the end none is."""
    engine = FakeEngine({HERE: OK}, delay_s=0.01)
    exchanges(engine, *[HERE] * 5)
    exchanges(engine, HERE)
    assert (len(engine.requests), engine.most_in_flight, engine.in_flight) == (6, 5, 0)


def test_a_delay_is_part_of_the_time() -> None:
    """The delay is slept, and added to the reported duration and wait."""
    before = time.monotonic()
    engine = FakeEngine({HERE: OK._replace(elapsed_us=5, wait_us=2)}, delay_s=0.05)
    (reply,) = exchanges(engine, HERE)
    assert time.monotonic() - before >= 0.049
    assert (reply.elapsed_us, reply.wait_us) == (50_005, 50_002)
    assert reply.started_s == pytest.approx(before, abs=0.04)


def test_what_takes_longer_than_the_timeout_is_a_timeout() -> None:
    """A delay beyond the request's time-out is slept no longer than that."""
    before = time.monotonic()
    (reply,) = exchanges(FakeEngine({HERE: OK}, delay_s=60.0), HERE, timeout_s=0.02)
    assert time.monotonic() - before < 30
    assert (reply.error, reply.status, reply.elapsed_us) == ("timeout", None, 20_000)


def test_a_closed_engine_makes_no_exchange() -> None:
    """Exchanges end before an engine is closed, and none begins after."""
    engine = FakeEngine({HERE: OK}, delay_s=0.01)

    async def close_under_way() -> None:
        task = asyncio.create_task(engine.exchange(Request(HERE, "GET", (), None, 1.0)))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="1 exchanges are under way"):
            engine.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(close_under_way())
    assert engine.in_flight == 0
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        exchanges(engine, HERE)
