"""What a record log cannot say of a run: what was asked for, and what we ourselves cost.

A run's note is a JSON line in ``LOG.runs`` beside its log, written once when the run ends. A log
reads well without it; only the CPU share and what was asked are not known then.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final

from crawler.log import cannot

_SUFFIX: Final = ".runs"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunNote:
    """One run: its length and CPU time in seconds, and what was asked of it.

    ``worker_share`` is the CPU time of a worker process, of the one core that it can use;
    ``machine_share`` is how busy the whole machine was; None where it is not known. ``schedule`` is
    the rate or the ramp in the user's words, ``rate_per_s`` the highest rate in it; both are None
    for a closed loop. ``unfinished`` counts requests
    that were dropped in flight at the end, ``unsent`` those whose moment had come and that found no
    free connection until then.
    """

    run: str
    command: str
    version: str
    wall_s: float
    cpu_s: float
    cores: int
    concurrency: int
    processes: int = 1
    worker_share: float | None = None
    machine_share: float | None = None
    schedule: str | None = None
    rate_per_s: float | None = None
    unfinished: int = 0
    unsent: int = 0

    @property
    def cpu_share(self) -> float:
        """CPU used, of all that ``cores`` could give: 0 to 1."""
        capacity = self.wall_s * self.cores
        return self.cpu_s / capacity if capacity > 0 else 0.0


_FIELDS: Final = frozenset(field.name for field in fields(RunNote))


def notes_path(log: Path) -> Path:
    """Give the path of a log's notes."""
    return log.with_name(log.name + _SUFFIX)


def write_note(log: Path, note: RunNote) -> None:
    """Append a run's note; raises ``LogError``."""
    path = notes_path(log)
    try:
        with path.open("ab") as file:
            file.write(json.dumps(asdict(note)).encode() + b"\n")
    except OSError as exc:
        raise cannot("append to", path, exc) from None


def read_notes(log: Path) -> dict[str, RunNote]:
    """Give the notes of a log's runs by run id; a line that cannot be read is left out."""
    logs = [log, log.with_suffix("")] if log.suffix == ".gz" else [log]  # it was gzipped later
    lines: list[bytes] = []
    for path in map(notes_path, logs):
        with contextlib.suppress(OSError):
            lines += path.read_bytes().splitlines()
    notes = (_note(line) for line in lines)
    return {note.run: note for note in notes if note is not None}


def _note(line: bytes) -> RunNote | None:
    try:
        row = json.loads(line)
        note = RunNote(**{name: value for name, value in row.items() if name in _FIELDS})
        return note if _is_whole(note) else None
    except (ValueError, TypeError, AttributeError):
        return None


def _is_whole(note: RunNote) -> bool:
    """Whether each value is of the kind that it is to be."""
    numbers = (note.wall_s, note.cpu_s, note.cores, note.concurrency, note.processes)
    counts = (note.unfinished, note.unsent)
    shares = (note.worker_share, note.machine_share, note.rate_per_s)
    texts = (note.run, note.command, note.version, note.schedule or "")
    return (
        all(isinstance(value, int | float) for value in (*numbers, *counts))
        and all(value is None or isinstance(value, int | float) for value in shares)
        and all(isinstance(value, str) for value in texts)
    )
