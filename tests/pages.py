"""What a test reads of a page: the exact values in its tables, and what its charts were given."""

from __future__ import annotations

import gzip
import re
from base64 import b64decode
from html.parser import HTMLParser
from typing import Any

from tests.browser import Browser

PHONE, DESKTOP = 390, 1280
"""Widths in pixels at which a page is to be readable."""


class Cells(HTMLParser):
    """The exact values of a page's cells, table by table, row by row; and all that is read."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str | None]]] = {}
        self.tiles: list[str | None] = []
        self.tags: list[str] = []
        self._table: list[list[str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "table":
            self._table = self.tables[str(given["data-table"])] = []
        elif tag == "tr":
            self._table.append([])
        elif tag == "td" or (tag == "th" and given.get("scope") == "row"):
            self._table[-1].append(given.get("data-value"))
        elif tag == "dd":
            self.tiles.append(given.get("data-value"))

    def rows(self, key: str) -> list[list[str | None]]:
        return self.tables[key][1:]


def embedded(page: str, key: str) -> str:
    """What a page holds compressed."""
    found = re.search(rf'<script type="application/gzip" id="{key}">([^<]*)</script>', page)
    assert found is not None
    return gzip.decompress(b64decode(found[1])).decode()


def drawn(browser: Browser, chart: str) -> list[dict[str, Any]]:
    """Name, x and y of all that plotly was given for a chart."""
    traces = f"document.querySelector('[data-chart={chart}]').data"
    given: list[dict[str, Any]] = browser.value(
        f"{traces}.map(({{ name, x, y }}) => ({{ name, x: [...x], y: [...y] }}))"
    )
    return given


def texts(*values: object) -> list[str | None]:
    return [None if value is None else str(value) for value in values]
