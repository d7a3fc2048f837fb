"""Pages that are followed: each once, in order, whatever is killed, and never without an end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import Settings, Target, benchmark, read_bodies, read_run
from crawler import crawl as fetch
from crawler.errors import UsageError
from crawler.pagination import Pagination
from crawler.paging import with_param
from tests.conftest import command, crawl, records_of
from tests.raw_server import RawServer, answers
from tests.test_bodies import FILES, listed, reply

PAGES = 26
"""So many pages of 10 are in the demo API's /pages."""


def pages_of(records: list[dict[str, Any]]) -> dict[int, list[int]]:
    """The pages of each target, in the order of the records."""
    found: dict[int, list[int]] = {}
    for record in records:
        found.setdefault(record["seq"], []).append(int(record["page"]))
    return found


def answer(value: object, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A reply of JSON."""
    kind = b"Content-Type: application/json"
    return reply(json.dumps(value).encode(), kind, *headers, status=status)


@pytest.mark.parametrize(
    ("style", "query", "count"),
    [
        ("link-header", "per_page=10", PAGES),
        ("json:next", "page=3&per_page=10", PAGES - 2),
        ("page:page", "per_page=10", PAGES + 1),
        ("offset:page,1", "page=24&per_page=10", 4),
    ],
)
def test_every_page_has_a_record(demo, tmp_path, style: str, query: str, count: int) -> None:
    """With its number and the next one's URL; the last one has none, and nothing comes twice."""
    done = crawl(
        f"{demo}/pages?{query}", "--paginate", style, "--out", "r.log", "--bodies", "b.jsonl",
        "--summary", "none", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = records_of(tmp_path / "r.log")
    assert pages_of(records) == {0: list(range(1, count + 1))}
    assert len({record["url"] for record in records}) == count
    for record, following in pairwise(records):
        assert record["next"] == following["url"]
    assert records[-1]["next"] == ""
    bodies = list(read_bodies(tmp_path / "b.jsonl"))
    assert [body.page for body in bodies] == list(range(1, count + 1))
    assert [body.url for body in bodies] == [record["url"] for record in records]


def test_a_cursor_is_put_into_the_url(tmp_path) -> None:
    """Encoded, beside the other parameters, until there is none."""
    pages = [answer({"meta": {"c": c}}) for c in ("a b&c", 7, None)]
    with RawServer(answers(*pages)) as raw:
        run = fetch(
            [f"{raw.url}?q=1&cursor=old"], paginate=Pagination.parse("cursor:meta.c=cursor"),
            out=tmp_path / "r.log",
        )  # fmt: skip
        sent = [request.split(b" ")[1] for request in raw.requests]
    assert sent == [b"/?q=1&cursor=old", b"/?q=1&cursor=a%20b%26c", b"/?q=1&cursor=7"]
    assert [record.error for record in run.records()] == [None] * 3


@pytest.mark.parametrize("polite", [(), ("--per-host", "3")])
def test_records_are_streamed_page_by_page(demo, tmp_path, polite: tuple[str, ...]) -> None:
    """In input order, a target's pages in theirs, with limits and without."""
    urls = [f"{demo}/pages?per_page=10&page={n}&n={n}" for n in (14, 1, 25, 10)]
    listed(tmp_path / "l.txt", urls)
    done = crawl(
        "--urls", "l.txt", "--paginate", "link-header", "--out", "-", *polite, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["seq"] for record in records] == [0] * 13 + [1] * 26 + [2] * 2 + [3] * 17
    assert pages_of(records)[1] == list(range(1, 27))


def test_without_a_log_too(demo) -> None:
    """The library keeps the records of all pages, in order."""
    run = fetch([f"{demo}/pages?per_page=10&page=20"] * 2, paginate=Pagination.parse("json:next"))
    assert [record.fields["page"] for record in run.records()] == [*"1234567"] * 2
    assert run.summary().loc["total", "requests"] == 14


@pytest.mark.parametrize("name", [*FILES, "d"])
@pytest.mark.parametrize("polite", [(), ("--per-host", "4")])
def test_a_run_killed_and_resumed_has_each_page_once(
    demo, tmp_path, name: str, polite: tuple[str, ...]
) -> None:
    """A worker is killed, then the command: no page is lost, none counts twice, nor its body."""
    listed(tmp_path / "l.txt", [f"{demo}/pages?per_page=10&n={n}&delay=2ms" for n in range(12)])
    where = ("--save-bodies", name) if name == "d" else ("--bodies", name)
    arguments = (
        "--urls", "l.txt", "--paginate", "json:next", *where, "--out", "r.log",
        "--concurrency", "6", "--processes", "2", "--summary", "none", *polite,
    )  # fmt: skip
    run = subprocess.Popen(command(*arguments), cwd=tmp_path, stderr=subprocess.DEVNULL)
    log = tmp_path / "r.log"
    lines_come(log, 40, run)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    lines_come(log, 110, run)
    run.kill()
    run.wait()
    done = None
    while done is None or "another crawl" in done.stderr:  # its workers hear of it soon
        done = crawl(*arguments, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    records = [record._asdict() | dict(record.fields) for record in read_run(log).records()]
    assert pages_of(records) == {n: list(range(1, PAGES + 1)) for n in range(12)}
    bodies = [
        (body.seq, body.page) for body in read_bodies(log if name == "d" else tmp_path / name)
    ]
    assert bodies == [(seq, page) for seq in range(12) for page in range(1, PAGES + 1)]
    if name == "d":
        assert sum(path.is_file() for path in (tmp_path / "d").rglob("*")) == 12 * PAGES


def lines_come(log: Path, count: int, run: subprocess.Popen[bytes]) -> None:
    """Wait until so many records are in the log."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and run.poll() is None:
        with contextlib.suppress(FileNotFoundError):
            if log.read_bytes().count(b"\n") >= count:
                return
        time.sleep(0.005)
    raise AssertionError(f"the run ended ({run.poll()}) before {count} lines")


def test_a_failed_page_is_redone_and_those_behind_it_fetched(tmp_path) -> None:
    """``--retry-failed`` goes on where it failed; the pages before are not fetched again."""
    first = answer({"next": "/2"}, b"Connection: close")
    oh = answer({}, b"Connection: close", status=b"500 Oh")
    with RawServer(
        answers(first), answers(oh),
        answers(answer({"next": "/3"}, b"Connection: close")),
        answers(answer({"next": None}, b"Connection: close")),
    ) as raw:  # fmt: skip
        arguments = (
            raw.url, "--paginate", "json:next", "--retries", "0", "--out", "r.log", "--summary",
            "none",
        )  # fmt: skip
        assert crawl(*arguments, cwd=tmp_path).returncode == 1
        assert crawl(*arguments, "--resume", cwd=tmp_path).returncode == 1
        assert crawl(*arguments, "--retry-failed", cwd=tmp_path).returncode == 0
        sent = [request.split(b" ")[1] for request in raw.requests]
    assert sent == [b"/", b"/2", b"/2", b"/3"]
    records = list(read_run(tmp_path / "r.log").records())
    assert [(record.error, record.fields["page"]) for record in records] == [
        (None, "1"), (None, "2"), (None, "3"),
    ]  # fmt: skip


def test_the_cap_is_kept_and_a_higher_one_goes_on(demo, tmp_path) -> None:
    """The last record's ``next`` tells that there is more, and ``--resume`` may fetch it."""
    arguments = (
        f"{demo}/pages?per_page=10", "--paginate", "link-header", "--out", "r.log", "--summary",
        "none", "--resume",
    )  # fmt: skip
    for most, pages in ((1, 1), (3, 3), (3, 3), (5, 5)):
        done = crawl(*arguments, "--max-pages", str(most), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        records = records_of(tmp_path / "r.log")
        assert pages_of(records) == {0: list(range(1, pages + 1))}
        assert records[-1]["next"].endswith(f"page={pages + 1}")


@pytest.mark.parametrize(
    ("style", "replies", "words"),
    [
        ("json:next", [{"next": "/a"}, {"next": "/b"}, {"next": "/a"}], "fetched already"),
        ("json:next", [{"next": "/"}], "fetched already"),
        ("page:p", [{"items": [1, 2]}] * 2, "the same as the one before"),
        ("json:next", [{"next": "http://localhost:9/"}], "of another host"),
        ("json:next", [{"next": "ftp://127.0.0.1/"}], "no URL"),
        ("json:next", [{"next": {"a": 1}}], "no URL in the reply"),
        ("cursor:next=c", [{"next": [1]}], "no cursor"),
        ("offset:o,10", ["text"], "no list"),
    ],
)
def test_pages_that_lead_nowhere_are_failures(
    tmp_path, style: str, replies: list[object], words: str
) -> None:
    """A loop, another host, what is no page: ``unexpected``, in words, and the run ends."""
    with RawServer(answers(*map(answer, replies))) as raw:
        run = fetch([raw.url], paginate=Pagination.parse(style), retries=0)
    *before, last = run.records()
    assert [record.error for record in before] == [None] * (len(replies) - 1)
    assert last.error == "unexpected"
    assert last.detail is not None
    assert words in last.detail
    assert last.fields["next"] == ""


def test_html_is_no_page(demo) -> None:
    """A reply that is no JSON fails where the next page is told in JSON."""
    run = fetch([f"{demo}/html"], paginate=Pagination.parse("json:next"))
    (record,) = run.records()
    assert record.error in ("unexpected", "http")


def test_credentials_go_along_and_are_not_told(tmp_path) -> None:
    """Those of the target's URL are sent with each page; no record has them."""
    pages = [answer({"next": "/2"}), answer({"next": "http://x:y@127.0.0.1:{port}/3"})]
    with RawServer(answers(*pages)) as raw:
        url = raw.url.replace("://", "://me:hunter2@")
        fetch([url], out=tmp_path / "r.log", paginate=Pagination.parse("json:next"), retries=0)
        assert all(b"Basic bWU6aHVudGVyMg==" in request for request in raw.requests)
        assert len(raw.requests) == 2
    assert b"hunter2" not in (tmp_path / "r.log").read_bytes()


def test_links_are_found_however_they_are_written() -> None:
    """Relative links, links in one of several headers and in another order of parameters."""
    for value in (
        b'Link: </p2>; title="a, b"; rel="next"',
        b'Link: </x>; rel=prev, </p2>; rel="last next"',
        b"Link: </x>; rel=last\r\nLink: </p2>;rel=next",
    ):
        with RawServer(answers(answer({}, value), answer({}))) as raw:
            run = fetch([raw.url], paginate=Pagination.parse("link-header"))
            assert [record.status for record in run.records()] == [200, 200]
            assert raw.requests[1].startswith(b"GET /p2 ")


@pytest.mark.parametrize(
    "text",
    ["", "link", "link-header:x", "json:", "cursor:a", "cursor:=a", "cursor:a=", "page:",
     "offset:a", "offset:a,0", "offset:a,x", "offset:,5"],
)  # fmt: skip
def test_what_is_no_style_is_refused(text: str, tmp_path) -> None:
    """Exit 2 before anything is sent, with the styles that there are."""
    with pytest.raises(UsageError, match="--paginate"):
        Pagination.parse(text)
    done = crawl("http://127.0.0.1:9/", "--paginate", text, cwd=tmp_path)
    assert (done.returncode, "link-header" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--max-pages", "3"), "--max-pages is of pages"),
        (("--paginate", "json:a b"), "no JMESPath"),
        (("--paginate", "page:p", "--max-pages", "0"), "--max-pages"),
        (("--paginate", "page:p", "--dedupe", "exact"), "--dedupe"),
        (("--paginate", "page:p", "--select", "page=a"), "--select page"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: tuple[str, ...], words: str, tmp_path
) -> None:
    """Exit 2, naming the option."""
    done = crawl("http://127.0.0.1:9/", *options, cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_a_benchmark_follows_nothing() -> None:
    """What its load says is sent, and nothing else."""
    for settings in (
        Settings(paginate=Pagination.parse("page:p")),
        Settings(dedupe="exact"),
    ):
        with pytest.raises(UsageError, match="a benchmark sends"):
            benchmark("http://127.0.0.1:9/", requests=1, settings=settings)


def test_columns_of_those_names_mean_nothing_without_it(demo) -> None:
    """A list may have its own ``page`` and ``next``: each target has one record all the same."""
    own = {"page": "3", "next": "x"}
    targets = [Target(n, f"{demo}/novel/{n + 1}", fields=own) for n in range(3)]
    run = fetch(targets)
    assert [record.fields for record in run.records()] == [own] * 3


@given(
    query=st.text("ab=&%+ é#?", max_size=20),
    name=st.text("ab é=&", min_size=1, max_size=4),
    value=st.text(max_size=8).filter(lambda text: text.isprintable()),
)
def test_a_parameter_that_is_set_is_read_back(query: str, name: str, value: str) -> None:
    """Once, whatever stands around it, and the others stay."""
    from urllib.parse import parse_qsl, urlsplit

    before = f"http://h/p?{query.replace('#', '')}"
    after = with_param(with_param(before, name, "x"), name, value)
    found = parse_qsl(urlsplit(after).query, keep_blank_values=True)
    assert {text for key, text in found if key == name} == {value}
    others = parse_qsl(urlsplit(before).query, keep_blank_values=True)
    assert [pair for pair in found if pair[0] != name] == [p for p in others if p[0] != name]
