"""Files that are written whole or not at all: a reader never sees half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
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


@contextlib.contextmanager
def whole_or_not(path: Path) -> Iterator[Path]:
    """Give a place beside ``path``; what was written there is moved to it unless anything fails."""
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    try:
        yield part
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def _umask() -> int:
    """Read the mask of new files; the one way to is to set it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def check_output(option: str, path: Path, logs: Iterable[Path]) -> None:
    """Refuse, before anything is done, an output that is one of ``logs`` or has no directory.

    Raises ``UsageError``.
    """
    if any(path.resolve() == log.resolve() for log in logs):
        raise UsageError(f"{option} {path} would replace a log; give another file")
    if path.is_dir():
        raise UsageError(f"{option} {path} is a directory; give a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: {path.parent} is no directory; make it first")
