"""Logs to blocks: both readers against each other and against the codec, line by line."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crawler import log_blocks, log_chunks
from crawler.blocks import SLOWEST, Block
from crawler.codec import BadLineError, decode, encode
from crawler.errors import LogError
from crawler.log_arrow import ArrowReader, Odd
from crawler.log_blocks import EVERYTHING, BlockReader, Repeats, Selection
from crawler.log_chunks import LogFile
from crawler.log_columns import BadLine, Columns, LineReader
from crawler.record import ERROR_CLASSES, Record
from crawler.samples import NONE, PHASES, key_of
from tests.log_cases import line, plain

GROUPINGS = ("endpoint", "host", "path", "url", "status", "city", "method", "bytes", "reused")


class Read:
    """What reading a log gave: its blocks, the lines that are no records, the reader itself."""

    def __init__(
        self,
        log: LogFile,
        *,
        group_by: str = "endpoint",
        selection: Selection = EVERYTHING,
        older: Repeats | None = None,
        arrow: bool = True,
    ) -> None:
        self.bad: list[BadLine] = []
        self.reader = BlockReader(
            group_by,
            selection,
            bad=lambda _log, bad: self.bad.append(bad),
            older=older,
            arrow=arrow,
        )
        self.blocks = list(self.reader.blocks(log))

    @property
    def rows(self) -> list[tuple[object, ...]]:
        """The rows of all blocks as plain values, in their order."""
        return [row for block in self.blocks for row in rows_of(block)]


def rows_of(block: Block) -> list[tuple[object, ...]]:
    names = [block.names[i] for i in block.group]
    columns = (
        block.started_s, block.elapsed_ms, block.lag_ms, block.phases_ms, block.status,
        block.error, block.bytes, block.reused, block.sent,
    )  # fmt: skip
    values = [column.tolist() for column in columns]
    return [(block.run, name, *map(str, row)) for name, *row in zip(names, *values, strict=True)]


def read_of(path: Path, data: bytes, **options: Any) -> Read:
    path.write_bytes(data)
    return Read(LogFile(path), **options)


texts = st.one_of(
    st.text(max_size=6),
    st.sampled_from(("三体", 'a"b\\c', "x?y#z", "\x00", "\x7f\u2028", "http://h.test:8/p/q?a=1#f")),
)
times = st.one_of(st.floats(0, 1e6), st.integers(0, 10**6).map(float), st.just(-0.25))
stamps = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)).map(
    lambda moment: moment.isoformat(timespec="microseconds") + "Z"
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A record that ``crawl`` could have written."""
    error = draw(st.one_of(st.none(), st.sampled_from(ERROR_CLASSES)))
    phases = {f"{name}_ms": draw(times) for name in PHASES}
    return plain(
        draw(st.integers(0, 2**40)),
        run=draw(st.sampled_from(("r1", "r2"))),
        url=draw(st.one_of(texts, st.sampled_from(("http://h.test/a?b", "http://u@h.test")))),
        status=draw(st.one_of(st.none(), st.integers(100, 599))),
        error=error,
        detail=draw(st.one_of(st.none(), texts)),
        started=draw(stamps),
        elapsed_ms=draw(times),
        lag_ms=draw(times),
        bytes=draw(st.integers(0, 2**40)),
        attempts=draw(st.integers(0, 3)),
        reused=draw(st.booleans()),
        fields=draw(
            st.dictionaries(
                st.sampled_from(("city", "stage", "x")),
                st.sampled_from(("warmup", "main", "", "München")),
            )
        ),
        **phases,
    )


odd_values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.just(2**63), st.just(2**70), st.floats(-2, 2),
    st.just(float("nan")), st.just(float("inf")), texts, st.just([1, {"a": [2]}]), st.just({}),
    st.sampled_from(("2025-11-23", "2025-13-23T06:00:00.000001Z", "2025-11-23T06:00:00+02:00",
                     "2025-11-23T06:00:60.000001Z", "warmup", "timeout", "no_such_class")),
)  # fmt: skip
odd_names = st.sampled_from((*Record._fields[:-1], "city", "stage", "run ", "new"))


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A record's line, or one that was edited, cut, doubled or is of another version."""
    text = encode(draw(records()))[:-1]
    row = json.loads(text)
    match draw(st.integers(0, 9)):
        case 0:
            row[draw(odd_names)] = draw(odd_values)
        case 1:
            row.pop(draw(odd_names), None)
        case 2:
            return text[: draw(st.integers(0, len(text)))]
        case 3:
            return text + draw(st.sampled_from((b" ", b"\r", b"{}", text, b",", b"]")))
        case 4:
            name = draw(odd_names)
            value = json.dumps(draw(odd_values)).encode()
            return text[:-1] + b"," + json.dumps(name).encode() + b":" + value + b"}"
        case 5:
            number = draw(st.sampled_from((b"1.0", b"1e3", b"1e999", b"-0", b"01", b"1.5e308")))
            return text[:-1] + b',"' + draw(odd_names).encode() + b'":' + number + b"}"
        case 6:
            return draw(st.sampled_from((b"", b"[]", b"null", b"\xff", b'{"run":"\xff"}', b"{}")))
        case 7:
            cut = draw(st.integers(1, len(text) - 1))
            return text[:cut] + draw(st.sampled_from((b"\xff", b"\\ud800", b"\x01"))) + text[cut:]
        case _:
            return text
    edited = json.dumps(row, ensure_ascii=draw(st.booleans()))
    return edited.encode("utf-8", "replace")


@given(st.lists(lines(), max_size=12), st.sampled_from(GROUPINGS))
@settings(max_examples=100)
def test_both_readers_agree(
    tmp_path_factory: pytest.TempPathFactory, texts: list[bytes], group_by: str
) -> None:
    """Whatever stands in a log, pyarrow's reader and the line reader give the same."""
    path = tmp_path_factory.getbasetemp() / "agree.log"
    data = b"".join(text.replace(b"\n", b"") + b"\n" for text in texts)
    fast = read_of(path, data, group_by=group_by)
    slow = read_of(path, data, group_by=group_by, arrow=False)
    assert fast.rows == slow.rows
    assert fast.bad == slow.bad
    assert [b.slowest for b in fast.blocks] == [b.slowest for b in slow.blocks]
    assert [b.examples for b in fast.blocks] == [b.examples for b in slow.blocks]
    assert [b.warmup for b in fast.blocks] == [b.warmup for b in slow.blocks]
    assert fast.reader.records == slow.reader.records
    assert fast.reader.records + len(fast.bad) == len(texts)


@given(lines(), st.sampled_from(("endpoint", "host", "path", "url", "status", "city")))
@settings(max_examples=100)
@example(b'{"run":"r","seq":0,"url":"u"}', "endpoint")
def test_a_line_counts_as_the_codec_reads_it(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, group_by: str
) -> None:
    """A line that counts is a record of the codec's, value by value; one that is none is told."""
    path = tmp_path_factory.getbasetemp() / "codec.log"
    data = text.replace(b"\n", b"") + b"\n"
    read = read_of(path, data, group_by=group_by, arrow=False)
    try:
        record = decode(data)
    except BadLineError:
        # Fields that no figure needs are not looked at: what is odd in them alone does not count.
        assert read.bad or not_needed(data)
        return
    if read.bad:
        assert record.elapsed_ms is None or record.started is None or odd_number_or_text(record)
        return
    if record.fields.get("stage") == "warmup":
        assert [(block.warmup, len(block)) for block in read.blocks] == [(1, 0)]
        return
    (block,) = read.blocks
    assert block.run == record.run
    assert block.elapsed_ms[0] == record.elapsed_ms
    assert block.lag_ms[0] == (record.lag_ms or 0)
    assert block.phases_ms[0].tolist() == [getattr(record, f"{p}_ms") or 0 for p in PHASES]
    assert block.status[0] == (record.status or 0)
    assert block.error[0] == (-1 if record.error is None else ERROR_CLASSES.index(record.error))
    assert block.bytes[0] == (record.bytes or 0)
    assert block.reused[0] == bool(record.reused)
    moment = datetime.fromisoformat(record.started)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    assert block.started_s[0] == moment.timestamp()
    assert block.names[block.group[0]] == str(key_of(group_by)(record))


def not_needed(data: bytes) -> bool:
    row = json.loads(data)
    unread = ("method", "final_url", "http_version", "remote")
    return any(row.get(name) is not None and not isinstance(row[name], str) for name in unread)


def odd_number_or_text(record: Record) -> bool:
    """Whether the codec passes what figures cannot be made from."""
    numbers = (record.seq, record.status, record.bytes, record.attempts)
    if any(number is not None and abs(number) >= 2**63 for number in numbers):
        return True
    if record.error not in (None, *ERROR_CLASSES):
        return True
    try:
        datetime.fromisoformat(record.started)
    except ValueError:
        return True
    return False


def test_pyarrow_reads_what_we_write() -> None:
    """Ordinary lines, of one group or another, are pyarrow's: none is left to the slow reader."""
    rows = [line(i, url=f"http://h.test/三/{i}?q=a", fields={"city": "x"}) for i in range(100)]
    rows += [line(i, status=None, error="timeout", detail='no "reply"') for i in range(10)]
    for group_by in ("endpoint", "url", "status", "city", "absent"):
        assert len(ArrowReader(group_by).read(b"".join(rows))) == 110


@pytest.mark.parametrize(
    "odd",
    [
        b"",
        b"  ",
        b"[]",
        b"{} ",
        b"{}{}",
        b'{"a":{}',
        line(0)[:-1].replace(b'"seq":0', b'"seq":1.0'),
        line(0)[:-1].replace(b'"seq":0', b'"seq":99999999999999999999'),
        line(0)[:-1].replace(b'"seq":0', b'"seq":-1'),
        line(0)[:-1].replace(b'"elapsed_ms":1.5', b'"elapsed_ms":NaN'),
        line(0)[:-1].replace(b'"elapsed_ms":1.5', b'"elapsed_ms":null'),
        line(0)[:-1].replace(b'"elapsed_ms":1.5', b'"elapsed_ms":"1.5"'),
        line(0)[:-1].replace(b'"started":"2026-', b'"started":"26-'),
        line(0)[:-2] + b',"x":NaN}',
        line(0)[:-2] + b',"x":-Infinity}',
        line(0)[:-2] + b',"seq":3}',
        line(0)[:-2] + b',"x":"\xff"}',
        line(0)[:-2] + b',"error":"no_such_class"}',
    ],
)
def test_pyarrow_leaves_odd_text_alone(odd: bytes) -> None:
    """What the codec would read in another way, or refuse, is not pyarrow's to read."""
    reader = ArrowReader("endpoint")
    with pytest.raises(Odd):
        reader.read(line(0) + odd + b"\n" + line(1))


@pytest.mark.parametrize("arrow", [True, False])
def test_a_line_that_is_no_record_is_named_and_the_others_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrow: bool
) -> None:
    """Lines are counted through all pieces of a log: the number named is the file's."""
    monkeypatch.setattr(log_chunks, "CHUNK_BYTES", 2000)
    rows = [line(i) for i in range(200)]
    rows[77] = b"junk\n"
    rows[150] = rows[150].replace(b'"status":200', b'"status":"ok"')
    rows[199] = rows[199].replace(b"2026-01-02T", b"2026-31-02T")
    read = read_of(tmp_path / "r.log", b"".join(rows), arrow=arrow)
    assert [bad.line for bad in read.bad] == [78, 151, 200]
    assert read.bad[1].reason == "status cannot be of type str"
    assert "is no time" in read.bad[2].reason
    assert len(read.rows) == read.reader.records == 197


def test_an_older_log_lacks_fields_and_a_newer_one_has_more(tmp_path: Path) -> None:
    """A missing field counts as null, an unknown one is carried; without a time nothing counts."""
    row = {"run": "r", "seq": 0, "url": "http://h/", "started": "2025-01-01T00:00:00Z"}
    older = {**row, "elapsed_ms": 5}
    newer = {**json.loads(line(1)), "quantum_ms": 3, "spin": {"up": True}}
    data = "".join(json.dumps(each) + "\n" for each in (older, newer, row))
    read = read_of(tmp_path / "r.log", data.encode())
    assert [block.elapsed_ms.tolist() for block in read.blocks] == [[5.0], [1.5]]
    assert read.blocks[0].sent.tolist() == [True]
    assert read.bad == [BadLine(3, "lacks elapsed_ms, without which it is in no figure")]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    """What stands after the last newline is nobody's record, and is told by its length."""
    log = tmp_path / "r.log"
    log.write_bytes(line(0) + line(1)[:50])
    file = LogFile(log)
    assert len(Read(file).rows) == 1
    assert (file.torn, file.lines) == (50, 1)


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    """What was appended since is read, and nothing twice; a torn line counts once it is whole."""
    log = tmp_path / "r.log"
    log.write_bytes(line(0) + line(1)[:50])
    file = LogFile(log)
    assert len(Read(file).rows) == 1
    with log.open("ab") as more:
        more.write(line(1)[50:] + line(2) + b"junk\n")
    read = Read(file)
    assert len(read.rows) == 2
    assert [bad.line for bad in read.bad] == [4]
    assert (Read(file).rows, file.torn, file.replaced()) == ([], 0, False)
    log.write_bytes(line(0))
    assert file.replaced()


@pytest.mark.parametrize("arrow", [True, False])
def test_a_compressed_log_reads_as_the_log_does(tmp_path: Path, arrow: bool) -> None:
    """gzip is known by its bytes, whatever the name; cut off, what it still gives counts."""
    rows = [line(i, url=f"http://h.test/{i * i}") for i in range(3000)]
    data = b"".join(rows)
    packed = gzip.compress(data)
    plain_rows = read_of(tmp_path / "r.log", data, arrow=arrow).rows
    assert read_of(tmp_path / "r.log.gz", packed, arrow=arrow).rows == plain_rows
    path = tmp_path / "cut.log"
    path.write_bytes(packed[: len(packed) // 2])
    file = LogFile(path)
    some = Read(file, arrow=arrow).rows
    assert 0 < len(some) < 3000
    assert some == plain_rows[: len(some)]
    assert file.torn
    path.write_bytes(packed[:12])
    with pytest.raises(LogError, match="no whole gzip file"):
        Read(LogFile(path))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "is a directory; give a log"),
        ("t.csv", "is a table, not a record log; give the log that stands beside it"),
        ("t.PARQUET", "is a table"),
        ("none.log", "no such file"),
    ],
)
def test_what_is_no_log_is_refused_with_the_remedy(tmp_path: Path, name: str, words: str) -> None:
    """A directory, a table and an absent file are named for what they are."""
    with pytest.raises(LogError, match=words):
        Read(LogFile(tmp_path / name))


@pytest.mark.parametrize("group_by", ["endpoint", "host", "path", "url", "status", "city"])
def test_groups_are_named_as_a_run_names_them(tmp_path: Path, group_by: str) -> None:
    """A report's rows bear the names that the summary of the run had."""
    written = [
        plain(0, url="http://h.test:8/a/b?x=1#y"),
        plain(1, url="http://h.test#only"),
        plain(2, url="nonsense", status=None, error="invalid_url"),
        plain(3, url="https://u@h.test/?q", status=404, error="http", fields={"city": "三"}),
        plain(4, url="http://h.test/a#b?c", fields={"city": ""}),
    ]
    read = read_of(tmp_path / "r.log", b"".join(map(encode, written)), group_by=group_by)
    assert [row[1] for row in read.rows] == [key_of(group_by)(record) for record in written]


def test_a_block_is_of_one_run(tmp_path: Path) -> None:
    """Runs that stand in one log, also line by line in turn, come in blocks of their own."""
    data = b"".join(line(i, run=f"r{i % 3}") for i in range(30))
    read = read_of(tmp_path / "r.log", data)
    assert [(block.run, len(block)) for block in read.blocks] == [
        ("r0", 10),
        ("r1", 10),
        ("r2", 10),
    ]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), max_size=30))
def test_blocks_are_joined_without_loss(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[str, int]]
) -> None:
    """Small blocks of a run become one, up to a size; rows, names and order stay."""
    path = tmp_path_factory.getbasetemp() / "joined.log"
    blocks = []
    for i, (run, count) in enumerate(sizes):
        rows = [line(n, run=run, url=f"http://h/{(i + n) % 7}") for n in range(count)]
        rows.append(line(9, run=run, fields={"stage": "warmup"}))
        blocks += read_of(path, b"".join(rows)).blocks
    joined = list(log_blocks.joined(blocks, 8))
    assert [row for b in joined for row in rows_of(b)] == [
        row for b in blocks for row in rows_of(b)
    ]
    assert sum(block.warmup for block in joined) == len(sizes)
    assert [s for b in joined for s in b.slowest] == [s for b in blocks for s in b.slowest]
    for block, after in pairwise(joined):
        assert len(block) >= 8 or block.run != after.run


def test_warm_up_is_counted_and_in_no_row(tmp_path: Path) -> None:
    """Records of the warm-up are told by their number; none is a row, an example, or slow."""
    rows = [
        line(0, fields={"stage": "warmup"}, elapsed_ms=9e9, status=None, error="timeout"),
        line(1, fields={"stage": "load"}),
        line(2, fields={"stage": "warmup"}),
    ]
    (block,) = read_of(tmp_path / "r.log", b"".join(rows)).blocks
    assert (block.warmup, len(block), dict(block.examples)) == (2, 1, {})
    assert [slow.seq for slow in block.slowest] == [1]


def test_the_slowest_are_named(tmp_path: Path) -> None:
    """The ten that took longest from their due moment, slowest first, each with its URL."""
    rows = [line(i, elapsed_ms=float(i % 40), lag_ms=i / 100) for i in range(100)]
    (block,) = read_of(tmp_path / "r.log", b"".join(rows)).blocks
    expected = sorted(range(100), key=lambda i: i % 40 + i / 100, reverse=True)[:SLOWEST]
    assert [slow.seq for slow in block.slowest] == expected
    assert block.slowest[0].url == f"http://h.test/{expected[0]}"


def test_a_selection_takes_runs_and_times(tmp_path: Path) -> None:
    """A run by the beginning of its id, a time from its first moment to before its last."""
    data = b"".join(
        line(i, run=run, started=f"2026-01-02T03:04:{i:02}.000000Z")
        for run in ("20260102-a", "20260103-b")
        for i in range(10)
    )
    at_s = datetime(2026, 1, 2, 3, 4, tzinfo=UTC).timestamp()
    for selection, rows in (
        (EVERYTHING, 20),
        (Selection(run="20260103"), 10),
        (Selection(run="2026"), 20),
        (Selection(run="b"), 0),
        (Selection(since_s=at_s + 7), 6),
        (Selection(until_s=at_s + 7), 14),
        (Selection(run="20260102-a", since_s=at_s + 2, until_s=at_s + 4), 2),
    ):
        assert len(read_of(tmp_path / "r.log", data, selection=selection).rows) == rows


SEQS = st.one_of(st.integers(0, 8), st.integers(1020, 1030), st.integers(2**30, 2**30 + 3))


@given(st.lists(st.tuples(st.sampled_from("ab"), SEQS), max_size=30), st.data())
def test_the_newest_record_of_a_target_stands(
    records: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Of the records of one target in one run all but the last are superseded, however split."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(records)), max_size=3)))
    bounds = list(zip([0, *cuts], [*cuts, len(records)], strict=True))
    repeats = Repeats()
    for run, seqs, places in parts_of(records, bounds):
        repeats.note(run, seqs, places)
    kept = []
    for run, seqs, places in parts_of(records, bounds):
        kept += places[~repeats.superseded(run, seqs, places)].tolist()
    newest = {record: place for place, record in enumerate(records)}
    assert sorted(kept) == sorted(newest.values())
    assert repeats.are(Repeats()) == (len(newest) == len(records))


def parts_of(
    records: list[tuple[str, int]], bounds: list[tuple[int, int]]
) -> list[tuple[str, Any, Any]]:
    """The records cut into pieces, each by run: seqs and places."""
    parts = []
    for start, end in bounds:
        for run in "ab":
            places = [i for i in range(start, end) if records[i][0] == run]
            seqs = [records[i][1] for i in places]
            parts.append((run, np.array(seqs, np.int64), np.array(places, np.int64)))
    return parts


def test_a_second_reading_leaves_superseded_records_out(tmp_path: Path) -> None:
    """What was fetched again counts once, with its newest record, and nothing else is touched."""
    rows = [line(i, status=None, error="timeout") for i in range(5)] + [line(3), line(1)]
    rows += [line(3, run="other")]
    first = read_of(tmp_path / "r.log", b"".join(rows))
    assert (len(first.rows), first.reader.settled) == (8, False)
    second = Read(LogFile(tmp_path / "r.log"), older=first.reader.repeats)
    assert second.reader.settled
    assert len(second.rows) == 6
    assert sum(int((block.error >= 0).sum()) for block in second.blocks) == 3


@pytest.mark.parametrize("arrow", [True, False])
def test_memory_is_flat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrow: bool) -> None:
    """A log five times as long takes no more memory to read."""
    monkeypatch.setattr(log_chunks, "CHUNK_BYTES", 100_000)
    monkeypatch.setattr(log_blocks, "_ROWS", 500)

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.log"
        path.write_bytes(b"".join(line(i % 900) for i in range(count)))
        reader = BlockReader("endpoint", bad=lambda _log, _bad: None, arrow=arrow)
        tracemalloc.start()
        for _ in reader.blocks(LogFile(path)):
            pass
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(100)
    assert peak(20_000) < 1.5 * peak(4_000)


def test_without_pyarrow_lines_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyarrow is an extra: where it cannot be imported the other reader takes its place."""
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.json", None)
    with pytest.raises(ImportError):
        ArrowReader("endpoint")
    assert len(read_of(tmp_path / "r.log", line(0) + line(1)).rows) == 2


def test_columns_count_the_lines_they_are_of() -> None:
    """A piece's columns know how many lines they took, so that the next one's numbers are right."""
    reader: Callable[[bytes], Any] = LineReader("endpoint").read
    (columns,) = reader(line(0) + b"junk\n" + line(1))
    assert isinstance(columns, Columns)
    assert (len(columns), columns.lines, columns.key.names) == (
        2,
        3,
        ("http://h.test/0", "http://h.test/1"),
    )
    assert NONE not in columns.key.names
