"""Record <-> one JSON line; the only file that knows orjson.

A line is one JSON object in UTF-8, ended by a newline: the record's own fields in their order, then
the carried columns. Whatever a server or a list held, a record can be written: text that is no
valid Unicode is escaped first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from crawler.record import NO_FIELDS, RECORD_FIELDS, Record

_REQUIRED: Final = frozenset(("run", "seq", "url"))


class BadLineError(ValueError):
    """A line that is no record of ours; the message says why."""


def encode(record: Record) -> bytes:
    """Give the record's JSON line, newline included."""
    row = {
        "run": record.run,
        "seq": record.seq,
        "url": record.url,
        "method": record.method,
        "status": record.status,
        "error": record.error,
        "detail": record.detail,
        "started": record.started,
        "elapsed_ms": record.elapsed_ms,
        "dns_ms": record.dns_ms,
        "connect_ms": record.connect_ms,
        "tls_ms": record.tls_ms,
        "wait_ms": record.wait_ms,
        "receive_ms": record.receive_ms,
        "lag_ms": record.lag_ms,
        "bytes": record.bytes,
        "attempts": record.attempts,
        "final_url": record.final_url,
        "http_version": record.http_version,
        "remote": record.remote,
        "reused": record.reused,
    }
    if record.fields:
        row.update(record.fields)
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return orjson.dumps(_printable(row), option=orjson.OPT_APPEND_NEWLINE)


def decode(line: bytes) -> Record:
    """Read one JSON line back into a ``Record``; raises ``BadLineError``.

    A field that an older line lacks is None; every key that is no field of a record is a carried
    column.
    """
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise BadLineError(f"not JSON: {exc.msg}") from None
    if not isinstance(row, dict):
        raise BadLineError("not a JSON object")
    if not row.keys() >= _REQUIRED:
        raise BadLineError("lacks one of run, seq, url")
    values = [row.pop(name, None) for name in RECORD_FIELDS]
    return Record._make([*values, row or NO_FIELDS])


def _printable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Escape lone surrogates (undecodable input bytes), which JSON in UTF-8 cannot hold."""
    return {_escaped(key): _escaped(value) for key, value in row.items()}


def _escaped(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return value
