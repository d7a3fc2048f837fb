"""Before and after a run, in its parent: places made ready, orphans taken away, Parquet written.

A body is written before its record. So a killed worker can leave bodies that no record tells of;
their targets are fetched again. What no record of the log accounts for is taken out of the file, by
writing it anew beside it and moving it there; of bodies that are there twice the last one stays.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from crawler.bodies.appender import Appender, end_path, settle_end
from crawler.bodies.names import NamePattern
from crawler.bodies.packing import pack, packing_of, unpacked
from crawler.bodies.parquet import check_parquet, write_bodies
from crawler.bodies.rows import decode_body
from crawler.bodies.sinks import move, rows_path, waiting_folder
from crawler.bodies.warc import warc_info
from crawler.bodies.warc_reading import check_warcio, places
from crawler.body_plan import Bodies
from crawler.codec import parse
from crawler.errors import UsageError
from crawler.files import whole_or_not
from crawler.log import cannot, read_lines

Accounted = Counter[tuple[int, str]]
"""How many records of a run tell of a body: by the target's number and the body's digest."""


def prepare(plan: Bodies, log: Path | None, *, resumed: bool) -> None:
    """Make the place ready; raises ``CrawlError`` where bodies cannot be written there.

    The whole of a file is looked at only if a run of ours may have left it torn.
    """
    NamePattern.parse(plan.name, plan.fanout)
    if plan.folder is not None:
        _prepare_folder(Path(plan.folder))
        return
    path = rows_path(plan)
    if log is not None and path.resolve() == log.resolve():
        raise UsageError(f"--bodies {path}: that is the record log; give another file")
    if path.is_dir():
        raise UsageError(f"--bodies {path} is a directory; give a file in it, or --save-bodies")
    if plan.form == "parquet":
        check_parquet()
    if plan.form == "warc":
        check_warcio()
    else:
        packing_of(str(path))
    left = resumed or end_path(path).exists()
    settle_end(path)
    if path.exists() and (left or not _ends_well(path, plan)):
        _cut_torn(path, plan)
    appender = Appender(path)
    if plan.form == "warc" and path.stat().st_size == 0:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        appender.append(warc_info(str(path), now))
    appender.close()


def _prepare_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise cannot("make", folder, exc) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"--save-bodies {folder}: it may not be written; check its permissions")


def _ends_well(path: Path, plan: Bodies) -> bool:
    """Tell whether an unpacked file ends as its last block should."""
    end = b"\r\n\r\n" if plan.form == "warc" else b"\n"
    size = path.stat().st_size
    if not size or path.suffix in (".gz", ".zst"):
        return True
    with path.open("rb") as file:
        file.seek(max(0, size - len(end)))
        return file.read() == end


def _cut_torn(path: Path, plan: Bodies) -> None:
    """Cut off the last block if it is not whole: left by a crash of the machine, or cut by hand."""
    end = 0
    if plan.form == "warc":
        for place in places(path):
            end = place.offset + place.length
    else:
        for offset, length, _ in unpacked(path, packing_of(str(path))):
            end = offset + length
    if end < path.stat().st_size:
        try:
            os.truncate(path, end)
        except OSError as exc:
            raise cannot("repair", path, exc) from None


def conclude(plan: Bodies, run: str, log: Path | None, *, disturbed: bool) -> None:
    """End it; a ``disturbed`` run (resumed, or a worker died) without what no record knows."""
    if plan.folder is not None:
        _conclude_folder(Path(plan.folder), run, log)
        return
    path = rows_path(plan)
    settle_end(path)
    if disturbed and log is not None:
        _take_orphans_out(path, plan, run, accounted(log, run))
    if plan.form == "parquet":
        assert plan.file is not None
        write_bodies(Path(plan.file), path, run)


def accounted(log: Path, run: str) -> Accounted:
    """Count what the log says of a run's bodies."""
    count: Accounted = Counter()
    for line in read_lines(log):
        row = parse(line)
        if row["run"] == run and row.get("body") and row.get("sha256"):
            count[row["seq"], row["sha256"]] += 1
    return count


def _conclude_folder(folder: Path, run: str, log: Path | None) -> None:
    """Name the bodies whose record came into the log as their worker died; drop the others."""
    waiting = waiting_folder(folder, run)
    left = {int(p.name): p for p in waiting.glob("*") if p.name.isdigit()}
    if left and log is not None:
        names: dict[int, str] = {}
        for line in read_lines(log):
            row = parse(line)
            if row["run"] == run and row["seq"] in left and row.get("body"):
                names[row["seq"]] = row["body"]
        for seq, name in names.items():
            move(str(left[seq]), name)
    shutil.rmtree(waiting, ignore_errors=True)


def _take_orphans_out(path: Path, plan: Bodies, run: str, count: Accounted) -> None:
    kinds = {"warc": _warc_spans, "jsonl": _row_spans, "parquet": _row_spans}
    spans = kinds[plan.form]
    found: Accounted = Counter(
        (seq, digest) for owner, seq, digest, _ in spans(path) if owner == run and seq >= 0
    )
    surplus = found - count
    if not surplus:
        return
    try:
        with whole_or_not(path) as part, part.open("wb") as file:
            for owner, seq, digest, read in spans(path):
                if owner == run and surplus[seq, digest] > 0:  # the first ones: the last stay
                    surplus[seq, digest] -= 1
                else:
                    file.write(read())
    except OSError as exc:
        raise cannot("settle", path, exc) from None


Span = tuple[str, int, str, Callable[[], bytes]]
"""Run, number and digest of a body, and what reads its bytes as they are to be written."""


def _row_spans(path: Path) -> Iterator[Span]:
    packing = packing_of(str(path))
    for _, _, block in unpacked(path, packing):
        for line in block.splitlines(keepends=True):
            body = decode_body(line)
            yield body.run, body.seq, body.sha256, lambda line=line: pack(line, packing)  # type: ignore[misc]


def _warc_spans(path: Path) -> Iterator[Span]:
    """A target's request, response and metadata stand together and are one span."""
    with path.open("rb") as file:

        def reader(start: int, end: int) -> Callable[[], bytes]:
            def read() -> bytes:
                file.seek(start)
                return file.read(end - start)

            return read

        begun: tuple[str, int, str, int, int] | None = None
        for place in places(path):
            starts = place.kind not in ("request", "metadata")
            if begun is not None and starts:
                yield (*begun[:3], reader(*begun[3:]))
                begun = None
            end = place.offset + place.length
            if begun is None:
                begun = (place.run, place.seq, place.sha256, place.offset, end)
            else:
                begun = (*begun[:4], end)
        if begun is not None:
            yield (*begun[:3], reader(*begun[3:]))
