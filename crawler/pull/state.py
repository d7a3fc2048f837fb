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

from crawler.errors import CrawlError
from crawler.pull.schema import APPLICATION_ID, MIGRATIONS

STATE_NAME: Final = "state.db"
_BUSY_S: Final = 30.0


class StateError(CrawlError):
    """A job's state cannot be opened, read or written."""


class TargetState(NamedTuple):
    """What is known of a target (a page of it). Moments are Unix seconds.

    ``asked`` is the URL, masked, that ``etag`` and ``last_modified`` came from, ``asked_with`` the
    job's ``manner`` then; ``trusted`` is False once the server gave one of them to two bodies.
    ``full_at`` is when the whole body last came. ``digest`` is that of the newest version.
    ``failures`` counts those in a row.
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


class RunState(NamedTuple):
    """A pull that has ended; ``error`` says why it could not be made, None where it was."""

    id: str
    started: float
    ended: float
    changed: int
    unchanged: int
    failed: int
    error: str | None


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

    ``added`` and ``removed`` count the lines of a diff, None where there is none.
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
        with _translated(path):
            connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            try:
                _check_whole(connection, path)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                _migrate(connection)
            except BaseException:
                connection.close()
                raise
        return cls(connection, path)

    @classmethod
    def reading(cls, folder: Path) -> State | None:
        """Open a job's state to look at it; None where there is none yet."""
        path = folder / STATE_NAME
        if not path.exists():
            return None
        with _translated(path):
            connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
            try:
                connection.execute("PRAGMA query_only = ON")
                version = _check_ours(connection, path)
            except BaseException:
                connection.close()
                raise
        if version < len(MIGRATIONS):  # it was made this moment, or is an older one's
            connection.close()
            return None
        return cls(connection, path)

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
        with _translated(self._path):
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
        with _translated(self._path):
            return self._connection.execute(sql, values).fetchall()

    def change(self, sql: str, *values: object) -> int:
        """Execute a statement; give the id of a row that it put in."""
        with _translated(self._path):
            return self._connection.execute(sql, values).lastrowid or 0

    def targets(self) -> list[TargetState]:
        """Give all targets, in the order in which they came to be known."""
        return [_target(row) for row in self.rows(f"SELECT {_TARGET_COLUMNS} FROM target")]

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
        return [RunState(*row) for row in found]

    def outcomes(self, target: int, most: int) -> list[Outcome]:
        """Give a target's newest outcomes, oldest first."""
        found = self.rows(
            f"SELECT {', '.join(Outcome._fields)} FROM outcome WHERE target = ? "
            "ORDER BY rowid DESC LIMIT ?",
            target,
            most,
        )
        return [Outcome(*row) for row in reversed(found)]

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

    def pages_beyond(self, key: str, page: int) -> list[TargetState]:
        """Give a target's pages behind ``page`` that have a version."""
        found = self.rows(
            f"SELECT {_TARGET_COLUMNS} FROM target "
            "WHERE key = ? AND page > ? AND digest IS NOT NULL",
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


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into an error that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as exc:
        raise StateError(f"{path}: {_remedy(exc)}") from None


def _remedy(exc: sqlite3.DatabaseError) -> str:
    words = str(exc)
    usual = (sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.ProgrammingError)
    if isinstance(exc, usual) and "malformed" not in words:
        return f"cannot use the state: {words}"
    return (
        f"the state is damaged ({words}); move it away and the next pull begins anew: "
        "latest/ and versions/ stay as they are"
    )


def _check_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a file that is not ours, or damaged; nothing is written to it."""
    _check_ours(connection, path)
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        raise sqlite3.DatabaseError(" ".join(str(found[0] if found else "").split()))


def _check_ours(connection: sqlite3.Connection, path: Path) -> int:
    """Give the version of a state file of ours; 0 of an empty one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    owner = connection.execute("PRAGMA application_id").fetchone()[0]
    if owner != APPLICATION_ID and (version or _has_tables(connection)):
        raise StateError(f"{path} is another program's database; give [store] dir another folder")
    if version > len(MIGRATIONS):
        raise StateError(
            f"{path} is of version {version}, written by a newer crawl; this one knows "
            f"{len(MIGRATIONS)}: use the newer one"
        )
    return version


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is not None


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date, each step whole or not at all."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID}; {script}; "
            f"PRAGMA user_version = {number}; COMMIT;"
        )
