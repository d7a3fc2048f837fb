"""The codec: whatever a record holds is one line of JSON, and no line can break the reader."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawler.codec import LINE_START, BadLineError, carried, decode, encode, parse
from crawler.record import NO_FIELDS, RECORD_FIELDS, Record
from tests.log_cases import PLAIN, any_record, any_text, escaped, line, plain


def as_written(record: Record) -> Record:
    """The record as a log can hold it: its texts escaped, all else as it is."""
    values = [escaped(value) if isinstance(value, str) else value for value in record[:-1]]
    fields = {escaped(name): escaped(value) for name, value in record.fields.items()}
    return Record._make((*values, fields))


# --- Writing and reading back ---------------------------------------------------------------


@given(any_record)
def test_any_record_comes_back_as_it_was(record) -> None:
    """A record is read back equal; only lone surrogates come back escaped."""
    assert decode(encode(record)) == as_written(record)


@given(any_record)
def test_a_record_is_one_line_of_json(record) -> None:
    """A line is valid JSON in UTF-8 with one line end, its own, whatever the record's texts are."""
    written = encode(record)
    assert written.splitlines(keepends=True) == [written]
    assert written.endswith(b"}\n")
    assert written.startswith(LINE_START)
    row = json.loads(written.decode("utf-8"))
    assert list(row) == [*RECORD_FIELDS, *map(escaped, dict.fromkeys(as_written(record).fields))]


@given(any_record)
def test_a_line_can_be_read_without_making_a_record(record) -> None:
    """``parse`` and ``carried`` tell of a line what ``decode`` tells."""
    row, whole = parse(encode(record)), decode(encode(record))
    assert (row["run"], row["seq"], row["url"]) == (whole.run, whole.seq, whole.url)
    assert row["error"] == whole.error
    assert carried(row) == tuple(whole.fields)


def test_a_plain_record_is_written_field_by_field() -> None:
    """The log's form: every field by its name, in order, carried columns last, None as null."""
    record = plain(7, detail=None, fields={"书名": "红楼梦", "empty": ""})
    assert encode(record).decode() == (
        '{"run":"run-1","seq":7,"url":"http://h.test/7","method":"GET","status":200,"error":null,'
        '"detail":null,"started":"2026-01-02T03:04:05.000006Z","elapsed_ms":1.5,"dns_ms":0.1,'
        '"connect_ms":0.2,"tls_ms":0.3,"wait_ms":0.4,"receive_ms":0.5,"lag_ms":0.006,"bytes":82,'
        '"attempts":1,"final_url":"http://h.test/","http_version":"1.1","remote":"127.0.0.1:80",'
        '"reused":false,"书名":"红楼梦","empty":""}\n'
    )


def test_a_record_without_columns_costs_no_mapping() -> None:
    """Records that carry nothing share one empty mapping."""
    assert decode(line(1)).fields is NO_FIELDS


def test_a_column_never_takes_the_place_of_a_field() -> None:
    """A carried column with the name of a field is left out: the field is what was measured."""
    fields = {"status": "shipped", "seq": "x", "name": "a"}
    assert decode(encode(plain(3, fields=fields))) == plain(3, fields={"name": "a"})


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (2**64 - 1, 2**64 - 1),
        (2**64, "18446744073709551616"),
        (-(2**70), "-1180591620717411303424"),
        (7, 7),
        (None, None),
        (1 + 2j, "(1+2j)"),
        ([1, "a"], [1, "a"]),
        (b"\xff", "b'\\xff'"),
    ],
)
def test_a_column_of_any_type_can_be_written(value, read) -> None:
    """What JSON of 64 bits cannot hold becomes text: a program's column ends no run."""
    record = plain(1, fields={"n": value, "\udc80": "\udcff"})
    assert decode(encode(record)).fields == {"n": read, "\\udc80": "\\udcff"}


def test_a_column_whose_name_is_no_text_can_be_written() -> None:
    """JSON names are texts: a number given as a column's name becomes one."""
    assert decode(encode(plain(1, fields={5: "five"}))).fields == {"5": "five"}


# --- Lines of others ------------------------------------------------------------------------


def test_fields_that_an_older_line_lacks_are_none() -> None:
    """A log of an older version is read; what it has beyond our fields is carried."""
    record = decode(b'{"run": "r", "extra": "x", "seq": 4, "url": "http://h/"}')
    assert (record.run, record.seq, record.url) == ("r", 4, "http://h/")
    assert set(record[3:-1]) == {None}
    assert record.fields == {"extra": "x"}


def test_a_line_with_one_field_less_and_one_column_keeps_both_apart() -> None:
    """As many names as a record has fields does not make them its fields."""
    row = json.loads(line(4, fields={"extra": "x"}))
    del row["remote"]
    assert decode(json.dumps(row).encode()) == plain(4, remote=None, fields={"extra": "x"})


def test_a_carried_number_beyond_64_bits_is_read() -> None:
    """A hand-written number too large for 64 bits is read as the nearest float."""
    text = line(1).replace(b"}", b',"n":1' + b"0" * 30 + b"}")
    assert dict[str, object](decode(text).fields) == {"n": 1e30}


def changed(**values: object) -> bytes:
    return json.dumps({**json.loads(line(1)), **values}).encode()


@pytest.mark.parametrize(
    ("junk", "words"),
    [
        (b"", "not JSON"),
        (b"\n", "not JSON"),
        (b"\0" * 50, "not JSON"),
        (line(1)[:-3], "not JSON"),
        (line(1)[1:], "not JSON"),
        (line(1) + line(2), "not JSON"),
        (b"\xff\xfe" + line(1), "not JSON"),
        (line(1).replace(b"h.test", b"h.\xfftest"), "not JSON"),
        (line(1).replace(b"h.test", b"h.\\ud800test"), "not JSON"),
        (line(1).replace(b"1.5", b"NaN"), "not JSON"),
        (b"[" * 200_000, "not JSON"),
        (b"null", "not a JSON object"),
        (b'["run", "seq", "url"]', "not a JSON object"),
        (b"{}", "lacks one of run, seq, url"),
        (b'{"run":"r","seq":1}', "lacks one of run, seq, url"),
        (changed(seq=-1), "seq a number"),
        (changed(seq=True), "seq a number"),
        (changed(seq="1"), "seq a number"),
        (changed(seq=1.0), "seq a number"),
        (changed(seq=2**70), "seq a number"),
        (changed(run=None), "run and url are texts"),
        (changed(url=["http://h/"]), "run and url are texts"),
        (changed(elapsed_ms="1.5"), "elapsed_ms cannot be of type str"),
        (changed(status=10**30), "status cannot be of type float"),
        (changed(error={}), "error cannot be of type dict"),
        (changed(bytes=True), "bytes cannot be of type bool"),
        (changed(reused=1), "reused cannot be of type int"),
    ],
)
def test_a_line_that_is_no_record_says_why(junk, words) -> None:
    """A line that is none of ours is a ``BadLineError`` of one line that tells what is wrong."""
    with pytest.raises(BadLineError, match=words) as caught:
        decode(junk)
    assert "\n" not in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
odd_rows = st.dictionaries(st.sampled_from(RECORD_FIELDS) | any_text, json_values, max_size=24)
nearly_rows = st.builds(
    lambda odd: {"run": "r", "seq": 1, "url": "u", **odd},
    st.dictionaries(st.sampled_from(RECORD_FIELDS) | any_text, json_values, max_size=2),
)


@st.composite
def damaged_lines(draw):
    """A line of ours with some of its bytes cut out and others put in."""
    whole = line(1, fields={"名": "值"})
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 8)))
    return whole[:start] + draw(st.binary(max_size=8)) + whole[end:]


@given(
    st.binary() | damaged_lines() | (odd_rows | nearly_rows).map(lambda r: json.dumps(r).encode())
)
@example(b'{"run":"r","seq":1,"url":"u","x":' + b"9" * 400 + b"}")
@example(b'{"run":"r","seq":1,"url":"u","x":1e999}')
@example(b'\xef\xbb\xbf{"run":"r","seq":1,"url":"u"}')
def test_any_bytes_are_a_record_or_a_bad_line(junk) -> None:
    """No bytes whatever raise anything but ``BadLineError``; what is read can be written again."""
    try:
        record = decode(junk)
    except BadLineError:
        return
    again = decode(encode(record))
    assert again == record
    for value, mine in zip(record[:-1], PLAIN, strict=False):
        whole_ms = type(mine) is float and type(value) is int
        assert value is None or mine is None or type(value) is type(mine) or whole_ms
