"""JSON with its numbers as they are written: neither 64 bits nor a double cuts their digits.

A text without such numbers is read as quickly as any other; the values are the same. What a double
cannot hold becomes a ``Decimal``. (RFC 8259, section 6, sets no limit and warns that readers do.)
"""

from __future__ import annotations

import json
import re
from decimal import Context, Decimal
from typing import Any, Final
from uuid import uuid4

from crawler.codec import decode_row

_BOM: Final = b"\xef\xbb\xbf"
_SHAPE: Final = bytes(
    ord("0") if byte in b"0123456789." else ord("e") if byte in b"eE" else ord("-") if byte in b"+-"
    else ord(" ")
    for byte in range(256)
)  # fmt: skip
_LONG: Final = (b"0" * 16, b"0e000", b"0e-000")
"""The shapes of what may be a number of more digits, or further from 1, than a double keeps."""
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_MOST_DIGITS: Final = 4000
"""Digits of a whole number that ``int`` is asked to read (it refuses over 4,300)."""
_FURTHEST: Final = 1000
_SHOWN: Final = 40
_LONGEST: Final = 100
"""Digits before the point from which a number is written with an exponent."""
_MARK: Final = uuid4().hex


def number(text: str) -> float | Decimal:
    """Read a decimal: a float where that is all of it, else a ``Decimal``.

    Raises ``ValueError`` beyond 10 to the power of 1,000: whoever made it a whole number would
    write digits for hours.
    """
    value, exact = float(text), Decimal(text)
    if abs(exact.adjusted()) > _FURTHEST and exact:
        raise ValueError(f"{text[:_SHOWN]} is too far from 1 to be reckoned with")
    if Decimal(repr(value)) == exact:
        return value
    return exact.normalize(Context(prec=len(text)))  # 1.10 and 1.1 are one value


def read_json(data: bytes) -> Any:  # noqa: ANN401
    """Read a JSON text in UTF-8; a byte order mark before it is left out (RFC 8259, section 8.1).

    Raises ``ValueError`` for what is no JSON, ``RecursionError`` for what is nested too deeply.
    """
    data = data.removeprefix(_BOM)
    shape = data.translate(_SHAPE)  # a tenth of what a regular expression takes
    if not any(long in shape for long in _LONG):
        return decode_row(data)
    try:
        value = json.loads(
            data.decode("utf-8"), parse_int=_whole, parse_float=number, parse_constant=_refused
        )
    except ArithmeticError as exc:  # an exponent beyond Decimal's
        raise ValueError(f"no number that can be read: {exc}") from None
    if _SURROGATE.search(data):
        write_json(value).encode("utf-8")  # half of a pair is a UnicodeError, which is a ValueError
    return value


def _whole(text: str) -> int | Decimal:
    return int(text) if len(text) <= _MOST_DIGITS else Decimal(text)


def _refused(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


def write_json(
    value: Any,  # noqa: ANN401 - whatever JSON holds
    *,
    indent: int | None = None,
    sort_keys: bool = False,
) -> str:
    """Write what ``read_json`` gave, compactly without ``indent``; raises ``RecursionError``."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(
        value, indent=indent, sort_keys=sort_keys, separators=separators, ensure_ascii=False,
        default=_marked,
    )  # fmt: skip
    return re.sub(f'"{_MARK}([^"]+)"', r"\1", text) if _MARK in text else text


def _marked(value: object) -> str:
    """Have a Decimal written as a text that is told from all others, to be freed of its quotes."""
    if isinstance(value, Decimal):
        plain = 0 <= value.adjusted() < _LONGEST
        return f"{_MARK}{value:f}" if plain else f"{_MARK}{value}"
    raise TypeError(f"{type(value).__name__} is no JSON")
