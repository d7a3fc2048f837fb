"""Rows of bodies read back in input order: an index of places, then one block at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Final, TypeAlias

from crawler.bodies.packing import Packing, packing_of, unpack, unpacked
from crawler.bodies.rows import SavedBody, decode_body
from crawler.codec import decode_row
from crawler.errors import LogError

_BLOCKS_KEPT: Final = 64

_Place: TypeAlias = tuple[str, int, int, int, int, int]
"""Run, seq, page; offset and length of the block, the line's number in it."""

_LineAt: TypeAlias = Callable[[int, int, int], bytes]


def row_bodies(path: Path, of_run: str | None = None) -> Iterator[SavedBody]:
    """Yield the bodies of a file of rows in input order, run after run, or those of one run.

    Raises ``LogError`` for a row that is none, naming its place.
    """
    packing = packing_of(str(path))
    places = _places(path, packing, of_run)
    places.sort()
    with path.open("rb") as file:
        line_at = _plain_lines(file) if packing == "plain" else _packed_lines(file, packing)
        for _, _, _, offset, length, number in places:
            yield decoded(path, offset, line_at(offset, length, number))


def _places(path: Path, packing: Packing, of_run: str | None) -> list[_Place]:
    places, runs = list[_Place](), dict[str, str]()
    for offset, length, block in unpacked(path, packing):
        lines = [block] if packing == "plain" else block.splitlines()
        for number, line in enumerate(lines):
            run, seq, page = _owner(path, offset, line)
            if of_run is None or of_run == run:
                places.append((runs.setdefault(run, run), seq, page, offset, length, number))
    return places


def _plain_lines(file: IO[bytes]) -> _LineAt:
    """Give what reads a line where blocks are lines: of any size, and in no need of being kept."""
    descriptor = file.fileno()

    def line_at(offset: int, length: int, _number: int) -> bytes:
        return os.pread(descriptor, length, offset)

    return line_at


def _packed_lines(file: IO[bytes], packing: Packing) -> _LineAt:
    """Give what unpacks a line's block, and keeps it for the lines beside it."""

    @lru_cache(maxsize=_BLOCKS_KEPT)
    def lines_of(offset: int, length: int) -> list[bytes]:
        file.seek(offset)
        return unpack(file.read(length), packing).splitlines()

    return lambda offset, length, number: lines_of(offset, length)[number]


def _owner(path: Path, offset: int, line: bytes) -> tuple[str, int, int]:
    """Read whose row it is, for a third of what its body would cost too."""
    try:
        row = decode_row(line)
        return row["run"], row["seq"], row.get("page", 1)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise LogError(f"{path}, in the block at byte {offset}: no row of a body: {exc}") from None


def decoded(path: Path, offset: int, line: bytes) -> SavedBody:
    """Read a row back; raises ``LogError`` telling the block that it stands in."""
    try:
        return decode_body(line)
    except ValueError as exc:
        raise LogError(f"{path}, in the block at byte {offset}: {exc}") from None
