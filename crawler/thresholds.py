"""Thresholds as a user writes them: what a benchmark must hold, as ``p95<300ms,errors<1%``.

Reading one is pure and light; ``verdicts`` holds it against what was measured.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from crawler.durations import seconds_of
from crawler.pieces import Piece
from crawler.samples import PHASES
from crawler.schedule import per_s_of

Kind = Literal["percentile", "mean", "min", "max", "share", "failures", "rate"]

EXAMPLE: Final = "give it as p95<300ms, errors<1% or rate>450/s"
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TIMES: Final = ("service", "response", "lag", *PHASES)
_MARK: Final = re.compile(r"[<>=!≤≥]+")
_PERCENTILE: Final = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,6})?)")
_SHARE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?)\s?%")
_COUNT: Final = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Threshold:
    """One limit, as ``text`` gives it: ``kind comparison limit``.

    ``limit`` is milliseconds, a share from 0 to 1, failures or requests a second, by ``kind``.
    ``of`` is the time that a latency is of, "" for the report's main one; ``q`` is a percentile's
    fraction, 0 for another kind.
    """

    text: str
    kind: Kind
    of: str
    q: float
    comparison: str
    limit: float

    def holds(self, value: float) -> bool:
        """Whether ``value`` is on the right side of the limit; NaN never is."""
        return _COMPARISONS[self.comparison](value, self.limit)


def parse_thresholds(text: str, option: str = "--fail-on") -> tuple[Threshold, ...]:
    """Read ``p95<300ms``, ``service.p99.9<=1s``, ``errors<1%``, ``rate>450/s``; commas part them.

    Raises ``UsageError`` naming the option, the column and an example of the right form.
    """
    return tuple(_threshold(piece) for piece in Piece.of(text, option).split(","))


def parse_limit(name: str, limit: object, option: str) -> Threshold:
    """Read ``p95`` and ``200ms`` as ``p95<=200ms``; of a rate the limit is the least.

    In ``name``, which may be that of an argument, underscores stand for dots (``p99_9``). The limit
    may bring its own comparison. Raises ``UsageError``.
    """
    subject, bound = name.replace("_", "."), str(limit).strip()
    mark = "" if _MARK.match(bound) else ">=" if subject == "rate" else "<="
    return _threshold(Piece.of(f"{subject}{mark}{bound}", option))


def _threshold(piece: Piece) -> Threshold:
    mark = _MARK.search(piece.text)
    if mark is None:
        raise piece.wrong("has no limit: there is no <, <=, > or >=", EXAMPLE)
    if mark[0] not in _COMPARISONS:
        raise piece.part(*mark.span()).wrong("is no comparison (<, <=, > or >=)", EXAMPLE)
    subject = piece.part(0, mark.start())
    limit = piece.part(mark.end(), len(piece.text))
    if subject.text == "errors":
        kind, value = _errors(limit)
        return Threshold(piece.text, kind, "", 0.0, mark[0], value)
    if subject.text == "rate":
        return Threshold(piece.text, "rate", "", 0.0, mark[0], per_s_of(limit, EXAMPLE))
    of, metric = _time(subject)
    latency, q = _latency(metric)
    return Threshold(piece.text, latency, of, q, mark[0], _milliseconds(limit))


def _errors(limit: Piece) -> tuple[Kind, float]:
    share = _SHARE.fullmatch(limit.text)
    if share is not None and float(share[1]) <= 100:
        return "share", float(Decimal(share[1]) / 100)
    if _COUNT.fullmatch(limit.text):
        return "failures", float(limit.text)
    raise limit.wrong("is no share up to 100% and no count", "give it as errors<1% or errors<=10")


def _time(subject: Piece) -> tuple[str, Piece]:
    """Tell ``service.p99.9`` from ``p99.9``."""
    head, dot, _ = subject.text.partition(".")
    if not dot or (head[:1] == "p" and head[1:].isdigit()):
        return "", subject
    if head not in _TIMES:
        raise subject.part(0, len(head)).wrong(f"is no time: {', '.join(_TIMES)} are", EXAMPLE)
    return head, subject.part(len(head) + 1, len(subject.text))


def _latency(metric: Piece) -> tuple[Kind, float]:
    match metric.text:
        case "mean" | "min" | "max" as kind:
            return kind, 0.0
    percentile = _PERCENTILE.fullmatch(metric.text)
    if percentile is not None and Decimal(percentile[1]):
        return "percentile", float(Decimal(percentile[1]) / 100)
    raise metric.wrong(
        "is nothing that is measured: p0.1 to p99.9999, mean, min, max, errors and rate are",
        EXAMPLE,
    )


def _milliseconds(limit: Piece) -> float:
    seconds = seconds_of(limit.text)
    if seconds is None:
        raise limit.wrong("is no duration", EXAMPLE)
    if limit.text[-1:].isdigit():
        raise limit.wrong("has no unit (us, ms, s or m)", EXAMPLE)
    return round(seconds * 1000, 9)
