"""The bar, on a real terminal of its own."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from dataclasses import replace
from math import nan
from typing import TextIO

import pytest
from tqdm import tqdm

from crawler.moment import Moment
from crawler.progress import REFRESH_S, BenchProgress, Progress
from crawler.samples import Live

LIVE = Live(count=500, ok=498, failed=2, p50_ms=1.234, p95_ms=3.5)


class Terminal:
    """A pseudo-terminal: ``stream`` is what a program writes to, ``text`` what a user sees."""

    def __init__(self, width: int, height: int = 24) -> None:
        self._master, slave = os.openpty()
        termios.tcsetwinsize(slave, (height, width))
        os.set_blocking(self._master, False)
        self.stream: TextIO = os.fdopen(slave, "w")

    def text(self) -> str:
        self.stream.flush()
        chunks = []
        while True:
            try:
                chunks.append(os.read(self._master, 65_536))
            except BlockingIOError:
                return b"".join(chunks).decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self._master)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal(width=80)
    yield terminal
    terminal.close()


def test_the_bar_shows_rate_counts_and_percentiles(terminal: Terminal) -> None:
    """A drawing has percent, rate, ok, failed, p50 and p95 in one unit."""
    with Progress(1000, stream=terminal.stream) as progress:
        progress.update(LIVE)
        seen = terminal.text()
    last = seen.split("\r")[-1]
    assert "50 %" in last
    assert "500/1.00k" in last
    assert re.search(r"[\d.]+[kMG]?/s", last)
    assert "ok 498 failed 2 p50 1.23 p95 3.5 ms" in last
    assert len(last) <= 80


def test_a_terminal_that_does_not_know_its_width_has_80_columns() -> None:
    """A width of 0, as in some containers, does not make the bar vanish."""
    terminal = Terminal(width=0, height=0)
    with Progress(1000, stream=terminal.stream) as progress:
        progress.update(LIVE)
        seen = terminal.text()
    terminal.close()
    assert "50 %" in seen


def test_the_total_may_be_unknown(terminal: Terminal) -> None:
    """Without a total the bar counts what is done."""
    with Progress(None, stream=terminal.stream) as progress:
        progress.update(LIVE)
        seen = terminal.text()
    assert "500 done in" in seen
    assert "%" not in seen


def test_failures_alone_have_no_percentiles(terminal: Terminal) -> None:
    """While nothing has succeeded no percentile is shown, and no NaN."""
    with Progress(10, stream=terminal.stream) as progress:
        progress.update(Live(count=3, ok=0, failed=3, p50_ms=nan, p95_ms=nan))
        seen = terminal.text()
    assert "ok 0 failed 3" in seen
    assert "nan" not in seen


def test_a_resumed_run_starts_where_it_was(terminal: Terminal) -> None:
    """Records of an earlier run count as done."""
    with Progress(1000, stream=terminal.stream, done=250) as progress:
        progress.update(LIVE)
        assert "75 %" in terminal.text()


@pytest.mark.parametrize("total", [1000, None])
def test_nothing_is_shown_where_there_is_no_terminal(total: int | None) -> None:
    """A file or a pipe gets no byte of a bar, and no figures need be worked out for it."""
    stream = io.StringIO()
    with Progress(total, stream=stream) as progress:
        assert not progress.due()
        progress.update(LIVE)
    assert stream.getvalue() == ""


def test_a_closed_stream_is_no_terminal() -> None:
    """A stderr that was closed does not break a run."""
    stream = io.StringIO()
    stream.close()
    with Progress(10, stream=stream) as progress:
        progress.update(LIVE)
        assert not progress.due()


def test_drawings_are_due_five_times_a_second(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a drawing none is due until 0.2 s have passed."""
    now = [100.0]
    monkeypatch.setattr("crawler.progress.time.monotonic", lambda: now[0])
    with Progress(1000, stream=terminal.stream) as progress:
        assert progress.due()
        progress.update(LIVE)
        now[0] += REFRESH_S * 0.9
        assert not progress.due()
        now[0] += REFRESH_S * 0.2
        assert progress.due()


def test_a_line_goes_above_the_bar(terminal: Terminal) -> None:
    """A warning is a line of its own, with the bar below it; without a bar it is just written."""
    with Progress(1000, stream=terminal.stream) as progress:
        progress.update(LIVE)
        terminal.text()
        progress.write("a worker died")
        seen = terminal.text()
    assert re.search(r"a worker died\r?\n.*50 %", seen, re.DOTALL)
    plain = io.StringIO()
    Progress(10, stream=plain).write("a worker died")
    assert plain.getvalue() == "a worker died\n"


def test_no_thread_is_started_and_other_bars_keep_their_monitor(terminal: Terminal) -> None:
    """Our bar starts no monitor thread and leaves tqdm's own setting alone."""
    before = threading.active_count()
    with Progress(1000, stream=terminal.stream) as progress:
        progress.update(LIVE)
        assert threading.active_count() == before
    assert tqdm.monitor_interval == 10


def test_no_process_is_started() -> None:
    """A bar in a spawning program makes no semaphore, hence no resource tracker process."""
    code = (
        "import multiprocessing, os, sys\n"
        "multiprocessing.set_start_method('spawn')\n"
        "from crawler.progress import Progress\n"
        "from multiprocessing import resource_tracker\n"
        "stream = os.fdopen(os.openpty()[1], 'w')\n"
        "Progress(10, stream=stream).close()\n"
        "print(resource_tracker._resource_tracker._pid)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"


def test_closing_twice_is_fine(terminal: Terminal) -> None:
    """A bar may be closed before its block ends."""
    with Progress(10, stream=terminal.stream) as progress:
        progress.close()
    progress.close()


MOMENT = Moment(
    elapsed_s=5.0,
    done=2_500,
    asked_per_s=500.0,
    done_per_s=498.4,
    in_flight=12,
    waiting=1_034,
    p50_ms=1.234,
    p99_ms=35.6,
    failed=3,
    failed_in_all=7,
)


def test_a_benchmark_shows_its_bar_and_the_last_second(terminal: Terminal) -> None:
    """The bar stands at the time that has passed; the line tells of the last second."""
    with BenchProgress(10.0, None, stream=terminal.stream) as progress:
        progress.update(MOMENT)
        seen = terminal.text()
    assert " 50 %|" in seen
    assert "498 of 500/s; in flight 12, waiting 1,034; " in seen
    assert "p50 1.23 p99 35.6 ms; failed 3 (7)" in seen


def test_a_benchmark_of_a_number_of_requests_counts_them(terminal: Terminal) -> None:
    """Without a length the bar is of requests; a closed loop was asked for no rate."""
    with BenchProgress(None, 10_000, stream=terminal.stream) as progress:
        progress.update(replace(MOMENT, asked_per_s=None, waiting=0, p50_ms=nan, p99_ms=nan))
        seen = terminal.text()
    assert "2500/10000" in seen
    assert "498/s; in flight 12; failed 3" in seen
    assert " of 500" not in seen


def test_a_benchmark_is_shown_where_a_terminal_tells_no_size() -> None:
    """Neither width nor height: both lines are drawn all the same."""
    terminal = Terminal(width=0, height=0)
    with BenchProgress(10.0, None, stream=terminal.stream) as progress:
        progress.update(MOMENT)
        seen = terminal.text()
    terminal.close()
    assert " 50 %|" in seen
    assert "498 of 500/s" in seen
