"""`crawl compare` as users run it: two logs, words, files, exit codes."""

from __future__ import annotations

import json
import subprocess
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from crawler.cli.compare_options import percent
from crawler.compared import Plan
from crawler.comparison import compare
from crawler.errors import UsageError
from crawler.report.comparison_machine import document
from crawler.report.comparison_text import FOOTNOTE, MOST_ROWS, render
from crawler.run_notes import RunNote, write_note
from crawler.timeline import Timeline
from crawler.url_changes import UrlOutcomes
from tests.comparison_cases import block, drawn, figures_of, write_log
from tests.conftest import crawl

A, B, C = "http://api.test/a", "http://api.test/b", "http://api.test/c"


def steady(count: int, seed: int = 1, factor: float = 1.0) -> np.ndarray:
    return factor * drawn("lognormal", count, np.random.default_rng(seed))


@pytest.fixture
def logs(tmp_path: Path) -> tuple[Path, Path]:
    """An old log, and a new one in which /a is 30 % slower and /b as it was."""
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    write_log(old, "20261122T1", {A: steady(900), B: steady(900, 2)})
    write_log(new, "20261123T1", {A: steady(900, 3, 1.3), B: steady(900, 4)})
    return old, new


def compared(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return crawl("compare", *arguments, cwd=cwd)


def row(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"  {name} "))


def test_a_slower_endpoint_breaks(logs: tuple[Path, Path]) -> None:
    """A slowdown beyond the threshold is named, with what was measured, and ends with 3."""
    done = compared(*logs)
    assert (done.returncode, done.stderr) == (3, "")
    assert row(done.stdout, "/a").endswith("slower !")
    assert row(done.stdout, "/b").endswith("no difference shown")
    (broken,) = [line for line in done.stdout.splitlines() if line.startswith("broken: http")]
    assert broken.startswith(f"broken: {A}: p95 slower by ")
    assert "old  old.log  20261122T1  1,800 requests, 0 failed" in done.stdout
    assert "of   http://api.test" in done.stdout


def test_a_higher_threshold_or_a_faster_log_does_not_break(logs: tuple[Path, Path]) -> None:
    """The threshold is the user's, and what got faster breaks nothing."""
    old, new = logs
    assert compared(old, new, "--threshold", "60%").returncode == 0
    faster = compared(new, old)
    assert faster.returncode == 0
    assert row(faster.stdout, "/a").endswith("faster")
    assert "nothing broken: no p95 is slower by more than 5 %" in faster.stdout


def test_json_holds_what_the_text_says(logs: tuple[Path, Path], tmp_path: Path) -> None:
    """One document: verdicts, bounds in order, p-values, what breaks; - prints it alone."""
    file = tmp_path / "c.json"
    assert compared(*logs, "--json", file).returncode == 3
    told = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert told["broken"][0] == A
    first = told["endpoints"][0]
    assert (first["name"], first["verdict"], first["beyond_threshold"]) == (A, "slower", True)
    change = first["changes"]["p95"]
    assert 0.05 < change["relative_low"] < change["relative"] < change["relative_high"]
    assert change["difference_low_ms"] < change["difference_ms"] < change["difference_high_ms"]
    assert first["ranks"]["effect"] == "medium"
    assert first["p_values"]["ranks"] < 1e-6
    assert told["urls"]["shared"] == 2
    printed = compared(*logs, "--json", "-")
    assert json.loads(printed.stdout) == told
    assert printed.stderr.startswith(f"crawl: broken: {A}: p95 slower")


def test_a_page_is_written(logs: tuple[Path, Path], tmp_path: Path) -> None:
    """--html writes a page beside the text."""
    page = tmp_path / "c.html"
    done = compared(*logs, "--html", page)
    assert done.returncode == 3
    assert "verdict" in done.stdout
    assert page.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")


def test_the_last_runs_are_compared_and_any_can_be_named(tmp_path: Path) -> None:
    """One log holds many runs: the last is meant, of one and the same log the last two."""
    log = tmp_path / "r.log"
    days = [(f"2026112{i}T1", f"2026-11-2{i}T00:00:00.000000Z", f) for i, f in enumerate((3, 1, 2))]
    for run, started, factor in days:
        write_log(log, run, {A: steady(400, 1, factor)}, started=started)
    both = compared(log, log)
    assert both.returncode == 3
    assert "old  r.log  20261121T1  400 requests" in both.stdout
    assert "new  r.log  20261122T1  400 requests" in both.stdout
    first = compared(log, log, "--old-run", "20261120")
    assert first.returncode == 0
    assert row(first.stdout, "/a").endswith("faster")
    together = compared(log, log, "--old-run", "all", "--new-run", "previous")
    assert "old  r.log  3 runs      1,200 requests" in together.stdout


def one_each(urls: list[str]) -> dict[str, list[float]]:
    return {url: [1.0] for url in urls}


def test_what_only_one_log_has_and_flips_are_listed(tmp_path: Path) -> None:
    """Endpoints and URLs of one log only, flipped statuses, and other lists are said."""
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    urls = [f"{C}?page={i}" for i in range(8)]
    write_log(old, "r1", {A: steady(50), B: steady(20), **one_each(urls)})
    write_log(new, "r2", {A: steady(50), **one_each(urls[:4])})
    write_log(new, "r2", one_each(urls[4:7]), status=404, error="http")
    text = compared(old, new, "--metric", "p50").stdout
    assert f"only in old: 1 endpoint, not compared\n  {B}  20 requests\n" in text
    assert f"URLs only in old: 2\n  {B}\n  {urls[7]}\n" in text
    flips = f"  200 → 404: 3 URLs\n    {urls[4]}\n    {urls[5]}\n    {urls[6]}\n"
    assert "URLs whose status flipped" in text
    assert flips in text
    assert "note: the logs are of different lists: 80 % of their URLs are in both" in text


def test_another_mix_of_endpoints_is_said(tmp_path: Path) -> None:
    """Where requests went to other endpoints, the total is not to be gone by."""
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    write_log(old, "r1", {A: steady(300), B: steady(100)})
    write_log(new, "r2", {A: steady(100), B: steady(300)})
    words = " ".join(compared(old, new).stdout.split())
    assert "note: 50 % of the requests went to other endpoints than before" in words


def test_a_latency_that_wavers_is_said(tmp_path: Path) -> None:
    """A server whose seconds differ more than chance has it widens what one should doubt."""
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    for second in range(8):
        started = f"2026-01-02T03:04:0{second}.000006Z"
        write_log(old, "r1", {A: steady(150, second)}, started=started)
        write_log(new, "r2", {A: steady(150, second, 1 + second % 2)}, started=started)
    words = " ".join(compared(old, new).stdout.split())
    assert "note: new: its latency wavered" in words
    assert "note: old" not in words


def note(run: str, **changes: object) -> RunNote:
    base = {"wall_s": 10.0, "cpu_s": 2.0, "cores": 2, "concurrency": 10}
    return RunNote(run=run, command="bench", version="1", **{**base, **changes})  # type: ignore[arg-type]


def test_other_loads_and_a_saturated_client_are_said(logs: tuple[Path, Path]) -> None:
    """What the figures cannot tell stands in notes: the load asked for, and our own health."""
    old, new = logs
    write_note(old, note("20261122T1", schedule="500/s", rate_per_s=500.0))
    write_note(new, note("20261123T1", cpu_s=19.0, concurrency=20))
    words = " ".join(compared(old, new).stdout.split())
    assert "note: new: client saturated: 95 % CPU" in words
    assert "old is an open loop (by a schedule), new a closed loop" in words
    assert "service times are compared" in words
    assert "other loads: old had 10 connections at 500/s, new 20 connections" in words


def test_open_loops_are_compared_by_response_time(tmp_path: Path) -> None:
    """Where both logs are of a schedule, the time from when each was due is what is compared."""
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    write_log(old, "r1", {A: [5.0] * 200})
    write_log(new, "r2", {A: [5.0] * 200}, lag_ms=50.0)
    for log, run in ((old, "r1"), (new, "r2")):
        write_note(log, note(run, schedule="20/s"))
    assert compared(old, new).returncode == 3
    assert compared(old, new, "--latency", "service").returncode == 0


def test_endpoints_of_two_hosts_are_compared_by_path(tmp_path: Path) -> None:
    """No endpoint in both logs is said, with the way to compare them all the same."""
    old, new = tmp_path / "old.log", tmp_path / "new.log"
    write_log(old, "r1", {A: steady(200)})
    write_log(new, "r2", {A.replace("api", "staging"): steady(200)})
    assert "no endpoint is in both logs; --group-by path" in compared(old, new).stdout
    assert row(compared(old, new, "--group-by", "path").stdout, "/a")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("old.log", "none.log"), "none.log: no such file"),
        (("old.log", "."), "is a directory; give a log"),
        (("old.log", "empty.log"), "empty.log"),
        (("old.log", "text.log"), "is this a record log?"),
        (("old.log", "old.log"), "there is one run in it, 20261122T1"),
        (("old.log", "new.log", "--threshold", "5"), "'5' is no percentage; give it as 5% or 0.5%"),
        (("old.log", "new.log", "--threshold=-5%"), "--threshold: '-5%' is no percentage"),
        (("old.log", "new.log", "--error-threshold", "200%"), "--error-threshold"),
        (("old.log", "new.log", "--metric", "p42"), "p42"),
        (("old.log", "new.log", "--old-run", "1999"), "1999"),
        (("old.log", "new.log", "--json", "no/such/dir.json"), "--json no/such/dir.json"),
        (("-", "-"), "both standard input"),
        (("old.log",), "NEW"),
    ],
)
def test_bad_input_is_an_error(
    logs: tuple[Path, Path], arguments: tuple[str, ...], said: str
) -> None:
    """What cannot be compared ends with 2 and a line that says why and what to do."""
    folder = logs[0].parent
    (folder / "empty.log").touch()
    (folder / "text.log").write_text("hello\nworld\n")
    done = compared(*arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    *_, last = done.stderr.splitlines()
    assert last.startswith("crawl: error: ")
    assert said in last


def test_lines_that_are_no_records_are_left_out_and_told(logs: tuple[Path, Path]) -> None:
    """A torn or foreign line costs itself only."""
    with logs[1].open("ab") as file:
        file.write(b"hello\n{torn")
    done = compared(*logs)
    assert done.returncode == 3
    assert "no record" in done.stderr
    assert "torn" in done.stderr


@pytest.mark.parametrize(("text", "share"), [("5%", 0.05), ("0.5 %", 0.005), (" 150% ", 1.5)])
def test_percentages_are_read(text: str, share: float) -> None:
    """A threshold is a percentage, with or without a blank."""
    assert percent(text, "--threshold") == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "5", "-1%", "1e3%", "5%%", "١%", "nan%"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(UsageError, match="give it as 5%"):
        percent(text, "--threshold")


# The text.


def widths(text: str) -> list[int]:
    """Terminal columns of each line, counted apart from the code under test."""
    return [
        sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)
        for line in text.split("\n")
    ]


def test_the_whole_text() -> None:
    """A comparison reads so: sides, a row an endpoint, all percentiles, the effect, the end."""
    times = np.linspace(10, 20, 400)
    old = figures_of({"http://h.test/三体": times, "http://h.test/b": [1.0] * 9})
    new = figures_of({"http://h.test/三体": times * 1.3, "http://h.test/b": [1.0] * 9}, failed=5)
    assert render(compare(old, new, Plan())) == (
        "old  old  409 requests, 0 failed\n"
        "new  new  419 requests, 10 failed\n"
        "of   http://h.test\n"
        "\n"
        "endpoint, ms  old p95  new p95   change         95 % CI  verdict\n"
        "  /三体          19.5     25.4  +30.2 %  +27.9 to +32.2  slower !\n"
        "  /b             ~1.0     ~1.0  ~+0.0 %                  too few samples\n"
        "  total          19.5     25.4  +30.2 %  +27.9 to +32.2  slower !\n"
        "~ too few successes for this percentile: read it as a hint\n"
        "! slower by more than 5 %, with confidence\n"
        "\n"
        "all, service time, ms     old     new    change         95 % CI\n"
        "  p50                    14.9    19.4   +30.1 %  +24.0 to +36.4\n"
        "  p90                    19.0    24.7   +30.1 %  +27.0 to +33.1\n"
        "  p95                    19.5    25.4   +30.2 %  +27.9 to +32.2\n"
        "  p99                   ~19.9   ~25.9  ~+30.0 %\n"
        "  errors               0.00 %  2.39 %  +2.39 pp  +0.96 to +4.34\n"
        "chance that a new request is slower than an old one: 79.7 % (76.8 to 82.7)\n"
        "effect: large; Mann-Whitney p < 0.0001, corrected for all tests\n"
        "\n"
        "share of errors     old     new    change         95 % CI  verdict\n"
        "  total          0.00 %  2.39 %  +2.39 pp  +0.96 to +4.34  more errors !\n"
        "\n"
        "broken: http://h.test/三体: p95 slower by 30.2 % (19.5 ms → 25.4 ms; 95 % CI\n"
        "  +27.9 to +32.2), allowed 5 %\n"
        "broken: all requests: p95 slower by 30.2 % (19.5 ms → 25.4 ms; 95 % CI +27.9 to\n"
        "  +32.2), allowed 5 %\n"
        "broken: all requests: errors 0.00 % → 2.39 % (+2.39 points; 95 % CI +0.96 to\n"
        "  +4.34), allowed +0.5 points\n"
    )


def test_many_endpoints_fit_and_are_counted() -> None:
    """Whatever the names, no line is wider than asked; beyond 20 rows the rest is counted."""
    names = [f"http://h.test/{'long' * (i % 7)}/三体/\x1b[2J/{i}" for i in range(30)]
    old = figures_of({name: steady(120, i) for i, name in enumerate(names)})
    new = figures_of({name: steady(120, i, 3) for i, name in enumerate(names)}, failed=60)
    for width in (60, 80, 120):
        text = render(compare(old, new, Plan()), width=width)
        assert max(widths(text)) <= width
        assert all(char.isprintable() or char == "\n" for char in text)
    assert f"… and {len(names) - MOST_ROWS} more, 10 of them broken" in text


def test_unsupported_percentiles_are_marked() -> None:
    """A percentile of too few successes bears a mark, has no bounds, and a footnote."""
    few = figures_of({A: steady(30)})
    text = render(compare(few, few, Plan()))
    assert row(text, "p99").split()[1].startswith("~")
    assert " to " not in row(text, "p99")
    assert FOOTNOTE in text
    assert "too few samples" in text
    assert "~" not in render(
        compare(figures_of({A: steady(900)}), figures_of({A: steady(900)}), Plan())
    )


def test_opposite_ways_are_told_in_a_line() -> None:
    """A p95 that got slower while most requests got faster has a line that says so."""
    new = steady(3000, 2, 0.8)
    new[new > np.quantile(new, 0.9)] *= 3
    text = render(compare(figures_of({A: steady(3000)}), figures_of({A: new}), Plan()))
    assert f"mixed: {A}: p95 is slower, but most requests are faster\n" in text


def test_an_interval_that_its_verdict_does_not_follow_is_explained() -> None:
    """Where an interval leaves no change out and the corrected verdict does, a line tells why."""
    said = "Verdicts are corrected for all tests made here; an interval by itself is not.\n"
    old = figures_of({A: steady(300)})
    assert said in render(compare(old, figures_of({A: steady(300, 194)}), Plan()))
    assert said not in render(compare(old, old, Plan()))


def test_a_document_of_nothing_is_json() -> None:
    """Empty sides give nulls, not NaN."""
    nothing = compare(figures_of({}), figures_of({}), Plan())
    told = json.loads(json.dumps(document(nothing), allow_nan=False))
    assert told["total"]["changes"]["p95"]["relative"] is None
    assert told["total"]["ranks"] is None
    assert render(nothing)


# URLs, and how much a run wavers.


def test_urls_beyond_the_limit_are_not_compared() -> None:
    """Memory is bounded: one URL too many, and a log's URLs are not compared at all."""
    blocks = [block(f"http://h.test/{i}", [1.0]) for i in range(11)]
    small, large = UrlOutcomes(blocks[:10], limit=10), UrlOutcomes(blocks, limit=10)
    assert small.changes_to(large) is None
    changes = small.changes_to(UrlOutcomes(blocks[1:10], limit=10))
    assert changes is not None
    assert (changes.only_old, changes.only_new, changes.shared) == (1, 0, 9)


def test_a_url_that_varies_within_a_log_has_not_flipped() -> None:
    """A flip is from always the one to always the other; now and then is for the error share."""
    fine, flaky, dead = (
        UrlOutcomes([block(A, times, failed=failed)])
        for times, failed in (([1.0] * 5, 0), ([1.0], 4), ([], 5))
    )
    flaky_changes, dead_changes = fine.changes_to(flaky), fine.changes_to(dead)
    assert flaky_changes is not None
    assert dead_changes is not None
    assert flaky_changes.flips == ()
    assert dead_changes.flips == (("200", "500", 1, (A,)),)


def test_dispersion_tells_dependent_requests_from_independent_ones() -> None:
    """Independent requests differ by second as chance has it; those of a wavering server more."""
    rng = np.random.default_rng(5)
    started_s = np.sort(rng.uniform(0, 60, 20_000))
    ok = np.ones(20_000, np.bool_)
    calm, wavering = Timeline(), Timeline()
    times = drawn("lognormal", 20_000, rng)
    calm.add(started_s, times, ok)
    wavering.add(started_s, times * (1 + 0.3 * (started_s.astype(int) % 2)), ok)
    assert 0.5 < calm.dispersion(0.95) < 1.6  # chi-square of 59 degrees over 59
    assert wavering.dispersion(0.95) > 3
    assert np.isnan(Timeline().dispersion(0.5))
