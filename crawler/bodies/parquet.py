"""Bodies as Parquet: made at the end of a run from the rows that its workers wrote, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from crawler.bodies.reading import row_bodies
from crawler.bodies.rows import SavedBody
from crawler.errors import UsageError
from crawler.export import pyarrow_modules
from crawler.files import whole_or_not
from crawler.log import cannot

_ROW_GROUP: Final = 1000
_ROW_GROUP_BYTES: Final = 32_000_000


def check_parquet() -> None:
    """Raise ``UsageError`` where Parquet cannot be written."""
    pyarrow_modules()


def write_bodies(path: Path, rows: Path, run: str) -> None:
    """Write a run's rows as Parquet: body as binary, headers as a map. Raises ``LogError``."""
    pa, parquet = pyarrow_modules()
    schema = _schema()
    bodies = row_bodies(rows, run)
    try:
        with whole_or_not(path) as part, parquet.ParquetWriter(part, schema) as file:
            for group in _groups(bodies):
                file.write_table(pa.Table.from_arrays(_columns(group, schema), schema=schema))
    except OSError as exc:
        raise cannot("write", path, exc) from None


def _columns(group: list[SavedBody], schema: Any) -> list[Any]:  # noqa: ANN401
    """Give a row group's columns, in the order of the schema."""
    pa, _ = pyarrow_modules()
    values = dict(zip(SavedBody._fields, zip(*group, strict=True), strict=True))
    values["body"] = values.pop("content")
    return [pa.array(values[field.name], field.type) for field in schema]


def _schema() -> Any:  # noqa: ANN401 - pyarrow has no types
    pa, _ = pyarrow_modules()
    return pa.schema(
        [
            ("run", pa.string()),
            ("seq", pa.int64()),
            ("page", pa.int64()),
            ("url", pa.string()),
            ("status", pa.int64()),
            ("content_type", pa.string()),
            ("sha256", pa.string()),
            ("headers", pa.map_(pa.string(), pa.string())),
            ("body", pa.binary()),
        ]
    )


def holds_bodies(path: Path) -> bool:
    """Tell whether a file is Parquet with the columns that ``write_bodies`` gives it."""
    pa, parquet = pyarrow_modules()
    try:
        return list(parquet.read_schema(path).names) == list(_schema().names)
    except (OSError, pa.ArrowInvalid):
        return False


def _groups(bodies: Iterable[SavedBody]) -> Iterator[list[SavedBody]]:
    """Gather rows for a row group: so many, or so large together, that memory stays small."""
    group, size = list[SavedBody](), 0
    for body in bodies:
        group.append(body)
        size += len(body.content)
        if len(group) == _ROW_GROUP or size >= _ROW_GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def parquet_bodies(path: Path) -> Iterator[SavedBody]:
    """Yield the bodies of a Parquet file, a row group in memory."""
    _, parquet = pyarrow_modules()
    try:
        with parquet.ParquetFile(path) as file:
            if file.schema_arrow.names != _schema().names:
                raise UsageError(f"{path} is Parquet, but of no bodies that crawl kept")
            for group in file.iter_batches(_ROW_GROUP):
                for row in group.to_pylist():
                    headers = tuple(row.pop("headers") or ())
                    yield SavedBody(**{"content": row.pop("body"), "headers": headers, **row})
    except (OSError, ValueError) as exc:
        raise UsageError(f"{path} cannot be read as Parquet: {exc}") from None
