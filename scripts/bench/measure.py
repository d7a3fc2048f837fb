"""One command, run to its end: wall time, CPU time of all its processes, and their memory.

CPU is the growth of ``RUSAGE_CHILDREN``: the command and all that it waited for. Memory is the
highest sum of PSS (proportional set size, so shared pages count once) over all processes of the
command's session, sampled while it runs.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_EVERY_S = 0.05
LONGEST_RUN_S = 600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did. ``peak_pss_mb`` is None unless memory was sampled."""

    returncode: int
    wall_s: float
    cpu_s: float
    stdout: str
    stderr: str
    peak_pss_mb: float | None = None

    def last_words(self) -> str:
        """The last line it said on stderr, for a row that failed."""
        lines = self.stderr.strip().splitlines()
        return lines[-1][:160] if lines else "it said nothing"


def run(command: Sequence[str], *, sample_memory: bool = False) -> Outcome:
    """Run ``command`` to its end; past ``LONGEST_RUN_S`` it is killed."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        cpu_before_s = _children_cpu_s()
        started_s = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            peak = _peak_pss_mb(process) if sample_memory else None
            process.wait(LONGEST_RUN_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _end_session(process)
        wall_s = time.perf_counter() - started_s
        cpu_s = _children_cpu_s() - cpu_before_s
        texts = [_text_of(stdout.fileno()), _text_of(stderr.fileno())]
    return Outcome(process.returncode, wall_s, cpu_s, texts[0], texts[1], peak)


def _text_of(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        return stream.read().decode(errors="replace")


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _end_session(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _peak_pss_mb(process: subprocess.Popen[bytes]) -> float:
    peak = 0.0
    deadline = time.monotonic() + LONGEST_RUN_S
    while process.poll() is None and time.monotonic() < deadline:
        peak = max(peak, sum(_pss_mb(pid) for pid in _pids_of_session(process.pid)))
        time.sleep(SAMPLE_EVERY_S)
    return peak


def _pids_of_session(session: int) -> list[int]:
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _session_of(int(entry.name)) == session
    ]


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _pss_mb(pid: int) -> float:
    """PSS in MB (10**6 bytes); 0 for a process that has just ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    for line in rollup.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
