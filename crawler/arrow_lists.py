"""Lists as Parquet and Arrow files, read batch by batch, each row as a line of JSON."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from datetime import date, datetime
from typing import Any, Final

from crawler.errors import TargetError

_ROWS: Final = 4096


def arrow_lines(path: str) -> Generator[str, None, None]:
    """Yield each row as a JSON object; raises ``TargetError`` naming the file.

    Parquet by its name, else Arrow's file or stream format (Feather is the former).
    """
    try:
        import pyarrow as pa
        import pyarrow.ipc as ipc
        import pyarrow.parquet as parquet
    except ImportError:
        raise TargetError(
            f"{path} needs the extra: pip install 'crawl-bench[parquet]', or save it as .csv"
        ) from None
    try:
        if path.lower().endswith(".parquet"):
            with parquet.ParquetFile(path) as file:
                yield from _lines(file.iter_batches(_ROWS))
            return
        with pa.memory_map(path) as source:
            if source.read(6) == b"ARROW1":
                reader = ipc.open_file(source)
                yield from _lines(reader.get_batch(n) for n in range(reader.num_record_batches))
            else:
                source.seek(0)
                yield from _lines(ipc.open_stream(source))
    except FileNotFoundError:
        raise TargetError(f"{path}: no such file; check the path") from None
    except (OSError, pa.ArrowException) as exc:
        words = " ".join(str(exc).split())[:200]
        raise TargetError(f"{path} cannot be read as {path.rpartition('.')[2]}: {words}") from None


def _lines(batches: Any) -> Iterator[str]:  # noqa: ANN401 - pyarrow has no types here
    for batch in batches:
        for row in batch.to_pylist():
            yield json.dumps(row, ensure_ascii=False, default=_text) + "\n"


def _text(value: object) -> str:
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
