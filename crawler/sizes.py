"""Sizes as a user writes them: ``1000``, ``100MB``, ``1MiB``, ``1.5GB``."""

from __future__ import annotations

import re
from typing import Final

from crawler.errors import UsageError

_DECIMAL: Final = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BINARY: Final = {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_BYTES: Final = {**_DECIMAL, **_BINARY}

# Digits are bounded so that no text, however long, costs time or overflows.
_NUMBER: Final = r"([0-9]{1,15})(?:\.([0-9]{1,9}))?"
_SIZE: Final = re.compile(_NUMBER + r"\s?([a-z]*)", re.IGNORECASE)


def size_bytes(text: str, option: str) -> int:
    """Bytes of ``1000``, ``100MB`` (10**6), ``1MiB`` (2**20), ``1.5GB``; cut to a whole byte."""
    match = _SIZE.fullmatch(text.strip())
    factor = _BYTES.get(match[3].lower()) if match else None
    if match is None or factor is None:
        raise UsageError(f"{option}: {text!r} is no size; give one as 100MB, 1MiB or 1000 (bytes)")
    fraction = match[2] or ""
    scaled = int(match[1] + fraction) * factor
    return scaled // int("1" + "0" * len(fraction))


def size_text(size: int) -> str:
    """Write a size as ``size_bytes`` reads it, in the largest decimal unit that divides it."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)
