"""Bulk fetching beside its rivals: the same list, bodies of 2 KB, kept in each form there is.

``crawl`` writes a durable record of every request in each row, its rivals none. Rivals that take
long are asked for less.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import checks
from rivals import HERE, IN_FLIGHT, Rival, Round, crawl_program, no_errors, run_once
from server import Nginx
from table import Check, Row

NONE_KEPT = "crawl, no bodies"
FORMS = ("jsonl", "jsonl.gz", "parquet", "warc", "warc.gz")
FOLDER = "crawl, files"
HOSTS = 1000
INSTALL = (
    "python -m venv rivals && rivals/bin/pip install minet scrapy img2dataset, rivals/bin in PATH"
)


@dataclass(frozen=True, slots=True)
class Bulk:
    """What all are asked to do: a list of ``count`` URLs, a shorter one, and a place for bodies."""

    nginx: Nginx
    folder: Path
    count: int
    few: int

    @property
    def urls(self) -> Path:
        """The list."""
        return self.folder / "bulk.txt"

    @property
    def record(self) -> Path:
        """Where ours leaves its records."""
        return self.folder / "bulk-record.log"

    @property
    def place(self) -> Path:
        """Where bodies go: made anew for each round."""
        return self.folder / "bodies"

    def write(self) -> None:
        """Write the lists, in the forms that the rivals read."""
        lines = [f"{self.nginx.url}/body?n={n:07d}\n" for n in range(self.count)]
        self.urls.write_text("".join(lines))
        few = lines[: self.few]
        (self.folder / "few.txt").write_text("".join(few))
        (self.folder / "few.csv").write_text("url\n" + "".join(few))
        named = [f"{line}\tout=body-{n}\n" for n, line in enumerate(few)]
        (self.folder / "aria2.txt").write_text("".join(named))


def measure(bulk: Bulk, rounds: int) -> list[Row]:
    """Run all in turns, ``rounds`` times."""
    bulk.write()
    clients = [*_ours(bulk), *_rivals(bulk)]
    results: dict[str, list[Round]] = {client.name: [] for client in clients}
    for number in range(rounds):
        by = number % len(clients)
        for client in [*clients[by:], *clients[:by]]:
            if client.absent is None:
                results[client.name].append(_run_once(client, bulk))
    return [Row(client, tuple(results[client.name])) for client in clients]


def _ours(bulk: Bulk) -> list[Rival]:
    out = ("--out", str(bulk.record))
    base = (crawl_program(), "--urls", str(bulk.urls), *out, "--summary", "none")
    rows: list[tuple[str, tuple[str, ...]]] = [(NONE_KEPT, base)]
    rows += [(f"crawl, .{form}", (*base, "--bodies", f"{bulk.place}/b.{form}")) for form in FORMS]
    rows.append((FOLDER, (*base, "--save-bodies", str(bulk.place))))
    return [Rival(name, command, bulk.count, no_errors, None, "yes") for name, command in rows]


def _rivals(bulk: Bulk) -> list[Rival]:
    few, place, in_flight = bulk.few, str(bulk.place), str(IN_FLIGHT)
    text, csv = (str(bulk.folder / name) for name in ("few.txt", "few.csv"))
    minet = (
        "minet", "fetch", "url", "-i", csv, "-t", in_flight, "--domain-parallelism", in_flight,
        "--throttle", "0", "-O", place, "-o", f"{place}/report.csv", "--silent",
    )  # fmt: skip
    scrapy = (
        "scrapy", "runspider", str(HERE / "scrapy_spider.py"), "-a", f"urls={text}",
        "-O", f"{place}/items.jsonl",
    )  # fmt: skip
    aria2 = (
        "aria2c", "--no-conf", "-q", "-i", str(bulk.folder / "aria2.txt"), "-d", place,
        "-j", in_flight, "--file-allocation=none", "--max-connection-per-server=16",
    )  # fmt: skip
    images = (
        "img2dataset", "--url_list", text, "--output_folder", f"{place}/images",
        "--output_format", "dummy", "--processes_count", "1", "--thread_count", in_flight,
        "--retries", "0",
    )  # fmt: skip
    return [
        Rival("minet fetch, files", minet, few, no_errors, _absent("minet")),
        Rival("scrapy, .jsonl", scrapy, few, no_errors, _absent("scrapy")),
        Rival("aria2c, files", aria2, few, no_errors, _absent("aria2c", "apt-get install aria2")),
        Rival("img2dataset, dummy", images, few, no_errors, _absent("img2dataset")),
    ]


def _absent(program: str, how: str = INSTALL) -> str | None:
    return None if shutil.which(program) else f"not installed ({how})"


def _run_once(client: Rival, bulk: Bulk) -> Round:
    shutil.rmtree(bulk.place, ignore_errors=True)
    bulk.place.mkdir()
    return run_once(client, bulk.nginx, bulk.record)


def speed(rows: Sequence[Row]) -> list[Check]:
    """Hold each form to half the speed of the run that keeps no bodies."""
    by_name = {row.rival.name: row for row in rows}
    base = by_name[NONE_KEPT]
    found = []
    for row in rows:
        if row.rival.keeps != "yes" or row is base:
            continue
        wanted = f">= 0.5 x the speed of {NONE_KEPT}"
        if row.note or base.note:
            found.append(Check(row.rival.name, wanted, str(row.note or base.note), passed=False))
        else:
            share = row.rate / base.rate
            found.append(Check(row.rival.name, wanted, f"{share:.2f} x", passed=share >= 0.5))
    return found


def limits(nginx: Nginx, folder: Path, count: int) -> list[Check]:
    """Hold a run with a limit for each of 1,000 hosts to 1.5 times the CPU, and to its memory."""
    port = nginx.url.rpartition(":")[2]
    urls = folder / "hosts.txt"
    with urls.open("w") as lines:
        lines.writelines(f"http://h{n % HOSTS}.localhost:{port}/body?n={n}\n" for n in range(count))
    plain = checks.crawl(urls, folder, "--summary", "none")
    polite = checks.crawl(urls, folder, "--summary", "none", "--per-host", "2", sample_memory=True)
    share = polite.cpu_s / plain.cpu_s
    peak = polite.peak_pss_mb or 0.0
    what = f"{count:,} URLs, {HOSTS:,} hosts, --per-host 2"
    return [
        Check(f"{what}: CPU", "<= 1.5 x without limits", f"{share:.2f} x", passed=share <= 1.5),
        Check(f"{what}: memory", "< 350 MB", f"{peak:.0f} MB", passed=peak < 350),
    ]
