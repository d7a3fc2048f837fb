"""Faults: whatever is killed, full or cut off, no URL is lost and none is recorded twice."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, assert_each_once, command, crawl, records_of
from tests.test_pool import alive, wait_until


def write_list(path: Path, urls) -> Path:
    path.write_text("".join(f"{url}\n" for url in urls))
    return path


def workers_of(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in children.read_text().split()]


def over(run: subprocess.Popen[bytes]) -> bool:
    return run.poll() is not None


def grown(log: Path, size: int) -> bool:
    return log.exists() and log.stat().st_size >= size


KILLS = """
import os, random, signal, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from crawler.record import Target
from crawler.crawling import Crawling, Job
from crawler.settings import Settings

dice, folder, demo = random.Random({seed}), Path({folder!r}), {demo!r}
rounds, count = {rounds}, {count}
settings = Settings(concurrency=1000, processes=4)
for round in range(rounds):
    warnings = []
    urls = [f"{{demo}}/novelSearchApi?name=x{{n}}&delay=30ms" for n in range(count)]
    targets = [Target(n, url) for n, url in enumerate(urls)]
    out = folder / f"{{round}}.log"
    job = Job(targets=targets, settings=settings, out=out, warn=warnings.append)
    with Crawling(job) as crawling:
        def kill(*_):
            os.kill(dice.choice(crawling._pool.pids), signal.SIGKILL)
        signal.signal(signal.SIGALRM, kill)
        signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.001, 0.35))
        seqs = sum(result.records for result in crawling)
        signal.setitimer(signal.ITIMER_REAL, 0)
        results = crawling.summary.finish(crawling.finish())
    total = results.frame.loc["total"]
    print(seqs, int(total["requests"]), int(total["failed"]), len(warnings), flush=True)
"""


def test_runs_with_a_worker_killed(tmp_path, demo) -> None:
    """kill -9 of one of 4 workers with a thousand in flight, at a random moment, many times."""
    rounds, count = int(os.environ.get("CRAWL_TEST_KILLS", "16")), 1500
    script = KILLS.format(
        root=str(ROOT), seed=11, folder=str(tmp_path), demo=demo, rounds=rounds, count=count
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60 + rounds * 2
    )
    assert done.returncode == 0, done.stderr
    rows = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(rows) == rounds
    for number, (yielded, requests, failed, _) in enumerate(rows):
        assert (yielded, requests, failed) == (count, count, 0)
        assert_each_once(tmp_path / f"{number}.log", count)
    struck = sum(warnings > 0 for *_, warnings in rows)
    assert struck > rounds * 0.6, "the kills came too late to prove anything"


def test_a_killed_worker_is_a_warning_and_exit_0(tmp_path, demo) -> None:
    """The command tells of the death and ends as if nothing had been."""
    urls = write_list(
        tmp_path / "l.txt", (f"{demo}/status/200?n={n}&delay=20ms" for n in range(2000))
    )
    log = tmp_path / "r.log"
    run = subprocess.Popen(
        command("--urls", urls, "--out", log, "--processes", 4), stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    assert wait_until(lambda: log.exists() and log.stat().st_size > 10_000)
    os.kill(workers_of(run.pid)[0], signal.SIGKILL)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 0
    assert "killed by signal 9" in said
    assert_each_once(log, 2000)


def test_a_killed_parent_and_resume_until_done(tmp_path, demo) -> None:
    """kill -9 of the parent at random moments, then --resume: nothing lost, nothing doubled.

    Every third kill comes at a random moment of the start or the taking up; the others once a
    random number of records is in the log, so that each run gets on however slow the machine is.
    """
    dice, count = random.Random(5), 4000
    urls = write_list(
        tmp_path / "l.txt", (f"{demo}/status/200?n={n}&delay=5ms" for n in range(count))
    )
    log = tmp_path / "r.log"
    kills = 0
    for attempt in range(40):
        size = log.stat().st_size if log.exists() else 0
        resume = ["--resume"] if size else []
        run = subprocess.Popen(
            command("--urls", urls, "--out", log, "--concurrency", 16, *resume),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        more = size + dice.randrange(10_000, 200_000)
        if attempt % 3:
            wait_until(lambda run=run, more=more: over(run) or grown(log, more), 30)
        else:
            wait_until(lambda run=run: over(run), dice.uniform(0, 0.9))
        if over(run):
            break
        workers = workers_of(run.pid)
        run.kill()
        run.wait()
        kills += 1
        assert wait_until(lambda pids=workers: not any(map(alive, pids)), 3)
    assert run.returncode == 0
    assert kills >= 3, "too few kills to prove anything"
    assert_each_once(log, count)
    assert len({record["run"] for record in records_of(log)}) == 1


def test_a_log_cut_anywhere_is_taken_up(tmp_path, demo) -> None:
    """Cut at any byte of its last three lines, a log resumes to one whole record a URL."""
    urls = write_list(tmp_path / "l.txt", (f"{demo}/status/200?n={n}" for n in range(10)))
    whole = tmp_path / "whole.log"
    assert crawl("--urls", urls, "--out", whole).returncode == 0
    data = whole.read_bytes()
    last_three = sum(len(line) + 1 for line in data.splitlines()[-3:])
    cuts = [*range(1, last_three, 211), last_three - 1, last_three]
    for cut in cuts:
        log = tmp_path / "cut.log"
        log.write_bytes(data[: len(data) - cut])
        done = crawl("--urls", urls, "--out", log, "--resume", "--processes", 0)
        assert done.returncode == 0, done.stderr
        assert_each_once(log, 10)


def limit_files_to(size: int):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_full_disk_costs_no_earlier_line(tmp_path, demo) -> None:
    """A write that does not fit ends the run with exit 2; what is there is whole and resumes."""
    urls = write_list(tmp_path / "l.txt", (f"{demo}/status/200?n={n}" for n in range(1000)))
    log = tmp_path / "r.log"
    full = crawl("--urls", urls, "--out", log, preexec_fn=limit_files_to(100_000))
    assert full.returncode == 2
    assert "r.log" in full.stderr
    assert "--resume" in full.stderr
    assert "Traceback" not in full.stderr
    assert log.read_bytes().endswith(b"\n")
    kept = len(records_of(log))
    assert 0 < kept < 1000
    assert crawl("--urls", urls, "--out", log, "--resume").returncode == 0
    assert_each_once(log, 1000)


@pytest.mark.parametrize("out", ["missing/r.log", ".", "/proc/r.log"])
def test_a_log_that_cannot_be_written_is_told_first(tmp_path, demo, out) -> None:
    """A bad --out ends with exit 2 and its name, before anything is sent."""
    done = crawl(f"{demo}/never", "--out", out, cwd=tmp_path)
    assert done.returncode == 2
    assert out.split("/")[-1] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_run_on_the_same_log_is_refused_or_waits(tmp_path, demo) -> None:
    """One run a log: the second one says who is first, or waits for it with --wait."""
    log = tmp_path / "r.log"
    first = subprocess.Popen(
        command(f"{demo}/status/200?delay=1500ms", "--out", log), stdout=subprocess.DEVNULL
    )
    assert wait_until(lambda: (tmp_path / "r.log.lock").exists())
    second = crawl(f"{demo}/status/200", "--out", log)
    assert second.returncode == 2
    assert str(first.pid) in second.stderr
    assert "--wait" in second.stderr
    third = crawl(f"{demo}/status/200", "--out", log, "--wait")
    assert first.wait(10) == 0
    assert third.returncode == 0
    assert len(records_of(log)) == 2
    assert not (tmp_path / "r.log.lock").exists()


def interrupted(tmp_path, demo, *, delay: str, extra=()):
    urls = write_list(
        tmp_path / "l.txt", (f"{demo}/status/200?n={n}&delay={delay}" for n in range(600))
    )
    log = tmp_path / "r.log"
    run = subprocess.Popen(
        command("--urls", urls, "--out", log, "--concurrency", 20, *extra),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert wait_until(lambda: log.exists() and log.stat().st_size > 0)
    return urls, log, run


def test_ctrl_c_once_lets_what_is_in_flight_finish(tmp_path, demo) -> None:
    """Nothing new is sent, the summary is printed, exit 130, and --resume goes on from there."""
    urls, log, run = interrupted(tmp_path, demo, delay="150ms")
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=20)
    assert run.returncode == 130
    assert time.monotonic() - began < 4
    assert "total" in out
    records = records_of(log)
    assert len(records) < 600
    assert all(record["error"] is None for record in records)
    resumed = crawl("--urls", urls, "--out", log, "--resume", "--concurrency", 300)
    assert resumed.returncode == 0
    assert_each_once(log, 600)


def test_ctrl_c_ends_the_grace_after_five_seconds(tmp_path, demo) -> None:
    """What never answers is not waited for beyond the grace."""
    log = tmp_path / "r.log"
    run = subprocess.Popen(
        command(f"{demo}/never", "--out", log), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert wait_until(lambda: bool(workers_of(run.pid)))
    time.sleep(0.5)
    began = time.monotonic()
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=20)
    assert run.returncode == 130
    assert 4 < time.monotonic() - began < 8
    assert records_of(log) == []


def test_ctrl_c_twice_is_out_within_a_second(tmp_path, demo) -> None:
    """The second one ends the command at once, and no worker stays."""
    _, log, run = interrupted(tmp_path, demo, delay="100ms", extra=["--timeout", "60"])
    workers = workers_of(run.pid)
    run.send_signal(signal.SIGSTOP)
    run.send_signal(signal.SIGCONT)
    run.send_signal(signal.SIGINT)
    time.sleep(0.4)
    if run.poll() is None:
        began = time.monotonic()
        run.send_signal(signal.SIGINT)
        run.wait(10)
        assert time.monotonic() - began < 1.5
    run.communicate()
    assert run.returncode == 130
    assert wait_until(lambda: not any(map(alive, workers)), 2)
    assert all(json.loads(line) for line in log.read_bytes().splitlines())


def test_a_poison_url_is_recorded_as_lost(tmp_path, demo) -> None:
    """A URL that keeps killing its workers gets a ``worker_lost`` record; all others are fine."""
    script = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
import crawler.station
from crawler.crawling import Crawling, Job
from crawler.run import crawl
real = crawler.station.begin
def deadly(plan, target, number):
    if target.seq == 17:
        os.kill(os.getpid(), 9)
    return real(plan, target, number)
crawler.station.begin = deadly
urls = [f"{demo}/status/200?n={{n}}" for n in range(200)]
run = crawl(urls, out={str(tmp_path / "r.log")!r}, processes=2)
print(run.results.errors.loc["worker_lost", "count"], len(list(run.records())))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["1", "200"], done.stderr
    assert_each_once(tmp_path / "r.log", 200)
    lost = [record for record in records_of(tmp_path / "r.log") if record["error"]]
    assert [(record["seq"], record["error"]) for record in lost] == [(17, "worker_lost")]


def test_a_pipe_that_closes_is_a_quiet_end(tmp_path, demo) -> None:
    """``crawl --out - | head`` prints the first records in order and ends without noise."""
    urls = write_list(tmp_path / "l.txt", (f"{demo}/status/200?n={n}" for n in range(3000)))
    line = f"{' '.join(command('--urls', urls, '--out', '-', '--summary', 'none'))} | head -n 5"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)
    assert [json.loads(row)["seq"] for row in done.stdout.splitlines()] == [0, 1, 2, 3, 4]
    assert done.stderr == ""


def test_a_slow_producer_holds_up_neither_results_nor_a_stop(tmp_path, demo) -> None:
    """From a pipe, results come out while the producer sleeps, and Ctrl-C is heard meanwhile."""
    run = subprocess.Popen(
        command("--urls", "-", "--out", "-", "--summary", "none"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stdin is not None
    assert run.stdout is not None
    for number in range(3):
        run.stdin.write(f"{demo}/status/200?n={number}\n")
        run.stdin.flush()
        assert json.loads(run.stdout.readline())["seq"] == number
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=10)
    assert run.returncode == 130
    assert "Fatal" not in said
    assert "Traceback" not in said
