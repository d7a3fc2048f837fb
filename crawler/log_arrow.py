"""Lines of a log as columns, fast: by pyarrow's JSON reader, where that extra is installed.

It takes only what our own writer writes, and is to agree with ``log_columns`` to the last bit. Text
that is in any way odd (a line that is no object, a number that is no number, a null where there is
to be a value, a key twice, NaN) is left to the line reader, which knows what to say of it.

Measured on 1,000,000 records (500 MB, two cores): see docs/report.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from crawler.blocks import Bools, Ints
from crawler.log_columns import (
    ERROR_CODES,
    NEVER_NULL,
    NUMBERS,
    PARTS_OF_URL,
    TEXTS,
    TIMES,
    Codes,
    Columns,
    canonical_s,
    key_field,
)
from crawler.record import STAGE, WARMUP

if TYPE_CHECKING:
    from collections.abc import Callable

_NEWLINE, _OPENING, _CLOSING = b"\n{}"
_NOT_JSON: Final = (b"NaN", b"Infinity")
"""No JSON, but this reader would pass it in columns that are not needed."""
_STAMP_LENGTH: Final = 27
_LONGEST_LINE: Final = 1 << 20


class Odd(Exception):
    """Text that is not what our own writer writes."""


class ArrowReader:
    """Reads whole lines, for groups by ``group_by``; raises ``ImportError`` without pyarrow."""

    __slots__ = ("_arrow", "_compute", "_group_by", "_json", "_options", "_reading")

    def __init__(self, group_by: str) -> None:
        import pyarrow
        import pyarrow.compute
        import pyarrow.json

        self._arrow, self._compute, self._json = pyarrow, pyarrow.compute, pyarrow.json
        self._group_by = group_by
        kinds = {name: pyarrow.string() for name in (*TEXTS, STAGE, key_field(group_by))}
        kinds |= {name: pyarrow.float64() for name in TIMES}
        kinds |= {name: pyarrow.int64() for name in NUMBERS}
        self._options = pyarrow.json.ParseOptions(
            explicit_schema=pyarrow.schema({**kinds, "reused": pyarrow.bool_()}),
            unexpected_field_behavior="ignore",
        )
        self._reading = pyarrow.json.ReadOptions(use_threads=False, block_size=_LONGEST_LINE)

    def read(self, data: bytes) -> Columns:
        """Give the columns of all of ``data``; raises ``Odd``."""
        lines = _checked(data)
        try:
            table = self._json.read_json(
                self._arrow.BufferReader(data),
                read_options=self._reading,
                parse_options=self._options,
            )
        except self._arrow.ArrowInvalid as exc:
            raise Odd from exc
        if len(table) != lines:
            raise Odd
        return self._columns({name: table[name].combine_chunks() for name in table.column_names})

    def _columns(self, at: dict[str, Any]) -> Columns:
        urls, details = at["url"], at["detail"]
        for name in (*NEVER_NULL, "reused"):
            if at[name].null_count:
                raise Odd
        seq = _integers(at["seq"], 0)
        times_ms = np.column_stack([_numbers(at[name], np.float64, 0.0) for name in TIMES])
        if seq.min() < 0 or not np.isfinite(times_ms).all():
            raise Odd
        return Columns(
            run=_coded(at["run"]),
            key=self._key(at),
            seq=seq,
            started_s=self._started_s(at["started"]),
            times_ms=times_ms,
            status=_integers(at["status"], 0),
            error=_error_codes(at["error"]),
            bytes=_integers(at["bytes"], 0),
            reused=_bits(at["reused"], 1),
            sent=_integers(at["attempts"], 1) > 0,
            warmup=_is_warmup(at[STAGE]),
            url=_text_of(urls),
            detail=_text_of(details),
        )

    def _key(self, at: dict[str, Any]) -> Codes:
        texts = at[key_field(self._group_by)]
        if self._group_by in PARTS_OF_URL:
            texts = self._compute.replace_substring_regex(texts, r"(?s)\?.*", "")
        elif key_field(self._group_by) in NUMBERS:
            texts = texts.cast(self._arrow.string())
        return _coded(texts)

    def _started_s(self, started: Any) -> Any:  # noqa: ANN401 - pyarrow has no types
        lengths = self._compute.min_max(self._compute.binary_length(started)).as_py()
        if set(lengths.values()) != {_STAMP_LENGTH}:
            raise Odd
        first = started.offset
        start = np.frombuffer(started.buffers()[1], np.int32)[first]
        text = np.frombuffer(started.buffers()[2], np.uint8)
        parsed = canonical_s(text[start : start + _STAMP_LENGTH * len(started)])
        if parsed is None:
            raise Odd
        return parsed


def _checked(data: bytes) -> int:
    """Count the lines; raises ``Odd`` unless each begins with { and ends with }.

    Then each begins an object of its own (a } cannot be followed by a { inside of one), and as
    many objects as lines are one a line. Text is to be UTF-8, which pyarrow does not look at.
    """
    chars = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(chars == _NEWLINE)
    starts = ends[:-1] + 1
    if chars[0] != _OPENING or not (chars[starts] == _OPENING).all():
        raise Odd
    if ends[0] == 0 or not (chars[ends - 1] == _CLOSING).all():
        raise Odd
    if any(word in data for word in _NOT_JSON):
        raise Odd
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as exc:
            raise Odd from exc
    return len(ends)


def _coded(texts: Any) -> Codes:  # noqa: ANN401
    """The texts as codes, "" for null."""
    coded = texts.dictionary_encode()
    names = tuple(coded.dictionary.to_pylist())
    if not texts.null_count:
        return Codes(_numbers(coded.indices, np.int32, 0).astype(np.int64), names)
    codes = _numbers(coded.indices, np.int32, len(names)).astype(np.int64)
    return Codes(codes, (*names, ""))


def _error_codes(errors: Any) -> Ints:  # noqa: ANN401
    codes, names = _coded(errors)
    if "" in names and errors.null_count < (codes == names.index("")).sum():
        raise Odd  # an error that is named ""
    known = [ERROR_CODES.get(name or None) for name in names]
    if None in known:
        raise Odd
    found: Ints = np.array(known, dtype=np.int64)[codes]
    return found


def _is_warmup(stage: Any) -> Bools:  # noqa: ANN401
    codes, names = _coded(stage)
    return np.array([name == WARMUP for name in names])[codes]


def _integers(values: Any, absent: int) -> Ints:  # noqa: ANN401
    found: Ints = _numbers(values, np.int64, absent)
    return found


def _numbers(values: Any, kind: Any, absent: float) -> Any:  # noqa: ANN401
    """The numbers with ``absent`` for null. By buffer: pyarrow's own ways load pandas."""
    if values.null_count == len(values):
        return np.full(len(values), absent, kind)
    numbers = np.frombuffer(values.buffers()[1], kind)[values.offset :][: len(values)]
    if not values.null_count:
        return numbers
    return np.where(_bits(values, 0), numbers, absent).astype(kind)


def _bits(values: Any, buffer: int) -> Bools:  # noqa: ANN401
    """A bit a row: of buffer 0 whether there is a value, of a boolean column's buffer 1 the value.

    See the Arrow columnar format, "Validity bitmaps" and "Fixed-size primitive layout".
    """
    packed = np.frombuffer(values.buffers()[buffer], np.uint8)
    bits = np.unpackbits(packed, bitorder="little")[values.offset :][: len(values)]
    return bits.astype(np.bool_)


def _text_of(texts: Any) -> Callable[[int], str]:  # noqa: ANN401
    return lambda row: texts[row].as_py() or ""
