"""What a worker tells its parent: figures by group, small, quick, and flat in memory."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time

import pytest

from crawler.record import Record
from crawler.samples import INVALID, MAX_NAME, NONE, OTHER, GroupNames, Samples, key_of

OK = Record(
    run="r",
    seq=0,
    url="http://api.test:8080/novels?name=a#top",
    method="GET",
    status=200,
    error=None,
    detail=None,
    started="2025-11-23T06:00:00.000000Z",
    elapsed_ms=1.5,
    dns_ms=0.0,
    connect_ms=0.0,
    tls_ms=0.0,
    wait_ms=1.0,
    receive_ms=0.25,
    lag_ms=0.125,
    bytes=82,
    attempts=1,
    final_url=None,
    http_version="1.1",
    remote="127.0.0.1:8080",
    reused=True,
)
TIMEOUT = OK._replace(status=None, error="timeout", detail="no reply within 2 s", elapsed_ms=2000.0)


def samples_of(*records: Record, group_by: str = "endpoint", limit: int = 1000) -> Samples:
    samples = Samples(group_by, GroupNames(limit))
    for record in records:
        samples.add(record)
    return samples


@pytest.mark.parametrize(
    ("group_by", "url", "name"),
    [
        ("endpoint", "http://api.test:8080/a/b?c=d/e#f", "http://api.test:8080/a/b"),
        ("endpoint", "http://api.test/a#f?g", "http://api.test/a"),
        ("endpoint", "http://api.test", "http://api.test"),
        ("host", "http://api.test:8080/a@b", "api.test:8080"),
        ("host", "https://***@api.test?x=/", "api.test"),
        ("host", "http://[::1]:80/", "[::1]:80"),
        ("path", "http://api.test/a/b?c", "/a/b"),
        ("path", "http://api.test?c=/d", "/"),
        ("url", "http://api.test/a?b#c", "http://api.test/a?b#c"),
        ("status", "http://api.test/", "200"),
        ("author", "http://api.test/", "三体"),
        ("absent", "http://api.test/", NONE),
    ],
)
def test_group_names(group_by: str, url: str, name: str) -> None:
    """A record's group is the part of it that was asked for."""
    record = OK._replace(url=url, fields={"author": "三体"})
    assert key_of(group_by)(record) == name


def test_records_without_what_they_are_grouped_by_share_a_group() -> None:
    """No status is ``(none)``, and all that is no URL is one group, not one each."""
    assert key_of("status")(TIMEOUT) == NONE
    junk = [OK._replace(url=f"junk {i}", error="invalid_url", status=None) for i in range(5)]
    for group_by in ("endpoint", "host", "path"):
        assert list(samples_of(*junk, group_by=group_by).groups) == [INVALID]


def test_failures_stay_apart_from_latencies() -> None:
    """A failure is counted with its first example and never enters the latencies of successes."""
    later = TIMEOUT._replace(url="http://api.test/2", elapsed_ms=3000.0)
    samples = samples_of(OK, TIMEOUT, later)
    group = samples.groups["http://api.test:8080/novels"]
    assert list(group.elapsed_ms) == [1.5]
    assert (group.failed, group.bytes) == (1, 164)
    failures = samples.errors["timeout"]
    assert (failures.failed, failures.total_ms, failures.max_ms) == (2, 5000.0, 3000.0)
    assert (failures.url, failures.detail) == (TIMEOUT.url, TIMEOUT.detail)
    assert samples.statuses == {200: 1}


def test_phases_are_those_of_new_answered_connections() -> None:
    """Only a request that opened a connection and got a reply tells of dns, connect and tls."""
    fresh = OK._replace(reused=False, dns_ms=1.0, connect_ms=2.0, tls_ms=3.0)
    samples = samples_of(OK, fresh, TIMEOUT._replace(reused=False))
    assert list(samples.phases_ms) == [1.0, 2.0, 3.0, 1.0, 0.25]


def test_lag_is_of_what_was_sent() -> None:
    """A record that no request was made for was not late."""
    samples = samples_of(OK, TIMEOUT, TIMEOUT._replace(attempts=0, lag_ms=9.0))
    assert list(samples.lag_ms) == [0.125, 0.125]


def test_groups_are_limited() -> None:
    """Beyond the limit, records fall into ``(other)``, in later batches of the worker too."""
    known = GroupNames(limit=3)
    for batch in range(4):
        samples = Samples("url", known)
        for i in range(50):
            samples.add(OK._replace(url=f"http://api.test/{i}"))
        assert len(samples.groups) == 4, batch
        assert len(samples.groups[OTHER].elapsed_ms) == 47


def test_names_and_examples_are_cut() -> None:
    """A URL of 64 KB does not cross the pipe as a name or an example, and can be encoded."""
    long = "http://api.test/" + "x" * 65_536 + "\ud800"
    samples = samples_of(OK._replace(url=long), OK._replace(url=long), group_by="url")
    ((name, group),) = samples.groups.items()
    assert len(name) == MAX_NAME
    assert len(group.elapsed_ms) == 2
    failed = samples_of(TIMEOUT._replace(url="http://\ud800/", detail="\udcff" * 3))
    failed.errors["timeout"].url.encode()
    failed.errors["timeout"].detail.encode()
    [name.encode() for name in failed.groups]


def test_pickling_keeps_everything() -> None:
    """What the parent receives equals what the worker sent."""
    sent = samples_of(OK, OK._replace(reused=False), TIMEOUT, OK._replace(url="http://b.test/"))
    got = pickle.loads(pickle.dumps(sent))
    assert got.group_by == sent.group_by
    assert got.errors == sent.errors
    assert got.statuses == sent.statuses
    assert (got.lag_ms, got.phases_ms) == (sent.lag_ms, sent.phases_ms)
    figures = [
        {n: (list(g.elapsed_ms), g.failed, g.bytes) for n, g in samples.groups.items()}
        for samples in (sent, got)
    ]
    assert figures[0] == figures[1]


def test_a_batch_is_small_on_the_wire() -> None:
    """128 records of one group pickle into less than 3 KB."""
    assert len(pickle.dumps(samples_of(*[OK] * 128))) < 3000


def test_adding_is_cheap() -> None:
    """Counting a record costs less than building one does, eight times over."""
    known = GroupNames()

    def seconds(count: int) -> float:
        samples = Samples("endpoint", known)
        start = time.perf_counter()
        for _ in range(count):
            samples.add(OK)
        return time.perf_counter() - start

    def build_seconds(count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            Record(*OK)
        return time.perf_counter() - start

    adding = min(seconds(20_000) for _ in range(5))
    building = min(build_seconds(20_000) for _ in range(5))
    assert adding < 8 * building


def test_a_worker_imports_neither_numpy_nor_pandas() -> None:
    """What a worker imports to count is light."""
    code = (
        "import sys, crawler.samples\n"
        "print([m for m in ('numpy', 'pandas', 'tqdm') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
