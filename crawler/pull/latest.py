"""``latest/``: of each target the newest version, as a whole file under a name that stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from crawler.pull.state import TargetState

LATEST: Final = "latest"
_UNFIT: Final = re.compile(r"[^A-Za-z0-9.-]+")
_ENDING: Final = re.compile(r"(?<=[^.])\.[A-Za-z0-9]{1,5}$")
_LONGEST: Final = 100


def latest_path(folder: Path, target: TargetState) -> Path:
    """Give the file that holds a target's newest version."""
    return folder / LATEST / (target.slug + (target.ending or ""))


def slug_of(key: str, page: int, taken: Callable[[str], bool]) -> str:
    """Name a target for files: what its URL says, made safe; told apart where that is taken."""
    rest = key.partition("://")[2] or key
    rest = rest.rpartition("@")[2] if "@" in rest.partition("/")[0] else rest
    stem = _UNFIT.sub("_", rest).strip("_.")
    if "/" in rest:  # the version's own ending comes behind it
        stem = _ENDING.sub("", stem)
    plain = (stem[:_LONGEST] or "target") + (f".page{page}" if page > 1 else "")
    if len(stem) <= _LONGEST and not taken(plain):
        return plain
    return f"{plain}-{sha256(f'{key} {page}'.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"
