"""What a reply must be, and what of it goes into its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler import Expectations
from crawler import crawl as fetch
from crawler.errors import UsageError
from tests.conftest import crawl, records_of
from tests.raw_server import RawServer, answers


def reply(body: bytes, *, status: int = 200, kind: bytes = b"application/json") -> bytes:
    """A reply with this body."""
    head = b"HTTP/1.1 %d X\r\nContent-Type: %b\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + body


@pytest.mark.parametrize("engine", ["curl", "requests"])
def test_values_of_json_replies_are_in_the_records(engine) -> None:
    """Texts as they are, other values as JSON, an empty text for what is not there."""
    bodies = (b'{"a": {"b": "x"}, "n": [1, 2.5, null]}', b'{"n": 7}', b"<html>", b"")
    with RawServer(*(answers(reply(body)) for body in bodies)) as raw:
        run = fetch(
            [raw.url] * 4, engine=engine, processes=0, concurrency=1,
            select=(("b", "a.b"), ("n", "n"), ("sum", "sum(n)")),
        )  # fmt: skip
    assert [dict(record.fields) for record in run.records()] == [
        {"b": "x", "n": "[1,2.5,null]", "sum": ""},
        {"b": "", "n": "7", "sum": ""},
        {"b": "", "n": "", "sum": ""},
        {"b": "", "n": "", "sum": ""},
    ]
    assert list(run.frame()["n"])[:2] == ["[1,2.5,null]", "7"]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("id", "123456789012345678901234567890"),
        ("max([id, `1`])", "123456789012345678901234567890"),
        ("huge", "1E+400"),
        ("avg(parts)", "0.375"),
        ("sum(none)", ""),
        ("sum(parts)", "0.75"),
    ],
)
def test_numbers_of_many_digits(expression: str, found: str) -> None:
    """All keep their digits; long decimals are added as doubles."""
    body = (
        b'{"id": 123456789012345678901234567890, "huge": 1e400,'
        b' "parts": [0.25, 0.500000000000000000000001]}'
    )
    with RawServer(answers(reply(body))) as raw:
        run = fetch([raw.url], processes=0, select=(("x", expression),))
    assert [dict(record.fields) for record in run.records()] == [{"x": found}]


@pytest.mark.parametrize("engine", ["curl", "requests"])
@pytest.mark.parametrize(
    "expression",
    ["floor(to_number(a))", "ceil(to_number(b))", "&a", r'`"\ud800"`', "sort(n)", "sort_by(n, &x)"],
)
def test_what_cannot_be_found_does_not_end_the_run(engine, expression: str) -> None:
    """jmespath lets out errors of many kinds; each is an empty text, and the next reply is read."""
    with RawServer(answers(reply(b'{"a": "nan", "b": "1e999", "n": [1, "x"]}'))) as raw:
        run = fetch([raw.url], engine=engine, processes=0, select=(("x", expression), ("a", "a")))
    assert [dict(record.fields) for record in run.records()] == [{"x": "", "a": "nan"}]


@pytest.mark.parametrize("engine", ["curl", "requests"])
@pytest.mark.parametrize(
    ("sent", "expect", "error", "words"),
    [
        (reply(b"{}"), {"json": True}, None, None),
        (reply(b"{"), {"json": True}, "unexpected", "no JSON: Expecting property name"),
        (reply(b""), {"json": True}, "unexpected", "no JSON"),
        (reply(b"[" * 200_000), {"json": True}, "unexpected", "nested too deeply"),
        (reply(b"a\xff"), {"body": "a\udcff"}, None, None),
        (reply(b"all is well"), {"body": "is (well|fine)$"}, None, None),
        (reply("wörld".encode()), {"body": "wörld"}, None, None),
        (reply(b"all is bad"), {"body": "well"}, "unexpected", "does not match --expect-body"),
        (reply(b"", kind=b"Text/HTML; x"), {"types": ("text/html",)}, None, None),
        (reply(b"", kind=b"text/plain"), {"types": ("text/html", "a/b")}, "unexpected",
         "is text/plain, not text/html or a/b"),
        (reply(b"", status=404), {"statuses": ("200", "404")}, None, None),
        (reply(b"", status=204), {"statuses": ("200",)}, "unexpected", "204 is not among 200"),
        (reply(b"", status=201), {"statuses": ("2XX",)}, None, None),
        (reply(b"", status=404), {"json": True}, "http", "404"),
        (reply(b"", status=503), {"statuses": ("200",)}, "http", "503"),
        (reply(b"", status=503), {"statuses": ("5xx",)}, None, None),
    ],
)  # fmt: skip
def test_a_reply_is_as_expected_or_a_failure(engine, sent, expect, error, words) -> None:
    """The detail says what was got."""
    with RawServer(answers(sent)) as raw:
        run = fetch([raw.url], engine=engine, processes=0, retries=0, expect=Expectations(**expect))
    (record,) = run.records()
    assert record.error == error
    assert record.detail is None if words is None else words in (record.detail or "")


def test_what_is_unexpected_is_not_retried_and_kept_as_a_failure(demo, tmp_path: Path) -> None:
    """One attempt; the exit code counts it; ``--retry-failed`` redoes it."""
    arguments = (f"{demo}/bytes/20", "--out", "r.log", "--summary", "none")
    assert crawl(*arguments, "--assert-json", cwd=tmp_path).returncode == 1
    (record,) = records_of(tmp_path / "r.log")
    assert (record["error"], record["attempts"], record["status"]) == ("unexpected", 1, 200)
    assert crawl(*arguments, "--retry-failed", cwd=tmp_path).returncode == 0
    assert records_of(tmp_path / "r.log")[-1]["error"] is None


def test_selected_values_and_bodies_go_together(demo, tmp_path: Path) -> None:
    """A record tells both, and a CSV has a column for each."""
    done = crawl(
        f"{demo}/novel/1", "--select", "id", "--select", "t=title", "--bodies", "b.jsonl",
        "--out", "r.csv", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    header, row = (tmp_path / "r.csv").read_text().splitlines()
    assert header.split(",")[-5:] == ["id", "t", "body", "sha256", "content_type"]
    assert row.split(",")[-5] == "1"
    assert json.loads((tmp_path / "b.jsonl").read_text())["seq"] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--select", "a["), "'a['"),
        (("--select", "data.items[*"), "(at character 13)"),
        (("--select", "[" * 5000), "nested too deeply"),
        (("--select", "n=a[::0]"), "step of a slice"),
        (("--select", "n={a: [lenght(b)]}"), "no function lenght()"),
        (("--select", "n=join(a)"), "join() takes 2, not 1"),
        (("--select", "n=merge()"), "merge() takes 1 or more, not 0"),
        (("--expect-body", "a{99999999999}"), "--expect-body"),
        (("--select", "url"), "--select url"),
        (("--select", "x=a", "--select", "x=b"), "--select x"),
        (("--select", "x="), "--select"),
        (("--expect-status", "ok"), "--expect-status"),
        (("--expect-body", "("), "--expect-body"),
    ],
)
def test_what_makes_no_sense_is_refused(options: tuple[str, ...], words: str, tmp_path) -> None:
    """Exit 2 before anything is sent, and the option is named."""
    done = crawl(*options, "http://127.0.0.1:9/", cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


@given(st.integers(100, 999), st.lists(st.sampled_from(["200", "404", "2xx", "5XX"]), max_size=3))
def test_statuses_are_codes_and_classes(status: int, statuses: list[str]) -> None:
    """Without any, what is below 400 is fine."""
    meets = Expectations(statuses=tuple(statuses)).meets_status(status)
    wanted = [
        str(status) == s or (s[1:].lower() == "xx" and s[0] == str(status)[0]) for s in statuses
    ]
    assert meets == (any(wanted) if statuses else status < 400)


def test_an_expectation_needs_sense() -> None:
    """The library refuses what the command does."""
    with pytest.raises(UsageError, match="--expect-status"):
        Expectations(statuses=("20",))
