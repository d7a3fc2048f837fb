"""What a job remembers between pulls, in one SQLite file beside its data.

The file is never ahead of the data: versions are on the disk before a transaction tells of them,
and a run is one transaction. WAL keeps readers (a status, a page) and the one writer apart;
``synchronous=FULL`` has a commit survive a power cut. https://sqlite.org/wal.html
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from crawler.pull.state_file import look_at_state, open_state, translated

STATE_NAME: Final = "state.db"


def state_files(folder: Path) -> tuple[Path, Path]:
    """Give the files whose change tells that a job's state has changed."""
    return folder / STATE_NAME, folder / f"{STATE_NAME}-wal"


class TargetState(NamedTuple):
    """What is known of a target (a page of it). Moments are Unix seconds.

    ``asked`` is the URL, masked, that ``etag`` and ``last_modified`` came from, ``asked_with`` the
    job's ``manner`` then; ``trusted`` is False once the server gave one of them to two bodies.
    ``full_at`` is when the whole body last came. ``digest`` is that of the newest version.
    ``failures`` counts those in a row. ``cursor_of`` is the plan that ``cursor`` came by.
    """

    id: int
    key: str
    page: int
    slug: str
    asked: str | None
    etag: str | None
    last_modified: str | None
    trusted: bool
    full_at: float | None
    kind: str | None
    ending: str | None
    digest: str | None
    changed_at: float | None
    succeeded_at: float | None
    tried_at: float | None
    failing_since: float | None
    failures: int
    error: str | None
    detail: str | None
    cursor: str | None
    asked_with: str | None
    cursor_of: str | None

    def has_cursor(self, origin: str) -> bool:
        """Whether there is a cursor that came by the plan of this origin."""
        return self.cursor is not None and self.cursor_of in (None, origin)


class RunState(NamedTuple):
    """A pull that has ended; ``error`` says why it could not be made, None where it was.

    ``cut`` tells one that was stopped or killed: it may not have asked all of its targets.
    """

    id: str
    started: float
    ended: float
    changed: int
    unchanged: int
    failed: int
    error: str | None
    cut: bool = False


class Outcome(NamedTuple):
    """What came of a target in a run: ``changed``, ``unchanged`` or ``failed``."""

    target: int
    at: float
    run: str
    outcome: str
    status: int | None
    error: str | None
    detail: str | None
    elapsed_ms: float


class Version(NamedTuple):
    """A version that is kept. ``place`` and ``diff`` are paths in the job's folder.

    ``added`` and ``removed`` count the lines of a diff, None where there is none. ``news`` is 1
    where there was an earlier one and nobody was told yet.
    """

    target: int
    run: str
    at: float
    digest: str
    place: str
    diff: str | None
    bytes: int
    added: int | None
    removed: int | None
    news: int = 0


class Message(NamedTuple):
    """An alert that is still to be told through ``channel``; ``body`` is JSON."""

    id: int
    at: float
    channel: str
    body: str


_TARGET_COLUMNS: Final = ", ".join(TargetState._fields)


class State:
    """An open state file; a context manager. Every method raises ``StateError``."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, folder: Path) -> State:
        """Open a job's state for writing; it is made, or brought up to date, where need be."""
        path = folder / STATE_NAME
        return cls(open_state(path), path)

    @classmethod
    def reading(cls, folder: Path) -> State | None:
        """Open a job's state to look at it; None where there is none yet."""
        path = folder / STATE_NAME
        connection = look_at_state(path)
        return None if connection is None else cls(connection, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Make what is written inside one transaction: all of it or nothing."""
        with translated(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk has ended the transaction already; what is told is why.
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Give the rows of a query."""
        with translated(self._path):
            return self._connection.execute(sql, values).fetchall()

    def change(self, sql: str, *values: object) -> int:
        """Execute a statement; give the id of a row that it put in."""
        with translated(self._path):
            return self._connection.execute(sql, values).lastrowid or 0

    def targets(self) -> list[TargetState]:
        """Give all targets, in the order in which they came to be known."""
        return [_target(row) for row in self.rows(f"SELECT {_TARGET_COLUMNS} FROM target")]

    def drop_others(self, run: str) -> None:
        """Note which targets a run that asked all of a job's did not ask: they are its no more."""
        self.change(
            "UPDATE target SET dropped = 1 WHERE key NOT IN (SELECT key FROM outcome "
            "JOIN target ON target.id = outcome.target WHERE outcome.run = ?)",
            run,
        )

    def drop(self, target: int, *, dropped: bool) -> None:
        """Note that a target is the job's no more, or that it is again."""
        self.change("UPDATE target SET dropped = ? WHERE id = ?", dropped, target)

    def dropped(self) -> set[int]:
        """Give the ids of targets that are the job's no more."""
        return {row[0] for row in self.rows("SELECT id FROM target WHERE dropped")}

    def target(self, key: str, page: int = 1) -> TargetState | None:
        """Give a target by its key."""
        found = self.rows(
            f"SELECT {_TARGET_COLUMNS} FROM target WHERE key = ? AND page = ?", key, page
        )
        return _target(found[0]) if found else None

    def add_target(self, key: str, page: int, slug: str) -> TargetState:
        """Begin to know a target."""
        self.change("INSERT INTO target (key, page, slug) VALUES (?, ?, ?)", key, page, slug)
        found = self.target(key, page)
        assert found is not None, "it was put in a moment ago"
        return found

    def has_slug(self, slug: str) -> bool:
        """Tell whether a target is called so already."""
        return bool(self.rows("SELECT 1 FROM target WHERE slug = ?", slug))

    def set_target(self, target: TargetState) -> None:
        """Write a target down as it is now."""
        names = [name for name in TargetState._fields if name != "id"]
        values = [getattr(target, name) for name in names]
        places = ", ".join(f"{name} = ?" for name in names)
        self.change(f"UPDATE target SET {places} WHERE id = ?", *values, target.id)

    def add(self, row: RunState | Outcome | Version) -> None:
        """Write down a run, an outcome or a version; one that is there already is replaced."""
        table = {RunState: "run", Outcome: "outcome", Version: "version"}[type(row)]
        names, marks = ", ".join(row._fields), ", ".join("?" * len(row))
        self.change(f"INSERT OR REPLACE INTO {table} ({names}) VALUES ({marks})", *row)

    def has_run(self, run: str) -> bool:
        """Tell whether a run was committed."""
        return bool(self.rows("SELECT 1 FROM run WHERE id = ?", run))

    def runs(self, *, since: float = 0.0, most: int = -1) -> list[RunState]:
        """Give the newest runs that began at ``since`` or later, newest first."""
        found = self.rows(
            f"SELECT {', '.join(RunState._fields)} FROM run WHERE started >= ? "
            "ORDER BY rowid DESC LIMIT ?",
            since,
            most,
        )
        return [RunState._make((*row[:-1], bool(row[-1]))) for row in found]

    def outcomes(self, target: int, most: int) -> list[Outcome]:
        """Give a target's newest outcomes, oldest first."""
        found = self.rows(
            f"SELECT {', '.join(Outcome._fields)} FROM outcome WHERE target = ? "
            "ORDER BY rowid DESC LIMIT ?",
            target,
            most,
        )
        return [Outcome(*row) for row in reversed(found)]

    def latencies_ms(self, target: int, most: int) -> list[tuple[bool, float]]:
        """Give the latencies of the successes among a target's newest outcomes, oldest first.

        Each comes with whether it was a 304: these are not to be held against whole replies.
        """
        found = self.rows(
            "SELECT status IS 304, CASE outcome WHEN 'failed' THEN NULL ELSE elapsed_ms END "
            "FROM outcome WHERE target = ? ORDER BY rowid DESC LIMIT ?",
            target,
            most,
        )
        return [(bool(is_304), each) for is_304, each in reversed(found) if each is not None]

    def versions(self, *, target: int | None = None, most: int = -1) -> list[Version]:
        """Give the newest versions, of one target or of all, newest first."""
        of = "" if target is None else "WHERE target = ?"
        values = () if target is None else (target,)
        found = self.rows(
            f"SELECT {', '.join(Version._fields)} FROM version {of} ORDER BY rowid DESC LIMIT ?",
            *values,
            most,
        )
        return [Version(*row) for row in found]

    def news(self) -> list[tuple[TargetState, Version]]:
        """Give the versions of which nobody was told yet, oldest first, and whose they are."""
        found = self.rows(
            f"SELECT {', '.join(Version._fields)} FROM version WHERE news ORDER BY rowid"
        )
        targets = {target.id: target for target in self.targets()} if found else {}
        return [(targets[row[0]], Version(*row)) for row in found]

    def pages_beyond(self, key: str, page: int) -> list[TargetState]:
        """Give a target's pages behind ``page`` that were there before."""
        found = self.rows(
            f"SELECT {_TARGET_COLUMNS} FROM target "
            "WHERE key = ? AND page > ? AND (NOT dropped OR digest IS NOT NULL)",
            key,
            page,
        )
        return [_target(row) for row in found]

    def forget_outcomes(self, target: int, keep: int) -> None:
        """Forget a target's outcomes but the newest ``keep``."""
        self.change(
            "DELETE FROM outcome WHERE target = ?1 AND rowid < (SELECT rowid FROM outcome "
            "WHERE target = ?1 ORDER BY rowid DESC LIMIT 1 OFFSET ?2)",
            target,
            keep - 1,
        )

    def forget_version(self, version: Version) -> None:
        """Forget a version; its files are the caller's to remove."""
        self.change("DELETE FROM version WHERE target = ? AND run = ?", version.target, version.run)

    def messages(self) -> list[Message]:
        """Give what is still to be told, oldest first."""
        found = self.rows(f"SELECT {', '.join(Message._fields)} FROM message ORDER BY id")
        return [Message(*row) for row in found]


def _target(row: tuple[Any, ...]) -> TargetState:
    found = TargetState(*row)
    return found._replace(trusted=bool(found.trusted))
