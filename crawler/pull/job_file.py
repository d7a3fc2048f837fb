"""A job file's text to checked values: TOML in, a dict of plain values a section out.

Nothing unknown passes: a key that is none is an error that names the file, the section and the
nearest right name. What values mean is read further on, by who needs them.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from crawler.durations import duration_s
from crawler.errors import UsageError
from crawler.pull.keys import TOP, Key

Table = Mapping[str, Any]
Sections = Mapping[str, Mapping[str, Key]]
"""The keys that there are, by section and name."""


@dataclass(frozen=True, slots=True)
class JobFile:
    """A job file that was read: its ``tables`` by section, all known and of their kinds.

    ``path`` is absolute. Durations are seconds, sizes are as written.
    """

    path: Path
    tables: Mapping[str, Table]

    def table(self, section: str) -> Table:
        """Give a section's values by key; empty where it is not there."""
        return self.tables.get(section, {})


def read_job_file(path: Path, known: Sections) -> JobFile:
    """Read a job file; raises ``UsageError`` for the first thing that is wrong with it."""
    try:
        text = path.read_bytes()
    except OSError as exc:
        reason = (exc.strerror or str(exc)).lower()
        raise UsageError(f"{path}: cannot read the job file: {reason}") from None
    return parse_job(path, text, known)


def parse_job(path: Path, text: bytes, known: Sections) -> JobFile:
    """Read a job's text as that of the file at ``path``; raises as ``read_job_file``."""
    try:
        document = tomllib.loads(text.decode("utf-8-sig"))
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(f"{path}: no TOML: {exc}") from None
    except UnicodeDecodeError as exc:
        raise UsageError(f"{path}: not UTF-8 at byte {exc.start}") from None
    except RecursionError:
        raise UsageError(f"{path}: no TOML: it is nested too deeply") from None
    top = {name: value for name, value in document.items() if not isinstance(value, dict)}
    tables = {name: value for name, value in document.items() if isinstance(value, dict)}
    _check_sections(path, tables, known)
    read = {TOP: top, **tables}
    return JobFile(
        path.absolute(), {name: _Reader(path, name, known).read(read[name]) for name in read}
    )


def _check_sections(path: Path, tables: Iterable[str], known: Sections) -> None:
    for name in tables:
        if name not in known:
            names = [section for section in known if section != TOP]
            raise UsageError(f"{path}: there is no section [{name}]{_hint(name, names)}")


def _hint(name: str, names: Iterable[str]) -> str:
    there = list(names)
    near = difflib.get_close_matches(name.lower().replace("_", "-"), there, 1)
    return f": did you mean {near[0]}?" if near else f"; there are {', '.join(there)}"


class _Reader:
    """Reads one section; errors name it."""

    def __init__(self, path: Path, section: str, known: Sections) -> None:
        self._path = path
        self._section = section
        self._known = known

    def read(self, table: Table) -> Table:
        keys = self._known[self._section]
        for name in table:
            if name not in keys:
                raise UsageError(f"{self._where(name)}: {self._unknown(name)}")
        return {name: self._value(keys[name], value) for name, value in table.items()}

    def _where(self, name: str) -> str:
        section = f"[{self._section}] " if self._section else ""
        return f"{self._path}: {section}{name}"

    def _unknown(self, name: str) -> str:
        """Say where a key belongs, or which one is nearest."""
        homes = [section for section, keys in self._known.items() if name in keys]
        if homes:
            home = f"in [{homes[0]}]" if homes[0] else "before the first section"
            return f"it belongs {home}"
        return f"there is no such key{_hint(name, self._known[self._section])}"

    def _value(self, key: Key, value: object) -> object:
        try:
            return _KINDS[key.kind](key, value)
        except _Unfit as exc:
            raise UsageError(f"{self._where(key.name)}: {exc}, as {key.example}") from None
        except UsageError as exc:
            raise UsageError(f"{self._path}: {exc}") from None


class _Unfit(Exception):
    """A value that is not of its key's kind; the message ends in what to give."""


def _text(_: Key, value: object) -> object:
    """A text; a number may stand for one, as ``per-host = 2``."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Unfit("give a text")
    return value if isinstance(value, str) else str(value)


def _texts(key: Key, value: object) -> object:
    many = value if isinstance(value, list) else [value]
    return tuple(_text(key, each) for each in many)


def _flag(_: Key, value: object) -> object:
    if not isinstance(value, bool):
        raise _Unfit("give true or false")
    return value


def _count(_: Key, value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _Unfit("give a whole number")
    return value


def _duration(key: Key, value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Unfit("give a duration")
    return duration_s(str(value), key.name)


def _choice(key: Key, value: object) -> object:
    if value not in key.choices:
        raise _Unfit(f"give one of {', '.join(key.choices)}")
    return value


_KINDS: Final[Mapping[str, Callable[[Key, object], object]]] = {
    "text": _text,
    "texts": _texts,
    "flag": _flag,
    "count": _count,
    "duration": _duration,
    "size": _text,
    "choice": _choice,
}
