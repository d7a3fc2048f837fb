"""The summary as people and as programs read it."""

from __future__ import annotations

import csv
import io
import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.record import Record
from crawler.report.columns import columns, plain, shorten
from crawler.report.machine import to_csv, to_json
from crawler.report.text import FOOTNOTE, MAX_GROUPS, WARNING, render
from crawler.samples import GroupNames, RunClock, Samples
from crawler.summary import Results, Summary

CLOCK = RunClock(wall_s=2.0, cpu_s=1.0, cores=2)


def record(url: str = "http://api.test/a", ms: float = 1.0, **changes: object) -> Record:
    base = Record(
        run="r",
        seq=0,
        url=url,
        method="GET",
        status=200,
        error=None,
        detail=None,
        started="2025-11-23T06:00:00.000001Z",
        elapsed_ms=ms,
        dns_ms=0.0,
        connect_ms=0.0,
        tls_ms=0.0,
        wait_ms=ms / 2,
        receive_ms=0.0,
        lag_ms=0.2,
        bytes=1234,
        attempts=1,
        final_url=None,
        http_version="1.1",
        remote="127.0.0.1:80",
        reused=True,
    )
    return base._replace(**changes)  # type: ignore[arg-type]


def failure(url: str = "http://api.test/a", detail: str = "no reply within 2 s") -> Record:
    return record(url, 2000.0, status=None, error="timeout", detail=detail, bytes=0)


def results_of(
    records: list[Record], group_by: str = "endpoint", clock: RunClock = CLOCK
) -> Results:
    summary, samples = Summary(group_by), Samples(group_by, GroupNames())
    for each in records:
        samples.add(each)
    summary.add(samples)
    return summary.finish(clock)


def widths(text: str) -> list[int]:
    """Terminal columns of each line, counted apart from the code under test."""
    return [
        sum(
            0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
            for c in line
        )
        for line in text.splitlines()
    ]


def table(text: str, heading: str) -> list[str]:
    """The lines of the block whose first line begins with ``heading``."""
    for block in text.split("\n\n"):
        if block.startswith(heading):
            return block.splitlines()
    raise AssertionError(f"no block {heading!r} in:\n{text}")


def test_the_whole_summary() -> None:
    """A run's summary says counts, latencies, connections, errors and health, in this form."""
    records = [record(ms=1 + i / 100) for i in range(100)]
    records += [record("http://api.test/三体", 2.5, reused=False, connect_ms=0.11)]
    records += [failure("http://api.test/slow?name=a")]
    assert render(results_of(records)) == (
        "102 requests in 2.00 s, 51.0/s: 101 ok, 1 failed, 125 kB\n"
        "\n"
        "http://api.test  requests   ok  failed  req/s    bytes\n"
        "  /a                  100  100       0   50.0   123 kB\n"
        "  /slow                 1    0       1   0.50      0 B\n"
        "  /三体                 1    1       0   0.50  1.23 kB\n"
        "  total               102  101       1   51.0   125 kB\n"
        "\n"
        "latency (ok), ms   min  mean    p50    p90    p95    p99  p99.9   max\n"
        "  /a              1.00  1.50   1.49   1.89   1.94  ~1.98  ~1.99  1.99\n"
        "  /slow              -     -      -      -      -      -      -     -\n"
        "  /三体           2.50  2.50  ~2.50  ~2.50  ~2.50  ~2.50  ~2.50  2.50\n"
        "  total           1.00  1.50   1.50   1.90   1.95  ~1.99  ~2.50  2.50\n"
        "~ too few successes for this percentile: read it as a hint\n"
        "\n"
        "1 new connection, ms  mean   p50   p95\n"
        "  connect             0.11  0.11  0.11\n"
        "  wait                1.25  1.25  1.25\n"
        "\n"
        "errors, each with its first example\n"
        "  timeout  1  http://api.test/slow?name=a\n"
        "              no reply within 2 s\n"
        "\n"
        "status: 200 × 101\n"
        "our own health: lag p99 0.2 ms, max 0.2 ms; CPU 25 % of 2 cores\n"
    )


@pytest.mark.parametrize(
    ("ms", "unit", "cell"),
    [(0.25, "µs", "250"), (1.25, "ms", "1.25"), (42.0, "ms", "42.0"), (4200.0, "s", "4.200")],
)
def test_one_unit_is_chosen_by_the_median(ms: float, unit: str, cell: str) -> None:
    """All durations are in the unit in which the median reads best."""
    lines = table(render(results_of([record(ms=ms)] * 20)), "latency")
    assert lines[0].split()[:3] == ["latency", "(ok),", unit]
    assert lines[-2].split()[1] == cell


def test_a_long_tail_coarsens_the_scale_before_names_are_lost() -> None:
    """Where microseconds to an hour would leave no room for names, a coarser unit is taken."""
    url = "http://api.test/a/path/long/enough"
    text = render(results_of([record(url, 0.1)] * 90 + [record(url, 3_600_000.0)] * 10))
    assert "/a/path" in table(text, "latency")[1]
    assert max(widths(text)) <= 80


def test_only_unsupported_percentiles_are_marked() -> None:
    """The mark and its footnote appear where a sample is too small, and only there."""
    assert FOOTNOTE in render(results_of([record()] * 4999))
    text = render(results_of([record()] * 5000))
    assert "~" not in text


def test_groups_beyond_twenty_are_counted_in_a_line() -> None:
    """At most 20 groups are printed, then how many more there are, and always the total."""
    text = render(results_of([record(f"http://api.test/{i:04}") for i in range(1010)]))
    lines = table(text, "http://api.test")
    assert [line.split()[0] for line in lines[-3:]] == ["…", "(other)", "total"]
    assert lines[-3].strip() == "… and 980 more"
    assert len(lines) == 1 + MAX_GROUPS + 3
    twenty = render(results_of([record(f"http://api.test/{i}") for i in range(MAX_GROUPS)]))
    assert "more" not in twenty


def test_a_host_shared_by_all_is_said_once() -> None:
    """The heading says scheme and host where all endpoints share them; else each row does."""
    assert table(render(results_of([record(), record("http://api.test/b")])), "http://api.test")
    text = render(results_of([record(), record("http://b.test/b")]))
    assert table(text, "endpoint")[1].startswith("  http://api.test/a ")
    assert table(render(results_of([record()], "status")), "status ")[1].startswith("  200 ")


def test_saturation_is_warned_of() -> None:
    """A client that used more than 90 % of its cores says that its figures are in doubt."""
    busy = render(results_of([record()], clock=RunClock(1.0, 1.9, 2)))
    assert busy.endswith(f"CPU 95 % of 2 cores\n{WARNING}\n")
    assert "warning" not in render(results_of([record()]))


def test_a_run_of_nothing_prints() -> None:
    """No requests, or none that succeeded, print without a table of latencies."""
    assert "0 requests" in render(results_of([], clock=RunClock(0.0, 0.0, 2)))
    text = render(results_of([failure()]))
    assert "latency" not in text
    assert "timeout  1" in text


def test_a_reply_cannot_drive_the_terminal() -> None:
    """Control characters from a URL, a column or a server are printed as escapes."""
    evil = "\x1b[2J\x07\u202e\ud800\r"
    text = render(results_of([failure("http://api.test/" + evil, evil)], "url"))
    assert "\x1b[2J\\x07\\u202e".encode("unicode_escape").decode() not in text
    assert "\\x1b[2J\\x07\\u202e" in text
    assert all(c.isprintable() or c == "\n" for c in text)
    text.encode()


names = st.text(st.characters(exclude_characters="?#"), max_size=120)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(names, st.floats(0, 1e7), st.booleans()), max_size=30),
    st.integers(60, 120),
    st.sampled_from(("endpoint", "url", "path", "host", "name")),
)
def test_no_line_is_wider_than_asked(
    rows: list[tuple[str, float, bool]], width: int, group_by: str
) -> None:
    """Whatever names, times and details a run has, each line fits, and figures stay aligned."""
    records = [
        record("http://h.test/" + name, ms, fields={"name": name})
        if ok
        else failure("http://h.test/" + name, detail=name)
        for name, ms, ok in rows
    ]
    text = render(results_of(records, group_by), width=width)
    assert max(widths(text)) <= width
    counts = text.split("\n\n")[1].splitlines()
    aligned = {
        w for w, line in zip(widths("\n".join(counts)), counts, strict=True) if "… and" not in line
    }
    assert len(aligned) == 1


@given(st.text(max_size=60), st.integers(4, 40))
def test_names_are_shortened_in_the_middle(text: str, room: int) -> None:
    """A shortened name fits, and keeps its beginning and its end."""
    text = plain(text)
    short = shorten(text, room)
    assert columns(short) <= room
    if short != text:
        left, _, right = short.partition("…") if "…" not in text else (short[:1], "", short[-1:])
        assert text.startswith(left)
        assert text.endswith(right)


def test_json_is_one_document_with_units_in_its_keys() -> None:
    """Programs get every figure, null where there is none, and the unsupported by name."""
    records = [record(ms=2.0)] * 100 + [failure("http://api.test/三体")]
    document = json.loads(to_json(results_of(records)), parse_constant=pytest.fail)
    assert document["group_by"] == "endpoint"
    assert document["wall_s"] == 2.0
    assert document["total"]["requests"] == 101
    assert document["total"]["rate_per_s"] == 50.5
    assert document["total"]["unsupported"] == ["p99_ms", "p999_ms"]
    first, second = document["groups"]
    assert (first["name"], first["p50_ms"]) == ("http://api.test/a", 2.0)
    assert (second["name"], second["p50_ms"]) == ("http://api.test/三体", None)
    assert [phase["phase"] for phase in document["phases"]] == [
        "dns",
        "connect",
        "tls",
        "wait",
        "receive",
    ]
    assert document["phases"][0]["mean_ms"] is None
    assert document["errors"][0]["error"] == "timeout"
    assert document["errors"][0]["example_detail"] == "no reply within 2 s"
    assert document["statuses"] == {"200": 100}
    assert document["health"]["cpu_share"] == 0.25
    assert document["health"]["saturated"] is False


def test_csv_is_the_table_with_its_flags() -> None:
    """A row a group and the total, read back by any CSV reader, empty where there is no figure."""
    records = [record('http://api.test/a,"b"', 2.0)] * 100 + [failure()]
    rows = list(csv.DictReader(io.StringIO(to_csv(results_of(records)))))
    assert [row["endpoint"] for row in rows] == [
        'http://api.test/a,"b"',
        "http://api.test/a",
        "total",
    ]
    assert (rows[0]["requests"], rows[0]["p50_ms"]) == ("100", "2.0")
    assert rows[0]["unsupported"] == "p99_ms p999_ms"
    assert (rows[1]["failed"], rows[1]["p50_ms"]) == ("1", "")
