"""From workers' samples to tables: counts, latencies, phases, errors and our own health.

``Summary`` gathers while a run lasts: samples go to flat buffers and are counted into histograms
a thousand at a time, so that a batch costs the parent 0.1 us a record and memory is bounded by the
number of groups. ``finish`` then makes ``Results``, the frozen value that reports are made from.
Latency is that of successes only; a failure is counted, and never improves a percentile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING, Final

from crawler.frames import Table
from crawler.histogram import BufferedHistogram, Histogram, supported
from crawler.samples import OTHER, PHASES, Failures, GroupNames, Live, RunClock, Samples

if TYPE_CHECKING:
    import pandas as pd

    from crawler.samples import Group

TOTAL: Final = "total"
"""Name of the last row of ``Results.frame``."""
PERCENTILES: Final = {
    "p50_ms": 0.50,
    "p90_ms": 0.90,
    "p95_ms": 0.95,
    "p99_ms": 0.99,
    "p999_ms": 0.999,
}
"""The percentile columns of ``Results.frame`` and their fractions."""
LATENCIES: Final = ("min_ms", "mean_ms", *PERCENTILES, "max_ms")
LEAST_WALL_S: Final = 1.0
SATURATED: Final = 0.9
"""CPU share above which our own machine, not the server, may be what was measured."""

_Columns = Mapping[str, str]
_FRAME: Final[_Columns] = {
    **dict.fromkeys(("requests", "ok", "failed"), "int64"),
    **dict.fromkeys(("rate_per_s", *LATENCIES), "float64"),
    "bytes": "int64",
}
_FLAGS: Final[_Columns] = dict.fromkeys(PERCENTILES, "bool")
_PHASES: Final[_Columns] = {
    "connections": "int64",
    **dict.fromkeys(("mean_ms", "p50_ms", "p95_ms"), "float64"),
}
_ERRORS: Final[_Columns] = {
    "count": "int64",
    **dict.fromkeys(("mean_ms", "max_ms"), "float64"),
    **dict.fromkeys(("example_url", "example_detail"), "string"),
}


@dataclass(frozen=True, slots=True)
class Health:
    """How well we ourselves kept up: lateness of requests, and our share of the cores' time."""

    lag_p50_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    cpu_share: float
    cores: int
    wall_s: float

    @property
    def saturated(self) -> bool:
        """Whether our own CPU may have slowed what we measured; no telling from under a second."""
        return self.cpu_share > SATURATED and self.wall_s >= LEAST_WALL_S


@dataclass(frozen=True, slots=True)
class Row:
    """One row of ``Results.frame`` as plain values; ``unsupported`` names its columns so marked."""

    name: str
    figures: Mapping[str, float]
    unsupported: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """All tables of one run; a frame is made anew, and pandas imported, when it is asked for.

    - ``frame``: a row a group, most requests first, ``(other)`` after them, ``total`` last; the
      index is named as ``group_by``. Columns: requests, ok, failed, rate_per_s, ``LATENCIES`` (NaN
      without a success), bytes.
    - ``unsupported``: the same rows; for each of ``PERCENTILES`` whether the group has too few
      successes to support it (see ``histogram.supported``).
    - ``phases``: a row for each of ``PHASES``, over answered requests that opened a connection:
      connections, mean_ms, p50_ms, p95_ms.
    - ``errors``: a row a class, most frequent first: count, mean_ms, max_ms, example_url,
      example_detail.
    - ``statuses``: replies by status code, in ascending order.
    """

    group_by: str
    clock: RunClock
    health: Health
    groups: Table = field(repr=False)
    marks: Table = field(repr=False)
    phase_table: Table = field(repr=False)
    error_table: Table = field(repr=False)
    statuses: dict[int, int]

    @property
    def frame(self) -> pd.DataFrame:
        """A row a group and ``total``, as above."""
        return self.groups.frame()

    @property
    def unsupported(self) -> pd.DataFrame:
        """The percentiles of the same rows that too few successes support."""
        return self.marks.frame()

    @property
    def phases(self) -> pd.DataFrame:
        """A row a phase of opening a connection and of its first reply."""
        return self.phase_table.frame()

    @property
    def errors(self) -> pd.DataFrame:
        """A row a class of errors."""
        return self.error_table.frame()

    def rows(self) -> list[Row]:
        """The rows of ``frame`` for reports, ``total`` last."""
        return [
            Row(name, figures, tuple(column for column in PERCENTILES if marks[column]))
            for (name, figures), (_, marks) in zip(
                self.groups.rows(), self.marks.rows(), strict=True
            )
        ]


class _Tally:
    """Figures of one group, or of all."""

    __slots__ = ("bytes", "elapsed", "failed", "ok")

    def __init__(self) -> None:
        self.elapsed = BufferedHistogram()
        self.ok = 0
        self.failed = 0
        self.bytes = 0

    def add(self, group: Group) -> None:
        self.elapsed.add(group.elapsed_ms)
        self.ok += len(group.elapsed_ms)
        self.failed += group.failed
        self.bytes += group.bytes

    def row(self, wall_s: float) -> list[float]:
        """The values of one row of ``Results.frame``."""
        requests = self.ok + self.failed
        rate = requests / wall_s if wall_s > 0 else nan
        times = self.elapsed.counted()
        at = times.percentiles(tuple(PERCENTILES.values()))
        latencies = (times.min, times.mean, *at, times.max)
        return [requests, self.ok, self.failed, rate, *latencies, self.bytes]


class Summary:
    """Gathers ``Samples`` while a run lasts; at most ``limit`` groups, the rest are ``(other)``."""

    def __init__(self, group_by: str, *, limit: int = 1000) -> None:
        self.group_by = group_by
        self._names = GroupNames(limit)
        self._groups: dict[str, _Tally] = {}
        self._total = _Tally()
        self._lag = BufferedHistogram()
        self._phases = [BufferedHistogram() for _ in PHASES]
        self._errors: dict[str, Failures] = {}
        self._statuses: dict[int, int] = {}

    def add(self, samples: Samples) -> None:
        """Take in the figures of one batch."""
        for name, group in samples.groups.items():
            tally = self._groups.get(name)
            if tally is None:
                tally = self._open(name)
            tally.add(group)
            self._total.add(group)
        self._lag.add(samples.lag_ms)
        for status, count in samples.statuses.items():
            self._statuses[status] = self._statuses.get(status, 0) + count
        for error, failures in samples.errors.items():
            earlier = self._errors.get(error)
            self._errors[error] = failures if earlier is None else earlier.plus(failures)
        if samples.phases_ms:
            for column, durations in enumerate(self._phases):
                durations.add(samples.phases_ms[column :: len(PHASES)])

    def _open(self, name: str) -> _Tally:
        name = self._names.admit(name)
        tally = self._groups.get(name)
        if tally is None:
            tally = self._groups[name] = _Tally()
        return tally

    def live(self) -> Live:
        """How the run stands now. Some 50 us: for a display, not for every record."""
        total = self._total
        p50_ms, p95_ms = total.elapsed.counted().percentiles((0.50, 0.95))
        return Live(total.ok + total.failed, total.ok, total.failed, p50_ms, p95_ms)

    def finish(self, clock: RunClock) -> Results:
        """Make the tables of what has been added so far."""
        title, wall_s = self.group_by, clock.wall_s
        groups = dict(sorted(self._groups.items(), key=_rank))
        rows = {name: group.row(wall_s) for name, group in groups.items()}
        flags = {name: _unsupported(group.ok) for name, group in groups.items()}
        phases = {name: _phase_row(self._phases[i].counted()) for i, name in enumerate(PHASES)}
        errors = sorted(self._errors.items(), key=lambda item: (-item[1].failed, item[0]))
        return Results(
            group_by=title,
            clock=clock,
            health=self._health(clock),
            groups=_table(rows, self._total.row(wall_s), title, _FRAME),
            marks=_table(flags, _unsupported(self._total.ok), title, _FLAGS),
            phase_table=_table(phases, None, "phase", _PHASES),
            error_table=_table({name: _error_row(f) for name, f in errors}, None, "error", _ERRORS),
            statuses=dict(sorted(self._statuses.items())),
        )

    def _health(self, clock: RunClock) -> Health:
        p50_ms, p99_ms, max_ms = self._lag.counted().percentiles((0.50, 0.99, 1))
        return Health(p50_ms, p99_ms, max_ms, clock.cpu_share, clock.cores, clock.wall_s)


def _rank(item: tuple[str, _Tally]) -> tuple[bool, int, str]:
    name, tally = item
    return name == OTHER, -(tally.ok + tally.failed), name


def _unsupported(ok: int) -> list[bool]:
    return [not supported(q, ok) for q in PERCENTILES.values()]


def _phase_row(times: Histogram) -> list[float]:
    return [times.count, times.mean, *times.percentiles((0.50, 0.95))]


def _error_row(failures: Failures) -> tuple[object, ...]:
    mean_ms = failures.total_ms / failures.failed
    return failures.failed, mean_ms, failures.max_ms, failures.url, failures.detail


def _table(
    rows: Mapping[str, Sequence[object]],
    last: Sequence[object] | None,
    title: str,
    columns: _Columns,
) -> Table:
    """A table of ``rows`` by name, and a ``last`` one named ``total``."""
    names, values = (*rows,), (*rows.values(),)
    if last is not None:
        names, values = (*names, TOTAL), (*values, last)
    return Table(title, columns, names, values)
