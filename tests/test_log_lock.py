"""The run's lock: one run a log at a time, and none is held by the dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crawler.errors import LogLockedError
from crawler.log import (
    LogWriter,
)
from crawler.run_lock import RunLock
from tests.log_cases import (
    output_of,
    process,
    said,
    start,
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "record.log"


TAKE = """
import sys
from pathlib import Path
from crawler.errors import LogError
from crawler.run_lock import RunLock
print("ready", flush=True)
try:
    lock = RunLock(Path(sys.argv[1]), wait=sys.argv[2] == "wait")
except LogError as exc:
    print(type(exc).__name__, exc)
    sys.exit()
print("taken", flush=True)
sys.stdin.readline()
lock.release()
"""


def refusal(log: Path) -> str:
    """What another process is told when it wants the log at once."""
    return output_of(TAKE, log, "now").splitlines()[1]


def free(log: Path) -> bool:
    """Whether the log can be taken now."""
    try:
        RunLock(log).release()
    except LogLockedError:
        return False
    return True


def soon(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_second_run_is_refused(log) -> None:
    """A log that is being written is refused to others; they are told who has it since when."""
    with RunLock(log):
        told = refusal(log)
        with pytest.raises(LogLockedError):
            RunLock(log)
    assert re.fullmatch(
        rf"LogLockedError {log}: another crawl \(process {os.getpid()}, since "
        r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\) is writing this file; "
        "wait for it with --wait, or give another one",
        told,
    )
    assert refusal(log) == "taken"


def test_the_lock_file_goes_with_the_run(log) -> None:
    """Nothing is left beside the log when a run has ended, and letting go twice is harmless."""
    with RunLock(log) as lock:
        assert [path.name for path in log.parent.iterdir()] == ["record.log.lock"]
        lock.release()
        assert list(log.parent.iterdir()) == []
    assert list(log.parent.iterdir()) == []


def test_who_waits_has_the_log_next(log) -> None:
    """With ``wait`` a run begins when the other has ended, and then holds what stands there now."""
    lock = RunLock(log)
    with process(TAKE, log, "wait") as waiting:
        assert said(waiting) == "ready"
        time.sleep(0.2)  # so that it has opened the lock file that is about to go
        assert waiting.poll() is None
        lock.release()
        assert said(waiting) == "taken"
        with pytest.raises(LogLockedError, match=f"process {waiting.pid}, since"):
            RunLock(log)
    assert free(log)


def test_a_killed_run_holds_nothing(log) -> None:
    """The log of a run that was killed is free at once, and names its new holder."""
    with process(TAKE, log, "now") as holder:
        assert (said(holder), said(holder)) == ("ready", "taken")
        assert not free(log)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        left = log.with_name("record.log.lock")
        left.write_text(left.read_text() * 3)
        with RunLock(log):
            told = re.search(r"\(process (\d+), since ([^)]+)\)", refusal(log))
    assert told is not None
    assert told[1] == str(os.getpid())
    assert re.fullmatch(r"[-0-9]{10}T[:0-9]{8}Z", told[2])


RACE = """
import os, sys
from pathlib import Path
from crawler.run_lock import RunLock
log, inside = Path(sys.argv[1]), Path(sys.argv[1] + ".inside")
print("open", flush=True)
sys.stdin.readline()
for _ in range(50):
    with RunLock(log, wait=True) as lock:
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        there = os.stat(sys.argv[1] + ".lock").st_ino
        assert os.fstat(lock.descriptor).st_ino == there, "held is a file that was removed"
        inside.unlink()
print("done", flush=True)
"""


def test_runs_that_follow_each_other_never_overlap(log) -> None:
    """Who waited on a lock file that its holder removed takes the new one: never two at once."""
    with contextlib.ExitStack() as stack:
        racers = [stack.enter_context(process(RACE, log)) for _ in range(2)]
        start(*racers)
        assert [said(racer) for racer in racers] == ["done", "done"]
    assert list(log.parent.iterdir()) == []


FORK = """
import os, sys, time
from pathlib import Path
from crawler.run_lock import RunLock
lock = RunLock(Path(sys.argv[1]))
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def orphan_of(log: Path) -> Iterator[int]:
    """The pid of a forked child whose parent held the run's lock and was killed."""
    with process(FORK, log) as parent:
        child = int(said(parent))
        try:
            parent.send_signal(signal.SIGKILL)
            parent.wait()
            yield child
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


def test_a_forked_worker_keeps_the_lock_of_a_killed_parent(log) -> None:
    """While a worker of a killed run may still write, no other run begins."""
    with orphan_of(log) as child:
        assert not free(log)
        os.kill(child, signal.SIGKILL)
        assert soon(lambda: free(log))


def test_a_lock_is_not_handed_to_what_a_run_starts(log) -> None:
    """A program that a run executes does not hold its log."""
    with RunLock(log) as lock:
        assert not os.get_inheritable(lock.descriptor)
        writer = LogWriter(log, "none")
        assert fcntl.fcntl(writer._fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
        writer.close()
