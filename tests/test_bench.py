"""Benchmarks of real servers: what is sent, when, what comes of it, and our own part in it."""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from crawler.bench import Bench, Benchmark, Plan
from crawler.benching import benchmark
from crawler.errors import UsageError
from crawler.load import Load
from crawler.log import read_log
from crawler.moment import Moment
from crawler.reading import read_report
from crawler.record import ARM, STAGE, WARMUP, Target
from crawler.report.latency_machine import document
from crawler.run_notes import read_notes
from crawler.schedule import Schedule, parse_ramp, parse_rate
from crawler.settings import Settings
from crawler.workload import a_and_b, in_turn
from tests.conftest import ROOT, assert_each_once


@contextlib.contextmanager
def stalling(period_s: float, stall_s: float, delays_ms: str = "") -> Iterator[str]:
    """A server that stands still for ``stall_s`` in each period, and answers after its delays."""
    arguments = [str(period_s), str(stall_s), *([delays_ms] if delays_ms else [])]
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.stall_server", *arguments],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert server.stdout is not None
    try:
        yield f"http://127.0.0.1:{server.stdout.readline().strip()}/"
    finally:
        server.kill()
        server.communicate()


@pytest.fixture(scope="module")
def prompt() -> Iterator[str]:
    """A server that answers at once."""
    with stalling(1, 0) as url:
        yield url


def at(rate: str, **more: Any) -> Load:
    """A load at a constant rate."""
    return Load(schedule=Schedule(parse_rate(rate).stages), words=rate, **more)


def run(url: str, load: Load, watch: Any = None, **more: Any) -> Bench:
    """Carry out a benchmark of one URL."""
    settings = Settings(concurrency=more.pop("concurrency", 8), processes=more.pop("processes", 2))
    plan = Plan(
        workload=more.pop("workload", in_turn([Target(0, url)])),
        load=load,
        settings=settings,
        warn=more.pop("warn", lambda _: None),
        **more,
    )
    return Benchmark(plan, watch).run()


def test_a_closed_loop_makes_exactly_the_requests_asked_for(prompt, tmp_path) -> None:
    """N requests, each with one record, no two under one number."""
    log = tmp_path / "bench.log"
    bench = run(prompt, Load(requests=2_000), out=log)
    assert bench.report.figures.total.ok == 2_000
    assert_each_once(log, 2_000)
    assert not bench.report.open_loop


def test_the_log_gives_the_same_report_without_the_network(prompt, tmp_path) -> None:
    """Read back, the records make the very figures that the benchmark ended with."""
    log = tmp_path / "bench.log"
    bench = run(prompt, at("500", requests=500, warmup_requests=100), out=log)
    again = read_report([log], warn=pytest.fail)
    live, read = (document(report) for report in (bench.report, again))
    assert live["total"] == read["total"]
    assert live["audit"] == read["audit"]
    assert (bench.report.figures.warmup, again.figures.warmup) == (100, 100)
    assert again.open_loop


def test_a_rate_is_kept_and_each_request_is_timed_from_when_it_was_due(prompt, tmp_path) -> None:
    """At 400/s for a second 400 requests begin, a 400th of a second apart."""
    log = tmp_path / "bench.log"
    bench = run(prompt, at("400", duration_s=1.0), out=log)
    figures = bench.report.figures
    assert figures.total.requests == 400
    assert figures.sent_per_s == pytest.approx(400, rel=0.1)
    assert figures.total.response.sum >= figures.total.service.sum
    assert min(record.lag_ms for record in read_log(log)) >= 0


def test_a_stall_shows_in_the_response_time_and_hides_in_the_service_time() -> None:
    """Four connections meet each stall with four requests; hundreds were due in it.

    Of 4 s a second and a half is stalled, in three stalls of half a second: a share of 3/8. A
    request due in a stall waits for what is left of it, so over all the share that waits longer
    than x is 3/8 (1 - 2x): p75 is 167 ms and p95 433 ms, and more on a machine that takes long to
    make up for the hundred that stood in line. Of 800 requests only 12 are on the wire when a
    stall begins, so the service time's p95 knows nothing of it.
    """
    with stalling(4 / 3, 0.5) as url:
        total = run(url, at("200", duration_s=4.0), concurrency=4).report.figures.total
    assert total.ok == 800
    response, service = (t.percentiles((0.75, 0.95)) for t in (total.response, total.service))
    assert 150 < response[0] < 400
    assert 400 < response[1] < 1000
    assert service[1] < response[1] / 4


def test_percentiles_are_those_of_the_delays_that_the_server_makes() -> None:
    """Of delays 1, 2, … 100 ms, each as often, p50 is 50 ms, p90 90 and p99 99, and a bit more."""
    with stalling(1, 0, ",".join(map(str, range(1, 101)))) as url:
        total = run(url, at("300", requests=900), concurrency=64).report.figures.total
    p50_ms, p90_ms, p99_ms = total.service.percentiles((0.50, 0.90, 0.99))
    assert 50 <= p50_ms < 60
    assert 90 <= p90_ms < 120
    assert 99 <= p99_ms < 400  # a busy machine delays some of them, and they are the last per cent
    assert statistics.fmean(range(1, 101)) <= total.service.mean < 75


def test_what_is_in_flight_at_the_end_is_waited_for(tmp_path) -> None:
    """A request begun before the end is counted, however long its reply takes."""
    with stalling(1, 0, "700") as url:
        bench = run(url, Load(duration_s=0.4), concurrency=4, out=tmp_path / "bench.log")
    assert bench.report.figures.total.ok == 4
    assert_each_once(tmp_path / "bench.log", 4)


def test_what_is_in_flight_at_the_end_is_dropped_where_asked_and_told() -> None:
    """With drop_unfinished the end is the end, and the report says how many were dropped."""
    with stalling(1, 0, "30000") as url:
        began_s = time.monotonic()
        bench = run(url, Load(duration_s=0.4), concurrency=4, drop_unfinished=True)
    assert time.monotonic() - began_s < 10
    assert bench.report.figures.total.requests == 0
    assert bench.report.runs[0].note is not None
    assert bench.report.runs[0].note.unfinished == 4
    assert any("4 requests in flight" in text for text in bench.report.audit.warnings)


def test_what_was_due_and_found_no_connection_is_told() -> None:
    """One connection and replies of 200 ms serve five a second; the rest of 50/s is told."""
    with stalling(1, 0, "200") as url:
        bench = run(url, at("50", duration_s=1.0), concurrency=1, processes=1)
    note = bench.report.runs[0].note
    assert note is not None
    assert note.unsent == 50 - bench.report.figures.total.requests
    assert 40 <= note.unsent <= 46
    assert any("never started" in text for text in bench.report.audit.warnings)
    assert bench.report.figures.total.response.max > 4 * bench.report.figures.total.service.max / 2


def test_a_stop_before_the_workers_are_ready_ends_it(prompt) -> None:
    """Whenever it comes, a stop is heard: at the very beginning, and while workers start."""
    for delay_s in (0.0, 0.005, 0.03):
        plan = Plan(
            workload=in_turn([Target(0, prompt)]),
            load=Load(duration_s=60.0),
            settings=Settings(concurrency=2, processes=0),
        )
        benchmark = Benchmark(plan)
        if delay_s:
            threading.Timer(delay_s, benchmark.stop, (0.2,)).start()
        else:
            benchmark.stop(0.2)
        began_s = time.monotonic()
        benchmark.run()
        assert time.monotonic() - began_s < 10


def test_what_was_not_yet_due_when_it_was_stopped_is_not_missed(prompt) -> None:
    """A schedule that is stopped early counts what was due until then, and no more."""
    plan = Plan(
        workload=in_turn([Target(0, prompt)]),
        load=at("100", duration_s=30.0),
        settings=Settings(concurrency=8, processes=0),
    )
    benchmark = Benchmark(plan)
    threading.Timer(0.5, benchmark.stop, (1.0,)).start()
    note = benchmark.run().report.runs[0].note
    assert note is not None
    assert note.unsent <= 5


def test_a_server_that_is_not_there_ends_it_early_with_the_cause() -> None:
    """Nothing succeeds, so half a minute of errors would tell no more than a moment of them."""
    began_s = time.monotonic()
    bench = run("http://127.0.0.1:9/", Load(duration_s=30.0))
    assert time.monotonic() - began_s < 15
    assert bench.gave_up is not None
    assert "connect: " in bench.gave_up


def test_it_goes_on_without_a_success_where_asked() -> None:
    """With keep_going the whole duration is used."""
    bench = run("http://127.0.0.1:9/", at("200", duration_s=1.0), keep_going=True)
    assert bench.gave_up is None
    assert bench.report.figures.total.failed == 200


def test_one_success_in_the_warm_up_is_hope_enough() -> None:
    """A server that fails after a good start is measured, not given up."""
    with stalling(1, 0) as url:
        targets = [Target(0, url)] + [Target(0, "http://127.0.0.1:9/")] * 300
        bench = run(url, Load(requests=300, warmup_requests=1), workload=in_turn(targets))
    assert bench.gave_up is None
    assert (bench.report.figures.total.failed, bench.report.figures.warmup) == (300, 1)


def test_the_warm_up_is_recorded_and_flagged(prompt, tmp_path) -> None:
    """Its records stand in the log under the stage warmup; no figure counts them."""
    log = tmp_path / "bench.log"
    bench = run(prompt, Load(requests=200, warmup_requests=50), out=log)
    stages = Counter(record.fields.get(STAGE) for record in read_log(log))
    assert stages == {WARMUP: 50, None: 200}
    assert bench.report.figures.total.requests == 200


def test_the_stages_of_a_ramp_are_told_apart(prompt, tmp_path) -> None:
    """Each record bears the number of its stage, as many as its rate and length make."""
    log = tmp_path / "bench.log"
    load = Load(schedule=Schedule(parse_ramp("0..200@1s,200@500ms")), words="0..200@1s,200@500ms")
    run(prompt, load, out=log)
    assert Counter(record.fields[STAGE] for record in read_log(log)) == {"1": 100, "2": 100}


def test_a_and_b_are_told_apart(prompt, tmp_path) -> None:
    """Each side has half of the requests, in the log and in its own figures."""
    log = tmp_path / "bench.log"
    sides = a_and_b(Target(0, prompt + "a"), Target(0, prompt + "b"), 1)
    bench = run(prompt, Load(requests=320), workload=sides, split=True, out=log)
    assert bench.sides is not None
    assert [side.total.ok for side in bench.sides] == [160, 160]
    assert Counter(record.fields[ARM] for record in read_log(log)) == {"A": 160, "B": 160}


def test_a_killed_worker_costs_no_request(prompt, tmp_path) -> None:
    """SIGKILL in the middle: a warning, and still exactly one record for each request."""
    log, warnings = tmp_path / "bench.log", list[str]()
    plan = Plan(
        workload=in_turn([Target(0, prompt)]),
        load=Load(requests=4_000),
        settings=Settings(concurrency=8, processes=2),
        out=log,
        warn=warnings.append,
    )
    benchmark = Benchmark(plan)

    def kill() -> None:
        while not log.exists() or log.stat().st_size < 50_000:
            time.sleep(0.005)
        os.kill(benchmark._crawling.pool.pids[0], signal.SIGKILL)

    killer = threading.Timer(0, kill)
    plan_began = benchmark._begin

    def begin() -> None:  # after the workers were forked: a thread must not be copied
        plan_began()
        killer.start()

    benchmark._begin = begin  # type: ignore[method-assign]
    bench = benchmark.run()
    killer.join()
    assert bench.report.figures.total.requests == 4_000
    assert_each_once(log, 4_000)
    assert any("killed by signal 9" in text for text in warnings)


def test_it_runs_in_this_process_and_keeps_no_log(prompt) -> None:
    """Without worker processes and without a log the figures are there all the same."""
    bench = run(prompt, Load(requests=100), processes=0)
    assert bench.log is None
    assert bench.report.figures.total.ok == 100


def test_each_second_is_told_while_it_lasts(prompt) -> None:
    """What is shown has the rate asked and achieved, what is in flight, and the latencies."""
    moments: list[Moment] = []
    run(prompt, at("200", duration_s=2.3), moments.append)
    assert len(moments) == 2
    assert moments[1].elapsed_s == pytest.approx(2, abs=0.3)
    assert moments[1].asked_per_s == 200
    assert moments[1].done_per_s == pytest.approx(200, rel=0.2)
    assert 0 < moments[1].p50_ms <= moments[1].p99_ms
    assert (moments[1].failed, moments[1].failed_in_all) == (0, 0)


def test_what_waits_for_a_connection_is_shown_while_it_lasts() -> None:
    """An open loop that is not kept up with shows its queue."""
    moments: list[Moment] = []
    with stalling(1, 0, "500") as url:
        run(url, at("40", duration_s=1.5), moments.append, concurrency=2, drop_unfinished=True)
    assert moments[0].in_flight == 2
    assert 25 <= moments[0].waiting <= 40


def test_a_note_of_the_run_stands_beside_its_log(prompt, tmp_path) -> None:
    """What was asked, and our own CPU, cannot be read from records: the note has them."""
    log = tmp_path / "bench.log"
    bench = run(prompt, at("300", duration_s=1.2), out=log)
    note = read_notes(log)[bench.run]
    assert (note.command, note.schedule, note.concurrency, note.processes) == ("bench", "300", 8, 2)
    assert 0 < note.cpu_share < 1
    assert note.worker_share is not None
    assert 0 < note.worker_share < 1


def test_the_library_refuses_what_is_no_url() -> None:
    """A benchmark of what cannot be requested would only measure us."""
    with pytest.raises(UsageError, match="'foo' cannot be requested"):
        benchmark("foo", requests=1)
    with pytest.raises(UsageError) as refused:
        benchmark("http://me:hunter2@a..b/", requests=1)
    assert "hunter2" not in str(refused.value)


def test_the_library_gives_figures_of_one_url(prompt) -> None:
    """One call, and the report is there."""
    total = benchmark(prompt, requests=50, concurrency=2, processes=0).report.figures.total
    assert (total.ok, total.failed) == (50, 0)


def test_a_pool_of_no_connections_is_refused() -> None:
    """Settings hold for a benchmark as they do for a run."""
    with pytest.raises(UsageError, match="concurrency"):
        run("http://127.0.0.1:9/", Load(requests=1), concurrency=0)
