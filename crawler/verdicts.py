"""Whether a benchmark held its thresholds, in words that are the same wherever they are read.

The point estimate decides, so that a threshold is either held or broken; a limit that lies within
the 95 % confidence interval of what was measured is said to. What cannot be measured is broken: a
server that answered nothing held no promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, inf, isnan, log10, nan
from typing import TYPE_CHECKING, Final, NamedTuple

from crawler.histogram import Histogram, support_needed, supported
from crawler.intervals import mean_bounds, quantiles, share_bounds
from crawler.samples import PHASES

if TYPE_CHECKING:
    from crawler.figures import Figures
    from crawler.thresholds import Kind, Threshold

_MOST_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a threshold, in the unit of its limit.

    ``low`` and ``high`` bound ``measured`` with 95 % confidence; NaN where that bound is not known,
    and of a count, a rate, a minimum or a maximum, which are what they are.
    ``grey`` tells that the limit lies between them: another run could end differently. ``words``
    are a line that says all of it.
    """

    threshold: Threshold
    measured: float
    low: float
    high: float
    passed: bool
    grey: bool
    words: str


class _Measured(NamedTuple):
    """A figure with its bounds; ``facts`` are told of it, ``doubts`` of how far to trust it."""

    value: float
    low: float
    high: float
    facts: str = ""
    doubts: str = ""
    missing: str = ""
    is_fact: bool = False


def judge(threshold: Threshold, figures: Figures, main: Histogram) -> Verdict:
    """Hold a threshold against ``figures``; ``main`` has the latencies where it names no other."""
    found = _measure(threshold, figures, main)
    passed = threshold.holds(found.value)
    grey = _in_doubt(threshold, found)
    words = f"{threshold.text}: {'held' if passed else 'broken'}: "
    words += found.missing or _words(threshold, found, _label(threshold, figures, main), grey=grey)
    return Verdict(threshold, found.value, found.low, found.high, passed, grey, words)


def _in_doubt(threshold: Threshold, found: _Measured) -> bool:
    """Whether the limit is within the bounds; that no request ever fails can never be shown."""
    if found.missing or found.is_fact or (threshold.kind, threshold.limit) == ("share", 0):
        return False
    low = -inf if isnan(found.low) else found.low
    high = inf if isnan(found.high) else found.high
    return low <= threshold.limit <= high


def _measure(threshold: Threshold, figures: Figures, main: Histogram) -> _Measured:
    total = figures.total
    if threshold.kind == "rate":
        return _rate(figures)
    if threshold.kind in ("share", "failures"):
        if not total.requests:
            return _missing("no request was made")
        return _failures(threshold.kind, total.failed, total.requests)
    times = _times_of(threshold.of, figures, main)
    if times.count:
        return _of_times(threshold, times)
    if threshold.of in ("", "service", "response"):
        return _missing(f"no request of {total.requests:,} succeeded, so there is no latency")
    return _missing(f"no {threshold.of} was measured")


def _missing(why: str) -> _Measured:
    return _Measured(nan, nan, nan, missing=why)


def _fact(value: float, facts: str = "") -> _Measured:
    return _Measured(value, nan, nan, facts, is_fact=True)


def _rate(figures: Figures) -> _Measured:
    rate = figures.rate_per_s
    if isnan(rate):
        return _missing("there is no rate: nothing took any time")
    facts = f"{figures.total.requests:,} requests in {_scaled(figures.wall_s * 1000, 3)}"
    return _fact(rate, facts)


def _failures(kind: Kind, failed: int, requests: int) -> _Measured:
    facts = f"{failed:,} of {requests:,} failed"
    if kind == "failures":
        return _fact(failed, facts)
    return _Measured(failed / requests, *share_bounds(failed, requests), facts)


def _times_of(of: str, figures: Figures, main: Histogram) -> Histogram:
    named = {"": main, "service": figures.total.service, "response": figures.total.response}
    named |= {"lag": figures.lag, **dict(zip(PHASES, figures.phases, strict=True))}
    return named[of]


def _of_times(threshold: Threshold, times: Histogram) -> _Measured:
    if threshold.kind == "percentile":
        return _percentile(threshold.q, times)
    if threshold.kind == "mean":
        bounds = mean_bounds(times)
        few = f"too few for a margin of error: {times.count}" if isnan(bounds[0]) else ""
        return _Measured(times.mean, *bounds, doubts=few)
    return _fact(times.min if threshold.kind == "min" else times.max)


def _percentile(q: float, times: Histogram) -> _Measured:
    """Give the percentile of nearest rank, however small the sample, and say how small."""
    (found,) = quantiles(times, (q,))
    doubts = ""
    if not supported(q, times.count):
        doubts = f"too few samples: {times.count:,} where {support_needed(q):,} are needed"
    return _Measured(times.percentile(q), found.low_ms, found.high_ms, doubts=doubts)


def _label(threshold: Threshold, figures: Figures, main: Histogram) -> str:
    """Say which latency was meant, where the threshold does not."""
    if threshold.of or threshold.kind in ("share", "failures", "rate"):
        return ""
    return "response time " if main is figures.total.response else "service time "


def _words(threshold: Threshold, found: _Measured, label: str, *, grey: bool) -> str:
    digits = _digits_to_tell(threshold, found.value)
    text = label + _value(threshold.kind, found.value, digits)
    span = _span(threshold.kind, found, digits)
    if grey and span:
        facts = f" ({found.facts})" if found.facts else ""
        text += f"{facts}, within the margin of error: {span}"
    else:
        told = [found.facts, f"95 % confidence: {span}" if span else ""]
        text += f" ({'; '.join(filter(None, told))})" if any(told) else ""
    return f"{text}; {found.doubts}" if found.doubts else text


def _digits_to_tell(threshold: Threshold, value: float) -> int:
    """Three digits, or as many as tell a value from the limit that it is not equal to."""
    for digits in range(3, _MOST_DIGITS):
        told = [_value(threshold.kind, x, digits) for x in (value, threshold.limit)]
        if told[0] != told[1]:
            return digits
    return 3 if value == threshold.limit else _MOST_DIGITS


def _value(kind: Kind, value: float, digits: int) -> str:
    if kind == "failures":
        return f"{value:,.0f}"
    if kind == "share":
        return f"{_number(value * 100, digits)} %"
    return f"{_number(value, digits)}/s" if kind == "rate" else _scaled(value, digits)


def _span(kind: Kind, found: _Measured, digits: int) -> str:
    """The bounds in words, in the value's unit; "" where there are none."""
    unit, scale = ("%", 100.0) if kind == "share" else _scale(found.value)
    low, high = (
        "" if isnan(bound) else _number(bound * scale, digits) for bound in (found.low, found.high)
    )
    if low and high:
        return f"{low} {unit}" if low == high else f"{low}-{high} {unit}"
    return f"{low} {unit} or more" if low else f"{high} {unit} or less" if high else ""


def _scaled(ms: float, digits: int) -> str:
    unit, per_ms = _scale(ms)
    return f"{_number(ms * per_ms, digits)} {unit}"


def _scale(ms: float) -> tuple[str, float]:
    """The unit that suits a duration, and how many of it a millisecond has."""
    return ("µs", 1000) if ms < 1 else ("ms", 1) if ms < 1000 else ("s", 0.001)


def _number(value: float, digits: int) -> str:
    """``value`` to ``digits`` digits, whole numbers in full and without needless zeros."""
    if not value:
        return "0"
    decimals = max(0, digits - 1 - floor(log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
