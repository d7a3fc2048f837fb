"""What must not happen to a job's data: kills at any moment, full disks, odd states, overlap."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from crawler.cli import main
from crawler.pull import versions
from crawler.pull.asking import Asking
from crawler.pull.committing import Commit
from crawler.pull.pulling import Pull
from crawler.pull.schema import APPLICATION_ID, MIGRATIONS
from crawler.pull.state_file import StateError, _connect_as, _unmoved
from tests.conftest import command, crawl
from tests.pull_site import PulledJob, Reply, Site, serving

KILLS = int(os.environ.get("CRAWL_TEST_KILLS", "12"))
"""How often the kill test kills; the figure of a hundred is in docs/pull.md."""


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    with serving() as site:
        yield site


def _job(tmp_path: Path, site: Site, more: str = "", name: str = "job") -> PulledJob:
    site.page("/a", Reply({"a": 1}, headers={"ETag": '"1"'}))
    return PulledJob(tmp_path, f'[targets]\nlist = ["{site.url}/a"]\n{more}', name=name)


def _spawn(job: PulledJob, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("pull", *options, job.path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class _Feeds:
    """Two ends of a server: a feed of numbered events, and documents that change all the time."""

    def __init__(self, site: Site) -> None:
        self.began = time.time()
        site.pages["/events"] = self._events
        for name in "abcdefgh":
            site.pages[f"/{name}"] = self._document

    def _newest(self) -> int:
        return int((time.time() - self.began) * 40)

    def _events(self, query: Any, _: Any) -> Reply:
        since = int(query.get("since", ["0"])[0])
        found = range(since + 1, min(self._newest(), since + 20) + 1)
        return Reply({"items": [{"id": number} for number in found]})

    def _document(self, _: Any, headers: Any) -> Reply:
        tag = f'"{self._newest() // 8}"'
        if headers.get("if-none-match") == tag:
            return Reply(b"", 304, {"ETag": tag})
        return Reply({"version": tag, "filler": "x" * 5000}, headers={"ETag": tag})


def _check_whole(job: PulledJob) -> tuple[int, int]:
    """Hold what any moment must show; give the cursor and the newest event that is kept."""
    for body in job.latest().values():
        json.loads(body)
    if not (job.folder / "state.db").exists() or not job.state("SELECT 1 FROM sqlite_schema"):
        return 0, 0  # killed before the first state was made, which is one transaction
    events = list(_events_kept(job))
    [(cursor,)] = job.state("SELECT max(CAST(cursor AS INTEGER)) FROM target") or [(0,)]
    for place, size in job.state("SELECT place, bytes FROM version"):
        if not place.endswith(".jsonl"):
            assert (job.folder / place).stat().st_size == size
    return cursor or 0, max(events, default=0)


def _events_kept(job: PulledJob, *, committed: bool = True) -> Iterator[int]:
    """The numbers in the rows of versions, in their order; those that the state tells of."""
    sizes = dict(job.state("SELECT place, bytes FROM rows_file"))
    for place, size in sorted(sizes.items()):
        for line in (job.folder / place).read_bytes()[:size].splitlines():
            yield from (item["id"] for item in json.loads(line)["json"]["items"])


@pytest.mark.timeout(300)
def test_kills_at_any_moment_lose_and_double_nothing(site: Site, tmp_path: Path) -> None:
    """kill -9 again and again: no version lost or doubled, no half file, no cursor too far."""
    _Feeds(site)
    feed = PulledJob(
        tmp_path,
        f'[targets]\nlist = ["{site.url}/events"]\n[cursor]\nfrom = "max(items[*].id)"\n'
        'param = "since"\n[store]\nversions = "jsonl"\n[pool]\nprocesses = 1\n',
        name="feed",
    )
    urls = ", ".join(f'"{site.url}/{name}"' for name in "abcdefgh")
    documents = PulledJob(
        tmp_path, f"[targets]\nlist = [{urls}]\n[pool]\nprocesses = 2\n", name="documents"
    )
    chance = random.Random(7)
    killed = 0
    for number in range(KILLS):
        job = (feed, documents)[number % 2]
        process = _spawn(job)
        time.sleep(chance.uniform(0.25, 0.8))
        killed += process.poll() is None
        process.kill()
        process.communicate()
        cursor, newest = _check_whole(job)
        assert cursor <= newest
    for job in (feed, documents):
        done = crawl("pull", "--wait", job.path)
        assert done.returncode == 0, done.stderr
    events = list(_events_kept(feed))
    assert events == list(range(1, len(events) + 1)), "an event was lost or doubled"
    _check_versions(documents)
    assert killed >= KILLS / 4, "hardly any pull was hit: the moments do not fit this machine"


def _check_versions(job: PulledJob) -> None:
    """Each version once, each file told of, and those of a target in the server's order."""
    rows = job.state("SELECT target, digest, place FROM version ORDER BY target, at")
    for target in {row[0] for row in rows}:
        digests = [row[1] for row in rows if row[0] == target]
        assert len(digests) == len(set(digests)), "a version is doubled"
    assert {str(p.relative_to(job.folder)) for p in job.versions()} == {row[2] for row in rows}
    newest = dict(job.state("SELECT id, digest FROM target"))
    assert {row[0]: row[1] for row in rows} == newest
    for slug, place in job.state(
        "SELECT slug, place FROM target JOIN version ON target.id = version.target "
        "AND target.digest = version.digest"
    ):
        latest = (job.folder / "latest" / f"{slug}.json").read_bytes()
        assert latest == (job.folder / place).read_bytes()


def test_what_a_killed_pull_recorded_is_taken_up(site: Site, tmp_path: Path) -> None:
    """A change that the server showed once is kept, though the pull died before its commit."""
    job = _job(tmp_path, site)
    _killed_at(Commit, "commit", job)
    site.page("/a", Reply({"a": 2}, headers={"ETag": '"2"'}))
    assert job.pull() == 0
    assert [json.loads(path.read_bytes())["a"] for path in job.versions()] == [1, 2]
    assert job.state("SELECT count(*) FROM run") == [(2,)]


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def _pull_raw(job: PulledJob) -> None:
    """Pull without the command's own handling of interrupts."""
    from crawler.cli.pull import execute
    from crawler.cli.pull_options import PullOptions

    execute(PullOptions(mode="once", places=(job.path,)))


def _killed_at(home: Any, point: str, job: PulledJob) -> None:
    """Pull, and be cut off where ``point`` of ``home`` is called."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(home, point, _die)
        with pytest.raises(KeyboardInterrupt):
            _pull_raw(job)


@pytest.mark.parametrize(("home", "point"), [(Commit, "_follow"), (versions._Files, "flush")])
def test_a_commit_that_is_cut_off_is_made_again(
    site: Site, tmp_path: Path, home: Any, point: str
) -> None:
    """Cut off before the transaction or after it, the next pull comes to the same files."""
    job = _job(tmp_path, site)
    job.pull()
    site.page("/a", Reply({"a": 2}, headers={"ETag": '"2"'}))
    _killed_at(home, point, job)
    assert [json.loads(body)["a"] for body in job.latest().values()] == [1]
    assert job.pull() == 0
    assert [json.loads(path.read_bytes())["a"] for path in job.versions()] == [1, 2]
    assert len(job.diffs()) == 1
    assert [json.loads(body)["a"] for body in job.latest().values()] == [2]
    assert job.state("SELECT count(*) FROM version") == [(2,)]


def _stumble(*_: object) -> None:
    raise KeyError("s3cr3t")


def test_a_bug_in_the_commit_is_told_and_bars_no_later_pull(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An alert and a line of history without the bug's words; what was fetched is put aside."""
    from crawler.pull import committing

    alerts = tmp_path / "alerts"
    job = _job(tmp_path, site, f'[alerts]\ncommand = ["sh", "-c", "cat >> {alerts}"]')
    job.pull()
    site.page("/a", Reply({"a": 2}, headers={"ETag": '"2"'}))
    with monkeypatch.context() as patch:
        patch.setattr(committing, "judge", _stumble)
        assert job.pull() == 70
        capsys.readouterr()
        assert job.pull() == 70
        assert "put aside in" in capsys.readouterr().err
    [aside] = job.folder.glob("spool-*")
    assert b'"a\\": 2' in (aside / "bodies.jsonl").read_bytes()
    assert job.pull() == 0
    assert [json.loads(body)["a"] for body in job.latest().values()] == [2]
    told = [json.loads(line) for line in alerts.read_text().splitlines()]
    assert [(each["rule"], each["state"]) for each in told] == [
        ("pull", "firing"), ("pull", "recovered"),
    ]  # fmt: skip
    assert "KeyError" in told[0]["message"]
    with monkeypatch.context() as patch:
        patch.setattr(committing, "judge", _stumble)
        for _ in range(6):
            job.pull()
    assert len(list(job.folder.glob("spool-*"))) == 3
    assert "s3cr3t" not in alerts.read_text()


def test_a_bug_in_one_job_keeps_no_other_back(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several jobs the others are pulled; the bug is told at the end."""
    from crawler.cli import pull
    from crawler.cli.job_options import read_requests

    jobs = []
    for name in "ab":
        (tmp_path / name).mkdir()
        jobs.append(_job(tmp_path / name, site, name=name))
    monkeypatch.setattr(
        pull,
        "read_requests",
        lambda *of: _stumble() if of[0].path == jobs[0].path else read_requests(*of),
    )
    assert main(["pull", *(str(job.path) for job in jobs)]) == 70
    assert [len(job.latest()) for job in jobs] == [0, 1]


def test_rows_beyond_what_was_committed_are_overwritten(site: Site, tmp_path: Path) -> None:
    """What a killed pull appended and did not commit is not there twice."""
    job = _job(tmp_path, site, '[store]\nversions = "jsonl"')
    job.pull()
    [path] = job.versions()
    with path.open("ab") as file:
        file.write(b'{"torn": ')
    site.page("/a", Reply({"a": 2}, headers={"ETag": '"2"'}))
    job.pull()
    assert [json.loads(line)["json"]["a"] for line in path.read_bytes().splitlines()] == [1, 2]


def test_two_pulls_at_once(site: Site, tmp_path: Path) -> None:
    """The second says who holds the job and since when; or waits; or ends with 0."""
    job = _job(tmp_path, site)

    answer = threading.Event()

    def slow(*_: Any) -> Reply:
        answer.wait(20)
        return Reply({"a": 1})

    site.pages["/a"] = slow
    first = _spawn(job)
    deadline = time.monotonic() + 20
    while not site.asked and time.monotonic() < deadline:
        time.sleep(0.01)
    second = crawl("pull", job.path)
    skipped = crawl("pull", "--skip-if-running", job.path)
    waited = _spawn(job, "--wait")
    answer.set()
    assert second.returncode == 4
    assert f"process {first.pid}, since 20" in second.stderr
    assert skipped.returncode == 0
    assert "skipped" in skipped.stderr
    assert first.wait(20) == waited.wait(20) == 0
    assert len(site.asked) == 2
    assert site.asked[0].ended <= site.asked[1].began
    first.communicate()
    waited.communicate()


def test_a_full_disk_costs_nothing_that_was_kept(site: Site, tmp_path: Path) -> None:
    """A clear error, exit 2; with room again the next pull takes up what was recorded."""
    job = _job(tmp_path, site)
    job.pull()
    site.page("/a", Reply({"a": "x" * 300_000}, headers={"ETag": '"2"'}))
    limited = subprocess.run(
        ["bash", "-c", 'ulimit -f 200; exec "$@"', "-", *command("pull", job.path)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert limited.returncode == 2, limited.stderr
    assert "Traceback" not in limited.stderr
    assert [json.loads(body)["a"] for body in job.latest().values()] == [1]
    assert job.pull() == 0
    assert [len(json.loads(body)["a"]) for body in job.latest().values()] == [300_000]


def test_a_newer_state_is_refused(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is sent, nothing written; the message says what to do."""
    job = _job(tmp_path, site)
    job.pull()
    with sqlite3.connect(job.folder / "state.db") as connection:
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    assert job.pull() == 2
    assert "use the newer one" in capsys.readouterr().err
    assert len(site.asked) == 1
    assert main(["pull", "--status", str(job.path)]) == 2
    assert "use the newer one" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["rubbish", "torn"])
def test_a_damaged_state_is_refused_and_replaced_by_hand(
    site: Site, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message says to move it away; then a pull begins anew beside what is kept."""
    job = _job(tmp_path, site)
    job.pull()
    path = job.folder / "state.db"
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(
        b"rubbish" * 1000 if damage == "rubbish" else data[:middle] + os.urandom(len(data) - middle)
    )
    assert job.pull() == 2
    assert "move it away" in capsys.readouterr().err
    assert len(site.asked) == 1
    path.rename(path.with_suffix(".bad"))
    assert job.pull() == 0
    assert len(job.versions()) == 2


def test_another_program_s_database_is_left_alone(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that holds a state.db of something else is no job's."""
    job = _job(tmp_path, site)
    job.folder.mkdir()
    connection = sqlite3.connect(job.folder / "state.db")
    connection.execute("CREATE TABLE cooking (recipe TEXT)")
    connection.close()
    before = (job.folder / "state.db").read_bytes()
    assert job.pull() == 2
    assert "another program's database" in capsys.readouterr().err
    assert (job.folder / "state.db").read_bytes() == before


def test_absent_secrets_stop_a_pull_before_anything_is_sent(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable is named, exit 2, and the history tells of it."""
    job = _job(tmp_path, site, "[request]\nbearer = '${NO_SUCH_TOKEN}'\n")
    assert job.pull() == 2
    assert "NO_SUCH_TOKEN is not set" in capsys.readouterr().err
    assert site.asked == []
    assert main(["pull", "--history", str(job.path)]) == 0
    assert "NO_SUCH_TOKEN is not set" in capsys.readouterr().out


def test_secrets_come_from_files_and_show_nowhere(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """file:PATH is read from the job's folder; logs, state, versions and --check do not tell it."""
    (tmp_path / "token").write_text("s3cr3t-${x}\n")
    job = _job(
        tmp_path,
        site,
        '[request]\nbearer = "file:token"\nheader = ["X-Api-Key: ${file:token}", "X-Env: ${HOME}"]',
    )
    assert job.pull("--check") == 0
    shown = capsys.readouterr().out
    assert "bearer = file:token" in shown
    assert "X-Api-Key: ${file:token}" in shown
    assert job.pull() == 0
    assert site.asked[0].headers["authorization"] == "Bearer s3cr3t-${x}"
    assert site.asked[0].headers["x-api-key"] == "s3cr3t-${x}"
    for path in job.folder.rglob("*"):
        assert path.is_dir() or b"s3cr3t" not in path.read_bytes()
    captured = capsys.readouterr()
    assert "s3cr3t" not in shown + captured.out + captured.err


def test_a_stopped_pull_keeps_what_it_has(site: Site, tmp_path: Path) -> None:
    """SIGTERM: what came is committed, what did not is neither failed nor forgotten; exit 143."""

    def slow(query: Any, _: Any) -> Reply:
        time.sleep(0.5)
        return Reply({"n": query["n"]})

    site.pages["/slow"] = slow
    urls = ", ".join(f'"{site.url}/slow?n={number}"' for number in range(30))
    job = PulledJob(
        tmp_path, f"[targets]\nlist = [{urls}]\n[pool]\nconcurrency = 2\nprocesses = 1\n"
    )
    process = _spawn(job)
    deadline = time.monotonic() + 20
    while len(site.asked) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode == 143, said
    kept = len(job.versions())
    assert 2 <= kept < 30
    assert set(job.outcomes()) <= {"changed", "failed"}
    assert job.state("SELECT count(*) FROM run") == [(1,)]
    assert len(job.latest()) == kept


def test_logs_are_put_aside_and_all_of_them_read(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beyond max-log-size the log is gzipped under its moment; crawl report reads all."""
    job = _job(tmp_path, site, '[log]\nmax-log-size = "10"\n')
    for _ in range(3):
        job.pull()
    logs = sorted(job.folder.glob("record*"))
    assert [path.name.endswith(".log.gz") for path in logs] == [True, True, False]
    capsys.readouterr()
    assert main(["report", "--json", "-", *map(str, logs)]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["requests"] == 3


def test_a_log_that_was_put_aside_and_not_packed_is_packed(site: Site, tmp_path: Path) -> None:
    """A pull killed between the two steps costs no record, and doubles none."""
    job = _job(tmp_path, site)
    job.pull()
    (job.folder / "record.log").rename(job.folder / "record-20260101T000000000Z.log")
    job.pull()
    assert [path.name for path in sorted(job.folder.glob("record-*"))] == [
        "record-20260101T000000000Z.log.gz"
    ]


def test_old_logs_are_deleted(site: Site, tmp_path: Path) -> None:
    """Those put aside longer ago than keep-logs."""
    job = _job(tmp_path, site, '[log]\nkeep-logs = "7d"\n')
    job.folder.mkdir()
    for name, days in (("record-20260101T000000000Z.log.gz", 8), ("record-2.log.gz", 6)):
        path = job.folder / name
        path.write_bytes(b"")
        os.utime(path, (time.time() - days * 86_400,) * 2)
    job.pull()
    assert [path.name for path in job.folder.glob("record-*")] == ["record-2.log.gz"]


def test_a_bad_line_of_an_earlier_pull_stops_no_later_one(site: Site, tmp_path: Path) -> None:
    """A pull reads its own records only, however long the log is."""
    job = _job(tmp_path, site)
    assert job.pull() == 0
    with (job.folder / "record.log").open("ab") as log:
        log.write(b'{"broken"\n')
    site.page("/a", Reply({"a": 2}))
    assert job.pull() == 0
    assert job.outcomes() == ["changed", "changed"]
    assert [json.loads(body)["a"] for body in job.latest().values()] == [2]


def test_a_new_state_costs_no_version_of_the_day(site: Site, tmp_path: Path) -> None:
    """state.db moved away, as a damaged one is to be: rows that are there stay."""
    job = _job(tmp_path, site, '[store]\nversions = "jsonl"')
    for number in (1, 2, 3):
        site.page("/a", Reply({"a": number}))
        if number == 3:
            for path in job.folder.glob("state.db*"):
                path.rename(tmp_path / path.name)
        assert job.pull() == 0
    rows = [json.loads(line) for path in job.versions() for line in path.open("rb")]
    assert [row["json"]["a"] for row in rows] == [1, 2, 3]


def test_a_body_nested_deeply_stops_no_job(site: Site, tmp_path: Path) -> None:
    """No JSON Patch can be made of it: it is a version without a diff."""
    job = _job(tmp_path, site, '[store]\ndiff = "json"')
    for number in (b"1", b"2"):
        site.page("/a", Reply(b"[" * 900 + number + b"]" * 900))
        assert job.pull() == 0
    assert len(job.versions()) == 2


def test_a_limit_given_twice_is_told_once(site: Site, tmp_path: Path) -> None:
    """And the state is whole."""
    job = _job(tmp_path, site, '[alerts]\nfail-on = "errors<10%,errors<10%"\ncommand = ["true"]')
    site.page("/a", Reply(b"", 500))
    assert job.pull() == 3
    assert job.state("SELECT rule, subject FROM alert") == [("fail-on", "errors<10%")]


def test_what_a_killed_pull_fetched_in_another_manner_is_not_asked_for_by_its_date(
    site: Site, tmp_path: Path
) -> None:
    """The job was edited between the kill and the next pull: that one asks in full."""
    date = "Fri, 27 Nov 2020 10:00:00 GMT"

    def page(_: object, headers: Mapping[str, str]) -> Reply:
        if headers.get("if-modified-since") == date:
            return Reply(b"", 304)
        return Reply({"lang": headers["accept-language"]}, headers={"Last-Modified": date})

    job = _job(tmp_path, site, '[request]\nheader = ["Accept-Language: en"]\n')
    site.pages["/a"] = page
    _killed_at(Commit, "commit", job)
    job.write(job.path.read_text().replace(": en", ": de"))
    assert job.pull() == 0
    assert [json.loads(body)["lang"] for body in job.latest().values()] == ["de"]


def test_ignore_edited_after_a_kill_doubles_no_version(site: Site, tmp_path: Path) -> None:
    """Killed when the state told of a version and latest/ did not: latest/ follows all the same."""
    job = _job(tmp_path, site, '[store]\nignore = ["$.at"]\n')
    job.pull()
    site.page("/a", Reply({"a": 2, "at": 1}))
    _killed_at(Commit, "_follow", job)
    job.write(job.path.read_text().replace('["$.at"]', "[]"))
    assert job.pull() == 0
    assert [json.loads(path.read_bytes())["a"] for path in job.versions()] == [1, 2]
    assert [json.loads(body)["a"] for body in job.latest().values()] == [2]


def test_a_pull_that_was_cut_off_is_told_and_drops_no_target(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The history says so; what it did not ask is shown as before."""
    urls = ", ".join(f'"{site.url}/{name}"' for name in "ab")
    job = PulledJob(tmp_path, f"[targets]\nlist = [{urls}]\n")
    for path in ("/a", "/b"):
        site.page(path, Reply({"a": 1}))
    job.pull()
    job.write(job.path.read_text().replace(urls, f'"{site.url}/a"'))
    _killed_at(Commit, "commit", job)
    job.write(job.path.read_text().replace(f'"{site.url}/a"', urls))
    _killed_at(Pull, "_pull", job)
    capsys.readouterr()
    assert job.pull("--history") == 0
    assert capsys.readouterr().out.count("cut off: not all targets") == 1
    job.pull("--status", "--json")
    assert f"{site.url}/b" in capsys.readouterr().out


def test_what_the_job_names_no_more_is_not_shown(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its alert is told to be over; named again it is there as before."""
    alerts = tmp_path / "alerts"
    urls = f'"{site.url}/a", "{site.url}/b"'
    job = PulledJob(
        tmp_path,
        f"[targets]\nlist = [{urls}]\n[alerts]\nfailures = 1\n"
        f'command = ["sh", "-c", "cat >> {alerts}"]\n',
    )
    site.page("/a", Reply({"a": 1}))
    site.page("/b", Reply(b"", 500))
    job.pull()
    whole = job.path.read_text()
    job.write(whole.replace(urls, f'"{site.url}/a"'))
    assert job.pull() == 0
    capsys.readouterr()
    job.pull("--status", "--json")
    shown = capsys.readouterr().out
    assert (f"{site.url}/a" in shown, f"{site.url}/b" in shown) == (True, False)
    told = [json.loads(line) for line in alerts.read_text().splitlines()]
    assert [(each["rule"], each["state"]) for each in told] == [
        ("failures", "firing"), ("failures", "recovered"),
    ]  # fmt: skip
    assert "watched no more" in told[1]["message"]
    job.write(whole)
    job.pull()
    job.pull("--status", "--json")
    assert f"{site.url}/b" in capsys.readouterr().out


AS_ANOTHER_USER = """
import os, sys
from crawler.cli import main
arguments = ["pull", "--status", sys.argv[1]]
if os.geteuid() == 0:  # root may write anywhere; its Python may be nobody else's to import
    main(arguments)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(arguments))
"""


def test_alerts_of_pages_that_are_not_come_to_stand(site: Site, tmp_path: Path) -> None:
    """The first page fails: nothing is known of the second, and nothing is told of it."""
    alerts = tmp_path / "alerts"
    job = PulledJob(
        tmp_path,
        f'[targets]\nlist = ["{site.url}/a"]\n[replies]\npaginate = "link-header"\n'
        f'[alerts]\nfailures = 1\ncommand = ["sh", "-c", "cat >> {alerts}"]\n',
    )
    first = Reply({"a": 1}, headers={"Link": '</b>; rel="next"'})
    site.page("/b", Reply(b"", 500))
    for reply in (first, Reply(b"", 500), first):
        site.page("/a", reply)
        job.pull()
    told = [json.loads(line) for line in alerts.read_text().splitlines()]
    assert [(each["subject"].partition(" ")[2], each["state"]) for each in told] == [
        ("page 2", "firing"), ("", "firing"), ("", "recovered"),
    ]  # fmt: skip


def test_pages_of_a_target_put_back_end_where_they_end_now(site: Site, tmp_path: Path) -> None:
    """It had more when it was taken out: they leave latest/."""
    job = PulledJob(
        tmp_path,
        f'[targets]\nlist = ["{site.url}/a"]\n[replies]\npaginate = "link-header"\n',
    )
    good = job.path.read_text()
    site.page("/b", Reply({"b": 1}))
    site.page("/c", Reply({"c": 1}))
    site.page("/a", Reply({"a": 1}, headers={"Link": '</b>; rel="next"'}))
    job.pull()
    assert len(job.latest()) == 2
    job.write(good.replace("/a", "/c"))
    job.pull()
    job.write(good)
    site.page("/a", Reply({"a": 1}))
    job.pull()
    assert sorted(map(json.loads, job.latest().values()), key=str) == [{"a": 1}, {"c": 1}]


def test_a_page_that_never_came_is_shown_as_failing(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until the pages end before it."""
    job = PulledJob(
        tmp_path,
        f'[targets]\nlist = ["{site.url}/a"]\n[replies]\npaginate = "link-header"\n',
    )
    site.page("/b", Reply(b"", 500))
    for link, shown in (('</b>; rel="next"', True), ("", False)):
        site.page("/a", Reply({"a": 1}, headers={"Link": link} if link else {}))
        job.pull()
        capsys.readouterr()
        job.pull("--status", "--json")
        [view] = json.loads(capsys.readouterr().out)
        assert [(each["page"], each["failures"]) for each in view["targets"]] == [
            (1, 0), *([(2, 1)] if shown else []),
        ]  # fmt: skip


def test_what_is_put_back_is_shown_although_the_pull_is_cut_off(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was asked: that counts, whatever was not asked any more."""
    urls = f'"{site.url}/a", "{site.url}/b"'
    job = PulledJob(tmp_path, f"[targets]\nlist = [{urls}]\n")
    for path in ("/a", "/b"):
        site.page(path, Reply({"a": 1}))
    whole = job.path.read_text()
    job.pull()
    job.write(whole.replace(urls, f'"{site.url}/a"'))
    job.pull()
    job.write(whole)
    _killed_at(Commit, "commit", job)
    _killed_at(Pull, "_pull", job)
    capsys.readouterr()
    job.pull("--status", "--json")
    assert f"{site.url}/b" in capsys.readouterr().out


WRITER = """
import sys, time
from pathlib import Path
from crawler.pull.state import State
with State.open(Path(sys.argv[1])) as state:
    print(flush=True)
    for n in range(600):
        with state.writing():
            for body in ("x" * n, "y" * n):
                state.change("INSERT INTO message (at, channel, body) VALUES (?, 'x', ?)", n, body)
            state.change("DELETE FROM message WHERE at < ?", n - 50)
        time.sleep(0.001 if n % 50 else 0.25)
"""


@pytest.mark.parametrize(
    "way", [lambda path: _connect_as(path, "mode=ro"), _unmoved], ids=["only reading", "unmoved"]
)
def test_a_state_is_looked_at_as_it_was_at_one_moment(tmp_path: Path, way: Any) -> None:
    """While it is written to: no half of a transaction, and never that it is damaged."""
    seen, said = set[int](), list[str]()
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        while writer.poll() is None:
            try:
                with contextlib.closing(way(tmp_path / "state.db")) as connection:
                    assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
                    seen.add(connection.execute("SELECT count(*) FROM message").fetchone()[0] % 2)
            except StateError as exc:
                said.append(str(exc))
    assert all("look again" in each for each in said)
    assert seen == {0}


def test_limits_count_targets_not_pages(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """However many of a target's pages are no data."""
    urls = f'"{site.url}/a", "{site.url}/c"'
    job = PulledJob(
        tmp_path,
        f'[targets]\nlist = [{urls}]\n[replies]\npaginate = "link-header"\n'
        '[alerts]\nfail-on = "errors<10%"\n',
    )
    site.page("/c", Reply({"a": 1}))
    for path, then in (("/a", "/p2"), ("/p2", "/p3"), ("/p3", "")):
        link = {"Link": f'<{then}>; rel="next"'} if then else {}
        site.page(path, Reply(b"", headers=link))
    assert job.pull() == 3
    assert "1 of 2 failed" in capsys.readouterr().err


def test_a_pull_killed_before_its_first_record_is_in_the_history(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, and no other for one that was killed when all was done."""
    job = _job(tmp_path, site)
    job.pull()
    for home, point in ((Commit, "_follow"), (Asking, "requests")):
        _killed_at(home, point, job)
    good = job.path.read_text()
    job.write(good + '[request]\nbearer = "${CRAWL_TEST_UNSET}"\n')
    assert job.pull() == 2
    job.write(good)
    job.pull()
    capsys.readouterr()
    job.pull("--history", "--json")
    [runs] = json.loads(capsys.readouterr().out).values()
    counts = [(run["cut"], run["changed"] + run["unchanged"]) for run in runs if not run["error"]]
    assert counts == [(False, 1), (True, 0), (False, 1), (False, 1)]


def test_a_part_of_the_targets_is_not_all(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sitemap of an index that cannot be had for once: its targets and alerts stay."""
    alerts = tmp_path / "alerts"
    job = PulledJob(
        tmp_path,
        f'[targets]\nsitemap = ["{site.url}/index.xml"]\n[alerts]\nfailures = 1\n'
        f'command = ["sh", "-c", "cat >> {alerts}"]\n',
    )
    maps = "".join(f"<sitemap><loc>{site.url}/{n}.xml</loc></sitemap>" for n in "ab")
    site.page("/index.xml", Reply(f"<sitemapindex>{maps}</sitemapindex>".encode()))
    for name in "ab":
        places = f"<urlset><url><loc>{site.url}/{name}</loc></url></urlset>"
        site.page(f"/{name}.xml", Reply(places.encode()))
    site.page("/a", Reply({"a": 1}))
    site.page("/b", Reply(b"", 500))
    assert job.pull() == 1
    site.page("/b.xml", Reply(b"", 503))
    assert job.pull() == 0
    assert len(alerts.read_text().splitlines()) == 1
    capsys.readouterr()
    job.pull("--status", "--json")
    assert f"{site.url}/b" in capsys.readouterr().out
    job.pull("--history")
    assert "cut off" not in capsys.readouterr().out
    job.write(job.path.read_text().replace("failures = 1", ""))
    job.pull()
    assert "watched no more" in alerts.read_text()


def test_looking_needs_no_right_to_write(site: Site, tmp_path: Path) -> None:
    """Another user sees the status, from a copy; nothing is made in the folder."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        job = _job(folder, site)
        job.pull()
        job.folder.chmod(0o555)
        before = sorted(job.folder.iterdir())
        done = subprocess.run(
            [sys.executable, "-c", AS_ANOTHER_USER, str(job.path)], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "1 changed, 0 unchanged" in done.stdout
        assert sorted(job.folder.iterdir()) == before
        job.folder.chmod(0o000)
        done = subprocess.run(
            [sys.executable, "-c", AS_ANOTHER_USER, str(job.path)], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert "cannot read the state" in done.stdout
        other = _job(folder, site, name="other")
        other.pull()
        done = subprocess.run(
            [sys.executable, "-c", AS_ANOTHER_USER.replace("--status", "--history"), name],
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 2
        assert "cannot read the state" in done.stderr
        assert "other: run" in done.stdout
        job.folder.chmod(0o755)


def test_an_earlier_version_s_state_is_looked_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Status and history before the first pull of a new crawl; the file stays as it is."""
    path = tmp_path / "job.toml"
    path.write_text('[targets]\nlist = ["http://127.0.0.1:9/"]\n')
    (tmp_path / "job").mkdir()
    with contextlib.closing(sqlite3.connect(tmp_path / "job" / "state.db")) as database:
        database.executescript(f"PRAGMA application_id = {APPLICATION_ID}; {MIGRATIONS[0]}")
        database.execute("INSERT INTO run VALUES ('r1', 1e9, 1e9, 3, 4, 5, NULL)")
        database.execute("PRAGMA user_version = 1")
        database.commit()
    assert main(["pull", "--status", str(path)]) == 0
    assert "3 changed, 4 unchanged, 5 failed" in capsys.readouterr().out
    assert main(["pull", "--history", "--since", "2000-01-01", str(path)]) == 0
    assert "r1" in capsys.readouterr().out
    with contextlib.closing(sqlite3.connect(tmp_path / "job" / "state.db")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)


def test_states_are_made_by_many_at_once(tmp_path: Path) -> None:
    """Whoever comes first makes it, the others find it made."""
    code = (
        "import sys; from pathlib import Path; from crawler.pull.state import State\n"
        "for n in range(10):\n"
        "    folder = Path(sys.argv[1], str(n)); folder.mkdir(exist_ok=True)\n"
        "    with State.open(folder) as state: state.runs()\n"
        "    State.reading(folder).runs()\n"
    )
    many = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert [process.communicate()[1] for process in many] == [""] * 4


def test_a_redirect_that_is_not_followed_is_no_data(site: Site, tmp_path: Path) -> None:
    """Its body says where the data are, if anything."""
    job = _job(tmp_path, site, '[request]\nmax-redirects = "0"\n')
    site.page("/a", Reply(b"moved", 302, headers={"Location": "/b"}))
    assert job.pull() == 1
    assert job.latest() == {}
    job.write(job.path.read_text() + '[replies]\nexpect-status = "302"\n')
    assert job.pull() == 0
    assert list(job.latest().values()) == [b"moved"]


def test_limits_count_what_is_no_data(site: Site, tmp_path: Path) -> None:
    """An empty body is an error to whoever pulls it."""
    limits = '[alerts]\nfail-on = "errors<10%"\n[output]\nmax-errors = "100%"\n'
    job = _job(tmp_path, site, limits)
    site.page("/a", Reply(b""))
    assert job.pull() == 3


def test_quiet_is_quiet_where_the_job_allows_failures(
    site: Site, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A pull that went well by max-errors is no mail of cron's."""
    job = _job(tmp_path, site, '[output]\nmax-errors = "100%"\n')
    site.page("/a", Reply(b"", 500))
    assert job.pull("--quiet") == 0
    assert capfd.readouterr() == ("", "")


def test_what_is_gone_is_removed_after_a_kill(site: Site, tmp_path: Path) -> None:
    """A target that became JSON leaves no older file in latest/, whenever the pull was cut off."""
    job = _job(tmp_path, site)
    site.page("/a", Reply(b"a,b"))
    job.pull()
    site.page("/a", Reply({"a": 1}))
    job.write(job.path.read_text())
    _killed_at(Commit, "_follow", job)
    assert job.pull() == 0
    assert [json.loads(body)["a"] for body in job.latest().values()] == [1]


def test_a_304_to_an_unconditional_request_is_a_failure(site: Site, tmp_path: Path) -> None:
    """With latest/ cleared nothing was sent that it could be the answer to."""
    job = _job(tmp_path, site)
    site.page("/a", Reply({"a": 1}, headers={"ETag": '"1"'}))
    assert job.pull() == 0
    for path in job.folder.glob("latest/*"):
        path.unlink()
    site.pages["/a"] = lambda *_: Reply(b"", 304)
    assert job.pull() == 1
    assert job.outcomes() == ["changed", "failed"]
