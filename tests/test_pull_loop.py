"""The loop with real processes: schedules kept, no overlap, reloads, drains, alerts, the status."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from crawler.pull import alerting
from tests.conftest import command, crawl
from tests.pull_site import Asked, PulledJob, Reply, Site, serving


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    with serving() as site:
        yield site


class Running:
    """A loop under way: what it said, line by line."""

    def __init__(self, *options: object, log: Path, **environment: str) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                command("pull", *options), stdout=out, stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
            )  # fmt: skip

    def said(self) -> str:
        return self.log.read_text()

    def until(self, holds: Callable[[], bool], within_s: float = 20.0) -> None:
        deadline = time.monotonic() + within_s
        while not holds():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@contextlib.contextmanager
def _running(*options: object, log: Path, **environment: str) -> Iterator[Running]:
    loop = Running(*options, log=log, **environment)
    try:
        yield loop
    finally:
        if loop.process.poll() is None:
            loop.process.kill()
            loop.process.wait()


def _heeds(pid: int, number: int) -> bool:
    """Whether a process ignores or catches a signal, by the masks that proc(5) describes."""
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return any(int(status[name], 16) >> (number - 1) & 1 for name in ("SigIgn", "SigCgt"))


def _jobs(tmp_path: Path, site: Site, *names: str, every: str = "1s") -> dict[str, PulledJob]:
    folder = tmp_path / "jobs"
    folder.mkdir(exist_ok=True)
    jobs = {}
    for name in names:
        site.page(f"/{name}", Reply({"name": name}, headers={"ETag": f'"{name}"'}))
        text = f'every = "{every}"\n[targets]\nlist = ["{site.url}/{name}"]\n'
        jobs[name] = PulledJob(folder, text, name=name)
    return jobs


def _never_together(asked: list[Asked]) -> bool:
    return all(earlier.ended and earlier.ended <= later.began for earlier, later in pairwise(asked))


def test_jobs_are_pulled_by_their_periods_and_apart(site: Site, tmp_path: Path) -> None:
    """Each at once and then each second; one that fails and one that is slow keep no other back."""
    _jobs(tmp_path, site, "good", "bad", "slow")
    site.pages["/bad"] = lambda *_: Reply(b"", 500)

    def slow(*_: Any) -> Reply:
        """Answer once the good one was pulled twice more: never, were it kept back."""
        before, late_s = len(site.of("/good")), time.monotonic() + 30
        while len(site.of("/good")) < before + 2 and time.monotonic() < late_s:
            time.sleep(0.05)
        kept_back.append(len(site.of("/good")) < before + 2)
        return Reply({"slow": True})

    kept_back = list[bool]()
    site.pages["/slow"] = slow
    with _running("--loop", tmp_path / "jobs", log=tmp_path / "out") as loop:
        loop.until(lambda: len(site.of("/good")) >= 4 and len(site.of("/slow")) >= 2)
        loop.until(lambda: "longer than its period" in loop.said())
        assert loop.end() == 0
    began = [each.began for each in site.of("/good")]
    assert began[3] - began[0] > 1.2, "three periods of a second, the first perhaps begun late"
    assert kept_back[0] is False
    assert [each.status for each in site.of("/good")][:3] == [200, 304, 304]
    assert _never_together(site.of("/slow")[:2])
    assert "bad: 1 asked: 0 changed, 0 unchanged, 1 failed" in loop.said()
    assert "Traceback" not in loop.said()


def test_a_stop_lets_pulls_end_and_keeps_what_came(site: Site, tmp_path: Path) -> None:
    """SIGTERM: nothing new begins, what is in flight is kept, exit 0."""
    job = _jobs(tmp_path, site, "slow", every="1h")["slow"]

    def slow(*_: Any) -> Reply:
        time.sleep(1.5)
        return Reply({"kept": True})

    site.pages["/slow"] = slow
    with _running("--loop", job.path, log=tmp_path / "out") as loop:
        loop.until(lambda: bool(site.asked))
        assert loop.end() == 0
    assert [json.loads(body) for body in job.latest().values()] == [{"kept": True}]
    assert "stopping" in loop.said()


def test_a_killed_loop_leaves_its_pull_to_end(site: Site, tmp_path: Path) -> None:
    """kill -9 of the loop: the pull under way is a process of its own and commits."""
    job = _jobs(tmp_path, site, "slow", every="1h")["slow"]

    def slow(*_: Any) -> Reply:
        time.sleep(1.0)
        return Reply({"kept": True})

    site.pages["/slow"] = slow
    with _running("--loop", job.path, log=tmp_path / "out") as loop:
        loop.until(lambda: bool(site.asked))
        loop.process.kill()
        loop.process.wait()
        deadline = time.monotonic() + 20
        while not job.latest() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert job.latest()


def test_a_job_edited_to_rubbish_stays_as_it_was(site: Site, tmp_path: Path) -> None:
    """Its pulls go on by what was read; SIGHUP tells the error; a mended file is taken."""
    jobs = _jobs(tmp_path, site, "a", "b")
    good = jobs["a"].path.read_text()
    serve = ("--serve", "127.0.0.1:0")
    with _running("--loop", tmp_path / "jobs", *serve, log=tmp_path / "out") as loop:
        loop.until(lambda: bool(site.of("/a")) and "status at " in loop.said())
        url = loop.said().partition("status at ")[2].split()[0]
        jobs["a"].path.write_text("every = rubbish")
        count = len(site.of("/a"))
        loop.until(lambda: len(site.of("/a")) > count + 1)
        loop.process.send_signal(signal.SIGHUP)
        loop.until(lambda: "no TOML" in loop.said() and "stays as it was" in loop.said())
        count = len(site.of("/a"))
        loop.until(lambda: len(site.of("/a")) > count)
        stale = {
            view["name"]: view["fault"] for view in requests.get(f"{url}api", timeout=5).json()
        }
        assert "no TOML" in stale["a"]
        assert stale["b"] is None
        assert "its file was, which now is not right" in requests.get(url, timeout=5).text
        heeded = requests.get(f"{url}metrics", timeout=5).text
        assert 'crawl_pull_job_heeded{job="a"} 0' in heeded
        assert 'crawl_pull_job_heeded{job="b"} 1' in heeded
        jobs["a"].path.write_text(good.replace("/a", "/b?by=a"))
        loop.process.send_signal(signal.SIGHUP)
        loop.until(lambda: any("by=a" in each.path for each in site.asked))
        jobs["b"].path.unlink()
        _jobs(tmp_path, site, "new")
        loop.process.send_signal(signal.SIGHUP)
        loop.until(lambda: bool(site.of("/new")))
        assert loop.end(signal.SIGINT) == 0


def test_a_job_put_back_while_it_is_pulled_is_not_begun_again(site: Site, tmp_path: Path) -> None:
    """Its file goes and comes back, as editors do it, in the middle of a pull."""
    jobs = _jobs(tmp_path, site, "a", "b")
    goes_on = threading.Event()
    site.pages["/a"] = lambda *_: Reply({"a": goes_on.wait(30)})
    text = jobs["a"].path.read_text()
    with _running("--loop", tmp_path / "jobs", log=tmp_path / "out") as loop:
        loop.until(lambda: bool(site.of("/a")))
        jobs["a"].path.unlink()
        loop.process.send_signal(signal.SIGHUP)
        loop.until(lambda: loop.said().count("jobs read anew") == 1)
        jobs["a"].path.write_text(text)
        loop.process.send_signal(signal.SIGHUP)
        loop.until(lambda: loop.said().count("jobs read anew") == 2)
        count = len(site.of("/b"))
        loop.until(lambda: len(site.of("/b")) > count + 1)
        assert "skipped" not in loop.said()
        assert len(site.of("/a")) == 1
        goes_on.set()
        loop.until(lambda: len(site.of("/a")) > 1)
        assert loop.end() == 0


def test_a_pull_that_hangs_holds_up_no_other(site: Site, tmp_path: Path) -> None:
    """Before it has read its job, of more than a pipe holds: the loop goes on, and stops."""
    jobs = _jobs(tmp_path, site, "big", "a")
    jobs["big"].path.write_text(jobs["big"].path.read_text() + "#\n" * 100_000)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\nif any('big.toml' in word for word in sys.orig_argv): time.sleep(60)\n"
    )
    with _running(
        "--loop", tmp_path / "jobs", log=tmp_path / "out", PYTHONPATH=str(tmp_path)
    ) as loop:
        loop.until(lambda: len(site.of("/a")) > 2)
        assert site.of("/big") == []
        assert loop.end() == 0


def test_a_start_that_hangs_can_be_ended(site: Site, tmp_path: Path) -> None:
    """A secret's file that gives nothing: nothing has begun, so there is nothing to wait for."""
    jobs = _jobs(tmp_path, site, "a")
    os.mkfifo(tmp_path / "jobs" / "token")
    text = jobs["a"].path.read_text()
    jobs["a"].path.write_text(text + '[request]\nbearer = "file:token"\n')
    with _running("--loop", jobs["a"].path, log=tmp_path / "out") as loop:
        time.sleep(1.5)  # longer than a start takes; a shorter one is ended all the same
        loop.process.send_signal(signal.SIGTERM)
        assert loop.process.wait(10) in (0, -signal.SIGTERM)


def test_a_new_file_with_a_name_that_is_taken_bars_no_other(site: Site, tmp_path: Path) -> None:
    """It waits, and the page says why; the edits of others are taken."""
    jobs = _jobs(tmp_path, site, "b", "c")
    with _running("--loop", tmp_path / "jobs", log=tmp_path / "out") as loop:
        loop.until(lambda: bool(site.of("/b")))
        text = jobs["b"].path.read_text()
        (tmp_path / "jobs" / "a.toml").write_text('name = "b"\n' + text.replace("/b", "/c?by=a"))
        jobs["c"].path.write_text(jobs["c"].path.read_text().replace("/c", "/c?by=c"))
        loop.process.send_signal(signal.SIGHUP)
        loop.until(lambda: any("by=c" in each.path for each in site.asked))
        assert "the same name; change one; the job waits" in loop.said()
        assert not any("by=a" in each.path for each in site.asked)
        assert loop.end() == 0
    with _running("--loop", tmp_path / "jobs", log=tmp_path / "anew") as loop:
        loop.until(lambda: "have the same name; change one; the job waits" in loop.said())
        loop.until(lambda: len([each for each in site.asked if "by=" in each.path]) > 3)
        assert loop.end() == 0


def test_a_job_renamed_to_another_s_name_takes_nothing_over(site: Site, tmp_path: Path) -> None:
    """The other was that job before; the one that was edited stays as it was."""
    jobs = _jobs(tmp_path, site, "a", "b")
    with _running("--loop", tmp_path / "jobs", log=tmp_path / "out") as loop:
        loop.until(lambda: bool(site.of("/a")) and bool(site.of("/b")))
        jobs["a"].path.write_text('name = "b"\n' + jobs["a"].path.read_text())
        loop.process.send_signal(signal.SIGHUP)
        loop.until(lambda: "the same name; change one; the job stays as it was" in loop.said())
        counts = [len(site.of(path)) for path in ("/a", "/b")]
        loop.until(
            lambda: all(len(site.of(p)) > n + 1 for p, n in zip(("/a", "/b"), counts, strict=True))
        )
        assert loop.end() == 0
    assert len(jobs["b"].latest()) == 1


def test_a_reload_before_the_start_ends_nothing(site: Site, tmp_path: Path) -> None:
    """As systemctl reload right after systemctl start; before Python runs us, nobody can help."""
    jobs = _jobs(tmp_path, site, "a")
    with _running("--loop", jobs["a"].path, log=tmp_path / "out") as loop:
        loop.until(lambda: _heeds(loop.process.pid, signal.SIGHUP))
        for _ in range(15):
            time.sleep(0.1)
            loop.process.send_signal(signal.SIGHUP)
        loop.until(lambda: bool(site.of("/a")))
        assert loop.end() == 0


def test_a_loop_begins_only_with_jobs_that_can_be_pulled(site: Site, tmp_path: Path) -> None:
    """Rubbish, absent secrets, no schedule, shared folders: exit 2, before anything is sent."""
    jobs = _jobs(tmp_path, site, "a", "b")
    a, b = jobs["a"], jobs["b"]
    good = a.path.read_text()
    for text, said in (
        ("every = rubbish", "no TOML"),
        (good.replace('every = "1s"\n', ""), "no schedule"),
        (good + "[request]\nbearer = '${NO_SUCH}'\n", "NO_SUCH is not set"),
        (good + '[store]\ndir = "b"\n', "the same [store] dir"),
        ('name = "b"\n' + good, "the same name"),
        (good.replace('every = "1s"', 'schedule = "61 * * * *"'), "schedule '61 * * * *'"),
    ):
        a.path.write_text(text)
        done = crawl("pull", "--loop", a.path, b.path)
        assert done.returncode == 2, said
        assert said in done.stderr
    assert site.asked == []


def test_a_job_of_a_folder_that_cannot_be_pulled_waits(site: Site, tmp_path: Path) -> None:
    """The others begin, its error is told, and on the page; mended, SIGHUP takes it up."""
    jobs = _jobs(tmp_path, site, "good", "bad")
    text = jobs["bad"].path.read_text()
    jobs["bad"].path.write_text("evry = '1s'\n" + text)
    with _running(
        "--loop", tmp_path / "jobs", "--serve", "127.0.0.1:0", log=tmp_path / "out"
    ) as loop:
        loop.until(lambda: len(site.of("/good")) >= 2 and "status at " in loop.said())
        assert "did you mean every?; the job waits" in loop.said()
        url = loop.said().partition("status at ")[2].split()[0]
        views = {view["name"]: view for view in requests.get(f"{url}api", timeout=5).json()}
        assert "did you mean every?" in views["bad"]["error"]
        assert requests.get(f"{url}metrics", timeout=5).status_code == 200
        assert site.of("/bad") == []
        jobs["bad"].path.write_text(text)
        loop.process.send_signal(signal.SIGHUP)
        loop.until(lambda: len(site.of("/bad")) >= 1)
        assert "jobs read anew: 2" in loop.said()
        assert loop.end() == 0


def test_missed_pulls_are_caught_up_when_the_loop_begins(site: Site, tmp_path: Path) -> None:
    """A job last pulled long ago is pulled at once, once; one just pulled is not."""
    jobs = _jobs(tmp_path, site, "late", "early", every="1h")
    for job in jobs.values():
        assert job.pull() == 0
    state = jobs["late"].folder / "state.db"
    import sqlite3

    with contextlib.closing(sqlite3.connect(state)) as connection, connection:
        connection.execute("UPDATE run SET started = started - 7200")
    site.asked.clear()
    with _running("--loop", tmp_path / "jobs", log=tmp_path / "out") as loop:
        loop.until(lambda: "late: 1 asked" in loop.said())
        time.sleep(0.5)
        assert loop.end() == 0
    assert [each.path for each in site.asked] == ["/late"]


def test_every_makes_a_loop_of_any_job(site: Site, tmp_path: Path) -> None:
    """--every 1s needs no schedule in the file."""
    site.page("/a", Reply({"a": 1}))
    job = PulledJob(tmp_path, f'[targets]\nlist = ["{site.url}/a"]\n')
    with _running("--every", "1s", job.path, log=tmp_path / "out") as loop:
        loop.until(lambda: len(site.asked) >= 2)
        assert loop.end() == 0


def test_the_page_is_served_beside_the_loop(site: Site, tmp_path: Path) -> None:
    """--serve: page, API, metrics and health of the jobs under way."""
    _jobs(tmp_path, site, "a")
    with _running(
        "--loop", tmp_path / "jobs", "--serve", "127.0.0.1:0", log=tmp_path / "out"
    ) as loop:
        loop.until(lambda: "a: 1 asked" in loop.said() and "status at" in loop.said())
        url = loop.said().split("status at ")[1].split()[0].rstrip("/")
        page, api = requests.get(url, timeout=5), requests.get(f"{url}/api", timeout=5).json()
        assert page.status_code == 200
        assert f"{site.url}/a" in page.text
        assert f"{site.url}/a" in json.dumps(api)
        assert "crawl_pull_last_run" in requests.get(f"{url}/metrics", timeout=5).text
        assert requests.get(f"{url}/healthz", timeout=5).text == "ok\n"
        assert loop.end() == 0


def _alerts(tmp_path: Path) -> list[dict[str, Any]]:
    path = tmp_path / "alerts"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _alerting(tmp_path: Path, site: Site, rules: str, more: str = "") -> PulledJob:
    told = f'command = ["sh", "-c", "cat >> {tmp_path}/alerts"]\n'
    return PulledJob(
        tmp_path, f'[targets]\nlist = ["{site.url}/a"]\n[alerts]\n{rules}\n{told}{more}'
    )


def test_an_alert_is_told_once_a_change_of_state(site: Site, tmp_path: Path) -> None:
    """At the second failure in a row, not again at the third, and the recovery."""
    job = _alerting(tmp_path, site, "failures = 2")
    for status in (500, 500, 500, 200, 200, 500, 200):
        site.pages["/a"] = lambda *_, status=status: Reply({"a": 1}, status)
        job.pull()
    assert [(each["rule"], each["state"]) for each in _alerts(tmp_path)] == [
        ("failures", "firing"),
        ("failures", "recovered"),
    ]
    assert "failed 2 times in a row" in _alerts(tmp_path)[0]["message"]


def test_a_broken_limit_ends_with_3_and_is_told(site: Site, tmp_path: Path) -> None:
    """fail-on: each limit is an alert of its own; held again, it is told too."""
    job = _alerting(tmp_path, site, 'fail-on = "errors<50%,p95<60s"')
    site.pages["/a"] = lambda *_: Reply(b"", 500)
    assert [job.pull(), job.pull()] == [3, 3]
    site.page("/a", Reply({"a": 1}))
    assert job.pull() == 0
    subjects = [(each["subject"], each["state"]) for each in _alerts(tmp_path)]
    assert subjects == [
        ("errors<50%", "firing"), ("p95<60s", "firing"),
        ("errors<50%", "recovered"), ("p95<60s", "recovered"),
    ]  # fmt: skip


def test_data_that_stopped_changing_is_told(site: Site, tmp_path: Path) -> None:
    """unchanged-for: told once, and recovered when it changes."""
    job = _alerting(tmp_path, site, 'unchanged-for = "0.3s"')
    site.page("/a", Reply({"a": 1}))
    job.pull()
    time.sleep(0.4)
    job.pull()
    job.pull()
    site.page("/a", Reply({"a": 2}))
    job.pull()
    assert [each["state"] for each in _alerts(tmp_path)] == ["firing", "recovered"]


def test_latency_that_leaves_its_baseline_is_told(site: Site, tmp_path: Path) -> None:
    """slower: by the target's own median and spread, without a limit given by anybody."""
    import sqlite3

    job = _alerting(tmp_path, site, "slower = true")
    site.page("/a", Reply({"a": 1}))
    job.pull()
    with contextlib.closing(sqlite3.connect(job.folder / "state.db")) as connection, connection:
        connection.executemany(
            "INSERT INTO outcome VALUES (1, ?, ?, 'unchanged', 200, NULL, NULL, ?)",
            [(float(n), f"r{n}", 0.5 + n % 7 / 10) for n in range(40)],
        )
        connection.execute("UPDATE outcome SET elapsed_ms = 1.0 WHERE at > 100")

    def slow(*_: Any) -> Reply:
        time.sleep(0.05)
        return Reply({"a": 1})

    site.pages["/a"] = slow
    for _ in range(6):
        job.pull()
    [alert] = _alerts(tmp_path)
    assert (alert["rule"], alert["state"]) == ("slower", "firing")


def test_an_alert_that_cannot_be_told_is_told_later(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program fails: the pull does not, says so, and the next one tells it."""
    job = _alerting(tmp_path, site, "failures = 1")
    good = job.path.read_text()
    job.path.write_text(good.replace('["sh", "-c", "cat', '["sh", "-c", "exit 7; cat'))
    site.pages["/a"] = lambda *_: Reply(b"", 500)
    assert job.pull() == 1
    assert "could not be told" in capsys.readouterr().err
    job.path.write_text(good)
    job.pull()
    assert [each["state"] for each in _alerts(tmp_path)] == ["firing"]


def test_what_fires_is_told_however_late(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program failed for weeks: what is over is given up, what fires still is told at last."""
    job = _alerting(tmp_path, site, "failures = 1")
    good = job.path.read_text()
    job.path.write_text(good.replace('["sh", "-c", "cat', '["sh", "-c", "exit 7; cat'))
    for status in (500, 200, 500):
        site.pages["/a"] = lambda *_, status=status: Reply({"a": 1}, status)
        time.sleep(0.6)  # the two failures are told apart by the second since when
        job.pull()
    monkeypatch.setattr(alerting, "OLD_S", -1.0)
    job.pull()
    assert "alerts of what is over are given up: 2" in capsys.readouterr().err
    for _ in range(30):
        job.pull()
    job.path.write_text(good)
    job.pull()
    assert [each["state"] for each in _alerts(tmp_path)] == ["firing"]


def test_what_waits_for_a_channel_is_bounded(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest are kept."""
    monkeypatch.setattr(alerting, "MOST_WAITING", 3)
    job = _alerting(tmp_path, site, "failures = 1")
    job.path.write_text(job.path.read_text().replace('"-c", "cat', '"-c", "exit 7; cat'))
    for number in range(8):
        status = 200 if number % 2 else 500
        site.pages["/a"] = lambda *_, status=status: Reply({"a": 1}, status)
        job.pull()
    bodies = [json.loads(row[0]) for row in job.state("SELECT body FROM message ORDER BY id")]
    assert [each["state"] for each in bodies] == ["recovered", "firing", "recovered"]


def test_a_pull_that_cannot_be_made_is_told(site: Site, tmp_path: Path) -> None:
    """A list that is gone: an alert, its recovery, and the history."""
    site.page("/a", Reply({"a": 1}))
    job = _alerting(tmp_path, site, "failures = 3")
    job.write(job.path.read_text().replace("list = ", 'urls = "gone.txt"\nlist = '))
    assert job.pull() == 2
    assert job.pull() == 2
    (tmp_path / "gone.txt").write_text(f"{site.url}/a?b\n")
    site.page("/a", Reply({"a": 1}))
    assert job.pull() == 0
    assert [(each["rule"], each["state"]) for each in _alerts(tmp_path)] == [
        ("pull", "firing"), ("pull", "recovered"),
    ]  # fmt: skip


def test_figures_are_written_for_a_collector(site: Site, tmp_path: Path) -> None:
    """[metrics] textfile: whole, after each pull."""
    site.page("/a", Reply({"a": 1}))
    job = _alerting(tmp_path, site, "failures = 3", '[metrics]\ntextfile = "job.prom"\n')
    job.pull()
    text = (tmp_path / "job.prom").read_text()
    assert 'crawl_pull_targets{job="job",outcome="changed"} 1' in text
    assert text.endswith("# EOF\n")


def test_status_and_history_tell_of_targets_and_pulls(site: Site, tmp_path: Path) -> None:
    """As text and as JSON, also of a job that was never pulled."""
    job = _jobs(tmp_path, site, "a", every="15m")["a"]
    assert "not pulled yet" in crawl("pull", "--status", job.path).stdout
    job.pull()
    site.pages["/a"] = lambda *_: Reply(b"", 503)
    job.pull()
    status = crawl("pull", "--status", job.path, env={**os.environ, "COLUMNS": "160"}).stdout
    assert "1 failed" in status
    assert "next in 15 min" in status
    assert f"{site.url}/a" in status
    assert "failing" in status
    assert "failed once: http: HTTP 503" in status
    [view] = json.loads(crawl("pull", "--status", "--json", job.path).stdout)
    assert view["name"] == "a"
    history = json.loads(crawl("pull", "--history", "--json", job.path).stdout)
    assert [run["failed"] for run in history["a"]] == [1, 0]
    none = crawl("pull", "--history", job.path, "--since", "2099-01-01").stdout
    assert none == "a: no pull since 2099-01-01 00:00:00 UTC\n"
