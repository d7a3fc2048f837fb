"""Where versions are kept: a file each, or rows in a file a day.

Names follow from the target and the moment at which it was asked, so a commit that is repeated
after a kill writes the same files again: nothing is doubled. What ``add`` took is on the disk when
``flush`` returns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

from crawler.bodies.rows import SavedBody, content_field
from crawler.codec import encode_json, encode_row
from crawler.errors import UsageError
from crawler.exact_json import write_json
from crawler.export import pyarrow_modules
from crawler.pull.content import Content
from crawler.pull.diffs import Diff
from crawler.pull.durable import Workshop, end_of_others
from crawler.pull.job import VersionForm

VERSIONS: Final = "versions"
_DAY: Final = "date="


class New(NamedTuple):
    """A version to be kept: whose, of which run, what came and what it changes."""

    slug: str
    key: str
    run: str
    at: float
    body: SavedBody
    content: Content
    diff: Diff | None


class Place(NamedTuple):
    """Where a version was put, and its diff: paths in the job's folder."""

    version: str
    diff: str | None


class Versions(Protocol):
    """Takes versions, one after another."""

    def add(self, new: New) -> Place:
        """Take a version."""
        ...

    def flush(self) -> Mapping[str, int]:
        """Have all on the disk; give the new sizes of files of rows that were appended to."""
        ...


def check_versions(form: VersionForm) -> None:
    """Raise ``UsageError`` where a form needs what is not installed."""
    try:
        if form == "parquet":
            pyarrow_modules()
    except UsageError:
        raise UsageError(
            "[store] versions = \"parquet\" needs the extra: pip install 'crawl-bench[parquet]'"
        ) from None


def open_versions(
    form: VersionForm, workshop: Workshop, run: str, sizes: Mapping[str, int]
) -> Versions:
    """Open what keeps versions in a form; ``sizes`` are those that files of rows have.

    Raises ``UsageError`` where Parquet cannot be written.
    """
    if form == "files":
        return _Files(workshop)
    return _Lines(workshop, run, sizes) if form == "jsonl" else _Parquet(workshop, run)


class _Files:
    """A folder a target, a file a version, its diff beside it."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop

    def add(self, new: New) -> Place:
        stem = f"{VERSIONS}/{new.slug}/{_moment(new.at)}"
        place = stem + new.content.ending
        self._workshop.write(self._workshop.folder / place, new.content.data)
        if new.diff is None:
            return Place(place, None)
        diff = stem + new.diff.ending
        self._workshop.write(self._workshop.folder / diff, new.diff.text.encode("utf-8", "replace"))
        return Place(place, diff)

    def flush(self) -> Mapping[str, int]:
        return {}


class _Lines:
    """JSON lines, a file a day (UTC)."""

    def __init__(self, workshop: Workshop, run: str, sizes: Mapping[str, int]) -> None:
        self._workshop = workshop
        self._place = f"{VERSIONS}/{_day(run)}.jsonl"
        self._start = sizes.get(self._place, 0)
        """What stands behind it is of a pull that was killed, or of a later state than this one."""
        self._ours = f'{{"run":"{run}"'.encode()
        self._lines: list[bytes] = []

    def add(self, new: New) -> Place:
        self._lines.append(_line(new))
        return Place(self._place, None)

    def flush(self) -> Mapping[str, int]:
        if not self._lines:
            return {}
        path = self._workshop.folder / self._place
        start = end_of_others(path, self._ours, self._start)
        size = self._workshop.append(path, b"".join(self._lines), start=start)
        return {self._place: size}


class _Parquet:
    """Parquet, a folder a day as ``date=2026-01-31`` (Hive's way), a file a run."""

    def __init__(self, workshop: Workshop, run: str) -> None:
        pyarrow_modules()
        self._workshop = workshop
        self._place = f"{VERSIONS}/{_DAY}{_day(run)}/{run}.parquet"
        self._rows: list[dict[str, Any]] = []

    def add(self, new: New) -> Place:
        at = datetime.fromtimestamp(new.at, UTC)
        self._rows.append({**_row(new), "at": at, "body": new.content.data})
        return Place(self._place, None)

    def flush(self) -> Mapping[str, int]:
        if not self._rows:
            return {}
        pa, parquet = pyarrow_modules()
        kinds = {
            "at": pa.timestamp("us", "UTC"), "status": pa.int64(), "page": pa.int64(),
            "body": pa.binary(),
        }  # fmt: skip
        schema = pa.schema([(name, kinds.get(name, pa.string())) for name in self._rows[0]])
        with self._workshop.writing(self._workshop.folder / self._place) as part:
            parquet.write_table(pa.Table.from_pylist(self._rows, schema=schema), part)
        return {}


def has_file_of_its_own(place: str) -> bool:
    """Tell whether a version's place is its alone: rows share a file with other targets'."""
    return place.count("/") == 2 and not place.startswith(f"{VERSIONS}/{_DAY}")


def _moment(at: float) -> str:
    """Name a moment so that names sort as moments do."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def _day(run: str) -> str:
    """Give the day that a run began: its id starts with its moment."""
    return f"{run[:4]}-{run[4:6]}-{run[6:8]}"


def _row(new: New) -> dict[str, Any]:
    return {
        "run": new.run,
        "target": new.key,
        "page": new.body.page,
        "at": datetime.fromtimestamp(new.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "url": new.body.url,
        "status": new.body.status,
        "content_type": new.body.content_type,
        "sha256": new.body.sha256,
        "diff": None if new.diff is None else new.diff.text,
    }


def _line(new: New) -> bytes:
    row = _row(new)
    if new.content.kind == "json":
        whole = {**row, "json": new.content.value}
        try:
            return encode_json(whole)
        except ValueError:  # numbers of many digits, or nested deeply
            with contextlib.suppress(RecursionError, UnicodeEncodeError):
                return write_json(whole).encode("utf-8") + b"\n"
    return encode_row({**row, **content_field(new.content.data, new.body.content_type)})
