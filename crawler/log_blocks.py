"""From a log to blocks of columns: what figures are made from, chosen, grouped, one run a block.

Memory is flat: a log is read by pieces of 16 MiB, of which three at most are at hand. pyarrow reads
them, in threads that the interpreter's lock does not hold up; what it is not there for, or does not
take, is read line by line. Both give the same blocks.

A target that a run fetched again (``--retry-failed``) is recorded twice, and its newest record
counts. What has been added to a histogram cannot be taken out again, so a first reading only finds
that out (``Repeats``, a bit a record), and a second one leaves the older records out. Logs without
a repetition, nearly all, are read once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from crawler.blocks import SLOWEST, Block, Bools, Example, Floats, Ints, Slow
from crawler.log_arrow import ArrowReader, Odd
from crawler.log_chunks import LogFile
from crawler.log_columns import TIMES, BadLine, Columns, LineReader, key_field
from crawler.record import ERROR_CLASSES, Record
from crawler.samples import INVALID, NONE, key_of, short_name

_THREADS: Final = 2
_AHEAD: Final = 3
"""Pieces of a log at hand at a time."""
_ROWS: Final = 1 << 17
"""Rows that a block is to have, some 20 MB: a group costs a block the same however few it has."""
_NOT_BY_ARROW: Final = (*TIMES, "reused")
"""Fields whose texts, when grouped by them, pyarrow would write in another way."""
_LAG: Final = TIMES.index("lag_ms")
_PHASES: Final = slice(1, _LAG)
_INVALID_URL: Final = ERROR_CLASSES.index("invalid_url")
_MARKED: Final = 1 << 30
"""Targets below this number are marked in an array, the others (of what list?) in a set."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records count: of runs whose id begins with ``run``, begun from ``since_s`` on and
    before ``until_s`` (seconds of the epoch). None leaves nothing out.
    """

    run: str | None = None
    since_s: float | None = None
    until_s: float | None = None

    def rows(self, columns: Columns) -> Bools:
        """Tell for each row whether it counts."""
        chosen = np.ones(len(columns), np.bool_)
        if self.run is not None:
            fits = np.array([name.startswith(self.run) for name in columns.run.names], np.bool_)
            chosen &= fits[columns.run.codes]
        if self.since_s is not None:
            chosen &= columns.started_s >= self.since_s
        if self.until_s is not None:
            chosen &= columns.started_s < self.until_s
        return chosen


EVERYTHING: Final = Selection()


class Repeats:
    """Finds targets that a run has recorded more than once, and where the newest record stands.

    A record's place is its number among all that were read, in the order of reading.
    """

    __slots__ = ("_newest", "_seen", "_seen_beyond")

    def __init__(self) -> None:
        self._seen: dict[str, npt.NDArray[np.uint8]] = {}
        self._seen_beyond: dict[str, set[int]] = {}
        self._newest: dict[str, dict[int, int]] = {}

    def are(self, others: Repeats) -> bool:
        """Whether both have found the same."""
        return self._newest == others._newest

    def note(self, run: str, seqs: Ints, places: Ints) -> None:
        """Take notice of records of one run."""
        low = seqs < _MARKED
        again = self._mark(run, seqs[low]) if low.all() else np.ones(len(seqs), np.bool_)
        if not low.all():
            again[low] = self._mark(run, seqs[low])
            beyond = self._seen_beyond.setdefault(run, set())
            for row in np.flatnonzero(~low):
                again[row] = int(seqs[row]) in beyond
                beyond.add(int(seqs[row]))
        if again.any():
            newest = self._newest.setdefault(run, {})
            newest.update(zip(seqs[again].tolist(), places[again].tolist(), strict=True))

    def superseded(self, run: str, seqs: Ints, places: Ints) -> Bools:
        """Tell for each record whether a newer one stands for its target."""
        newest = self._newest.get(run, {})
        found = np.zeros(len(seqs), np.bool_)
        for row in np.flatnonzero(np.isin(seqs, np.fromiter(newest, np.int64, len(newest)))):
            found[row] = newest[int(seqs[row])] != places[row]
        return found

    def _mark(self, run: str, seqs: Ints) -> Bools:
        """Mark targets as seen, a bit each; tell which were, in the order given."""
        seen = self._seen.get(run, np.zeros(128, np.uint8))
        byte, bit = seqs >> 3, (seqs & 7).astype(np.uint8)
        if len(seqs) and (most := int(byte.max())) >= len(seen):
            seen = np.pad(seen, (0, max(len(seen), most + 1 - len(seen))))
        self._seen[run] = seen
        again = (seen[byte] >> bit & 1).astype(np.bool_)
        np.bitwise_or.at(seen, byte, np.uint8(1) << bit)
        first = np.zeros(len(seqs), np.bool_)
        first[np.unique(seqs, return_index=True)[1]] = True
        marked: Bools = again | ~first
        return marked


class BlockReader:
    """Reads logs to blocks; ``bad`` is told of lines (from 1) that are no records.

    ``older`` is what a first reading of the same logs found; its places are this one's. With
    ``arrow`` False the line reader reads all.
    """

    def __init__(
        self,
        group_by: str,
        selection: Selection = EVERYTHING,
        *,
        bad: Callable[[LogFile, BadLine], None],
        older: Repeats | None = None,
        arrow: bool = True,
    ) -> None:
        self._group_by = group_by
        self._selection = selection
        self._bad = bad
        self._older = older
        self._lines = LineReader(group_by)
        self._arrow = _arrow_reader(group_by) if arrow else None
        self._namer = lru_cache(maxsize=4096)(_namer(group_by))
        self.repeats = Repeats()
        self.records = 0
        """Records read so far, selected or not."""

    @property
    def settled(self) -> bool:
        """Whether this reading knew all repetitions that it found."""
        return self.repeats.are(self._older or Repeats())

    def blocks(self, log: LogFile) -> Iterator[Block]:
        """Yield the blocks of what is new in ``log``; raises ``LogError``."""
        yield from joined(self._pieces(log), _ROWS)

    def _pieces(self, log: LogFile) -> Iterator[Block]:
        for columns in self._columns(log):
            for bad in columns.bad:
                self._bad(log, bad._replace(line=log.lines + bad.line + 1))
            log.lines += columns.lines
            yield from self._of(columns)
            self.records += len(columns)

    def _columns(self, log: LogFile) -> Iterator[Columns]:
        if self._arrow is None:
            for chunk in log.chunks():
                yield from self._lines.read(chunk)
            return
        with ThreadPoolExecutor(_THREADS) as threads:
            waiting: deque[Future[list[Columns]]] = deque()
            for chunk in log.chunks():
                waiting.append(threads.submit(self._read, self._arrow, chunk))
                if len(waiting) == _AHEAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()

    def _read(self, arrow: ArrowReader, chunk: bytes) -> list[Columns]:
        try:
            return [arrow.read(chunk)]
        except Odd:
            return list(self._lines.read(chunk))

    def _of(self, columns: Columns) -> Iterator[Block]:
        chosen = self._selection.rows(columns)
        names, groups = self._groups(columns)
        for code, run in enumerate(columns.run.names):
            rows = np.flatnonzero(chosen & (columns.run.codes == code))
            rows = self._newest(run, columns, rows)
            if len(rows):
                yield _block(run, columns, rows, names, groups)

    def _newest(self, run: str, columns: Columns, rows: Ints) -> Ints:
        seqs, places = columns.seq[rows], self.records + rows
        self.repeats.note(run, seqs, places)
        if self._older is None:
            return rows
        return rows[~self._older.superseded(run, seqs, places)]

    def _groups(self, columns: Columns) -> tuple[tuple[str, ...], Ints]:
        names = (*map(self._namer, columns.key.names), INVALID)
        groups = columns.key.codes
        if key_field(self._group_by) == "url" and self._group_by != "url":
            groups = np.where(columns.error == _INVALID_URL, len(names) - 1, groups)
        return names, groups


def joined(blocks: Iterable[Block], rows: int) -> Iterator[Block]:
    """``blocks``, those of one run that follow on each other joined until they have ``rows``."""
    waiting: list[Block] = []
    held = 0
    for block in blocks:
        if waiting and (waiting[0].run != block.run or held >= rows):
            yield _join(waiting)
            waiting, held = [], 0
        waiting.append(block)
        held += len(block)
    if waiting:
        yield _join(waiting)


def _join(blocks: Sequence[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    places: dict[str, int] = {}
    groups = [
        np.array([places.setdefault(name, len(places)) for name in block.names])[block.group]
        for block in blocks
    ]
    examples: dict[str, Example] = {}
    for block in blocks:
        examples = {**block.examples, **examples}
    return Block(
        run=blocks[0].run,
        names=tuple(places),
        group=np.concatenate(groups),
        started_s=np.concatenate([block.started_s for block in blocks]),
        elapsed_ms=np.concatenate([block.elapsed_ms for block in blocks]),
        lag_ms=np.concatenate([block.lag_ms for block in blocks]),
        phases_ms=np.concatenate([block.phases_ms for block in blocks]),
        status=np.concatenate([block.status for block in blocks]),
        error=np.concatenate([block.error for block in blocks]),
        bytes=np.concatenate([block.bytes for block in blocks]),
        reused=np.concatenate([block.reused for block in blocks]),
        sent=np.concatenate([block.sent for block in blocks]),
        slowest=tuple(slow for block in blocks for slow in block.slowest),
        examples=examples,
        warmup=sum(block.warmup for block in blocks),
    )


def _arrow_reader(group_by: str) -> ArrowReader | None:
    try:
        return None if group_by in _NOT_BY_ARROW else ArrowReader(group_by)
    except ImportError:
        return None


def _namer(group_by: str) -> Callable[[str], str]:
    """What names a group from the text that it is made from; as ``crawl run`` names it."""
    if key_field(group_by) != "url":
        return lambda text: text or NONE
    key = key_of(group_by)
    return lambda text: key(_NO_RECORD._replace(url=text))


_NO_RECORD: Final = Record(
    "", 0, "", "", None, None, None, "", 0, 0, 0, 0, 0, 0, 0, 0, 0, None, None, None, reused=False
)


def _block(run: str, columns: Columns, rows: Ints, names: tuple[str, ...], groups: Ints) -> Block:
    counted = rows[~columns.warmup[rows]]
    times_ms = columns.times_ms[counted]
    return Block(
        run=run,
        names=names,
        group=groups[counted],
        started_s=columns.started_s[counted],
        elapsed_ms=times_ms[:, 0],
        lag_ms=times_ms[:, _LAG],
        phases_ms=times_ms[:, _PHASES],
        status=columns.status[counted],
        error=columns.error[counted],
        bytes=columns.bytes[counted],
        reused=columns.reused[counted],
        sent=columns.sent[counted],
        slowest=_slowest(columns, counted),
        examples=_examples(columns, counted),
        warmup=len(rows) - len(counted),
    )


def _slowest(columns: Columns, rows: Ints) -> tuple[Slow, ...]:
    """The slowest requests, slowest first; of equals the later ones."""
    elapsed_ms = columns.times_ms[rows, 0]
    response_ms = elapsed_ms + np.maximum(columns.times_ms[rows, _LAG], 0.0)
    if len(rows) > SLOWEST:
        least = np.partition(response_ms, -SLOWEST)[-SLOWEST]
        rows, response_ms = _both(response_ms >= least, rows, response_ms)
    order = np.lexsort((columns.seq[rows], columns.started_s[rows], response_ms))[::-1]
    return tuple(
        Slow(
            float(response_ms[at]),
            float(columns.times_ms[row, 0]),
            float(columns.started_s[row]),
            int(columns.seq[row]),
            int(columns.status[row]),
            short_name(columns.url(int(row))),
        )
        for at, row in zip(order[:SLOWEST], rows[order[:SLOWEST]], strict=True)
    )


def _both(kept: Bools, rows: Ints, values: Floats) -> tuple[Ints, Floats]:
    return rows[kept], values[kept]


def _examples(columns: Columns, rows: Ints) -> dict[str, Example]:
    """The first failure of each class."""
    failed = rows[columns.error[rows] >= 0]
    codes, first = np.unique(columns.error[failed], return_index=True)
    return {
        ERROR_CLASSES[code]: _example(columns, int(failed[at]))
        for code, at in zip(codes.tolist(), first.tolist(), strict=True)
    }


def _example(columns: Columns, row: int) -> Example:
    return Example(short_name(columns.url(row)), short_name(columns.detail(row)))
