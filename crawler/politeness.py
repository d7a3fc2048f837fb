"""How strangers' servers are treated: the limits that hold for each host, in one frozen value.

A host is what a URL names after its scheme: name and port. Any limit makes a run polite: all of a
host's targets then go to one worker, so that no state is shared and a pause holds everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from crawler.errors import UsageError

POLITE_PER_HOST: Final = 2
POLITE_RATE_PER_S: Final = 5.0
POLITE_BREAKER: Final = 20
"""What ``--polite`` means, beside robots.txt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Politeness:
    """The limits of a polite run; None where there is none. Raises ``UsageError``.

    ``per_host`` bounds the requests in flight to a host, ``per_host_rate_per_s`` those begun in a
    second, ``rate_per_s`` those of the whole run. A rate lets ``burst`` requests go at once where
    none went for long. ``delay_s`` stands between two beginnings at a host, give or take the share
    ``jitter``. After ``breaker`` failures in a row a host is left alone for ``breaker_pause_s``.
    ``adaptive`` finds the requests in flight to a host by its latency. ``robots`` heeds robots.txt.
    """

    per_host: int | None = None
    rate_per_s: float | None = None
    per_host_rate_per_s: float | None = None
    burst: int = 1
    delay_s: float = 0.0
    jitter: float = 0.0
    breaker: int | None = None
    breaker_pause_s: float = 10.0
    adaptive: bool = False
    robots: bool = False

    def __post_init__(self) -> None:
        for option, count in (
            ("per-host", self.per_host),
            ("breaker", self.breaker),
            ("burst", self.burst),
        ):
            if count is not None and count < 1:
                raise UsageError(f"--{option} is {count}: give a whole number of at least 1")
        for option, rate in (
            ("rate", self.rate_per_s),
            ("per-host-rate", self.per_host_rate_per_s),
        ):
            if rate is not None and not 0 < rate < float("inf"):
                raise UsageError(f"--{option} is {rate:g} a second: give more than 0, as 10/s")
        if not 0 <= self.jitter <= 1:
            raise UsageError(f"--jitter is {self.jitter:g}: give a share from 0 to 1, as 50%")
        if not 0 <= self.delay_s < float("inf") or not 0 < self.breaker_pause_s < float("inf"):
            raise UsageError("--delay and --breaker-pause are times, as 500ms or 10s")
