"""Lines of a log as columns, by the one reader that is always there: JSON line by line.

A line counts when it is a record as ``codec.decode`` has it, in all fields that figures need; the
others are not looked at. An older log may lack any of them but ``run``, ``seq``, ``url``,
``started`` and ``elapsed_ms``. A line that does not count is named, and the others go on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from math import isfinite
from types import NoneType
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from crawler.blocks import Bools, Floats, Ints
from crawler.codec import BadLineError, fields_reader, kinds_of
from crawler.record import ERROR_CLASSES, STAGE, WARMUP

TIMES: Final = (
    "elapsed_ms",
    "dns_ms",
    "connect_ms",
    "tls_ms",
    "wait_ms",
    "receive_ms",
    "lag_ms",
)
NUMBERS: Final = ("seq", "status", "bytes", "attempts")
TEXTS: Final = ("run", "url", "error", "detail", "started")
NEEDED: Final = (*TEXTS, *NUMBERS, "reused", *TIMES)
"""The fields of a record that figures are made from."""
NEVER_NULL: Final = ("run", "seq", "url", "started", "elapsed_ms")
"""Those without which a line is in no figure."""

PARTS_OF_URL: Final = ("endpoint", "host", "path")
"""Groups that are named from a URL without its query."""
ERROR_CODES: Final[dict[str | None, int]] = {
    None: -1,
    **{name: code for code, name in enumerate(ERROR_CLASSES)},
}
_LINES_AT_ONCE: Final = 4096
"""Rows that Python holds at a time: more, and its garbage collector costs a third on top."""
_STAMP: Final = "2025-11-23T06:00:00.000001Z"
_DIGITS: Final = tuple(at for at, char in enumerate(_STAMP) if char.isdigit())
_MARKS: Final = tuple(at for at, char in enumerate(_STAMP) if not char.isdigit())
_MARK_BYTES: Final = np.frombuffer(_STAMP.encode(), np.uint8)[list(_MARKS)]


def key_field(group_by: str) -> str:
    """The field, own or carried, that holds what groups are named from."""
    return "url" if group_by in PARTS_OF_URL else group_by


class Codes(NamedTuple):
    """A column of texts that recur: ``codes`` index ``names``, a row each."""

    codes: Ints
    names: tuple[str, ...]


class BadLine(NamedTuple):
    """A line that is no record, and why; ``line`` counts from 0 where it was read."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """What figures need of some records, a row each, in the log's order.

    ``times_ms`` has a column for each of ``TIMES``. ``key`` holds the text that a row's group is
    named from: of a URL that of the endpoint or all, else that of a field, "" where there is none.
    ``url`` and ``detail`` give a row's text.
    """

    run: Codes
    key: Codes
    seq: Ints
    started_s: Floats
    times_ms: Floats
    status: Ints
    error: Ints
    bytes: Ints
    reused: Bools
    sent: Bools
    warmup: Bools
    url: Callable[[int], str]
    detail: Callable[[int], str]
    bad: tuple[BadLine, ...] = ()

    def __len__(self) -> int:
        return len(self.seq)

    @property
    def lines(self) -> int:
        """The lines that were read, those that are no records included."""
        return len(self) + len(self.bad)


class LineReader:
    """Reads lines with the codec, for groups by ``group_by``."""

    __slots__ = ("_group_by", "_read")

    def __init__(self, group_by: str) -> None:
        self._group_by = group_by
        self._read = fields_reader(NEEDED, (STAGE, key_field(group_by)))

    def read(self, data: bytes) -> Iterator[Columns]:
        """Yield the columns of whole lines, some thousand rows at a time."""
        lines = iter(data.split(b"\n")[:-1])
        while piece := list(islice(lines, _LINES_AT_ONCE)):
            yield self._columns(piece)

    def _columns(self, lines: Sequence[bytes]) -> Columns:
        try:
            return self._of_rows(list(map(self._read, lines)), ())
        except (BadLineError, OverflowError):
            return self._of_rows(*self._sifted(lines))

    def _sifted(self, lines: Sequence[bytes]) -> tuple[list[tuple[Any, ...]], tuple[BadLine, ...]]:
        """The rows that are records, and what is wrong with the others."""
        rows, bad = [], []
        for number, line in enumerate(lines):
            try:
                row = self._read(line)
                check_row(row)
            except BadLineError as exc:
                bad.append(BadLine(number, str(exc)))
            else:
                rows.append(row)
        return rows, tuple(bad)

    def _of_rows(self, rows: list[tuple[Any, ...]], bad: tuple[BadLine, ...]) -> Columns:
        values = list(zip(*rows, strict=True)) or [()] * (len(NEEDED) + 2)
        at = dict(zip(NEEDED, values, strict=False))
        for name, column in at.items():
            _check_kinds(name, set(map(type, column)))
        urls, details = at["url"], at["detail"]
        times = [_floats(at[name]) for name in TIMES]
        return Columns(
            run=_coded(at["run"]),
            key=_coded(_key_texts(self._group_by, values[-1])),
            seq=_from_zero(_integers(at["seq"], 0)),
            started_s=epoch_s(at["started"]),
            times_ms=finite(np.column_stack(times)),
            status=_integers(at["status"], 0),
            error=_error_codes(at["error"]),
            bytes=_integers(at["bytes"], 0),
            reused=np.array(at["reused"], dtype=np.bool_),
            sent=_integers(at["attempts"], 1) > 0,
            warmup=np.array([value == WARMUP for value in values[-2]], dtype=np.bool_),
            url=urls.__getitem__,
            detail=lambda row: details[row] or "",
            bad=bad,
        )


def check_row(row: Sequence[Any]) -> None:
    """Raise ``BadLineError``, saying why, when a row's values cannot be in columns."""
    for name, value in zip(NEEDED, row, strict=False):
        _check_kinds(name, {type(value)})
        if name in NUMBERS and value is not None and not -(2**63) <= value < 2**63:
            raise BadLineError(f"{name} is beyond 64 bits")
        if name == "seq" and value < 0:
            raise BadLineError("seq counts from 0, not so here")
        if name in TIMES and value is not None and not isfinite(value):
            raise BadLineError(f"{name} is not finite")
        if name == "error" and value not in ERROR_CODES:
            raise BadLineError(f"error {value!r} is no class that this version knows")
        if name == "started":
            _moment_s(value)


def epoch_s(stamps: Sequence[str]) -> Floats:
    """Seconds of the epoch of ISO 8601 texts, UTC where they name no zone.

    Raises ``BadLineError`` for a text that is none.
    """
    text = "".join(stamps)
    if text and len(text) == len(_STAMP) * len(stamps) and text.isascii():
        parsed = canonical_s(np.frombuffer(text.encode(), np.uint8))
        if parsed is not None:
            return parsed
    return np.array([_moment_s(stamp) for stamp in stamps], dtype=np.float64)


def canonical_s(text: npt.NDArray[np.uint8]) -> Floats | None:
    """Seconds of the epoch of times as our log writes them, one behind the other; else None."""
    chars = text.reshape(-1, len(_STAMP))
    digits = chars[:, _DIGITS] - np.uint8(ord("0"))  # what is below wraps around and is large
    if (digits > 9).any() or (chars[:, _MARKS] != _MARK_BYTES).any():
        return None
    try:
        stamps = np.ascontiguousarray(chars[:, :-1]).view(f"S{len(_STAMP) - 1}").reshape(-1)
        microseconds = stamps.astype("datetime64[us]").astype(np.int64)
    except ValueError:  # a 13th month
        return None
    seconds: Floats = microseconds / 1e6
    return seconds


def finite(times_ms: Floats) -> Floats:
    """``times_ms`` itself; ``BadLineError`` when one is not finite."""
    if not np.isfinite(times_ms).all():
        raise BadLineError("a time is not finite")
    return times_ms


def _moment_s(stamp: str) -> float:
    try:
        moment = datetime.fromisoformat(stamp)
    except ValueError:
        raise BadLineError(f"started {stamp[:40]!r} is no time as {_STAMP}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _check_kinds(name: str, kinds: set[type]) -> None:
    if not kinds <= _KINDS[name]:
        if kinds & {NoneType} and NoneType not in _KINDS[name]:
            raise BadLineError(f"lacks {name}, without which it is in no figure")
        wrong = min(kind.__name__ for kind in kinds - _KINDS[name])
        raise BadLineError(f"{name} cannot be of type {wrong}")


_KINDS: Final = {
    name: frozenset(kinds_of(name)) | (frozenset() if name in NEVER_NULL else {NoneType})
    for name in NEEDED
}


def _floats(values: Sequence[Any]) -> Floats:
    times = np.array(values, dtype=np.float64)
    times[np.isnan(times)] = 0.0  # a null, of an older log: numpy reads None so, JSON has no NaN
    return times


def _integers(values: Sequence[Any], absent: int) -> Ints:
    try:
        return np.array(values, dtype=np.int64)
    except TypeError:
        return np.array([absent if value is None else value for value in values], dtype=np.int64)


def _from_zero(seqs: Ints) -> Ints:
    if len(seqs) and seqs.min() < 0:
        raise BadLineError("seq counts from 0")
    return seqs


def _error_codes(values: Sequence[str | None]) -> Ints:
    try:
        return np.array([ERROR_CODES[value] for value in values], dtype=np.int64)
    except KeyError as exc:
        raise BadLineError(f"error {exc} is no class that this version knows") from None


def _coded(values: Sequence[str]) -> Codes:
    if len(set(values)) == 1:  # one run: the common case, at a tenth of the price
        return Codes(np.zeros(len(values), np.int64), (values[0],))
    places: dict[str, int] = {}
    index = [places.setdefault(value, len(places)) for value in values]
    return Codes(np.array(index, dtype=np.int64), tuple(places))


def _key_texts(group_by: str, values: Sequence[Any]) -> list[str]:
    if group_by in PARTS_OF_URL:
        return [value.partition("?")[0] for value in values]
    return ["" if value is None else str(value) for value in values]
