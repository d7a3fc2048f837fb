"""The page of a comparison: its figures, its chart, what breaks on top."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crawler.compared import Comparison, Plan
from crawler.comparison import compare
from crawler.report.columns import plain
from crawler.report.comparison_html import comparison_to_html
from crawler.report.comparison_machine import document
from tests.browser import Browser
from tests.pages import DESKTOP, PHONE, Cells, drawn, embedded, texts
from tests.report_cases import HOSTILE, block_of, figures_of

NAMES = ("http://h/items", "http://h/users", "http://h/orders")


def comparison() -> Comparison:
    """Three endpoints of which one became a fifth slower and one fails now."""
    rng = np.random.default_rng(10)
    factors = np.resize([1.0, 1.2, 1.0], 9000)
    old, new = (
        figures_of(
            block_of(rng.normal(100, 5, 9000) * factor, names=NAMES, run=run),
            block_of([1.0] * 9, names=(f"http://h/{HOSTILE}",), run=run, failed=failed),
        )
        for run, factor, failed in (("old", 1.0, 0), ("new", factors, 9))
    )
    compared = compare(old, new, Plan())
    return replace(compared, notes=("logs of two lists",), old_name="a.log", new_name=HOSTILE)


def test_the_figures_of_a_comparison_are_those_of_its_document() -> None:
    """The page of a comparison holds what its ``--json`` writes; what breaks stands on top."""
    made = comparison()
    told: dict[str, Any] = document(made)
    page = comparison_to_html(made)
    assert json.loads(embedded(page, "document")) == json.loads(json.dumps(told))
    rows = Cells(page).rows("changes")
    for row, expected in zip(rows, [*told["endpoints"], told["total"]], strict=True):
        change = expected["changes"]["p95"]
        keys = ("old_ms", "new_ms", "relative", "relative_low", "relative_high")
        assert row[:2] == texts(plain(expected["name"]), expected["verdict"])
        assert row[2:7] == texts(*(change[key] for key in keys))
    assert rows[0][:2] == ["http://h/users", "slower"]
    assert page.index("p95 slower by") < page.index("logs of two lists") < page.index("<table")


@pytest.mark.parametrize(("width", "scheme"), [(DESKTOP, "dark"), (PHONE, "light")])
def test_a_comparison_is_drawn(tmp_path: Path, browser: Browser, width: int, scheme: str) -> None:
    """Each endpoint's change stands in the chart under its verdict, without an error."""
    made = comparison()
    path = tmp_path / "comparison.html"
    path.write_text(comparison_to_html(made), encoding="utf-8")
    browser.open(path, width=width, scheme=scheme)
    assert browser.complaints() == []
    assert browser.requests() == [path.as_uri()]
    assert browser.value("document.documentElement.scrollWidth") == width
    traces = {trace["name"]: trace for trace in drawn(browser, "changes")}
    (slower,) = [row for row in made.rows if row.verdict == "slower"]
    assert 100 * slower.metric.relative == pytest.approx(20, abs=2)
    assert any(
        x == pytest.approx(100 * slower.metric.relative, abs=1e-3) for x in traces["slower"]["x"]
    )
