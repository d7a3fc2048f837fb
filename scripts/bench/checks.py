"""What is demanded of ``crawl``, and how each demand is measured.

Every check gives the figure beside its verdict. A run that failed, or whose record does not hold
each URL once, is no measurement: its check fails with the reason.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import record_log
from measure import Outcome, run
from rivals import BARE, CURL, HEY, IN_FLIGHT, ORIGINAL, OURS, crawl_program
from server import Nginx, serve_delay
from table import Check, Row

STUCK_TIMEOUT_S = 2.0
STUCK_EVERY = 100


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work each check does; ``--quick`` makes it little."""

    few_urls: int = 50_000
    many_urls: int = 1_000_000
    waves: int = 100
    stuck_urls: tuple[tuple[float, int], ...] = ((50.0, 20_000), (5.0, 60_000))
    starts: int = 5


QUICK = Sizes(10_000, 50_000, 20, ((50.0, 3_000),), 3)


class CheckError(Exception):
    """A run of ``crawl`` that gives nothing to measure."""


def crawl(urls: Path, folder: Path, *options: str, sample_memory: bool = False) -> Outcome:
    """Run ``crawl`` on a list; raise ``CheckError`` unless its record holds each URL once.

    Exit code 1 (some failed) is no fault of the run: in one check URLs are meant to fail.
    """
    record = folder / "check-record.log"
    record.unlink(missing_ok=True)
    command = (crawl_program(), "--urls", str(urls), "--out", str(record), *options)
    try:
        outcome = run(command, sample_memory=sample_memory)
    except OSError as error:
        raise CheckError(f"crawl does not run: {error}") from None
    if outcome.returncode not in (0, 1):
        raise CheckError(f"crawl ended with {outcome.returncode}: {outcome.last_words()}")
    with urls.open("rb") as lines:
        problem = record_log.read(record).problem(sum(1 for _ in lines))
    if problem:
        raise CheckError(problem)
    return outcome


def write_list(path: Path, base_url: str, count: int) -> Path:
    """Write ``count`` distinct URLs, one a line."""
    with path.open("w", encoding="ascii") as lines:
        lines.writelines(f"{base_url}/novelSearchApi?name=novel-{n:07d}\n" for n in range(count))
    return path


def guarded(name: str, wanted: str, measure: Callable[[], tuple[str, bool]]) -> Check:
    """The check that ``measure`` makes; where it raises ``CheckError``, a failed one."""
    try:
        measured, passed = measure()
    except CheckError as error:
        return Check(name, wanted, str(error), passed=False)
    return Check(name, wanted, measured, passed)


def speed(rows: Sequence[Row]) -> list[Check]:
    """Recorded URLs a second beside three rivals, and the CPU time of one URL."""
    by_name = {row.rival.name: row for row in rows}
    demands = ((HEY, 1.25), (CURL, 2.0), (ORIGINAL, 50.0))
    ratios = [_ratio(by_name[OURS], by_name[name], least) for name, least in demands]
    return [*ratios, _cpu(by_name[OURS], by_name[BARE])]


def _ratio(ours: Row, rival: Row, least: float) -> Check:
    name, wanted = f"URLs/s beside {rival.rival.name}", f">= {least:g} x"
    if ours.note or rival.note:
        return Check(name, wanted, ours.note or f"{rival.rival.name} {rival.note}", _verdict(ours))
    ratio = ours.rate / rival.rate
    return Check(name, wanted, f"{ratio:.2f} x ({ours.rate:,.0f}/s)", ratio >= least)


def _verdict(ours: Row) -> bool | None:
    """Without a ratio: ours ran and failed (False), or there was nobody to compare (None)."""
    return False if ours.note and ours.rounds else None


def _cpu(ours: Row, bare: Row) -> Check:
    name, wanted = "CPU a URL, all processes", "<= 30 us"
    if ours.note:
        return Check(name, wanted, ours.note, _verdict(ours))
    beside = bare.note or f"{bare.cpu_us:.1f} us"
    return Check(
        name, wanted, f"{ours.cpu_us:.1f} us (bare libcurl loop: {beside})", ours.cpu_us <= 30
    )


def memory(nginx: Nginx, folder: Path, sizes: Sizes) -> list[Check]:
    """Peak PSS of all processes for a long list, beside that for a short one."""

    def peak_mb(count: int) -> float:
        urls = write_list(folder / "memory.txt", nginx.url, count)
        return crawl(urls, folder, sample_memory=True).peak_pss_mb or 0.0

    def measure() -> tuple[str, bool]:
        few, many = peak_mb(sizes.few_urls), peak_mb(sizes.many_urls)
        measured = f"{many / few:.2f} x: {many:.0f} MB ({few:.0f} MB for {sizes.few_urls:,})"
        return measured, many <= 1.2 * few and many < 300

    name = f"memory for {sizes.many_urls:,} URLs (PSS)"
    return [guarded(name, "<= 1.2 x and < 300 MB", measure)]


def in_flight(folder: Path, sizes: Sizes) -> list[Check]:
    """The mean number of requests that a server with replies of 100 ms holds."""

    def measure(concurrency: int) -> tuple[str, bool]:
        with serve_delay(100) as server:
            urls = write_list(folder / "flight.txt", server.url, concurrency * sizes.waves)
            options = ("--summary", "none", "--concurrency", str(concurrency))
            crawl(urls, folder, *options)
            mean = server.mean_in_flight()
        return f"{mean:.1f} ({mean / concurrency:.1%})", mean >= 0.95 * concurrency

    return [
        guarded(f"mean in flight of {n}, 100 ms", ">= 95 %", partial(measure, n))
        for n in (64, 1000)
    ]


def stuck(folder: Path, sizes: Sizes) -> list[Check]:
    """Total time where every hundredth URL never answers, beside the ideal.

    ideal = (stuck URLs * time-out + other URLs * service time) / concurrency.
    """
    return [
        guarded(
            f"1 % never answer, others {service_ms:g} ms",
            "<= 1.25 x ideal",
            partial(_stuck, folder, service_ms, count),
        )
        for service_ms, count in sizes.stuck_urls
    ]


def _stuck(folder: Path, service_ms: float, count: int) -> tuple[str, bool]:
    with serve_delay(service_ms) as server:
        urls = _list_with_stuck(folder / "stuck.txt", server.url, count)
        options = ("--timeout", f"{STUCK_TIMEOUT_S:g}", "--retries", "0")
        outcome = crawl(urls, folder, "--summary", "none", *options, "--max-errors", str(count))
    stuck_count = count // STUCK_EVERY
    failed = record_log.read(folder / "check-record.log").failed
    if failed != stuck_count:
        raise CheckError(f"{failed} URLs failed, not the {stuck_count} that never answer")
    work_s = stuck_count * STUCK_TIMEOUT_S + (count - stuck_count) * service_ms / 1000
    ideal_s = work_s / IN_FLIGHT
    ratio = outcome.wall_s / ideal_s
    formula = f"ideal ({stuck_count} x 2 s + {count - stuck_count} x {service_ms:g} ms) / 64"
    return f"{ratio:.2f} x: {outcome.wall_s:.1f} s; {formula} = {ideal_s:.1f} s", ratio <= 1.25


def _list_with_stuck(path: Path, base_url: str, count: int) -> Path:
    with path.open("w", encoding="ascii") as lines:
        for n in range(count):
            kind = "stuck" if n % STUCK_EVERY == STUCK_EVERY // 2 else "novelSearchApi"
            lines.write(f"{base_url}/{kind}?name=novel-{n:07d}\n")
    return path


def start(nginx: Nginx, folder: Path, sizes: Sizes) -> list[Check]:
    """One URL with the default summary: start of the process to its exit."""

    def measure() -> tuple[str, bool]:
        urls = write_list(folder / "one.txt", nginx.url, 1)
        walls_s = [crawl(urls, folder).wall_s for _ in range(sizes.starts)]
        median_s = statistics.median(walls_s)
        return f"{median_s:.2f} s ({min(walls_s):.2f}-{max(walls_s):.2f})", median_s < 1.0

    return [guarded("one URL, start to exit", "< 1.0 s", measure)]
