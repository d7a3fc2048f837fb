"""Rows of bodies read back in input order: an index of places, then one block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from crawler.bodies.packing import Packing, packing_of, unpack, unpacked
from crawler.bodies.rows import SavedBody, decode_body
from crawler.codec import decode_row
from crawler.errors import LogError

_BLOCKS_KEPT: Final = 64


def row_bodies(path: Path, of_run: str | None = None) -> Iterator[SavedBody]:
    """Yield the bodies of a file of rows in input order, run after run, or those of one run.

    Raises ``LogError`` for a row that is none, naming its place.
    """
    packing = packing_of(str(path))
    places: list[tuple[str, int, int, int, int, int]] = []
    runs: dict[str, str] = {}
    for offset, length, block in unpacked(path, packing):
        for number, line in enumerate(block.splitlines()):
            run, seq, page = _owner(path, offset, line)
            if of_run in (None, run):
                places.append((runs.setdefault(run, run), seq, page, offset, length, number))
    places.sort()
    with path.open("rb") as file:

        @lru_cache(maxsize=_BLOCKS_KEPT)
        def lines_at(offset: int, length: int) -> list[bytes]:
            file.seek(offset)
            return _lines(file.read(length), packing)

        for _, _, _, offset, length, number in places:
            yield decoded(path, offset, lines_at(offset, length)[number])


def _owner(path: Path, offset: int, line: bytes) -> tuple[str, int, int]:
    """Read whose row it is, for a third of what its body would cost too."""
    try:
        row = decode_row(line)
        return row["run"], row["seq"], row.get("page", 1)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise LogError(f"{path}, in the block at byte {offset}: no row of a body: {exc}") from None


def _lines(block: bytes, packing: Packing) -> list[bytes]:
    return unpack(block, packing).splitlines()


def decoded(path: Path, offset: int, line: bytes) -> SavedBody:
    """Read a row back; raises ``LogError`` telling the block that it stands in."""
    try:
        return decode_body(line)
    except ValueError as exc:
        raise LogError(f"{path}, in the block at byte {offset}: {exc}") from None
