"""What a benchmark requests, one after the other: some URLs in turn, at random, or made up.

A workload is an endless stream of targets, numbered from 0, the same one for the same seed. When
each is due, and when the stream ends, is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle
from random import Random
from typing import Final

from crawler.errors import UsageError
from crawler.record import ARM, Target
from crawler.url_pattern import UrlPattern
from crawler.urls import InvalidUrl, mask, wire_url

_PAIRS: Final = 8
"""Pairs of A and B in a block: so many are shuffled together that neither is foreseeable."""


@dataclass(frozen=True, slots=True)
class Workload:
    """``targets()`` begins the stream anew; ``words`` say what it is."""

    targets: Callable[[], Iterator[Target]]
    words: str


def check_requestable(where: str, urls: Iterable[str]) -> None:
    """Raise ``UsageError`` for what is no URL: a benchmark of it would only measure ourselves."""
    for url in urls:
        try:
            wire_url(url)
        except InvalidUrl as exc:
            raise UsageError(f"{where} {mask(url)!r} cannot be requested: {exc}") from None


def in_turn(targets: Sequence[Target]) -> Workload:
    """All of them in their order, again and again."""
    return Workload(lambda: _numbered(cycle(targets)), _count(targets))


def shuffled(targets: Sequence[Target], seed: int) -> Workload:
    """All of them in a random order, and again in another one."""

    def stream() -> Iterator[Target]:
        random, order = Random(seed), list(targets)
        while True:
            random.shuffle(order)
            yield from order

    return Workload(lambda: _numbered(stream()), f"{_count(targets)}, shuffled")


def weighted(targets: Sequence[Target], weights: Sequence[float], seed: int) -> Workload:
    """Each by chance, as often as its weight says. Raises ``UsageError``."""
    if len(weights) != len(targets):
        raise UsageError(
            f"--weights gives {len(weights)} weights for {_count(targets)}: give one for each"
        )
    if not sum(weights) > 0:
        raise UsageError("--weights are all 0: give at least one above 0, as --weights 8,2")
    bounds = list(accumulate(weights))

    def stream() -> Iterator[Target]:
        random = Random(seed)
        while True:
            yield from random.choices(targets, cum_weights=bounds, k=256)

    return Workload(lambda: _numbered(stream()), f"{_count(targets)}, weighted")


def made_up(pattern: UrlPattern, seed: int) -> Workload:
    """Random URLs of a pattern."""
    return Workload(lambda: _numbered(Target(0, url) for url in pattern.urls(seed)), "random URLs")


def a_and_b(a: Target, b: Target, seed: int) -> Workload:
    """Both sides of an A/B benchmark, mixed at random in blocks, so that drift hits both alike.

    In each block of 16 requests 8 are A's: a randomized block design (Fisher, "The Design of
    Experiments", 1935).
    """

    def stream() -> Iterator[Target]:
        random = Random(seed)
        sides = [
            side._replace(fields={**side.fields, ARM: arm}) for side, arm in ((a, "A"), (b, "B"))
        ]
        while True:
            block = sides * _PAIRS
            random.shuffle(block)
            yield from block

    return Workload(lambda: _numbered(stream()), "A and B, interleaved at random")


def _numbered(targets: Iterator[Target]) -> Iterator[Target]:
    for seq, target in enumerate(targets):
        yield Target(
            seq, target.url, target.method, target.headers, target.body, None, target.fields
        )


def _count(targets: Sequence[Target]) -> str:
    return "1 URL" if len(targets) == 1 else f"{len(targets):,} URLs"
