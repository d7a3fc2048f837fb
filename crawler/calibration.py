"""Our own floor: the latency that remains when the server does nothing, and the most we can ask.

A figure near the floor says little of a server. It is measured with the same number of connections
and processes, over loopback, for a second or two; at the asked rate where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from crawler.bench import Benchmark, Plan
from crawler.figures import Figures
from crawler.load import Load
from crawler.null_server import NullServer
from crawler.record import Target
from crawler.schedule import Schedule, Stage
from crawler.settings import Settings
from crawler.workload import in_turn

_LENGTH_S: Final = 1.5
_WARMUP_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Floor:
    """What a server that does nothing would show: latencies in ms, and requests a second.

    ``rate_per_s`` is the rate at which the latencies were measured, None for a closed loop.
    """

    p50_ms: float
    p99_ms: float
    lag_p99_ms: float
    most_per_s: float
    rate_per_s: float | None


def calibrate(settings: Settings, load: Load) -> Floor:
    """Measure the floor of these settings and this load."""
    plain = Settings(
        concurrency=settings.concurrency,
        processes=settings.processes,
        keepalive=settings.keepalive,
        engine=settings.engine,
    )
    with NullServer() as server:
        closed = _measured(server.url, plain, None)
        rate_per_s = None if load.schedule is None else load.schedule.highest_per_s
        at_rate = closed if rate_per_s is None else _measured(server.url, plain, rate_per_s)
    p50_ms, p99_ms = at_rate.total.response.percentiles((0.50, 0.99))
    return Floor(p50_ms, p99_ms, at_rate.lag.percentile(0.99), closed.rate_per_s, rate_per_s)


def _measured(url: str, settings: Settings, rate_per_s: float | None) -> Figures:
    load = Load(duration_s=_LENGTH_S, warmup_s=_WARMUP_S)
    if rate_per_s is not None:
        load = replace(load, schedule=Schedule((Stage(rate_per_s, rate_per_s, _LENGTH_S),)))
    plan = Plan(workload=in_turn([Target(0, url)]), load=load, settings=settings)
    return Benchmark(plan).run().report.figures
