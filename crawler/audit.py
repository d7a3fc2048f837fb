"""Whether figures may be ours rather than the server's: our lag, our CPU share, what was dropped.

A client that is out of CPU, or that has no connection free when a request is due, measures itself.
Such a run is marked, in words, in every report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isnan, nan
from typing import Final

from crawler.figures import Figures
from crawler.run_notes import RunNote

SATURATED: Final = 0.9
"""CPU share above which our own machine, not the server, may be what was measured."""
FULL: Final = 0.95
"""Share of the whole machine's CPU in use above which nothing on it runs when it should."""
_LEAST_WALL_S: Final = 1.0
"""A shorter run's CPU share is that of starting up."""
_LATE: Final = 0.1
"""Lag's p99 above this share of the median latency (and ``_LATE_MS``) is told."""
_LATE_MS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Audit:
    """How well we ourselves kept up. ``cpu_share`` is NaN where no note of a run tells it.

    ``warnings`` say in words why the figures may not be the server's; none when all is well.
    """

    lag_p50_ms: float
    lag_p99_ms: float
    lag_max_ms: float
    cpu_share: float
    cores: int
    warnings: tuple[str, ...]

    @property
    def saturated(self) -> bool:
        """Whether the figures may be ours rather than the server's."""
        return bool(self.warnings)


def audit(figures: Figures, notes: Iterable[RunNote]) -> Audit:
    """Judge the runs that ``figures`` are of, with what ``notes`` of them there are."""
    noted = tuple(notes)
    p50_ms, p99_ms, max_ms = figures.lag.percentiles((0.50, 0.99, 1))
    capacity_s = sum(note.wall_s * note.cores for note in noted)
    share = sum(note.cpu_s for note in noted) / capacity_s if capacity_s else nan
    cores = max((note.cores for note in noted), default=0)
    warnings = (*_of_cpu(noted), *_of_lag(figures, p99_ms, noted), *_of_ends(noted))
    return Audit(p50_ms, p99_ms, max_ms, share, cores, warnings)


def _of_cpu(notes: tuple[RunNote, ...]) -> Iterator[str]:
    """Judge our share of all cores, of the one core of a worker, and what else ran here."""
    lasting = [note for note in notes if note.wall_s >= _LEAST_WALL_S]
    ours = max((max(n.cpu_share, n.worker_share or 0.0) for n in lasting), default=0.0)
    machine = max((n.machine_share or 0.0 for n in lasting), default=0.0)
    if ours > SATURATED:
        yield (
            f"client saturated: {100 * min(ours, 1.0):.0f} % CPU; the latencies may be ours, not "
            "the server's"
        )
    elif machine > FULL:
        yield (
            f"this machine was {100 * machine:.0f} % busy, with more than this benchmark: the "
            "latencies may be the machine's, not the server's"
        )


def _of_lag(figures: Figures, p99_ms: float, notes: tuple[RunNote, ...]) -> Iterator[str]:
    """Tell of late starts, but not where closed loops alone were asked for: they wait for us."""
    if notes and all(note.schedule is None for note in notes):
        return
    median_ms = figures.total.service.percentile(0.5)
    if isnan(median_ms) or isnan(p99_ms) or p99_ms <= max(_LATE_MS, _LATE * median_ms):
        return
    decimals = 0 if p99_ms >= 100 else 1
    yield (
        f"requests started late: lag p99 {p99_ms:,.{decimals}f} ms; more connections "
        "(--concurrency), a lower rate or a less busy machine would start them on time"
    )


def _of_ends(notes: tuple[RunNote, ...]) -> Iterator[str]:
    unsent = sum(note.unsent for note in notes)
    unfinished = sum(note.unfinished for note in notes)
    if unsent:
        yield f"{unsent:,} requests were due and never started: no connection was free for them"
    if unfinished:
        yield f"{unfinished:,} requests in flight at the end were dropped and are in no figure"
