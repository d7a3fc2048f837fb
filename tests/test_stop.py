"""Stops and deaths in the worker itself: nothing new is begun, and figures and log agree."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from crawler import pool_worker
from crawler.batches import Order
from crawler.channel import Channel
from crawler.crawling import Crawling, Job
from crawler.demand import Demand
from crawler.record import Target
from crawler.session import build_session
from crawler.settings import Settings
from crawler.worker import fetch_batch, initialize, new_event_loop
from tests.conftest import assert_each_once, records_of


class Counting:
    """A desk whose parent counts as ``Pool`` does: what was asked for, less what was given."""

    def __init__(self, share: int) -> None:
        self.share = share
        self.stopping = False
        self.wanted = share

    def more(self, count: int) -> None:
        self.wanted += count


@given(st.lists(st.tuples(st.integers(1, 400), st.booleans()), max_size=30), st.integers(1, 64))
def test_a_worker_without_work_has_always_asked_for_some(deliveries, share) -> None:
    """Whatever was delivered, asked for or inherited from the dead: once all is begun, more is due.

    Else parent and worker would wait for each other for ever.
    """
    desk = Counting(share)
    demand = Demand(desk)  # type: ignore[arg-type]
    for count, inherited in deliveries:
        given_now = count if inherited else min(count, desk.wanted)
        desk.wanted -= given_now
        demand.arrived(given_now)
        for left in range(given_now - 1, -1, -1):
            if left <= demand.low:
                demand.ask(left)
            demand.finished += 1
        if given_now:
            assert desk.wanted > 0


def test_what_comes_together_with_a_stop_is_not_begun() -> None:
    """Items that arrive in the same read as the order to stop are given back, not sent."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours)
    settings = Settings(processes=0, retries=0)
    setup = pool_worker.Setup(
        2, initialize, (None, build_session(settings), settings), new_event_loop
    )
    order = partial(fetch_batch, Order("r", "endpoint", keep_lines=True))
    targets = [Target(n, f"http://127.0.0.1:1/{n}") for n in range(12)]
    for message in (
        (pool_worker.FUNCTION, order),
        (pool_worker.TASK, 1, targets),
        (pool_worker.STOP, 1.0),
    ):
        channel.send(message)
    worker = threading.Thread(target=pool_worker.run, args=(Channel(theirs), setup))
    worker.start()
    said = {}
    while pool_worker.DONE not in said:
        for kind, *rest in channel.receive():
            said[kind] = rest
    channel.close()
    worker.join(5)
    assert said[pool_worker.DONE][1].records == 0


def crawl_and_stop(targets, out: Path | None, *, after_s: float, grace_s: float, **options):
    """Run, stop after a while, and give the seqs that were reported."""
    settings = Settings(processes=1, **options)
    seqs: list[int] = []
    job = Job(targets=targets, settings=settings, out=out, keep_lines=True, tables=False)
    with Crawling(job) as crawling:
        signal.signal(signal.SIGALRM, lambda *_: crawling.stop(grace_s))
        signal.setitimer(signal.ITIMER_REAL, after_s)
        for result in crawling:
            seqs += [seq for seq, _ in result.lines or ()]
        crawling.finish()
    return seqs


def test_at_the_end_of_the_grace_report_and_log_agree(tmp_path, demo) -> None:
    """What lands after a batch was reported as stopped is neither logged nor counted."""
    log = tmp_path / "r.log"
    targets = [Target(n, f"{demo}/status/200?n={n}&delay=uniform:100ms,1500ms") for n in range(150)]
    seqs = crawl_and_stop(targets, log, after_s=0.5, grace_s=0.4, concurrency=150, retries=0)
    assert 0 < len(seqs) < 150
    assert sorted(seqs) == sorted(record["seq"] for record in records_of(log))


def test_a_retry_on_the_wire_at_a_stop_is_recorded(demo) -> None:
    """Its reply came within the grace: it is the target's record, good or bad."""
    targets = [
        Target(0, f"{demo}/status/200?times=1&key=stop1&status=503&delay=600ms"),
        Target(1, f"{demo}/status/200?delay=1200ms"),
    ]
    seqs = crawl_and_stop(targets, None, after_s=0.9, grace_s=5, concurrency=4, backoff_s=0.001)
    assert seqs == [0, 1]


def test_random_kills_lose_nobody(tmp_path, demo) -> None:
    """Ten kills of whichever worker: one record a URL, and none of them ``worker_lost``."""
    dice, count, log = random.Random(3), 6000, tmp_path / "r.log"
    targets = [Target(n, f"{demo}/status/200?n={n}") for n in range(count)]
    job = Job(
        targets=targets, settings=Settings(processes=4), out=log, tables=False,
        warn=lambda _text: None,
    )  # fmt: skip
    done, kills = 0, 0
    with Crawling(job) as crawling:
        for result in crawling:
            done += result.records
            if done > (kills + 1) * 400 and kills < 10:
                pool = crawling._pool
                assert pool is not None
                os.kill(dice.choice(pool.pids), signal.SIGKILL)
                kills += 1
    assert kills == 10
    assert_each_once(log, count)
    assert [record for record in records_of(log) if record["error"]] == []


def test_a_channel_that_ends_ends_the_worker() -> None:
    """A worker outlives its parent's end by no more than a moment."""
    ours, theirs = socket.socketpair()
    worker = threading.Thread(target=pool_worker.run, args=(Channel(theirs), pool_worker.Setup(1)))
    worker.start()
    channel = Channel(ours)
    channel.close()
    worker.join(5)
    assert not worker.is_alive()


def test_a_group_told_to_end_finishes_what_is_in_flight(tmp_path, demo) -> None:
    """SIGTERM to all processes at once, as systemd, ``timeout`` and job schedulers send it."""
    log = tmp_path / "r.log"
    (tmp_path / "l.txt").write_text("".join(f"{demo}/novel/1?delay=1s&n={n}\n" for n in range(200)))
    command = [sys.executable, "-m", "crawler", "--urls", "l.txt", "--out", str(log)]
    options = ["--summary", "none", "--concurrency", "20", "--retries", "0"]
    told = subprocess.Popen(
        [*command, *options], cwd=tmp_path, stderr=subprocess.PIPE, text=True, process_group=0
    )
    while len(log.read_bytes().splitlines() if log.exists() else []) < 20:
        time.sleep(0.02)
    time.sleep(0.3)
    os.killpg(told.pid, signal.SIGTERM)
    assert "killed" not in told.communicate(timeout=30)[1]
    assert [record["error"] for record in records_of(log)] == [None] * len(records_of(log))
    assert len(records_of(log)) > 20


def test_a_program_that_leaves_a_pool_behind_ends(tmp_path) -> None:
    """Workers that ignore SIGTERM hold no interpreter up that nobody told them of."""
    script = """
import asyncio, os, signal
from crawler.pool import Pool

async def slowly(items, desk):
    await asyncio.sleep(60)

def leave(number, frame):
    raise StopAsyncIteration

signal.signal(signal.SIGALRM, leave)
pool = Pool(2)
pool.__enter__()
signal.setitimer(signal.ITIMER_REAL, 0.5)
try:
    next(iter(pool.imap_batches(slowly, range(10), window=10)))
except StopAsyncIteration:
    print(*pool.pids)
"""
    (tmp_path / "left.py").write_text(script)
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "left.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert (done.returncode, len(done.stdout.split())) == (0, 2), done.stderr
    assert time.monotonic() - began < 20
    assert not any(os.path.exists(f"/proc/{pid}") for pid in done.stdout.split())
