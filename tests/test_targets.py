"""Lists of targets: formats, columns, templates, numbering, errors before and targets after."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crawler.errors import CrawlError, TargetError, UsageError
from crawler.record import RECORD_FIELDS, Target
from crawler.targets import open_targets, targets_from
from crawler.urls import InvalidUrl, wire_url

Write = Callable[[str, str | bytes], str]

TEMPLATE = "http://h/novelSearchApi?name={name}"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a list; ``.gz`` names are compressed. Gives its path."""

    def write_file(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
        return str(path)

    return write_file


def urls_of(*args: object, **options: object) -> list[str]:
    with open_targets(*args, **options) as targets:  # type: ignore[arg-type]
        return [target.url for target in targets]


def fault(*args: object, **options: object) -> str:
    """The message of the error that opening gives, before any target."""
    with pytest.raises(CrawlError) as caught:
        open_targets(*args, **options)  # type: ignore[arg-type]
    return str(caught.value)


def is_refused(url: str) -> bool:
    try:
        wire_url(url)
    except InvalidUrl:
        return True
    return False


# Plain lines


def test_lines_are_urls(write: Write) -> None:
    """One URL a line; comments, blank lines, CRLF, a BOM and blanks around are tolerated."""
    path = write("l.txt", "\ufeffhttp://a/\r\n\r\n  # no\n#no\n \t\n http://b/x,y \nhttp://c/#top")
    assert urls_of([], [path]) == ["http://a/", "http://b/x,y", "http://c/#top"]


@pytest.mark.parametrize("name", ["l.txt", "l", "l.list", "l.txt.gz", "L.GZ", "l.log"])
def test_an_unknown_extension_is_plain_lines(write: Write, name: str) -> None:
    """Any extension that names no other format is read as lines, with .gz decompressed."""
    data = b"http://a/\nhttp://b/\n"
    path = write(name, gzip.compress(data, mtime=0) if name == "L.GZ" else data)
    assert urls_of([], [path]) == ["http://a/", "http://b/"]


def test_arguments_come_first_then_files_in_order(write: Write) -> None:
    """Targets are numbered from 0 through all sources, arguments first, without a gap."""
    first, empty, table = (
        write("1.txt", "http://b/\nhttp://c/\n"),
        write("2.txt", "# nothing\n"),
        write("3.csv", "url\nhttp://d/\n"),
    )
    found = list(open_targets(["http://a/"], [first, empty, table, first]))
    assert [(t.seq, t.url[7]) for t in found] == list(enumerate("abcdbc"))


def test_stdin_is_lines_and_stays_open() -> None:
    """``-`` reads lines from standard input, in its place among the files, and leaves it open."""
    stdin = io.BytesIO(b"\xef\xbb\xbfhttp://a/\r\n# no\nhttp://b/")
    targets = open_targets(["http://0/"], ["-"], stdin=stdin)
    assert targets.total is None
    assert [t.url for t in targets] == ["http://0/", "http://a/", "http://b/"]
    targets.close()
    assert not stdin.closed
    assert "named twice" in fault([], ["-", "-"], stdin=io.BytesIO(b"http://a/"))
    assert "standard input" in fault([], ["-"], stdin=io.BytesIO(b"\n"))


def test_a_pipe_is_read_as_it_fills() -> None:
    """Lines of a pipe are yielded as they come, long before its end."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stdin, os.fdopen(writing, "wb", buffering=0) as writer:
        writer.write(b"http://a/\n")
        targets = iter(open_targets([], ["-"], stdin=stdin))
        assert next(targets).url == "http://a/"
        writer.write(b"http://b/\n")
        assert next(targets).url == "http://b/"
        writer.close()
        assert next(targets, None) is None


def test_undecodable_bytes_make_one_invalid_target(write: Write) -> None:
    """A line that is not UTF-8 is a target whose URL is refused; its neighbours are unharmed."""
    path = write("l.txt", b"http://a/\nhttp://h/\xff\nhttp://b/\n")
    found = urls_of([], [path])
    assert found == ["http://a/", "http://h/\udcff", "http://b/"]
    assert is_refused(found[1])


def test_awkward_lines_are_targets_too(write: Write) -> None:
    """A line that is no URL, holds a NUL or a lone CR, or is a megabyte long is still a target."""
    lines = ["nonsense", "http://a/\0", "http://a/\rb", "http://a/" + "x" * 1_000_000, "http://b/"]
    assert urls_of([], [write("l.txt", "\n".join(lines))]) == lines


# Tables


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", "id,url,name\n1,http://a/,x\n2,http://b/,\n"),
        ("l.csv.gz", "id,url,name\r\n1,http://a/,x\r\n\r\n2,http://b/,\r\n"),
        ("l.tsv", "\ufeffid\turl\tname\n1\thttp://a/\tx\n2\thttp://b/\t\n"),
        ("l.jsonl", '{"id":1,"url":"http://a/","name":"x"}\n\n{"id":2,"url":"http://b/"}\n'),
        ("l.ndjson", '\ufeff{"id":1,"url":"http://a/","name":"x"}\r\n{"url":"http://b/","id":2}'),
        ("l.jsonl.gz", '{"id":1,"url":"http://a/","name":"x"}\n{"url":"http://b/","id":2}'),
    ],
)
def test_tables_guess_the_url_and_keep_columns(write: Write, name: str, content: str) -> None:
    """Of every format the only column of URLs is found, and asked-for columns are carried."""
    found = list(open_targets([], [write(name, content)], keep=["name", "id"]))
    assert found == [
        Target(0, "http://a/", fields={"name": "x", "id": "1"}),
        Target(1, "http://b/", fields={"name": "", "id": "2"}),
    ]


def test_quoted_csv_fields(write: Write) -> None:
    """Quoted commas, quotes and line breaks are part of the field."""
    path = write("l.csv", 'url,note\n"http://a/x,y","one, ""two""\nthree"\nhttp://b/,4\n')
    found = list(open_targets([], [path], keep=["note"]))
    assert [t.url for t in found] == ["http://a/x,y", "http://b/"]
    assert [t.fields["note"] for t in found] == ['one, "two"\nthree', "4"]


def test_json_values_are_carried_as_text(write: Write) -> None:
    """A kept JSON value that is no string is compact JSON text; a null is nothing."""
    line = '{"url": "http://a/", "n": 1.5, "o": {"k": [1, null]}, "t": true, "z": null, "s": "é"}'
    keep = ["n", "o", "t", "z", "s"]
    (target,) = open_targets([], [write("l.jsonl", line)], keep=keep)
    assert list(target.fields.values()) == ["1.5", '{"k":[1,null]}', "true", "", "é"]


def test_the_guess_tolerates_a_few_bad_values(write: Write) -> None:
    """A column mostly of URLs is the one; a column with one URL among words is not."""
    rows = ["http://a/,see http://x/", "broken,http://x/", "http://b/,none", ",none"]
    path = write("l.csv", "where,note\n" + "\n".join(rows))
    assert urls_of([], [path]) == ["http://a/", "broken", "http://b/", ""]


def test_the_guess_needs_exactly_one_column(write: Write) -> None:
    """Where no column or several look like URLs, --column is asked for and the choice shown."""
    two = write("two.csv", "a,b,c\nhttp://a/,http://b/,1\n")
    assert "'a', 'b'" in fault([], [two])
    assert "--column" in fault([], [two])
    assert urls_of([], [two], column="b") == ["http://b/"]
    none = fault([], [write("none.csv", "id,host\n1,example.com\n")])
    assert "none.csv" in none
    assert "'id', 'host'" in none
    assert "--column" in none
    bare = fault([], [write("bare.csv", "http://joe:s3cret@a/,1\nhttp://b/,2\n")], column="url")
    assert "add a header" in bare
    assert "s3cret" not in bare


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"column": "link"}, ["--column", "'link'", "'url', 'name', 'url2'"]),
        ({"column": "url", "keep": ["x"]}, ["--keep", "'x'", "'name'"]),
        ({"template": "http://h/{x}"}, ["--url-template", "'x'", "'name'"]),
        ({"column": "url2"}, ["two columns 'url2'"]),
        ({"column": "url", "keep": ["status"]}, ["--keep status", "rename"]),
        ({"column": "url", "keep": ["url"]}, ["--keep url"]),
        ({"column": "url", "template": TEMPLATE}, ["--column and --url-template"]),
    ],
)
def test_columns_that_cannot_be(write: Write, options: dict[str, object], parts: list[str]) -> None:
    """A missing, ambiguous or reserved column is an error naming the option and the column."""
    message = fault(
        [], [write("l.csv", "url,name,url2,url2\nhttp://a/,x,http://b/,http://c/\n")], **options
    )
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("name", RECORD_FIELDS)
def test_no_record_field_can_be_kept(name: str) -> None:
    """A carried column never overwrites a field of the record."""
    assert name in fault(["http://a/"], keep=[name])


def test_columns_need_a_table(write: Write) -> None:
    """--column and --keep with plain lines only are errors, not silently without effect."""
    path = write("l.txt", "http://a/\n")
    assert "--keep" in fault([], [path], keep=["x"])
    assert "--column" in fault([], [path], column="x")
    table = write("l.csv", "url,x\nhttp://b/,1\n")
    assert [dict(t.fields) for t in open_targets([], [path, table], keep=["x"])] == [{}, {"x": "1"}]


def test_a_row_cut_short_is_never_fetched(write: Write) -> None:
    """A CSV row too short for what was asked is a target whose URL, the raw text, is refused."""
    path = write("l.csv", "id,url,name\n1,http://a/,x\n2\n3,http://b\nhttp://c/\n4,http://d/,y\n")
    found = list(open_targets([], [path], keep=["name"]))
    assert [t.url for t in found][1:3] == ["2", "3,http://b"]
    assert [is_refused(t.url) for t in found] == [False, True, True, True, False]
    assert "http://c/" in found[3].url


def test_json_lines_that_say_nothing_are_refused_targets(write: Write) -> None:
    """A line that is no JSON object, or lacks the URL, is a target whose URL is the raw text."""
    bad = ["{broken", '{"name": "x"}', '"http://a/"', "[1]", "http://a/", "[" * 100_000, "9" * 5000]
    path = write("l.jsonl", "\n".join(['{"url":"http://a/"}', *bad, '{"url":"http://b/"}']))
    found = urls_of([], [path], column="url")
    assert found[1:5] == bad[:4]
    assert "http://a/" in found[5]
    assert [is_refused(url) for url in found] == [False] + [True] * len(bad) + [False]
    assert max(map(len, found)) < 3000


def test_nul_and_bad_bytes_in_csv(write: Write) -> None:
    """NULs and undecodable bytes in a CSV cost their own row only; carried text is clean."""
    path = write("l.csv", b"url,name\nhttp://a/\0,x\0\nhttp://b/\xff,\xff\nhttp://c/,z\n")
    found = list(open_targets([], [path], keep=["name"]))
    assert [is_refused(t.url) for t in found] == [True, True, False]
    assert [t.fields["name"] for t in found] == ["x\0", "?", "z"]


def test_a_quote_never_closed_ends_in_one_bad_target(write: Write) -> None:
    """An open quotation mark swallows what follows into one refused target, shown in part."""
    path = write("l.csv", 'url,name\nhttp://a/,1\n"http://b/,2\n' + "http://c/,3\n" * 10_000)
    found = urls_of([], [path], keep=["name"])
    assert len(found) == 2
    assert is_refused(found[1])
    assert len(found[1]) < 3000


def test_a_field_beyond_the_limit_is_one_bad_target(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field longer than can be held costs one target that names its line; reading goes on."""
    before = csv.field_size_limit(1000)
    monkeypatch.setattr("crawler.lists.MAX_FIELD_LENGTH", 1000)
    try:
        path = write("l.csv", f"url,n\nhttp://a/,1\nhttp://{'b' * 2000}/,2\nhttp://c/,3\n")
        found = urls_of([], [path], column="url")
        assert open_targets([], [path], column="url").total == 3
    finally:
        csv.field_size_limit(before)
    assert [found[0], found[2]] == ["http://a/", "http://c/"]
    assert "line 3" in found[1]
    assert is_refused(found[1])


def test_a_field_of_a_megabyte_is_fine(write: Write) -> None:
    """Fields and lines of a megabyte are read whole in every format."""
    url = "http://a/" + "x" * 1_000_000
    for name, content in [
        ("l.csv", f"url,n\n{url},1\n"),
        ("l.tsv", f"n\turl\n1\t{url}\n"),
        ("l.jsonl", json.dumps({"url": url})),
    ]:
        assert urls_of([], [write(name, content)]) == [url]


# Templates


def test_a_template_fills_from_lines(write: Write) -> None:
    """Each line, and each argument, is the value of the template's one name, percent-encoded."""
    path = write("names.txt", "金瓶梅\n# no\na b&c=d/e?f#g\n100%\n")
    assert urls_of(["x"], [path], template=TEMPLATE) == [
        "http://h/novelSearchApi?name=x",
        "http://h/novelSearchApi?name=%E9%87%91%E7%93%B6%E6%A2%85",
        "http://h/novelSearchApi?name=a%20b%26c%3Dd%2Fe%3Ff%23g",
        "http://h/novelSearchApi?name=100%25",
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", "id,name\n7,西 游\n8,\n"),
        ("l.tsv", "id\tname\n7\t西 游\n8\t\n"),
        ("l.jsonl", '{"id":7,"name":"西 游"}\n{"id":8,"name":""}\n'),
    ],
)
def test_a_template_fills_from_columns(write: Write, name: str, content: str) -> None:
    """Columns fill the template, more than once too; braces are doubled; others are kept."""
    template = "http://h/{id}?name={name}&again={id}&json={{}}"
    found = list(open_targets([], [write(name, content)], template=template, keep=["id"]))
    assert [t.url for t in found] == [
        "http://h/7?name=%E8%A5%BF%20%E6%B8%B8&again=7&json={}",
        "http://h/8?name=&again=8&json={}",
    ]
    assert [t.fields["id"] for t in found] == ["7", "8"]


@pytest.mark.parametrize(
    ("template", "part"),
    [
        ("http://h/", "no placeholder"),
        ("http://h/{{x}}", "no placeholder"),
        ("http://h/{}", "{name}"),
        ("http://h/{x", "'{' at position 9"),
        ("http://h/x}", "'}' at position 10"),
        ("h/{name}", "http://"),
        ("ftp://h/{name}", "'ftp'"),
        ("http://h/{a}/{b}", "no columns"),
    ],
)
def test_templates_that_cannot_be(write: Write, template: str, part: str) -> None:
    """A template that cannot make URLs is an error that quotes it and says what to write."""
    message = fault([], [write("l.txt", "x\n")], template=template)
    assert "--url-template" in message
    assert part in message


def test_a_template_error_keeps_its_secret(write: Write) -> None:
    """The password in a faulty template is not in the message."""
    message = fault([], [write("l.txt", "x\n")], template="http://joe:s3cret@h/{")
    assert "s3cret" not in message
    assert "***" in message


def test_a_value_without_an_encoding_is_refused(write: Write) -> None:
    """A template's value that is not UTF-8, or is missing, is a refused target of raw text."""
    lines = open_targets([], [write("l.txt", b"\xff\xfex y\nok\n"[1:])], template=TEMPLATE)
    assert [is_refused(t.url) for t in lines] == [True, False]
    rows = '{"name":"a"}\n{"name":"\\ud800"}\n{"id":1}\n{"name":"b"}\n'
    found = urls_of([], [write("l.jsonl", rows)], template=TEMPLATE)
    assert [is_refused(url) for url in found] == [False, True, True, False]
    assert found[2] == '{"id":1}'


@given(values=st.lists(st.text(min_size=1), min_size=1, max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_template_encoding_decodes_back(write: Write, values: list[str]) -> None:
    """What a server decodes from a templated URL is the value, whatever characters it holds."""
    content = "\n".join(json.dumps({"name": value}) for value in values)
    for url, value in zip(
        urls_of([], [write("l.jsonl", content)], template=TEMPLATE), values, strict=True
    ):
        query = urlsplit(wire_url(url).url).query
        assert parse_qs(query, keep_blank_values=True) == {"name": [value]}


# Errors before anything is yielded


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("l.txt", "", "nothing to fetch"),
        ("l.txt", "\ufeff\n# only\n", "nothing to fetch"),
        ("l.csv", "", "nothing to fetch"),
        ("l.csv", "url,name\n", "nothing to fetch"),
        ("l.jsonl", "\n", "nothing to fetch"),
        ("l.txt.gz", "", "nothing to fetch"),
        ("l.txt", "http://a/\n".encode("utf-16"), "is UTF-16"),
        ("l.csv", "url\nhttp://a/\n".encode("utf-16"), "is UTF-16"),
        ("l.txt", gzip.compress(b"http://a/\n", mtime=0), "with .gz"),
        ("l.csv", b"url,n\xffme\nhttp://a/,x\n", ":1: the header is not UTF-8"),
        ("l.csv", "url;name\nhttp://a/;x\n", "separated by ';'"),
        ("l.tsv", "url,name\nhttp://a/,x\n", "separated by ','"),
    ],
)
def test_a_list_that_cannot_be_used(
    write: Write, name: str, content: str | bytes, part: str
) -> None:
    """A list that is empty or in a foreign form is an error that names it and the remedy."""
    message = fault([], [write(name, content)])
    assert name in message
    assert part in message


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a directory, and a name that is none are errors that name the path."""
    assert "no such file" in fault([], [str(tmp_path / "gone.txt")])
    assert "gone.csv" in fault(["http://a/"], [str(tmp_path / "gone.csv")])
    assert "directory" in fault([], [str(tmp_path)])
    assert "cannot be read" in fault([], ["a\0b"])
    (tmp_path / "plain").write_text("x")
    assert "no such file" in fault([], [str(tmp_path / "plain" / "l.txt")])
    for name in ("fake.txt.gz", "fake.csv.gz"):
        (tmp_path / name).write_text("http://a/\n")
        assert f"{name} is not valid gzip" in fault([], [str(tmp_path / name)])


def test_a_file_without_permission(write: Write) -> None:
    """A file that may not be read is an error that says so."""
    path = write("l.txt", "http://a/\n")
    Path(path).chmod(0)
    user = os.geteuid()
    if user == 0:  # root may read everything, so be nobody for a moment
        os.seteuid(65534)
    try:
        assert "permission" in fault([], [path])
    finally:
        os.seteuid(user)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
def test_a_file_that_fails_to_read() -> None:
    """An error of the disk in reading is told with the file's name."""
    assert "/proc/self/mem cannot be read" in fault([], ["/proc/self/mem"])


def test_nothing_given() -> None:
    """No URL and no list is an error that says how to give one; a lone string is no list."""
    assert "--urls" in fault()
    assert "list of strings" in fault("http://a/")


def test_a_damaged_gzip_is_told_where_it_breaks(tmp_path: Path) -> None:
    """A gzip cut off gives its whole lines, then a TargetError with the file's name."""
    rng = random.Random(1)
    lines = "".join(f"http://a/{rng.random()}\n" for _ in range(20_000))
    data = gzip.compress(lines.encode(), mtime=0)
    (tmp_path / "l.txt.gz").write_bytes(data[: len(data) // 2])
    seen = 0
    with pytest.raises(TargetError, match=r"l\.txt\.gz: the gzip data is cut off"):  # noqa: PT012
        for target in open_targets([], [str(tmp_path / "l.txt.gz")]):
            assert target.url.startswith("http://a/0.")
            seen += 1
    assert seen > 1000


def test_files_are_closed(write: Write) -> None:
    """Reading to the end, closing early, and a failed opening all leave no descriptor open."""
    path, other = write("l.txt", "http://a/\n"), write("l.csv", "url\nhttp://b/\n")
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    whole = open_targets([], [path, other])
    assert len(list(whole)) == 2
    early = open_targets([], [path, other])
    early.close()
    with pytest.raises(TargetError) as caught:
        open_targets([], [path, other, path + ".gone"])
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
    assert caught.value.exit_code == 2


def test_a_list_is_read_once(write: Write) -> None:
    """A second iteration is an error, never a silently empty run."""
    targets = open_targets([], [write("l.txt", "http://a/\n")])
    assert len(list(targets)) == 1
    with pytest.raises(UsageError, match="once"):
        iter(targets)


# Totals


@pytest.mark.parametrize(
    ("name", "content", "total"),
    [
        ("l.txt", "\ufeff# no\r\nhttp://a/\r\n\r\n #no\nhttp://b/ \n\0\nx", 4),
        ("l.txt", "\ufeffhttp://a/", 1),
        ("l.txt", b"http://a/\n\xff\n", 2),
        ("l.csv", 'url,n\nhttp://a/,"1\n2"\n\nhttp://b/,5"\nshort\nhttp://c/,x"y\n', 4),
        ("l.tsv", "url\tn\nhttp://a/\t1\n", 1),
        ("l.jsonl", '{"url":"http://a/"}\n\nbroken\n# no comment\n', 3),
        ("l.txt.gz", "http://a/\n", None),
        ("l.csv.gz", "url\nhttp://a/\n", None),
    ],
)
def test_the_total_is_exact(
    write: Write, name: str, content: str | bytes, total: int | None
) -> None:
    """The total told ahead is the number of targets that come, or None where it is not cheap."""
    targets = open_targets(["http://x/"], [write(name, content)])
    assert targets.total == (None if total is None else total + 1)
    if total is not None:
        assert len(list(targets)) == total + 1


def test_a_huge_file_is_not_counted(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit of size there is no total, and nothing is read for it."""
    monkeypatch.setattr("crawler.lists.COUNTED_BYTES", {"lines": 9})
    assert open_targets([], [write("l.txt", "http://a/")]).total == 1
    assert open_targets([], [write("l.txt", "http://a/\n")]).total is None


# Round trips

CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=20),
    name=st.sampled_from(["l.csv", "l.tsv", "l.csv.gz", "l.jsonl", "l.jsonl.gz"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_columns_round_trip(write: Write, rows: list[tuple[str, str]], name: str) -> None:
    """What a writer puts in columns comes out as URL and fields, in order, none lost."""
    out = io.StringIO(newline="")
    if "jsonl" in name:
        for left, right in rows:
            out.write(json.dumps({"link": left, "note": right}) + "\n")
    else:
        writer = csv.writer(out, "excel-tab" if "tsv" in name else "excel", quoting=csv.QUOTE_ALL)
        writer.writerows([("link", "note"), *rows])
    path = write(name, out.getvalue())
    found = list(open_targets([], [path], column="link", keep=["note"]))
    assert [(t.url, t.fields["note"]) for t in found] == rows
    assert [t.seq for t in found] == list(range(len(rows)))


@given(
    content=st.binary(max_size=200),
    name=st.sampled_from(["l.txt", "l.csv", "l.tsv", "l.jsonl", "l.csv.gz"]),
    column=st.sampled_from([None, "url"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_targets_or_our_error(
    write: Write, content: bytes, name: str, column: str | None
) -> None:
    """Whatever a file holds, opening and reading give targets or an error of ours."""
    path = write(name, b"url,x\n" + content if column and "csv" in name else content)
    try:
        targets = open_targets([], [path], column=column)
    except CrawlError:
        return
    total = targets.total
    found = list(targets)
    assert total in (None, len(found))
    assert all(isinstance(t.url, str) for t in found)


# Cost


def peak_bytes(path: str, **options: object) -> int:
    """The peak of memory that reading the list to its end takes."""
    tracemalloc.start()
    try:
        for _ in open_targets([], [path], **options):  # type: ignore[arg-type]
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["l.txt", "l.csv", "l.txt.gz"])
def test_memory_is_flat(write: Write, name: str) -> None:
    """A list twenty or a hundred times as long takes no more memory to read."""

    def content(length: int) -> str:
        return "url\n" * ("csv" in name) + "".join(f"http://h/item/{i}\n" for i in range(length))

    small = peak_bytes(write("small-" + name, content(3_000)))
    large = peak_bytes(write("large-" + name, content(300_000 if name == "l.txt" else 60_000)))
    assert large < small + 500_000


def test_reading_lines_is_cheap(write: Write) -> None:
    """Reading a plain list costs a few times what making bare Targets of its lines does."""
    urls = [f"http://h/item/{i}" for i in range(30_000)]
    path = write("l.txt", "".join(f"{url}\n" for url in urls))

    def reading_s() -> float:
        targets = iter(open_targets([], [path]))
        began = time.perf_counter()
        assert sum(1 for _ in targets) == len(urls)
        return time.perf_counter() - began

    def making_s() -> float:
        began = time.perf_counter()
        with open(path, encoding="utf-8") as lines:
            made = [Target(number, line.strip()) for number, line in enumerate(lines)]
        assert len(made) == len(urls)
        return time.perf_counter() - began

    pairs = [(reading_s(), making_s()) for _ in range(5)]
    assert min(read for read, _ in pairs) < min(made for _, made in pairs) * 8, pairs


# The library's way in


def test_targets_from_numbers_by_position() -> None:
    """Strings and Targets are numbered by position; what a Target says besides is kept."""
    made = Target(99, "http://b/", "POST", (("A", "b"),), b"x", 1.5, {"k": "v"})
    assert list(targets_from(["http://a/", made])) == [
        Target(0, "http://a/"),
        Target(1, "http://b/", "POST", (("A", "b"),), b"x", 1.5, {"k": "v"}),
    ]


def test_targets_from_is_lazy() -> None:
    """An endless input is read only as far as it is asked for."""

    def endless() -> Iterator[str]:
        while True:
            yield "http://a/"

    targets = targets_from(endless())
    assert [next(targets).seq for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("items", ["http://a/", b"http://a/", 5, None])
def test_targets_from_wants_an_iterable(items: object) -> None:
    """A lone string or a thing that cannot be iterated is refused at once, naming its type."""
    with pytest.raises(UsageError, match=type(items).__name__):
        targets_from(items)  # type: ignore[arg-type]


@pytest.mark.parametrize("item", [b"http://a/", None, 5, ("http://a/",)])
def test_targets_from_names_a_wrong_item(item: object) -> None:
    """An item of another type is an error naming its position and type."""
    targets = targets_from(["http://a/", item])  # type: ignore[list-item]
    assert next(targets).seq == 0
    with pytest.raises(UsageError, match=f"item 1 .*{type(item).__name__}"):
        next(targets)


def test_a_table_without_a_header_is_refused(write: Write) -> None:
    """A first row that holds a URL would be lost as a header: an error that says what to do."""
    assert "add a header" in fault([], [write("l.csv", "http://a/\nhttp://b/\n")])


@pytest.mark.parametrize("ending", ["", "\n"])
@pytest.mark.parametrize(("header", "name"), [("id", "3"), ("id,name", '3,"c')])
def test_a_quote_that_is_never_closed_is_told_with_its_line(tmp_path, header, name, ending) -> None:
    """It eats the rest of the file: one record says where it began, and no URL is made of it."""
    row = name if '"' in name else f'"{name}'
    path = tmp_path / "l.csv"
    path.write_text(f"{header}\n1,a\n\n{row}\n4,d{ending}")
    with open_targets([], [str(path)], template="http://h/{id}") as targets:
        urls = [target.url for target in targets]
    assert urls == ["http://h/1", "line 4: a quote is opened here and never closed"]


def test_a_last_row_in_quotes_needs_no_newline(tmp_path) -> None:
    """A quote closed at the very end is whole, over two lines too."""
    path = tmp_path / "l.csv"
    path.write_text('id,name\n1,"a\nb"\n2,"c"')
    with open_targets([], [str(path)], template="http://h/{id}", keep=["name"]) as targets:
        assert [dict(target.fields) for target in targets] == [{"name": "a\nb"}, {"name": "c"}]


def test_a_header_with_an_open_quote_is_refused(tmp_path) -> None:
    """Nothing can be known of the columns then."""
    path = tmp_path / "l.csv"
    path.write_text('"id\n1\n2\n')
    with pytest.raises(TargetError, match="header cannot be read: line 1: a quote is opened"):
        open_targets([], [str(path)], template="http://h/{id}")
