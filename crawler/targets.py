"""What is to be fetched: arguments, lists and templates become one lazy stream of ``Target``.

All that can be known to be wrong before the first request (a missing file or column, a template
that cannot be filled, nothing to fetch) is an error of ``open_targets``. After that a line that
makes no sense is a target all the same, its text for a URL: the worker records it as
``invalid_url``. Nothing is held back: a list of any length costs the memory of a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from types import TracebackType
from typing import BinaryIO, Final, Self

from crawler.columns import check_columns, guessed_column, listed
from crawler.errors import UsageError
from crawler.lists import (
    STDIN,
    Incomplete,
    Source,
    Table,
    count_targets,
    open_source,
    open_table,
    read_errors,
    url_lines,
)
from crawler.record import NO_FIELDS, RECORD_FIELDS, Target
from crawler.settings import check_request
from crawler.url_template import UrlTemplate
from crawler.urls import InvalidUrl, wire_url

SHOWN_OF_BAD_ROW: Final = 2000
"""Characters kept of a row without a URL: a quotation mark never closed makes rows of megabytes."""

_Entry = tuple[str, Mapping[str, str]]
"""A URL and the columns it carries."""


class TargetList:
    """Targets in input order, numbered from 0; to be iterated once. ``close`` ends it early.

    Iterating raises ``TargetError`` when a file can no longer be read (a damaged gzip, a disk
    error), and ``UsageError`` the second time.
    """

    def __init__(
        self, targets: Iterator[Target], sources: Sequence[Source], count: Callable[[], int | None]
    ) -> None:
        self._targets: Iterator[Target] | None = targets
        self._sources = sources
        self._count = count
        self._total: int | None = None
        self._counted = False

    def __iter__(self) -> Iterator[Target]:
        targets, self._targets = self._targets, None
        if targets is None:
            raise UsageError("a list of targets is read once: open_targets gives a fresh one")
        return targets

    @property
    def total(self) -> int | None:
        """The exact number of targets, None where only reading it all would tell.

        Asked for the first time, it reads regular uncompressed files through: 0.1-0.5 us a line.
        """
        if not self._counted:
            self._total, self._counted = self._count(), True
        return self._total

    def through(
        self,
        change: Callable[[Iterator[Target]], Iterator[Target]],
        count: Callable[[Callable[[], int | None]], int | None],
    ) -> TargetList:
        """Give the list that ``change`` makes of this one's targets, ``count`` of its total."""
        return TargetList(change(iter(self)), self._sources, lambda: count(lambda: self.total))

    def close(self) -> None:
        """Close every file; standard input stays open."""
        for source in self._sources:
            source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_targets(
    urls: Sequence[str] = (),
    files: Sequence[str] = (),
    *,
    column: str | None = None,
    keep: Sequence[str] = (),
    template: str | None = None,
    stdin: BinaryIO | None = None,
) -> TargetList:
    """The targets of ``urls``, then of ``files`` in their order.

    A file is read as its extension says (``.csv .tsv .jsonl .ndjson``, else a URL a line; ``.gz``
    behind any; ``-`` is ``stdin``). ``column`` names the URL column, guessed when only one looks
    like URLs; ``keep`` names columns carried as ``Target.fields``. ``template`` makes the URL
    instead, from columns or from the line (or argument) as it stands.

    Raises ``TargetError`` for a file that cannot be read, ``UsageError`` for a column, template or
    empty list, before anything is yielded.
    """
    urls, files = _checked_strings("urls", urls), _checked_strings("files", files)
    if files.count(STDIN) > 1:
        raise UsageError("standard input (-) is named twice: it can be read once")
    wanted = _Wanted(column, _checked_keep(keep), _checked_template(template, column))
    sources: list[Source] = []
    try:
        entries = [wanted.of_lines("an argument", urls)] if urls else []
        for path in files:
            sources.append(open_source(path, stdin))
            entries.append(wanted.of_source(sources[-1]))
        if (column is not None or keep) and all(s.format == "lines" for s in sources):
            option = "--keep" if keep else "--column"
            raise UsageError(f"{option} needs a list with columns: a .csv, .tsv or .jsonl file")
        targets = _numbered(chain.from_iterable(entries))
        first = next(targets, None)
        if first is None:
            raise UsageError(_nothing_in(sources))
    except BaseException:
        for source in sources:
            source.close()
        raise
    return TargetList(chain((first,), targets), sources, lambda: _count(urls, files))


def targets_from(items: Iterable[str | Target]) -> Iterator[Target]:
    """Targets from the library's input: strings are URLs, ``Target`` values stay what they are.

    All are numbered by position. Raises ``UsageError`` at once for what is not iterable (or a lone
    string), and while iterating for an item of another type, naming its position.
    """
    if isinstance(items, str | bytes) or not isinstance(items, Iterable):
        raise UsageError(f"urls is {_kind(items)}: give a list of URLs, as ['http://…']")
    return _numbered_items(items)


def _numbered_items(items: Iterable[object]) -> Iterator[Target]:
    for seq, item in enumerate(items):
        if isinstance(item, str):
            yield Target(seq, item)
        elif isinstance(item, Target):
            yield _checked_target(Target(seq, *item[1:]))
        else:
            raise UsageError(f"item {seq} of urls is {_kind(item)}: give a str or a Target")


def _checked_target(target: Target) -> Target:
    """Refuse a method or header that would break a request apart."""
    check_request(f"item {target.seq} of urls: ", target.method, target.headers)
    return target


def _numbered(entries: Iterable[_Entry]) -> Iterator[Target]:
    """Targets from entries: the one loop that every listed target passes."""
    for seq, (url, fields) in enumerate(entries):
        yield Target(seq, url, None, None, None, None, fields)


def _kind(value: object) -> str:
    return f"of type {type(value).__name__}"


def _checked_strings(name: str, values: Sequence[str]) -> list[str]:
    if isinstance(values, str):
        raise UsageError(f"{name} is one string: give a list of strings")
    return list(values)


def _checked_keep(keep: Sequence[str]) -> tuple[str, ...]:
    for name in _checked_strings("keep", keep):
        if name in RECORD_FIELDS:
            raise UsageError(
                f"--keep {name}: every record has a field of that name; rename the column"
            )
    return tuple(dict.fromkeys(keep))


def _checked_template(template: str | None, column: str | None) -> UrlTemplate | None:
    if template is None:
        return None
    if column is not None:
        raise UsageError("--column and --url-template both make the URL: give one of them")
    return UrlTemplate.parse(template)


def _count(urls: Sequence[str], files: Sequence[str]) -> int | None:
    total = len(urls)
    for path in files:
        count = count_targets(path)
        if count is None:
            return None
        total += count
    return total


def _nothing_in(sources: Sequence[Source]) -> str:
    if not sources:
        return "nothing to fetch: give URLs, or a list with --urls FILE"
    names = ", ".join(source.name for source in sources)
    return f"nothing to fetch: {names} holds no target (only blank lines, comments or a header)"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of every list: where its URL comes from and which columns go along."""

    column: str | None
    keep: tuple[str, ...]
    template: UrlTemplate | None

    def of_source(self, source: Source) -> Iterator[_Entry]:
        """The entries of an open list; its header, if any, is checked now."""
        with read_errors(source.name):
            if source.format == "lines":
                entries = self.of_lines(source.name, url_lines(source.lines))
            else:
                entries = self._of_table(open_table(source))
        return _read_to_end(source, entries)

    def of_lines(self, name: str, lines: Iterable[str]) -> Iterator[_Entry]:
        """Entries of plain lines: each the URL, or the value of the template's one name."""
        if self.template is None:
            return zip(lines, repeat(NO_FIELDS))
        if len(set(self.template.names)) > 1:
            raise UsageError(
                f"--url-template: {name} has no columns, so the template can have one name only, "
                f"not {listed(self.template.names)}"
            )
        places = len(self.template.names)
        return zip((self._url([line] * places) for line in lines), repeat(NO_FIELDS))

    def _of_table(self, table: Table) -> Iterator[_Entry]:
        if table.is_empty:
            return iter(())
        needed: tuple[str, ...]
        if self.template is not None:
            needed = self.template.names
            check_columns(table, "--url-template", needed)
        else:
            needed = (self.column if self.column is not None else guessed_column(table),)
            check_columns(table, "--column", needed)
        check_columns(table, "--keep", self.keep)
        return self._entries(table, needed)

    def _entries(self, table: Table, needed: tuple[str, ...]) -> Iterator[_Entry]:
        keep, places = self.keep, len(needed)
        for row in table.rows(needed + keep):
            if isinstance(row, Incomplete):
                found = [value for value in row.values[:places] if value is not None]
                url = self._url(found) if len(found) == places else _not_a_url(row.raw)
                kept = [_clean(value or "") for value in row.values[places:]]
            else:
                url = self._url(row)
                kept = [_clean(value) for value in row[places:]]
            yield url, dict(zip(keep, kept, strict=True)) if keep else NO_FIELDS

    def _url(self, values: Sequence[str]) -> str:
        """The URL from the needed values, which come first in ``values``."""
        if self.template is None:
            return values[0]
        values = values[: len(self.template.names)]
        try:
            return self.template.fill(values)
        except UnicodeEncodeError:
            return _not_a_url(" ".join(dict.fromkeys(values)))


def _read_to_end(source: Source, entries: Iterator[_Entry]) -> Iterator[_Entry]:
    try:
        with read_errors(source.name):
            yield from entries
    finally:
        source.close()


def _not_a_url(raw: str) -> str:
    """The text of a row that has no URL, such that nobody fetches it by mistake."""
    shown = raw if len(raw) <= SHOWN_OF_BAD_ROW else raw[:SHOWN_OF_BAD_ROW] + "…"
    try:
        wire_url(shown)
    except InvalidUrl:
        return shown
    return f"incomplete row: {shown}"


def _clean(value: str) -> str:
    """A carried value that can be encoded: "?" for what is no Unicode."""
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
