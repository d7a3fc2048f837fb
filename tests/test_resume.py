"""Resuming: what the log says was done is not done again, and nothing else is left out."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crawler.codec import encode
from crawler.engines.fake import OK, FakeEngine
from crawler.errors import LogError
from crawler.fetch import Plan, attempt, unsent
from crawler.log import repair
from crawler.profile import Profile
from crawler.record import Record, Target
from crawler.resume import Done, load_done, newest_run
from crawler.settings import Settings
from tests.log_cases import any_text, line, write

PARAMS = (("key", "a b"), ("lang", "中文"))
SETTINGS = Settings(processes=0)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "record.log"


def targets(count: int, changed: Mapping[int, str] | None = None) -> list[Target]:
    """The list that ``log_cases.line`` makes records of, some of its URLs changed."""
    return [Target(n, (changed or {}).get(n, f"http://h.test/{n}")) for n in range(count)]


def left(done: Done | None, count: int) -> list[int]:
    """The targets of a list that are still to be fetched."""
    assert done is not None
    return [target.seq for target in done.open_targets(targets(count))]


def fetched(url: str, params: tuple[tuple[str, str], ...] = ()) -> Record:
    """The record that a worker makes of a URL, with an engine that answers everything."""
    profile = Profile(headers=(), neutral_headers=(), params=params)
    plan = Plan("run-1", FakeEngine(lambda request: OK), profile, SETTINGS)
    return asyncio.run(attempt(plan, Target(0, url), 1)).record


def as_noted(record: Record, log: Path) -> Done:
    """What a log of one record has done."""
    log.write_bytes(encode(record))
    done = load_done(log, retry_failed=False)
    assert done is not None
    return done


# --- What is done ---------------------------------------------------------------------------

notes = st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60)


@given(notes)
def test_done_is_what_its_newest_note_says(noted) -> None:
    """Noted in any order and any number of times: the newest note of a target counts."""
    done, model = Done("run-1"), dict[int, bool]()
    for seq, finished in noted:
        done.note(seq, f"http://h.test/{seq}", finished=finished)
        model[seq] = finished
        assert done.count == sum(model.values())
    assert left(done, 45) == [seq for seq in range(45) if not model.get(seq)]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["old", "run-1"]),
            st.integers(0, 12),
            st.sampled_from([None, "http", "aborted", "invalid_url"]),
        )
    ),
    st.booleans(),
)
def test_a_log_gives_what_its_newest_run_has_done(tmp_path_factory, written, retry_failed) -> None:
    """A target is done with a record; with ``retry_failed`` only with one without an error."""
    log = tmp_path_factory.getbasetemp() / "any-run.log"
    rows = [*written, ("run-1", 3, None)]
    log.write_bytes(b"".join(line(seq, run=run, error=error) for run, seq, error in rows))
    newest = {seq: error for run, seq, error in rows if run == "run-1"}
    finished = {seq for seq, error in newest.items() if error is None or not retry_failed}
    done = load_done(log, retry_failed=retry_failed)
    assert done is not None
    assert (done.run, done.count) == ("run-1", len(finished))
    assert left(done, 15) == [seq for seq in range(15) if seq not in finished]


def test_a_run_cut_off_at_any_byte_goes_on(log) -> None:
    """Wherever the log of a run is cut, what stands whole is done and all the rest is fetched."""
    order = [4, 0, 2, 1, 3]
    whole = b"".join(line(seq) for seq in order)
    for cut in range(len(whole) - 3 * len(line(1)), len(whole) + 1):
        log.write_bytes(whole[:cut])
        repair(log)
        kept = order[: whole.count(b"\n", 0, cut)]
        assert left(load_done(log, retry_failed=False), 5) == sorted(set(order) - set(kept))


@pytest.mark.parametrize("content", [None, b"", line(1)[:-1], b"\0" * 100_000])
def test_a_log_without_a_line_holds_no_run(log, content) -> None:
    """An absent log, an empty one and one with only a torn line have nothing to resume."""
    if content is not None:
        log.write_bytes(content)
    assert newest_run(log) is None
    assert load_done(log, retry_failed=False) is None


@pytest.mark.parametrize("torn", [b"", line(3, run="run-3")[:-1], b"\0" * 100_000])
def test_the_newest_run_is_that_of_the_last_whole_line(log, torn) -> None:
    """The run to resume is the last that wrote, also when its last line is megabytes long."""
    long = line(2, run="run-2", url="http://h.test/" + "x" * 3_000_000)
    log.write_bytes(line(1, run="run-1") + long + torn)
    assert newest_run(log) == "run-2"


def test_a_log_that_is_none_is_told(log) -> None:
    """What cannot be read as a log is an error with the file's name, whatever it is."""
    log.write_bytes(b"http://h.test/1\n")
    with pytest.raises(LogError, match=f"{log}, last line: not JSON"):
        load_done(log, retry_failed=False)
    with pytest.raises(LogError, match="give a file, not a directory"):
        load_done(log.parent, retry_failed=False)


# --- The same list --------------------------------------------------------------------------


def test_a_changed_list_is_refused_with_the_place(log) -> None:
    """A target that is not what the run fetched in its place ends the run, named by position."""
    write(log, *(line(seq, error="http" if seq == 2 else None) for seq in (0, 2, 3)))
    done = load_done(log, retry_failed=True)
    assert done is not None
    still_open = done.open_targets(targets(6, {3: "http://other.test/"}))
    assert [next(still_open).seq, next(still_open).seq] == [1, 2]
    with pytest.raises(LogError, match="target 4 of the list is not what run run-1 fetched"):
        next(still_open)
    with pytest.raises(LogError, match=r"target 3 .* or start without --resume"):
        list(done.open_targets(targets(6, {2: "http://other.test/"})))


def test_a_target_that_was_not_recorded_may_be_any(log) -> None:
    """Only what was recorded can be compared; a list may have become longer."""
    write(log, line(0), line(2))
    done = load_done(log, retry_failed=False)
    assert done is not None
    changed = {1: "http://other.test/", 3: "http://more.test/"}
    assert [target.seq for target in done.open_targets(targets(4, changed))] == [1, 3]


def test_targets_are_read_one_by_one(log) -> None:
    """Of an endless list no more is read than is asked for."""
    write(log, line(0), line(1))
    done = load_done(log, retry_failed=False)
    assert done is not None
    endless = (Target(n, f"http://h.test/{n}") for n in iter(range(10**12)))
    still_open = done.open_targets(endless)
    assert (next(still_open).seq, next(still_open).seq) == (2, 3)
    assert next(endless).seq == 4


odd_urls = [
    "http://user:secret@h.test/",
    "https://user:p%40ss@H.test:443/a?b#c",
    "http://h.test/?mail=me@x.test",
    "http://h.test/a@b/c@d",
    "http://书.test/金瓶梅?名=值",
    "  http://h.test/ \r\n",
    "HTTP://H.TEST",
    "http://h.test/\udcff",
    "http://user:sec/ret@h.test/",
    "user:secret@h.test",
    "not a URL",
    "http://a..b/",
    "http://h.test:99999/",
    "",
    "http://h.test/\x00\r\n",
    "http://h.test/" + "x" * 70_000,
]


@pytest.mark.parametrize("params", [(), PARAMS], ids=["plain", "params"])
@pytest.mark.parametrize("url", odd_urls, ids=[url[:30] for url in odd_urls])
def test_any_url_is_known_again(log, url, params) -> None:
    """Masked, invalid, escaped, sent with a session's parameters: the record is the target's."""
    record = fetched(url, params)
    assert "sec" not in record.url
    assert list(as_noted(record, log).open_targets([Target(0, url)])) == []


@given(any_text.map("http://".__add__) | any_text)
@example("http://a@b@c/")
@example("http://a:b@c/?d=e@f")
def test_any_text_is_known_again(tmp_path_factory, url) -> None:
    """Whatever stands in a list, fetched or lost with its worker, is known again."""
    log = tmp_path_factory.getbasetemp() / "any-url.log"
    target = Target(0, url)
    for record in (fetched(url), unsent("run-1", target, "GET", "worker_lost", "lost")):
        assert list(as_noted(record, log).open_targets([target])) == []


def test_no_password_is_told_of_a_changed_list(log) -> None:
    """The refusal of a changed list names the place, never the URL."""
    done = as_noted(fetched("http://user:secret@h.test/"), log)
    with pytest.raises(LogError) as caught:
        list(done.open_targets([Target(0, "http://user:secret@other.test/")]))
    assert "secret" not in str(caught.value)


def test_what_is_done_costs_5_bytes_a_target() -> None:
    """Memory is five bytes a target and what growing arrays keep ready, not objects."""
    count = 50_000
    order = random.Random(7).sample(range(count), count)
    tracemalloc.start()
    done = Done("run-1")
    for seq in order:
        done.note(seq, "http://h.test/", finished=True)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert done.count == count
    assert held < 7 * count
    assert peak < 20 * count
