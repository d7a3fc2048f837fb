"""Other formats, written from the log when a run has ended: CSV and Parquet, in input order.

A file appears whole or not at all: it is written beside its place and moved there. Memory is flat.
"""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crawler.errors import LogError, UsageError
from crawler.files import whole_or_not
from crawler.record import RECORD_FIELDS, Record

if TYPE_CHECKING:
    import pyarrow as pa

_COMPRESSED: Final = (".gz", ".bz2", ".xz", ".zst", ".zip")
_ROW_GROUP: Final = 50_000

Writer = Callable[[Path, Iterator[Record], tuple[str, ...]], None]


def writer_for(path: Path) -> Writer | None:
    """Give the writer for a path's extension, None for a record log.

    Raises ``UsageError`` when the extra that the format needs is not installed.
    """
    if path.suffix.lower() == ".csv":
        return write_csv
    if path.suffix.lower() == ".parquet":
        pyarrow_modules()
        return write_parquet
    if path.suffix.lower() in _COMPRESSED:
        raise UsageError(f"--out {path}: output is not compressed; give .log, .csv or .parquet")
    return None


def write_csv(path: Path, records: Iterator[Record], columns: tuple[str, ...]) -> None:
    """Write records as CSV (RFC 4180): their own fields, then the carried columns.

    Raises ``LogError`` when the file cannot be written.
    """
    with _exported(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow((*RECORD_FIELDS, *columns))
        for record in records:
            rows.writerow((*record[:-1], *(record.fields.get(name) for name in columns)))


def write_parquet(path: Path, records: Iterator[Record], columns: tuple[str, ...]) -> None:
    """Write records as Parquet, a row group every 50,000.

    Raises ``LogError`` when the file cannot be written.
    """
    pa, parquet = pyarrow_modules()
    schema = _schema(pa, columns)
    with _exported(path) as part, parquet.ParquetWriter(part, schema) as file:
        while rows := [_row(record) for record in islice(records, _ROW_GROUP)]:
            file.write_table(pa.Table.from_pylist(rows, schema=schema))


@contextlib.contextmanager
def _exported(path: Path) -> Iterator[Path]:
    """Give a place to write an export of a log at."""
    try:
        with whole_or_not(path) as part:
            yield part
    except OSError as exc:
        raise _cannot_write(path, exc) from None


def _row(record: Record) -> dict[str, Any]:
    own = dict(zip(RECORD_FIELDS, record, strict=False))
    return {**own, **{name: _text(value) for name, value in record.fields.items()}}


def _text(value: object) -> str | None:
    """A carried value as CSV shows it: in a log that others have edited it may be a number."""
    return value if value is None or isinstance(value, str) else str(value)


def _cannot_write(path: Path, exc: OSError) -> LogError:
    reason = (exc.strerror or str(exc)).lower()
    return LogError(f"cannot write {path}: {reason}; the records are all in {path}.log")


def pyarrow_modules() -> tuple[Any, Any]:
    """Give ``pyarrow`` and ``pyarrow.parquet``; raises ``UsageError`` where they are missing."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(
            ".parquet needs the extra: pip install 'crawl-bench[parquet]'; .csv and .log do not"
        ) from None
    return pyarrow, pyarrow.parquet


def _schema(pa: Any, columns: tuple[str, ...]) -> pa.Schema:  # noqa: ANN401
    integers = dict.fromkeys(("seq", "status", "bytes", "attempts"), pa.int64())
    times = {name: pa.float64() for name in RECORD_FIELDS if name.endswith("_ms")}
    kinds = {**integers, **times, "reused": pa.bool_()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in (*RECORD_FIELDS, *columns)])
