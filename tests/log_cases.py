"""For the tests of the record log: records of all kinds, and other processes that write them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from hypothesis import strategies as st

from crawler.codec import encode
from crawler.log import SharedLog, read_log
from crawler.record import RECORD_FIELDS, ErrorClass, Record

ROOT = Path(__file__).parent.parent

PLAIN = Record(
    "run-1", 0, "http://h.test/", "GET", 200, None, None, "2026-01-02T03:04:05.000006Z",
    1.5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.006, 82, 1, "http://h.test/", "1.1", "127.0.0.1:80", False,
)  # fmt: skip


def plain(seq: int, **changes: object) -> Record:
    """An ordinary record of target ``seq``."""
    values = {"seq": seq, "url": f"http://h.test/{seq}", **changes}
    return PLAIN._replace(**values)  # type: ignore[arg-type]


def line(seq: int, **changes: object) -> bytes:
    """The line of an ordinary record of target ``seq``."""
    return encode(plain(seq, **changes))


def escaped(text: str) -> str:
    """Text as a log can hold it: lone surrogates escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


any_text = st.text(st.characters(exclude_categories=()), max_size=20)
"""Any text, with lone surrogates, control characters, line ends of all kinds."""

_counts = st.integers(0, 2**63 - 1)
_times = st.floats(allow_nan=False, allow_infinity=False)
_maybe_text = st.none() | any_text

any_record = st.builds(
    Record,
    run=any_text,
    seq=_counts,
    url=any_text,
    method=any_text,
    status=st.none() | st.integers(100, 999),
    error=st.none() | st.sampled_from(get_args(ErrorClass)),
    detail=_maybe_text,
    started=any_text,
    elapsed_ms=_times,
    dns_ms=_times,
    connect_ms=_times,
    tls_ms=_times,
    wait_ms=_times,
    receive_ms=_times,
    lag_ms=_times,
    bytes=_counts,
    attempts=_counts,
    final_url=_maybe_text,
    http_version=_maybe_text,
    remote=_maybe_text,
    reused=st.booleans(),
    fields=st.dictionaries(
        any_text.filter(lambda name: name not in RECORD_FIELDS), any_text, max_size=4
    ),
)
"""Any record that could ever be made."""


@contextlib.contextmanager
def process(code: str, *arguments: object, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Another Python running ``code`` while the block lasts; killed at its end if it still runs."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    child: subprocess.Popen[str] = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        cwd=ROOT,
        **options,  # type: ignore[call-overload]
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def said(child: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert child.stdout is not None
    return child.stdout.readline().rstrip("\n")


def output_of(code: str, *arguments: object, before: tuple[str, ...] = ()) -> str:
    """What another Python prints while running ``code`` to its end, which must be a good one."""
    done = subprocess.run(
        [*before, sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(log: Path, *lines: bytes) -> None:
    """Append lines as a worker does."""
    writer = SharedLog(log).open()
    writer.append(lines)
    writer.close()


def seqs(log: Path, run: str = "run-1") -> list[int]:
    """The targets that a run has recorded, in the order of writing."""
    return [record.seq for record in read_log(log, run=run)]


WRITER = """
import sys
from pathlib import Path
from crawler.log import SharedLog
from tests.log_cases import line
path, run, appends, lines, width = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
writer = SharedLog(path).open()
print("open", flush=True)
sys.stdin.readline()
for batch in range(appends):
    first = batch * lines
    text = run * width
    writer.append([line(n, run=run, detail=text) for n in range(first, first + lines)])
print("done", flush=True)
"""


def start(*writers: subprocess.Popen[str]) -> None:
    """Let writers begin, all of them open and at the line."""
    for writer in writers:
        assert said(writer) == "open"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
