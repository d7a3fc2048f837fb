"""Who is measured: how each client is called, what it must have done, and how it tells errors.

A rival that this machine lacks is a row that says so. What a client did is counted by nginx, not
taken from its own words; only errors are.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import record_log
from measure import Outcome, run
from server import Nginx

HERE = Path(__file__).resolve().parent
IN_FLIGHT = 64
OURS = "crawl"
BARE = "bare libcurl loop"
HEY = "hey"
CURL = "curl --parallel"
ORIGINAL = "the original example"


@dataclass(frozen=True, slots=True)
class Workload:
    """What all are asked to do: the server, the list of its URLs and how many they are."""

    nginx: Nginx
    urls: Path
    curl_config: Path
    record: Path
    count: int
    wrk_s: int
    slow_count: int
    original_count: int


@dataclass(frozen=True, slots=True)
class Rival:
    """One client. ``requests`` is None where it runs for a time instead of a number.

    ``absent`` tells why it cannot run here. ``keeps`` tells what it leaves on disk.
    """

    name: str
    command: tuple[str, ...]
    requests: int | None
    errors: Callable[[Outcome], int]
    absent: str | None
    keeps: str = "no"


@dataclass(frozen=True, slots=True)
class Round:
    """One run of one rival. ``problem`` is None where it did all it was asked."""

    requests: int
    wall_s: float
    cpu_s: float
    errors: int
    problem: str | None


def crawl_program() -> str:
    """The ``crawl`` beside the interpreter that runs this."""
    return str(Path(sys.executable).parent / "crawl")


def all_rivals(work: Workload) -> list[Rival]:
    """Ours first, then the load generators, then what people write by hand."""
    return [_ours(work), *_load_generators(work), *_python_clients(work)]


def _ours(work: Workload) -> Rival:
    program = crawl_program()
    options = ("--urls", str(work.urls), "--out", str(work.record), "--summary", "none")
    absent = None if Path(program).exists() else "not installed: run scripts/setup-venv dev"
    return Rival(OURS, (program, *options), work.count, no_errors, absent, "yes")


def _load_generators(work: Workload) -> list[Rival]:
    url, in_flight = f"{work.nginx.url}/novelSearchApi", str(IN_FLIGHT)
    whole = work.count // IN_FLIGHT * IN_FLIGHT
    hey = ("hey", "-n", str(whole), "-c", in_flight, url)
    wrk = ("wrk", "-t2", f"-c{IN_FLIGHT}", f"-d{work.wrk_s}s", url)
    ab = ("ab", "-q", "-k", "-n", str(work.count), "-c", in_flight, url)
    curl = ("curl", "-sS", "--fail", "--parallel", "--parallel-max", in_flight)
    return [
        Rival(HEY, hey, whole, _hey_errors, _not_found("hey", "hey")),
        Rival("wrk", wrk, None, _wrk_errors, _not_found("wrk", "wrk")),
        Rival("ab -k", ab, work.count, _ab_errors, _not_found("ab", "apache2-utils")),
        Rival(
            CURL,
            (*curl, "-K", str(work.curl_config)),
            work.count,
            no_errors,
            _not_found("curl", "curl"),
        ),
    ]


def _python_clients(work: Workload) -> list[Rival]:
    urls, base_url = str(work.urls), f"{work.nginx.url}/novelSearchApi?name="
    slow, original = str(work.slow_count), str(work.original_count)
    record = str(work.record)
    return [
        _python(BARE, "bare_curl.py", (urls,), work.count),
        _python("aiohttp", "aiohttp_get.py", (urls,), work.count),
        _python("requests, 64 threads", "threads_get.py", (urls, slow), work.slow_count),
        _python(
            ORIGINAL,
            "original.py",
            (base_url, original, record),
            work.original_count,
            keeps="a line",
        ),
    ]


def _python(
    name: str, script: str, arguments: tuple[str, ...], requests: int, *, keeps: str = "no"
) -> Rival:
    command = (sys.executable, str(HERE / script), *arguments)
    absent = None
    if name == "aiohttp" and importlib.util.find_spec("aiohttp") is None:
        absent = "not installed: pip install aiohttp"
    return Rival(name, command, requests, _json_errors, absent, keeps)


def _not_found(program: str, package: str) -> str | None:
    if shutil.which(program):
        return None
    return f"not installed (Debian: apt-get install {package})"


def no_errors(_: Outcome) -> int:
    """For those that end with another code when anything fails, or whose record is read."""
    return 0


def _json_errors(outcome: Outcome) -> int:
    return int(json.loads(outcome.stdout)["errors"])


def _hey_errors(outcome: Outcome) -> int:
    """Replies other than 200, and the counts of hey's error distribution."""
    statuses = re.findall(r"^\s+\[(\d+)\]\s+(\d+) responses", outcome.stdout, re.MULTILINE)
    failed = sum(int(count) for status, count in statuses if status != "200")
    _, _, distribution = outcome.stdout.partition("Error distribution:")
    return failed + sum(int(count) for count in re.findall(r"\[(\d+)\]", distribution))


def _wrk_errors(outcome: Outcome) -> int:
    counts = re.findall(r"(?:connect|read|write|timeout|3xx responses:) (\d+)", outcome.stdout)
    return sum(map(int, counts))


def _ab_errors(outcome: Outcome) -> int:
    counts = re.findall(r"(?:Failed requests|Non-2xx responses):\s+(\d+)", outcome.stdout)
    return sum(map(int, counts))


def run_once(rival: Rival, nginx: Nginx, record: Path) -> Round:
    """Run a rival once and hold what it did against what it was asked to do.

    ``record`` is where one that keeps a record of every request leaves it.
    """
    record.unlink(missing_ok=True)
    served_before = nginx.served()
    outcome = run(rival.command)
    # The question asked above was served too.
    served = nginx.served() - served_before - 1
    problem = _problem(rival, outcome, served)
    errors = 0 if problem else rival.errors(outcome)
    if rival.keeps == "yes" and rival.requests is not None and problem is None:
        kept = record_log.read(record)
        problem, errors = kept.problem(rival.requests), kept.failed
    return Round(served, outcome.wall_s, outcome.cpu_s, errors, problem)


def _problem(rival: Rival, outcome: Outcome, served: int) -> str | None:
    if outcome.returncode != 0:
        return f"ended with {outcome.returncode}: {outcome.last_words()}"
    if rival.requests is not None and served < rival.requests:
        return f"made {served} requests of {rival.requests}"
    return None
