"""A run's records and the bodies that belong to them, side by side, in input order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from crawler.bodies.reading import row_bodies
from crawler.bodies.rows import SavedBody
from crawler.log import index_log
from crawler.record import Record, page_number

Reply = tuple[Record, SavedBody | None]


class Recorded(NamedTuple):
    """Where a run's records and bodies are; nothing of it stands in the log before ``offset``."""

    run: str
    log: Path
    spool: Path
    offset: int = 0


def replies_of(recorded: Recorded) -> Iterator[Reply]:
    """Yield each record of a run with its body, None where none was kept; raises ``LogError``.

    Of an attempt that was redone after a worker's death there may be two bodies: the record's
    digest tells which is its own.
    """
    run, log, spool, offset = recorded
    rows = row_bodies(spool, run) if spool.exists() else iter(())
    groups = groupby(rows, key=lambda body: (body.seq, body.page))
    place, bodies = next(groups, (None, iter(())))
    for record in index_log(log, run, offset=offset).records():
        own = (record.seq, page_number(record.fields))
        while place is not None and place < own:
            place, bodies = next(groups, (None, iter(())))
        digest = record.fields.get("sha256")
        found = list(bodies) if place == own else []
        yield record, next((body for body in found if body.sha256 == digest), None)
