"""The record log of all pulls, put aside when it is large or old: ``record-MOMENT.log.gz``.

It is moved, packed beside and only then removed, so a record is in at least one file at any time;
what a killed pull left between the steps is packed by the next one.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import time
from datetime import datetime
from pathlib import Path
from typing import Final

from crawler.codec import BadLineError, parse
from crawler.log import cannot
from crawler.pull.durable import Workshop
from crawler.pull.job import LogPlan

LOG_NAME: Final = "record.log"
_ASIDE: Final = "record-*.log"


def rotate(workshop: Workshop, plan: LogPlan, now_s: float) -> None:
    """Put the log aside if it is time, and delete what was put aside long ago.

    Raises ``LogError``.
    """
    folder = workshop.folder
    log = folder / LOG_NAME
    try:
        if _is_due(log, plan, now_s):
            os.rename(log, folder / f"record-{_moment(now_s)}.log")
    except OSError as exc:
        raise cannot("put aside", log, exc) from None
    for path in sorted(folder.glob(_ASIDE)):
        _pack(workshop, path)
    for path in folder.glob(f"{_ASIDE}.gz"):
        with contextlib.suppress(OSError):
            if now_s - path.stat().st_mtime > plan.keep_s:
                path.unlink()


def logs_of(folder: Path) -> list[Path]:
    """Give all of a job's logs, oldest first."""
    packed = sorted(folder.glob(f"{_ASIDE}.gz"))
    aside = [path for path in sorted(folder.glob(_ASIDE)) if _packed(path) not in packed]
    log = folder / LOG_NAME
    return [*packed, *aside, *([log] if log.exists() else [])]


def _is_due(log: Path, plan: LogPlan, now_s: float) -> bool:
    try:
        size = log.stat().st_size
        with log.open("rb") as file:
            first = file.readline()
    except FileNotFoundError:
        return False
    return size > plan.most_bytes or (size > 0 and _age_s(first, now_s) > plan.most_s)


def _age_s(line: bytes, now_s: float) -> float:
    """Give the age of a log by its first record; 0 where that tells none."""
    try:
        return now_s - datetime.fromisoformat(str(parse(line).get("started"))).timestamp()
    except (BadLineError, ValueError):
        return 0.0


def _moment(now_s: float) -> str:
    whole_s, part_s = divmod(now_s, 1)
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(whole_s)) + f"{int(part_s * 1000):03d}Z"


def _packed(path: Path) -> Path:
    return path.with_name(path.name + ".gz")


def _pack(workshop: Workshop, path: Path) -> None:
    with (
        workshop.writing(_packed(path)) as part,
        path.open("rb") as plain,
        gzip.open(part, "wb") as packed,
    ):
        shutil.copyfileobj(plain, packed)
    path.unlink()
