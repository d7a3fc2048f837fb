"""The record log: lines stay whole and stay, whoever is killed, fills the disk or comes second."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.codec import decode
from crawler.errors import LogError
from crawler.log import (
    LogWriter,
    index_log,
    last_line,
    log_size,
    read_log,
    repair,
)
from crawler.run_lock import RunLock
from tests.log_cases import (
    WRITER,
    line,
    output_of,
    process,
    said,
    seqs,
    start,
    write,
)

LINES = [line(n, fields={"书名": "红楼梦" * (n % 3)}) for n in range(6)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "record.log"


# --- Several writers ------------------------------------------------------------------------


def test_two_processes_append_thousands_of_whole_lines(log) -> None:
    """Lines of processes that append at once are all there, whole, each process's in its order."""
    with (
        process(WRITER, log, "a", 400, 10, 30) as one,
        process(WRITER, log, "b", 4000, 1, 9) as two,
    ):
        start(one, two)
        assert (said(one), said(two)) == ("done", "done")
    assert log.read_bytes().count(b"\n") == len(list(read_log(log))) == 8000
    assert seqs(log, "a") == list(range(4000))
    assert seqs(log, "b") == list(range(4000))


def test_a_writer_killed_in_the_middle_leaves_no_torn_line(log) -> None:
    """A SIGKILL amid big writes costs the others nothing: each line in the log is whole."""
    with process(WRITER, log, "a", 300, 5, 3000) as survivor:
        start(survivor)
        for round_ in range(4):
            victim_run = f"victim-{round_}"
            with process(WRITER, log, victim_run, 10_000, 40, 3000) as victim:
                start(victim)
                before = log_size(log)
                while log_size(log) < before + 5_000_000:
                    time.sleep(0.001)
                time.sleep(random.uniform(0, 0.02))
                victim.send_signal(signal.SIGKILL)
                victim.wait()
        assert said(survivor) == "done"
    write(log, line(0, run="last"))
    assert seqs(log, "a") == list(range(1500))
    for round_ in range(4):
        written = seqs(log, f"victim-{round_}")
        assert written == list(range(len(written)))
        assert written
    assert last_line(log) == line(0, run="last")


TORN_HOLDER = """
import fcntl, os, sys, time
from tests.log_cases import line
fd = os.open(sys.argv[1], os.O_RDWR | os.O_APPEND)
fcntl.flock(fd, fcntl.LOCK_EX)
os.write(fd, line(7) + line(8)[:100])
print("torn", flush=True)
time.sleep(60)
"""


def test_the_kernel_frees_the_lock_of_a_killed_writer(log) -> None:
    """Who waits for the lock has it as its holder dies, and cuts off the holder's half line."""
    write(log, line(1))
    with process(TORN_HOLDER, log) as holder:
        assert said(holder) == "torn"
        waiting = threading.Thread(target=write, args=(log, line(2)), daemon=True)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive(), "the lock was not waited for"
        holder.send_signal(signal.SIGKILL)
        waiting.join(10)
        assert not waiting.is_alive()
    assert log.read_bytes() == line(1) + line(7) + line(2)


# --- What a crash leaves --------------------------------------------------------------------


def test_a_log_cut_at_any_byte_is_repaired(log) -> None:
    """Cut anywhere in its last three lines, a log keeps its whole lines, says so, and goes on."""
    whole = b"".join(LINES)
    for cut in range(len(b"".join(LINES[:-3])), len(whole) + 1):
        log.write_bytes(whole[:cut])
        kept = whole[: whole.rfind(b"\n", 0, cut) + 1]
        assert list(read_log(log)) == [decode(one) for one in kept.splitlines()]
        assert log_size(log) == len(kept)
        said_of_it = repair(log)
        assert log.read_bytes() == kept
        if cut == len(kept):
            assert said_of_it is None
        else:
            assert said_of_it is not None
            assert f"{log}: cut off a torn last line of {cut - len(kept)} bytes" in said_of_it
        write(log, line(9))
        assert log.read_bytes() == kept + line(9)


@pytest.mark.parametrize(
    ("whole", "torn"),
    [
        (b"".join(LINES), b"\0"),
        (b"".join(LINES), b"\0" * 4096),
        (b"".join(LINES), b"\0" * 200_000),
        (b"".join(LINES), b"\0" * 65_535),
        (b"".join(LINES), b"\0" * 65_536),
        (b"".join(LINES), b"\0" * 65_537),
        (b"".join(LINES), LINES[0][:50] + b"\0" * 70_000),
        (b"".join(LINES), b"\0" * 10 + LINES[0][10:-1]),
        (b"".join(LINES), b'{"ru\0\0\0'),
        (b"".join(LINES), line(1, detail="x" * 300_000)[:-1]),
        (b"", LINES[0][:-1]),
        (b"", b"{"),
        (b"", b"\0" * 4096),
        (b"", b""),
        (b"".join(LINES), b""),
    ],
)
def test_what_a_crash_leaves_is_cut_off(log, whole, torn) -> None:
    """NULs, half lines longer than any buffer, a file without one whole line: all are repaired."""
    log.write_bytes(whole + torn)
    message = repair(log)
    assert log.read_bytes() == whole
    assert (message is not None) == bool(torn)
    assert repair(log) is None


def test_an_append_cuts_what_a_crash_left(log) -> None:
    """A line is never appended to half of another one."""
    log.write_bytes(LINES[0] + b"\0" * 100_000)
    write(log, LINES[1])
    assert log.read_bytes() == LINES[0] + LINES[1]


@pytest.mark.parametrize(
    ("foreign", "words"),
    [
        (b"http://h.test/1\nhttp://h.test/2\n", "line 1: not JSON"),
        (b"http://h.test/1\nhttp://h.test/2", "line 1: not JSON"),
        (b"http://h.test/1", "no record; nothing was changed"),
        (b'{"name":"package"}', "no record; nothing was changed"),
        (b'{"name":"package"}\n', "line 1: lacks one of run, seq, url"),
        (b'{\n  "name": "package"\n}', "line 1: not JSON"),
        (LINES[0] + b"http://h.test/1", "no record; nothing was changed"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\xff", "no record; nothing was changed"),
    ],
)
def test_a_file_that_is_no_log_is_not_touched(log, foreign, words) -> None:
    """A list given as ``--out`` by mistake is refused, and keeps its last line."""
    log.write_bytes(foreign)
    with pytest.raises(LogError, match=words) as caught:
        repair(log)
    assert str(log) in str(caught.value)
    assert log.read_bytes() == foreign


@given(st.lists(st.sampled_from(LINES), max_size=3), st.binary(max_size=200))
def test_repair_never_costs_a_whole_line(tmp_path_factory, lines, tail) -> None:
    """Whatever stands behind the whole lines, they stay as they are."""
    log = tmp_path_factory.getbasetemp() / "any-tail.log"
    log.write_bytes(b"".join(lines) + tail)
    with contextlib.suppress(LogError):
        repair(log)
    assert log.read_bytes().startswith(b"".join(lines))


def test_there_is_nothing_to_repair_where_there_is_no_log(log) -> None:
    """A log that is not there yet is fine, and is not made by looking."""
    assert repair(log) is None
    assert log_size(log) == 0
    assert last_line(log) is None
    assert not log.exists()


# --- A disk that is full, a path that is none -----------------------------------------------

FILL = """
import os, resource, sys
from pathlib import Path
from crawler.errors import LogError
from crawler.log import LogWriter
from tests.log_cases import line
log = Path(sys.argv[1])
if sys.argv[2] == "limit":
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
writer = LogWriter(log, "none")
told = 0
try:
    while True:
        writer.append([line(told + n, detail="x" * 1500) for n in range(3)])
        told += 3
except LogError as exc:
    print(exc)
held = log.read_bytes()
print(told, held == b"".join(line(n, detail="x" * 1500) for n in range(told)))
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
else:
    Path(sys.argv[3]).unlink()
writer.append([line(told)])
print(log.read_bytes() == held + line(told))
"""

MOUNTED = ("unshare", "--mount", "--", "sh", "-c")
MOUNT = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'


def _can_mount() -> bool:
    """Whether a small disk can be mounted here, seen by nobody else: as root, mostly."""
    try:
        return subprocess.run(
            [*MOUNTED, MOUNT, "/mnt", "true"], capture_output=True, check=False
        ).returncode == 0  # fmt: skip
    except OSError:
        return False


DISKS = {"limit": "file too large; raise the file size limit"}
if _can_mount():
    DISKS["tmpfs"] = "no space left on device; free some space"


@pytest.mark.parametrize("disk", DISKS)
def test_a_full_disk_costs_no_line(tmp_path, disk) -> None:
    """On a full disk an append fails as a whole, told is what to do; with room it goes on."""
    log, ballast = tmp_path / "record.log", tmp_path / "ballast"
    before: tuple[str, ...] = ()
    code = FILL
    if disk == "tmpfs":
        before = (*MOUNTED, MOUNT, str(tmp_path))
        code = "import sys; open(sys.argv[3], 'wb').write(b'x' * 10_000)\n" + FILL
    words, lines, goes_on = output_of(code, log, disk, ballast, before=before).splitlines()
    assert words == (
        f"cannot append to {log}: {DISKS[disk]}, then go on (crawl run: with --resume); "
        "no earlier record is lost"
    )
    told, intact = lines.split()
    assert int(told) > 10
    assert (intact, goes_on) == ("True", "True")


def test_an_interrupted_append_is_taken_back(log, monkeypatch) -> None:
    """Where the disk takes a part and refuses the rest, the part is removed again."""
    write(log, line(0))
    real = os.write
    taken: list[int] = []

    def short(fd: int, data: Any) -> int:
        if taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken.append(real(fd, bytes(data)[:500]))
        return taken[0]

    writer = LogWriter(log, "none")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(LogError, match="no space left on device; free some space, then go on"):
            writer.append([line(1), line(2), line(3)])
    assert log.read_bytes() == line(0)
    writer.append([line(4)])
    writer.close()
    assert seqs(log) == [0, 4]


NO_ROOM_FOR_A_LOCK = """
import resource, sys
from pathlib import Path
from crawler.errors import LogError
from crawler.run_lock import RunLock
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
try:
    RunLock(Path(sys.argv[1]))
except LogError as exc:
    print(exc)
"""


def test_a_lock_file_that_cannot_be_written_is_told_and_not_left(log) -> None:
    """A disk too full for the lock file is an error of ours as well."""
    assert f"cannot lock {log}: file too large" in output_of(NO_ROOM_FOR_A_LOCK, log)
    assert list(log.parent.iterdir()) == []


Opening = Callable[[Path], object]
OPENINGS: dict[str, Opening] = {
    "write": lambda path: LogWriter(path, "none"),
    "lock": RunLock,
    "read": lambda path: list(read_log(path)),
    "index": lambda path: index_log(path, "run-1"),
}


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("place", ["missing/record.log", "file/record.log", "/proc/none/a.log"])
def test_a_path_in_no_directory_is_told(tmp_path, opening, place) -> None:
    """A log in a directory that is none is a ``LogError`` with its name and a remedy."""
    (tmp_path / "file").touch()
    path = tmp_path / place
    with pytest.raises(LogError, match=r"cannot \w+ ") as caught:
        OPENINGS[opening](path)
    assert f" {path}: no" in str(caught.value)
    assert ";" in str(caught.value)


@pytest.mark.parametrize("opening", ["write", "read", "index"])
def test_a_directory_is_no_log(tmp_path, opening) -> None:
    """A directory for a log is a ``LogError`` that says so."""
    with pytest.raises(LogError, match="is a directory; give a file, not a directory"):
        OPENINGS[opening](tmp_path)


@pytest.mark.parametrize("call", [repair, log_size, last_line])
def test_a_directory_is_neither_repaired_nor_measured(tmp_path, call) -> None:
    """What looks at a log before a run tells of a directory in the same words."""
    with pytest.raises(LogError, match="is a directory; give a file, not a directory"):
        call(tmp_path)


READ_ONLY = """
import os, sys
from pathlib import Path
from crawler.errors import LogError
from crawler.log import LogWriter, repair
from crawler.run_lock import RunLock
if os.geteuid() == 0:
    os.seteuid(65534)  # root may write anywhere
for call in (lambda path: LogWriter(path, "none"), RunLock, repair):
    try:
        call(Path(sys.argv[1]))
        print("no error")
    except LogError as exc:
        print(exc)
"""


def test_a_read_only_directory_is_told(log) -> None:
    """Where nothing may be written, opening, locking and repairing tell of the permissions."""
    log.write_bytes(LINES[0])
    log.chmod(0o444)
    log.parent.chmod(0o555)
    try:
        words = output_of(READ_ONLY, log).splitlines()
    finally:
        log.parent.chmod(0o755)
    remedy = "permission denied; check the path and its permissions"
    assert words == [f"cannot {verb} {log}: {remedy}" for verb in ("open", "write", "repair")]


def test_a_disk_that_fails_to_sync_is_told(log, monkeypatch) -> None:
    """An fsync that fails ends the run with our error, on append and on closing."""

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    writer = LogWriter(log, "record")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(LogError, match=r"cannot append to .*: input/output error; check"):
        writer.append([LINES[0]])
    with pytest.raises(LogError, match=r"cannot sync .*: input/output error; check"):
        writer.close()


@pytest.mark.parametrize(("mode", "syncs"), [("none", 0), ("interval", 3), ("record", 6)])
def test_fsync_is_called_as_often_as_asked(log, monkeypatch, mode, syncs) -> None:
    """``record`` syncs each append, ``interval`` once a second at most, both at the close."""
    now = [100.0]
    calls: list[int] = []
    real = os.fsync
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def counted(fd: int) -> None:
        calls.append(fd)
        real(fd)

    monkeypatch.setattr(os, "fsync", counted)
    writer = LogWriter(log, mode)
    for moment in (100.5, 101.1, 101.2, 102.0, 102.2):
        now[0] = moment
        writer.append([LINES[0]])
    writer.close()
    assert len(calls) == syncs
