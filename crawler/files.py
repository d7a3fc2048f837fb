"""Files that are written whole or not at all: a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from crawler.errors import UsageError
from crawler.log import cannot


def write_whole(path: Path, data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it there; raises ``LogError``."""
    temporary: str | None = None
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, a pipe: there is nothing to rename
            path.write_bytes(data)
            return
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as exc:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise cannot("write", path, exc) from None


def _umask() -> int:
    """Read the mask of new files; the one way to is to set it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def check_output(option: str, path: Path, taken: Iterable[Path]) -> None:
    """Refuse, before anything is done, an output that is ``taken`` or has no directory.

    Raises ``UsageError``.
    """
    for other in taken:
        if path.resolve() == other.resolve():
            raise UsageError(f"{option} {path}: that is the record log; give another file")
    if path.is_dir() or not path.parent.is_dir():
        what = "it is a directory" if path.is_dir() else "its directory is not there"
        raise UsageError(f"{option} {path}: cannot write it: {what}")
