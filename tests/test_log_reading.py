"""Reading the log: in order, the newest line wins, nothing that is half written is read."""

from __future__ import annotations

import itertools
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.codec import decode
from crawler.errors import LogError
from crawler.log import (
    index_log,
    last_line,
    log_size,
    read_lines,
    read_log,
    recorded,
)
from crawler.resume import load_done
from tests.log_cases import (
    WRITER,
    line,
    plain,
    process,
    seqs,
    start,
    write,
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "record.log"


# --- Reading --------------------------------------------------------------------------------


def test_records_are_read_in_the_order_of_writing(log) -> None:
    """A log gives what was written, as it was written, of one run or of all."""
    write(log, line(2), line(0, run="run-2"), line(1), line(2, status=503))
    assert list(read_log(log)) == [
        plain(2), plain(0, run="run-2"), plain(1), plain(2, status=503)
    ]  # fmt: skip
    assert list(read_log(str(log), run="run-2")) == [plain(0, run="run-2")]
    assert list(read_log(log, run="run-3")) == []


READERS: dict[str, Callable[[Path], object]] = {
    "read_log": lambda log: list(read_log(log)),
    "read_log of a run": lambda log: list(read_log(log, run="run-1")),
    "index_log": lambda log: index_log(log, "run-1"),
    "recorded": lambda log: recorded(log, "run-1", {1}, offset=0),
    "load_done": lambda log: load_done(log, retry_failed=True),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("bad", [b"{}\n", b"\0\0\0\n", b"\n", line(2)[9:], b"http://h.test/\n"])
def test_a_bad_line_in_the_middle_is_named(log, reader, bad) -> None:
    """A line that is no record ends the reading with its number, whoever reads."""
    log.write_bytes(line(0) + line(1) + bad + line(3))
    with pytest.raises(LogError, match=r"line 3: .*; is this a record log"):
        READERS[reader](log)


def test_what_is_appended_while_reading_is_never_half_read(log) -> None:
    """Only lines that were whole at the start are read: half a line stays half, cut or not."""
    log.write_bytes(line(1) + line(2)[:100])
    lines = read_lines(log)
    assert next(lines) == line(1)
    write(log, line(3), line(4))
    assert list(lines) == []
    assert list(read_lines(log)) == [line(1), line(3), line(4)]


def test_a_log_is_read_while_it_grows(log) -> None:
    """Reading a log that others write at full speed gives whole lines only, in their order."""
    with process(WRITER, log, "a", 1500, 3, 1500) as writer:
        start(writer)
        while writer.poll() is None:
            found = seqs(log, "a")
            assert found == list(range(len(found)))
            for later in itertools.islice(read_lines(log, offset=log_size(log)), 1):
                decode(later)
    assert seqs(log, "a") == list(range(4500))


def test_a_pipe_is_read_to_its_end() -> None:
    """A log may come through a pipe, as ``/dev/stdin`` does, its torn last line left out."""
    out, into = os.pipe()

    def feed() -> None:
        with open(into, "wb") as pipe:
            pipe.write(line(1) + line(2) + line(3)[:40])

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        assert list(read_log(f"/dev/fd/{out}")) == [plain(1), plain(2)]
    finally:
        feeder.join()
        os.close(out)


def test_the_size_of_a_log_is_that_of_its_whole_lines(log) -> None:
    """The place from which a dead worker's lines are sought is never inside a line."""
    log.write_bytes(line(1) + line(2)[:200])
    mark = log_size(log)
    write(log, line(3), line(4))
    assert recorded(log, "run-1", {1, 2, 3, 4}, offset=mark) == {(3, 1): line(3), (4, 1): line(4)}


def test_what_a_dead_worker_finished_is_found(log) -> None:
    """The newest line of each asked target of this run, from the mark on, and nothing else."""
    write(log, line(1), line(5))
    mark = log_size(log)
    write(log, line(1, status=503), line(2), line(3, run="run-2"), line(1, bytes=7), line(9))
    with log.open("ab") as file:
        file.write(line(4)[:-1])
    found = recorded(log, "run-1", {1, 2, 3, 4, 5}, offset=mark)
    assert found == {(1, 1): line(1, bytes=7), (2, 1): line(2)}


def test_a_bad_line_behind_the_mark_says_where_it_counts_from(log) -> None:
    """Where a reader begins in the middle, its line numbers do."""
    log.write_bytes(line(0) + line(1) + b"{}\n")
    with pytest.raises(LogError, match=f"line 2 after byte {len(line(0))}: lacks"):
        recorded(log, "run-1", {1}, offset=len(line(0)))


@pytest.mark.parametrize("torn", [b"", b"\0" * 200_000, line(3)[:-1]])
def test_the_last_whole_line_is_found_however_long(log, torn) -> None:
    """A last line longer than any buffer is read whole; a torn one behind it does not count."""
    long = line(2, url="http://h.test/" + "x" * 3_000_000)
    log.write_bytes(line(1) + long + torn)
    assert last_line(log) == long
    log.write_bytes(torn)
    assert last_line(log) is None


# --- The index ------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["run-1", "run-2"]), st.integers(0, 12), st.text(max_size=3))
    )
)
def test_the_index_gives_the_newest_line_of_each_target_in_input_order(
    tmp_path_factory, written
) -> None:
    """However often and in whatever order targets were written: one line each, in order."""
    log = tmp_path_factory.getbasetemp() / "any-order.log"
    log.write_bytes(b"".join(line(n, run=run, detail=text) for run, n, text in written))
    newest = {n: text for run, n, text in written if run == "run-1"}
    index = index_log(log, "run-1")
    assert list(index.records()) == [plain(n, detail=newest[n]) for n in sorted(newest)]
    assert list(index.lines()) == [line(n, detail=newest[n]) for n in sorted(newest)]


def test_the_index_knows_the_columns_of_its_run(log) -> None:
    """Carried columns are told in the order in which they first came, those of the run only."""
    write(
        log,
        line(3, fields={"b": "1", "书名": "x"}),
        line(1, run="run-2", fields={"c": "1"}),
        line(0),
        line(2, fields={"a": "1", "b": "2"}),
    )
    assert index_log(log, "run-1").columns == ("b", "书名", "a")
    assert index_log(log, "run-3").columns == ()


def test_a_line_that_changed_under_the_index_is_told(log) -> None:
    """A log that is overwritten while it is exported gives an error, not another's records."""
    log.write_bytes(line(0) + line(1))
    index = index_log(log, "run-1")
    log.write_bytes(b"x" * (len(line(0)) - 1) + b"\n" + line(1))
    with pytest.raises(LogError, match="is this a record log"):
        list(index.records())
    log.unlink()
    with pytest.raises(LogError, match=r"cannot read .*: no such file"):
        list(index.lines())


def test_the_index_costs_8_bytes_a_target(log) -> None:
    """A log of any length is indexed in 8 bytes a target, and read back in none."""
    write(log, *(line(n) for n in range(10_000)))
    tracemalloc.start()
    index = index_log(log, "run-1")
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    assert sum(1 for _ in index.records()) == 10_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 10_000 * 8 * 1.3 + 50_000
    assert peak < held + 500_000
