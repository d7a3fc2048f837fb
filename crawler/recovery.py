"""What becomes of the targets that a dead worker had in hand: the log knows which were finished.

A worker reports a batch after its lines are in the log, so between the two it may die with records
written and untold. They are found there, from the place where the log stood when the oldest of the
targets was read; what is not found is fetched again. So each target, or page of one, has exactly
one record.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final

from crawler.batches import BatchResult, FiguresMaker, Order
from crawler.codec import decode, encode
from crawler.fetch import unsent
from crawler.ledger import DEATHS_TO_LOSE
from crawler.log import SharedLog, log_size, recorded
from crawler.paging import Pager
from crawler.record import Record, Target, page_number
from crawler.settings import Settings

_MARK_EVERY: Final = 5000


class LogRecovery:
    """The pool's ``Recovery`` for a run with or without a log."""

    def __init__(self, order: Order, settings: Settings, log: SharedLog | None) -> None:
        self._order = order
        self._settings = settings
        self._log = log
        self._new_figures = FiguresMaker(order)
        self._pager = None if settings.paginate is None else Pager(settings.paginate)
        self._mark_seqs: list[int] = []
        self._mark_offsets: list[int] = []

    def watch(self, targets: Iterable[Target]) -> Iterator[Target]:
        """Pass targets on, noting now and then how long the log was when one was read."""
        for count, target in enumerate(targets):
            if self._log is not None and count % _MARK_EVERY == 0:
                self._mark_seqs.append(target.seq)
                self._mark_offsets.append(log_size(self._log.path))
            yield target

    def salvage(
        self, items: Sequence[Target]
    ) -> tuple[BatchResult | None, list[Target], list[Target]]:
        """Find what the log holds of ``items``; give that as a result, what is done, and the rest.

        A target some of whose pages are there goes on with the next one.
        """
        if self._log is None:
            return None, [], list(items)
        seqs = {target.seq for target in items}
        mark = bisect_right(self._mark_seqs, min(seqs)) - 1
        lines = recorded(
            self._log.path, self._order.run, seqs, offset=self._mark_offsets[max(0, mark)]
        )
        found, finished, rest = list[tuple[Record, bytes]](), list[Target](), list[Target]()
        for target in items:
            rows = _rows_of(target, lines)
            found += rows
            further = self._further(target, rows)
            if further is None:
                finished.append(target)
            else:
                rest.append(further)
        return self._result(found) if found else None, finished, rest

    def _further(self, target: Target, rows: list[tuple[Record, bytes]]) -> Target | None:
        """Give what is left of a target of which the log has these rows."""
        if not rows:
            return target
        return None if self._pager is None else self._pager.further(target, rows[-1][0])

    def lost(self, item: Target) -> BatchResult:
        """Record a target that was in hand at too many deaths as ``worker_lost``."""
        words = f"{DEATHS_TO_LOSE} workers died with this URL in hand"
        method = item.method or self._settings.method
        record = unsent(self._order.run, item, method, "worker_lost", words)
        line = encode(record)
        if self._log is not None:
            writer = self._log.open()
            writer.append([line])
            writer.close()
        return self._result([(record, line)])

    def merge(self, results: Sequence[BatchResult]) -> BatchResult:
        """Put the parts of a batch together, its lines in input order."""
        lines = None
        if self._order.keep_lines:
            lines = sorted(chain(*(part.lines or () for part in results)), key=itemgetter(0))
        samples = tuple(samples for part in results for samples in part.samples)
        dropped = sum(part.dropped for part in results)
        return BatchResult(sum(part.records for part in results), samples, lines, dropped)

    def _result(self, rows: list[tuple[Record, bytes]]) -> BatchResult:
        samples = self._new_figures()
        for record, _ in rows:
            samples.add(record)
        lines = [(record.seq, line) for record, line in sorted(rows, key=lambda row: row[0].seq)]
        return BatchResult(len(rows), (samples,), lines if self._order.keep_lines else None)


def _rows_of(target: Target, lines: Mapping[tuple[int, int], bytes]) -> list[tuple[Record, bytes]]:
    """Give what the log has of a target, from the page on that the target is, in order."""
    rows, page = list[tuple[Record, bytes]](), page_number(target.fields)
    while (line := lines.get((target.seq, page))) is not None:
        rows.append((decode(line), line))
        page += 1
    return rows
