"""The URLs of two logs held against each other: which only one has, and whose status flipped.

A flip is a URL that came to one thing, always the same, in the old log, and always to another in
the new one; what varies within a log is the business of the error share. Memory is bounded: beyond
100,000 different URLs in a log, its URLs are not compared one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from crawler.compared import StatusFlip, UrlChanges
from crawler.record import STAGE, WARMUP

MOST_URLS: Final = 100_000
"""Different URLs of a log that are kept, some 20 MB."""
EXAMPLES: Final = 5
_VARIES: Final = "(varies)"

Row = Mapping[str, Any]


class UrlOutcomes:
    """What each URL of a log came to: a status, an error class, or now this and now that."""

    def __init__(self, limit: int = MOST_URLS) -> None:
        self.limit = limit
        self.full = False
        self._outcomes: dict[str, str] = {}

    def add(self, rows: Iterable[Row]) -> None:
        """Take in parsed lines of a log (see ``codec.parse``), warm-up left out."""
        for row in rows:
            if row.get(STAGE) != WARMUP:
                self._add(row["url"], _outcome(row))
            if self.full:
                return

    def _add(self, url: str, outcome: str) -> None:
        known = self._outcomes.setdefault(url, outcome)
        if known != outcome:
            self._outcomes[url] = _VARIES
        self.full = len(self._outcomes) > self.limit

    def changes_to(self, new: UrlOutcomes) -> UrlChanges | None:
        """Hold a later log against this one; None where either has too many URLs."""
        if self.full or new.full:
            return None
        only_old = [url for url in self._outcomes if url not in new._outcomes]
        only_new = [url for url in new._outcomes if url not in self._outcomes]
        return UrlChanges(
            only_old=len(only_old),
            only_new=len(only_new),
            shared=len(self._outcomes) - len(only_old),
            only_old_examples=tuple(only_old[:EXAMPLES]),
            only_new_examples=tuple(only_new[:EXAMPLES]),
            flips=_flips(self._outcomes, new._outcomes),
        )


def _flips(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[StatusFlip, ...]:
    """Give the flips of one kind together, the most frequent kind first."""
    flipped: dict[tuple[str, str], list[str]] = {}
    for url, before in old.items():
        after = new.get(url, before)
        if before != after and _VARIES not in (before, after):
            flipped.setdefault((before, after), []).append(url)
    ordered = sorted(flipped.items(), key=lambda each: (-len(each[1]), each[0]))
    return tuple(
        StatusFlip(before, after, len(urls), tuple(urls[:EXAMPLES]))
        for (before, after), urls in ordered
    )


def _outcome(row: Row) -> str:
    """Give the status code, or the error's class where there was no reply."""
    status = row.get("status")
    return str(status if status is not None else row.get("error"))
