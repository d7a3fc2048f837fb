"""Before a run, in its parent: the place of bodies is made ready, and nothing of others is touched.

A file that is there must be one that bodies were written to; what a killed run left torn at its end
is cut off, anything else that is wrong with it ends the run before it begins.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from crawler.bodies.appender import Appender, forget_end
from crawler.bodies.names import NamePattern
from crawler.bodies.packing import Packing, beginning, packing_of, unpacked
from crawler.bodies.parquet import check_parquet, holds_bodies
from crawler.bodies.rows import ROW_START, decode_body
from crawler.bodies.sinks import rows_path
from crawler.bodies.warc import warc_info
from crawler.bodies.warc_reading import check_warcio, places
from crawler.body_plan import Bodies
from crawler.errors import UsageError
from crawler.log import cannot

_HEAD_BYTES: Final = 1 << 16
_WARC_START: Final = b"WARC/1."


def check_place(plan: Bodies, others: tuple[Path, ...]) -> None:
    """Refuse a place that cannot be, or where one of the run's ``others`` is. ``UsageError``."""
    NamePattern.parse(plan.name, plan.fanout)
    if plan.file is not None:
        _check_file(Path(plan.file), rows_path(plan), others)


def prepare(plan: Bodies, *, resumed: bool) -> None:
    """Make the place ready; raises ``CrawlError`` where bodies cannot be written there.

    The whole of a file is looked at only if a run of ours may have left it torn.
    """
    if plan.folder is not None:
        _prepare_folder(Path(plan.folder))
        return
    assert plan.file is not None
    path = rows_path(plan)
    _check_extras(plan, path)
    _check_is_ours(Path(plan.file), path, plan)
    left = forget_end(path) or resumed
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


def _check_file(file: Path, rows: Path, others: tuple[Path, ...]) -> None:
    taken = {other.resolve() for other in others}
    if {file.resolve(), rows.resolve()} & taken:
        raise UsageError(f"--bodies {file}: the records go there (--out); give another file")
    if file.is_dir():
        raise UsageError(f"--bodies {file} is a directory; give a file in it, or --save-bodies")
    if not file.parent.is_dir():
        raise UsageError(f"--bodies {file}: {file.parent} is no directory; make it first")


def _check_extras(plan: Bodies, path: Path) -> None:
    if plan.form == "parquet":
        check_parquet()
    if plan.form == "warc":
        check_warcio()
    else:
        packing_of(str(path))


def _check_is_ours(file: Path, rows: Path, plan: Bodies) -> None:
    """Refuse a file that holds something else: by its first block, or the start of a torn one."""
    if plan.form == "parquet" and file.exists() and not holds_bodies(file):
        raise _foreign(file)
    if not rows.exists() or not rows.stat().st_size:
        return
    packing = packing_of(str(rows))
    head = beginning(rows, packing, _HEAD_BYTES)
    warc = plan.form == "warc"
    if not (_begins(head, _WARC_START) if warc else _has_rows(rows, packing, head)):
        raise _foreign(rows)


def _has_rows(path: Path, packing: Packing, head: bytes) -> bool:
    if not _begins(head, ROW_START):
        return False
    for _, _, block in unpacked(path, packing):
        try:
            decode_body(block.partition(b"\n")[0])
        except ValueError:
            return False
        break
    return True


def _begins(head: bytes, start: bytes) -> bool:
    """Tell whether a file begins so, as far as it was written before a crash."""
    return head.startswith(start) or start.startswith(head.rstrip(b"\0"))


def _foreign(path: Path) -> UsageError:
    return UsageError(
        f"--bodies {path}: what is in it was not written by --bodies; nothing was changed: "
        "give another file"
    )


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
