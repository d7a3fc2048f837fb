"""What of a list is fetched: parts of it, in which order, what is the same, what rows ask for."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from operator import itemgetter
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import crawl as fetch
from crawler.canonical import canonical
from crawler.errors import TargetError, UsageError
from crawler.record import Target
from crawler.remote_lists import sitemap_list
from crawler.row_requests import RowRequests
from crawler.selection import Selection
from crawler.targets import open_targets
from tests.conftest import crawl, records_of
from tests.raw_server import RawServer, answers


def targets(count: int) -> list[Target]:
    """So many targets."""
    return [Target(seq, f"http://a/{seq}") for seq in range(count)]


@given(
    count=st.integers(0, 60), skip=st.integers(0, 70), limit=st.none() | st.integers(1, 70),
    sample=st.none() | st.integers(1, 70), seed=st.integers(0, 9),
)  # fmt: skip
def test_a_part_of_a_list(count, skip, limit, sample, seed) -> None:
    """As many as can be, in their order, each once, the same again for the same seed."""
    selection = Selection(skip=skip, limit=limit, sample=sample, seed=seed)
    chosen = [target.seq for target in selection.of(iter(targets(count)))]
    end = count if limit is None else min(count, skip + limit)
    within = range(skip, max(skip, end))
    assert set(chosen) <= set(within)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(len(within), sample or len(within)) == selection.count(lambda: count)
    assert chosen == [target.seq for target in selection.of(iter(targets(count)))]


def test_a_sample_is_even() -> None:
    """Each target is as likely as any other."""
    seen = Counter(
        target.seq
        for seed in range(2000)
        for target in Selection(sample=2, seed=seed).of(iter(targets(10)))
    )
    assert all(300 < count < 500 for count in seen.values())


def test_shuffled_targets_are_numbered_in_their_new_order() -> None:
    """All of them, each once."""
    mixed = list(Selection(shuffle=True, seed=3).of(iter(targets(50))))
    assert [target.seq for target in mixed] == list(range(50))
    urls = [target.url for target in mixed]
    assert urls != [target.url for target in targets(50)]
    assert sorted(urls) == sorted(target.url for target in targets(50))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("HTTP://Example.COM:80", "http://example.com/"),
        ("https://a:443/x?b=1&a=2#f", "https://a/x?a=2&b=1"),
        ("http://a/%7Euser/%c3%a9", "http://a/~user/%C3%A9"),
        ("http://a/b/../c/./d", "http://a/c/d"),
        ("http://a/?x=2&x=1", "http://a/?x=2&x=1"),
    ],
)
def test_urls_that_mean_the_same_have_one_canonical_text(one: str, other: str) -> None:
    """RFC 3986, section 6.2.2."""
    assert canonical(one) == canonical(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a/", "https://a/"),
        ("http://a/x", "http://a/X"),
        ("http://a/?x=1&x=2", "http://a/?x=2&x=1"),
        ("http://a/%2F", "http://a//"),
        ("http://me:1@a/", "http://you:1@a/"),
    ],
)
def test_urls_that_mean_something_else_have_another(one: str, other: str) -> None:
    """What a server may answer differently is kept apart."""
    assert canonical(one) != canonical(other)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_canonical_text_is_its_own(path: str, query: str) -> None:
    """Applied again, nothing changes; whatever stands in the URL."""
    text = canonical(f"http://Host/{path}?{query}")
    assert canonical(text) == text


def test_duplicates_are_requested_once_and_have_records_of_their_own(demo, tmp_path) -> None:
    """Of their own number and columns, answered from the first; failures count for each."""
    base = f"{demo}/anything"
    (tmp_path / "l.csv").write_text(
        f"n,link\n0,{base}?b=1&a=2\n1,{base}?a=2&b=1\n2,{base}?b=1&a=2\n3,{demo}/status/404\n"
        f"4,{demo}/status/404\n"
    )
    arguments = ("--urls", "l.csv", "--keep", "n", "--out", "r.log", "--dedupe")
    done = crawl(*arguments, "exact", "--max-errors", "1", cwd=tmp_path)
    assert (done.returncode, "2 targets ask for what others did" in done.stderr) == (1, True)
    records = {record["seq"]: record for record in records_of(tmp_path / "r.log")}
    assert [records[seq]["n"] for seq in range(5)] == list("01234")
    assert [records[seq].get("duplicate_of") for seq in range(5)] == [None, None, "0", None, "3"]
    assert [records[seq]["attempts"] for seq in range(5)] == [1, 1, 0, 1, 0]
    again = crawl(*arguments, "exact", "--resume", "--max-errors", "2", cwd=tmp_path)
    assert again.returncode == 0
    assert len(records_of(tmp_path / "r.log")) == 5
    assert crawl(*arguments, "canonical", "--max-errors", "2", cwd=tmp_path).returncode == 0
    last = records_of(tmp_path / "r.log")[5:]
    assert Counter(record["attempts"] for record in last) == {1: 2, 0: 3}


def test_tables_of_arrow_are_lists(demo, tmp_path) -> None:
    """Parquet and Arrow files, columns kept as text, the rest as from any list."""
    urls = [f"{demo}/novel/{n}" for n in (1, 2)]
    table = pa.table({"id": [1, 2], "link": urls, "x": [None, b"\xff"]})
    parquet.write_table(table, tmp_path / "l.parquet")
    feather.write_feather(table, str(tmp_path / "l.feather"))
    place = str(tmp_path / "l.arrow")
    with pa.OSFile(place, "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    for name in ("l.parquet", "l.feather", "l.arrow"):
        with open_targets(files=[str(tmp_path / name)], keep=["id", "x"]) as listed:
            assert [(t.url, dict(t.fields)) for t in listed] == [
                (urls[0], {"id": "1", "x": ""}),
                (urls[1], {"id": "2", "x": "\ufffd"}),
            ]
    done = crawl("--urls", "l.parquet", "--out", "r.log", "--summary", "none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("l.parquet", b"no parquet", "cannot be read as parquet"),
        ("l.arrow", b"no arrow at all", "cannot be read as arrow"),
        ("l.xlsx", b"PK", "save the sheet as CSV"),
        ("absent.parquet", None, "no such file"),
    ],
)
def test_a_table_that_cannot_be_read_is_told(tmp_path, name, content, words) -> None:
    """By its name, with the remedy."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TargetError, match=words):
        open_targets(files=[str(tmp_path / name)])


def test_patterns_name_lists(demo, tmp_path) -> None:
    """In the order of their names; one that names none is an error, a file of that name wins."""
    for name in ("b.txt", "a.txt", "[x].txt"):
        (tmp_path / name).write_text(f"{demo}/status/200?{name[0]}\n")
    done = crawl("--urls", "?.txt", "--urls", "[x].txt", "--out", "-", cwd=tmp_path)
    urls = [json.loads(line)["url"][-1] for line in done.stdout.splitlines()]
    assert urls == ["a", "b", "["]
    wrong = crawl("--urls", "*.csv", cwd=tmp_path)
    assert (wrong.returncode, "*.csv" in wrong.stderr) == (2, True)


def test_a_list_at_a_url_is_fetched_first(demo, tmp_path) -> None:
    """Its format told by the type; what cannot be had is told without its password."""
    data = f"id,link\n7,{demo}/novel/7\n".encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: %d\r\n\r\n" % len(data)
    with RawServer(answers(head + data)) as raw:
        done = crawl("--urls", f"{raw.url}/export?x=1", "--keep", "id", "--out", "-", cwd=tmp_path)
    assert json.loads(done.stdout)["id"] == "7"
    wrong = crawl("--urls", "http://me:hunter2@127.0.0.1:9/l.csv", cwd=tmp_path)
    assert (wrong.returncode, "hunter2" in wrong.stderr) == (2, False)
    assert "127.0.0.1:9" in wrong.stderr


SITEMAP = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}</urlset>'


def test_sitemaps_and_those_that_they_name_are_lists(demo, tmp_path) -> None:
    """An index, gzip, plain text; each once, though they name each other."""
    pages = SITEMAP.format(f"<url><loc> {demo}/novel/1?a=1&amp;b=2 </loc><image/></url>").encode()
    with RawServer(
        answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(pages), pages))
    ) as raw:
        (tmp_path / "index.xml.gz").write_bytes(
            gzip.compress(
                f"<sitemapindex><sitemap><loc>{raw.url}/s.xml</loc></sitemap>"
                f"<sitemap><loc>{raw.url}/s.xml</loc></sitemap></sitemapindex>".encode()
            )
        )
        (tmp_path / "plain.txt").write_text(f"{demo}/novel/2\n\n")
        done = crawl(
            "--sitemap", "index.xml.gz", "--sitemap", "plain.txt", "--out", "-", cwd=tmp_path
        )
    assert done.returncode == 0, done.stderr
    urls = [json.loads(line)["url"] for line in done.stdout.splitlines()]
    assert sorted(urls) == [f"{demo}/novel/1?a=1&b=2", f"{demo}/novel/2"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<urlset><url>", "no XML"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><urlset/>', "document type"),
        (b"\x1f\x8bnonsense", "damaged gzip"),
        (gzip.compress(b" " * 60_000_000), "larger than"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><urlset/>'.encode("utf-16"), "not UTF-8"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><urlset/>'.encode("utf-16-le"), "not UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_sitemap_that_is_none_is_told(tmp_path: Path, content, words) -> None:
    """By its name; an entity or a bomb is never unpacked."""
    place = tmp_path / "s.xml"
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(TargetError, match=words):
        sitemap_list([str(place)], tmp_path, warn=print)


def test_a_sitemap_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """It is XML all the same, not a URL a line."""
    place = tmp_path / "s.xml"
    place.write_text(SITEMAP.format("<url><loc>http://h/1</loc></url>"), encoding="utf-8-sig")
    assert Path(sitemap_list([str(place)], tmp_path, warn=print)).read_text() == "http://h/1\n"


def test_what_has_no_columns_is_a_row_of_empty_cells(demo, tmp_path) -> None:
    """An argument, and a plain list beside a table, are requested as the options say."""
    (tmp_path / "l.csv").write_text(f"url,verb,name\n{demo}/anything,PUT,n\n")
    (tmp_path / "l.txt").write_text(f"{demo}/novel/2\n")
    done = crawl(
        f"{demo}/novel/1", "--urls", "l.csv", "--urls", "l.txt", "--method-column", "verb",
        "--header-column", "name=X-Name", "--keep", "name", "--out", "-", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = sorted((json.loads(line) for line in done.stdout.splitlines()), key=itemgetter("seq"))
    assert [record["method"] for record in records] == ["GET", "PUT", "GET"]


def test_rows_make_their_requests(demo, tmp_path) -> None:
    """Method, headers and body from columns; an unfit row is a record and no request."""
    (tmp_path / "l.csv").write_text(
        f'link,verb,token,name\n{demo}/anything,PUT,abc,A"n{{na\n{demo}/anything,,,B\n'
        f"{demo}/anything,BAD METHOD,,C\n"
        f'{demo}/anything,GET,"s3c\nr3t",D\n'
    )
    done = crawl(
        "--urls", "l.csv", "--keep", "name", "--method-column", "verb", "--header-column",
        "token=X-Token", "--json-template", '{"who": ["{name}", 1]}',
        "--bodies", "b.jsonl", "--parse", "json", "--out", "r.log", "--max-errors", "2",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = sorted(records_of(tmp_path / "r.log"), key=lambda record: record["seq"])
    assert [record["method"] for record in records[:2]] == ["PUT", "POST"]
    assert {(record["error"], record["url"]) for record in records[2:]} == {
        ("invalid_url", f"{demo}/anything")
    }
    assert records[2]["detail"].startswith("method: 'BAD METHOD' is not an HTTP token")
    assert records[3]["detail"].startswith("header X-Token: the value holds a line break")
    assert "r3t" not in (tmp_path / "r.log").read_text()
    assert {"verb", "token"}.isdisjoint(records[0])
    rows = sorted(
        map(json.loads, (tmp_path / "b.jsonl").read_text().splitlines()), key=lambda r: r["seq"]
    )
    sent = [json.loads(row["json"]["data"]) for row in rows]
    assert sent == [{"who": ['A"n{na', 1]}, {"who": ["B", 1]}]
    assert '"abc"' in json.dumps(rows[0]["json"]["headers"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--skip", "-1"), "--skip"),
        (("--limit", "0"), "--limit"),
        (("--sample", "x"), "--sample"),
        (("--dedupe", "exact", "--out", "-"), "--dedupe"),
        (("--header-column", "x"), "--header-column"),
        (("--header-column", "a=b c"), "--header-column"),
        (("--json-template", "{"), "--json-template"),
        (("--body-column", "a", "--json-template", "{}"), "give one"),
        (("--sitemap", "absent.xml"), "absent.xml"),
    ],
)
def test_what_makes_no_sense_is_refused(options: tuple[str, ...], words: str, tmp_path) -> None:
    """Exit 2 before anything is sent, and the option is named."""
    done = crawl(*options, "http://127.0.0.1:9/", cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_template_tells_its_columns() -> None:
    """Those in texts, once each; keys are no places."""
    rows = RowRequests(json_template='{"{x}": ["{a} {b}", {"c": "{a}"}, 1]}', method="m")
    assert rows.columns == ("m", "a", "b")
    with pytest.raises(UsageError, match="--header-column"):
        RowRequests(headers=(("a", "b c"),))


def test_more_sitemaps_than_an_index_may_name_are_refused(tmp_path: Path, monkeypatch) -> None:
    """None is dropped in silence, and none is asked for."""
    monkeypatch.setattr("crawler.remote_lists._SITEMAPS_MOST", 2)
    entries = "".join(f"<sitemap><loc>http://127.0.0.1:9/{n}</loc></sitemap>" for n in range(3))
    place = tmp_path / "index.xml"
    place.write_text(f"<sitemapindex>{entries}</sitemapindex>")
    with pytest.raises(TargetError, match="name over 2 sitemaps"):
        sitemap_list([str(place)], tmp_path, warn=print)


@pytest.mark.parametrize("loc", ["secret.txt", "file:///etc/hostname", "/etc/hostname"])
def test_a_sitemap_has_no_local_file_read(tmp_path: Path, monkeypatch, loc: str) -> None:
    """What a stranger's index names is a URL, or refused."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.txt").write_text("hunter2\n")
    (tmp_path / "index.xml").write_text(
        f"<sitemapindex><sitemap><loc>{loc}</loc></sitemap></sitemapindex>"
    )
    with pytest.raises(TargetError, match="no URL of one"):
        sitemap_list(["index.xml"], tmp_path, warn=print)
    assert "hunter2" not in (tmp_path / "sitemaps.txt").read_text()


def test_duplicates_are_not_lost_where_no_log_is_kept(tmp_path: Path) -> None:
    """In the library too: their records are made of the log's, so without one they are refused."""
    urls = ["http://127.0.0.1:9/"] * 2
    with pytest.raises(UsageError, match="--dedupe"):
        fetch(urls, dedupe="exact")
    with pytest.raises(UsageError, match="--dedupe"):
        list(fetch.stream(urls, dedupe="exact", out=tmp_path / "r.log"))
    run = fetch(urls, dedupe="exact", retries=0, out=tmp_path / "r.log", processes=0)
    assert [record.error for record in run.records()] == ["connect", "connect"]


def test_a_null_is_no_value(tmp_path, demo) -> None:
    """A row whose id is null asks for nothing: it is told, not requested as the text null."""
    (tmp_path / "l.jsonl").write_text('{"id": 1}\n{"id": null}\n{"id": 3\n')
    done = crawl(
        "--urls", "l.jsonl", "--url-template", f"{demo}/novel/{{id}}", "--out", "r.log",
        "--max-errors", "2", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = sorted(records_of(tmp_path / "r.log"), key=lambda record: record["seq"])
    assert [record["error"] for record in records] == [None, "invalid_url", "invalid_url"]
    assert "JSON, not a URL" in records[2]["detail"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("<?xml version='1.0'?><urlset/>", "--sitemap"),
        ("<urlset/>", "--sitemap"),
        ("<!DOCTYPE html><p>", "is HTML"),
    ],
)
def test_what_is_no_list_is_told(tmp_path, content: str, words: str) -> None:
    """Exit 2 with the way out, not a record for each of its lines."""
    (tmp_path / "l.txt").write_text(content)
    done = crawl("--urls", "l.txt", cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_a_sitemap_that_only_another_names_may_be_dead(tmp_path) -> None:
    """It is left out with a warning; one that was asked for is an error."""
    (tmp_path / "index.xml").write_text(
        "<sitemapindex><sitemap><loc>http://127.0.0.1:9/a.xml</loc></sitemap></sitemapindex>"
    )
    (tmp_path / "b.xml").write_text("<urlset><url><loc>http://h/1</loc></url></urlset>")
    said: list[str] = []
    names = [str(tmp_path / name) for name in ("index.xml", "b.xml")]
    place = sitemap_list(names, tmp_path, warn=said.append)
    assert Path(place).read_text() == "http://h/1\n"
    assert [text.partition(":")[0] for text in said] == ["left out"]
    with pytest.raises(TargetError, match="cannot be fetched"):
        sitemap_list(["http://127.0.0.1:9/a.xml"], tmp_path, warn=said.append)
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(TargetError, match="is JSON"):
        sitemap_list([str(tmp_path / "x.json")], tmp_path, warn=said.append)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("--seed is that of", ("--seed", "3")),
        ("--breaker-pause is that of", ("--breaker-pause", "9s")),
        ("--name: {idd}", ("--save-bodies", "d", "--name", "{idd}.json")),
        ("--name: {sha1:99}", ("--save-bodies", "d", "--name", "{sha1:99}")),
        ("--save-headers puts", ("--save-headers", "--save-bodies", "d")),
        ("--parse json makes", ("--bodies", "b.warc", "--parse", "json")),
        ("--only-type: 'json'", ("--bodies", "b.jsonl", "--only-type", "json")),
        ("cannot write nowhere/r.log", ("--out", "nowhere/r.log")),
    ],
)
def test_an_option_without_effect_is_refused(
    words: str, options: tuple[str, ...], tmp_path
) -> None:
    """Exit 2, naming it, before anything is sent."""
    done = crawl("http://127.0.0.1:9/", *options, cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
