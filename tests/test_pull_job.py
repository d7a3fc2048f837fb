"""A job file: what is wrong with it is said before anything is sent, by file, section and key."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.cli import main
from crawler.cli.job_options import known_keys, read_requests
from crawler.cli.run_command import run_command
from crawler.errors import UsageError
from crawler.pull.baseline import drift, p95
from crawler.pull.content import read_content
from crawler.pull.job import PullJob, job_of
from crawler.pull.job_file import parse_job
from crawler.pull.json_paths import JsonPath
from crawler.pull.keys import SECTIONS
from crawler.pull.latest import slug_of
from crawler.pull.moments import filled, moments_at, protected
from tests.conftest import ROOT

HERE = Path("/jobs/prices.toml")
TARGETS = '[targets]\nlist = ["http://127.0.0.1:1/"]\n'


def _job(text: str) -> PullJob:
    return job_of(parse_job(HERE, text.encode(), known_keys()))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "no TOML"),
        ("nmae = 'x'", "there is no such key: did you mean name?"),
        (
            "[request]\ntimeuot = '3s'",
            r"\[request\] timeuot: there is no such key: did you mean ti",
        ),
        ("[reqest]\n", r"there is no section \[reqest\]: did you mean request?"),
        ("timeout = '3s'", r"timeout: it belongs in \[request\]"),
        ("[store]\nschedule = 'x'", r"\[store\] schedule: it belongs before the first section"),
        ("[request]\nper_host = 2", r"\[request\] per_host: there is no such key"),
        ("name = 7.5e3\n[store]\ndiff = 'jsno'", "give one of unified, json, none"),
        ("[store]\nallow-empty = 1", "give true or false"),
        ("[alerts]\nfailures = -1", "give a whole number"),
        ("every = '15 minutes'", "'15 minutes' is no duration"),
        ("every = '0.5s'", "at least 1s"),
        ("every = '5m'\nschedule = '* * * * *'", "give one of them"),
        ("timezone = 'Mars/Base'", "no such time zone"),
        ("name = '../x'", "give letters, digits"),
        ("[store]\nignore = ['$']", "name a part of it"),
        ("[store]\nignore = ['$.a b']", "is no path"),
        ("[cursor]\nparam = 'since'", "say what to remember"),
        ("[log]\nmax-log-size = '1 XB'", "is no size"),
        ("[alerts]\nfail-on = 'p95'", "has no limit"),
        ("[alerts]\nsmtp = 'smtp://h'", "mails need all of"),
        ("[targets]\nstart = 'yesterday'", "is no time"),
        ("targets = ['http://a/']", "there is no such key"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    """One line: the file, the section, the key, what to give."""
    with pytest.raises(UsageError, match=said) as error:
        _job(text)
    assert str(error.value).startswith(str(HERE))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "[targets] list"),
        (TARGETS + "[request]\ntimeout = 'soon'", "[request] timeout: 'soon' is no duration"),
        (TARGETS + "[request]\nbearer = 'file:/nowhere'", "the secret's file /nowhere: no such"),
        (TARGETS + "[request]\ndata = '@-'", "a pull has no standard input"),
        ("[targets]\nurls = '-'", "a pull has no standard input"),
        ("[targets]\nurls = 'gone.txt'", "gone.txt"),
        (TARGETS + "[politeness]\nburst = 3", "[politeness] burst is that of a rate"),
        (TARGETS + "[replies]\nexpect-status = 'fine'", "[replies] expect-status: 'fine'"),
        (TARGETS + "[cursor]\nfrom = 'max(('", "[cursor] from 'max(('"),
        (TARGETS + "[cursor]\nfrom = 'id'", "[cursor]: no request would send it"),
        ('[targets]\nlist = ["http://h/?k=${KEY}"]', "list: ${…} is not filled in"),
        ('[targets]\nlist = ["http://h/{tomorow}"]', "there is no {tomorow}: there are today"),
        ('[targets]\nlist = ["http://h/{yesterdya:%Y}"]', "did you mean {yesterday}?"),
        ('[targets]\nlist = ["nourl"]', "'nourl' is no URL"),
        ('[targets]\nlist = ["htp://x/"]', "'htp://x/' is no URL: scheme 'htp'"),
        ("[targets]\nlist = [3]", "'3' is no URL"),
        ('[targets]\nlist = ["http://h/{today-7d}"]', "{today-7d}: write {today}"),
        ('[targets]\nlist = ["http://h/{today:%Q}"]', "{today:%Q}: no format of strftime's"),
        ('[targets]\nlist = ["http://h/{now:}"]', "{now:}: no format"),
        ('[targets]\nlist = ["http://h/{cursor:%Y}"]', "a cursor has no format"),
        ('[targets]\nurls = "l"\nurl-template = "http://h/{a}/{now:%}"', "url-template: {now:%}"),
        (TARGETS + "[pool]\nconcurrency = 'many'", "value for '[pool] concurrency'"),
        (TARGETS + "[request]\nbearer = '${CRAWL_TEST_EMPTY}'", "CRAWL_TEST_EMPTY is empty"),
    ],
)
def test_what_is_wrong_with_requests_is_said(
    text: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the words of crawl run's own parser, with the job's names; exit 2, --check too."""
    monkeypatch.setenv("CRAWL_TEST_EMPTY", "")
    path = tmp_path / "job.toml"
    path.write_text(text)
    for mode in ((), ("--check",)):
        assert main(["pull", *mode, str(path)]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "job.toml" in error
        assert error.count("\n") == 1


def test_every_option_of_the_main_job_has_its_name() -> None:
    """But what a pull decides for itself, and bodies, which it keeps as versions."""
    known = {name for keys in known_keys().values() for name in keys}
    options = {
        option.removeprefix("--")
        for group in run_command.groups
        for each in group.options
        for option in each.opts
        if option.startswith("--")
    }
    assert options - known == {
        "out", "resume", "retry-failed", "wait", "summary", "quiet", "debug", "dedupe", "sample",
        "save-bodies", "bodies", "name", "fanout", "parse", "save-headers", "only-status",
        "only-type", "urls-file",
    } & (options - known)  # fmt: skip
    assert {"timeout", "header", "per-host", "retries", "paginate", "concurrency"} <= known


def test_every_key_is_told_of() -> None:
    """The table in docs/pull.md names each of the job's own keys, in their order."""
    page = (ROOT / "docs" / "pull.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\[\w+\] )?([a-z-]+)` \|", page, re.MULTILINE)
    own = [
        (f"[{section}] " if section else "", key.name)
        for section, keys in SECTIONS.items()
        for key in keys
    ]
    assert told == own


def test_options_mean_what_they_mean_on_the_command_line(tmp_path: Path) -> None:
    """A value, a list, a flag, a number, a choice."""
    text = TARGETS + (
        '[request]\ntimeout = "3s"\nheader = ["A: 1", "B: 2"]\ninsecure = true\nmax-redirects = 3\n'
        'http = "2"\n[politeness]\nper-host = 2\n[pool]\nconcurrency = 7\n'
        'fsync = "record"\n[retries]\nretries = 1\n'
    )
    file = parse_job(tmp_path / "job.toml", text.encode(), known_keys())
    settings = read_requests(file, print).settings
    assert settings.timeout_s == 3.0
    assert settings.headers == (("A", "1"), ("B", "2"))
    assert (settings.verify_tls, settings.max_redirects, settings.http) == (False, 3, "2")
    assert settings.polite is not None
    assert settings.polite.per_host == 2
    assert (settings.concurrency, settings.fsync, settings.retries) == (7, "record", 1)


def test_check_shows_what_would_be_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """URLs with their dates, secrets masked, how many more; nothing is sent or made."""
    monkeypatch.setenv("NAMED", "n4m3d")
    path = tmp_path / "job.toml"
    urls = ", ".join(f'"http://u:pw@127.0.0.1:1/{n}/{{today:%Y}}"' for n in range(12))
    path.write_text(
        f"[targets]\nlist = [{urls}]\n[request]\nbearer = 'abc123'\n"
        "header = ['Accept: text/csv', 'X-Api-Key: qwerty', 'X-Session: qwerty', "
        "'X-Ref: ${NAMED}', 'X-Auth: Bearer ${NAMED}', 'X-Half: ${NAMED}qwerty']\n"
    )
    assert main(["pull", "--check", str(path)]) == 0
    shown = capsys.readouterr().out
    assert f"GET http://***@127.0.0.1:1/3/{datetime.now(UTC):%Y}" in shown
    assert "and 2 more" in shown
    assert "Accept: text/csv" in shown
    for line in ("X-Api-Key: ***", "X-Ref: ${NAMED}", "Bearer ${NAMED}", "X-Half: ***"):
        assert line in shown
    for secret in ("pw", "abc123", "qwerty", "n4m3d"):
        assert secret not in shown.replace(str(tmp_path), "")
    assert not (tmp_path / "job").exists()


def test_braces_within_braces_are_no_places(tmp_path: Path) -> None:
    """A query of GraphQL's is sent as it stands."""
    path = tmp_path / "job.toml"
    path.write_text('[targets]\nlist = ["http://127.0.0.1:9/graphql?query={viewer{login}}"]\n')
    assert main(["pull", "--check", str(path)]) == 0


def test_check_tells_when_and_what_is_hardly_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Moments in the job's zone; alerts without ears; lines of a list that are no URLs."""
    path = tmp_path / "job.toml"
    (tmp_path / "list.txt").write_text("http://127.0.0.1:9/\nftp://h/\n")
    for text, said in (
        ("", "when: as it is called"),
        ('every = "90s"\n', "when: every 90s"),
        ('schedule = "30 6 1 1 *"\ntimezone = "Europe/Berlin"\n', "-01-01 06:30 CET"),
    ):
        for alerts, hint in (
            ("", ""),
            ("failures = 3", "they are only shown, not told"),
            ('command = ["true"]', "a pull that cannot be made"),
            ('failures = 3\ncommand = ["true"]', ""),
        ):
            path.write_text(f'{text}[targets]\nurls = "list.txt"\n[alerts]\n{alerts}\n')
            assert main(["pull", "--check", str(path)]) == 0
            shown = capsys.readouterr().out
            assert said in shown
            assert hint in shown
            assert ("[alerts]:" in shown) == bool(hint)
    assert "'ftp://h/' is not sent, its record will say invalid_url: scheme 'ftp'" in shown


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('[alerts]\ncommand = ["./alert"]', "[alerts] command: there is no program './alert'"),
        ('[alerts]\ncommand = ["no-such-program"]', "there is no program 'no-such-program'"),
        ('[metrics]\ntextfile = "gone/a.prom"', "[metrics] textfile"),
        ('[store]\ndir = "job.toml"', "[store] dir"),
    ],
)
def test_check_finds_what_would_fail_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str, said: str
) -> None:
    """It is better known before the night in which an alert is to be told."""
    path = tmp_path / "job.toml"
    path.write_text(f'[targets]\nlist = ["http://127.0.0.1:9/"]\n{more}\n')
    assert main(["pull", "--check", str(path)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert str(path) in error
    (tmp_path / "alert").write_text("#!/bin/sh\n")
    (tmp_path / "alert").chmod(0o755)
    (tmp_path / "gone").mkdir()
    if "no-such" not in more and "dir" not in more:
        assert main(["pull", "--check", str(path)]) == 0


def test_one_thing_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Options that contradict or need each other are refused."""
    for args, said in (
        (["--check", "--loop", "a.toml"], "two things to do"),
        (["--serve", "127.0.0.1:1", "a.toml"], "--serve is of a loop"),
        (["--loop", "--token", "x", "a.toml"], "give --serve with it"),
        (["--wait", "--skip-if-running", "a.toml"], "opposite things"),
        (["--loop", "--wait", "a.toml"], "never pulls a job twice"),
        (["--json", "a.toml"], "--status and --history"),
        (["--json", "--loop", "a.toml"], "--status and --history"),
        (["--since", "1h", "a.toml"], "--since is of the history"),
        (["--since", "1h", "--status", "a.toml"], "--since is of the history"),
        (["--every", "100ms", "a.toml"], "at least 1s"),
        (["--at-once", "0", "--loop", "a.toml"], "--at-once"),
        ([], "no job"),
        (["none.toml"], "cannot read the job file"),
    ):
        assert main(["pull", *args]) == 2, args
        assert said in capsys.readouterr().err


def test_places_are_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days are those of the job's zone; formats are strftime's; values are percent-encoded."""
    now = datetime(2026, 3, 29, 23, 30, tzinfo=UTC)
    moments = {**moments_at(now, ZoneInfo("Europe/Berlin")), "last_success": now}
    text = "{today} {yesterday:%d.%m.} {now} {last_success:%s} {cursor} {other} {{x}}"
    for zone in ("America/New_York", "Asia/Tokyo"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        seconds = filled("{now:%s} {last_success:%s} {yesterday:%%s%s}", moments, None).split()
        assert filled("{now:%-s}", moments, None) == f"{now.timestamp():.0f}"
        assert seconds == [f"{now.timestamp():.0f}"] * 2 + [f"%25s{now.timestamp() - 82_800:.0f}"]
    monkeypatch.undo()
    time.tzset()
    told = filled(text.replace("%s", "%H:%M"), moments, "a&b")
    assert told == "2026-03-30 29.03. 2026-03-29T23%3A30%3A00Z 23%3A30 a%26b {other} {{x}}"
    assert protected("http://h/{id}/{today:%Y}") == "http://h/{id}/{{today:%Y}}"


def _value() -> st.SearchStrategy[Any]:
    leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
        max_leaves=12,
    )


@given(
    _value(), st.sampled_from(["$.a", "$.a.b", "$[*].a", "a[0]", "$..a" * 0 + "b[*].c", "$.*.a"])
)
def test_ignoring_removes_and_never_adds(value: Any, path: str) -> None:
    """What is left is a part of what was there, and ignoring twice changes nothing more."""
    rule = JsonPath.parse(path)
    once = rule.without(value)
    if not path.endswith("[0]"):
        assert rule.without(once) == once
    assert len(repr(once)) <= len(repr(value))
    if "a" not in repr(value) and "b" not in repr(value) and not path.endswith("]"):
        assert once == value


@given(st.lists(st.text(min_size=1, max_size=200), min_size=1, max_size=8, unique=True))
def test_names_for_files_are_safe_and_apart(keys: list[str]) -> None:
    """Whatever a URL holds, its file stays in latest/, and no two have one."""
    slugs = set[str]()
    for key in keys:
        slug = slug_of(f"http://h/{key}", 1, slugs.__contains__)
        assert slug not in slugs
        assert "/" not in slug
        assert not slug.startswith(".")
        assert len(slug) < 200
        slugs.add(slug)


def test_json_is_compared_by_value() -> None:
    """Order of members and blanks do not count; what is in it does."""
    from crawler.bodies.rows import SavedBody

    def digest(data: bytes) -> str:
        body = SavedBody("r", 0, "u", 200, "application/json", "", (), data)
        return read_content(body, ()).digest

    assert digest(b'{"a": 1, "b": [1, 2]}') == digest(b' {"b":[1,2],"a":1}\n')
    assert digest(b'{"b": [2, 1], "a": 1}') != digest(b'{"b":[1,2],"a":1}')
    deep = b"[" * 900 + b"]" * 900
    assert digest(deep) == digest(deep)


@given(st.lists(st.floats(10, 12), min_size=25, max_size=60))
def test_a_steady_latency_never_leaves_its_baseline(times: list[float]) -> None:
    """Noise of a fifth is no alert; twice as slow is one, and a single outlier is none."""
    found = drift(times)
    assert found is not None
    assert not found.left
    slow = drift([*times, *(30.0 for _ in range(5))])
    assert slow is not None
    assert slow.left
    once = drift([*times, 3000.0])
    assert once is not None
    assert not once.left


def test_too_few_latencies_say_nothing() -> None:
    """Twenty are needed before the newest five."""
    assert drift([1.0] * 24) is None
    assert drift([1.0] * 25) is not None
    assert (p95([]), p95([3.0, 1.0]), p95(list(range(1, 101)))) == (None, 3.0, 95)


@pytest.mark.parametrize("mode", ["--check", "--unit=cron", "--unit=k8s"])
@pytest.mark.parametrize("schedule", ["61 * * * *", "0 0 31 2 *", "banana"])
def test_a_schedule_that_never_comes_is_found_before_its_time(
    mode: str, schedule: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By --check and --unit too, not only where a loop begins."""
    path = tmp_path / "job.toml"
    path.write_text(f'schedule = "{schedule}"\n{TARGETS}')
    assert main(["pull", mode, str(path)]) == 2
    error = capsys.readouterr().err
    assert "job.toml" in error
    assert f"schedule '{schedule}'" in error


def test_one_job_that_is_none_hides_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """--status and --history tell of the others, of its error, and end with 2."""
    (tmp_path / "bad.toml").write_text("evry = '2s'")
    (tmp_path / "good.toml").write_text(TARGETS)
    for mode in ("--status", "--history"):
        assert main(["pull", mode, str(tmp_path)]) == 2
        told = capsys.readouterr()
        assert "good: " in told.out
        assert "did you mean every?" in told.err
