"""Text in columns of a terminal: tables, and cells cut to what there is room for.

A column is one cell of the terminal: a Chinese character takes two. Names are shortened in the
middle, since their ends tell them apart. What a server or a list held is printed without its
control characters: a reply must not drive the reader's terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from unicodedata import combining, east_asian_width

from crawler.exposition import plain as plain

GAP: Final = 2
"""Columns between two cells, and before a name below its heading."""


def table(
    heading: str,
    headings: Sequence[str],
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
) -> list[str]:
    """Lines of a table: names to the left and below ``heading``, figures to the right."""
    widths = column_widths(headings, rows)
    room = max(width - sum(widths), 4 * GAP)
    named = [shorten(heading, room)] + [" " * GAP + shorten(n, room - GAP) for n in names]
    first = max(map(columns, named))
    return [
        name
        + " " * (first - columns(name))
        + "".join(cell.rjust(w) for cell, w in zip(cells, widths, strict=True))
        for name, cells in zip(named, [headings, *rows], strict=True)
    ]


def column_widths(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[int]:
    """Columns that each figure's cell takes, the gap before it included."""
    columns = zip(headings, *rows, strict=True)
    return [GAP + max(map(len, cells)) for cells in columns]


def columns(text: str) -> int:
    """Columns that ``text`` takes on a terminal (Unicode Standard Annex 11)."""
    if text.isascii():
        return len(text)
    return sum(_char_columns(char) for char in text)


def _char_columns(char: str) -> int:
    return 0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1


def shorten(text: str, room: int) -> str:
    """``text`` in at most ``room`` columns, its middle replaced by ``…`` where it must be."""
    if columns(text) <= room:
        return text
    left = _fitting(text, (room - 1) // 2)
    right = _fitting(text[::-1], room - 1 - columns(left))[::-1]
    return f"{left}…{right}"


def cut(text: str, room: int) -> str:
    """``text`` in at most ``room`` columns, its end replaced by ``…`` where it must be."""
    return text if columns(text) <= room else _fitting(text, room - 1) + "…"


def _fitting(text: str, room: int) -> str:
    """The longest beginning of ``text`` that takes at most ``room`` columns."""
    for i, char in enumerate(text):
        room -= _char_columns(char)
        if room < 0:
            return text[:i]
    return text
