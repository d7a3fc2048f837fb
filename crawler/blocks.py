"""Some records as columns: what figures are made from, read from a log or sent by a worker.

A block holds records of one run. Warm-up requests are counted and are not among its rows. All
columns have one row a record, in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from crawler.timings import CODES, SLOWEST, VALUES, Example, Slow, Timings

__all__ = ["SLOWEST", "Block", "Bools", "Collector", "Example", "Floats", "Ints", "Slow"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Columns of some records of one ``run``.

    ``group`` indexes ``names``. ``started_s`` is the wall clock in seconds of the epoch; times are
    milliseconds; ``phases_ms`` has a column for each of ``samples.PHASES``. ``status`` is 0 where
    there was none. ``error`` indexes ``record.ERROR_CLASSES``, -1 for a success. ``sent`` tells
    whether a request was made at all, ``reused`` whether over an earlier one's connection.
    ``slowest`` and ``examples`` (by class) name some of the rows; ``warmup`` counts the records
    left out.
    """

    run: str
    names: tuple[str, ...]
    group: Ints
    started_s: Floats
    elapsed_ms: Floats
    lag_ms: Floats
    phases_ms: Floats
    status: Ints
    error: Ints
    bytes: Ints
    reused: Bools
    sent: Bools
    slowest: tuple[Slow, ...] = ()
    examples: Mapping[str, Example] = field(default_factory=dict)
    warmup: int = 0

    def __len__(self) -> int:
        return len(self.elapsed_ms)

    def take(self, rows: Bools | Ints | slice) -> Block:
        """Some of the rows, without what is told of all: names of slow ones, examples, warm-up."""
        return Block(
            self.run,
            self.names,
            self.group[rows],
            self.started_s[rows],
            self.elapsed_ms[rows],
            self.lag_ms[rows],
            self.phases_ms[rows],
            self.status[rows],
            self.error[rows],
            self.bytes[rows],
            self.reused[rows],
            self.sent[rows],
        )

    @property
    def response_ms(self) -> Floats:
        """Time from the moment each was due to its last byte: our own lag is part of it."""
        return self.elapsed_ms + np.maximum(self.lag_ms, 0.0)


class Collector:
    """Puts the timings of many small batches together, into blocks worth counting."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._clear()

    def _clear(self) -> None:
        self._names: dict[str, int] = {}
        self._values: list[Floats] = []
        self._codes: list[Ints] = []
        self._slow: list[Slow] = []
        self._examples: dict[str, Example] = {}
        self._warmup = 0
        self.rows = 0

    def add(self, timings: Timings) -> None:
        """Take in one batch."""
        codes = np.frombuffer(timings.codes, np.int64).reshape(-1, CODES)
        if len(codes):
            names = self._names
            ours = [names.setdefault(name, len(names)) for name in timings.names]
            if ours != list(range(len(ours))):
                codes = codes.copy()
                codes[:, 0] = np.array(ours)[codes[:, 0]]
            self._codes.append(codes)
            self._values.append(np.frombuffer(timings.values).reshape(-1, VALUES))
            self.rows += len(codes)
        self._slow += timings.slow
        for error, example in timings.examples.items():
            self._examples.setdefault(error, example)
        self._warmup += timings.warmup

    def take(self) -> Block:
        """Give what was added since the last time."""
        values = np.concatenate([np.zeros((0, VALUES)), *self._values])
        codes = np.concatenate([np.zeros((0, CODES), np.int64), *self._codes])
        block = Block(
            run=self._run,
            names=tuple(self._names),
            group=codes[:, 0],
            started_s=values[:, 0],
            elapsed_ms=values[:, 1],
            lag_ms=values[:, 2],
            phases_ms=values[:, 3:],
            status=codes[:, 1],
            error=codes[:, 2],
            bytes=codes[:, 3],
            reused=codes[:, 4] > 0,
            sent=codes[:, 5] > 0,
            slowest=tuple(self._slow),
            examples=self._examples,
            warmup=self._warmup,
        )
        self._clear()
        return block
