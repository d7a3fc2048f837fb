"""``crawl report`` as users run it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.cli import report as report_verb
from crawler.cli.report_command import report_command
from crawler.cli.values import moment_s
from crawler.errors import UsageError
from tests.conftest import ROOT, command, crawl
from tests.log_cases import line

NOW_S = 1_790_000_000.0


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "r.log"
    rows = [
        line(i, url=f"http://h.test/{'ab'[i % 2]}?n={i}", elapsed_ms=i / 10) for i in range(200)
    ]
    rows += [line(200, url="http://h.test/a", status=503, error="http", detail="503 no")]
    path.write_bytes(b"".join(rows))
    return path


def test_the_report_is_printed(log: Path) -> None:
    """The text goes to standard output, nothing to standard error, and the exit code is 0."""
    done = crawl("report", log)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("report    r.log\nrequests  201 (200 ok, 1 failed: 0.50 %)\n")
    assert re.search(r"^http://h\.test, ms +requests +failed", done.stdout, re.MULTILINE)


def test_forms_are_written_beside_the_text(log: Path, tmp_path: Path) -> None:
    """Each form has its file, all with the same figures; the text is printed all the same."""
    files = {form: tmp_path / f"out.{form}" for form in ("html", "json", "csv", "hgrm")}
    options = [f"--{form}={path}" for form, path in files.items()]
    done = crawl("report", log, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("report ")
    total = json.loads(files["json"].read_text())["total"]
    assert (total["requests"], total["failed"]) == (201, 1)
    rows = list(csv.DictReader(io.StringIO(files["csv"].read_text())))
    assert float(rows[-1]["service_p95_ms"]) == total["service"]["percentiles"]["p95"]["value_ms"]
    assert "Total count    =          200" in files["hgrm"].read_text()
    assert "<title>" in files["html"].read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("form", ["json", "csv", "hgrm", "html"])
def test_a_form_takes_the_place_of_the_text_on_standard_output(log: Path, form: str) -> None:
    """``-`` is standard output, and nothing else is on it."""
    done = crawl("report", log, f"--{form}", "-")
    assert (done.returncode, done.stderr) == (0, "")
    assert "report    r.log" not in done.stdout
    starts = {"json": "{", "csv": "endpoint,requests", "hgrm": " ", "html": "<!"}
    assert done.stdout.lower().startswith(starts[form])


def test_groups_and_selections_are_those_asked_for(log: Path) -> None:
    """``--group-by``, ``--run`` and the times choose what the report is of."""
    told = json.loads(crawl("report", log, "--group-by", "status", "--json", "-").stdout)
    assert {group["name"]: group["requests"] for group in told["groups"]} == {"200": 200, "503": 1}
    for chosen, requests in (
        (["--run", "run-"], 201),
        (["--run", "last"], 201),
        (["--run", "all"], 201),
        (["--since", "2026-01-02"], 201),
        (["--until", "2026-01-02T04:04:06+01:00"], 201),
    ):
        told = json.loads(crawl("report", log, *chosen, "--json", "-").stdout)
        assert told["total"]["requests"] == requests


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no log is named; give one or more, as crawl report record.log"),
        (["none.log"], "none.log: no such file; check the path"),
        (["."], "cannot read .: is a directory; give a log, as ./record.log"),
        (["t.csv"], "t.csv is a table, not a record log; give the log that stands beside it"),
        (["empty.log"], "empty.log: no record in it yet"),
        (["text.log"], "text.log, line 1: not JSON"),
        (["r.log", "--since", "soon"], "--since: 'soon' is no time; give one as 2025-11-23T14:30"),
        (["r.log", "--until", "2025-13-01"], "--until: '2025-13-01' is no time"),
        (["r.log", "--since", "2h", "--until", "3h"], "--since 2h is not before --until 3h"),
        (["r.log", "--since", "1s"], "no record is of --since"),
        (["r.log", "--run", "zz"], "no record is of --run zz; the logs hold run-1, from"),
        (["r.log", "--group-by", "town"], "--group-by town: no record has a column of that name"),
        (["r.log", "--json", "-", "--csv", "-"], "--json and --csv cannot both write to -"),
        (["r.log", "--json", "x", "--html", "x"], "--html and --json cannot both write to x"),
        (["r.log", "--json", "r.log"], "--json r.log would replace a log; give another file"),
        (["r.log", "--csv", "no/x.csv"], "--csv no/x.csv: no is no directory; make it first"),
        (["r.log", "--json", "."], "--json . is a directory; give a file in it"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_in_a_line(log: Path, arguments: list[str], words: str) -> None:
    """Bad input ends with exit code 2 and one line that names it and the remedy."""
    (log.parent / "empty.log").touch()
    (log.parent / "text.log").write_text("hello\n")
    before = log.read_bytes()
    done = crawl("report", *arguments, cwd=log.parent, env=environment())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(f"crawl: error: {words}")
    assert "Traceback" not in done.stderr
    assert log.read_bytes() == before


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def test_what_was_left_out_is_said_and_the_rest_reported(log: Path) -> None:
    """A damaged log is reported as far as it goes: warnings on standard error, exit code 0."""
    with log.open("ab") as more:
        more.write(b"junk\n" + line(201)[:33])
    done = crawl("report", log)
    assert done.returncode == 0
    assert "201 (200 ok" in done.stdout
    warned = done.stderr.splitlines()
    assert len(warned) == 2
    assert "1 line is no record and is left out; the first is line 202" in warned[0]
    assert "line 203: torn, or still being written" in warned[1]


def test_html_without_its_extra_is_refused_before_reading(log: Path) -> None:
    """Without plotly the message names the extra; no other form needs it."""
    blocked = (
        "import sys; sys.modules['plotly'] = None\n"
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'plotly' else find(name, *a)\n"
        "from crawler.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for form, code in (("html", 2), ("json", 0)):
        done = subprocess.run(
            [sys.executable, "-c", blocked, "report", str(log), f"--{form}", "-"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert ("pip install 'crawl-bench[report]'" in done.stderr) == (code == 2)


def test_a_file_is_replaced_whole_or_not_at_all(log: Path, tmp_path: Path) -> None:
    """An output that cannot be written leaves the file that was there, and nothing beside it."""
    out = tmp_path / "sealed" / "out.json"
    out.parent.mkdir()
    out.write_text("before")
    done = crawl(
        "report", log, "--json", out, preexec_fn=lambda: _limit_files(len(log.read_bytes()) // 100)
    )
    assert done.returncode == 2
    assert "raise the file size limit" in done.stderr
    assert [(path.name, path.read_text()) for path in out.parent.iterdir()] == [
        ("out.json", "before")
    ]


def _limit_files(size: int) -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", NOW_S - 90),
        ("15m", NOW_S - 900),
        ("2h", NOW_S - 7200),
        (" 7 d ", NOW_S - 7 * 86_400),
        ("2025-11-23", 1_763_856_000),
        ("2025-11-23T14:30", 1_763_908_200),
        ("2025-11-23T14:30:00Z", 1_763_908_200),
        ("2025-11-23 15:30+01:00", 1_763_908_200),
    ],
)
def test_times_are_read(text: str, seconds: float) -> None:
    """A moment is ISO 8601, in UTC unless it says otherwise, or so long ago."""
    assert moment_s(text, "--since", now_s=NOW_S) == seconds


@pytest.mark.parametrize("text", ["", "7", "7w", "-2h", "24:00", "2025-02-30", "now", "1e9s"])
def test_what_is_no_time_is_refused(text: str) -> None:
    """The message names the option, what was got, and the right forms."""
    with pytest.raises(UsageError, match=r"--since: .* is no time; give one as 2025"):
        moment_s(text, "--since", now_s=NOW_S)


@contextlib.contextmanager
def following(
    log: Path, *options: object, stdout: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """``crawl report --follow`` on a log; killed at the end if it is still there."""
    process = subprocess.Popen(
        command("report", log, "--follow", *options),
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**environment(), "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def test_following_prints_a_line_a_second_and_ends_with_the_report(log: Path) -> None:
    """Where there is no terminal: what came is told each second; Ctrl-C gives the whole report."""
    with following(log) as process:
        assert process.stdout is not None
        first = process.stdout.readline().decode()
        with log.open("ab") as more:
            more.write(b"".join(line(i) for i in range(201, 211)))
        lines = [process.stdout.readline().decode() for _ in range(2)]
        process.send_signal(signal.SIGINT)
        rest, talk = process.communicate(timeout=30)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d  201 requests \(\+201\), 1 failed, p50 .* ms, p99 .* ms\n", first
    )
    assert any("211 requests (+10)" in each for each in lines)
    assert "requests  211 (210 ok" in rest.decode()
    assert (process.returncode, talk) == (0, b"")


def test_following_begins_anew_when_the_log_does(log: Path) -> None:
    """A log that was cut is read from its start; its old records are forgotten."""
    with following(log, "--json", "-") as process:
        time.sleep(1.0)
        log.write_bytes(line(0) + line(1))
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        out, talk = process.communicate(timeout=30)
    assert (process.returncode, talk) == (0, b"")
    assert json.loads(out)["total"]["requests"] == 2


def test_following_on_a_terminal_refreshes_the_report(log: Path) -> None:
    """On a terminal the report takes the place of the one before; the last one is whole."""
    master, slave = pty.openpty()
    try:
        with following(log, stdout=slave) as process:
            os.close(slave)
            seen = read_until(master, b"Ctrl-C ends")
            with log.open("ab") as more:
                more.write(line(201))
            seen += read_until(master, b"requests  202")
            process.send_signal(signal.SIGINT)
            last = read_until(master, b"our own health")
            assert process.wait(30) == 0
    finally:
        os.close(master)
    assert seen.count(b"\x1b[H\x1b[J") >= 2
    assert b"slowest of http://h.test" in last


def read_until(descriptor: int, words: bytes) -> bytes:
    seen = b""
    ends = time.monotonic() + 30
    while words not in seen:
        assert time.monotonic() < ends, seen
        if select.select([descriptor], [], [], 1)[0]:
            seen += os.read(descriptor, 65_536)
    return seen


def test_following_waits_for_the_first_record(tmp_path: Path) -> None:
    """An empty log is followed until something is in it; ended before that, it is an error."""
    empty = tmp_path / "r.log"
    empty.touch()
    with following(empty) as process:
        assert process.stdout is not None
        assert b"0 requests" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=30)
    assert process.returncode == 2
    assert b"no record in it yet" in talk


def test_help_tells_options_and_examples() -> None:
    """The help lists each option under its heading and ends with examples that name the verb."""
    text = crawl("report", "--help").stdout
    for option in report_command.params:
        names = [name for name in option.opts if name.startswith("--")]
        assert all(name in text for name in names)
    assert text.rstrip().splitlines()[-1].strip().startswith("crawl report ")
    assert "report" in crawl("--help").stdout


def test_the_verb_loads_its_body_only_when_called() -> None:
    """The help of crawl needs neither numpy nor the reader of logs."""
    code = (
        "import sys, crawler.cli; print(*{'numpy', 'crawler.reading', 'pyarrow'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == []
    assert report_verb.STDOUT == "-"


def test_a_reader_that_leaves_ends_the_report_quietly(log: Path) -> None:
    """``crawl report … | head -1`` ends without a complaint."""
    done = subprocess.run(
        f"{sys.executable} -m crawler report {log} --html - | head -c 10",
        shell=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
