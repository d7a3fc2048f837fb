"""Bodies that are kept: whole, once, where the record says, whatever is killed."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from warcio.archiveiterator import ArchiveIterator

from crawler import crawl as fetch
from crawler import read_bodies
from crawler.bodies.appender import Appender, end_path, settle_end
from crawler.bodies.names import LONGEST_BYTES, NamePattern, extension
from crawler.bodies.rows import decode_body, encode_body
from crawler.body import Body
from crawler.body_plan import DEFAULT_NAME, Bodies
from crawler.engines.base import Kept, Request
from crawler.errors import LogError, UsageError
from crawler.record import Record
from tests.conftest import assert_each_once, command, crawl, records_of
from tests.raw_server import RawServer, answers

FILES = ("b.jsonl", "b.jsonl.gz", "b.jsonl.zst", "b.warc", "b.warc.gz", "b.parquet")


def listed(path: Path, urls: list[str]) -> Path:
    """A list of these URLs."""
    path.write_text("\n".join(urls) + "\n")
    return path


def reply(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """An HTTP reply with this body."""
    lines = (b"HTTP/1.1 " + status, *headers, b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@pytest.mark.parametrize("name", FILES)
def test_what_came_can_be_read_back(demo, tmp_path, name: str) -> None:
    """Text, bytes and JSON, in input order, with status, type and digest, from every form."""
    pages = ["/novel/3", "/bytes/3000", "/status/404", "/gzip", "/bytes/0"]
    listed(tmp_path / "l.txt", [demo + page for page in pages])
    done = crawl(
        "--urls", "l.txt", "--bodies", name, "--save-headers", "--out", "r.log",
        "--summary", "none", "--max-errors", "1", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = sorted(records_of(tmp_path / "r.log"), key=lambda record: record["seq"])
    bodies = list(read_bodies(tmp_path / name))
    assert [body.seq for body in bodies] == list(range(5))
    assert [body.status for body in bodies] == [200, 200, 404, 200, 200]
    for record, body in zip(records, bodies, strict=True):
        assert (record["body"], record["bytes"]) == (name, len(body.content))
        assert record["sha256"] == body.sha256 == hashlib.sha256(body.content).hexdigest()
        assert record["content_type"] == body.content_type
        assert "content-type" in {key.lower() for key, _ in body.headers}
    assert json.loads(bodies[0].content)["id"] == 3
    assert not end_path(tmp_path / name).exists()


def test_a_folder_has_a_file_for_each(demo, tmp_path) -> None:
    """Named as the record says, with the extension of its type, and nothing else beside them."""
    listed(tmp_path / "l.txt", [f"{demo}/novel/{n}" for n in range(1, 21)])
    done = crawl(
        "--urls", "l.txt", "--save-bodies", "out", "--fanout", "2", "--out", "r.log",
        "--summary", "none", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = {record["body"]: record for record in records_of(tmp_path / "r.log")}
    files = {
        str(path.relative_to(tmp_path)): path
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert files.keys() == names.keys()
    assert len(files) == 20
    for name, path in files.items():
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        assert (digest, name[4:6], path.suffix) == (names[name]["sha256"], digest[:2], ".json")
    assert [json.loads(body.content)["id"] for body in read_bodies(tmp_path / "r.log")] == [
        *range(1, 21)
    ]


def test_only_what_is_asked_for_is_kept(demo, tmp_path) -> None:
    """By status and by type; the others' records say nothing of bodies."""
    pages = ["/novel/1", "/status/404", "/bytes/10"]
    listed(tmp_path / "l.txt", [demo + page for page in pages])
    crawl(
        "--urls", "l.txt", "--bodies", "b.jsonl", "--only-status", "200", "--only-type",
        "application/json", "--parse", "json", "--out", "r.log", cwd=tmp_path,
    )  # fmt: skip
    (row,) = map(json.loads, (tmp_path / "b.jsonl").read_text().splitlines())
    assert (row["seq"], row["json"]["id"]) == (0, 1)
    records = sorted(records_of(tmp_path / "r.log"), key=lambda record: record["seq"])
    assert ["body" in record for record in records] == [True, False, False]


def test_a_warc_is_one_that_others_accept(demo, tmp_path) -> None:
    """warcio's own check passes, revisits included, and no secret is in it."""
    urls = [f"{demo}/novel/{n % 3 + 1}" for n in range(40)]
    listed(tmp_path / "l.txt", urls)
    arguments = (
        "--urls", "l.txt", "--bodies", "b.warc.gz", "-H", "Authorization: Bearer hunter2",
        "--cookie", "a=hunter2", "-H", "X-Api-Key: hunter2", "--out", "r.log",
        "--processes", "1", "--concurrency", "1",
    )  # fmt: skip
    assert crawl(*arguments, cwd=tmp_path).returncode == 0
    checked = subprocess.run(
        [Path(sys.executable).parent / "warcio", "check", "-v", tmp_path / "b.warc.gz"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr
    with (tmp_path / "b.warc.gz").open("rb") as file:
        kinds = [record.rec_type for record in ArchiveIterator(file)]
    assert (kinds.count("warcinfo"), kinds.count("request"), kinds.count("metadata")) == (1, 40, 40)
    assert kinds.count("response") + kinds.count("revisit") == 40
    assert kinds.count("revisit") > 0
    assert b"hunter2" not in gzip.decompress((tmp_path / "b.warc.gz").read_bytes())
    contents = [json.loads(body.content)["id"] for body in read_bodies(tmp_path / "b.warc.gz")]
    assert contents == [n % 3 + 1 for n in range(40)]


@pytest.mark.parametrize("name", ["b.jsonl.gz", "b.warc.gz", "b.parquet", "folder"])
def test_a_run_killed_half_way_and_resumed_has_each_body_once(demo, tmp_path, name: str) -> None:
    """No half body, no orphan, none twice: list = records = bodies."""
    count = 600
    listed(tmp_path / "l.txt", [f"{demo}/novel/{n % 90 + 1}?n={n}&delay=5ms" for n in range(count)])
    where = ("--save-bodies", "b") if name == "folder" else ("--bodies", name)
    arguments = (
        "--urls", "l.txt", *where, "--out", "r.log", "--summary", "none", "--concurrency", "16",
    )  # fmt: skip
    running = subprocess.Popen(command(*arguments), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "r.log"
    while not log.exists() or log.read_bytes().count(b"\n") < 60:
        time.sleep(0.01)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    while log.read_bytes().count(b"\n") < 200:
        time.sleep(0.01)
    running.kill()
    running.communicate()
    time.sleep(0.3)  # its workers hear of it
    done = crawl(*arguments, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert_each_once(log, count)
    bodies = list(read_bodies(log if name == "folder" else tmp_path / name))
    assert [body.seq for body in bodies] == list(range(count))
    assert all(json.loads(body.content)["id"] == body.seq % 90 + 1 for body in bodies)
    if name == "folder":
        files = [path for path in (tmp_path / "b").rglob("*") if path.is_file()]
        assert len(files) == count
        assert list((tmp_path / "b").glob(".crawl-*")) == []


def test_the_file_of_an_appender_ends_where_its_blocks_do(tmp_path) -> None:
    """What a killed writer left is cut by the next one, and at the end."""
    path = tmp_path / "f"
    first = Appender(path)
    first.append(b"one")
    with path.open("ab") as file:
        file.write(b"half a blo")
    second = Appender(path)
    second.append(b"two")
    assert path.read_bytes() == b"onetwo"
    with path.open("ab") as file:
        file.write(b"hal")
    settle_end(path)
    assert path.read_bytes() == b"onetwo"
    assert not end_path(path).exists()
    first.close()
    second.close()


def test_a_full_disk_ends_the_run_and_leaves_no_half_body(demo, tmp_path) -> None:
    """Exit 2, the file named; after there is room again ``--resume`` goes on."""
    listed(tmp_path / "l.txt", [f"{demo}/bytes/3000?n={n}" for n in range(200)])
    arguments = ("--urls", "l.txt", "--bodies", "b.jsonl", "--out", "r.log", "--summary", "none")
    limited = ["bash", "-c", 'ulimit -f 200; exec "$@"', "-", *command(*arguments)]
    done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "b.jsonl" in done.stderr
    assert "Traceback" not in done.stderr
    done = crawl(*arguments, "--resume", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [body.seq for body in read_bodies(tmp_path / "b.jsonl")] == list(range(200))


def test_a_bomb_and_a_cut_body_are_not_kept(tmp_path) -> None:
    """Only whole bodies: ``too_large`` and ``protocol`` have none."""
    bomb = gzip.compress(b"\0" * 50_000_000)
    packed = reply(bomb, b"Content-Encoding: gzip", b"Connection: close")
    cut = reply(b"x" * 100)[:-10]
    with RawServer(answers(packed), answers(cut), answers(reply(b""))) as raw:
        run = fetch(
            [raw.url] * 3, out=tmp_path / "r.log", processes=0, concurrency=1, retries=0,
            keepalive=False, max_body_bytes=1_000_000,
            bodies=Bodies(file=str(tmp_path / "b.jsonl")),
        )  # fmt: skip
    assert [record.error for record in run.records()] == ["too_large", "protocol", None]
    assert [body.content for body in run.bodies()] == [b""]


@given(
    pattern=st.sampled_from(
        [DEFAULT_NAME, "{host}/{path}{ext}", "{shop}-{index}", "a/{sha256}", "{path:20}{ext}"]
    ),
    host=st.text(max_size=30),
    path=st.text(max_size=400),
    ext=st.sampled_from([".json", ".bin", "../x", ""]),
    fanout=st.integers(0, 3),
)
def test_no_name_leaves_the_folder(
    pattern: str, host: str, path: str, ext: str, fanout: int
) -> None:
    """Whatever stands in a URL, a name is a path below the folder that any system takes."""
    digest = hashlib.sha256(path.encode("utf-8", "replace")).hexdigest()
    values: dict[str, Any] = {
        "index": 7, "host": host, "path": path, "shop": path, "ext": ext, "sha1": digest[:40],
        "sha256": digest, "status": 200,
    }  # fmt: skip
    name = NamePattern.parse(pattern, fanout).fill(values, digest)
    assert not name.startswith("/")
    for part in name.split("/"):
        assert part not in ("", ".", "..")
        assert len(part.encode()) <= LONGEST_BYTES
        assert not set(part) & set('\0\\:*?"<>|\r\n')
        assert part.partition(".")[0].upper() not in ("CON", "NUL", "COM1")
    assert Path("/root/x", name).resolve().is_relative_to("/root/x")


def test_names_that_would_collide_have_the_number() -> None:
    """Two bodies never share a name, unless it is their digest and they are the same."""
    values: dict[str, Any] = {"host": "a", "ext": ".txt", "sha256": "f" * 64}
    host = NamePattern.parse("{host}{ext}", 0)
    assert host.fill({**values, "index": 1}, "") == "a-1.txt"
    assert host.fill({**values, "index": 2}, "") == "a-2.txt"
    by_digest = NamePattern.parse("{sha256}{ext}", 0)
    assert by_digest.fill({**values, "index": 1}, "") == "f" * 64 + ".txt"
    assert NamePattern.parse("con", 0).fill({"index": 3}, "") == "con-3"
    assert (
        NamePattern.parse("x/{host}/{index}", 0)
        .fill({"index": 3, "host": "nul"}, "")
        .endswith("_nul/3")
    )


@pytest.mark.parametrize("wrong", ["", "{", "{index:abc}", "{host:x}", "/a", "a/", "{}"])
def test_a_pattern_that_cannot_be_is_refused(wrong: str) -> None:
    """Before anything is sent, naming the option."""
    with pytest.raises(UsageError, match="--name"):
        NamePattern.parse(wrong, 0)


@pytest.mark.parametrize(
    ("kind", "end"),
    [("application/json; charset=utf-8", ".json"), ("image/svg+xml", ".svg"), (None, ".bin"),
     ("application/vnd.x+json", ".json"), ("a/b+xml", ".xml"), ("nonsense", ".bin")],
)  # fmt: skip
def test_extensions_tell_the_type(kind: str | None, end: str) -> None:
    """The same on every machine."""
    assert extension(kind) == end


@given(content=st.binary(max_size=200), kind=st.sampled_from(
    ["text/plain; charset=latin-1", "application/json", "text/html; charset=nonsense", "x/y", ""]
))  # fmt: skip
def test_a_row_gives_back_the_same_bytes(content: bytes, kind: str) -> None:
    """Text or Base64, by whatever charset."""
    body = Body()
    body.write(content)
    request = Request("http://a/", "GET", (), None, 1.0)
    kept = Kept(request, "HTTP/1.1 200 OK", (("Content-Type", kind), ("A", "1")), body)
    record = Record(
        "run", 3, "http://a/", "GET", 200, None, None, "", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        len(content), 1, None, None, None, False,
    )  # fmt: skip
    saved = decode_body(encode_body(record, kept, Bodies(file="x.jsonl", headers=True)))
    assert (saved.content, saved.seq, saved.status) == (content, 3, 200)
    assert saved.headers == (("Content-Type", kind), ("A", "1"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--bodies", "x.zip"), "--bodies x.zip"),
        (("--bodies", "x.jsonl", "--save-bodies", "d"), "give one"),
        (("--bodies", "x.jsonl", "--name", "{host}"), "--save-bodies"),
        (("--only-status", "200"), "--only-status"),
        (("--save-bodies", "d", "--only-status", "ok"), "--only-status"),
        (("--save-bodies", "d", "--name", "{host:x}"), "--name"),
        (("--save-bodies", "d", "--fanout", "9"), "--fanout"),
        (("--save-bodies", "/proc/nowhere"), "/proc/nowhere"),
        (("--bodies", "absent/x.jsonl"), "absent/x.jsonl"),
        (("--bodies", "r.jsonl", "--out", "r.jsonl"), "the records go there"),
    ],
)
def test_what_cannot_be_kept_is_refused(options: tuple[str, ...], words: str, tmp_path) -> None:
    """Exit 2 before anything is sent."""
    done = crawl(*options, "http://127.0.0.1:9/", cwd=tmp_path)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_no_file_of_bodies_is_told(tmp_path) -> None:
    """By name, not by a traceback."""
    with pytest.raises(UsageError, match=r"x\.zip"):
        list(read_bodies(tmp_path / "x.zip"))
    with pytest.raises(LogError, match=r"absent\.jsonl"):
        list(read_bodies(tmp_path / "absent.jsonl"))
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(LogError, match=r"bad\.jsonl"):
        list(read_bodies(tmp_path / "bad.jsonl"))


def test_two_runs_do_not_append_to_one_file(demo, tmp_path) -> None:
    """The second is refused, exit 2, though its log is another."""
    first = subprocess.Popen(
        command(f"{demo}/never", "--bodies", "b.jsonl", "--out", "1.log", "--timeout", "20s"),
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not (tmp_path / "1.log").exists():
            time.sleep(0.02)
        second = crawl(f"{demo}/novel/1", "--bodies", "b.jsonl", "--out", "2.log", cwd=tmp_path)
        assert (second.returncode, "another crawl" in second.stderr) == (2, True)
    finally:
        first.kill()
        first.wait()


@pytest.mark.parametrize("depth", [1, 200, 300, 900, 5000])
def test_json_that_is_nested_too_deeply_is_kept_as_text(depth: int) -> None:
    """As JSON where it can be written so, else as it came: the same bytes come back."""
    content = b'{"a":' * depth + b"1" + b"}" * depth
    body = Body()
    body.write(content)
    kept = Kept(Request("http://a/", "GET", (), None, 1.0), "HTTP/1.1 200 OK", (), body)
    record = Record(
        "run", 0, "http://a/", "GET", 200, None, None, "", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        len(content), 1, None, None, None, False,
    )  # fmt: skip
    line = encode_body(record, kept, Bodies(file="x.jsonl", parse="json"))
    assert decode_body(line).content == content
    assert (b'"json":' in line) == (depth <= 200)
