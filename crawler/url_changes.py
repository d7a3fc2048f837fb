"""The URLs of two logs held against each other: which only one has, and whose status flipped.

A flip is a URL that came to one thing, always the same, in the old log, and always to another in
the new one; what varies within a log is the business of the error share. Memory is bounded: beyond
100,000 different URLs in a log, its URLs are not compared one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from crawler.blocks import Block, Ints
from crawler.compared import StatusFlip, UrlChanges
from crawler.record import ERROR_CLASSES

MOST_URLS: Final = 100_000
"""Different URLs of a log that are kept, some 20 MB."""
EXAMPLES: Final = 3
_ERRORS_FROM: Final = 1 << 20
"""Outcomes below this are status codes, from here on error classes."""
_OUTCOMES: Final = 1 << 21
_VARIES: Final = -1


class UrlOutcomes:
    """What each URL of a log came to: a status, an error class, or now this and now that.

    Takes in blocks that are grouped by URL, until there are more than ``limit`` URLs.
    """

    def __init__(self, blocks: Iterable[Block], limit: int = MOST_URLS) -> None:
        self.full = False
        self._outcomes: dict[str, int] = {}
        for block in blocks:
            self._add(block)
            self.full = len(self._outcomes) > limit
            if self.full:
                return

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

    def _add(self, block: Block) -> None:
        pairs = np.unique(block.group * _OUTCOMES + _outcomes_of(block))
        groups, outcomes = np.divmod(pairs, _OUTCOMES)
        for group, outcome in zip(groups.tolist(), outcomes.tolist(), strict=True):
            url = block.names[group]
            if self._outcomes.setdefault(url, outcome) != outcome:
                self._outcomes[url] = _VARIES


def _outcomes_of(block: Block) -> Ints:
    """Give the status of each row, or its error class where there was no reply."""
    status = np.minimum(block.status, _ERRORS_FROM - 1)
    return np.where(status > 0, status, _ERRORS_FROM + np.maximum(block.error, 0))


def _flips(old: Mapping[str, int], new: Mapping[str, int]) -> tuple[StatusFlip, ...]:
    """Give the flips of one kind together, the most frequent kind first."""
    flipped: dict[tuple[int, int], list[str]] = {}
    for url, before in old.items():
        after = new.get(url, before)
        if before != after and _VARIES not in (before, after):
            flipped.setdefault((before, after), []).append(url)
    ordered = sorted(flipped.items(), key=lambda each: (-len(each[1]), each[0]))
    return tuple(
        StatusFlip(_words(before), _words(after), len(urls), tuple(urls[:EXAMPLES]))
        for (before, after), urls in ordered
    )


def _words(outcome: int) -> str:
    return str(outcome) if outcome < _ERRORS_FROM else ERROR_CLASSES[outcome - _ERRORS_FROM]
