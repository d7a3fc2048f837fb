"""The bar on stderr while a run lasts.

It shows the rate, ok and failed, and the p50 and p95 so far. Where stderr is no terminal nothing is
shown at all. The bar is drawn at most five times a second, and ``due`` lets a caller work out the
figures only then.
"""

from __future__ import annotations

import time
from math import isnan
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from crawler.bar import Bar
    from crawler.moment import Moment
    from crawler.samples import Live

REFRESH_S: Final = 0.2
"""Seconds between two drawings."""

_WITH_TOTAL: Final = (
    "{percentage:3.0f} %|{bar}| {n_fmt}/{total_fmt} {rate_noinv_fmt} <{remaining} {desc}"
)
_WITHOUT_TOTAL: Final = "{n_fmt} done in {elapsed}, {rate_noinv_fmt} {desc}"


_TIMED: Final = "{percentage:3.0f} %|{bar}| {elapsed} <{remaining}"
_OF_TOTAL: Final = "{percentage:3.0f} %|{bar}| {n:.0f}/{total:.0f} {elapsed} <{remaining}"
_COUNTED: Final = "{n:.0f} done in {elapsed}"


class Progress:
    """A bar of ``total`` records, None where the number is not known; a context manager.

    ``done`` were there before this run. ``stream`` is where it is drawn, if that is a terminal.
    """

    def __init__(self, total: int | None, *, stream: TextIO, done: int = 0) -> None:
        self._stream = stream
        self._done = done
        self._next_s = 0.0
        self._bar: Bar | None = None
        if _is_terminal(stream):
            from crawler.bar import Bar

            form = _WITHOUT_TOTAL if total is None else _WITH_TOTAL
            self._bar = Bar(
                stream, total=total, initial=done, bar_format=form, unit="", unit_scale=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def due(self) -> bool:
        """Whether ``update`` would be drawn now; never where nothing is shown."""
        return self._bar is not None and time.monotonic() >= self._next_s

    def update(self, live: Live) -> None:
        """Draw how the run stands, however short the time since the last drawing."""
        if self._bar is None:
            return
        self._next_s = time.monotonic() + REFRESH_S
        self._bar.set_description_str(_figures(live, self._bar), refresh=False)
        self._bar.update(self._done + live.count - self._bar.n)

    def write(self, line: str) -> None:
        """Write a line to ``stream``, above the bar where there is one."""
        if self._bar is None:
            print(line, file=self._stream, flush=True)
        else:
            self._bar.write(line, file=self._stream)

    def close(self) -> None:
        """Leave the bar as last drawn and go to the next line. May be called twice."""
        if self._bar is not None:
            self._bar.close()


class BenchProgress:
    """A bar over a benchmark's length, and below it how the last second went; a context manager.

    The bar counts seconds where the ``length_s`` is known, else requests, of ``total`` or without
    an end. Without a ``stream`` nothing is shown.
    """

    def __init__(self, length_s: float | None, total: int | None, *, stream: TextIO | None) -> None:
        self._length_s = length_s
        self._bars: tuple[Bar, Bar] | None = None
        if stream is not None:
            from crawler.bar import Bar

            whole = total if length_s is None else length_s
            form = _COUNTED if whole is None else _TIMED if length_s is not None else _OF_TOTAL
            self._bars = (
                Bar(stream, position=0, total=whole, bar_format=form, leave=False),
                Bar(stream, position=1, bar_format="{desc}", leave=False),
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for bar in self._bars or ():
            bar.close()

    def update(self, moment: Moment) -> None:
        """Draw how the benchmark stands."""
        if self._bars is None:
            return
        bar, line = self._bars
        at = float(moment.done)
        if self._length_s is not None:
            at = min(moment.elapsed_s, self._length_s)
        bar.update(at - bar.n)
        line.set_description_str(_moment_words(moment))


def _moment_words(moment: Moment) -> str:
    """The last second in 80 columns: rate (of that asked), flight, latencies, failures (in all)."""
    rate = f"{moment.done_per_s:,.0f}/s"
    if moment.asked_per_s is not None:
        rate = f"{moment.done_per_s:,.0f} of {moment.asked_per_s:,.0f}/s"
    words = f"{rate}; in flight {moment.in_flight:,}"
    if moment.waiting:
        words += f", waiting {moment.waiting:,}"
    if not isnan(moment.p50_ms):
        factor, unit = _unit(moment.p50_ms)
        words += (
            f"; p50 {_three(moment.p50_ms * factor)} p99 {_three(moment.p99_ms * factor)} {unit}"
        )
    return f"{words}; failed {moment.failed:,} ({moment.failed_in_all:,})"


def _three(value: float) -> str:
    """Three digits, and never an exponent."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # a notebook's stand-in; a closed stream
        return False


def _figures(live: Live, bar: Bar) -> str:
    ok, failed = (str(n) if n < 1000 else bar.format_sizeof(n) for n in (live.ok, live.failed))
    counts = f"ok {ok} failed {failed}"
    if live.ok == 0:
        return counts
    factor, unit = _unit(live.p50_ms)
    return f"{counts} p50 {live.p50_ms * factor:.3g} p95 {live.p95_ms * factor:.3g} {unit}"


def _unit(ms: float) -> tuple[float, str]:
    if ms < 1:
        return 1000, "µs"
    return (1, "ms") if ms < 1000 else (0.001, "s")
