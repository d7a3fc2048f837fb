"""What a pull keeps: conditional requests, versions, diffs, latest/, cursors, and odd servers."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from crawler.pull.state import State
from tests.pull_site import PulledJob, Reply, Site, serving

JSON_A = Reply({"price": 1, "generated_at": "10:00"}, headers={"ETag": '"a"'})
JSON_B = Reply({"price": 2, "generated_at": "10:15"}, headers={"ETag": '"b"'})


@pytest.fixture(name="site")
def _site() -> Iterator[Site]:
    with serving() as site:
        yield site


def _job(tmp_path: Path, site: Site, more: str = "", path: str = "/prices") -> PulledJob:
    return PulledJob(tmp_path, f'[targets]\nlist = ["{site.url}{path}"]\n{more}')


def test_the_first_pull_keeps_all_and_the_next_asks_for_changes(site: Site, tmp_path: Path) -> None:
    """A version the first time; then If-None-Match, 304, and nothing new on the disk."""
    site.page("/prices", JSON_A)
    job = _job(tmp_path, site)
    assert [job.pull(), job.pull()] == [0, 0]
    assert [each.headers.get("if-none-match") for each in site.asked] == [None, '"a"']
    assert [each.status for each in site.asked] == [200, 304]
    assert job.outcomes() == ["changed", "unchanged"]
    assert [json.loads(path.read_bytes()) for path in job.versions()] == [JSON_A.body]
    assert list(job.latest().values()) == [JSON_A.content]
    assert [record["status"] for record in job.records()] == [200, 304]


def test_a_change_is_a_version_with_its_diff(site: Site, tmp_path: Path) -> None:
    """Both versions stay, the diff tells them apart, latest/ has the new one."""
    site.page("/prices", JSON_A)
    job = _job(tmp_path, site)
    job.pull()
    site.page("/prices", JSON_B)
    job.pull()
    assert [json.loads(path.read_bytes())["price"] for path in job.versions()] == [1, 2]
    [diff] = job.diffs()
    assert '-  "price": 1' in diff
    assert '+  "price": 2' in diff
    assert list(job.latest().values()) == [JSON_B.content]
    assert job.state("SELECT added, removed FROM version ORDER BY at") == [(None, None), (2, 2)]


def test_what_is_ignored_is_no_part_of_a_diff(site: Site, tmp_path: Path) -> None:
    """A unified diff is to be read: only what counts stands in it."""
    site.page("/prices", JSON_A)
    job = _job(tmp_path, site, '[store]\nignore = ["$.generated_at"]')
    job.pull()
    site.page("/prices", JSON_B)
    job.pull()
    [diff] = job.diffs()
    assert "generated_at" not in diff
    assert '+  "price": 2' in diff


def test_a_json_diff_is_a_json_patch(site: Site, tmp_path: Path) -> None:
    """diff = "json" gives RFC 6902, which programs can apply."""
    import jsonpatch

    site.page("/prices", JSON_A)
    job = _job(tmp_path, site, '[store]\ndiff = "json"')
    job.pull()
    site.page("/prices", JSON_B)
    job.pull()
    [diff] = job.diffs()
    assert jsonpatch.apply_patch(JSON_A.body, diff) == JSON_B.body


def test_a_json_patch_names_nothing_that_is_ignored(site: Site, tmp_path: Path) -> None:
    """Its operations are those that made a version of it."""
    site.page("/prices", JSON_A)
    job = _job(tmp_path, site, '[store]\nignore = ["$.generated_at"]\ndiff = "json"')
    job.pull()
    site.page("/prices", JSON_B)
    job.pull()
    [patch] = map(json.loads, job.diffs())
    assert patch == [{"op": "replace", "path": "/price", "value": 2}]


def test_what_failed_is_said_with_its_reason(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with --quiet: it is what cron mails. Three are named, the others counted."""
    urls = ", ".join(f'"{site.url}/{n}"' for n in range(5))
    job = PulledJob(tmp_path, f"[targets]\nlist = [{urls}]\n")
    assert job.pull("--quiet") == 1
    said = capsys.readouterr().err
    assert said.count("failed once: http: HTTP 404") == 3
    assert "and 2 more; crawl pull --status" in said


def test_last_modified_is_asked_for_too(site: Site, tmp_path: Path) -> None:
    """A server without ETags is asked by If-Modified-Since, its own date sent back as it came."""
    date = "Fri, 27 Nov 2026 10:00:00 GMT"
    site.page("/prices", Reply(b"text", headers={"Last-Modified": date}))
    job = _job(tmp_path, site)
    job.pull()
    job.pull()
    assert site.asked[1].headers["if-modified-since"] == date
    assert job.outcomes() == ["changed", "unchanged"]


def test_an_equal_body_is_unchanged_without_validators(site: Site, tmp_path: Path) -> None:
    """A server that knows no validators sends all again; the hash finds it equal."""
    site.page("/prices", Reply(b"same text"))
    job = _job(tmp_path, site)
    job.pull()
    job.pull()
    assert [each.status for each in site.asked] == [200, 200]
    assert job.outcomes() == ["changed", "unchanged"]
    assert len(job.versions()) == 1


@pytest.mark.parametrize(
    ("ignore", "first", "second"),
    [
        ("$.generated_at", {"p": 1, "generated_at": 1}, {"p": 1, "generated_at": 2}),
        ("items[*].age", {"items": [{"age": 1}, {"age": 2}]}, {"items": [{"age": 8}, {"age": 9}]}),
        ("$['a b'][0]", {"a b": [1, 2]}, {"a b": [7, 2]}),
        ("$.x.y", {"x": {"y": 1, "z": 1}}, {"x": {"z": 1}}),
        ("$.none", {"b": 1, "a": 2}, {"a": 2, "b": 1}),
    ],
    ids=["member", "elements", "quoted", "absent", "order of members"],
)
def test_what_is_ignored_is_no_change(
    site: Site, tmp_path: Path, ignore: str, first: Any, second: Any
) -> None:
    """Ignored paths, and the order of members, do not count; latest/ stays as it is."""
    site.page("/prices", Reply(first))
    job = _job(tmp_path, site, f'[store]\nignore = ["{ignore}"]')
    job.pull()
    site.page("/prices", Reply(second))
    job.pull()
    assert job.outcomes() == ["changed", "unchanged"]
    assert [json.loads(body) for body in job.latest().values()] == [first]


def test_one_etag_for_two_bodies_is_not_trusted_again(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The change is seen by its hash where all of the body comes; no ETag is sent any more."""
    site.page("/prices", Reply({"p": 1}, headers={"ETag": '"x"'}))
    job = _job(tmp_path, site, '[store]\nfull-every = "0s"')
    job.pull()
    site.page("/prices", Reply({"p": 2}, headers={"ETag": '"x"'}))
    job.pull()
    assert job.outcomes() == ["changed", "changed"]
    assert "one ETag for two bodies" in capsys.readouterr().err
    job.write(job.path.read_text().replace('full-every = "0s"', 'full-every = "1d"'))
    job.pull()
    assert "if-none-match" not in site.asked[-1].headers


def test_a_full_reply_is_asked_for_now_and_then(site: Site, tmp_path: Path) -> None:
    """After full-every nothing conditional is sent, so a lying server is found out in time."""
    site.page("/prices", JSON_A)
    job = _job(tmp_path, site, '[store]\nfull-every = "0.2s"')
    job.pull()
    time.sleep(0.25)
    job.pull()
    assert [each.status for each in site.asked] == [200, 200]


def test_weak_etags_are_sent_back_as_they_came(site: Site, tmp_path: Path) -> None:
    """If-None-Match compares weakly (RFC 9110, section 13.1.2): the W/ stays."""
    site.page("/prices", Reply({"p": 1}, headers={"ETag": 'W/"7"'}))
    job = _job(tmp_path, site)
    job.pull()
    job.pull()
    assert site.asked[1].headers["if-none-match"] == 'W/"7"'
    assert job.outcomes() == ["changed", "unchanged"]


def test_an_empty_body_is_a_failure_and_what_was_kept_stays(site: Site, tmp_path: Path) -> None:
    """200 with nothing in it is no data, unless the job says so."""
    site.page("/prices", JSON_A)
    job = _job(tmp_path, site)
    job.pull()
    site.page("/prices", Reply(b""))
    assert job.pull() == 1
    assert job.outcomes() == ["changed", "failed"]
    assert job.state("SELECT failures, error FROM target") == [(1, "unexpected")]
    assert list(job.latest().values()) == [JSON_A.content]
    job.write(job.path.read_text() + "[store]\nallow-empty = true\n")
    assert job.pull() == 0
    assert list(job.latest().values()) == [b""]


@pytest.mark.parametrize("says", ["text/html", "application/json"])
def test_html_where_json_was_is_a_failure(site: Site, tmp_path: Path, says: str) -> None:
    """A login page with status 200 never becomes the newest version of an API's data."""
    site.page("/prices", JSON_A)
    job = _job(tmp_path, site)
    job.pull()
    site.page("/prices", Reply(b"<html>please log in", headers={"Content-Type": says}))
    assert job.pull() == 1
    assert job.outcomes() == ["changed", "failed"]
    assert len(job.versions()) == 1


def test_a_304_that_nobody_asked_for_is_a_failure(site: Site, tmp_path: Path) -> None:
    """There is no version that it could stand for."""
    site.pages["/prices"] = lambda *_: Reply(b"", 304)
    job = _job(tmp_path, site)
    assert job.pull() == 1
    assert job.outcomes() == ["failed"]


def test_expected_statuses_and_types_do_not_make_a_304_a_failure(
    site: Site, tmp_path: Path
) -> None:
    """What is expected of a body is not asked of a reply without one."""
    site.page("/prices", JSON_A)
    replies = '[replies]\nexpect-status = "200"\nexpect-type = "application/json"\n'
    job = _job(tmp_path, site, replies + "assert-json = true\n")
    assert [job.pull(), job.pull()] == [0, 0]
    assert job.outcomes() == ["changed", "unchanged"]


def test_a_missing_latest_file_is_asked_for_in_full(site: Site, tmp_path: Path) -> None:
    """What somebody deleted comes back, and is no new version."""
    site.page("/prices", JSON_A)
    job = _job(tmp_path, site)
    job.pull()
    for path in job.folder.glob("latest/*"):
        path.unlink()
    job.pull()
    assert [each.status for each in site.asked] == [200, 200]
    assert list(job.latest().values()) == [JSON_A.content]
    assert job.outcomes() == ["changed", "unchanged"]


def test_validators_of_another_url_are_not_sent(site: Site, tmp_path: Path) -> None:
    """A template that names another day asks for another thing."""
    site.page("/prices", JSON_A)
    job = _job(tmp_path, site, path="/prices?at={now:%f}")
    job.pull()
    job.pull()
    assert ["if-none-match" in each.headers for each in site.asked] == [False, False]
    assert len({each.path for each in site.asked}) == 2
    assert len(job.state("SELECT * FROM target")) == 1


def test_last_success_goes_into_the_next_request(site: Site, tmp_path: Path) -> None:
    """The first time the job's start, then when it last went well; a failure moves nothing."""
    site.page("/prices", Reply({"a": 1}))
    job = _job(tmp_path, site, path="/prices?since={last_success}")
    job.write(job.path.read_text().replace("[targets]", '[targets]\nstart = "2026-01-02"'))
    job.pull()
    site.page("/prices", Reply({"a": 1}, 500))
    job.pull()
    job.pull()
    asked = [each.path.split("since=")[1] for each in site.asked]
    assert asked[0] == "2026-01-02T00%3A00%3A00Z"
    assert asked[1] == asked[2]
    assert asked[1] > "2026-11"


def test_rows_a_day_are_json_lines(site: Site, tmp_path: Path) -> None:
    """versions = "jsonl" appends a row a change, JSON as JSON, its diff with it."""
    site.page("/prices", JSON_A)
    job = _job(tmp_path, site, '[store]\nversions = "jsonl"')
    job.pull()
    site.page("/prices", JSON_B)
    job.pull()
    job.pull()
    [path] = job.versions()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["json"] for row in rows] == [JSON_A.body, JSON_B.body]
    assert rows[0]["target"] == f"{site.url}/prices"
    assert rows[0]["at"] == job.records()[0]["started"]
    assert [row["diff"] is None for row in rows] == [True, False]
    assert list(job.latest().values()) == [JSON_B.content]


def test_rows_a_day_are_parquet(site: Site, tmp_path: Path) -> None:
    """versions = "parquet" makes a data set partitioned by date that pandas reads as one."""
    site.page("/prices", JSON_A)
    job = _job(tmp_path, site, '[store]\nversions = "parquet"')
    job.pull()
    site.page("/prices", JSON_B)
    job.pull()
    table = pyarrow.parquet.read_table(job.folder / "versions").to_pandas()
    assert sorted(json.loads(body)["price"] for body in table["body"]) == [1, 2]
    assert set(table["date"].astype(str).str.len()) == {10}
    began = [record["started"] for record in job.records()]
    assert [f"{at:%Y-%m-%dT%H:%M:%S.%fZ}" for at in table["at"].sort_values()] == began


def test_only_the_newest_versions_are_kept(site: Site, tmp_path: Path) -> None:
    """keep-versions = 2 leaves two files, their diffs, and two rows in the state."""
    job = _job(tmp_path, site, "[store]\nkeep-versions = 2")
    for number in range(4):
        site.page("/prices", Reply({"n": number}))
        job.pull()
        time.sleep(0.01)
    kept = [json.loads(path.read_bytes())["n"] for path in job.versions()]
    assert sorted(kept) == [2, 3]
    assert len(job.diffs()) == 2
    assert job.state("SELECT count(*) FROM version") == [(2,)]


def _feed(site: Site, count: list[int], limit: int = 3) -> None:
    """Events with numbers, the oldest of those beyond ``since`` first."""

    def page(query: dict[str, list[str]], _: Any) -> Reply:
        since = int(query.get("since", ["0"])[0])
        found = list(range(since + 1, count[0] + 1))[:limit]
        return Reply({"items": [{"id": number} for number in found]})

    site.pages["/events"] = page  # type: ignore[assignment]


CURSOR = '[cursor]\nfrom = "max($.items[*].id)"\nparam = "since"\n[store]\nversions = "jsonl"\n'


def test_a_clock_that_is_put_back_costs_no_version(site: Site, tmp_path: Path) -> None:
    """What came last is newest, whatever its moment: it is kept, and told first."""
    job = _job(tmp_path, site, "[store]\nkeep-versions = 2")
    for price in (1, 2, 3):
        site.page("/prices", Reply({"price": price}))
        job.pull()
        with contextlib.closing(sqlite3.connect(job.folder / "state.db")) as database, database:
            for column in ("version SET at", "outcome SET at", "run SET started"):
                table, _, name = column.split()
                database.execute(f"UPDATE {table} SET {name} = {name} + 3600")
    kept = [json.loads(path.read_bytes())["price"] for path in job.versions()]
    assert kept == [2, 3]
    with State.open(job.folder) as state:
        [newest] = state.runs(most=1)
        assert [each.run for each in state.versions(most=1)] == [newest.id]
        assert [each.run for each in state.outcomes(1, 1)] == [newest.id]


def test_a_cursor_goes_on_where_the_data_ends(site: Site, tmp_path: Path) -> None:
    """Each pull asks behind the newest event that it holds; an empty reply moves nothing."""
    count = [4]
    _feed(site, count)
    job = _job(tmp_path, site, CURSOR, path="/events")
    for _ in range(3):
        job.pull()
    count[0] = 6
    job.pull()
    assert [each.path.partition("?")[2] for each in site.asked] == [
        "", "since=3", "since=4", "since=4",
    ]  # fmt: skip
    assert job.outcomes() == ["changed", "changed", "unchanged", "changed"]
    rows = [json.loads(line) for line in job.versions()[0].read_text().splitlines()]
    assert [item["id"] for row in rows for item in row["json"]["items"]] == [1, 2, 3, 4, 5, 6]
    assert job.state("SELECT cursor FROM target") == [("6",)]


def test_a_cursor_stays_where_a_page_is_missing(site: Site, tmp_path: Path) -> None:
    """In a feed of newest first the first page has the newest: it may not move the cursor alone."""
    broken = [True]

    def page(query: Any, _: Any) -> Reply:
        if "page" not in query:
            return Reply({"items": [{"id": 9}], "next": f"{site.url}/events?page=2"})
        return Reply(b"", 500) if broken[0] else Reply({"items": [{"id": 5}]})

    site.pages["/events"] = page
    job = _job(tmp_path, site, CURSOR + '[replies]\npaginate = "json:next"\n', path="/events")
    assert job.pull() == 1
    assert job.state("SELECT cursor FROM target WHERE page = 1") == [(None,)]
    broken[0] = False
    assert job.pull() == 0
    assert job.state("SELECT cursor FROM target WHERE page = 1") == [("9",)]


def test_a_cursor_stays_where_a_page_amid_others_is_none(site: Site, tmp_path: Path) -> None:
    """An empty page that leads on is found out at the commit: what it held is still to come."""

    def page(query: Any, _: Any) -> Reply:
        number = int(query.get("page", ["1"])[0])
        link = f'<{site.url}/events?page={number + 1}>; rel="next"'
        headers = {"Link": link} if number < 3 else {}
        return Reply(b"" if number == 2 else {"items": [{"id": 10 - number}]}, headers=headers)

    site.pages["/events"] = page
    job = _job(tmp_path, site, CURSOR + '[replies]\npaginate = "link-header"\n', path="/events")
    assert job.pull() == 1
    assert [each.path for each in site.asked][1:] == ["/events?page=2", "/events?page=3"]
    assert job.state("SELECT cursor FROM target WHERE page = 1") == [(None,)]


def test_a_cursor_needs_json(site: Site, tmp_path: Path) -> None:
    """A reply in which nothing can be found is a failure, not the end of the feed."""
    site.page("/events", Reply(b"maintenance"))
    job = _job(tmp_path, site, CURSOR, path="/events")
    assert job.pull() == 1
    assert "no JSON" in job.state("SELECT detail FROM target")[0][0]


def test_pages_are_kept_each_and_leave_with_the_list(site: Site, tmp_path: Path) -> None:
    """Each page has its latest file; one that is no more leaves latest/, its versions stay."""
    pages = [2]

    def page(query: Any, _: Any) -> Reply:
        number = int(query.get("page", ["1"])[0])
        following = f"{site.url}/list?page={number + 1}" if number < pages[0] else None
        return Reply({"n": number, "next": following})

    site.pages["/list"] = page
    job = _job(tmp_path, site, '[replies]\npaginate = "json:next"\n', path="/list")
    job.pull()
    assert [json.loads(body)["n"] for body in job.latest().values()] == [1, 2]
    pages[0] = 1
    job.pull()
    assert [json.loads(body)["n"] for body in job.latest().values()] == [1]
    assert len(job.versions()) == 3


def test_two_targets_never_share_a_file(site: Site, tmp_path: Path) -> None:
    """URLs that make the same name are told apart; the same URL twice is two targets."""
    names = ("/a_b", "/a/b", "/a/b.json", "/a/b")
    for path in names:
        site.page(path, Reply({"path": path}))
    urls = ", ".join(f'"{site.url}{path}"' for path in names)
    job = PulledJob(tmp_path, f"[targets]\nlist = [{urls}]\n")
    job.pull()
    assert len(job.latest()) == 4
    assert sorted(json.loads(body)["path"] for body in job.latest().values()) == sorted(names)


def test_a_list_with_a_template_and_a_date(site: Site, tmp_path: Path) -> None:
    """Columns fill the template, and today the date; each row is a target of its own."""
    day = time.strftime("%Y-%m-%d", time.gmtime())
    for name in ("x", "y"):
        site.page(f"/{name}/{day}", Reply({"name": name}))
    (tmp_path / "names.csv").write_text("name\nx\ny\n")
    job = PulledJob(
        tmp_path,
        f'[targets]\nurls = "names.csv"\nurl-template = "{site.url}/{{name}}/{{today:%Y-%m-%d}}"\n',
    )
    assert job.pull() == 0
    assert sorted(each.path for each in site.asked) == [f"/x/{day}", f"/y/{day}"]
    assert [r["target"].endswith("/{today:%Y-%m-%d}") for r in job.records()] == [True, True]


def test_a_folder_of_jobs_is_pulled_one_after_another(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that cannot be pulled, or fails, keeps no other from its turn; the worst code counts."""
    site.page("/prices", JSON_A)
    jobs = [
        PulledJob(tmp_path, f'[targets]\nlist = ["{site.url}{path}"]\n', name=name)
        for name, path in (("a", "/none"), ("c", "/prices"))
    ]
    (tmp_path / "b.toml").write_text("nonsense = 1")
    from crawler.cli import main

    assert main(["pull", str(tmp_path)]) == 2
    assert [job.outcomes() for job in jobs] == [["failed"], ["changed"]]
    assert "b.toml: nonsense" in capsys.readouterr().err
    (tmp_path / "b.toml").unlink()
    assert main(["pull", "--quiet", str(tmp_path)]) == 1
    assert capsys.readouterr().out.startswith("a: 1 asked: 0 changed, 0 unchanged, 1 failed")


BIG_A, BIG_B = 123456789012345678901, 123456789012345678902


@pytest.mark.parametrize(
    ("first", "second"),
    [(f"{BIG_A}", f"{BIG_B}"), ("0.12345678901234567891", "0.12345678901234567892")],
    ids=["whole", "decimal"],
)
def test_the_last_digits_of_a_long_number_count(
    site: Site, tmp_path: Path, first: str, second: str
) -> None:
    """Beyond 64 bits and beyond a double: a change is a change, told as it came."""
    job = _job(tmp_path, site, '[store]\nversions = "jsonl"\nignore = ["$.at"]\n')
    headers = {"Content-Type": "application/json"}
    for number in (first, second):
        site.page("/prices", Reply(b'{"n": %s, "at": 1}' % number.encode(), headers=headers))
        job.pull()
    assert job.outcomes() == ["changed", "changed"]
    rows = [path.read_text() for path in job.versions()]
    assert first in rows[0]
    assert f'"json":{{"n":{second},' in rows[0]
    assert f'+  \\"n\\": {second}' in rows[0]


def test_a_json_patch_holds_long_numbers(site: Site, tmp_path: Path) -> None:
    """As numbers, with all of their digits."""
    job = _job(tmp_path, site, '[store]\ndiff = "json"')
    headers = {"Content-Type": "application/json"}
    for number in (b"0.12345678901234567891", b"0.12345678901234567892"):
        site.page("/prices", Reply(b'{"n": %s}' % number, headers=headers))
        job.pull()
    assert '"value": 0.12345678901234567892' in job.diffs()[0]


@pytest.mark.parametrize(
    ("number", "expression"),
    [
        (f"{BIG_B}", "max(items[*].id)"),
        ("1732700000.123456789", "max(items[*].id)"),
        ('"1732700000.9999999999"', "max(items[*].to_number(id))"),
        ("1732700000.123456789012", "to_number(to_string(items[1].id))"),
        (f"{BIG_B}.0", "max(items[*].id)"),
    ],
    ids=["whole", "decimal", "text", "there and back", "with a point"],
)
def test_a_cursor_keeps_its_digits(
    site: Site, tmp_path: Path, number: str, expression: str
) -> None:
    """A number that was cut would skip what lies between."""
    body = b'{"items": [{"id": 7}, {"id": %s}, {"id": 1.5}]}' % number.encode()
    site.page("/prices", Reply(body, headers={"Content-Type": "application/json"}))
    job = _job(tmp_path, site, f'[cursor]\nfrom = "{expression}"\nparam = "since"')
    assert [job.pull(), job.pull()] == [0, 0]
    assert site.asked[1].path == f"/prices?since={number.strip(chr(34)).removesuffix('.0')}"


@pytest.mark.parametrize(
    ("expression", "items"),
    [
        ("max_by(items,&id).id", [{"id": 1}, {"id": None}]),
        ("max(items[].id || items)", [1, None]),
        ("sort_by(items,&id)[-1].id", [{"id": 1}, {}]),
        ("max(items[?starts_with(kind,'a')].id)", [{"id": 1, "kind": "a"}, {"id": 2}]),
        ("max(items[*].max(revs))", [{"revs": [1]}, {"id": 2}]),
        ("sort_by(items,&length(name))[-1].id", [{"id": 1, "name": "a"}, {"id": 2}]),
        ("items[*].id", [{"id": 1}, {"id": 2}]),
        ("{a: items[0].id}", [{"id": 1}]),
        ("items[0].id == `1`", [{"id": 1}]),
        ("&id", []),
    ],
)
def test_a_cursor_that_is_no_single_value_is_a_failure(
    site: Site, tmp_path: Path, expression: str, items: list[Any]
) -> None:
    """Nor is a null amid others taken for a reply without items."""
    site.page("/prices", Reply({"items": items}))
    job = _job(tmp_path, site, f'[cursor]\nfrom = "{expression}"\nparam = "since"')
    assert job.pull() == 1
    [(detail,)] = job.state("SELECT detail FROM target")
    assert detail.startswith("[cursor] from does not suit the reply: ")


@pytest.mark.parametrize(
    "expression",
    ["to_number(id)", "id", "max([id, `0`])", "to_string(id)", "join('', ['', to_string(id)])"],
    ids=["to_number", "plain", "max", "to_string", "join"],
)
def test_a_number_stays_what_it_is_in_functions(
    site: Site, tmp_path: Path, expression: str
) -> None:
    """Whatever of jmespath's it passes through."""
    headers = {"Content-Type": "application/json"}
    site.page("/prices", Reply(b'{"id": 1700000000.123456789012}', headers=headers))
    job = _job(tmp_path, site, f'[cursor]\nfrom = "{expression}"\nparam = "since"')
    job.pull()
    assert job.state("SELECT cursor FROM target") == [("1700000000.123456789012",)]


def test_a_cursor_that_does_not_suit_the_reply_is_a_failure(site: Site, tmp_path: Path) -> None:
    """It is not taken for a reply that holds nothing new; one without items is."""
    job = _job(tmp_path, site, CURSOR)
    site.page("/prices", Reply({"items": [{"id": 2}, {"id": "3"}]}))
    assert job.pull() == 1
    assert job.outcomes() == ["failed"]
    [(detail,)] = job.state("SELECT detail FROM target")
    assert detail == "[cursor] from does not suit the reply: max() does not take a str"
    for empty in ('{"items": []}', '{"items": null}', "{}"):
        site.page("/prices", Reply(json.loads(empty)))
        assert job.pull() == 0
    job.write(job.path.read_text().replace("items[*].id)", "items[*].id) || next"))
    site.page("/prices", Reply({"results": [7], "next": 4}))
    assert job.pull() == 0
    assert job.state("SELECT cursor FROM target") == [("4",)]


def test_another_cursor_begins_anew(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What one expression found means nothing to another; nor after another start."""
    job = _job(tmp_path, site, CURSOR.replace("[store]", 'start = "0"\n[store]'))
    site.page("/prices", Reply({"items": [{"id": 7, "at": "x"}]}))
    job.pull()
    job.write(job.path.read_text().replace("max($.items[*].id)", "max(items[*].at)"))
    job.pull()
    job.write(job.path.read_text().replace('start = "0"', 'start = "1"'))
    job.pull()
    job.pull()
    assert [each.path.partition("=")[2] for each in site.asked] == ["0", "0", "1", "x"]
    job.write(job.path.read_text().replace("items[*].at", "item[*].at"))
    capsys.readouterr()
    job.pull()
    assert "found nothing in it, and never did yet" in capsys.readouterr().err


def test_a_number_beyond_all_reckoning_is_no_data(site: Site, tmp_path: Path) -> None:
    """Some bytes that would cost hours as a whole number."""
    headers = {"Content-Type": "application/json"}
    site.page("/prices", Reply(b'{"id": 1e99999999}', headers=headers))
    job = _job(tmp_path, site, '[cursor]\nfrom = "ceil(id)"\nparam = "since"')
    assert job.pull() == 1


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/plain", "application/jsonl"])
def test_lines_of_json_may_become_more(site: Site, tmp_path: Path, kind: str) -> None:
    """A single line would be JSON as well: what says that it is lines, or is, is a text."""
    headers = {"Content-Type": kind}
    job = _job(tmp_path, site)
    for body in (b'{"a": 1}\n', b'{"a": 1}\n{"a": 2}\n'):
        site.page("/prices", Reply(body, headers=headers))
        assert job.pull() == 0
    assert job.outcomes() == ["changed", "changed"]
    assert '+{"a": 2}' in job.diffs()[0]
    job.write(job.path.read_text() + '[request]\nheader = ["X: 1"]\n')  # compared anew
    assert job.pull() == 0
    assert job.outcomes()[2:] == ["unchanged"]


def test_a_line_of_json_is_a_text_when_it_is_compared_anew(site: Site, tmp_path: Path) -> None:
    """What is kept is read as what it was when it came."""
    job = _job(tmp_path, site)
    site.page("/prices", Reply(b'{"a": 1}\n', headers={"Content-Type": "application/x-ndjson"}))
    job.pull()
    job.write(job.path.read_text() + '[request]\nheader = ["X: 1"]\n')
    job.pull()
    for kind in ("application/json", "text/plain", "application/x-ndjson"):
        site.page("/prices", Reply(b'{"a": 1}\n', headers={"Content-Type": kind}))
        job.pull()
    assert job.outcomes() == ["changed", *["unchanged"] * 4]


@pytest.mark.parametrize("body", [b"503", b"null", b'"error"', b"1\n2\n", b"<html>login"])
def test_a_single_value_in_place_of_json_is_a_failure(
    site: Site, tmp_path: Path, body: bytes
) -> None:
    """As of a proxy that answers for the server."""
    job = _job(tmp_path, site)
    site.page("/prices", Reply({"a": 1}))
    job.pull()
    site.page("/prices", Reply(body))
    assert job.pull() == 1


def test_why_a_body_is_no_json_is_said(site: Site, tmp_path: Path) -> None:
    """In the reader's words."""
    headers = {"Content-Type": "application/json"}
    job = _job(tmp_path, site)
    for body, said in ((b'{"p": 1e1500}', "1e1500 is too far from 1"), (b"{", "unexpected end")):
        site.page("/prices", Reply(body, headers=headers))
        assert job.pull() == 1
        [(detail,)] = job.state("SELECT detail FROM target")
        assert said in detail


def test_a_part_that_nobody_asked_for_is_no_data(site: Site, tmp_path: Path) -> None:
    """Who asks by Range, in whatever way, gets what was asked for."""
    site.page("/prices", Reply(b"half", 206))
    job = _job(tmp_path, site)
    assert job.pull() == 1
    (tmp_path / "headers").write_text("Range: bytes=0-3\n")
    plain = job.path.read_text()
    for more in ('[request]\nheader = ["Range: bytes=0-3"]', '[request]\nheader = ["@headers"]'):
        job.write(plain + more)
        assert job.pull() == 0
    (tmp_path / "list.csv").write_text(f"url,part\n{site.url}/prices,bytes=0-3\n")
    job.write('[targets]\nurls = "list.csv"\nheader-column = ["part=Range"]\n')
    assert job.pull() == 0


def test_a_decimal_s_zeros_are_no_change(site: Site, tmp_path: Path) -> None:
    """Also of one that no double holds."""
    headers = {"Content-Type": "application/json"}
    job = _job(tmp_path, site)
    for number in (b"1.123456789012345678", b"1.1234567890123456780"):
        site.page("/prices", Reply(b'{"p": %s}' % number, headers=headers))
        job.pull()
    assert job.outcomes() == ["changed", "unchanged"]


def test_json_behind_a_byte_order_mark_is_json(site: Site, tmp_path: Path) -> None:
    """It is kept as it came, and compared by its value."""
    job = _job(tmp_path, site, '[store]\nignore = ["$.at"]')
    headers = {"Content-Type": "application/json"}
    for number in (b"1", b"2"):
        site.page("/prices", Reply(b'\xef\xbb\xbf{"at": %s}' % number, headers=headers))
        assert job.pull() == 0
    assert job.outcomes() == ["changed", "unchanged"]
    assert [path.read_bytes() for path in job.versions()] == [b'\xef\xbb\xbf{"at": 1}']
