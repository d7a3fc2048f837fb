"""After a run, in its parent: what no record accounts for is taken away, and Parquet is written.

A body is written before its record. So a killed worker can leave bodies that no record tells of;
their targets are fetched again. Of each target what its newest record tells of stays, once: bodies
of attempts that were redone go too. A file is written anew beside itself and moved there.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from crawler.bodies.appender import settle_end
from crawler.bodies.names import NamePattern
from crawler.bodies.packing import pack, packing_of, unpacked
from crawler.bodies.parquet import write_bodies
from crawler.bodies.reading import decoded
from crawler.bodies.sinks import move, rows_path, waiting_folder, waiting_name
from crawler.bodies.warc import nobody
from crawler.bodies.warc_reading import Place, places
from crawler.body_plan import Bodies
from crawler.codec import parse
from crawler.files import whole_or_not
from crawler.log import cannot, read_lines
from crawler.record import DUPLICATE_OF, page_number

Page = tuple[int, int]
"""A target's number, and that of one of its pages."""

Digests = dict[Page, bytes]
"""Of pages whose newest record tells of a body, half of the body's SHA-256."""


def conclude(plan: Bodies, run: str, log: Path | None, *, disturbed: bool) -> int:
    """End it; a ``disturbed`` run (resumed, or a worker died) without what no record accounts for.

    Give how many bodies the records tell of that are not there. Raises ``LogError``.
    """
    if plan.folder is not None:
        return _conclude_folder(Path(plan.folder), plan, run, log, disturbed=disturbed)
    path = rows_path(plan)
    settle_end(path)
    missing = 0
    if disturbed and log is not None:
        missing = _take_out(path, plan, run, _digests(log, run))
    if plan.form == "parquet":
        assert plan.file is not None
        write_bodies(Path(plan.file), path, run)
    return missing


def _newest(log: Path, run: str) -> Iterator[tuple[Page, str, str]]:
    """Yield page, place and digest of each record's body, "" where it has none, as logged."""
    for line in read_lines(log):
        row = parse(line)
        is_duplicate = DUPLICATE_OF in row and row.get("attempts") == 0
        if row["run"] == run and not is_duplicate:
            yield (row["seq"], page_number(row)), row.get("body") or "", row.get("sha256") or ""


def _digests(log: Path, run: str) -> Digests:
    digests: Digests = {}
    for page, where, sha256 in _newest(log, run):
        if where and sha256:
            digests[page] = _half(sha256)
        else:
            digests.pop(page, None)
    return digests


def _half(sha256: str) -> bytes:
    """Half a digest tells two bodies of one target apart, in half of the memory."""
    return bytes.fromhex(sha256)[:16]


def _conclude_folder(
    folder: Path, plan: Bodies, run: str, log: Path | None, *, disturbed: bool
) -> int:
    """Name the bodies whose record came into the log as their worker died; drop the others."""
    waiting = waiting_folder(folder, run)
    left = {path.name: path for path in waiting.glob("*")}
    missing = 0
    if log is not None and (left or disturbed):
        kept, redone = dict[str, str](), set[str]()
        for page, where, _ in _newest(log, run):
            name = waiting_name(*page)
            redone.add(kept.pop(name, ""))
            if where:
                kept[name] = where
        for name in left.keys() & kept.keys():
            move(str(left[name]), kept[name])
        if not NamePattern.parse(plan.name, 0).by_content:  # those may be another run's too
            _unlink(folder, redone.difference(kept.values()))
        missing = sum(not Path(where).is_file() for where in kept.values())
    shutil.rmtree(waiting, ignore_errors=True)
    return missing


def _unlink(folder: Path, places: set[str]) -> None:
    """Remove bodies of redone attempts; the log says that this run wrote them."""
    for where in places:
        if where.startswith(f"{folder}/"):
            with contextlib.suppress(OSError):
                Path(where).unlink()


class Span(NamedTuple):
    """A body as it stands in a file: whose it is, and what reads its bytes.

    ``refers`` tells one whose content stands in an earlier body of the same ``content``.
    """

    run: str
    page: Page
    sha256: str
    read: Callable[[], bytes]
    content: str = ""
    refers: bool = False


def _take_out(path: Path, plan: Bodies, run: str, digests: Digests) -> int:
    """Take out of a file what ``digests`` do not tell of; give how many of those are not there."""
    spans = _warc_spans if plan.form == "warc" else _row_spans

    def stays(span: Span) -> bool:
        """Another run's, no target's, or the newest of its target."""
        return span.run != run or span.page[0] < 0 or digests.get(span.page) == _half(span.sha256)

    found, others, needed = Counter[Page](), 0, set[str]()
    for span in spans(path):
        if not stays(span):
            others += 1
        elif span.run == run and span.page[0] >= 0:
            found[span.page] += 1
        if span.refers and stays(span):
            needed.add(span.content)
    twice = found - Counter(dict.fromkeys(found, 1))
    if others or twice:
        _rewrite(path, spans(path), stays, run, twice, needed)
    return len(digests.keys() - found.keys())


def _rewrite(
    path: Path,
    spans: Iterator[Span],
    stays: Callable[[Span], bool],
    run: str,
    twice: Counter[Page],
    needed: set[str],
) -> None:
    try:
        with whole_or_not(path) as part, part.open("wb") as file:
            for span in spans:
                own = span.run == run and span.page[0] >= 0
                if stays(span) and not (own and twice[span.page] > 0):
                    file.write(span.read())
                    continue
                twice[span.page] -= stays(span)  # the first ones go: the last stays
                if span.content in needed and not span.refers:
                    file.write(nobody(span.read(), packed=path.suffix == ".gz"))
    except OSError as exc:
        raise cannot("settle", path, exc) from None


def _row_spans(path: Path) -> Iterator[Span]:
    packing = packing_of(str(path))
    for offset, _, block in unpacked(path, packing):
        for line in block.splitlines(keepends=True):
            body = decoded(path, offset, line)
            yield Span(
                body.run,
                (body.seq, body.page),
                body.sha256,
                lambda line=line: pack(line, packing),  # type: ignore[misc]
            )


def _warc_spans(path: Path) -> Iterator[Span]:
    """A target's response, request and metadata stand together and are one span."""
    with path.open("rb") as file:
        group: list[Place] = []
        for place in places(path):
            if group and place.kind not in ("request", "metadata"):
                yield _span_of(group, file)
                group = []
            group.append(place)
        if group:
            yield _span_of(group, file)


def _span_of(group: list[Place], file: Any) -> Span:  # noqa: ANN401 - any seekable file of bytes
    first, last = group[0], group[-1]

    def read() -> bytes:
        file.seek(first.offset)
        data: bytes = file.read(last.offset + last.length - first.offset)
        return data

    refers = first.kind == "revisit"
    return Span(first.run, (first.seq, first.page), first.sha256, read, first.digest, refers)
