"""The pool: ordered, lazy, bounded, and nothing that happens to a worker stops it."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crawler.errors import TargetError, UsageError, WorkerError
from crawler.member import start_method
from crawler.pool import Pool

ROOT = Path(__file__).parent.parent


def square(number):
    return number * number


async def slow_square(number):
    await asyncio.sleep(0.001)
    return number * number


def work_for_a_millisecond(number):
    time.sleep(0.001)
    return number


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition, seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return bool(condition())


@pytest.mark.parametrize("processes", [0, 1, 2, 4])
@pytest.mark.parametrize("function", [square, slow_square])
def test_results_come_in_input_order(processes, function) -> None:
    """``imap`` gives what ``map`` gives, for any number of workers."""
    with Pool(processes) as pool:
        assert list(pool.imap(function, range(300))) == [n * n for n in range(300)]


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_items_than_workers(processes, count) -> None:
    """Empty and tiny inputs end like any other."""
    with Pool(processes) as pool:
        assert list(pool.imap(square, range(count))) == [n * n for n in range(count)]


def test_input_is_read_only_as_the_window_allows() -> None:
    """An endless input is fine: no more is read than was yielded plus the window."""
    read = itertools.count()
    with Pool(2) as pool:
        results = pool.imap(square, read, window=20)
        first = list(itertools.islice(results, 50))
    assert first == [n * n for n in range(50)]
    assert next(read) <= 50 + 20


def test_a_pool_is_used_again() -> None:
    """A second ``imap`` on the same workers works."""
    with Pool(2) as pool:
        assert list(pool.imap(square, range(10))) == list(map(square, range(10)))
        assert list(pool.imap(str, range(10))) == list(map(str, range(10)))


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_killed_worker_is_replaced(when) -> None:
    """kill -9 of an idle or a busy worker costs nothing but a warning."""
    warnings: list[str] = []
    with Pool(2, warn=warnings.append) as pool:
        if when == "before":
            os.kill(pool.pids[0], signal.SIGKILL)
        results = pool.imap(work_for_a_millisecond, range(400))
        seen = [next(results) for _ in range(100)]
        if when == "during":
            os.kill(pool.pids[1], signal.SIGKILL)
        seen += results
    assert seen == list(range(400))
    assert len(warnings) == 1
    assert "killed by signal 9" in warnings[0]


def test_fifty_kills_at_random_moments() -> None:
    """Whatever worker dies whenever, each item comes once and in order."""
    dice = random.Random(7)
    seen, kills = [], 0
    with Pool(4) as pool:
        next_kill = 20
        for number in pool.imap(work_for_a_millisecond, range(4000)):
            seen.append(number)
            if len(seen) >= next_kill and kills < 50:
                os.kill(dice.choice(pool.pids), signal.SIGKILL)
                kills += 1
                next_kill = len(seen) + dice.randint(1, 100)
    assert kills == 50
    assert seen == list(range(4000))


def die_of_13(number):
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_poison_item_is_given_up_after_three_deaths() -> None:
    """An item that kills every worker it meets ends the run with its name, not with a hang."""
    warnings: list[str] = []
    with Pool(2, warn=warnings.append) as pool, pytest.raises(WorkerError, match="13"):
        list(pool.imap(die_of_13, range(100)))
    assert len(warnings) >= 3


def refuse_to_start():
    raise RuntimeError("no licence for this worker")


@pytest.mark.parametrize("processes", [0, 3])
def test_a_failing_initializer_ends_the_run_with_its_words(processes) -> None:
    """No respawn storm: the first worker's error is the run's."""
    began = time.monotonic()
    with Pool(processes, refuse_to_start) as pool, pytest.raises(WorkerError, match="no licence"):
        list(pool.imap(square, range(10)))
    assert time.monotonic() - began < 5


def die_at_start():
    os._exit(9)


def test_workers_that_die_at_birth_end_the_run() -> None:
    """A worker that cannot even start is not tried for ever."""
    with Pool(2, die_at_start) as pool, pytest.raises(WorkerError, match="ended with code 9"):
        list(pool.imap(square, range(10)))


class UnpicklableError(Exception):
    def __init__(self) -> None:
        super().__init__(threading.Lock())


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def raise_it(kind):
    raise {
        "ValueError": ValueError("bad value"),
        "SystemExit": SystemExit(3),
        "KeyboardInterrupt": KeyboardInterrupt(),
        "Unpicklable": UnpicklableError(),
        "Speechless": SpeechlessError(),
        "GeneratorExit": GeneratorExit(),
    }[kind]


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize(
    "kind",
    ["ValueError", "SystemExit", "KeyboardInterrupt", "Unpicklable", "Speechless", "GeneratorExit"],
)
def test_any_exception_comes_back_as_text(processes, kind) -> None:
    """Whatever a function raises, the run ends with a ``WorkerError`` that tells it."""
    with Pool(processes) as pool, pytest.raises(WorkerError) as caught:
        list(pool.imap(raise_it, [kind]))
    assert "raise_it" in caught.value.remote_traceback


def raise_ours(_):
    raise TargetError("list.txt: no such file")


def test_our_own_errors_come_back_as_they_are() -> None:
    """A ``CrawlError`` keeps its class, so that the command can end with its exit code."""
    with Pool(1) as pool, pytest.raises(TargetError, match=r"list\.txt"):
        list(pool.imap(raise_ours, [1]))


def give_a_lock(_):
    return threading.Lock()


def test_an_unpicklable_result_is_an_error() -> None:
    """A result that cannot cross a pipe is told, not waited for."""
    with Pool(1) as pool, pytest.raises(WorkerError, match="pickle"):
        list(pool.imap(give_a_lock, [1]))


def test_an_unpicklable_function_is_a_usage_error() -> None:
    """The message says what cannot be sent."""
    with Pool(1) as pool, pytest.raises(UsageError, match="cannot be sent"):
        list(pool.imap(lambda n: n, [1]))


def test_items_of_a_coroutine_function_run_together() -> None:
    """A worker runs as many items at once as its share of the concurrency."""
    began = time.monotonic()
    with Pool(1, concurrency=50) as pool:
        list(pool.imap(sleep_a_tenth, range(100)))
    assert time.monotonic() - began < 3  # one after the other they take 10 s


async def sleep_a_tenth(_):
    await asyncio.sleep(0.1)


def test_inside_a_pool_of_the_standard_library(tmp_path) -> None:
    """A daemonic process may have no children: told with what to do instead."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert "processes=0" in pool.apply(start_a_pool)


def start_a_pool():
    try:
        with Pool(2):
            return "started"
    except UsageError as exc:
        return str(exc)


def test_an_input_that_raises_ends_the_run() -> None:
    """The iterable's own exception propagates, and no worker stays."""

    def numbers() -> Iterator[int]:
        yield from range(10)
        raise RuntimeError("the list broke off")

    with Pool(2) as pool:
        pids = pool.pids
        with pytest.raises(RuntimeError, match="broke off"):
            list(pool.imap(square, numbers()))
    assert wait_until(lambda: not any(map(alive, pids)))


def test_leaving_early_ends_the_workers() -> None:
    """A loop that breaks leaves no process behind, and at once."""
    began = time.monotonic()
    with Pool(2) as pool:
        pids = pool.pids
        for number in pool.imap(slow_square, itertools.count()):
            if number > 100:
                break
    assert time.monotonic() - began < 3
    assert not any(map(alive, pids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_leave_signals_of_a_group_to_their_parent(number: int) -> None:
    """SIGINT sent to a worker, as a terminal does, or SIGTERM, as systemd does, changes nothing."""
    with Pool(2) as pool:
        results = pool.imap(work_for_a_millisecond, range(200))
        seen = [next(results)]
        for pid in pool.pids:
            os.kill(pid, number)
        seen += results
    assert seen == list(range(200))


def test_stop_yields_what_was_begun_and_ends() -> None:
    """After ``stop`` nothing new is begun; results stay in order and without a gap at the front."""
    with Pool(2) as pool:
        seen = []
        for number in pool.imap(slow_square, itertools.count(), window=50):
            seen.append(number)
            if len(seen) == 20:
                pool.stop(1.0)
    assert seen[:20] == [n * n for n in range(20)]
    assert len(seen) <= 20 + 50


async def list_slowly(numbers, desk):
    """Batches of even numbers take longer than those of odd ones."""
    await asyncio.sleep(0.001 if numbers[0] % 2 else 0.2)
    desk.more(len(numbers))
    return numbers


@pytest.mark.parametrize("processes", [0, 2])
def test_results_in_the_order_of_completion_wait_for_nobody(processes) -> None:
    """A slow batch holds up nothing but itself, and every item still has one result."""
    with Pool(processes, concurrency=4) as pool:
        results = pool.imap_batches(
            list_slowly, range(12), window=100, largest=1, order="completion"
        )
        numbers = [number for batch in results for number in batch]
    assert sorted(numbers) == list(range(12))
    assert numbers[0] % 2 == 1
    assert numbers != sorted(numbers)


def test_a_ready_pool_has_all_its_workers() -> None:
    """After ``wait_until_ready`` every worker lives, and the pool works as ever."""
    with Pool(3) as pool:
        pool.wait_until_ready()
        assert [alive(pid) for pid in pool.pids] == [True] * 3
        assert list(pool.imap(square, range(5))) == [0, 1, 4, 9, 16]


def test_a_pool_that_cannot_be_ready_says_why() -> None:
    """Waiting for workers whose initializer raises ends with its words."""
    with pytest.raises(WorkerError, match="no licence"), Pool(2, refuse_to_start) as pool:
        pool.wait_until_ready()


def test_actions_are_called_at_their_moments_while_results_are_awaited() -> None:
    """Each is called once, in the order of the moments, never early; one may be a stop."""
    called: list[tuple[str, float]] = []
    with Pool(1) as pool:
        began_s = time.monotonic()
        pool.call_at(began_s + 0.2, lambda: called.append(("second", time.monotonic())))
        pool.call_at(began_s + 0.1, lambda: called.append(("first", time.monotonic())))
        pool.call_at(began_s + 0.3, lambda: pool.stop(1.0))
        numbers = list(pool.imap(work_for_a_millisecond, itertools.count(), window=10))
    assert [name for name, _ in called] == ["first", "second"]
    assert called[0][1] >= began_s + 0.1
    assert called[1][1] >= began_s + 0.2
    assert numbers == list(range(len(numbers)))


def test_a_second_stop_can_shorten_the_grace_and_not_lengthen_it() -> None:
    """What would be waited for for half a minute ends within the shorter grace."""
    with Pool(1) as pool:
        began_s = time.monotonic()
        pool.call_at(began_s + 0.2, lambda: pool.stop(30.0))
        pool.call_at(began_s + 0.4, lambda: pool.stop(0.1))
        pool.call_at(began_s + 0.45, lambda: pool.stop(60.0))
        assert list(pool.imap(sleep_for_ever, range(3))) == []
    assert time.monotonic() - began_s < 10


async def sleep_for_ever(_):
    await asyncio.sleep(3600)


ORPHANS = """
import itertools, os, sys, time
sys.path.insert(0, {root!r})
from crawler.pool import Pool
from tests.test_pool import work_for_a_millisecond
pool = Pool(3)
with pool:
    for n in pool.imap(work_for_a_millisecond, itertools.count()):
        if n == 50:
            print(*pool.pids, flush=True)
"""


def test_no_orphan_is_left_when_the_parent_is_killed() -> None:
    """kill -9 of the parent ends its workers by itself."""
    script = ORPHANS.format(root=str(ROOT))
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 3
    assert all(map(alive, pids))
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not any(map(alive, pids)), 3)
    parent.stdout.close()


def test_from_a_thread_workers_are_spawned() -> None:
    """Where other threads are about, forking is not safe, and spawn gives the same results."""
    results: list[int] = []

    def run() -> None:
        assert start_method() == "spawn"
        with Pool(2) as pool:
            results.extend(pool.imap(square, range(50)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(30)
    assert results == [n * n for n in range(50)]


UNGUARDED = """
import sys, threading
sys.path.insert(0, {root!r})
from crawler.errors import UsageError
from crawler.pool import Pool
{before}
try:
    with Pool(1) as pool:
        print(list(pool.imap(abs, [-1, 2])), flush=True)
except UsageError as exc:
    print("refused:", exc, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="fork is the start method on Linux only")
def test_a_script_needs_no_main_guard_where_workers_are_forked(tmp_path) -> None:
    """A plain script without ``if __name__ == '__main__'`` works."""
    script = tmp_path / "plain.py"
    script.write_text(UNGUARDED.format(root=str(ROOT), before=""))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[1, 2]"


def test_a_script_that_lacks_its_guard_is_told_where_workers_are_spawned(tmp_path) -> None:
    """With threads about, the same script ends with a clear error, not with a storm."""
    sleeper = "threading.Thread(target=threading.Event().wait, args=(20,), daemon=True).start()"
    script = tmp_path / "plain.py"
    script.write_text(UNGUARDED.format(root=str(ROOT), before=sleeper))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=30)
    assert "__main__" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout
