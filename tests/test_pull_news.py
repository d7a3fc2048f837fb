"""Changes told as alerts, data that stays whatever becomes of its job, what is told of pulls."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crawler.cli.job_options import known_keys
from crawler.errors import LogError, UsageError
from crawler.log import read_log
from crawler.pull.alerting import findings, note
from crawler.pull.channels import check_channels
from crawler.pull.committing import Committed
from crawler.pull.job import AlertPlan, PullJob, job_of
from crawler.pull.job_file import read_job_file
from crawler.pull.job_lock import lock_job, running_since
from crawler.pull.json_paths import JsonPath
from crawler.pull.news import MOST_TOLD
from crawler.pull.state import RunState, State, TargetState
from tests.conftest import command, crawl
from tests.pull_site import PulledJob, Reply, Site, serving


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    with serving() as site:
        yield site


def _job(tmp_path: Path, site: Site, more: str = "", *paths: str) -> PulledJob:
    urls = [f"{site.url}{path}" for path in paths or ("/a",)]
    return PulledJob(tmp_path, f"[targets]\nlist = {json.dumps(urls)}\n{more}")


def _alerting(folder: Path, rules: str) -> str:
    return f'[alerts]\n{rules}\ncommand = ["sh", "-c", "cat >> {folder}/alerts"]\n'


def _alerts(folder: Path) -> list[dict[str, Any]]:
    with contextlib.suppress(FileNotFoundError):
        return [json.loads(line) for line in (folder / "alerts").read_text().splitlines()]
    return []


# -- changes as alerts


def test_a_change_is_told_with_its_diff_once(site: Site, tmp_path: Path) -> None:
    """Not the first version, and not again while it stays."""
    job = _job(tmp_path, site, _alerting(tmp_path, "changes = true"))
    for price in (1, 1, 2, 2):
        site.page("/a", Reply({"price": price}))
        job.pull()
    [alert] = _alerts(tmp_path)
    assert (alert["rule"], alert["state"]) == ("changes", "changed")
    assert alert["subject"] == f"{site.url}/a"
    assert alert["message"] == f"job: {site.url}/a changed (+1 -1 lines)"
    assert '+  "price": 2' in alert["diff"]
    assert json.loads((job.folder / alert["version"]).read_bytes()) == {"price": 2}


def test_rows_are_told_without_a_diff_and_a_feed_by_what_is_new(site: Site, tmp_path: Path) -> None:
    """Where versions are rows the alert says where; each new page of a feed is news."""
    store = '[store]\nversions = "jsonl"\n[cursor]\nfrom = "n"\nparam = "since"\n'
    job = _job(tmp_path, site, store + _alerting(tmp_path, "changes = true"))
    for number in (1, 2):
        site.page("/a", Reply({"n": number}))
        job.pull()
    [alert] = _alerts(tmp_path)
    assert "diff" not in alert
    assert alert["version"].endswith(".jsonl")


def test_many_changes_are_few_alerts(site: Site, tmp_path: Path) -> None:
    """Of more than twenty in a pull one alert tells how many."""
    paths = [f"/{n}" for n in range(MOST_TOLD + 3)]
    job = _job(tmp_path, site, _alerting(tmp_path, "changes = true"), *paths)
    for number in (1, 2):
        for path in paths:
            site.page(path, Reply({"n": number}))
        job.pull()
    alerts = _alerts(tmp_path)
    assert len(alerts) == MOST_TOLD + 1
    assert alerts[-1]["message"] == "job: and 3 more changed; crawl pull --status tells"


def test_a_change_of_a_pull_that_was_killed_is_told_by_the_next(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is news until it is an alert, whatever comes between."""
    job = _job(tmp_path, site, _alerting(tmp_path, "changes = true"))
    site.page("/a", Reply({"n": 1}))
    job.pull()
    site.page("/a", Reply({"n": 2}))

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crawler.cli.pull.note", killed)
    job.pull()
    assert _alerts(tmp_path) == []
    monkeypatch.setattr("crawler.cli.pull.note", note)
    job.pull()
    job.pull()
    assert [each["state"] for each in _alerts(tmp_path)] == ["changed"]


def test_changes_before_the_rule_are_no_news(site: Site, tmp_path: Path) -> None:
    """Whoever asks for alerts of changes asks for those to come."""
    job = _job(tmp_path, site)
    for number in (1, 2):
        site.page("/a", Reply({"n": number}))
        job.pull()
    job.write(f'[targets]\nlist = ["{site.url}/a"]\n{_alerting(tmp_path, "changes = true")}')
    job.pull()
    assert _alerts(tmp_path) == []


@pytest.mark.parametrize("receiver", ["ops@", "<", ",", "a@[1", "a@b.org;c@d.org", "nobody there"])
def test_what_is_no_address_is_said_before_it_is_needed(receiver: str) -> None:
    """Not by a crash when the first alert is to be sent."""
    plan = AlertPlan(smtp="smtp://127.0.0.1", sender="a@example.org", receivers=(receiver,))
    with pytest.raises(UsageError, match=r"\[alerts\] from, to: give addresses"):
        check_channels(plan)


@pytest.mark.parametrize("receiver", ["root", "Ops at night <o@x.org>", "a@b.org, c@d.org"])
def test_addresses_of_any_kind_are_taken(receiver: str) -> None:
    """Of this machine, with a name, and several in one text."""
    check_channels(
        AlertPlan(smtp="smtp://127.0.0.1", sender='"Crawl, Inc." <a@b>', receivers=(receiver,))
    )


def test_a_change_of_a_pull_that_was_killed_is_told_though_only_one_is_kept(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is news is not thrown away before it is told."""
    store = "[store]\nkeep-versions = 1\n"
    job = _job(tmp_path, site, store + _alerting(tmp_path, "changes = true"))
    for number in (1, 2, 3):
        site.page("/a", Reply({"n": number}))
        with monkeypatch.context() as killed:
            if number == 2:
                killed.setattr("crawler.cli.pull.note", lambda *_, **__: 1 / 0)
                with contextlib.suppress(ZeroDivisionError):
                    job.pull()
            else:
                job.pull()
    assert len(_alerts(tmp_path)) == 2
    job.pull()
    assert len(_alerts(tmp_path)) == 2


# -- data that stays


def test_rows_stay_when_a_job_goes_over_to_files(site: Site, tmp_path: Path) -> None:
    """A day's file of rows is that of all targets: no version that is dropped takes it along."""
    rows, files = '[store]\nversions = "jsonl"\n', "[store]\nkeep-versions = 1\n"
    job = _job(tmp_path, site, rows, "/a", "/b")
    site.page("/b", Reply({"b": 1}))
    for number in (1, 2):
        site.page("/a", Reply({"n": number}))
        job.pull()
    [day] = job.versions()
    before = day.read_bytes()
    job.write(job.path.read_text().split("[store]")[0] + files)
    site.page("/a", Reply({"n": 3}))
    job.pull()
    assert day.read_bytes() == before
    assert len(before.splitlines()) == 3


def test_rows_stay_when_an_older_state_is_put_back(site: Site, tmp_path: Path) -> None:
    """What it does not know of was of later pulls, not of one that was killed."""
    job = _job(tmp_path, site, '[store]\nversions = "jsonl"\n')
    for number in range(4):
        site.page("/a", Reply({"n": number}))
        job.pull()
        if number == 0:
            state = (job.folder / "state.db").read_bytes()
    for name in ("state.db-wal", "state.db-shm"):
        (job.folder / name).unlink(missing_ok=True)
    (job.folder / "state.db").write_bytes(state)
    site.page("/a", Reply({"n": 4}))
    job.pull()
    [day] = job.versions()
    kept = [json.loads(line)["json"]["n"] for line in day.read_text().splitlines()]
    assert kept == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("rows[1]", [7]), ("rows[-2]", [7]), ("rows[0]", []), ("rows[-1]", []),
    ],
)  # fmt: skip
def test_an_index_beyond_a_list_names_nothing(path: str, left: list[int]) -> None:
    """RFC 9535, section 2.3.3."""
    assert JsonPath.parse(path).without({"rows": [7]}) == {"rows": left}


def test_a_cursor_takes_the_place_of_what_the_url_has(site: Site, tmp_path: Path) -> None:
    """Servers take the first of two: the feed would stand still."""
    job = _job(tmp_path, site, '[cursor]\nfrom = "n"\nparam = "since"\n', "/a?since=3&x=1")
    site.page("/a", Reply({"n": 9}))
    job.pull()
    job.pull()
    assert [each.path for each in site.asked] == ["/a?since=3&x=1", "/a?since=9&x=1"]


def test_last_success_waits_for_all_pages(site: Site, tmp_path: Path) -> None:
    """What a page that failed holds is asked for again."""
    paging = '[replies]\npaginate = "json:next"\n[retries]\nretries = 0\n'
    job = _job(tmp_path, site, paging, "/a?from={last_success:%s}")
    status = [500]

    def page(query: dict[str, list[str]], _: Any) -> Reply:
        if "page" in query:
            return Reply({"n": 2}, status[0])
        return Reply({"n": 1, "next": f"{site.url}/a?page=2"})

    site.pages["/a"] = page  # type: ignore[assignment]
    job.pull()
    status[0] = 200
    job.pull()
    job.pull()
    asked = [each.path for each in site.asked if "from=" in each.path]
    assert asked[:2] == ["/a?from=0", "/a?from=0"]
    assert asked[2] != "/a?from=0"


def test_last_success_waits_for_pages_of_a_pull_that_was_killed(site: Site, tmp_path: Path) -> None:
    """What was recorded is taken up; what was not is asked for from where it was."""
    paging = '[replies]\npaginate = "json:next"\n[retries]\nretries = 0\n'
    job = _job(tmp_path, site, paging, "/a?from={last_success:%s}")
    answered = threading.Event()

    def page(query: dict[str, list[str]], _: Any) -> Reply:
        if "page" not in query:
            return Reply({"n": 1, "next": f"{site.url}/a?page=2"})
        answered.wait(20)
        return Reply({"n": 2})

    site.pages["/a"] = page  # type: ignore[assignment]
    pull = subprocess.Popen(command("pull", job.path), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while len(site.asked) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # the first page's record is written
    pull.kill()
    pull.wait()
    answered.set()
    assert crawl("pull", "--wait", job.path).returncode == 0
    asked = [each.path for each in site.asked if "from=" in each.path]
    assert asked == ["/a?from=0", "/a?from=0"]
    assert job.state("SELECT count(*) FROM run WHERE cut") == [(1,)]


def test_304s_and_whole_replies_have_baselines_of_their_own(site: Site, tmp_path: Path) -> None:
    """A quiet target that begins to change is not slower; a slow one is not well for a 304."""
    job = _job(tmp_path, site, _alerting(tmp_path, "slower = true"))
    site.page("/a", Reply({"n": 1}))
    job.pull()
    with State.open(job.folder) as state:
        [target] = state.targets()
        told = list[bool | None]()
        for number in range(120):
            status, elapsed_ms = (304, 1.0) if number < 60 or number % 2 else (200, 9.0)
            slow = 30.0 if number >= 110 and status == 200 else 0.0
            state.change(
                "INSERT INTO outcome VALUES (1, ?, ?, 'unchanged', ?, NULL, NULL, ?)",
                float(number), f"r{number}", status, elapsed_ms + slow + number % 3 / 10,
            )  # fmt: skip
            [found] = _slower_of(job, state, target)
            told.append(found)
    assert True not in told[:110]
    assert told[-1] is True
    assert told[told.index(True) :].count(False) == 0


def _slower_of(job: PulledJob, state: State, target: TargetState) -> list[bool | None]:
    plan = AlertPlan(slower=True)
    run = RunState("r", 0.0, 0.0, 0, 1, 0, None)
    found = findings(_plan_of(job, plan), state, Committed(run, (target,), 0))
    return [each.firing for each in found if each.rule == "slower"]


def _plan_of(job: PulledJob, plan: AlertPlan) -> PullJob:
    return replace(job_of(read_job_file(job.path, known_keys())), alerts=plan)


def test_ignoring_a_part_of_each_element_takes_its_time_and_no_more() -> None:
    """Ten times the elements take ten times as long, not a hundred times."""
    rule = JsonPath.parse("$.items[*].t")

    def seconds(count: int) -> float:
        value = {"items": [{"t": n, "v": n} for n in range(count)]}
        began = time.process_time()
        assert rule.without(value)["items"][-1] == {"v": count - 1}
        return time.process_time() - began

    assert min(seconds(50_000) for _ in range(3)) < 40 * max(seconds(5_000) for _ in range(3))


# -- what is told of a pull


def test_a_lock_is_asked_for_and_not_its_number(tmp_path: Path) -> None:
    """A file that a kill left names a process that is somebody else's by now."""
    (tmp_path / "pull.lock").write_text(f"{os.getpid()} 2026-01-31T10:00:00Z\n")
    assert running_since(tmp_path) is None
    with lock_job("job", tmp_path, wait=False):
        assert running_since(tmp_path) == pytest.approx(time.time(), abs=60)
    with (tmp_path / "pull.lock").open("w") as file:
        file.write("1 2026-01-31T10:00:00Z\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        assert running_since(tmp_path) == 1769853600.0


def test_a_pull_that_is_stopped_before_a_reply_breaks_no_limit(site: Site, tmp_path: Path) -> None:
    """It ends as a signal ends it, and nobody is told that it could not be made."""
    job = _job(tmp_path, site, _alerting(tmp_path, 'fail-on = "errors<50%"'))
    site.pages["/a"] = lambda *_: time.sleep(3) or Reply({"a": 1})  # type: ignore[func-returns-value]
    pull = subprocess.Popen(command("pull", job.path), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not site.asked and time.monotonic() < deadline:
        time.sleep(0.02)
    for _ in range(2):  # the second ends the grace of what is in flight
        pull.send_signal(signal.SIGTERM)
        time.sleep(0.5)
    assert pull.wait(20) == 143
    assert _alerts(tmp_path) == []
    assert all(error is None for (error,) in job.state("SELECT error FROM run"))


def test_a_pull_that_cannot_be_made_is_in_the_figures_and_was_not_killed(tmp_path: Path) -> None:
    """The textfile says so, and the history tells of one pull, not of two."""
    job = PulledJob(tmp_path, '[targets]\nurls = "list.csv"\n[metrics]\ntextfile = "pull.prom"\n')
    (tmp_path / "list.csv").write_text("")
    assert job.pull() == 2
    assert job.pull() == 2
    figures = (tmp_path / "pull.prom").read_text()
    assert 'crawl_pull_last_run_made{job="job"} 0' in figures
    assert [cut for (cut,) in job.state("SELECT cut FROM run")] == [0, 0]


def test_a_file_beside_it_that_is_the_same_job_is_told(
    site: Site, tmp_path: Path, capsys: Any
) -> None:
    """A copy with a name of its own inside, pulled by a line of cron of its own, say."""
    site.page("/a", Reply({"a": 1}))
    job = _job(tmp_path, site)
    assert job.pull() == 0
    assert "same name" not in capsys.readouterr().err
    (tmp_path / "copy.toml").write_text('name = "job"\n' + job.path.read_text())
    (tmp_path / "rubbish.toml").write_text("= 3")
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "link.toml").symlink_to(job.path)
    assert job.pull() == 0
    said = capsys.readouterr().err
    assert "copy.toml and" in said
    assert "link.toml" not in said
    assert "have the same name; change one, or pull one of them only" in said


def test_a_secret_in_a_header_may_be_a_file(site: Site, tmp_path: Path) -> None:
    """``file:PATH`` is read as a header's value as it is elsewhere."""
    (tmp_path / "key.txt").write_text("s3cret\n")
    headers = '["X-Key: file:key.txt", "X-Other: a ${file:key.txt} b"]'
    job = _job(tmp_path, site, f"[request]\nheader = {headers}\n")
    site.page("/a", Reply({"a": 1}))
    assert job.pull() == 0
    [asked] = site.asked
    assert (asked.headers["x-key"], asked.headers["x-other"]) == ("s3cret", "a s3cret b")


def test_what_is_not_filled_in_is_refused(site: Site, tmp_path: Path, capsys: Any) -> None:
    """A place in a body would be sent as it stands."""
    job = _job(tmp_path, site, '[request]\njson = \'{"key": "${KEY}"}\'\n')
    assert job.pull() == 2
    assert "json: ${...} is not filled in there" in capsys.readouterr().err
    assert site.asked == []


def test_crontabs_nicknames_are_schedules(site: Site, tmp_path: Path) -> None:
    """@hourly and its like."""
    job = _job(tmp_path, site)
    job.path.write_text('schedule = "@hourly"\n' + job.path.read_text())
    done = crawl("pull", "--check", job.path)
    assert done.returncode == 0, done.stderr
    assert "when: 0 * * * *" in done.stdout


def test_a_log_that_was_put_aside_is_read(site: Site, tmp_path: Path) -> None:
    """read_log reads gzip as crawl report does, and says of a broken one what it is."""
    job = _job(tmp_path, site)
    site.page("/a", Reply({"a": 1}))
    job.pull()
    log = job.folder / "record.log"
    packed = tmp_path / "old.log.gz"
    packed.write_bytes(gzip.compress(log.read_bytes()))
    assert list(read_log(packed)) == list(read_log(log))
    packed.write_bytes(packed.read_bytes()[:-12])
    with pytest.raises(LogError, match="no whole gzip file"):
        list(read_log(packed))
