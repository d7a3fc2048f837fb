"""When to try again, and how long to wait; nothing else knows tenacity.

The defaults are numbers with a reason: 2 retries, exponential backoff with full jitter from 0.25 s
(AWS Architecture Blog, "Exponential Backoff And Jitter"), capped at 30 s; a server's Retry-After
(RFC 9110, section 10.2.3) is honoured to the letter, up to 5 minutes, beyond which the failure is
final. tenacity costs 21 us even when nothing fails, so it is entered only after a failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_result,
    stop_after_attempt,
    wait_random_exponential,
)

from crawler.engines.base import Kept
from crawler.record import Record
from crawler.settings import Settings

RETRIED_ERRORS: Final = frozenset(("connect", "dns", "timeout", "protocol"))
RETRIED_STATUSES: Final = frozenset((408, 425, 429, 500, 502, 503, 504))
_FINAL_ERRORS: Final = frozenset(("too_large", "redirects", "unexpected"))
"""Final whatever the status: a 503 that was expected and has a wrong body stays what it is."""
UNSAFE_METHODS: Final = frozenset(("POST", "PATCH"))

Sleep = Callable[[float], Awaitable[None]]


class Attempt(NamedTuple):
    """One attempt's record, what the server asked for in Retry-After (verbatim, or None), its reply
    where replies are kept, and for how long rate-limit headers ask to leave the host alone."""

    record: Record
    retry_after: str | None = None
    kept: Kept | None = None
    pause_s: float | None = None


def worth_retrying(attempt: Attempt, settings: Settings) -> bool:
    """Tell whether this outcome may be followed by another attempt under these settings."""
    record = attempt.record
    if record.error is None or settings.retries == 0:
        return False
    if record.error not in RETRIED_ERRORS and record.status not in RETRIED_STATUSES:
        return False
    if record.error in _FINAL_ERRORS:
        return False
    if record.method.upper() in UNSAFE_METHODS and not settings.retry_unsafe:
        return False
    asked_s = retry_after_s(attempt.retry_after)
    return asked_s is None or asked_s <= settings.retry_after_max_s


def retry_after_s(value: str | None, *, now_s: float | None = None) -> float | None:
    """Seconds that a Retry-After value (seconds or an HTTP date) asks to wait; None without one.

    Each of the three date formats of RFC 9110, section 5.6.7, is UTC, also the one that names no
    zone. ``now_s`` is the wall clock (``time.time`` seconds).
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - (time.time() if now_s is None else now_s))


async def retry(
    first: Attempt,
    again: Callable[[int], Awaitable[Attempt]],
    settings: Settings,
    *,
    sleep: Sleep = asyncio.sleep,
) -> Attempt:
    """Go on after a failed ``first`` attempt; give the first attempt that is fine, or the last one.

    ``again(number)`` makes attempt ``number`` (2, 3, …). Whatever it raises propagates.
    """
    if not worth_retrying(first, settings):
        return first
    backoff = wait_random_exponential(multiplier=settings.backoff_s, max=settings.backoff_max_s)

    def wait_s(state: RetryCallState) -> float:
        asked_s = retry_after_s(_result(state).retry_after)
        return backoff(state) if asked_s is None else asked_s

    async def attempt() -> Attempt:
        number = int(retrying.statistics["attempt_number"])
        return first if number == 1 else await again(number)

    retrying = AsyncRetrying(
        sleep=sleep,
        wait=wait_s,
        stop=stop_after_attempt(settings.retries + 1),
        retry=retry_if_result(lambda outcome: worth_retrying(outcome, settings)),
        retry_error_callback=_result,
    )
    return await retrying(attempt)


def _result(state: RetryCallState) -> Attempt:
    assert state.outcome is not None, "tenacity asks only after an attempt"
    result: Attempt = state.outcome.result()
    return result
