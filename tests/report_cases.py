"""Reports built by hand from columns, and the blocks that they are built from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from crawler.audit import audit
from crawler.blocks import Block, Example, Floats, Slow
from crawler.figures import Figures
from crawler.record import ERROR_CLASSES
from crawler.report.model import Report, RunFigures
from crawler.run_notes import RunNote

STARTED_S: Final = 1_790_000_000.0
HOSTILE: Final = "http://h/</script><script>alert(1)</script>\"'&\u202e\x00\x1b[31m\u2028<!--"
"""What a URL or an error's text may hold, all at once."""


def block_of(
    elapsed_ms: Sequence[float] | Floats,
    *,
    run: str = "r1",
    names: tuple[str, ...] = ("http://h/a",),
    lag_ms: float = 0.0,
    failed: int = 0,
    error: str = "timeout",
    detail: str = "no answer in 10 s",
    seconds: float = 10.0,
    started_s: float = STARTED_S,
) -> Block:
    """A block of requests spread evenly over ``seconds`` and over ``names``; the last fail."""
    times = np.asarray(elapsed_ms, dtype=np.float64)
    count = len(times)
    ok = np.arange(count) < count - failed
    opened = np.arange(count) < 8
    shares = np.where(opened[:, None], [0.02, 0.08, 0.0, 0.6, 0.3], [0.0, 0.0, 0.0, 0.65, 0.35])
    slow = (Slow(float(times.max()), float(times.max()), started_s, 0, 200, names[0]),)
    return Block(
        run=run,
        names=names,
        group=np.arange(count) % len(names),
        started_s=started_s + np.linspace(0, seconds, count, endpoint=False),
        elapsed_ms=times,
        lag_ms=np.full(count, lag_ms),
        phases_ms=times[:, None] * shares,
        status=np.where(ok, 200, 0),
        error=np.where(ok, -1, ERROR_CLASSES.index(error)),
        bytes=np.full(count, 82),
        reused=~opened,
        sent=np.ones(count, np.bool_),
        slowest=slow,
        examples={error: Example(names[0], detail)} if failed else {},
    )


def figures_of(*blocks: Block, group_by: str = "endpoint") -> Figures:
    figures = Figures(group_by)
    for block in blocks:
        figures.add(block)
    return figures


def report_of(
    *blocks: Block,
    notes: Sequence[RunNote] = (),
    title: str = "record.log",
    group_by: str = "endpoint",
) -> Report:
    """The report of some blocks, with the notes of the runs that have one."""
    note_of = {note.run: note for note in notes}
    runs = sorted({block.run for block in blocks})
    parts = tuple(
        RunFigures(run, figures_of(*(b for b in blocks if b.run == run)), note_of.get(run))
        for run in runs
    )
    figures = figures_of(*blocks, group_by=group_by)
    return Report(title, figures, parts, audit(figures, notes))


def note_of(run: str, *, schedule: str | None = None, cpu_s: float = 2.0) -> RunNote:
    """The note of a ten-second run on two cores."""
    return RunNote(
        run=run,
        command="bench",
        version="0",
        wall_s=10.0,
        cpu_s=cpu_s,
        cores=2,
        concurrency=8,
        schedule=schedule,
        rate_per_s=None if schedule is None else 100.0,
    )
