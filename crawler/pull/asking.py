"""Targets as a pull asks for them: places filled in, and what is known sent along.

A target's ``key``, its URL as the job has it, is its identity from pull to pull; it is carried in
the record as ``target``. If-None-Match and If-Modified-Since (RFC 9110, section 13.1) go along
where the newest version came from the very same URL, asked for in the same manner, and is still in
``latest/``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from crawler.errors import UsageError
from crawler.paging import with_param
from crawler.pull.job import PullJob
from crawler.pull.latest import latest_path
from crawler.pull.moments import filled, has_places, moments_at, names_cursor
from crawler.pull.state import TargetState
from crawler.record import Target
from crawler.settings import Settings
from crawler.urls import InvalidUrl, mask, wire_url

TARGET: Final = "target"
"""The carried column that names a record's target."""
CONDITIONAL: Final = "conditional"
"""The carried column that says whether a request had validators (``YES``: only such a one may bring
a 304), or is one that no later one need be like (``NEVER``, and ``PART`` of one with a Range: only
such a one may bring a 206)."""
YES: Final = "yes"
NEVER: Final = "never"
PART: Final = "part"


@dataclass(frozen=True, slots=True)
class Asking:
    """Makes a pull's requests of a job's targets; ``known`` is what the state knows, by key."""

    job: PullJob
    settings: Settings
    known: Mapping[str, TargetState]
    now_s: float

    def requests(self, targets: Iterable[Target]) -> Iterator[Target]:
        """Yield the targets to send, in their order."""
        now = datetime.fromtimestamp(self.now_s, UTC)
        moments = moments_at(now, self.job.timing.zone)
        name = _namer()
        for target in targets:
            for name_kept in (TARGET, CONDITIONAL):
                if name_kept in target.fields:
                    raise UsageError(f"--keep {name_kept}: a pull's records say so of their own")
            key = name(target)
            yield self._request(target, key, moments)

    def _request(self, target: Target, key: str, moments: Mapping[str, datetime]) -> Target:
        known = self.known.get(key)
        url = self._url(target.url, known, moments)
        headers, fields = target.headers or (), {**target.fields, TARGET: key}
        if known is not None and self._is_conditional(target, known, url):
            headers = (*headers, *_validators(known))
            fields[CONDITIONAL] = YES
        elif self._is_of_its_own(target):
            fields[CONDITIONAL] = PART if self._has_range(target) else NEVER
        return target._replace(url=url, headers=headers or None, fields=fields)

    def _url(self, text: str, known: TargetState | None, moments: Mapping[str, datetime]) -> str:
        plan, cursor = self.job.cursor, None
        if plan is not None:
            is_known = known is not None and known.has_cursor(plan.origin)
            cursor = known.cursor if known is not None and is_known else plan.start
        url = text
        if has_places(text):
            own = {**moments, "last_success": self._last_success(known)}
            url = filled(text, own, cursor)
        if plan is not None and plan.param and cursor is not None and not names_cursor(text):
            url = with_param(url, plan.param, cursor)
        return url

    def _last_success(self, known: TargetState | None) -> datetime:
        if known is None or known.succeeded_at is None:
            return self.job.start
        return datetime.fromtimestamp(known.succeeded_at, UTC)

    def _is_conditional(self, target: Target, known: TargetState, url: str) -> bool:
        method = target.method or self.settings.method
        return (
            method in ("GET", "HEAD")
            and known.trusted
            and known.digest is not None
            and not self._is_of_its_own(target)
            and known.asked == shown(url)
            and known.asked_with == self.job.manner
            and any(_validators(known))
            and self.settings.paginate is None  # its first page may stand where others change
            and not self._is_due_in_full(known)
            and latest_path(self.job.store.folder, known).exists()
        )

    def _is_of_its_own(self, target: Target) -> bool:
        """Whether a request has headers of its row or a body: the next one may have others."""
        bodies = (target.body, self.settings.body)
        has_body = any(body is not None for body in bodies)
        return bool(target.headers) or has_body or self._has_range(target)

    def _has_range(self, target: Target) -> bool:
        sent = (*self.settings.headers, *(target.headers or ()))
        return any(name.lower() == "range" for name, _ in sent)

    def _is_due_in_full(self, known: TargetState) -> bool:
        age_s = self.now_s - (known.full_at or 0.0)
        return not 0 <= age_s < self.job.store.full_every_s


def _validators(known: TargetState) -> Iterator[tuple[str, str]]:
    """Give what is known of the newest version; bytes beyond ASCII would not come back as sent."""
    if known.etag is not None and known.etag.isascii():
        yield "If-None-Match", known.etag
    if known.last_modified is not None and known.last_modified.isascii():
        yield "If-Modified-Since", known.last_modified


def shown(url: str) -> str:
    """Give a URL as its record shows it: without what may be secret."""
    try:
        return wire_url(url).shown
    except InvalidUrl:
        return mask(url)


def _namer() -> Callable[[Target], str]:
    """Make what names targets: one that comes again, with another body say, gets a number."""
    seen: dict[str, int] = {}

    def name(target: Target) -> str:
        key = mask(target.url)
        seen[key] = seen.get(key, 0) + 1
        return key if seen[key] == 1 else f"{key} #{seen[key]}"

    return name
