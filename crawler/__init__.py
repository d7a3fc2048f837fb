"""`crawl`: fetch, time and record web APIs in bulk.

``crawl(urls)`` fetches a list and gives a ``Run``; ``crawl.stream(urls)`` yields a ``Record`` for
each URL in input order; ``benchmark(urls)`` measures an API under load and gives a ``Bench``;
``read_log`` reads a record log back. Everything is imported when it is first used, so that ``import
crawler`` costs nothing to those who want a part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from crawler.settings import VERSION as __version__

if TYPE_CHECKING:
    from crawler.bench import Bench
    from crawler.benching import benchmark
    from crawler.body_plan import Bodies
    from crawler.errors import CrawlError
    from crawler.expectations import Expectations
    from crawler.log import read_log
    from crawler.politeness import Politeness
    from crawler.record import Record, Target
    from crawler.run import Run, crawl
    from crawler.saved import read_bodies
    from crawler.settings import Settings

__all__ = [
    "Bench",
    "Bodies",
    "CrawlError",
    "Expectations",
    "Pagination",
    "Politeness",
    "Record",
    "Run",
    "Settings",
    "Target",
    "__version__",
    "benchmark",
    "crawl",
    "read_bodies",
    "read_log",
    "read_run",
]

_HOMES: Final = {
    "Bench": "crawler.bench",
    "Bodies": "crawler.body_plan",
    "benchmark": "crawler.benching",
    "CrawlError": "crawler.errors",
    "Expectations": "crawler.expectations",
    "Pagination": "crawler.pagination",
    "Politeness": "crawler.politeness",
    "Record": "crawler.record",
    "Run": "crawler.run",
    "Settings": "crawler.settings",
    "Target": "crawler.record",
    "crawl": "crawler.run",
    "read_bodies": "crawler.saved",
    "read_log": "crawler.log",
    "read_run": "crawler.saved",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the package exports
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'crawler' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value
