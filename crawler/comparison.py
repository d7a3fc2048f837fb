"""Two sets of figures compared: what changed, by how much, how sure that is, and what it breaks.

Each endpoint, and all together, has two tests of its latency: that of the chosen metric's change
(its confidence interval) and the rank test of all its latencies; and one of its error share. All
these tests are one family under Holm's correction: with nothing changed, the chance of even one
word of a change anywhere in a comparison is at most 5 %. What breaks must in addition be beyond a
threshold with confidence, corrected in the same way. Pure: no files, no chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from crawler.compared import (
    TOTAL,
    Compared,
    Comparison,
    ErrorVerdict,
    Evidences,
    OneSided,
    Plan,
    Side,
    StatusChange,
    Verdict,
    fraction_of,
)
from crawler.figures import Figures, Tally
from crawler.histogram import Histogram
from crawler.rank_test import holm, rank_test
from crawler.samples import OTHER
from crawler.shifts import (
    LEVEL,
    Evidence,
    percentile_change,
    percentile_evidence,
    share_change,
    share_evidence,
)


def compare(old: Figures, new: Figures, plan: Plan) -> Comparison:
    """Compare two sets of figures that were grouped alike."""
    by_name = plan.scope == "endpoints"
    names = [name for name in new.groups if name in old.groups and name != OTHER]
    pairs = [_Pair(name, old.groups[name], new.groups[name], plan) for name in names if by_name]
    whole = _Pair(TOTAL, old.total, new.total, plan)
    if len(pairs) == 1 and pairs[0].sides == whole.sides:
        rows = _judged(pairs)  # the total is the same test, not another one
        total = replace(rows[0], name=TOTAL)
    else:
        *rows, total = _judged([*pairs, whole])
    return Comparison(
        plan,
        old.group_by,
        tuple(sorted(rows, key=_order)),
        total,
        _only_in(old, new) if by_name else (),
        _only_in(new, old) if by_name else (),
        tuple(_status_changes(pairs)),
    )


class _Pair:
    """One endpoint's two tallies, measured; judged once all tests are known."""

    def __init__(self, name: str, old: Tally, new: Tally, plan: Plan) -> None:
        self.name = name
        self.statuses = (old.statuses, new.statuses)
        self.sides = (Side(old.requests, old.failed), Side(new.requests, new.failed))
        before, after = _latencies(old, plan), _latencies(new, plan)
        self.changes = {
            metric: percentile_change(before, after, fraction_of(metric))
            for metric in plan.percentiles
        }
        self.metric = self.changes[plan.metric]
        self.ranks = rank_test(before, after)
        failed = ((old.failed, old.requests), (new.failed, new.requests))
        self.errors = share_change(*failed)
        self.of_metric: Evidence | None = None
        self.of_errors: Evidence | None = None
        if self.metric.supported:
            self.of_metric = percentile_evidence(before, after, plan.q, plan.threshold)
        if old.requests and new.requests and old.failed + new.failed:
            self.of_errors = share_evidence(*failed, plan.error_threshold)

    def tests(self) -> tuple[float | None, float | None, float | None]:
        """Give the p-values of no change: of the metric, the ranks, the errors."""
        return (
            self.of_metric and self.of_metric.changed,
            self.ranks and self.ranks.p_value,
            self.of_errors and self.of_errors.changed,
        )

    def limits(self) -> tuple[float | None, float | None]:
        """Give the p-values of being within the thresholds: the metric, the errors."""
        return self.of_metric and self.of_metric.beyond, self.of_errors and self.of_errors.beyond

    def judged(self, p_values: Evidences) -> Compared:
        """Put into words what the corrected ``p_values`` show."""
        metric = self._metric_went(p_values.metric)
        most = self._most_went(p_values.ranks)
        errors = self._errors_went(p_values.errors)
        verdict = metric or most or self._nothing()
        return Compared(
            name=self.name,
            old=self.sides[0],
            new=self.sides[1],
            changes=self.changes,
            metric=self.metric,
            ranks=self.ranks,
            errors=self.errors,
            p_values=p_values,
            verdict=verdict,
            error_verdict=errors,
            mixed=metric is not None and most is not None and metric != most,
            beyond=metric == "slower" and p_values.beyond <= LEVEL,
            errors_beyond=errors == "more errors" and p_values.errors_beyond <= LEVEL,
        )

    def _metric_went(self, p_value: float) -> Verdict | None:
        if p_value > LEVEL:
            return None
        return "slower" if self.metric.new_ms > self.metric.old_ms else "faster"

    def _most_went(self, p_value: float) -> Verdict | None:
        if p_value > LEVEL or self.ranks is None:
            return None
        return "slower" if self.ranks.slower > 0.5 else "faster"

    def _nothing(self) -> Verdict:
        return "no difference shown" if self.metric.supported else "too few samples"

    def _errors_went(self, p_value: float) -> ErrorVerdict:
        if p_value > LEVEL:
            return "no difference shown"
        return "more errors" if self.errors.difference > 0 else "fewer errors"


def _latencies(tally: Tally, plan: Plan) -> Histogram:
    return tally.response if plan.latency == "response" else tally.service


def _judged(pairs: Sequence[_Pair]) -> list[Compared]:
    """Correct all tests together, then judge each pair."""
    changed = _corrected([p_value for pair in pairs for p_value in pair.tests()])
    beyond = _corrected([p_value for pair in pairs for p_value in pair.limits()])
    return [
        pair.judged(Evidences(*changed[3 * i : 3 * i + 3], *beyond[2 * i : 2 * i + 2]))
        for i, pair in enumerate(pairs)
    ]


def _corrected(p_values: Sequence[float | None]) -> list[float]:
    """Adjust those of one family; what was not tested costs the others nothing, and is 1."""
    adjusted = iter(holm([p_value for p_value in p_values if p_value is not None]))
    return [1.0 if p_value is None else next(adjusted) for p_value in p_values]


def _order(row: Compared) -> tuple[bool, bool, int]:
    """What breaks stands first, then what changed, then the busiest."""
    changed = row.verdict in ("slower", "faster") or row.error_verdict != "no difference shown"
    return not row.breaks, not changed, -row.new.requests


def _only_in(these: Figures, those: Figures) -> tuple[OneSided, ...]:
    only = [OneSided(name, tally.requests) for name, tally in these.groups.items()]
    only = [each for each in only if each.name not in those.groups and each.name != OTHER]
    return tuple(sorted(only, key=lambda each: (-each.requests, each.name)))


def _status_changes(pairs: Sequence[_Pair]) -> Iterator[StatusChange]:
    for pair in pairs:
        (old, old_share), (new, new_share) = map(_most_frequent, pair.statuses)
        if old != new:
            yield StatusChange(pair.name, old, old_share, new, new_share)


def _most_frequent(statuses: Mapping[int, int]) -> tuple[int, float]:
    status = max(statuses, key=lambda each: (statuses[each], -each))
    return status, statuses[status] / sum(statuses.values())
