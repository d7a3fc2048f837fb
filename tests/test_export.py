"""Exports: CSV and Parquet hold what the log holds, in input order, whole or not at all."""

from __future__ import annotations

import csv
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet
import pytest

from crawler import export
from crawler.codec import encode
from crawler.errors import LogError, UsageError
from crawler.export import writer_for
from crawler.log import index_log
from crawler.record import RECORD_FIELDS, Record
from tests.log_cases import output_of, plain, write

FORMATS = ["csv", "parquet"]
COLUMNS = ("书名", "note")
RECORDS = [
    plain(0, fields={"书名": "红楼梦", "note": 'quoted "a", b\r\nand more'}),
    plain(1, fields={"书名": "西游记"}),
    plain(2, status=None, error="connect", detail="refused, at once\n", http_version=None),
    plain(3, reused=True, remote=None, final_url=None, bytes=2**62, fields={"note": "=1+1"}),
    plain(5, url="http://h.test/名?a=1,2", elapsed_ms=0.1 + 0.2, lag_ms=-0.001),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with the records out of order, an older record of one, and another run's."""
    path = tmp_path / "out.log"
    old = plain(2, status=500, error="http"), plain(1, run="run-0", fields={"else": "x"})
    mixed = (*old, *(RECORDS[n] for n in (3, 0, 4, 2, 1)))
    write(path, *map(encode, mixed))
    return path


def exported(log: Path, out: Path) -> Path:
    index = index_log(log, "run-1")
    writer = writer_for(out)
    assert writer is not None
    writer(out, index.records(), index.columns)
    return out


def rows_of(path: Path) -> list[dict[str, Any]]:
    """An export's rows, with the values that the format itself knows."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        return rows
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def row(record: Record) -> dict[str, Any]:
    """The row that stands for a record: its own fields, then each carried column or None."""
    own = dict(zip(RECORD_FIELDS, record, strict=False))
    return {**own, **{name: record.fields.get(name) for name in sorted(COLUMNS, reverse=True)}}


def test_parquet_holds_the_rows_of_the_log(log, tmp_path) -> None:
    """Each value comes back as it is in the log, None as null, in input order."""
    rows = rows_of(exported(log, tmp_path / "out.parquet"))
    assert rows == [row(record) for record in RECORDS]
    assert list(rows[0])[: len(RECORD_FIELDS)] == list(RECORD_FIELDS)


def test_csv_holds_the_rows_of_the_log(log, tmp_path) -> None:
    """Each value comes back as its text, None as nothing, in input order (RFC 4180)."""
    rows = rows_of(exported(log, tmp_path / "out.csv"))
    texts = [
        {name: "" if value is None else str(value) for name, value in row(record).items()}
        for record in RECORDS
    ]
    assert rows == texts
    assert list(rows[0])[: len(RECORD_FIELDS)] == list(RECORD_FIELDS)


def test_pandas_reads_both_alike(log, tmp_path) -> None:
    """pandas finds the same table in both, numbers as numbers and Chinese names as written."""
    table = pd.read_parquet(exported(log, tmp_path / "out.parquet"))
    text = pd.read_csv(exported(log, tmp_path / "out.csv"))
    assert list(text.columns) == list(table.columns)
    assert set(table.columns[len(RECORD_FIELDS) :]) == set(COLUMNS)
    assert table["seq"].tolist() == text["seq"].tolist() == [0, 1, 2, 3, 5]
    assert table["seq"].dtype == text["seq"].dtype == "int64"
    assert table["elapsed_ms"].tolist() == text["elapsed_ms"].tolist()
    assert table["elapsed_ms"].dtype == text["elapsed_ms"].dtype == "float64"
    assert table["reused"].tolist() == text["reused"].tolist()
    for name in table.columns:
        assert table[name].isna().tolist() == text[name].isna().tolist()
    assert table["书名"].dropna().tolist() == text["书名"].dropna().tolist() == ["红楼梦", "西游记"]
    assert table["note"].dropna().tolist() == text["note"].dropna().tolist()


@pytest.mark.parametrize("format_", FORMATS)
def test_a_run_without_records_is_a_table_without_rows(log, tmp_path, format_) -> None:
    """An export of nothing has its columns all the same."""
    out = tmp_path / f"none.{format_}"
    writer = writer_for(out)
    assert writer is not None
    writer(out, iter(()), ("书名",))
    read = pd.read_csv(out) if format_ == "csv" else pd.read_parquet(out)
    assert list(read.columns) == [*RECORD_FIELDS, "书名"]
    assert len(read) == 0


def test_parquet_is_written_in_groups_of_rows(tmp_path, monkeypatch) -> None:
    """However long the run, only one group of rows is held; none is lost between groups."""
    monkeypatch.setattr(export, "_ROW_GROUP", 3)
    out = tmp_path / "out.parquet"
    export.write_parquet(out, iter([plain(n) for n in range(10)]), ())
    assert pyarrow.parquet.ParquetFile(out).num_row_groups == 4
    assert [r["seq"] for r in rows_of(out)] == list(range(10))


def test_a_csv_costs_no_memory(tmp_path) -> None:
    """Records are written as they come, none is kept."""
    tracemalloc.start()
    export.write_csv(tmp_path / "out.csv", (plain(n) for n in range(5_000)), ())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300_000


@pytest.mark.parametrize("format_", FORMATS)
def test_numbers_in_a_column_are_text(tmp_path, format_) -> None:
    """A column that a hand-made log fills with numbers is exported as their text."""
    out = tmp_path / f"out.{format_}"
    writer = writer_for(out)
    assert writer is not None
    odd: Any = {"n": 1e30, "list": [1]}
    writer(out, iter([plain(0, fields=odd), plain(1, fields={"n": "a"})]), ("n", "list"))
    assert [(r["n"], r["list"] or None) for r in rows_of(out)] == [("1e+30", "[1]"), ("a", None)]


# --- Whole or not at all --------------------------------------------------------------------


def failing(exc: BaseException) -> Iterator[Record]:
    yield from RECORDS
    raise exc


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "exc", [LogError("line 3"), KeyboardInterrupt(), OSError(5, "Input/output error")]
)
def test_an_export_that_fails_leaves_what_was_there(tmp_path, format_, exc) -> None:
    """A failure on the way leaves an older file untouched and nothing beside it."""
    out = tmp_path / f"out.{format_}"
    out.write_text("older")
    writer = writer_for(out)
    assert writer is not None
    expected = LogError if isinstance(exc, OSError) else type(exc)
    with pytest.raises(expected):
        writer(out, failing(exc), COLUMNS)
    assert out.read_text() == "older"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("place", ["gone", "file", "/proc/none"])
def test_an_export_that_has_no_place_says_where_the_records_are(tmp_path, format_, place) -> None:
    """Where the directory is gone, or none, the error names the file and the log that is kept."""
    (tmp_path / "file").touch()
    out = tmp_path / place / f"out.{format_}"
    writer = writer_for(out)
    assert writer is not None
    with pytest.raises(LogError) as caught:
        writer(out, iter(RECORDS), COLUMNS)
    assert str(caught.value).startswith(f"cannot write {out}: ")
    assert str(caught.value).endswith(f"; the records are all in {out}.log")


@pytest.mark.parametrize("format_", FORMATS)
def test_a_directory_in_the_place_of_the_export_is_told(tmp_path, format_) -> None:
    """What cannot be moved to its place is taken away again."""
    out = tmp_path / f"out.{format_}"
    out.mkdir()
    writer = writer_for(out)
    assert writer is not None
    with pytest.raises(LogError, match="is a directory"):
        writer(out, iter(RECORDS), COLUMNS)
    assert list(tmp_path.iterdir()) == [out]


FILL = """
import resource, sys
from pathlib import Path
from crawler.errors import LogError
from crawler.export import writer_for
from tests.log_cases import plain
out = Path(sys.argv[1])
writer = writer_for(out)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    writer(out, (plain(n, detail=f"{n * 2654435761 % 2**32:x}" * 40) for n in range(3000)), ())
except LogError as exc:
    print(exc)
"""


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_on_a_full_disk_is_not_there(tmp_path, format_) -> None:
    """An export that may not grow is a ``LogError``; no half of it is left."""
    out = tmp_path / f"out.{format_}"
    out.write_text("older")
    told = output_of(FILL, out)
    assert told.startswith(f"cannot write {out}: ")
    assert "file too large" in told.lower()
    assert out.read_text() == "older"
    assert list(tmp_path.iterdir()) == [out]


# --- Which format ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["record.log", "a.jsonl", "csv", "parquet", "a.csv.log", "a.b"])
def test_a_record_log_needs_no_export(name) -> None:
    """Only ``.csv`` and ``.parquet`` are written at the end; all else is a record log itself."""
    assert writer_for(Path(name)) is None


def test_parquet_without_its_extra_says_what_to_install(monkeypatch) -> None:
    """Where pyarrow is missing, ``.parquet`` is refused with the remedy, and ``.csv`` works."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 'crawl-bench\[parquet\]'"):
        writer_for(Path("out.parquet"))
    assert writer_for(Path("out.csv")) is export.write_csv
