"""`crawl bench` as a user runs it: what it prints, writes and ends with, and what it refuses."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import command, crawl, records_of


def bench(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return crawl("bench", *arguments, cwd=cwd)


def test_a_benchmark_prints_its_report_and_keeps_every_request(demo, tmp_path) -> None:
    """The report is on stdout, the log's name on stderr; the log is named by the time."""
    done = bench("-n", 50, "-c", 4, f"{demo}/novelSearchApi?name=a", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "requests  50 (50 ok, 0 failed: 0 %)" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    (log,) = tmp_path.glob("bench-*.log")
    assert re.fullmatch(r"bench-[0-9]{8}-[0-9]{6}\.log", log.name)
    assert log.name in done.stderr
    assert sorted(record["seq"] for record in records_of(log)) == list(range(50))


def test_the_report_verb_tells_the_same_of_the_log(demo, tmp_path) -> None:
    """What bench printed can be printed again, without the network."""
    done = bench("-n", 300, "--warmup", 20, "--out", "b.log", f"{demo}/status/200", cwd=tmp_path)
    again = crawl("report", "b.log", cwd=tmp_path)
    told, retold = (text.split("\n", 1)[1] for text in (done.stdout, again.stdout))
    assert told == retold, again.stderr


def test_limits_that_hold_end_well_and_a_broken_one_is_named(demo, tmp_path) -> None:
    """Exit 0 where all hold; 3 where one is broken, which is named with what was measured."""
    limits = ["--fail-on", "p95<20s,errors<1%", "--fail-on", "rate>1/s"]
    url = f"{demo}/status/200"
    held = bench("-n", 50, "--out", "none", *limits, url, cwd=tmp_path)
    assert held.returncode == 0, held.stderr
    assert held.stdout.count(": held: ") == 3
    broken = bench("-n", 50, "--out", "none", *limits, "--fail-on", "p50<1us", url, cwd=tmp_path)
    assert broken.returncode == 3
    assert re.search(r"^crawl: p50<1us: broken: .* ms", broken.stderr, re.MULTILINE)


def test_failures_are_counted_and_are_no_error_of_ours(demo, tmp_path) -> None:
    """Where some requests succeed the exit code is 0, as that of other load generators."""
    urls = [f"{demo}/status/200", f"{demo}/status/404"]
    done = bench("-n", 40, "--out", "none", *urls, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "40 (20 ok, 20 failed: 50.0 %)" in done.stdout


def test_a_server_that_is_not_there_is_an_error_with_its_cause(tmp_path) -> None:
    """Exit 1 and the cause, long before the end that was asked for."""
    began_s = time.monotonic()
    done = bench("-z", "60s", "--out", "none", "http://127.0.0.1:9/", cwd=tmp_path)
    assert time.monotonic() - began_s < 20
    assert done.returncode == 1
    assert "no request succeeded (connect: " in done.stderr
    assert "--keep-going" in done.stderr


def test_a_short_run_in_which_nothing_succeeds_is_an_error_too(tmp_path) -> None:
    """Too few requests to end early, and still none that succeeded: exit 1."""
    done = bench("-n", 50, "--out", "none", "http://127.0.0.1:9/", cwd=tmp_path)
    assert done.returncode == 1
    assert "50 (0 ok, 50 failed" in done.stdout


def test_an_output_that_cannot_be_is_refused_before_anything_is_sent(tmp_path) -> None:
    """Neither onto the record log nor where there is no directory: exit 2, and no log."""
    for metrics in ("b.log", "absent/m.prom"):
        done = bench("--out", "b.log", "--metrics", metrics, "http://127.0.0.1:9/", cwd=tmp_path)
        assert done.returncode == 2
        assert f"--metrics {metrics}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_with_the_report_of_what_was_done(demo, tmp_path) -> None:
    """A benchmark that is interrupted reports what it has, and exits with 130."""
    process = subprocess.Popen(
        command("bench", "-z", "60s", "-c", 2, "--out", "b.log", f"{demo}/status/200"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    )  # fmt: skip
    while not (tmp_path / "b.log").exists() or not (tmp_path / "b.log").stat().st_size:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    count = len(records_of(tmp_path / "b.log"))
    assert f"requests  {count:,} ({count:,} ok" in out


def test_two_sides_end_in_a_comparison(demo, tmp_path) -> None:
    """--ab requests both, half and half, and says how B differs from A."""
    sides = [f"{demo}/status/200", f"{demo}/status/200?delay=30ms"]
    done = bench("--ab", *sides, "-n", 400, "-c", 4, "--out", "none", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "B against A" in done.stdout
    assert f"B: {sides[1]}" in done.stdout
    assert "slower" in done.stdout.split("B against A")[1]


def test_random_urls_and_weights_choose_what_is_requested(demo, tmp_path) -> None:
    """--rand-url makes URLs up; --weights says how often each of several is requested."""
    bench("-n", 200, "--out", "r.log", "--rand-url", f"{demo}/bytes/[1-9]{{2}}", cwd=tmp_path)
    urls = {record["url"] for record in records_of(tmp_path / "r.log")}
    assert len(urls) > 50
    assert all(re.fullmatch(r".*/bytes/[1-9][1-9]", url) for url in urls)
    pair = [f"{demo}/status/200", f"{demo}/status/201"]
    bench("-n", 500, "--out", "w.log", "--weights", "9,1", *pair, cwd=tmp_path)
    rare = sum(record["status"] == 201 for record in records_of(tmp_path / "w.log"))
    assert 15 < rare < 100


def test_the_figures_are_written_for_a_metrics_collector(demo, tmp_path) -> None:
    """--metrics writes a whole OpenMetrics file."""
    done = bench(
        "-n", 20, "--out", "none", "--metrics", "m.prom", f"{demo}/status/200", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "m.prom").read_text()
    assert text.endswith("# EOF\n")
    assert re.search(r'crawl_requests_total\{.*outcome="ok"\} 20', text)


def test_our_own_floor_is_measured_without_any_target(tmp_path) -> None:
    """--calibrate alone tells what a server that does nothing would show."""
    done = bench("--calibrate", "-c", 4, "--rate", "200", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.match(r"our own floor here, at 200/s .*p50 [0-9.]+ ms, p99", done.stdout)
    assert list(tmp_path.iterdir()) == []


def test_headers_and_bodies_are_sent_as_in_a_run(demo, tmp_path) -> None:
    """The request options are those of the main verb."""
    done = bench(
        "-n", 1, "--out", "b.log", "--json", json.dumps({"a": 1}), "-H", "X-Test: 1",
        f"{demo}/anything", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (record,) = records_of(tmp_path / "b.log")
    assert record["method"] == "POST"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rate", "5x"), "--rate '5x', column 1"),
        (("--rate", "0"), "--rate '0', column 1"),
        (("--ramp", "0..5@3q"), "column 6: '3q' is no duration"),
        (("--ramp", "0..500@30s", "--rate", "5"), "--rate and --ramp"),
        (("--arrivals", "poisson"), "--arrivals are those of a schedule"),
        (("-z", "soon"), "--duration: 'soon'"),
        (("-n", "0"), "--requests is 0"),
        (("--warmup", "lots"), "--warmup: 'lots' is neither"),
        (("--ramp", "0..0@1s,5@1s", "--warmup", "1s"), "--warmup has the rate"),
        (("--fail-on", "p95"), "--fail-on 'p95', column 1"),
        (("--fail-on", "p95<fast"), "column 5: 'fast'"),
        (("--weights", "1,2"), "--weights gives 2 weights for 1 URL"),
        (("--weights", "a"), "--weights: 'a' are no weights"),
        (("--weights", "1", "--shuffle"), "--weights and --shuffle"),
        (("--rand-url", "http://h/[0-9]"), "URLs and lists and --rand-url"),
        (("--ab", "http://h/a", "http://h/b"), "URLs and lists and --ab"),
        (("--out", "-"), "--out: give a file"),
        (("--group-by", "city"), "--group-by 'city'"),
        (("--concurrency", "0"), "--concurrency is 0"),
    ],
)
def test_options_that_cannot_be_used_are_named(arguments, words, tmp_path) -> None:
    """Exit 2 with the option, where in it, and the right form; nothing is sent or written."""
    done = bench(*arguments, "http://127.0.0.1:9/", cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_order_for_what_has_its_own_is_refused(tmp_path) -> None:
    """Two sides are interleaved at random: weights would not be heeded."""
    done = bench("--ab", "http://h/a", "http://h/b", "--weights", "1,9", cwd=tmp_path)
    assert (done.returncode, "--ab has an order of its own" in done.stderr) == (2, True)


def test_what_is_no_url_is_refused_before_anything_is_sent(tmp_path) -> None:
    """A benchmark of what cannot be requested would only measure us."""
    done = bench("http://a..b/", cwd=tmp_path)
    assert (done.returncode, "cannot be requested" in done.stderr) == (2, True)
    secret = bench("http://me:hunter2@a..b/", cwd=tmp_path)
    assert (secret.returncode, "cannot be requested" in secret.stderr) == (2, True)
    assert "hunter2" not in secret.stderr
    nothing = crawl("bench", cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert (nothing.returncode, "nothing to request" in nothing.stderr) == (2, True)
