"""Measures ``crawl`` beside its rivals in one run, and holds it to its demands.

Everything is on 127.0.0.1. The rivals run one after the other, in turns: a round is each of them
once, and each round starts with the next one, so that none always follows the same neighbour.
Ends with 0 when no check fails (NONE: nobody to compare with), 1 when one does, 2 when there is
nothing to measure with.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path

import bulk
import checks
from machine import machine, versions
from rivals import Rival, Round, Workload, all_rivals, run_once
from server import Nginx, ServerError, serve_nginx
from table import Check, Row, checks_table, rivals_table

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = ("rivals", "bulk", "limits", "memory", "inflight", "stuck", "start")
PACKAGES = "nginx-light hey wrk apache2-utils curl"


def parse_arguments() -> argparse.Namespace:
    """The options; ``--quick`` only shows that everything runs."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark", description=__doc__)
    parser.add_argument("--rounds", type=int, help="rounds of the rivals' table (5)")
    parser.add_argument("--urls", type=int, help="URLs of a round (200,000)")
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs")
    parser.add_argument(
        "--only", action="append", choices=SECTIONS, help="this section only; repeatable"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "benchmark-output",
        help="folder for results.json, and for lists and records while it runs",
    )
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.urls = options.urls or (20_000 if options.quick else 200_000)
    options.only = options.only or list(SECTIONS)
    return options


def say(text: str) -> None:
    """Progress goes to stderr; stdout is for the results."""
    print(text, file=sys.stderr, flush=True)


def workload(nginx: Nginx, folder: Path, count: int) -> Workload:
    """Write the lists and say how much each rival is asked; slow ones are asked less."""
    urls = checks.write_list(folder / "urls.txt", nginx.url, count)
    config = folder / "curl.cfg"
    with urls.open() as lines, config.open("w") as entries:
        for line in lines:
            entries.write(f'url = "{line.strip()}"\noutput = "/dev/null"\n')
    return Workload(
        nginx=nginx,
        urls=urls,
        curl_config=config,
        record=folder / "record.log",
        count=count,
        wrk_s=max(1, count // 40_000),
        slow_count=max(64, count // 40),
        original_count=max(64, count // 100),
    )


def measure_rivals(work: Workload, rounds: int) -> list[Row]:
    """Run all rivals in turns, ``rounds`` times."""
    rivals = all_rivals(work)
    results: dict[str, list[Round]] = {rival.name: [] for rival in rivals}
    for number in range(rounds):
        for rival in _turned(rivals, number):
            if rival.absent is None:
                say(f"benchmark: round {number + 1} of {rounds}: {rival.name}")
                results[rival.name].append(run_once(rival, work.nginx, work.record))
    return [Row(rival, tuple(results[rival.name])) for rival in rivals]


def _turned(rivals: list[Rival], by: int) -> list[Rival]:
    by %= len(rivals)
    return rivals[by:] + rivals[:by]


def measure_checks(nginx: Nginx, folder: Path, options: argparse.Namespace) -> list[Check]:
    """Run the sections that need no rival."""
    sizes = checks.QUICK if options.quick else checks.Sizes()
    sections: dict[str, Callable[[], list[Check]]] = {
        "limits": partial(bulk.limits, nginx, folder, sizes.many_urls),
        "memory": partial(checks.memory, nginx, folder, sizes),
        "inflight": partial(checks.in_flight, folder, sizes),
        "stuck": partial(checks.stuck, folder, sizes),
        "start": partial(checks.start, nginx, folder, sizes),
    }
    found: list[Check] = []
    for name, section in sections.items():
        if name in options.only:
            say(f"benchmark: {name}")
            found += section()
    return found


def measure(folder: Path, options: argparse.Namespace) -> bool:
    """Run what was asked for, print it, keep it; tell whether every check passed."""
    rows: list[Row] = []
    found: list[Check] = []
    with tempfile.TemporaryDirectory() as temporary, serve_nginx(Path(temporary) / "n") as nginx:
        if "rivals" in options.only:
            rows = measure_rivals(workload(nginx, folder, options.urls), options.rounds)
            found += checks.speed(rows)
        if "bulk" in options.only:
            say("benchmark: bulk")
            some = bulk.measure(_bulk(nginx, folder, options), min(options.rounds, 3))
            found += bulk.speed(some)
            rows += some
        found += measure_checks(nginx, folder, options)
        places = {str(folder): "$WORK", nginx.url: "$URL", f"{ROOT}/": ""}
        results = _results(rows, found, options, nginx.version, places)
    report(rows, found, results, options.output / "results.json")
    return all(check.passed is not False for check in found)


def _bulk(nginx: Nginx, folder: Path, options: argparse.Namespace) -> bulk.Bulk:
    count = options.urls // 2
    return bulk.Bulk(nginx, folder, count, max(64, count // 20))


def _results(
    rows: list[Row],
    found: list[Check],
    options: argparse.Namespace,
    nginx_version: str,
    places: dict[str, str],
) -> dict[str, object]:
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "reproduce": _reproduce(options),
        "machine": machine(),
        "versions": {**versions(), "nginx": nginx_version},
        "rivals": [_rival_result(row, places) for row in rows],
        "checks": [{**asdict(check), "verdict": check.word} for check in found],
    }


def _reproduce(options: argparse.Namespace) -> str:
    only = "".join(f" --only {section}" for section in options.only)
    only = "" if options.only == list(SECTIONS) else only
    quick = " --quick" if options.quick else ""
    return f"scripts/benchmark{quick} --rounds {options.rounds} --urls {options.urls}{only}"


def _rival_result(row: Row, places: dict[str, str]) -> dict[str, object]:
    command = " ".join(row.rival.command)
    for place, name in places.items():
        command = command.replace(place, name)
    figures = {} if row.note else _figures(row)
    rounds = [asdict(round_) for round_ in row.rounds]
    return {"name": row.rival.name, "command": command, "note": row.note, **figures} | {
        "rounds": rounds
    }


def _figures(row: Row) -> dict[str, float]:
    return {
        "requests": row.requests,
        "wall_s": row.wall_s,
        "requests_per_s": row.rate,
        "cpu_us_per_url": row.cpu_us,
        "errors": row.errors,
    }


def report(rows: list[Row], found: list[Check], results: dict[str, object], path: Path) -> None:
    """Print table, checks and how to reproduce; keep all of it as JSON."""
    path.write_text(json.dumps(results, indent=2) + "\n")
    if rows:
        rounds = max(len(row.rounds) for row in rows)
        print(f"\nmedians of {rounds}; requests as nginx counted them; process start to exit\n")
        print(rivals_table(rows))
    print(f"\n{checks_table(found)}\n")
    print("machine:  ", ", ".join(f"{key} {value}" for key, value in machine().items()))
    print("results:  ", path)
    print("reproduce:", f"apt-get install {PACKAGES} && {results['reproduce']}")


def main() -> int:
    """Measure in a folder of its own on the repository's disk, which is removed at the end."""
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = options.output.resolve() / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        return 0 if measure(folder, options) else 1
    except ServerError as error:
        say(f"benchmark: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
