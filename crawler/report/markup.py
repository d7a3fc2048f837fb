"""HTML as text that is escaped by construction: what is ``Markup`` came from here.

Names of endpoints, URLs and the texts of errors come from servers and lists, and are hostile: each
is escaped for HTML, and what cannot be printed (control characters, marks that turn the direction
of writing) is shown as an escape, as on a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final, NamedTuple, NewType

from crawler.report.columns import plain

Markup = NewType("Markup", str)
"""Text that may stand in a page as it is."""

MISSING: Final = "–"
"""Stands where there is no figure."""


class Cell(NamedTuple):
    """A figure: what is read, the exact ``value`` that it is sorted by, and how it looks.

    ``style`` is a class of ``page.css``; ``note`` is read below a large figure.
    """

    text: str
    value: float | str | None = None
    style: str = ""
    note: str = ""


def escaped(text: str) -> Markup:
    """``text`` to be read as it is, within an element or between an attribute's quotes."""
    return Markup(escape(plain(text), quote=True))


def joined(parts: Iterable[Markup]) -> Markup:
    """Parts one after the other, a line each."""
    return Markup("\n".join(parts))


def titled(
    title: str, subtitle: str, main: Iterable[Markup], attributes: Mapping[str, object]
) -> list[Markup]:
    """A page's body: its heading, with the switch of light and dark, and its main part.

    ``attributes`` are what the page's script is told, as ``data-`` attributes.
    """
    told = "".join(f' data-{name}="{escaped(str(value))}"' for name, value in attributes.items())
    return [
        Markup(
            f"<header><div><h1>{escaped(title)}</h1>\n<p>{escaped(subtitle)}</p></div>\n"
            '<button type="button" id="theme" hidden>Dark</button></header>'
        ),
        Markup(f"<main{told}>"),
        *(part for part in main if part),
        Markup("</main>"),
    ]


def warnings(heading: str, texts: Sequence[str]) -> Markup:
    """What must be read before any figure; nothing where there is nothing to say."""
    if not texts:
        return Markup("")
    items = "".join(f"<li>{escaped(text)}</li>" for text in texts)
    return Markup(
        f'<section class="warnings"><h2>{escaped(heading)}</h2>\n<ul>{items}</ul></section>'
    )


def section(key: str, heading: str, *parts: Markup) -> Markup:
    """A part of the page under a heading, nothing without parts; ``key`` is its id."""
    held = [part for part in parts if part]
    if not held:
        return Markup("")
    return Markup(
        f'<section id="{escaped(key)}" aria-labelledby="{escaped(key)}-heading">\n'
        f'<h2 id="{escaped(key)}-heading">{escaped(heading)}</h2>\n{joined(held)}\n</section>'
    )


def paragraph(text: str, *, style: str = "note") -> Markup:
    """A paragraph of plain text."""
    return Markup(f'<p class="{escaped(style)}">{escaped(text)}</p>')


def figure(chart: str, told: str) -> Markup:
    """A place that the page's script draws ``chart`` in; ``told`` says what it shows."""
    return Markup(
        f'<figure><div class="chart" data-chart="{escaped(chart)}" role="img" '
        f'aria-label="{escaped(told)}"></div>\n<figcaption>{escaped(told)}</figcaption></figure>'
    )


def tiles(cells: Iterable[tuple[str, Cell]]) -> Markup:
    """The main figures, large, each under its name."""
    items = "\n".join(
        f"<div><dt>{escaped(name)}</dt><dd{_value(cell)}{_style(cell)}>{escaped(cell.text)}"
        f"{f'<small>{escaped(cell.note)}</small>' if cell.note else ''}</dd></div>"
        for name, cell in cells
    )
    return Markup(f'<dl class="tiles">\n{items}\n</dl>')


def table(
    key: str,
    caption: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    sortable: bool = True,
) -> Markup:
    """A table, nothing without rows; the first cell of each is its heading.

    It may be ``sortable`` by its columns' headings. It scrolls by itself where the screen is
    narrow, so that the page does not.
    """
    if not rows:
        return Markup("")
    sortable = sortable and len(rows) > 1
    styles = [_style(cell._replace(style="")) for cell in rows[0]]
    head = "".join(
        _heading(heading, style, sortable=sortable)
        for heading, style in zip(headings, styles, strict=True)
    )
    body = "\n".join(_row(row) for row in rows)
    return Markup(
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escaped(caption)}">\n'
        f'<table data-table="{escaped(key)}"><caption>{escaped(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _heading(heading: str, style: str, *, sortable: bool) -> str:
    name = escaped(heading)
    inside = f'<button type="button">{name}</button>' if sortable and name else name
    return f'<th scope="col"{style}>{inside}</th>'


def _row(cells: Sequence[Cell]) -> str:
    first, *others = cells
    rest = "".join(f"<td{_value(cell)}{_style(cell)}>{escaped(cell.text)}</td>" for cell in others)
    return f'<tr><th scope="row"{_value(first)}><bdi>{escaped(first.text)}</bdi></th>{rest}</tr>'


def _style(cell: Cell) -> str:
    styles = [cell.style, "text" if isinstance(cell.value, str) else ""]
    named = " ".join(filter(None, styles))
    return f' class="{escaped(named)}"' if named else ""


def _value(cell: Cell) -> str:
    return "" if cell.value is None else f' data-value="{escaped(str(cell.value))}"'
