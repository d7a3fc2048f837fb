"""Record <-> one JSON line; the only file that knows orjson.

A line is one JSON object in UTF-8, ended by a newline: the record's own fields in their order, then
the carried columns. Whatever a server or a list held, a record can be written: text that is no
valid Unicode is escaped first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from types import NoneType
from typing import Any, Final

import orjson

from crawler.record import NO_FIELDS, RECORD_FIELDS, Record

LINE_START: Final = b'{"run":"'
"""What every line that ``encode`` gives begins with."""

_OWN: Final = frozenset(RECORD_FIELDS)
_own_values: Final = itemgetter(*RECORD_FIELDS)
_WHOLE_NUMBERS: Final = frozenset(("seq", "status", "bytes", "attempts"))


class BadLineError(ValueError):
    """A line that is no record of ours; the message says why."""


def encode(record: Record) -> bytes:
    """Give the record's JSON line, newline included.

    A carried column that bears the name of a record's own field is left out.
    """
    # fmt: off
    (run, seq, url, method, status, error, detail, started, elapsed_ms, dns_ms, connect_ms, tls_ms,
     wait_ms, receive_ms, lag_ms, size, attempts, final_url, http_version, remote, reused,
     fields) = record
    # fmt: on
    row: dict[str, Any] = {
        "run": run,
        "seq": seq,
        "url": url,
        "method": method,
        "status": status,
        "error": error,
        "detail": detail,
        "started": started,
        "elapsed_ms": elapsed_ms,
        "dns_ms": dns_ms,
        "connect_ms": connect_ms,
        "tls_ms": tls_ms,
        "wait_ms": wait_ms,
        "receive_ms": receive_ms,
        "lag_ms": lag_ms,
        "bytes": size,
        "attempts": attempts,
        "final_url": final_url,
        "http_version": http_version,
        "remote": remote,
        "reused": reused,
    }
    if fields:
        for name, value in fields.items():
            row.setdefault(name, value)
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return orjson.dumps(_printable(row), option=orjson.OPT_APPEND_NEWLINE)


def decode(line: bytes) -> Record:
    """Read one JSON line back into a ``Record``; raises ``BadLineError``.

    A field that an older line lacks is None; every key that is no field of a record is a carried
    column.
    """
    row = parse(line)
    fields: Mapping[str, str] = NO_FIELDS
    try:
        values: tuple[Any, ...] = _own_values(row)
    except KeyError:
        values = tuple(map(row.get, RECORD_FIELDS))
        fields = {name: row[name] for name in carried(row)}
    else:
        if len(row) > len(values):
            fields = {name: row[name] for name in carried(row)}
    misfit = _misfit(tuple(map(type, values)))
    if misfit is not None:
        raise BadLineError(misfit)
    return Record._make((*values, fields))


def parse(line: bytes) -> dict[str, Any]:
    """Read one JSON line as it stands, for who needs few of its fields: a third of the time.

    ``run``, ``seq`` and ``url`` are there and of their types; the rest is not looked at. Raises
    ``BadLineError``.
    """
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise BadLineError(f"not JSON: {exc.msg}") from None
    if not isinstance(row, dict):
        raise BadLineError("not a JSON object")
    try:
        run, seq, url = row["run"], row["seq"], row["url"]
    except KeyError:
        raise BadLineError("lacks one of run, seq, url") from None
    if type(run) is not str or type(url) is not str or type(seq) is not int or seq < 0:
        raise BadLineError("run and url are texts and seq a number from 0 on, not so here")
    return row


def fields_reader(own: Sequence[str], others: Sequence[str]) -> Callable[[bytes], tuple[Any, ...]]:
    """Make what reads those fields of a line: two or more ``own``, then ``others``, in that order.

    It gives None for a field that the line lacks, looks at no type, and raises ``BadLineError`` for
    what is no object of JSON or lacks run, seq or url.
    """
    values = itemgetter(*own)

    def read(line: bytes) -> tuple[Any, ...]:
        try:
            row = orjson.loads(line)
            return (*values(row), *map(row.get, others))
        except (KeyError, TypeError, AttributeError, orjson.JSONDecodeError):
            row = parse(line)
            return tuple(map(row.get, (*own, *others)))

    return read


def carried(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the names of a parsed line's carried columns, in their order."""
    return () if _OWN.issuperset(row) else tuple(name for name in row if name not in _OWN)


@lru_cache(maxsize=1024)  # few ways to be right, each seen many times: 0.5 us a line
def _misfit(kinds: tuple[type, ...]) -> str | None:
    """Say in words which of a record's own values cannot be what it is, None when all can."""
    for name, kind in zip(RECORD_FIELDS, kinds, strict=True):
        if kind is not NoneType and kind not in kinds_of(name):
            return f"{name} cannot be of type {kind.__name__}"
    return None


def kinds_of(name: str) -> tuple[type, ...]:
    """Give the types that a record's own field may have in a log, beside None."""
    if name in _WHOLE_NUMBERS:
        return (int,)
    if name.endswith("_ms"):
        return float, int
    return (bool,) if name == "reused" else (str,)


def _printable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Make text of what JSON in UTF-8 cannot hold: lone surrogates, integers beyond 64 bits …"""
    return {_escaped(str(name)): _written(value) for name, value in row.items()}


def _written(value: Any) -> Any:  # noqa: ANN401 - any value of a row
    if isinstance(value, str):
        return _escaped(value)
    try:
        orjson.dumps(value)
    except TypeError:
        return _escaped(str(value))
    return value


def _escaped(text: str) -> str:
    """Escape lone surrogates (undecodable input bytes)."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def encode_row(row: Mapping[str, Any]) -> bytes:
    """Give an object as one JSON line, newline included; what JSON cannot hold becomes text."""
    try:
        return encode_json(row)
    except ValueError:
        return orjson.dumps(_printable(row), option=orjson.OPT_APPEND_NEWLINE)


def encode_json(value: Any) -> bytes:  # noqa: ANN401 - whatever JSON holds
    """Give any value as one JSON line, newline included, as it is.

    Raises ``ValueError`` for what cannot be: no JSON, or nested over 254 deep.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError as exc:
        raise ValueError(f"it cannot be written as JSON: {exc}") from None


def decode_row(line: bytes) -> Any:  # noqa: ANN401
    """Read any JSON text; raises ``ValueError``."""
    return orjson.loads(line)
