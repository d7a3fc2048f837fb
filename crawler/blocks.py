"""Some records as columns: what figures are made from, read from a log or sent by a worker.

A block holds records of one run. Warm-up requests are counted and are not among its rows. All
columns have one row a record, in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

SLOWEST: Final = 10
"""Slowest requests that are kept by name."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


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
