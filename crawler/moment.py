"""What is shown of a benchmark while it lasts: one value, refreshed each second."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """A benchmark at one moment.

    ``asked_per_s`` is None in a closed loop. ``waiting`` counts requests that are due and have no
    connection. ``p50_ms``, ``p99_ms``, ``done_per_s`` and ``failed`` are of the last second;
    latencies of successes, NaN without any.
    """

    elapsed_s: float
    done: int
    asked_per_s: float | None
    done_per_s: float
    in_flight: int
    waiting: int
    p50_ms: float
    p99_ms: float
    failed: int
    failed_in_all: int
