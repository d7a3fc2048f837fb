"""Runs and bodies that were kept, read back in input order: the library's front door to them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crawler.bodies.parquet import parquet_bodies
from crawler.bodies.reading import row_bodies
from crawler.bodies.rows import SavedBody
from crawler.bodies.warc_reading import warc_bodies
from crawler.body_plan import form_of
from crawler.errors import LogError, UsageError
from crawler.log import index_log
from crawler.record import Record, page_number
from crawler.resume import newest_run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class SavedRun:
    """A run as its log has it: of each target the newest record, in input order."""

    id: str
    log: Path

    def records(self) -> Iterator[Record]:
        """Yield a record a target; raises ``LogError``. Memory is an index of the log."""
        return index_log(self.log, self.id).records()

    def frame(self) -> pd.DataFrame:
        """Give a row a record, as ``Run.frame`` does."""
        from crawler.frames import records_frame

        return records_frame(self.records())

    def bodies(self) -> Iterator[SavedBody]:
        """Yield the bodies that the run kept, in input order."""
        return bodies_of_run(self.log, self.id)


def read_run(path: str | os.PathLike[str], *, run: str | None = None) -> SavedRun:
    """Give a run in a record log, the newest one if no ``run`` is named.

    Raises ``LogError`` where the log cannot be read or holds no run.
    """
    log = Path(path)
    found = run or newest_run(log)
    if found is None:
        raise LogError(f"{log} holds no run: is this the record log?")
    return SavedRun(found, log)


def read_bodies(path: str | os.PathLike[str]) -> Iterator[SavedBody]:
    """Yield the bodies of a file that ``--bodies`` wrote, in input order, run after run.

    Of a record log give the bodies of its newest run, wherever they are. Memory is an index of the
    file. Raises ``UsageError`` for another file, ``LogError`` for one that cannot be read.
    """
    place = Path(path)
    form = form_of(str(place))
    if form == "jsonl" and not _is_log(place):
        return row_bodies(place)
    if form == "warc":
        return warc_bodies(place)
    if form == "parquet":
        return parquet_bodies(place)
    if form != "jsonl" and place.suffix.lower() not in (".log", ".txt", ""):
        raise UsageError(f"{place}: give a file that --bodies wrote, or the record log")
    run = newest_run(place)
    return iter(()) if run is None else bodies_of_run(place, run)


def _is_log(path: Path) -> bool:
    """Tell a record log, which may be named .jsonl too, by its first line."""
    try:
        with path.open("rb") as file:
            return b'"attempts":' in file.readline()
    except OSError as exc:
        raise LogError(f"cannot read {path}: {exc.strerror or exc}") from None


def bodies_of_run(log: Path, run: str) -> Iterator[SavedBody]:
    """Yield what a run kept, in input order; its records tell where."""
    files: set[str] = set()
    for record in index_log(log, run).records():
        where = record.fields.get("body")
        if not where:
            continue
        if form_of(where) is None:
            yield _of_file(log, record, where)
        elif where not in files:
            files.add(where)
    for where in sorted(files):
        yield from (body for body in read_bodies(_found(log, where)) if body.run == run)


def _of_file(log: Path, record: Record, where: str) -> SavedBody:
    place = _found(log, where)
    try:
        content = place.read_bytes()
    except OSError as exc:
        raise LogError(f"cannot read {place}: {exc.strerror or exc}") from None
    own = (record.run, record.seq, record.url, record.status, record.fields.get("content_type"))
    return SavedBody(*own, record.fields["sha256"], (), content, page_number(record.fields))


def _found(log: Path, where: str) -> Path:
    """Find a file from here, else from where the log is."""
    place = Path(where)
    return place if place.exists() or place.is_absolute() else log.parent / where
