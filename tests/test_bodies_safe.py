"""Files that bodies go to: what is in them already stays, and what was redone goes."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crawler import crawl as fetch
from crawler import read_bodies
from crawler.bodies.appender import Appender, end_path, settle_end
from crawler.bodies.names import NamePattern
from crawler.bodies.preparing import prepare
from crawler.bodies.rows import decode_body, encode_body
from crawler.body import Body
from crawler.body_plan import Bodies
from crawler.engines.base import Kept, Request
from crawler.errors import LogError, UsageError
from crawler.record import Record
from tests.conftest import crawl, records_of
from tests.raw_server import RawServer, answers
from tests.test_bodies import FILES, listed, reply

FOREIGN = b'{"id": 1, "name": "mine"}\n{"id": 2}'


def parquet_of(rows: list[dict[str, object]]) -> bytes:
    """A Parquet file of somebody else's."""
    import pyarrow as pa
    import pyarrow.parquet

    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.Table.from_pylist(rows), sink)
    data: bytes = sink.getvalue().to_pybytes()
    return data


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(FOREIGN, id="text"),
        pytest.param(gzip.compress(FOREIGN, mtime=0), id="gzip"),
        pytest.param(parquet_of([{"url": "a"}]), id="parquet"),
    ],
)
def test_a_file_of_somebody_elses_is_left_alone(tmp_path, name: str, content: bytes) -> None:
    """Exit 2 before anything is sent, and not a byte of it is changed."""
    (tmp_path / name).write_bytes(content)
    done = crawl("http://127.0.0.1:9/", "--bodies", name, "--retries", "0", cwd=tmp_path)
    assert (done.returncode, f"--bodies {name}: what is in it" in done.stderr) == (2, True)
    assert (tmp_path / name).read_bytes() == content
    assert {path.name for path in tmp_path.iterdir()} <= {name, "record.log", "record.log.lock"}


def test_rows_of_bodies_are_no_log_and_records_no_bodies(demo, tmp_path) -> None:
    """Each is refused in the other's place."""
    arguments = (f"{demo}/novel/1", "--out", "r.jsonl", "--bodies", "b.jsonl", "--summary", "none")
    assert crawl(*arguments, cwd=tmp_path).returncode == 0
    before = [(tmp_path / name).read_bytes() for name in ("r.jsonl", "b.jsonl")]
    crossed = crawl(f"{demo}/novel/1", "--out", "b.jsonl", cwd=tmp_path)
    assert (crossed.returncode, "holds bodies" in crossed.stderr) == (2, True)
    crossed = crawl(f"{demo}/novel/1", "--out", "x.log", "--bodies", "r.jsonl", cwd=tmp_path)
    assert (crossed.returncode, "--bodies r.jsonl" in crossed.stderr) == (2, True)
    assert [(tmp_path / name).read_bytes() for name in ("r.jsonl", "b.jsonl")] == before
    same = crawl(f"{demo}/novel/1", "--out", "a.parquet", "--bodies", "a.parquet", cwd=tmp_path)
    assert (same.returncode, "the records go there" in same.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("l.csv", ("--out", "l.csv")),
        ("l.csv.log", ("--out", "l.csv")),
        ("l.jsonl", ("--bodies", "l.jsonl")),
        ("l.txt", ("--out", "./l.txt")),
    ],
)
def test_no_list_is_written_over(tmp_path, name: str, options: tuple[str, ...]) -> None:
    """What is read is not what is written: exit 2, and the list is as it was."""
    content = "url\nhttp://127.0.0.1:9/\n"
    (tmp_path / name).write_text(content)
    done = crawl("--urls", name, *options, cwd=tmp_path)
    assert (done.returncode, f"{options[0]} {options[1]}" in done.stderr) == (2, True)
    assert (tmp_path / name).read_text() == content


def test_files_of_an_earlier_run_stay(demo, tmp_path) -> None:
    """A second run into one folder writes beside them, and its records say where."""
    for number, log in enumerate(("1.log", "2.log", "2.log")):
        listed(tmp_path / "l.txt", [f"{demo}/novel/{n + number}" for n in (1, 2, 3)])
        done = crawl(
            "--urls", "l.txt", "--save-bodies", "d", "--name", "{index}.json", "--out", log,
            "--summary", "none", cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    where = [record for log in ("1.log", "2.log") for record in records_of(tmp_path / log)]
    assert len({record["body"] for record in where}) == 9
    for record in where:
        content = json.loads((tmp_path / record["body"]).read_bytes())
        assert record["url"].endswith(f"/novel/{content['id']}")
    names = {path.name for path in (tmp_path / "d").iterdir()}
    assert names >= {f"0-{where[n]['run']}.json" for n in (3, 6)} | {"0.json"}


def test_files_named_by_their_content_are_shared(demo, tmp_path) -> None:
    """The same body of another run, or target, is the same file."""
    listed(tmp_path / "l.txt", [f"{demo}/novel/1", f"{demo}/novel/1?again"])
    for _ in range(2):
        crawl(
            "--urls", "l.txt", "--save-bodies", "d", "--name", "{sha256}{ext}", "--summary",
            "none", cwd=tmp_path,
        )  # fmt: skip
    (file,) = (tmp_path / "d").iterdir()
    records = records_of(tmp_path / "record.log")
    assert [record["body"] for record in records] == [f"d/{file.name}"] * 4


@pytest.mark.parametrize("name", [*FILES, "d"])
def test_a_body_is_that_of_the_newest_attempt(tmp_path, name: str) -> None:
    """After ``--retry-failed`` the body of the failure is gone, and others' are as they were."""
    page = b"<p>the same page for both</p>"
    failed = answers(reply(page, b"Connection: close", status=b"500 Oh"))
    fine = answers(reply(page, b"Connection: close"))
    mended = answers(reply(b"mended", b"Connection: close"))
    where = ("--save-bodies", name) if name == "d" else ("--bodies", name)
    with RawServer(failed, fine, mended) as raw:
        listed(tmp_path / "l.txt", [f"{raw.url}?a", f"{raw.url}?b"])
        arguments = (
            "--urls", "l.txt", *where, "--out", "r.log", "--retries", "0", "--concurrency", "1",
            "--summary", "none",
        )  # fmt: skip
        assert crawl(*arguments, cwd=tmp_path).returncode == 1
        assert kept(tmp_path, name) == [page, page]
        assert crawl(*arguments, "--retry-failed", cwd=tmp_path).returncode == 0
    assert kept(tmp_path, name) == [b"mended", page]
    if name == "d":
        assert len([path for path in (tmp_path / "d").rglob("*") if path.is_file()]) == 2
    if "warc" in name:
        check = [Path(sys.executable).parent / "warcio", "check", tmp_path / name]
        checked = subprocess.run(check, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def kept(folder: Path, name: str) -> list[bytes]:
    """The bodies, in input order, where what holds them is ``name``."""
    if name == "d":
        newest = {record["seq"]: record["body"] for record in records_of(folder / "r.log")}
        return [(folder / newest[seq]).read_bytes() for seq in sorted(newest)]
    bodies = list(read_bodies(folder / name))
    assert [body.seq for body in bodies] == list(range(len(bodies)))
    return [body.content for body in bodies]


@pytest.mark.parametrize("name", ["b.jsonl.gz", "b.jsonl.zst", "b.warc", "b.warc.gz"])
def test_a_file_that_is_damaged_in_its_middle_is_told_and_not_cut(
    demo, tmp_path, name: str
) -> None:
    """What stands behind the damage is not thrown away, and no reader takes the rest for all."""
    listed(tmp_path / "l.txt", [f"{demo}/novel/{n}" for n in range(1, 9)])
    arguments = ("--urls", "l.txt", "--bodies", name, "--concurrency", "1", "--summary", "none")
    assert crawl(*arguments, cwd=tmp_path).returncode == 0
    middle = (tmp_path / name).stat().st_size
    for _ in range(2):
        assert crawl(*arguments, cwd=tmp_path).returncode == 0
    data = bytearray((tmp_path / name).read_bytes())
    data[middle : middle + 4] = b"\x07\x07\x07\x07"
    (tmp_path / name).write_bytes(data)
    with pytest.raises(LogError, match="damaged"):
        list(read_bodies(tmp_path / name))
    again = crawl(*arguments, "--resume", cwd=tmp_path)
    assert (again.returncode, "damaged" in again.stderr) == (2, True)
    assert (tmp_path / name).read_bytes() == data


@pytest.mark.parametrize("name", ["b.warc.gz", "b.warc", "b.jsonl.gz", "b.jsonl"])
def test_a_file_cut_at_any_byte_of_its_last_bodies_is_cut_to_whole_ones(
    demo, tmp_path, name: str
) -> None:
    """What is whole before the cut stays, all of it; nothing of the torn one does."""
    listed(tmp_path / "l.txt", [f"{demo}/novel/{n}" for n in (1, 2)])
    arguments = ("--urls", "l.txt", "--bodies", name, "--processes", "1", "--concurrency", "1")
    assert crawl(*arguments, "--delay", "300ms", cwd=tmp_path).returncode == 0
    path, plan = tmp_path / name, Bodies(file=str(tmp_path / name))
    whole = path.read_bytes()
    ends = ends_of_blocks(path)
    assert len(ends) >= 2
    for cut in range(ends[-2], len(whole)):
        path.write_bytes(whole[:cut])
        prepare(plan, resumed=True)
        settle_end(path)
        most = max(end for end in ends if end <= cut)
        assert path.read_bytes() == whole[:most], cut
    path.write_bytes(whole[: ends[-1] - 1])
    assert crawl(*arguments, "--resume", cwd=tmp_path).returncode == 0


def ends_of_blocks(path: Path) -> list[int]:
    """Where the whole blocks of a file end, by means of the formats' own libraries."""
    if "warc" in path.name:
        from warcio.archiveiterator import ArchiveIterator

        with path.open("rb") as file:
            records = ArchiveIterator(file)
            starts = [records.get_record_offset() for _ in records]
        return [*starts[1:], path.stat().st_size]
    data = path.read_bytes()
    if path.suffix == ".jsonl":
        return [at + 1 for at, byte in enumerate(data) if byte == 10]
    starts = [at for at in range(len(data)) if data.startswith(b"\x1f\x8b\x08", at)]
    return [*starts[1:], len(data)]


def test_a_note_of_another_file_is_not_believed(demo, tmp_path) -> None:
    """Rows that were put into a file by other means stay, and nobody's FILE.end is removed."""
    a, b = (Bodies(file=str(tmp_path / name)) for name in ("a.jsonl", "b.jsonl"))
    fetch([f"{demo}/novel/1"], bodies=a, out=tmp_path / "a.log")
    whole = (tmp_path / "a.jsonl").read_bytes()
    appender = Appender(tmp_path / "b.jsonl")
    appender.append(whole)
    appender.close()
    assert end_path(tmp_path / "b.jsonl").exists()
    (tmp_path / "t").write_bytes(whole * 3)
    (tmp_path / "t").replace(tmp_path / "b.jsonl")
    fetch([f"{demo}/novel/2"], bodies=b, out=tmp_path / "b.log")
    assert len(list(read_bodies(tmp_path / "b.jsonl"))) == 4
    end_path(tmp_path / "a.jsonl").write_text("precious\n")
    with pytest.raises(UsageError, match="in the way"):
        fetch([f"{demo}/novel/2"], bodies=a, out=tmp_path / "c.log")
    assert end_path(tmp_path / "a.jsonl").read_text() == "precious\n"


def test_a_column_may_be_named_as_that_of_duplicates(demo, tmp_path) -> None:
    """Its bodies stay when the run's failures are redone."""
    (tmp_path / "l.csv").write_text(
        f"url,duplicate_of\n{demo}/flaky?times=1&key=dup,x\n{demo}/novel/2,y\n"
    )
    arguments = (
        "--urls", "l.csv", "--keep", "duplicate_of", "--bodies", "b.jsonl", "--retries", "0",
        "--out", "r.log", "--summary", "none",
    )  # fmt: skip
    crawl(*arguments, cwd=tmp_path)
    assert crawl(*arguments, "--retry-failed", cwd=tmp_path).returncode == 0
    assert [body.status for body in read_bodies(tmp_path / "b.jsonl")] == [200, 200]


def test_one_place_for_both_is_refused_at_once(tmp_path) -> None:
    """Not waited for, as if another run had it."""
    done = crawl(
        "http://127.0.0.1:9/", "--out", "x.jsonl", "--bodies", str(tmp_path / "x.jsonl"), "--wait",
        cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, "the records go there" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "pattern",
    ["{path}{index}", "{path}-{index}-{host}{ext}", "{index}{path}", "{path}{index}{ext}"],
)
def test_names_are_told_apart_by_their_number(pattern: str) -> None:
    """A number that runs into other values is not enough: another is added."""
    names = NamePattern.parse(pattern, 0)
    values = [("x1", "1"), ("x", "11"), ("x-1", "1"), ("x", "1-1"), ("1", "x")]
    of: dict[str, set[int]] = {}
    for n in (1, 11, 111):
        for path, host in values:
            name = names.fill({"path": path, "host": host, "index": n, "ext": ".a"}, "")
            of.setdefault(name, set()).add(n)
    assert all(len(numbers) == 1 for numbers in of.values())


@pytest.mark.parametrize(
    "pattern", ["{index:08d}-{host}-{sha1:8}{ext}", "{host}/{index:04d}{ext}", "{index}.json"]
)
def test_a_number_that_stands_apart_is_enough(pattern: str) -> None:
    """Nothing is added to such a name."""
    values: dict[str, str | int] = {"host": "h", "sha1": "a" * 40, "index": 7, "ext": ".txt"}
    assert NamePattern.parse(pattern, 0).fill(values, "").count("7") == 1


@pytest.mark.parametrize("charset", ["punycode", "idna", "unicode_escape", "utf-7", "rot13", "zip"])
def test_only_charsets_of_texts_are_decoded(charset: str) -> None:
    """A server's word is no reason to run what takes the square of a body's length."""
    body = Body()
    body.write(b"b" * 200_000)
    kind = (("Content-Type", f"text/html; charset={charset}"),)
    kept = Kept(Request("http://a/", "GET", (), None, 1.0), "HTTP/1.1 200 OK", kind, body)
    record = Record(
        "run", 0, "http://a/", "GET", 200, None, None, "", 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0,
        200_000, 1, None, None, None, False,
    )  # fmt: skip
    began_s = time.process_time()
    saved = decode_body(encode_body(record, kept, Bodies(file="x.jsonl")))
    assert time.process_time() - began_s < 1
    assert saved.text == "b" * 200_000


def test_a_table_of_records_is_told_from_one_of_bodies(tmp_path) -> None:
    """Both are Parquet; a KeyError says nothing to anybody."""
    path = tmp_path / "records.parquet"
    path.write_bytes(parquet_of([{"url": "http://h/", "status": 200}]))
    with pytest.raises(UsageError, match="of no bodies that crawl kept"):
        list(read_bodies(path))
