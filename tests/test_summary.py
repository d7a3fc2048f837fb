"""From samples to tables: what is counted, how it is ordered, and what it costs."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from math import isnan

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.frames import records_frame
from crawler.record import RECORD_FIELDS, Record
from crawler.samples import OTHER, GroupNames, RunClock, Samples
from crawler.summary import (
    LATENCIES,
    PERCENTILES,
    TOTAL,
    Results,
    Summary,
)

CLOCK = RunClock(wall_s=2.0, cpu_s=1.0, cores=2)


def record(path: str = "/a", ms: float = 1.0, **changes: object) -> Record:
    base = Record(
        run="r",
        seq=0,
        url=f"http://api.test{path}",
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
        lag_ms=0.1,
        bytes=10,
        attempts=1,
        final_url=None,
        http_version="1.1",
        remote="127.0.0.1:80",
        reused=True,
    )
    return base._replace(**changes)  # type: ignore[arg-type]


def failure(path: str = "/a", error: str = "timeout", **changes: object) -> Record:
    return record(path, 2000.0, status=None, error=error, detail="no reply", bytes=0, **changes)


def samples_of(records: list[Record], group_by: str = "endpoint") -> Samples:
    samples = Samples(group_by, GroupNames())
    for each in records:
        samples.add(each)
    return samples


def results_of(records: list[Record], group_by: str = "endpoint", batch: int = 128) -> Results:
    """The results of records that crossed a pipe in batches."""
    summary = Summary(group_by)
    for start in range(0, len(records), batch):
        samples = samples_of(records[start : start + batch], group_by)
        summary.add(pickle.loads(pickle.dumps(samples)))
    return summary.finish(CLOCK)


def test_rows_are_groups_by_requests_and_a_total() -> None:
    """Groups come most requests first, and the last row is the total of all."""
    frame = results_of([record("/few")] + [record("/many")] * 3 + [failure("/few/b")] * 2).frame
    assert list(frame.index) == [
        "http://api.test/many",
        "http://api.test/few/b",
        "http://api.test/few",
        TOTAL,
    ]
    assert frame.index.name == "endpoint"
    assert list(frame["requests"]) == [3, 2, 1, 6]
    assert list(frame["ok"]) == [3, 0, 1, 4]
    assert list(frame["failed"]) == [0, 2, 0, 2]
    assert list(frame["bytes"]) == [30, 0, 10, 40]
    assert list(frame["rate_per_s"]) == [1.5, 1.0, 0.5, 3.0]


def test_latencies_are_of_successes() -> None:
    """A failure changes no latency; a group of failures has none."""
    frame = results_of([record(ms=float(i)) for i in range(1, 101)] + [failure(), failure("/b")])
    total = frame.frame.loc[TOTAL]
    assert (total.min_ms, total.mean_ms, total.max_ms) == (1.0, 50.5, 100.0)
    assert total.p50_ms == pytest.approx(50, rel=0.001)
    assert total.p99_ms == pytest.approx(99, rel=0.001)
    assert frame.frame.loc["http://api.test/b", list(LATENCIES)].isna().all()


def test_unsupported_percentiles_are_flagged() -> None:
    """100 successes support p50 to p95, and not p99 nor p99.9."""
    results = results_of([record()] * 100 + [failure("/b")] * 1000)
    flags = results.unsupported
    assert list(flags.index) == list(results.frame.index)
    assert list(flags.columns) == list(PERCENTILES)
    assert list(flags.loc[TOTAL]) == [False, False, False, True, True]
    assert flags.loc["http://api.test/b"].all()


def test_errors_are_ranked_with_their_first_example() -> None:
    """Each class has its count and the first of its kind, the most frequent class first."""
    records = [failure("/1", "dns"), failure("/2"), failure("/3"), failure("/4")]
    errors = results_of(records, batch=2).errors
    assert list(errors.index) == ["timeout", "dns"]
    assert list(errors["count"]) == [3, 1]
    assert list(errors["example_url"]) == ["http://api.test/2", "http://api.test/1"]
    assert errors.loc["timeout", "mean_ms"] == 2000.0


def test_phases_are_averaged_over_new_connections() -> None:
    """Each phase has the mean and percentiles of the requests that opened a connection."""
    fresh = [record(reused=False, dns_ms=float(i), tls_ms=5.0) for i in range(1, 4)]
    phases = results_of([*fresh, record()]).phases
    assert list(phases["connections"]) == [3] * 5
    assert (phases.loc["dns", "mean_ms"], phases.loc["tls", "p95_ms"]) == (2.0, 5.0)
    assert phases.loc["wait", "mean_ms"] == 0.5


def test_health_tells_lag_and_cpu() -> None:
    """Health is our own lateness and our share of the cores; above 90 % we are saturated."""
    summary = Summary("endpoint")
    summary.add(samples_of([record(lag_ms=0.0), record(lag_ms=4.0)]))
    health = summary.finish(CLOCK).health
    assert (health.lag_p50_ms, health.lag_max_ms, health.cpu_share) == (0.0, 4.0, 0.25)
    assert not health.saturated
    assert summary.finish(RunClock(wall_s=1.0, cpu_s=1.9, cores=2)).health.saturated


def test_a_run_of_nothing_has_a_total() -> None:
    """No records give the same tables with no groups, zeros and NaN."""
    some, none = results_of([record(), failure()]), results_of([])
    for name in ("frame", "unsupported", "phases", "errors"):
        a, b = getattr(some, name), getattr(none, name)
        assert list(a.dtypes.items()) == list(b.dtypes.items()), name
        assert a.index.dtype == b.index.dtype
    assert list(none.frame.index) == [TOTAL]
    assert none.frame["p50_ms"].isna().all()
    assert isnan(Summary("endpoint").finish(RunClock(0.0, 0.0, 2)).health.cpu_share)


def test_live_counts_as_the_end_does() -> None:
    """The live figures are those of the table, at any moment of the run."""
    summary = Summary("endpoint")
    assert (summary.live().count, isnan(summary.live().p50_ms)) == (0, True)
    summary.add(samples_of([record(ms=2.0), record(ms=2.0), failure()]))
    live = summary.live()
    assert (live.count, live.ok, live.failed, live.p50_ms) == (3, 2, 1, 2.0)
    assert live.p95_ms == summary.finish(CLOCK).frame.loc[TOTAL, "p95_ms"]


def test_groups_of_all_workers_are_limited() -> None:
    """Workers that saw different names fill one list of groups; the rest is ``(other)``, last."""
    summary = Summary("url", limit=10)
    for i in range(100):
        summary.add(samples_of([record(f"/{i}")], "url"))
    frame = summary.finish(CLOCK).frame
    assert len(frame) == 12
    assert list(frame.index[-2:]) == [OTHER, TOTAL]
    assert frame.loc[OTHER, "requests"] == 90


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 20))
def test_batches_change_nothing(kinds: list[int], batch: int) -> None:
    """How records were cut into batches does not show in the tables."""
    records = [failure(f"/{k}") if k == 3 else record(f"/{k}", ms=k + 0.5) for k in kinds]
    cut, whole = results_of(records, batch=batch), results_of(records, batch=1000)
    for name in ("frame", "unsupported", "phases", "errors"):
        pd.testing.assert_frame_equal(getattr(cut, name), getattr(whole, name))
    assert cut.statuses == whole.statuses


def test_adding_is_cheap_for_the_parent() -> None:
    """A batch of 128 costs the parent far less than 128 batches of one."""
    one, many = samples_of([record()]), samples_of([record(ms=i + 1.0) for i in range(128)])

    def seconds(samples: Samples, times: int) -> float:
        summary = Summary("endpoint")
        start = time.perf_counter()
        for _ in range(times):
            summary.add(samples)
        return time.perf_counter() - start

    batched = min(seconds(many, 200) for _ in range(3))
    single = min(seconds(one, 200 * 128) for _ in range(3))
    assert batched < single / 2


def test_only_a_frame_imports_pandas() -> None:
    """Gathering, finishing and printing do not: pandas' half a second would be a run's."""
    code = (
        "import sys, crawler.summary as s, crawler.report.text as t, crawler.report.machine as m\n"
        "from crawler.samples import RunClock\n"
        "results = s.Summary('endpoint').finish(RunClock(1.0, 0.1, 2, 0.1))\n"
        "t.render(results), m.to_json(results), m.to_csv(results)\n"
        "print('pandas' in sys.modules); results.frame; print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_records_are_framed_in_input_order() -> None:
    """Rows come by seq, whatever the order they finished in, with a type for each column."""
    rows = [
        record("/2", seq=2, fields={"name": "三体", "status": "mine"}),
        failure("/0", seq=0, fields={"page": "7"}),
        record("/1", seq=1),
    ]
    frame = records_frame(iter(rows))
    assert list(frame["seq"]) == [0, 1, 2]
    assert list(frame.columns) == [*RECORD_FIELDS, "page", "name"]
    assert frame["status"].tolist() == [pd.NA, 200, 200]
    assert frame["error"].isna().tolist() == [False, True, True]
    assert frame["started"][0] == pd.Timestamp("2025-11-23 06:00:00.000001", tz="UTC")
    assert frame["name"].tolist() == [pd.NA, pd.NA, "三体"]
    assert str(frame["started"].dtype) == "datetime64[us, UTC]"
    dtypes = [str(frame[name].dtype) for name in ("elapsed_ms", "bytes", "reused")]
    assert dtypes == ["float64", "int64", "bool"]


def test_no_records_frame_alike() -> None:
    """An empty run has the same columns and types."""
    pd.testing.assert_series_equal(records_frame([]).dtypes, records_frame([record()]).dtypes)


def test_text_that_cannot_be_encoded_is_escaped() -> None:
    """A lone surrogate in a URL is escaped in tables, as in the log."""
    bad = failure("/\ud800", "invalid_url", fields={"name": "\udcff"})
    frame = records_frame([bad])
    assert (frame["url"][0], frame["name"][0]) == ("http://api.test/\\ud800", "\\udcff")
    assert results_of([bad]).errors["example_url"].tolist() == ["http://api.test/\\ud800"]
    assert "\\ud800" in results_of([bad], "url").frame.index[0]
