"""Sinks: what takes one body after another in a worker, and has them written before their records.

``add`` gives where the body is, as the record will say. ``flush`` comes before the record's line is
in the log, ``settled`` after it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from crawler.bodies.appender import PENDING_BYTES, Appender
from crawler.bodies.names import NamePattern, extension
from crawler.bodies.packing import pack, packing_of
from crawler.bodies.rows import encode_body
from crawler.body_plan import Bodies
from crawler.engines.base import Kept
from crawler.log import cannot
from crawler.record import Record, page_number


class Sink(Protocol):
    """Takes the bodies of one worker."""

    def add(self, record: Record, kept: Kept) -> str:
        """Take a body; tell where it is. Raises ``LogError`` where it cannot be written."""
        ...

    def flush(self) -> None:
        """Have all that was taken written."""
        ...

    def settled(self) -> None:
        """The records of all that was flushed are in the log."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


def rows_path(plan: Bodies) -> Path:
    """Give the file that workers append to: for Parquet one beside it, made into it at the end."""
    assert plan.file is not None
    return Path(plan.file + ".jsonl" if plan.form == "parquet" else plan.file)


def waiting_folder(folder: Path, run: str) -> Path:
    """Give the place of bodies whose records are not in the log yet."""
    return folder / f".crawl-{run}"


def waiting_name(seq: int, page: int) -> str:
    """Give the name under which a body waits there."""
    return str(seq) if page == 1 else f"{seq}-{page}"


class RowSink:
    """Rows of JSON lines, a packed block a flush."""

    def __init__(self, plan: Bodies) -> None:
        self._plan = plan
        self._packing = packing_of(str(rows_path(plan)))
        self._appender = Appender(rows_path(plan))
        self._rows: list[bytes] = []
        self._size = 0
        self._where = str(plan.file)

    def add(self, record: Record, kept: Kept) -> str:
        """Take a body as a row."""
        row = encode_body(record, kept, self._plan)
        self._rows.append(row)
        self._size += len(row)
        if self._size >= PENDING_BYTES:
            self.flush()
        return self._where

    def flush(self) -> None:
        """Append the rows as one block."""
        if self._rows:
            self._appender.append(pack(b"".join(self._rows), self._packing))
            self._rows.clear()
            self._size = 0

    def settled(self) -> None:
        """A row needs nothing more."""

    def close(self) -> None:
        """Close the file."""
        self._appender.close()


class FolderSink:
    """A file for each body: written under its number, named once its record is in the log."""

    def __init__(self, plan: Bodies, run: str) -> None:
        assert plan.folder is not None
        self._folder = Path(plan.folder)
        self._waiting = waiting_folder(self._folder, run)
        self._names = NamePattern.parse(plan.name, plan.fanout)
        self._run = run
        self._moves: list[tuple[str, str]] = []
        try:
            self._waiting.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise cannot("make", self._waiting, exc) from None

    def add(self, record: Record, kept: Kept) -> str:
        """Write a body whole, where it waits; give the name that it will have."""
        page = page_number(record.fields)
        place = f"{self._waiting}/{waiting_name(record.seq, page)}"
        try:
            with open(place, "wb") as file:
                file.writelines(kept.body.pieces())
        except OSError as exc:
            with contextlib.suppress(OSError):
                os.unlink(place)
            raise cannot("write", Path(place), exc) from None
        values = self._values(record, kept)
        paged = "" if page == 1 or "page" in self._names.places else f"p{page}"
        target = self._named(values, kept, paged)
        if not self._names.by_content and os.path.lexists(target):  # of an earlier run, or foreign
            target = self._named(values, kept, f"{paged}-{self._run}" if paged else self._run)
        self._moves.append((place, target))
        return target

    def flush(self) -> None:
        """All is written already."""

    def settled(self) -> None:
        """Give the files their names."""
        for place, target in self._moves:
            move(place, target)
        self._moves.clear()

    def close(self) -> None:
        """Nothing is open."""

    def _named(self, values: Mapping[str, str | int], kept: Kept, beside: str) -> str:
        return f"{self._folder}/{self._names.fill(values, kept.body.sha256, beside)}"

    def _values(self, record: Record, kept: Kept) -> Mapping[str, str | int]:
        """Give what a name may hold: columns of the list, and what the reply tells."""
        parts = urlsplit(record.final_url or record.url)
        sha1 = hashlib.sha1(kept.body.read()).hexdigest() if self._names.needs_sha1 else ""
        return {
            **record.fields,
            "index": record.seq,
            "host": (parts.netloc.rpartition("@")[2] or "-").replace(":", "_"),
            "path": parts.path.strip("/").replace("/", "_"),
            "status": record.status or 0,
            "sha256": kept.body.sha256,
            "sha1": sha1,
            "ext": extension(kept.header("content-type")),
        }


def move(place: str, target: str) -> None:
    """Rename a file into a folder that may not be there yet; raises ``LogError``."""
    try:
        try:
            os.replace(place, target)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.replace(place, target)
    except OSError as exc:
        raise cannot("write", Path(target), exc) from None
