"""The state's file opened: to write, brought up to date; to look, without a trace in it.

A reader that is newer than the file looks at a copy in memory; so does one that may not write
(another user, say) where SQLite would make files to read it (https://sqlite.org/wal.html#readonly).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from crawler.errors import CrawlError
from crawler.pull.schema import APPLICATION_ID, MIGRATIONS

_BUSY_S: Final = 30.0
_UNWRITABLE: Final = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_AGAIN_S: Final = 0.01
_LOOKS: Final = 10
_QUIET_S: Final = 0.1
_PRIMARY: Final = 0xFF
"""The part of an extended result code that is the code (https://sqlite.org/rescode.html)."""


class StateError(CrawlError):
    """A job's state cannot be opened, read or written."""


def open_state(path: Path) -> sqlite3.Connection:
    """Open a state for writing; it is made where there is none. Raises ``StateError``."""
    with translated(path), _closed_on_error(_connect(path)) as connection:
        _check_ours(connection, path)
        _check_whole(connection)
        _go_over_to_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(connection)
        return connection


def _go_over_to_wal(connection: sqlite3.Connection) -> None:
    """Have the file in WAL mode; SQLite waits for nobody here, lest two wait for each other."""
    until_s = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > until_s:
                raise
        time.sleep(_AGAIN_S)


def look_at_state(path: Path) -> sqlite3.Connection | None:
    """Open a state to look at it; None where there is none yet. Raises ``StateError``."""
    try:
        if not path.exists():
            return None
    except OSError as exc:
        raise StateError(f"{path}: cannot read the state: {exc.strerror or exc}") from None
    with translated(path):
        for mode in ("rw", "ro"):
            try:
                return _looking(_connect_as(path, f"mode={mode}"), path)
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode & _PRIMARY not in _UNWRITABLE:
                    raise
        return _unmoved(path)


def _looking(opened: sqlite3.Connection, path: Path) -> sqlite3.Connection | None:
    with _closed_on_error(opened) as connection:
        connection.execute("PRAGMA query_only = ON")
        version = _check_ours(connection, path)
        if version == len(MIGRATIONS):
            return connection
    with contextlib.closing(connection):
        return _in_memory(connection) if version else None  # it is being made this moment


def _in_memory(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Give a copy of one moment (https://sqlite.org/backup.html), brought up to date."""
    memory = _connect(":memory:")
    with _closed_on_error(memory):
        connection.backup(memory)
        _check_whole(memory)
        _migrate(memory)
        memory.execute("PRAGMA query_only = ON")
    return memory


def _unmoved(path: Path) -> sqlite3.Connection:
    """Look at a copy of a state beside which nothing may be written, and nothing is.

    While somebody writes there are files beside it, and it is not come to this; who begins
    meanwhile is seen by the file's stamp.
    """
    for _ in range(_LOOKS):
        before = stamp_of(path)
        time.sleep(_QUIET_S)  # stamps are as fine as the kernel's clock ticks
        try:
            with contextlib.closing(_connect_as(path, "immutable=1")) as connection:
                _check_ours(connection, path)
                memory = _in_memory(connection)
        except sqlite3.DatabaseError:
            if stamp_of(path) == before:
                raise
            continue
        if stamp_of(path) == before:
            return memory
        memory.close()
    raise StateError(f"{path}: it is being written to all the time; look again")


def stamp_of(path: Path) -> tuple[int, int, int] | None:
    """Give what changes with a file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _connect(path: Path | str) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)


def _connect_as(path: Path, query: str) -> sqlite3.Connection:
    """Connect in a way of https://sqlite.org/uri.html."""
    place = f"{path.absolute().as_uri()}?{query}"
    return sqlite3.connect(place, uri=True, timeout=_BUSY_S, isolation_level=None)


@contextlib.contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    except BaseException:
        connection.close()
        raise


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
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


def _check_whole(connection: sqlite3.Connection) -> None:
    """Refuse a file that is damaged; nothing is written to it."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != ("ok",):
        raise sqlite3.DatabaseError(" ".join(str(found[0] if found else "").split()))


def _check_ours(connection: sqlite3.Connection, path: Path) -> int:
    """Give the version of a state file of ours; 0 of an empty one."""
    connection.execute("BEGIN")  # so that all is of one moment
    version, owner = _version(connection), connection.execute("PRAGMA application_id").fetchone()
    is_empty = connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone() is None
    connection.execute("COMMIT")
    if owner != (APPLICATION_ID,) and (version or not is_empty):
        raise StateError(f"{path} is another program's database; give [store] dir another folder")
    if version > len(MIGRATIONS):
        raise StateError(
            f"{path} is of version {version}, written by a newer crawl; this one knows "
            f"{len(MIGRATIONS)}: use the newer one"
        )
    return version


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables up to date, wholly or not at all; of two that would, one does."""
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in MIGRATIONS[_version(connection) :]:
            for statement in script.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
