"""Targets that ask for the same again: requested once, answered from the first, a record for each.

A duplicate has the method, URL and body of an earlier target. It waits in an unnamed file; when the
run ends, its record is made of the first one's. Memory is two numbers a distinct target.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import IO

from crawler.canonical import canonical
from crawler.record import DUPLICATE_OF, Record, Target
from crawler.settings import Dedupe
from crawler.urls import mask


class Duplicates:
    """The duplicates of a run."""

    def __init__(self, how: Dedupe) -> None:
        self._text: Callable[[str], str] = canonical if how == "canonical" else str
        self._first: dict[int, int] = {}
        self._waiting: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - until the run ends
        self.count = 0

    def leave_out(self, targets: Iterable[Target]) -> Iterator[Target]:
        """Pass on what was not asked for yet; set the others aside."""
        for target in targets:
            first = self._first.setdefault(self._key(target), target.seq)
            if first == target.seq:
                yield target
            else:
                self.count += 1
                pickle.dump((first, target.seq, mask(target.url), target.fields), self._waiting)

    def _key(self, target: Target) -> int:
        what = (target.method or "", self._text(target.url), target.body or b"", target.headers)
        digest = blake2b(repr(what).encode("utf-8", "replace"), digest_size=8)
        return int.from_bytes(digest.digest())

    def answered(self, record_of: Callable[[int], Record | None]) -> Iterator[Record]:
        """Yield records for duplicates whose first has one, and that have none, or a worse one."""
        self._waiting.seek(0)
        for _ in range(self.count):
            first, seq, url, fields = pickle.load(self._waiting)
            record, known = record_of(first), record_of(seq)
            if record is None:
                continue
            if known is None or (known.error is not None and record.error is None):
                own = {**record.fields, **fields, DUPLICATE_OF: str(first)}
                yield record._replace(seq=seq, url=url, attempts=0, fields=own)

    def close(self) -> None:
        """Let go of the file."""
        self._waiting.close()
