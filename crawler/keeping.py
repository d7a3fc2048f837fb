"""Who looks at whole replies in a worker, once an attempt at a target is its last.

A keeper sees each target's final reply before its record is written, and may add fields to that
record: where the body went, what was found in it. What it keeps is flushed before the lines that
tell of it, so that no record names what is not there.
"""

from __future__ import annotations

from typing import Protocol

from crawler.engines.base import Kept
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


def new_keeper(run: str, settings: Settings) -> Keeper | None:
    """Make what the settings ask for; None where nobody looks at replies."""
    if settings.bodies is None:
        return None
    from crawler.bodies.keeper import BodyKeeper

    return BodyKeeper(settings.bodies, run)
