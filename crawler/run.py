"""The library's front door: compose targets, pool, record log, progress and summary into a run.

``crawl(urls)`` does it all and gives a ``Run``; ``crawl.stream(urls)`` yields records in input
order as they come.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from crawler.codec import decode
from crawler.crawling import Crawling, Job, Take
from crawler.errors import UsageError
from crawler.log import index_log
from crawler.record import Record, Target
from crawler.settings import Settings
from crawler.source import Reading
from crawler.targets import targets_from

if TYPE_CHECKING:
    import pandas as pd
    import requests

    from crawler.bodies.rows import SavedBody
    from crawler.summary import Results


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A run that has ended: its id, its log (None if none was kept), and its figures."""

    id: str
    log: Path | None
    results: Results = field(repr=False)
    _lines: tuple[bytes, ...] = field(repr=False)

    def records(self) -> Iterator[Record]:
        """Yield the run's records in input order; a target fetched again counts with its newest."""
        if self.log is None:
            return map(decode, self._lines)
        return index_log(self.log, self.id).records()

    def bodies(self) -> Iterator[SavedBody]:
        """Yield the bodies that the run kept, in input order; raises ``UsageError`` without a log.

        They are told by the records, so those must have been kept in a file.
        """
        from crawler.saved import bodies_of_run

        if self.log is None:
            raise UsageError("bodies are found by their records: give out=FILE")
        return bodies_of_run(self.log, self.id)

    def frame(self) -> pd.DataFrame:
        """Give a row a record, in input order; see ``frames.records_frame`` for the dtypes."""
        from crawler.frames import records_frame

        return records_frame(self.records())

    def summary(self) -> pd.DataFrame:
        """Give a row a group and a last row ``total``; see ``summary.Results.frame``."""
        return self.results.frame


class _Crawl:
    """``crawl``: call it, or call its ``stream``."""

    def __call__(
        self,
        urls: Iterable[str | Target],
        *,
        out: str | os.PathLike[str] | None = None,
        take: Take = "new",
        reading: Reading = "direct",
        session: requests.Session | None = None,
        settings: Settings | None = None,
        **options: Any,  # noqa: ANN401 - the fields of Settings
    ) -> Run:
        """Fetch every URL and give the ``Run`` when all are done.

        ``urls`` is read lazily; if it may keep its reader waiting (a generator over a socket, say),
        have it read ``ahead``, on a thread, so that results go on coming. ``out`` keeps the records
        in a file; without it they are kept in memory. ``options`` are fields of ``Settings``.
        Raises a ``CrawlError`` where something cannot be used or written; a URL that cannot be
        fetched is a record, not an error.
        """
        job = _job(
            urls, out, session, settings, options,
            take=take, reading=reading, keep_lines=out is None, tables=True,
        )  # fmt: skip
        lines: list[bytes] = []
        with Crawling(job) as crawling:
            for result in crawling:
                lines.extend(line for _, line in result.lines or ())
            clock = crawling.finish()
        return Run(crawling.run, crawling.log, crawling.summary.finish(clock), tuple(lines))

    def stream(
        self,
        urls: Iterable[str | Target],
        *,
        out: str | os.PathLike[str] | None = None,
        take: Take = "new",
        reading: Reading = "direct",
        session: requests.Session | None = None,
        settings: Settings | None = None,
        **options: Any,  # noqa: ANN401 - the fields of Settings
    ) -> Iterator[Record]:
        """Yield a record for each URL, in input order, as soon as it and all before it are there.

        It may have to wait for up to seven neighbours after it, too. Arguments and errors as
        ``crawl``. Closing the iterator ends the run.
        """
        job = _job(
            urls, out, session, settings, options,
            take=take, reading=reading, keep_lines=True, tables=False,
        )  # fmt: skip
        return _stream(job)


crawl: Final = _Crawl()


def _stream(job: Job) -> Iterator[Record]:
    with Crawling(job) as crawling:
        for result in crawling:
            for _, line in result.lines or ():
                yield decode(line)
        crawling.finish()


def with_options(settings: Settings, options: dict[str, Any]) -> Settings:
    """``settings`` with ``options``, fields of them by name; raises ``UsageError``."""
    known = [each.name for each in fields(Settings)]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"the options are {', '.join(known)}"
            raise UsageError(f"there is no option {name}: {hint}")
    return replace(settings, **options)


def _job(
    urls: Iterable[str | Target],
    out: str | os.PathLike[str] | None,
    session: requests.Session | None,
    settings: Settings | None,
    options: dict[str, Any],
    *,
    take: Take,
    reading: Reading,
    keep_lines: bool,
    tables: bool,
) -> Job:
    if isinstance(urls, str):
        raise UsageError(f"crawl takes a list of URLs, not one string: crawl([{urls[:60]!r}])")
    if take not in get_args(Take):
        raise UsageError(f"take is {take!r}: give one of {', '.join(get_args(Take))}")
    if out is not None and str(out) in ("-", "none"):
        raise UsageError(
            f"out is {str(out)!r}: give a path, or None for none; iterate crawl.stream"
        )
    if session is not None and not hasattr(session, "adapters"):
        raise UsageError(f"session is of type {type(session).__name__}: give a requests.Session")
    return Job(
        targets=targets_from(urls),
        settings=with_options(settings or Settings(), options),
        out=None if out is None else Path(out),
        keep_lines=keep_lines,
        take=take,
        session=session,
        tables=tables,
        reading=reading,
    )
