"""Who looks at whole replies in a worker, once an attempt at a target is its last.

A keeper sees each target's final reply before its record is written, and may add fields to that
record: where the body went, what was found in it. What it keeps is flushed before the lines that
tell of it, so that no record names what is not there.
"""

from __future__ import annotations

from typing import Protocol

from crawler.engines.base import Kept
from crawler.paging import Pager
from crawler.record import Record
from crawler.settings import Settings


class Keeper(Protocol):
    """Takes final replies, one after another."""

    def keep(self, record: Record, kept: Kept) -> Record:
        """Take a reply; give its record, to which fields may have been added."""
        ...

    def flush(self) -> None:
        """Have all that was taken written: its records come next."""
        ...

    def settled(self) -> None:
        """The records of all that was flushed are in the log."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


def new_keeper(run: str, settings: Settings, pager: Pager | None) -> Keeper | None:
    """Make what the settings ask for; None where nobody looks at replies."""
    keepers: list[Keeper] = [] if pager is None else [pager]
    if settings.select:
        from crawler.selecting import Selector

        keepers.append(Selector(settings.select))
    if settings.bodies is not None:  # the last: it lets go of the body
        from crawler.bodies.keeper import BodyKeeper

        keepers.append(BodyKeeper(settings.bodies, run))
    return _Several(keepers) if keepers else None


class _Several:
    """Keepers one after another."""

    def __init__(self, keepers: list[Keeper]) -> None:
        self._keepers = keepers

    def keep(self, record: Record, kept: Kept) -> Record:
        for keeper in self._keepers:
            record = keeper.keep(record, kept)
        return record

    def flush(self) -> None:
        for keeper in self._keepers:
            keeper.flush()

    def settled(self) -> None:
        for keeper in self._keepers:
            keeper.settled()

    def close(self) -> None:
        for keeper in self._keepers:
            keeper.close()
