"""Which columns of a table are meant: found by name, or guessed where only one can be.

A guess is made only when it is certain; otherwise the user is told what there is to choose from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from crawler.errors import UsageError
from crawler.lists import SAMPLE_ROWS, Table

_URL_START: Final = re.compile(r"\s*https?://", re.IGNORECASE)


def check_columns(table: Table, option: str, names: Sequence[str]) -> None:
    """Raise ``UsageError``, naming ``option`` and file, unless each name is one column's."""
    for name in names:
        if name not in table.columns:
            raise UsageError(f"{option}: {table.name} has no column {name!r}; {_has(table)}")
        if table.columns.count(name) > 1:
            raise UsageError(f"{option}: {table.name} has two columns {name!r}; rename one")


def guessed_column(table: Table) -> str:
    """The only column whose first values mostly look like URLs, else ``UsageError``."""
    likely = [name for name in dict.fromkeys(table.columns) if _looks_like_urls(table.sample(name))]
    if len(likely) == 1:
        return likely[0]
    if likely:
        raise UsageError(
            f"{table.name} has several columns of URLs ({listed(likely)}): choose with --column"
        )
    raise UsageError(
        f"{table.name} has no column of URLs in its first {SAMPLE_ROWS} rows: name it with "
        f"--column, or make URLs with --url-template; {_has(table)}"
    )


def _looks_like_urls(values: Sequence[str]) -> bool:
    filled = [value for value in values if value.strip()]
    return 2 * sum(1 for value in filled if _URL_START.match(value)) > len(filled)


def _has(table: Table) -> str:
    if any(_URL_START.match(name) for name in table.columns):
        return "its first row holds a URL: does it lack the row of column names?"
    return f"it has {listed(table.columns) or 'none'}"


def listed(names: Iterable[str]) -> str:
    """Column names for a message: quoted, once each, not endless."""
    listed = [repr(name) for name in dict.fromkeys(names)]
    return ", ".join(listed[:20]) + (", …" if len(listed) > 20 else "")
