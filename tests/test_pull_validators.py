"""ETag and Last-Modified: which are taken, which are sent back, and when they are not trusted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.pull.schema import APPLICATION_ID, MIGRATIONS
from crawler.pull.state import State
from crawler.pull.validators import Validators, validators_of
from tests.pull_site import PulledJob, Reply, Site, serving

DATE = "Fri, 27 Nov 2026 10:00:00 GMT"
MOMENT_S = datetime(2026, 11, 27, 10, tzinfo=UTC).timestamp()


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    with serving() as site:
        yield site


def _job(tmp_path: Path, site: Site, more: str = "") -> PulledJob:
    return PulledJob(tmp_path, f'[targets]\nlist = ["{site.url}/a"]\n{more}')


def _sent(site: Site) -> list[str | None]:
    return [each.headers.get("if-none-match") for each in site.of("/a")]


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        ("Fri, 27 Nov 2026 10:00:00 GMT", None),
        ("Fri, 27 Nov 2026 09:59:00 GMT", None),
        ("Fri, 27 Nov 2026 10:00:01 GMT", DATE),
        ("Fri, 27 Nov 2026 10:00:01 -0000", DATE),
        ("Friday, 27-Nov-26 10:00:01 GMT", DATE),
        ("soon", DATE),
        ("Fri, 27 Nov 99999999999999999999 10:00:01 GMT", DATE),
        ("Fri, 27 Nov 2026 10:00:01 +99999999999999999999", DATE),
    ],
)
def test_a_date_of_the_moment_is_not_taken(sent: str, taken: str | None) -> None:
    """Within its second a body may change again (RFC 9110, section 8.8.2.2)."""
    found = validators_of([("last-modified", DATE), ("DATE", sent), ("ETag", "x")], MOMENT_S + 9)
    assert found == Validators("x", taken)


@pytest.mark.parametrize(("later_s", "taken"), [(-1.0, None), (0.9, None), (1.0, DATE)])
def test_a_reply_without_a_date_is_of_when_it_was_asked_for(
    later_s: float, taken: str | None
) -> None:
    """Many small servers send none."""
    assert validators_of([("Last-Modified", DATE)], MOMENT_S + later_s).last_modified == taken


_ODD = st.builds(
    "Fri, {} {} {} {}:{}:{} {}".format,
    st.integers(),
    st.sampled_from(["Nov", "Nev", "11", ""]),
    st.integers(),
    st.integers(-1, 99),
    st.integers(),
    st.integers(0, 61),
    st.integers().map(str) | st.sampled_from(["GMT", "+0100", "-0000", "+9999"]),
)


@given(st.text() | _ODD, st.text() | _ODD)
def test_no_header_is_too_odd(changed: str, sent: str) -> None:
    """Whatever a server writes: it is taken as it came, or not at all."""
    found = validators_of([("Last-Modified", changed), ("Date", sent)], 0.0)
    assert found in (Validators(None, changed), Validators(None, None))


def test_one_date_for_two_bodies_is_not_trusted_again(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an ETag the date is what lied."""
    job = _job(tmp_path, site, '[store]\nfull-every = "0s"')
    for body in (b"1", b"2"):
        site.page("/a", Reply(body, headers={"Last-Modified": "Fri, 27 Nov 2020 10:00:00 GMT"}))
        job.pull()
    assert "one Last-Modified for two bodies" in capsys.readouterr().err
    job.write(job.path.read_text().replace('"0s"', '"1d"'))
    job.pull()
    assert "if-modified-since" not in site.asked[2].headers


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('header = ["Accept: text/csv"]', 'header = ["Accept: application/json"]'),
        ("", 'header = ["Accept-Language: de"]'),
        ('bearer = "${CRAWL_TEST_A}"', 'bearer = "${CRAWL_TEST_B}"'),
    ],
    ids=["changed", "new", "other secret"],
)
def test_who_asks_in_another_manner_asks_in_full(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    """A server may give one validator to all forms of a page; then it is asked as before again."""
    monkeypatch.setenv("CRAWL_TEST_A", "a")
    monkeypatch.setenv("CRAWL_TEST_B", "b")
    site.page("/a", Reply({"a": 1}, headers={"ETag": '"1"'}))
    job = _job(tmp_path, site, f"[request]\n{before}\n")
    job.pull()
    job.write(job.path.read_text().replace(f"[request]\n{before}", f"[request]\n{after}"))
    assert [job.pull(), job.pull()] == [0, 0]
    assert _sent(site) == [None, None, '"1"']
    assert job.outcomes() == ["changed", "unchanged", "unchanged"]


def test_a_file_of_headers_is_a_part_of_the_manner(site: Site, tmp_path: Path) -> None:
    """But for what may be secret in it."""
    site.page("/a", Reply({"a": 1}, headers={"ETag": '"1"'}))
    job = _job(tmp_path, site, '[request]\nheader = ["@headers"]\n')
    for text in ("Accept-Language: de", "Accept-Language: fr", "Accept-Language: fr\nX-Key: a",
                 "Accept-Language: fr\nX-Key: b"):  # fmt: skip
        (tmp_path / "headers").write_text(text)
        assert job.pull() == 0
    assert _sent(site) == [None, None, None, '"1"']


def test_a_credential_that_rotates_changes_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same asker; nor is anything of it in the state."""
    site.page("/a", Reply({"a": 1}, headers={"ETag": '"1"'}))
    job = _job(tmp_path, site, '[request]\nbearer = "${CRAWL_TEST_A}"\n')
    for token in ("first", "second"):
        monkeypatch.setenv("CRAWL_TEST_A", token)
        job.pull()
    assert _sent(site) == [None, '"1"']


def test_what_is_ignored_anew_makes_no_version(site: Site, tmp_path: Path) -> None:
    """What is kept is compared by the new rule too."""
    job = _job(tmp_path, site, "[store]\nignore = []")
    site.page("/a", Reply({"a": 1, "at": 1}))
    job.pull()
    site.page("/a", Reply({"a": 1, "at": 2}))
    job.write(job.path.read_text().replace("ignore = []", 'ignore = ["$.at"]'))
    job.pull()
    assert job.outcomes() == ["changed", "unchanged"]
    site.page("/a", Reply({"a": 2, "at": 3}))
    job.pull()
    assert len(job.versions()) == 2


def test_an_etag_beyond_ascii_is_not_sent(site: Site, tmp_path: Path) -> None:
    """Its bytes would not come back as the server sent them; the hash tells."""
    site.page("/a", Reply({"a": 1}, headers={"ETag": '"é"'}))
    job = _job(tmp_path, site)
    assert [job.pull(), job.pull()] == [0, 0]
    assert _sent(site) == [None, None]
    assert job.outcomes() == ["changed", "unchanged"]


def test_headers_of_a_row_are_asked_in_full(site: Site, tmp_path: Path) -> None:
    """Another row may have stood there when the version came."""
    site.page("/a", Reply({"a": 1}, headers={"ETag": '"1"'}))
    job = PulledJob(
        tmp_path, '[targets]\nurls = "list.csv"\nheader-column = ["lang=Accept-Language"]\n'
    )
    for lang in ("en", "de", ""):
        (tmp_path / "list.csv").write_text(f"url,lang\n{site.url}/a,{lang}\n")
        assert job.pull() == 0
    assert _sent(site) == [None, None, None]
    assert job.pull() == 0
    assert _sent(site)[-1] == '"1"'


def test_a_request_with_a_body_is_asked_in_full(site: Site, tmp_path: Path) -> None:
    """Its file may hold another body each time."""
    (tmp_path / "query").write_text("a")
    site.page("/a", Reply({"a": 1}, headers={"ETag": '"1"'}))
    job = _job(tmp_path, site, '[request]\nmethod = "GET"\ndata = "@query"\n')
    assert [job.pull(), job.pull()] == [0, 0]
    assert _sent(site) == [None, None]


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_state_of_an_earlier_version_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    """Each step is made once, and what was there stays."""
    with closing(sqlite3.connect(tmp_path / "state.db")) as database:
        steps = ";".join(MIGRATIONS[:version])
        database.executescript(f"PRAGMA application_id = {APPLICATION_ID}; {steps}")
        database.execute("INSERT INTO target (key, page, slug, etag) VALUES ('a', 1, 'a', 'x')")
        database.execute("INSERT INTO message (at, channel, body) VALUES (5.0, 'webhook', '{}')")
        database.execute(f"PRAGMA user_version = {version}")
        database.commit()
    for _ in range(2):
        with State.open(tmp_path) as state:
            assert [(each.key, each.etag, each.asked_with) for each in state.targets()] == [
                ("a", "x", None)
            ]
            assert [(each.at, each.channel) for each in state.messages()] == [(5.0, "webhook")]
            assert state.rows("PRAGMA user_version") == [(len(MIGRATIONS),)]
