"""The file formats that a list of targets may have, each read as a stream.

A format is told by the file's extension: ``.csv``, ``.tsv``, ``.jsonl``/``.ndjson``, else plain
lines; ``.gz`` may follow any of them; ``-`` is standard input, plain lines. Text is UTF-8, with or
without a BOM; bytes that are not come through as lone surrogates, so that one bad line costs one
target and never the run. What is wrong with a file as a whole is told on opening it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from operator import itemgetter
from typing import IO, BinaryIO, Final, Literal, NamedTuple, TextIO, cast

from crawler.errors import TargetError

Format = Literal["lines", "csv", "tsv", "jsonl", "arrow"]

STDIN: Final = "-"
SAMPLE_ROWS: Final = 50
"""Rows looked at before the first target to find columns and to guess which holds the URLs."""

MAX_FIELD_LENGTH: Final = 16_000_000
"""Characters of one CSV field; more means a quotation mark that is never closed."""

COUNTED_BYTES: Final = {"lines": 500_000_000, "jsonl": 500_000_000, "csv": 100_000_000}
"""Larger files are not counted ahead: at these sizes a count takes about a second."""

_BLANKS: Final = " \t\r\n"
_DELIMITERS: Final = {"csv": ",", "tsv": "\t"}
_FORMATS: Final[dict[str, Format]] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "arrow",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_SHEETS: Final = (".xlsx", ".xls", ".ods", ".numbers")
_FOREIGN: Final = (
    ("\x1f\udc8b", "is gzip: name it with .gz at the end"),
    ("\udcff\udcfe", "is UTF-16: save it as UTF-8"),
    ("\udcfe\udcff", "is UTF-16: save it as UTF-8"),
    ("<?xml", "is XML, no list; a sitemap is given with --sitemap"),
    ("<urlset", "is a sitemap: give it with --sitemap"),
    ("<sitemapindex", "is a sitemap: give it with --sitemap"),
    ("<!doctype html", "is HTML, no list of URLs"),
    ("<html", "is HTML, no list of URLs"),
)
"""First characters, as UTF-8 with surrogate escapes shows them, of files that are no lists."""


class Incomplete(NamedTuple):
    """A row that lacks some of the values asked for, and its own text.

    A CSV row that is too short, or a line that is no JSON object, has no value at all: it may have
    been cut off anywhere. A JSON object has None where a key is missing, or its value null.
    """

    raw: str
    values: tuple[str | None, ...]


Row = tuple[str, ...] | Incomplete
"""The values asked for, in the order asked."""


def file_format(path: str) -> Format:
    """The format that the file's name tells."""
    stem, extension = os.path.splitext(path.lower())
    if extension == ".gz":
        extension = os.path.splitext(stem)[1]
    return _FORMATS.get(extension, "lines")


@dataclass(frozen=True, slots=True)
class Source:
    """One open list. ``lines`` are its text, line ends included; ``close`` ends the reading."""

    name: str
    format: Format
    lines: Iterator[str]
    close: Callable[[], None]


def open_source(path: str, stdin: BinaryIO | None = None) -> Source:
    """Open a list and look at its first line.

    ``-`` is ``stdin`` (``sys.stdin`` if None), which is left open at the end. Raises
    ``TargetError`` naming the file when it is missing, a directory, unreadable, said to be gzip
    and is not, or in another encoding.
    """
    name = "standard input" if path == STDIN else path
    kind: Format = "lines" if path == STDIN else file_format(path)
    if path.lower().endswith(_SHEETS):
        raise TargetError(f"{name} is a spreadsheet: save the sheet as CSV (UTF-8), and name that")
    if kind == "arrow":
        return _arrow_source(path)
    with read_errors(name):
        text, close = _open_text(path, stdin, newline="\n" if kind in ("lines", "jsonl") else "")
        try:
            first = text.readline()
            for start, fault in _FOREIGN:
                if first.lower().startswith(start):
                    raise TargetError(f"{name} {fault}")
        except BaseException:
            close()
            raise
    return Source(name, kind, chain([first] if first else [], text), close)


def _arrow_source(path: str) -> Source:
    """Open a Parquet or Arrow file as lines of JSON; looks at its first rows."""
    from crawler.arrow_lists import arrow_lines

    lines = arrow_lines(path)
    first = list(islice(lines, 1))
    return Source(path, "jsonl", chain(first, lines), lines.close)


class _LeftOpen(io.TextIOWrapper):
    """Text of a standard input, which is its owner's to close, and in which a thread may wait."""

    def close(self) -> None:
        """Leave it open, and undisturbed."""


def _open_text(
    path: str, stdin: BinaryIO | None, *, newline: str
) -> tuple[TextIO, Callable[[], None]]:
    binary: IO[bytes]
    if path == STDIN:
        binary = stdin if stdin is not None else sys.stdin.buffer
    elif path.lower().endswith(".gz"):
        binary = cast("IO[bytes]", gzip.open(path))  # noqa: SIM115 - closed by Source.close
    else:
        binary = open(path, "rb")  # noqa: SIM115 - closed by Source.close
    wrapper = _LeftOpen if path == STDIN else io.TextIOWrapper
    text = wrapper(binary, "utf-8-sig", "surrogateescape", newline)
    return text, text.close


@contextmanager
def read_errors(name: str) -> Iterator[None]:
    """Tell what goes wrong in opening or reading ``name`` as a ``TargetError``."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise TargetError(f"{name}: no such file; check the path") from None
    except IsADirectoryError:
        raise TargetError(f"{name} is a directory: name the list itself") from None
    except PermissionError:
        raise TargetError(f"{name} may not be read: check its permissions") from None
    except gzip.BadGzipFile as error:
        raise TargetError(f"{name} is not valid gzip ({error}): drop .gz from its name?") from None
    except (EOFError, zlib.error) as error:
        raise TargetError(f"{name}: the gzip data is cut off or damaged ({error})") from None
    except (OSError, ValueError) as error:
        raise TargetError(f"{name} cannot be read: {error}") from None


def url_lines(lines: Iterator[str]) -> Iterator[str]:
    """The lines that say something: no blank ones, no ``#`` comments; blanks around cut off."""
    for line in lines:
        line = line.strip(_BLANKS)
        if line and line[0] != "#":
            yield line


class CsvTable:
    """A ``.csv`` or ``.tsv``: ``columns`` from its first row, rows streamed. Blank rows count not.

    Raises ``TargetError`` for a header that is no UTF-8 or is separated by something else.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self._delimiter = _DELIMITERS[source.format]
        rows = _csv_rows(source.lines, self._delimiter)
        header = next(rows, [])
        if isinstance(header, _Unreadable):
            raise TargetError(f"{self.name}: the header cannot be read: {header.reason}")
        self.columns = tuple(cell.strip() for cell in header)
        self._check_header()
        self._sample = list(islice(rows, SAMPLE_ROWS))
        self._rows = chain(self._sample, rows)

    def _check_header(self) -> None:
        if not all(_is_unicode(column) for column in self.columns):
            raise TargetError(f"{self.name}:1: the header is not UTF-8; save the file as UTF-8")
        if any(column.startswith(("http://", "https://")) for column in self.columns):
            raise TargetError(
                f"{self.name}:1: this is no header but a URL: add a header, or name the file .txt"
            )
        if len(self.columns) == 1:
            for wrong in ";\t,|":
                if wrong in self.columns[0]:
                    raise TargetError(
                        f"{self.name}:1: columns are separated by {wrong!r}, not by "
                        f"{self._delimiter!r}; save it so (.csv has commas, .tsv has tabs)"
                    )

    def sample(self, column: str) -> list[str]:
        """The column's values in the first rows."""
        at = self.columns.index(column)
        return [row[at] for row in self._sample if at < len(row)]

    @property
    def is_empty(self) -> bool:
        """Whether no row follows the header."""
        return not self._sample

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Every row's values of ``columns``; to be called once."""
        pick = _picker([self.columns.index(column) for column in columns])
        for row in self._rows:
            try:
                values: Row = pick(row)
            except IndexError:
                told = row.reason if isinstance(row, _Unreadable) else self._delimiter.join(row)
                values = Incomplete(told, (None,) * len(columns))
            yield values


def _picker(indexes: Sequence[int]) -> Callable[[list[str]], tuple[str, ...]]:
    """What takes these cells of a row as a tuple; raises ``IndexError`` where one is missing."""
    if len(indexes) == 1:
        (at,) = indexes
        return lambda row: (row[at],)
    return itemgetter(*indexes)


class _Unreadable(list[str]):
    """A row that csv cannot read: no cells, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


def _csv_rows(lines: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    """Rows that hold something, and in their places the unreadable ones.

    The field limit is csv's own global: it is only ever raised, never lowered.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_FIELD_LENGTH))
    ended = False

    def lines_and_end() -> Iterator[str]:
        nonlocal ended
        yield from lines
        ended = True

    reader = csv.reader(lines_and_end(), delimiter=delimiter)
    while True:
        first = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            row = _Unreadable(f"line {reader.line_num}: {error}")
        if row is None:
            return
        if ended and row:
            # A row ends with its line; only one within a quote makes csv ask for a further line.
            row = _Unreadable(f"line {first}: a quote is opened here and never closed")
        if row or isinstance(row, _Unreadable):
            yield row


class JsonTable:
    """JSON lines, one object each; ``columns`` are the keys of the first ones."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        lines = (line for raw in source.lines if (line := raw.strip(_BLANKS)))
        self._sample = list(islice(lines, SAMPLE_ROWS))
        self._lines = chain(self._sample, lines)
        self._objects = [_json_object(line) for line in self._sample]
        self.columns = tuple(dict.fromkeys(chain.from_iterable(self._objects)))

    def sample(self, column: str) -> list[str]:
        """The column's values in the first lines."""
        found = (entry.get(column) for entry in self._objects)
        return [_as_text(value) for value in found if value is not None]

    @property
    def is_empty(self) -> bool:
        """Whether there is no line at all."""
        return not self._sample

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """Every line's values of ``columns``; to be called once."""
        for line in self._lines:
            entry = _json_object(line)
            found = [None if (value := entry.get(x)) is None else _as_text(value) for x in columns]
            values = tuple(text for text in found if text is not None)
            yield values if len(values) == len(found) else Incomplete(line, tuple(found))


Table = CsvTable | JsonTable


def open_table(source: Source) -> Table:
    """The columns and rows of a source that is not plain lines."""
    return JsonTable(source) if source.format == "jsonl" else CsvTable(source)


def _json_object(line: str) -> dict[str, object]:
    """The object on a line; an empty one if there is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _as_text(value: object) -> str:
    """A string as it is; any other JSON value as compact JSON text."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_unicode(text: str) -> bool:
    """Whether no byte of it was undecodable."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def count_targets(path: str) -> int | None:
    """How many targets a list holds, None where that cannot be told quickly.

    Counted are regular, uncompressed files of at most ``COUNTED_BYTES``. Raises ``TargetError``.
    """
    kind = file_format(path)
    with read_errors(path):
        if kind == "arrow" or path == STDIN or path.lower().endswith(".gz"):
            return None
        status = os.stat(path)
        limit = COUNTED_BYTES["csv" if kind in _DELIMITERS else kind]
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            return None
        source = open_source(path)
        try:
            if kind in _DELIMITERS:
                rows = sum(1 for _ in _csv_rows(source.lines, _DELIMITERS[kind]))
                return max(rows - 1, 0)
            if kind == "jsonl":
                return sum(1 for line in source.lines if line.strip(_BLANKS))
            return sum(1 for _ in url_lines(source.lines))
        finally:
            source.close()
