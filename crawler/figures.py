"""From blocks of records to the figures of a report: counts, latencies, phases, errors, time.

``Figures`` takes in blocks, in any order and from any number of runs and logs, and keeps no record:
memory is bounded by the number of groups. Latencies are of successes; failures are told apart, and
never improve a percentile. Each latency is kept twice: from the start of the request (service
time) and from the moment it was due (response time, which coordinated omission cannot flatter).
"""

from __future__ import annotations

import heapq
from copy import copy, deepcopy
from typing import Final, NamedTuple

import numpy as np

from crawler.blocks import Block
from crawler.histogram import Histogram
from crawler.record import ERROR_CLASSES
from crawler.samples import PHASES, GroupNames
from crawler.timeline import Timeline
from crawler.timings import SLOWEST, Example, Slow

FRACTIONS: Final = (0.50, 0.75, 0.90, 0.95, 0.99, 0.999, 0.9999)
"""The percentiles of a report."""
FRACTION_NAMES: Final = ("p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99")


class Span(NamedTuple):
    """When a run's requests began and ended, in seconds of the epoch."""

    first_s: float
    last_start_s: float
    end_s: float
    requests: int

    @property
    def wall_s(self) -> float:
        """From the first start to the last end."""
        return self.end_s - self.first_s

    def joined(self, other: Span) -> Span:
        """Both together."""
        return Span(
            min(self.first_s, other.first_s),
            max(self.last_start_s, other.last_start_s),
            max(self.end_s, other.end_s),
            self.requests + other.requests,
        )


class Tally:
    """Figures of one group, or of all: ``service`` and ``response`` are of successes, in ms.

    ``phase_ms`` sums each phase, of all that were answered; ``connections`` counts those that
    opened one, over which alone the first three phases are to be averaged. ``statuses`` counts
    records by status code, 0 for none.
    """

    __slots__ = (
        "answered",
        "bytes",
        "connections",
        "failed",
        "failures",
        "ok",
        "phase_ms",
        "response",
        "service",
        "statuses",
    )

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0
        self.bytes = 0
        self.answered = 0
        self.connections = 0
        self.phase_ms = np.zeros(len(PHASES))
        self.service = Histogram()
        self.response = Histogram()
        self.failures = Histogram()
        self.statuses: dict[int, int] = {}

    @property
    def requests(self) -> int:
        """Successes and failures together."""
        return self.ok + self.failed

    @property
    def failed_share(self) -> float:
        """Failures of all requests, 0 to 1; 0 without any request."""
        return self.failed / self.requests if self.requests else 0.0

    def add(self, block: Block) -> None:
        """Take in a block's rows."""
        fine = block.error < 0
        answered = block.status > 0
        ok = int(fine.sum())
        self.ok += ok
        self.failed += len(block) - ok
        self.bytes += int(block.bytes.sum())
        self.answered += int(answered.sum())
        self.connections += int((answered & ~block.reused).sum())
        self.phase_ms += block.phases_ms[answered].sum(0)
        self.service.add_many(block.elapsed_ms[fine])
        self.response.add_many(block.response_ms[fine])
        if ok < len(block):
            self.failures.add_many(block.elapsed_ms[~fine & block.sent])
        for status, count in zip(*np.unique(block.status, return_counts=True), strict=True):
            self.statuses[int(status)] = self.statuses.get(int(status), 0) + int(count)

    def reject(self, count: int) -> None:
        """Count so many successes, at most all, as failures: what they brought was no use."""
        count = min(max(count, 0), self.ok)
        self.ok -= count
        self.failed += count

    def merge(self, other: Tally) -> None:
        """Take in all that ``other`` has taken in."""
        self.ok += other.ok
        self.failed += other.failed
        self.bytes += other.bytes
        self.answered += other.answered
        self.connections += other.connections
        self.phase_ms += other.phase_ms
        self.service.merge(other.service)
        self.response.merge(other.response)
        self.failures.merge(other.failures)
        for status, count in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count


class Failed(NamedTuple):
    """Failures of one class: how many, and the first."""

    failures: int
    example: Example


class Figures:
    """All that a report tells of some records; at most ``limit`` groups, the rest ``(other)``.

    ``lag`` is that of all requests made; ``phases`` has a histogram for each of ``PHASES``, of
    answered requests: the first three over new connections only.
    """

    def __init__(self, group_by: str = "endpoint", *, limit: int = 1000) -> None:
        self.group_by = group_by
        self.total = Tally()
        self.groups: dict[str, Tally] = {}
        self.timeline = Timeline()
        self.lag = Histogram()
        self.phases = tuple(Histogram() for _ in PHASES)
        self.errors: dict[str, Failed] = {}
        self.slowest: list[Slow] = []
        self.runs: dict[str, Span] = {}
        self.warmup = 0
        self._names: GroupNames | None = GroupNames(limit)

    def add(self, block: Block) -> None:
        """Take in a block of records."""
        self.warmup += block.warmup
        if not len(block):
            return
        self.total.add(block)
        if self._names is not None:
            self._add_groups(block, self._names)
        self.timeline.add(block.started_s, block.response_ms, block.error < 0)
        self.lag.add_many(block.lag_ms[block.sent])
        self._add_phases(block)
        self._add_outcomes(block)
        self._add_span(block)
        self.slowest = heapq.nlargest(SLOWEST, [*self.slowest, *block.slowest], key=_slowness)

    @property
    def statuses(self) -> dict[int, int]:
        """Replies by status code."""
        return {status: count for status, count in self.total.statuses.items() if status}

    @property
    def wall_s(self) -> float:
        """The length of all runs together, in seconds."""
        return sum(span.wall_s for span in self.runs.values())

    @property
    def rate_per_s(self) -> float:
        """Requests a second, over the length of all runs; NaN for no time."""
        return self.total.requests / self.wall_s if self.wall_s > 0 else float("nan")

    @property
    def sent_per_s(self) -> float:
        """Requests begun a second, from the first start to the last: what an open loop achieved."""
        spans = self.runs.values()
        between_s = sum(span.last_start_s - span.first_s for span in spans)
        begun = sum(span.requests - 1 for span in spans)
        return begun / between_s if between_s > 0 else float("nan")

    def without_groups(self) -> Figures:
        """A copy that has no groups and goes on without: what is kept of one run among others."""
        twin = copy(self)
        twin.groups = {}
        twin._names = None
        return deepcopy(twin)

    def _add_groups(self, block: Block, known: GroupNames) -> None:
        """Sort the rows by group and take them in group by group: each row is moved once."""
        present, at = np.unique(block.group, return_inverse=True)
        names = [known.admit(block.names[index]) for index in present]
        places = {name: place for place, name in enumerate(dict.fromkeys(names))}
        for name in places:
            if name not in self.groups:
                self.groups[name] = Tally()
        if len(places) == 1:
            self.groups[names[0]].add(block)
            return
        place = np.array([places[name] for name in names])[at]
        ordered = block.take(np.argsort(place, kind="stable"))
        ends = np.cumsum(np.bincount(place))
        for name, start, end in zip(places, [0, *ends], ends, strict=False):
            self.groups[name].add(ordered.take(slice(start, end)))

    def _add_phases(self, block: Block) -> None:
        answered = block.status > 0
        opened = answered & ~block.reused
        for column, times in enumerate(self.phases):
            rows = opened if column < 3 else answered
            times.add_many(block.phases_ms[rows, column])

    def _add_outcomes(self, block: Block) -> None:
        failed = block.error[block.error >= 0]
        for index, count in zip(*np.unique(failed, return_counts=True), strict=True):
            name = ERROR_CLASSES[index]
            example = block.examples.get(name, Example("", ""))
            earlier = self.errors.get(name, Failed(0, example))
            self.errors[name] = earlier._replace(failures=earlier.failures + int(count))

    def _add_span(self, block: Block) -> None:
        ends = block.started_s + block.elapsed_ms / 1000
        span = Span(
            float(block.started_s.min()),
            float(block.started_s.max()),
            float(ends.max()),
            len(block),
        )
        earlier = self.runs.get(block.run)
        self.runs[block.run] = span if earlier is None else earlier.joined(span)


def _slowness(slow: Slow) -> tuple[float, float, int]:
    """What orders slow requests, ties included, whatever the blocks they came in."""
    return slow.response_ms, slow.started_s, slow.seq
