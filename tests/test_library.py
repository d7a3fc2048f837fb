"""The library: ``crawl``, ``crawl.stream``, ``Run``, as scripts and notebooks use them."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading

import pandas as pd
import pytest
import requests
import responses

from crawler import CrawlError, Record, Settings, Target, crawl, read_log
from crawler.errors import LogError, UsageError
from tests.conftest import ROOT

PROCESSES = pytest.mark.parametrize("processes", [0, 2])


@PROCESSES
def test_a_run_gives_records_frame_and_summary(demo, processes) -> None:
    """Everything about a run is there without a log: records in input order, and its tables."""
    urls = [f"{demo}/novelSearchApi?name={name}" for name in ("红楼梦", "西游记", "none")]
    run = crawl([*urls, "nonsense", f"{demo}/status/404"], processes=processes)
    records = list(run.records())
    assert [record.seq for record in records] == [0, 1, 2, 3, 4]
    assert [record.error for record in records] == [None, None, None, "invalid_url", "http"]
    frame = run.frame()
    assert list(frame["seq"]) == [0, 1, 2, 3, 4]
    assert frame["status"].dtype == "Int64"
    assert frame["status"].tolist()[:3] == [200, 200, 200]
    assert pd.api.types.is_datetime64_any_dtype(frame["started"])
    total = run.summary().loc["total"]
    assert (total["requests"], total["ok"], total["failed"]) == (5, 3, 2)


@PROCESSES
def test_stream_is_ordered_and_lazy(demo, processes) -> None:
    """Records of an endless input come one after the other, and closing ends the run."""
    urls = (f"{demo}/status/200?n={n}&delay=uniform:0ms,5ms" for n in itertools.count())
    stream = crawl.stream(urls, processes=processes, concurrency=8)
    records = list(itertools.islice(stream, 100))
    stream.close()  # type: ignore[attr-defined]
    assert all(isinstance(record, Record) for record in records)
    assert [record.seq for record in records] == list(range(100))


def test_an_empty_input_is_an_empty_run() -> None:
    """No URL, no record, and tables with their columns."""
    run = crawl([])
    assert list(run.records()) == []
    assert run.frame().empty
    assert "elapsed_ms" in run.frame().columns
    assert run.summary().loc["total", "requests"] == 0


def test_what_was_kept_is_read_back(demo, tmp_path) -> None:
    """The log of a run holds the records that the run gives; a second run has its own id."""
    log = tmp_path / "r.log"
    first = crawl([f"{demo}/status/200", f"{demo}/status/500"], out=log, retries=0)
    second = crawl([f"{demo}/status/200"], out=log)
    assert first.id != second.id
    assert sorted(read_log(log, run=first.id)) == sorted(first.records())
    assert len(list(read_log(log))) == 3
    again = crawl([f"{demo}/status/200", f"{demo}/status/500"], out=tmp_path / "s.log", retries=0)
    assert again.log is not None
    redone = crawl(
        [f"{demo}/status/200", f"{demo}/status/500"], out=again.log, take="retry_failed", retries=0
    )
    assert redone.id == again.id
    assert [record.status for record in redone.records()] == [200, 500]
    assert len(list(read_log(again.log))) == 3


def test_resume_refuses_another_list(demo, tmp_path) -> None:
    """A list that is not the run's own is told with the place where it differs."""
    log = tmp_path / "r.log"
    crawl([f"{demo}/status/200?a", f"{demo}/status/200?b"], out=log)
    with pytest.raises(LogError, match="target 2 of the list"):
        crawl([f"{demo}/status/200?a", f"{demo}/status/200?c"], out=log, take="resume")
    with pytest.raises(LogError, match="the list has 1 targets and run"):
        crawl([f"{demo}/status/200?a"], out=log, take="resume")


def test_resume_begins_what_has_not_begun(demo, tmp_path) -> None:
    """So that one command line can be repeated until it is done; failures need a run before."""
    log = tmp_path / "new.log"
    with pytest.raises(LogError, match="no run whose failures"):
        crawl([f"{demo}/status/200"], out=log, take="retry_failed")
    with pytest.warns(RuntimeWarning, match="holds no run yet"):
        run = crawl([f"{demo}/status/200"], out=log, take="resume")
    assert [record.status for record in run.records()] == [200]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_are_written_in_input_order(demo, tmp_path, suffix) -> None:
    """``.csv`` and ``.parquet`` hold the run's records, carried columns included."""
    targets = [
        Target(0, f"{demo}/status/200?n={n}&delay=uniform:0ms,9ms", fields={"name": f"书{n}"})
        for n in range(50)
    ]
    out = tmp_path / f"r.{suffix}"
    run = crawl(targets, out=out)
    table = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    assert list(table["seq"]) == list(range(50))
    assert list(table["name"]) == [f"书{n}" for n in range(50)]
    assert list(table["url"]) == [record.url for record in run.records()]


def test_a_session_is_what_requests_are_made_with(demo) -> None:
    """Headers, auth, cookies and params of a ``requests.Session`` reach the server, by libcurl."""
    session = requests.Session()
    session.headers["X-Team"] = "novels"
    session.auth = ("joe", "s3cret")
    session.params = {"page": "7"}
    run = crawl([f"{demo}/basic-auth/joe/s3cret"], session=session)
    (record,) = run.records()
    assert (record.status, record.error) == (200, None)
    assert "s3cret" not in str(record._replace(url="", final_url=""))


@responses.activate
def test_responses_mocks_work_in_this_process() -> None:
    """With the requests engine and no worker processes, mocked URLs are answered by the mock."""
    responses.get("http://api.test/novel/1", json={"title": "红楼梦"}, status=200)
    responses.get("http://api.test/novel/2", status=503)
    run = crawl(
        ["http://api.test/novel/1", "http://api.test/novel/2"],
        engine="requests", processes=0, retries=0,
    )  # fmt: skip
    assert [record.status for record in run.records()] == [200, 503]
    assert len(responses.calls) == 2


@pytest.mark.parametrize(
    ("urls", "options", "words"),
    [
        ("http://one.test/", {}, "not one string"),
        ([7], {}, "item 0 of urls"),
        ([], {"concurency": 3}, "did you mean concurrency"),
        ([], {"concurrency": 0}, "--concurrency is 0"),
        ([], {"engine": "wget"}, "curl"),
        ([], {"take": "resume"}, "need a record log"),
    ],
)
def test_what_cannot_be_used_is_told(urls, options, words) -> None:
    """Bad arguments are errors of ours that say what was got and what to do."""
    with pytest.raises(CrawlError, match=words):
        crawl(urls, **options)


def test_from_a_thread(demo) -> None:
    """A run in a thread gives the same as one in the main thread."""
    counts: list[object] = []

    def run() -> None:
        result = crawl([f"{demo}/status/200?n={n}" for n in range(40)], processes=2)
        counts.append(result.summary().loc["total", "ok"])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert counts == [40]


SCRIPT = """
from crawler import crawl
run = crawl([f"{demo}/status/200?n={{n}}" for n in range(20)], processes=2)
print(int(run.summary().loc["total", "ok"]))
"""


def test_a_plain_script_and_a_notebook_cell(demo, tmp_path) -> None:
    """No main guard is needed where workers are forked, and none in code without a file."""
    script = tmp_path / "plain.py"
    script.write_text(SCRIPT.format(demo=demo))
    for how in ([str(script)], ["-c", SCRIPT.format(demo=demo)]):
        done = subprocess.run(
            [sys.executable, *how], capture_output=True, text=True, cwd=ROOT, timeout=60
        )
        assert done.stdout.strip() == "20", done.stderr


def test_inside_a_running_event_loop(demo) -> None:
    """A notebook's cell runs inside an event loop; a run does not mind, in this process either."""
    import asyncio

    async def cell() -> object:
        return crawl([f"{demo}/status/200"], processes=0).summary().loc["total", "ok"]

    assert asyncio.run(cell()) == 1


def test_secrets_are_not_shown() -> None:
    """Neither settings nor records nor errors tell a password."""
    settings = Settings(user=("joe", "s3cret"), headers=(("X-Key", "s3cret"),), bearer=None)
    assert "s3cret" not in repr(settings)
    run = crawl(["http://joe:s3cret@127.0.0.1:1/", "htp://joe:s3cret@x/"], retries=0)
    for record in run.records():
        assert "s3cret" not in str(record)


def test_settings_name_what_is_wrong() -> None:
    """Each refused value names its option."""
    with pytest.raises(UsageError, match="--resolve"):
        Settings(resolve=("nonsense",))
    with pytest.raises(UsageError, match="--key needs --cert"):
        Settings(key="k.pem")
    with pytest.raises(UsageError, match="--header X-A"):
        Settings(headers=(("X-A", "a\r\nB: c"),))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"headers": {"TE": 7}}, "headers: give pairs"),
        ({"headers": ("TE",)}, "headers: give pairs"),
        ({"user": "joe:x"}, "user: give pairs"),
        ({"concurrency": "4"}, "--concurrency is 4"),
        ({"concurrency": 4.5}, "--concurrency is 4.5"),
        ({"timeout_s": "3"}, "--timeout is 3"),
        ({"take": "resme"}, "take is 'resme'"),
        ({"out": "-"}, "give a path"),
        ({"session": {"a": 1}}, "requests.Session"),
    ],
)
def test_arguments_of_another_type_are_told(options, words) -> None:
    """What is of a wrong type is named, not met by a foreign exception further in."""
    with pytest.raises(UsageError, match=words):
        crawl(["http://127.0.0.1:1/"], **options)


def test_headers_may_be_a_mapping(demo) -> None:
    """As ``requests`` takes them."""
    assert Settings(headers={"X-A": "b"}).headers == (("X-A", "b"),)  # type: ignore[arg-type]
    (record,) = crawl([f"{demo}/headers"], headers={"X-A": "b"}).records()
    assert record.status == 200


@pytest.mark.parametrize("engine", ["curl", "requests"])
def test_phases_of_a_new_connection_fill_the_time(demo, engine) -> None:
    """On a new connection what the server took is in ``wait_ms``, and nothing is left out."""
    urls = [f"{demo}/status/200?n={n}&delay=30ms" for n in range(20)]
    run = crawl(urls, engine=engine, keepalive=False, concurrency=2, processes=0)
    for record in run.records():
        phases = record.dns_ms + record.connect_ms + record.tls_ms + record.wait_ms
        assert record.wait_ms >= 15
        assert phases + record.receive_ms == pytest.approx(record.elapsed_ms, rel=0.3)


def test_names_of_the_package_are_no_modules() -> None:
    """Whatever of it was imported before: ``from crawler import benchmark`` gives the function."""
    import pkgutil

    import crawler as package

    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert modules.isdisjoint(package.__all__)
