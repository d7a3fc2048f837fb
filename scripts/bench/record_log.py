"""Reads a record log to see that it holds what was asked for: each URL once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kept:
    """What a record log holds: its lines, its distinct ``seq``, and the lines with an error."""

    lines: int
    distinct: int
    failed: int

    def problem(self, urls: int) -> str | None:
        """What is wrong with a record of ``urls`` URLs; None when nothing is."""
        if self.lines == self.distinct == urls:
            return None
        return f"record holds {self.lines} lines, {self.distinct} distinct seq, not {urls}"


def read(path: Path) -> Kept:
    """Count a record log; an absent one holds nothing."""
    if not path.exists():
        return Kept(0, 0, 0)
    seqs: set[int] = set()
    lines = failed = 0
    with path.open("rb") as log:
        for lines, line in enumerate(log, start=1):  # noqa: B007
            record = json.loads(line)
            seqs.add(record["seq"])
            failed += record["error"] is not None
    return Kept(lines, len(seqs), failed)
