"""Retries: what is tried again, how often, and how long is waited. No test really sleeps."""

from __future__ import annotations

import asyncio
import time
import timeit
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.engines.base import Reply
from crawler.engines.fake import OK, FakeEngine
from crawler.fetch import Plan, attempt, unsent
from crawler.profile import Profile
from crawler.record import Target
from crawler.retry import Attempt, retry, retry_after_s, worth_retrying
from crawler.settings import Settings

URL = "http://here.test/"
PROFILE = Profile((), ())
SETTINGS = Settings(processes=0)
FINE = Attempt(
    unsent("r", Target(0, URL), "GET", "http", "", attempts=1)._replace(
        error=None, detail=None, status=200
    )
)


def outcome(
    error=None, status: int | None = None, *, method: str = "GET", retry_after: str | None = None
) -> Attempt:
    return Attempt(
        FINE.record._replace(error=error, status=status, method=method), retry_after=retry_after
    )


class Waits(list[float]):
    """A sleep that notes how long it was asked for and returns at once."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def tried(
    replies: list[Reply], settings: Settings = SETTINGS, *, method: str = "GET"
) -> tuple[Attempt, FakeEngine, Waits]:
    """What came of a target whose attempts get these replies; the engine; the waits between."""
    engine, waits = FakeEngine({URL: replies}), Waits()
    plan, target = Plan("r", engine, PROFILE, settings), Target(0, URL, method)

    async def all_attempts() -> Attempt:
        first = await attempt(plan, target, 1)
        return await retry(first, lambda n: attempt(plan, target, n), settings, sleep=waits)

    return asyncio.run(all_attempts()), engine, waits


def failing(status: int, retry_after: str | None = None) -> Reply:
    return OK._replace(status=status, retry_after=retry_after)


# --- What is tried again -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "again"),
    [
        ("connect", True),
        ("dns", True),
        ("timeout", True),
        ("protocol", True),
        ("tls", False),
        ("too_large", False),
        ("redirects", False),
        ("invalid_url", False),
        ("blocked", False),
        ("aborted", False),
        ("worker_lost", False),
        (None, False),
    ],
)
def test_these_errors_are_tried_again(error, again: bool) -> None:
    """What another attempt may mend is tried again; what it cannot is final."""
    assert worth_retrying(outcome(error), SETTINGS) is again


@pytest.mark.parametrize("status", range(400, 600))
def test_these_statuses_are_tried_again(status: int) -> None:
    """Of all statuses, 408, 425, 429, 500, 502, 503 and 504 are worth another attempt."""
    again = status in (408, 425, 429, 500, 502, 503, 504)
    assert worth_retrying(outcome("http", status), SETTINGS) is again


@pytest.mark.parametrize("error", ["too_large", "redirects", "unexpected"])
def test_a_status_does_not_make_a_final_error_worth_it(error) -> None:
    """A body too large and a lost way stay what they are, also with a status of 503."""
    assert not worth_retrying(outcome(error, 503), SETTINGS)


@pytest.mark.parametrize("status", [200, 302, 404])
def test_a_broken_transfer_is_tried_again_whatever_its_status(status: int) -> None:
    """A transfer that broke off is worth another attempt, though its status was final."""
    assert worth_retrying(outcome("protocol", status), SETTINGS)


@pytest.mark.parametrize("method", ["POST", "PATCH", "post", "Patch"])
def test_unsafe_methods_are_tried_again_on_demand_only(method: str) -> None:
    """POST and PATCH may have had their effect: only ``retry_unsafe`` repeats them."""
    for failed in (outcome("connect", method=method), outcome("http", 503, method=method)):
        assert not worth_retrying(failed, SETTINGS)
        assert worth_retrying(failed, Settings(processes=0, retry_unsafe=True))


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_methods_that_may_be_repeated_are(method: str) -> None:
    """An idempotent method is tried again without asking (RFC 9110, section 9.2.2)."""
    assert worth_retrying(outcome("http", 503, method=method), SETTINGS)


def test_without_retries_nothing_is_worth_it() -> None:
    """With ``retries`` 0 every failure is final."""
    assert not worth_retrying(outcome("connect"), Settings(processes=0, retries=0))


# --- How often -----------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_there_are_as_many_attempts_as_retries_and_one(retries: int) -> None:
    """With ``retries`` n a failure is attempted n + 1 times; the record tells how often."""
    settings = Settings(processes=0, retries=retries)
    last, engine, waits = tried([failing(503)], settings)
    assert len(engine.requests) == last.record.attempts == retries + 1
    assert len(waits) == retries, "nothing is waited for after the last attempt"
    assert (last.record.status, last.record.error) == (503, "http")


def test_the_record_given_is_the_last_attempts() -> None:
    """When every attempt fails, the last one's record is given, not the first one's."""
    broken = OK._replace(status=None, error="connect", detail="refused")
    last, _, _ = tried([failing(500), failing(502), broken])
    assert (last.record.error, last.record.detail) == ("connect", "refused")
    assert last.record.attempts == 3


@pytest.mark.parametrize("failures", [1, 2])
def test_the_first_attempt_that_is_fine_ends_it(failures: int) -> None:
    """After a success nothing is sent any more, though attempts are left."""
    last, engine, waits = tried([failing(503)] * failures + [OK, failing(500)])
    assert (last.record.status, last.record.attempts) == (200, failures + 1)
    assert (len(engine.requests), len(waits)) == (failures + 1, failures)


def test_a_final_failure_ends_it_too() -> None:
    """An outcome that is not worth retrying is given as it is, in the middle as well."""
    last, engine, _ = tried([failing(503), failing(404), OK])
    assert (last.record.status, last.record.attempts) == (404, 2)
    assert len(engine.requests) == 2


def test_a_post_is_sent_once() -> None:
    """An unsafe method is attempted once, and again with ``retry_unsafe``."""
    _, once, _ = tried([failing(503)], method="POST")
    _, thrice, _ = tried([failing(503)], Settings(processes=0, retry_unsafe=True), method="POST")
    assert (len(once.requests), len(thrice.requests)) == (1, 3)


@pytest.mark.parametrize("first", [FINE, outcome("http", 404), outcome("http", 503, method="POST")])
def test_what_is_final_never_enters_tenacity(first: Attempt, monkeypatch) -> None:
    """A first attempt that is not to be repeated is handed back as it is, without tenacity."""
    monkeypatch.setattr("crawler.retry.AsyncRetrying", None)

    async def again(number: int) -> Attempt:
        raise AssertionError(f"attempt {number} was made")

    assert asyncio.run(retry(first, again, SETTINGS)) is first


def test_a_fine_first_attempt_costs_next_to_nothing() -> None:
    """Handing back a fine attempt costs a fraction of one pass through tenacity."""

    async def again(_number: int) -> Attempt:
        return FINE

    async def cost_s(first: Attempt) -> float:
        async def many() -> None:
            for _ in range(50):
                await retry(first, again, SETTINGS, sleep=Waits())

        timings = []
        for _ in range(5):
            before = timeit.default_timer()
            await many()
            timings.append(timeit.default_timer() - before)
        return min(timings)

    fine_s, failed_s = asyncio.run(cost_s(FINE)), asyncio.run(cost_s(outcome("timeout")))
    assert fine_s < failed_s / 4


def test_an_exception_is_not_an_outcome() -> None:
    """What an attempt raises is a bug: it propagates at once, unwrapped, and is not retried."""
    numbers: list[int] = []

    async def again(number: int) -> Attempt:
        numbers.append(number)
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        asyncio.run(retry(outcome("timeout"), again, SETTINGS, sleep=Waits()))
    assert numbers == [2]


@pytest.mark.parametrize("where", ["asleep", "at work"])
def test_a_retry_can_be_cancelled(where: str) -> None:
    """Cancelling ends a retry at once, while it sleeps and while it works."""

    async def hang(_: float) -> None:
        await asyncio.Event().wait()

    async def again(_number: int) -> Attempt:
        await hang(0)
        return FINE

    async def cancel() -> None:
        sleep = hang if where == "asleep" else Waits()
        task = asyncio.create_task(retry(outcome("timeout"), again, SETTINGS, sleep=sleep))
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)

    asyncio.run(cancel())


def test_retries_do_not_disturb_each_other() -> None:
    """Many retries under way at once each count their own attempts."""
    engine = FakeEngine(lambda _: [failing(503), failing(503), OK])
    plan = Plan("r", engine, PROFILE, SETTINGS)

    async def one(seq: int) -> Attempt:
        target = Target(seq, f"{URL}{seq}")
        first = await attempt(plan, target, 1)
        return await retry(first, lambda n: attempt(plan, target, n), SETTINGS, sleep=Waits())

    async def many() -> list[Attempt]:
        return await asyncio.gather(*map(one, range(100)))

    done = asyncio.run(many())
    assert [each.record.seq for each in done] == list(range(100))
    assert {each.record.attempts for each in done} == {3}


# --- How long is waited --------------------------------------------------------------------


def test_waits_grow_with_full_jitter_up_to_the_cap() -> None:
    """Wait n is anywhere from 0 to backoff * 2^(n-1), and never above the cap."""
    settings = Settings(processes=0, retries=6, backoff_s=0.5, backoff_max_s=3.0)
    runs = [tried([failing(503)], settings)[2] for _ in range(150)]
    for nth, bound_s in enumerate([0.5, 1.0, 2.0, 3.0, 3.0, 3.0]):
        waits = [waits[nth] for waits in runs]
        assert 0 <= min(waits) < 0.2 * bound_s
        assert 0.8 * bound_s < max(waits) <= bound_s


def test_the_default_waits_are_short() -> None:
    """By default the first wait is at most a quarter of a second, the second half a second."""
    for _ in range(20):
        first_s, second_s = tried([failing(503)])[2]
        assert 0 <= first_s <= 0.25
        assert 0 <= second_s <= 0.5


def test_many_retries_do_not_overflow() -> None:
    """The exponent of a long series does not matter: the cap holds."""
    settings = Settings(processes=0, retries=1100, backoff_max_s=2.0)
    last, _, waits = tried([failing(503)], settings)
    assert last.record.attempts == 1101
    assert max(waits) <= 2.0


@pytest.mark.parametrize(("asked", "waited_s"), [("7", 7.0), (" 12 ", 12.0), ("0", 0.0)])
def test_retry_after_is_honoured_to_the_letter(asked: str, waited_s: float) -> None:
    """The seconds that the server asks for are waited, beyond the cap of our own backoff too."""
    settings = Settings(processes=0, backoff_max_s=1.0)
    assert tried([failing(429, asked)], settings)[2] == [waited_s, waited_s]


def test_each_wait_is_what_the_reply_before_it_asked_for() -> None:
    """Retry-After counts for the one wait that follows it; without one there is jitter again."""
    _, _, waits = tried([failing(429, "9"), failing(503), OK])
    assert waits[0] == 9.0
    assert waits[1] <= 0.5


def test_retry_after_may_be_a_date() -> None:
    """A date is waited for."""
    at = datetime.now(UTC) + timedelta(seconds=100)
    _, _, (first_s, _) = tried([failing(503, format_datetime(at, usegmt=True))])
    assert 60 < first_s <= 100


@pytest.mark.parametrize("asked", ["soon", "-5", "1.5", "", "5, 5", "²", "Wed, 99 Foo"])
def test_what_is_no_retry_after_is_ignored(asked: str) -> None:
    """Garbage, negative and broken numbers count as no Retry-After: our own backoff holds."""
    last, _, waits = tried([failing(503, asked)])
    assert last.record.attempts == 3
    assert waits[0] <= 0.25


@pytest.mark.parametrize(
    ("asked", "attempts"),
    [("300", 3), ("301", 1), ("9" * 400, 1), ("Fri, 31 Dec 9999 23:59:59 GMT", 1)],
)
def test_a_wait_that_is_too_long_makes_the_failure_final(asked: str, attempts: int) -> None:
    """Beyond ``retry_after_max_s`` nothing is waited: the failure is given at once."""
    last, engine, waits = tried([failing(503, asked)])
    assert last.record.attempts == len(engine.requests) == attempts
    assert len(waits) == attempts - 1


def test_a_later_wait_that_is_too_long_ends_it() -> None:
    """The limit holds for every reply, not for the first alone."""
    last, _, waits = tried([failing(503, "1"), failing(503, "999"), OK])
    assert (last.record.attempts, last.record.status, waits) == (2, 503, [1.0])


NOW_S = datetime(1994, 11, 6, 8, 49, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 37.0),
        ("Sun Nov  6 08:49:37 1994", 37.0),
        ("Sun, 06 Nov 1994 08:49:37 -0000", 37.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 0.0),
        ("0120", 120.0),
        ("0000000000000005", 5.0),
    ],
)
def test_each_format_of_a_date_is_utc(value, seconds, zone, monkeypatch) -> None:
    """All three date formats are UTC, wherever we are; what is past asks for no wait."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert retry_after_s(value, now_s=NOW_S) == seconds
    finally:
        monkeypatch.undo()
        time.tzset()


PIECES = [
    *"0123456789 ,:-+/.GMTZ\t", "Sun, ", "06 ", "Nov ", "1994 ", "08:49:37 ", "GMT", "-0000",
    "+9999999999999", "99999999999999999999",
]  # fmt: skip


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=9).map("".join)))
@example("Mon, 1 Jan 99999999999999999999 00:00:00 GMT")
@example("Mon, 1 Jan 2024 00:00:00 +9999999999999999999")
def test_any_retry_after_is_a_wait_or_none(value: str) -> None:
    """Whatever a server writes, the answer is seconds of at least 0, or None; it never raises."""
    seconds = retry_after_s(value)
    assert seconds is None or seconds >= 0.0


def test_no_header_asks_for_nothing() -> None:
    """Without the header there is nothing to honour."""
    assert retry_after_s(None) is None
