"""Tables as plain values, and as pandas' DataFrames for whoever asks for one.

pandas takes some 0.5 s of CPU to import, which a run would take from what it measures: so nothing
here imports it before a frame is asked for, and the command, which prints plain values, never does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crawler.record import RECORD_FIELDS, Record

if TYPE_CHECKING:
    import pandas as pd

_PLAIN: Final[Mapping[str, Callable[[Any], object]]] = {
    "int64": int,
    "float64": float,
    "bool": bool,
    "string": str,
}
_RECORD_DTYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("seq", "bytes", "attempts"), "int64"),
    "status": "Int64",
    "reused": "bool",
}


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Named rows of values: ``title`` names what the names are, ``columns`` gives pandas' dtypes.

    A column is one of ``int64``, ``float64``, ``bool``, ``string``; only the last may hold None.
    """

    title: str
    columns: Mapping[str, str]
    names: tuple[str, ...]
    values: tuple[Sequence[object], ...]

    def rows(self) -> list[tuple[str, dict[str, Any]]]:
        """Give the rows as names and plain values by column."""
        makers = [(column, _PLAIN[dtype]) for column, dtype in self.columns.items()]
        return [
            (
                name,
                {
                    column: None if value is None else make(value)
                    for (column, make), value in zip(makers, row, strict=True)
                },
            )
            for name, row in zip(self.names, self.values, strict=True)
        ]

    def frame(self) -> pd.DataFrame:
        """Make a frame of the rows, indexed by name."""
        import pandas as pd

        index = pd.Index(self.names, dtype="string", name=self.title)
        frame = pd.DataFrame(list(self.values), index=index, columns=list(self.columns))
        return frame.astype(dict(self.columns))


def records_frame(records: Iterable[Record]) -> pd.DataFrame:
    """A table of records in input order (by seq): a column for each field, then those carried.

    Text is ``string``, ``status`` ``Int64``, ``started`` a time in UTC, ``*_ms`` ``float64``,
    other whole numbers ``int64``, ``reused`` ``bool``; the same for no records at all. A carried
    column that bears the name of a field of ours is left out.
    """
    import pandas as pd

    rows = sorted(records, key=lambda record: record.seq)
    values = list(zip(*rows, strict=True)) or [()] * len(Record._fields)
    columns: dict[str, pd.Series] = {}
    for name, column in zip(RECORD_FIELDS, values, strict=False):
        columns[name] = _column(column, _RECORD_DTYPES.get(name) or _dtype(name))
    started = pd.to_datetime(columns["started"], utc=True, format="ISO8601", errors="coerce")
    columns["started"] = started.astype("datetime64[us, UTC]")
    carried = values[-1]
    for name in dict.fromkeys(name for fields in carried for name in fields):
        if name not in columns:
            columns[name] = _column([fields.get(name) for fields in carried], "string")
    return pd.DataFrame(columns)


def _dtype(name: str) -> str:
    return "float64" if name.endswith("_ms") else "string"


def _column(values: Sequence[object], dtype: str) -> pd.Series:
    import pandas as pd

    try:
        return pd.Series(values, dtype=dtype)
    except UnicodeEncodeError:  # a lone surrogate, which the log escapes in the same way
        return pd.Series([_escaped(value) for value in values], dtype=dtype)


def _escaped(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return value
