"""Logs to a report: merged, selected, followed; what is unreadable is told."""

from __future__ import annotations

import gzip
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crawler import log_chunks
from crawler.errors import LogError, UsageError
from crawler.log_blocks import Selection
from crawler.reading import RUNS_APART, LogReading, read_report
from crawler.report.model import Report
from crawler.run_notes import write_note
from tests.log_cases import line
from tests.report_cases import note_of


def log_of(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(lines))
    return path


def report_of(
    *paths: Path, warned: list[str] | None = None, group_by: str = "endpoint", **selected: object
) -> Report:
    said: list[str] = []
    selection = Selection(**selected)  # type: ignore[arg-type]
    report = read_report(paths, selection=selection, group_by=group_by, warn=said.append)
    if warned is None:
        assert said == []
    else:
        warned += said
    return report


def counts(report: Report) -> dict[str, int]:
    """Requests of each run that is kept apart."""
    return {each.run: each.figures.total.requests for each in report.runs}


def test_logs_are_merged_and_runs_kept_apart(tmp_path: Path) -> None:
    """The total is that of all logs, each run's figures are its own, wherever its records stand."""
    one = log_of(tmp_path / "1.log", line(0, run="a"), line(1, run="b", elapsed_ms=9.0))
    two = log_of(tmp_path / "2.log", line(1, run="a"), line(0, run="c", status=404, error="http"))
    report = report_of(one, two)
    assert (report.figures.total.requests, report.figures.total.failed) == (4, 1)
    assert counts(report) == {"a": 2, "b": 1, "c": 1}
    assert [each.figures.total.failed for each in report.runs] == [0, 0, 1]
    assert report.runs[1].figures.total.service.max == 9.0
    assert report.title == "1.log, 2.log"


def test_one_run_has_the_figures_of_all(tmp_path: Path) -> None:
    """A single run is the total, its groups included, and is added up once."""
    report = report_of(log_of(tmp_path / "1.log", line(0), line(1)))
    (only,) = report.runs
    assert only.figures is report.figures
    assert len(report.figures.groups) == 2


def test_the_newest_runs_are_kept_apart_and_all_are_counted(tmp_path: Path) -> None:
    """Beyond a number of runs only the newest have figures of their own, in any order."""
    names = [f"r{i:03}" for i in range(RUNS_APART + 10)]
    mixed = [*names[15:], *names[:15], *names]
    lines = [line(i, run=run) for i, run in enumerate(mixed)]
    report = report_of(log_of(tmp_path / "1.log", *lines))
    assert report.figures.total.requests == len(mixed)
    assert len(report.figures.runs) == len(names)
    assert counts(report) == dict.fromkeys(names[-RUNS_APART:], 2)


def test_a_target_recorded_twice_counts_with_its_newest_record(tmp_path: Path) -> None:
    """What ``--retry-failed`` fetched again is no failure any more; another run's records stand."""
    failed = [line(i, status=None, error="timeout", elapsed_ms=2000.0) for i in range(3)]
    log = log_of(tmp_path / "1.log", *failed, line(1), line(2), line(1, run="run-2"))
    report = report_of(log)
    assert counts(report) == {"run-1": 3, "run-2": 1}
    assert (report.figures.total.failed, report.figures.errors["timeout"].failures) == (1, 1)


def test_a_log_given_twice_counts_once(tmp_path: Path) -> None:
    """The same path, or a copy of its records, adds nothing."""
    log = log_of(tmp_path / "1.log", line(0), line(1))
    copy = log_of(tmp_path / "2.log", line(0), line(1))
    assert counts(report_of(log, log)) == {"run-1": 2}
    assert counts(report_of(log, copy)) == {"run-1": 2}


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """A pipe reports as its log does; what it holds twice cannot be sorted out, and is told."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    lines = [line(0), line(1), line(0)]
    writer = threading.Thread(target=pipe.write_bytes, args=[b"".join(lines)])
    writer.start()
    warned: list[str] = []
    report = report_of(pipe, warned=warned)
    writer.join()
    assert counts(report) == {"run-1": 3}
    assert len(warned) == 1
    assert "each record counts" in warned[0]


def test_what_is_no_record_is_told_once_with_its_first_place(tmp_path: Path) -> None:
    """A report of what is readable, and one line that says what was not, and where."""
    log = log_of(tmp_path / "1.log", line(0), b"junk\n", line(1), b"{}\n", line(2)[:40])
    warned: list[str] = []
    assert report_of(log, warned=warned).figures.total.requests == 2
    assert warned == [
        f"{log}: 2 lines are no records and are left out; the first is line 2: not JSON: "
        "unexpected character, expected a JSON value",
        f"{log}, line 5: torn, or still being written; left out",
    ]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no record in it yet"),
        (line(0)[:70], "no whole line in it yet"),
        (b"a,b\n1,2\n", r"line 1: not JSON: .*; none of its 2 lines is a record"),
        (b'{"a": 1}\n', "line 1: lacks one of run, seq, url"),
    ],
)
def test_nothing_readable_is_an_error(tmp_path: Path, data: bytes, words: str) -> None:
    """Of a log without a record nothing is reported: what it is instead is said."""
    log = log_of(tmp_path / "1.log", data)
    with pytest.raises(LogError, match=words):
        report_of(log, warned=[])


def test_an_empty_log_among_others_is_told(tmp_path: Path) -> None:
    """Logs that hold records are reported; one that holds none is named."""
    empty, log = log_of(tmp_path / "0.log"), log_of(tmp_path / "1.log", line(0))
    warned: list[str] = []
    assert report_of(empty, log, warned=warned).figures.total.requests == 1
    assert warned == [f"{empty}: no whole line in it; the other logs are reported"]


RUNS = ("20260102T030405Z-aa", "20260102T040405Z-bb", "20260103T030405Z-cc")


def three_runs(path: Path) -> Path:
    lines = [
        line(i, run=run, started=f"{run[:4]}-{run[4:6]}-{run[6:11]}:0{i}:00.000000Z")
        for run in RUNS
        for i in range(3)
    ]
    return log_of(path, *lines)


@pytest.mark.parametrize("packed", [False, True])
def test_a_run_is_chosen_by_its_id_or_as_the_last(tmp_path: Path, packed: bool) -> None:
    """``last`` is the newest run of all logs; else an id, or the beginning of one alone."""
    log = three_runs(tmp_path / "1.log")
    if packed:
        log.write_bytes(gzip.compress(log.read_bytes()))
    other = log_of(tmp_path / "2.log", line(0, run="20250101T000000Z-zz"))
    assert counts(report_of(log, other, run="last")) == {RUNS[2]: 3}
    assert counts(report_of(log, run=RUNS[0])) == {RUNS[0]: 3}
    assert counts(report_of(log, run="20260103")) == {RUNS[2]: 3}
    with pytest.raises(UsageError, match=r"several runs begin so: .*-aa, .*-bb"):
        report_of(log, run="20260102")


def test_a_last_line_that_is_no_record_hides_no_run(tmp_path: Path) -> None:
    """The last run is that of the last record, whatever stands after it."""
    log = log_of(tmp_path / "1.log", line(0, run="a"), line(0, run="b"), b"junk\n")
    assert counts(report_of(log, run="last", warned=[])) == {"b": 1}


def test_times_choose_records(tmp_path: Path) -> None:
    """From the first moment on and before the last, whatever run a record is of."""
    log = three_runs(tmp_path / "1.log")
    at_s = datetime(2026, 1, 2, 4, 1, tzinfo=UTC).timestamp()
    assert counts(report_of(log, since_s=at_s)) == {RUNS[1]: 2, RUNS[2]: 3}
    assert counts(report_of(log, until_s=at_s)) == {RUNS[0]: 3, RUNS[1]: 1}


def test_a_selection_of_nothing_says_what_there_is(tmp_path: Path) -> None:
    """When nothing is left, the message names the runs and the time that the logs hold."""
    log = three_runs(tmp_path / "1.log")
    held = rf"the logs hold {', '.join(RUNS)}, from 2026-01-02T03:00:00Z to 2026-01-03T03:02:00Z"
    with pytest.raises(UsageError, match=f"no record is of --run x; {held}"):
        report_of(log, run="x")
    with pytest.raises(UsageError, match="--since 2033-05-18T03:33:20Z"):
        report_of(log, since_s=2e9)


def test_a_column_that_no_record_has_is_a_mistake(tmp_path: Path) -> None:
    """Groups by a name that is nowhere are refused; by one that some records have they stand."""
    log = log_of(tmp_path / "1.log", line(0), line(1, fields={"city": "Ulm"}))
    assert report_of(log, group_by="city").figures.groups.keys() == {"Ulm", "(none)"}
    with pytest.raises(UsageError, match="--group-by town: no record has a column of that name"):
        report_of(log, group_by="town")


def test_the_notes_of_runs_are_used(tmp_path: Path) -> None:
    """What was asked of a run, and what it cost us, come from the note beside its log."""
    log = log_of(tmp_path / "1.log", line(0, run="r1"), line(0, run="r2"))
    write_note(log, note_of("r2", schedule="100/s", cpu_s=19.0))
    write_note(log, note_of("gone", cpu_s=1.0))
    report = report_of(log)
    assert report.open_loop
    assert [each.note is not None for each in report.runs] == [False, True]
    assert report.audit.cpu_share == pytest.approx(0.95)
    assert report.audit.saturated


def test_a_log_that_grows_is_read_on(tmp_path: Path) -> None:
    """A second reading adds what was appended; of a log that began anew only what is there."""
    log = log_of(tmp_path / "1.log", line(0), line(1)[:30])
    reading = LogReading([log], group_by="endpoint")
    reading.read()
    assert reading.figures.total.requests == 1
    with log.open("ab") as more:
        more.write(line(1)[30:] + line(2, status=500, error="http"))
    reading.read()
    assert (reading.figures.total.requests, reading.figures.total.failed) == (3, 1)
    with log.open("ab") as more:
        more.write(line(2))
    reading.read()
    assert (reading.figures.total.requests, reading.figures.total.failed) == (3, 0)
    with log.open("ab") as more:
        more.write(line(3) + line(3, status=500, error="http"))
    reading.read()
    assert (reading.figures.total.requests, reading.figures.total.failed) == (4, 1)
    log.write_bytes(line(7))
    reading.read()
    assert reading.report().figures.total.requests == 1


def test_pieces_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut in any pieces, a log gives the same report."""
    lines = [line(i % 40, run=f"r{i % 2}", elapsed_ms=float(i)) for i in range(300)]
    log = log_of(tmp_path / "1.log", *lines)
    whole = report_of(log)
    monkeypatch.setattr(log_chunks, "CHUNK_BYTES", 1000)
    parted = report_of(log)
    assert counts(parted) == counts(whole)
    for of in ("service", "response"):
        ours, theirs = (getattr(r.figures.total, of) for r in (parted, whole))
        assert ours.percentiles((0, 0.3, 0.5, 0.9, 1)) == theirs.percentiles((0, 0.3, 0.5, 0.9, 1))
    assert parted.figures.slowest == whole.figures.slowest
