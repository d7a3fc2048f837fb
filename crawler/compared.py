"""What a comparison says, as values: the plan, each endpoint on both sides, what breaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

from crawler.errors import UsageError
from crawler.rank_test import RankTest
from crawler.shifts import LEVEL, Change, ShareChange

Metric = Literal["p50", "p75", "p90", "p95", "p99", "p99.9"]
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)
COMMON: Final[tuple[Metric, ...]] = ("p50", "p90", "p95", "p99")
"""The percentiles whose change is always given."""
Latency = Literal["service", "response"]
Verdict = Literal["faster", "slower", "no difference shown", "too few samples"]
ErrorVerdict = Literal["fewer errors", "more errors", "no difference shown"]
TOTAL: Final = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is compared, and what breaks.

    ``threshold`` is a share of the old latency (0.05: 5 % slower), ``error_threshold`` one of the
    requests (0.005: half a percentage point more failures); both 0 or more. ``latency`` is
    ``service`` (from the start of a request) or ``response`` (from when it was due). ``scope``
    ``total`` leaves the endpoints out. Raises ``UsageError`` for what cannot be.
    """

    metric: Metric = "p95"
    threshold: float = 0.05
    error_threshold: float = 0.005
    latency: Latency = "service"
    scope: Literal["endpoints", "total"] = "endpoints"

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise UsageError(f"metric {self.metric!r} is none of {', '.join(METRICS)}")
        if not self.threshold >= 0 or not 0 <= self.error_threshold <= 1:
            raise UsageError("a threshold is a share of 0 or more, as 0.05 for 5 %")

    @property
    def q(self) -> float:
        """The metric as a fraction: 0.95."""
        return fraction_of(self.metric)

    @property
    def percentiles(self) -> tuple[Metric, ...]:
        """The percentiles that are given: the common ones and the metric, ascending."""
        return tuple(name for name in METRICS if name in COMMON or name == self.metric)


class Side(NamedTuple):
    """How many requests one side has."""

    requests: int
    failed: int

    @property
    def ok(self) -> int:
        """The successes: what latencies are of."""
        return self.requests - self.failed


class Evidences(NamedTuple):
    """P-values, each corrected for all tests of the comparison; 1 where nothing was tested.

    ``metric``, ``ranks`` and ``errors``: of no change. ``beyond`` and ``errors_beyond``: of a
    change for the worse that is no greater than its threshold.
    """

    metric: float
    ranks: float
    errors: float
    beyond: float
    errors_beyond: float


@dataclass(frozen=True, slots=True)
class Compared:
    """One endpoint, or all, on both sides.

    ``changes`` are by the names of ``Plan.percentiles``, ``metric`` that of the plan's. ``ranks``
    is None where a side has under 10 successes. ``mixed`` tells that the metric went one way and
    most requests the other; the verdict is the metric's then. ``beyond`` and ``errors_beyond``:
    worse than the threshold, with confidence: it breaks.
    """

    name: str
    old: Side
    new: Side
    changes: Mapping[Metric, Change]
    metric: Change
    ranks: RankTest | None
    errors: ShareChange
    p_values: Evidences
    verdict: Verdict
    error_verdict: ErrorVerdict
    mixed: bool
    beyond: bool
    errors_beyond: bool

    @property
    def by_ranks(self) -> bool:
        """Whether only the rank test shows the change: the metric itself shows none."""
        return self.verdict in ("faster", "slower") and self.p_values.metric > LEVEL

    @property
    def breaks(self) -> bool:
        """Whether it is worse than a threshold allows, with confidence."""
        return self.beyond or self.errors_beyond


class OneSided(NamedTuple):
    """An endpoint of one log only."""

    name: str
    requests: int


class StatusChange(NamedTuple):
    """An endpoint whose most frequent status is another now: 0 is no reply; shares of requests."""

    name: str
    old_status: int
    old_share: float
    new_status: int
    new_share: float


class StatusFlip(NamedTuple):
    """URLs that always came to one thing in the old log and always to another in the new.

    Each is a status code or an error class in words; ``examples`` are the first few of ``urls``.
    """

    old: str
    new: str
    urls: int
    examples: tuple[str, ...]


class UrlChanges(NamedTuple):
    """The two logs' URLs: how many only one has (with the first few), how many both, the flips."""

    only_old: int
    only_new: int
    shared: int
    only_old_examples: tuple[str, ...]
    only_new_examples: tuple[str, ...]
    flips: tuple[StatusFlip, ...]

    @property
    def shared_share(self) -> float:
        """The share of all URLs that both logs have, 0 to 1."""
        return self.shared / max(self.shared + self.only_old + self.only_new, 1)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Old against new. ``rows``: endpoints of both, those that break first, then most requests.

    ``old_name`` and ``new_name`` are what to call the sides. ``notes`` say in words what to keep
    in mind; ``urls`` is None where the URLs were not compared one by one.
    """

    plan: Plan
    group_by: str
    rows: tuple[Compared, ...]
    total: Compared
    only_old: tuple[OneSided, ...]
    only_new: tuple[OneSided, ...]
    status_changes: tuple[StatusChange, ...]
    old_name: str = "old"
    new_name: str = "new"
    notes: tuple[str, ...] = ()
    urls: UrlChanges | None = None

    @property
    def broken(self) -> tuple[Compared, ...]:
        """What is worse than a threshold with confidence, the total last, where it says more."""
        alone = len(self.rows) == 1 and self.rows[0].metric == self.total.metric
        judged = self.rows if alone else (*self.rows, self.total)
        return tuple(each for each in judged if each.breaks)


def fraction_of(metric: str) -> float:
    """Give ``p99.9`` as 0.999."""
    return round(float(metric[1:]) / 100, 6)
