"""The library's front door to benchmarks: ``benchmark(urls, requests=…)`` gives a ``Bench``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crawler.bench import Bench, Benchmark, Plan
from crawler.crawling import to_warnings
from crawler.durations import duration_s
from crawler.errors import UsageError
from crawler.load import Load
from crawler.record import Target
from crawler.run import with_options
from crawler.schedule import Schedule, parse_rate
from crawler.settings import Settings
from crawler.targets import targets_from
from crawler.workload import check_requestable, in_turn

if TYPE_CHECKING:
    import requests as requests_library


def benchmark(
    urls: str | Iterable[str | Target],
    *,
    requests: int | None = None,
    duration: str | None = None,
    rate: str | float | None = None,
    warmup: str | int = 0,
    out: str | os.PathLike[str] | None = None,
    session: requests_library.Session | None = None,
    settings: Settings | None = None,
    **options: Any,  # noqa: ANN401 - the fields of Settings
) -> Bench:
    """Request ``urls``, one or several in turn, and give the ``Bench`` when all is done.

    It ends after so many ``requests`` or a ``duration`` (``"30s"``), whichever comes first. Without
    a ``rate`` it is a closed loop of ``concurrency`` connections; with one (``500``, ``"30/m"``)
    each request is sent when it is due. ``warmup`` (``"5s"``, or a number of requests) comes first
    and counts nowhere. ``out`` keeps the records in a file. ``options`` are fields of ``Settings``.
    Raises a ``CrawlError`` where something cannot be used; a request that fails is counted.
    """
    targets = list(targets_from([urls] if isinstance(urls, str) else urls))
    if not targets:
        raise UsageError("a benchmark was given no URL: give one, or a list of them")
    check_requestable("the URL", (target.url for target in targets))
    plan = Plan(
        workload=in_turn(targets),
        load=_load(requests, duration, rate, warmup),
        settings=_checked(with_options(settings or Settings(), options)),
        out=None if out is None else Path(out),
        session=session,
        warn=to_warnings,
    )
    return Benchmark(plan).run()


def _load(
    requests: int | None, duration: str | None, rate: str | float | None, warmup: str | int
) -> Load:
    asked = None if rate is None else parse_rate(str(rate), "rate")
    return Load(
        requests=requests,
        duration_s=None if duration is None else duration_s(duration, "duration"),
        schedule=None if asked is None else Schedule(asked.stages),
        words=None if asked is None else asked.text,
        warmup_s=duration_s(warmup, "warmup") if isinstance(warmup, str) else 0.0,
        warmup_requests=0 if isinstance(warmup, str) else warmup,
    )


def _checked(settings: Settings) -> Settings:
    """Refuse what would decide in the place of the load when, or whether, a request is sent."""
    unfit = {
        "polite": settings.polite is not None,
        "dedupe": settings.dedupe != "none",
        "paginate": settings.paginate is not None,
    }
    for name, given in unfit.items():
        if given:
            raise UsageError(f"a benchmark sends what its load says: {name} is of crawl() only")
    return settings
