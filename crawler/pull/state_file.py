"""The state's file opened: to write, brought up to date; to look, without a trace in it.

A reader that is newer than the file looks at a copy in memory; so does one that may not write
(another user, say) where SQLite would make files to read it (https://sqlite.org/wal.html#readonly).
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from crawler.errors import CrawlError
from crawler.pull.schema import APPLICATION_ID, MIGRATIONS

_BUSY_S: Final = 30.0
_UNWRITABLE: Final = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)
_COPIES: Final = 10
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
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(connection)
        return connection


def look_at_state(path: Path) -> sqlite3.Connection | None:
    """Open a state to look at it; None where there is none yet. Raises ``StateError``."""
    try:
        if not path.exists():
            return None
    except OSError as exc:
        raise StateError(f"{path}: cannot read the state: {exc.strerror or exc}") from None
    with translated(path):
        for connect in (_connect, _connect_only_reading):
            try:
                return _looking(connect(path), path)
            except sqlite3.OperationalError as exc:
                if exc.sqlite_errorcode & _PRIMARY not in _UNWRITABLE:
                    raise
        return _copied(path)


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


def _copied(path: Path) -> sqlite3.Connection:
    """Give a copy of a state beside which nothing may be written, and nothing is.

    While somebody writes there are files beside it, and it is not come to this.
    """
    with TemporaryDirectory() as folder:
        try:
            _copy(path, Path(folder))
        except OSError as exc:
            raise StateError(f"{path}: cannot read the state: {exc.strerror or exc}") from None
        with contextlib.closing(_connect(Path(folder, path.name))) as copy:
            _check_ours(copy, path)
            return _in_memory(copy)


def _copy(path: Path, folder: Path) -> None:
    """Copy a state's files as they were at one moment: again, if they were written to meanwhile."""
    sources = [path, path.with_name(f"{path.name}-wal")]
    for _ in range(_COPIES):
        # Stamps are as fine as the kernel's clock ticks: a pause tells one write from the next.
        before = [stamp_of(source) for source in sources]
        time.sleep(_QUIET_S)
        if before != [stamp_of(source) for source in sources]:
            continue
        for source in sources:
            target = folder / source.name
            target.unlink(missing_ok=True)
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(source, target)
        if before == [stamp_of(source) for source in sources]:
            return
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


def _connect_only_reading(path: Path) -> sqlite3.Connection:
    place = f"{path.absolute().as_uri()}?mode=ro"
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
