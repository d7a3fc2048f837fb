"""What a worker of a benchmark tells its parent of each record: its times, not its text.

Every latency reaches the parent, beside the moment it began, in flat arrays: what a report needs
and ``samples`` adds up too early. It costs some 2 us a record, and imports no numpy. Warm-up
records are counted and left out.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from crawler.record import ERROR_CLASSES, STAGE, WARMUP
from crawler.samples import GroupNames, key_of, short_name

if TYPE_CHECKING:
    from crawler.record import Record

SLOWEST: Final = 10
"""Slowest requests that are kept by name."""
VALUES: Final = 8
"""Values a record: started_s, elapsed_ms, lag_ms and the five phases."""
CODES: Final = 6
"""Codes a record: group, status (0 for none), error (-1 for none), bytes, reused, sent."""

_ERRORS: Final[dict[str | None, int]] = {name: i for i, name in enumerate(ERROR_CLASSES)}
_SECOND: Final = len("2026-01-01T00:00:00")


class Slow(NamedTuple):
    """A slow request by name. Its times are milliseconds; ``started_s`` is the epoch's seconds."""

    response_ms: float
    elapsed_ms: float
    started_s: float
    seq: int
    status: int | None
    url: str


class Example(NamedTuple):
    """The first failure of a class."""

    url: str
    detail: str


class Memory:
    """What a worker knows from one batch to the next: group names, the slowest so far, the second.

    A request is named only if it is among the worker's slowest yet: most are not.
    """

    __slots__ = ("_prefix", "_second_s", "_slowest", "names")

    def __init__(self) -> None:
        self.names = GroupNames()
        self._slowest: list[float] = []
        self._prefix = ""
        self._second_s = 0.0

    def is_slow(self, response_ms: float) -> bool:
        """Whether a request is among the slowest so far; it is then one of them."""
        slowest = self._slowest
        if len(slowest) < SLOWEST:
            heapq.heappush(slowest, response_ms)
            return True
        if response_ms <= slowest[0]:
            return False
        heapq.heapreplace(slowest, response_ms)
        return True

    def epoch_s(self, started: str) -> float:
        """Seconds of the epoch of a record's ``started``; a second's text is read once."""
        prefix = started[:_SECOND]
        if prefix != self._prefix:
            self._prefix = prefix
            self._second_s = datetime.fromisoformat(prefix + "+00:00").timestamp()
        return self._second_s + float(started[_SECOND:-1] or 0)


class Timings:
    """The times of one batch of records; see ``VALUES`` and ``CODES`` for its flat arrays."""

    __slots__ = (
        "_key",
        "_known",
        "_memory",
        "codes",
        "examples",
        "names",
        "slow",
        "values",
        "warmup",
        "warmup_failed",
    )

    def __init__(self, group_by: str, memory: Memory) -> None:
        self._key: Callable[[Record], str] = key_of(group_by)
        self._memory = memory
        self._known: dict[str, int] = {}
        self.names: list[str] = []
        self.values: array[float] = array("d")
        self.codes: array[int] = array("q")
        self.slow: list[Slow] = []
        self.examples: dict[str, Example] = {}
        self.warmup = 0
        self.warmup_failed = 0

    def add(self, record: Record) -> None:
        """Take in one record."""
        error = record.error
        if error is not None and error not in self.examples:
            self.examples[error] = Example(short_name(record.url), short_name(record.detail or ""))
        if record.fields.get(STAGE) == WARMUP:
            self.warmup += 1
            self.warmup_failed += error is not None
            return
        memory, lag_ms = self._memory, record.lag_ms
        group = self._known.get(name := self._key(record))
        if group is None:
            group = self._open(name)
        started_s = memory.epoch_s(record.started)
        self.values.extend(
            (
                started_s, record.elapsed_ms, lag_ms, record.dns_ms, record.connect_ms,
                record.tls_ms, record.wait_ms, record.receive_ms,
            )
        )  # fmt: skip
        status = record.status or 0
        sent = record.attempts > 0
        self.codes.extend(
            (group, status, _ERRORS.get(error, -1), record.bytes, record.reused, sent)
        )
        response_ms = record.elapsed_ms + max(lag_ms, 0.0)
        if memory.is_slow(response_ms):
            self.slow.append(
                Slow(
                    response_ms,
                    record.elapsed_ms,
                    started_s,
                    record.seq,
                    status,
                    short_name(record.url),
                )
            )

    def _open(self, name: str) -> int:
        admitted = self._memory.names.admit(name)
        if admitted not in self.names:
            self.names.append(admitted)
        self._known[name] = group = self.names.index(admitted)
        return group

    def __reduce__(self) -> tuple[object, ...]:
        slow = [tuple(each) for each in self.slow]
        examples = {error: tuple(each) for error, each in self.examples.items()}
        warmup = (self.warmup, self.warmup_failed)
        return _restore, (self.names, self.values, self.codes, slow, examples, warmup)


def _restore(
    names: list[str],
    values: array[float],
    codes: array[int],
    slow: list[tuple[float, float, float, int, int | None, str]],
    examples: dict[str, tuple[str, str]],
    warmup: tuple[int, int],
) -> Timings:
    """Rebuild what crossed a pipe."""
    timings = Timings("endpoint", Memory())
    timings.names, timings.values, timings.codes = names, values, codes
    timings.slow = [Slow(*each) for each in slow]
    timings.examples = {error: Example(*each) for error, each in examples.items()}
    timings.warmup, timings.warmup_failed = warmup
    return timings
