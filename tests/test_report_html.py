"""The pages in a real browser: their figures, their charts, light and dark, desktop and phone."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crawler.errors import UsageError
from crawler.report.html import to_html
from crawler.report.latency_machine import document
from crawler.report.model import Report
from tests.browser import Browser
from tests.pages import DESKTOP, PHONE, Cells, drawn, embedded, texts
from tests.report_cases import HOSTILE, STARTED_S, block_of, note_of, report_of

NAMES = tuple(f"http://h/{name}" for name in ("items", "users", "orders?&<b>", "health"))


def busy_report() -> Report:
    """Two minutes at a rate, some failures, a long tail, a client that was out of CPU."""
    rng = np.random.default_rng(7)
    times = rng.lognormal(2, 0.6, 12_000)
    times[::500] *= 40
    block = block_of(times, names=NAMES, failed=30, lag_ms=0.4, seconds=120)
    return report_of(block, notes=[note_of("r1", schedule="100/s", cpu_s=19.5)])


def report_of_runs() -> Report:
    rng = np.random.default_rng(8)
    blocks = [
        block_of(rng.lognormal(2, 0.5, 2000) * (1 + i), run=f"r{i}", started_s=STARTED_S + 3600 * i)
        for i in range(3)
    ]
    return report_of(*blocks)


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(to_html(busy_report()), encoding="utf-8")
    return path


def test_the_figures_of_the_page_are_those_of_the_document() -> None:
    """Tables and tiles hold the very numbers that ``--json`` writes, and the page holds it all."""
    report = busy_report()
    told: dict[str, Any] = document(report)
    page = to_html(report)
    assert json.loads(embedded(page, "document")) == json.loads(json.dumps(told))
    cells = Cells(page)
    total = told["total"]
    at = total["response"]["percentiles"]
    expected = [total["requests"], total["rate_per_s"], total["failed_share"]]
    expected += [at[name]["value_ms"] for name in ("p50", "p95", "p99")]
    assert cells.tiles[:7] == texts(*expected, total["response"]["max_ms"])
    for row, group in zip(cells.rows("groups"), told["groups"], strict=True):
        times = group["response"]
        percentiles = [
            times["percentiles"][name]["value_ms"] for name in ("p50", "p90", "p95", "p99")
        ]
        counts = [group["name"], group["requests"], group["rate_per_s"], group["failed_share"]]
        figures = [times["mean_ms"], *percentiles, times["max_ms"], group["bytes"]]
        assert row == texts(*counts, *figures)


def test_percentiles_stand_with_their_bounds_and_beside_the_service_time() -> None:
    """The table of an open loop gives response times, their bounds, and the service times."""
    report = busy_report()
    total: dict[str, Any] = document(report)["total"]  # type: ignore[assignment]
    rows = Cells(to_html(report)).rows("percentiles")
    response, service = total["response"], total["service"]
    for row, (name, at) in zip(rows, response["percentiles"].items(), strict=False):
        beside = service["percentiles"][name]["value_ms"]
        assert row == [None, *texts(at["value_ms"], at["low_ms"], at["high_ms"], beside)]
    assert rows[7] == [None, *texts(response["max_ms"], None, None, service["max_ms"])]


def test_the_other_tables_are_those_of_the_document() -> None:
    """Phases, slowest requests, errors, statuses and runs are told with their exact values."""
    report = busy_report()
    told: dict[str, Any] = document(report)
    cells = Cells(to_html(report))
    phases = [[p["phase"], p["count"], p["mean_ms"], p["p50_ms"]] for p in told["phases"]]
    assert [row[:4] for row in cells.rows("phases")] == [texts(*row) for row in phases]
    slow = told["slowest"][0]
    assert cells.rows("slowest")[0][:3] == texts(
        slow["url"], slow["response_ms"], slow["elapsed_ms"]
    )
    (error,) = told["errors"]
    assert cells.rows("errors")[0][:3] == texts(error["error"], 30, 30 / 12_000)
    assert cells.rows("statuses") == [texts(200, 11_970, 11_970 / 12_000)]
    assert cells.rows("runs")[0][0] == "r1"


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_drawn_without_an_error_or_a_request(
    busy: Path, browser: Browser, width: int, scheme: str
) -> None:
    """On a desktop and a phone, in both schemes: charts drawn, all legible, nothing asked for."""
    browser.open(busy, width=width, scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == [busy.as_uri()]
    assert browser.value("document.documentElement.scrollWidth") == width
    charts = browser.value("[...document.querySelectorAll('.chart')].map(c => c.dataset.chart)")
    assert charts == ["timeline", "percentiles", "histogram", "phases"]
    for chart in charts:
        marks = f"document.querySelectorAll('[data-chart={chart}] :is(.js-line, .point path)')"
        assert browser.value(f"{marks}.length") > 0, chart
    paper = browser.value("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper))) < 200) == (scheme == "dark")


CONTRAST = """
(() => {
  const light = (rgb) => rgb.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const rgb = getComputedStyle(e).backgroundColor;
      if (!rgb.endsWith(", 0)")) return rgb;
    }
  };
  const texts = document.querySelectorAll(
    "h1, h2, p, dt, dd, small, th, td, caption, figcaption, li");
  return Math.min(...[...texts].map((e) => {
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  }));
})()
"""


def test_texts_have_contrast_in_both_schemes_and_the_button_switches(
    busy: Path, browser: Browser
) -> None:
    """Every text has a contrast of 4.5 (WCAG 2.2, 1.4.3), before and after the switch is used."""
    browser.open(busy, scheme="light")
    assert browser.value(CONTRAST) >= 4.5
    before = browser.value("getComputedStyle(document.body).color")
    browser.value("theme.click()")
    assert browser.value("theme.textContent") == "Light"
    assert browser.value("getComputedStyle(document.body).color") != before
    assert browser.value(CONTRAST) >= 4.5
    assert browser.complaints() == []


def test_a_heading_sorts_its_table(busy: Path, browser: Browser) -> None:
    """A press sorts from the largest, a second from the smallest, names from A; and says so."""
    browser.open(busy)

    def pressed(column: int) -> list[str]:
        """What a column holds, from top to bottom, once its heading was pressed."""
        browser.value(
            f"document.querySelectorAll('[data-table=groups] th button')[{column}].click()"
        )
        rows = "[...document.querySelectorAll('[data-table=groups] tbody tr')]"
        held: list[str] = browser.value(f"{rows}.map(row => row.cells[{column}].dataset.value)")
        return held

    values = [float(value) for value in pressed(9)]
    assert values == sorted(values, reverse=True)
    assert len(set(values)) == len(NAMES)
    assert [float(value) for value in pressed(9)] == values[::-1]
    assert pressed(0) == sorted(NAMES)
    sorted_by = "[...document.querySelectorAll('[aria-sort]')].map(h => h.cellIndex + h.ariaSort)"
    assert browser.value(sorted_by) == ["0ascending"]


def test_the_charts_draw_the_document(busy: Path, browser: Browser) -> None:
    """What plotly was given is the document's: each bin, each point of the curve, each phase."""
    total: dict[str, Any] = document(busy_report())["total"]  # type: ignore[assignment]
    browser.open(busy)
    p95 = drawn(browser, "timeline")[1]
    assert p95["y"] == [bin_["p95_ms"] for bin_ in total["timeline"]]
    curve = drawn(browser, "percentiles")[0]
    assert curve["y"] == [point["ms"] for point in total["curve"]]
    assert curve["x"][5] == pytest.approx(2.0)
    assert curve["x"][-1] == total["ok"]
    phases = drawn(browser, "phases")
    assert [trace["name"] for trace in phases] == ["dns", "connect", "tls", "wait", "receive"]


def test_several_runs_are_overlaid(tmp_path: Path, browser: Browser) -> None:
    """Each run has its own curve and its own line over time, from its own start."""
    path = tmp_path / "runs.html"
    path.write_text(to_html(report_of_runs()), encoding="utf-8")
    browser.open(path)
    curves = browser.value(
        "document.querySelector('[data-chart=percentiles]').data.map(t => t.name)"
    )
    assert curves == ["r0", "r1", "r2"]
    starts = browser.value("document.querySelector('[data-chart=timeline]').data.map(t => t.x[0])")
    assert set(starts) == {0}
    assert browser.complaints() == []


def test_hostile_names_are_read_and_not_run(tmp_path: Path, browser: Browser) -> None:
    """A script in a URL, an error's text or the title is text, in tables and in charts."""
    block = block_of([5.0, 6.0] * 20, names=(HOSTILE,), failed=3, detail=HOSTILE)
    report = report_of(block, title=HOSTILE)
    path = tmp_path / "hostile.html"
    path.write_text(to_html(report), encoding="utf-8")
    browser.open(path, width=PHONE)
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.value("document.querySelectorAll('script').length") == 4
    assert "<script>alert(1)</script>" in browser.value("document.querySelector('h1').textContent")
    assert "\u202e" not in browser.value("document.body.innerText")
    labels = browser.value("document.querySelector('[data-chart=phases]').textContent")
    assert "</script" in labels
    assert browser.value("document.documentElement.scrollWidth") == PHONE


def test_the_policy_lets_no_other_script_run(tmp_path: Path, browser: Browser, busy: Path) -> None:
    """A script that got into the page does not run, and an image of elsewhere is not asked for."""
    injected = "<script>window.ran = 1</script><img src='http://127.0.0.1:9/x'>"
    path = tmp_path / "injected.html"
    path.write_text(busy.read_text("utf-8").replace("</main>", injected + "</main>"), "utf-8")
    browser.open(path)
    assert browser.value("window.ran ?? 'did not run'") == "did not run"
    assert len([text for text in browser.complaints() if "Content Security Policy" in text]) == 2


def test_without_a_script_the_tables_stand(busy: Path, browser: Browser) -> None:
    """With JavaScript off all tables are there to read, and nothing that would do nothing."""
    browser.open(busy, script=False)
    seen = browser.call("DOM.getDocument", depth=-1)
    assert json.dumps(seen).count('"TBODY"') == 7
    text = to_html(busy_report())
    assert 'id="theme" hidden' in text


def test_nothing_is_drawn_of_nothing(tmp_path: Path, browser: Browser) -> None:
    """A report without records, and one of failures only, are pages without an error."""
    for name, report in (
        ("empty", report_of()),
        ("failed", report_of(block_of([1.0] * 5, failed=5))),
    ):
        path = tmp_path / f"{name}.html"
        path.write_text(to_html(report), encoding="utf-8")
        browser.open(path)
        assert browser.complaints() == [], name
        said = browser.value("document.querySelector('main').innerText")
        assert {"empty": "There is no request", "failed": "No request was a success"}[name] in said


def test_a_legend_shows_and_hides_its_lines(busy: Path, browser: Browser) -> None:
    """A press on a name takes its line out of the chart, and says so; another brings it back."""
    browser.open(busy)
    button = "document.querySelector('#time .legend button')"
    seen = "document.querySelector('[data-chart=timeline]').data[0].visible ?? true"
    assert browser.value(f"{button}.textContent") == "p50"
    for visible in (False, True):
        browser.value(f"{button}.click()")
        assert browser.value(seen) is visible
        assert browser.value(f"{button}.ariaPressed") == str(visible).lower()


def test_a_page_is_accessible_in_form() -> None:
    """One main heading, a caption for each table, a label for each chart, a language."""
    page = to_html(busy_report())
    tags = Cells(page).tags
    assert tags.count("h1") == 1
    assert tags.count("caption") == tags.count("table") == 7
    assert page.count('role="img" aria-label="') == 4
    assert '<html lang="en">' in page
    assert tags.count("figcaption") == tags.count("figure") == 4


def test_a_million_records_make_a_small_page_soon() -> None:
    """1,000,000 records by 1,000 endpoints: under 5 MB, and written in a few seconds."""
    rng = np.random.default_rng(9)
    names = tuple(f"http://127.0.0.1:8000/api/v1/endpoint-{i}" for i in range(1000))
    blocks = [
        block_of(
            rng.lognormal(2, 1, 250_000), names=names, started_s=STARTED_S + 600 * i, seconds=600
        )
        for i in range(4)
    ]
    report = report_of(*blocks)
    begun = time.perf_counter()
    page = to_html(report)
    assert time.perf_counter() - begun < 10
    assert len(page.encode()) < 5_000_000
    assert json.loads(embedded(page, "document"))["total"]["requests"] == 1_000_000


def test_without_plotly_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where plotly is not installed the error says what to install."""
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'crawl-bench[report]'")):
        to_html(report_of())
