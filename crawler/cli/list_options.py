"""The options about lists: which targets are taken, what they are made of, which are the same."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypedDict

from crawler.cli import values
from crawler.cli.grouped import OptionGroup
from crawler.cli.option_groups import (
    choice_option,
    default_option,
    flag_option,
    text_option,
    texts_option,
)
from crawler.errors import TargetError, UsageError
from crawler.row_requests import RowRequests
from crawler.selection import Selection
from crawler.settings import Dedupe


class PickParams(TypedDict):
    """The options about lists, as click gives them."""

    skip: str
    limit: str | None
    sample: str | None
    shuffle: bool
    seed: str
    dedupe: Dedupe
    sitemap: tuple[str, ...]
    method_column: str | None
    header_column: tuple[str, ...]
    body_column: str | None
    json_template: str | None


def selection(params: PickParams) -> Selection:
    """Read which targets are taken. Raises ``UsageError``."""
    if params["seed"] != "0" and not params["shuffle"] and params["sample"] is None:
        raise UsageError("--seed is that of a draw: give --sample or --shuffle with it")
    return Selection(
        skip=values.count(params["skip"], "--skip") or 0,
        limit=values.count(params["limit"], "--limit"),
        sample=values.count(params["sample"], "--sample"),
        shuffle=params["shuffle"],
        seed=values.count(params["seed"], "--seed") or 0,
    )


def row_requests(params: PickParams) -> RowRequests | None:
    """Read what rows make of their requests; None where nothing. Raises ``UsageError``."""
    read = RowRequests(
        method=params["method_column"],
        headers=tuple(map(_header_column, params["header_column"])),
        body=params["body_column"],
        json_template=params["json_template"],
    )
    return read if read.columns or read.json_template is not None else None


def _header_column(text: str) -> tuple[str, str]:
    column, _, name = text.partition("=")
    if not column or not name:
        raise UsageError(f"--header-column {text!r}: give COL=HEADER, as token=X-Token")
    return column, name


def expanded(files: tuple[str, ...]) -> tuple[str, ...]:
    """Give the files that patterns such as ``lists/*.csv`` name, sorted; others as they are.

    Raises ``TargetError`` for a pattern that names none.
    """
    return tuple(name for path in files for name in _matches(path))


def _matches(path: str) -> Iterator[str]:
    if "://" in path or not glob.has_magic(path) or Path(path).exists():
        yield path
        return
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise TargetError(f"--urls {path}: no file is named so; check the pattern")
    yield from found


LISTS: Final = OptionGroup(
    "Lists (what of them is fetched, and how)",
    (
        default_option("--skip", metavar="N", value="0", help="Leave out the first N targets."),
        text_option("--limit", metavar="N", help="Take N targets at most, after --skip."),
        text_option("--sample", metavar="N", help="Take N of them at random, in their order."),
        flag_option("--shuffle", help="Take them in random order; the list is held in memory."),
        default_option("--seed", metavar="N", value="0", help="Seed of --sample and --shuffle."),
        choice_option(
            "--dedupe",
            among=("none", "exact", "canonical"),
            value="none",
            help="Request what was asked for already only once; each target has its record.",
        ),
        texts_option(
            "--sitemap",
            metavar="URL|FILE",
            help="Fetch what a sitemap lists, and those that it names.",
        ),
        text_option("--method-column", metavar="COL", help="Column with each row's method."),
        texts_option(
            "--header-column", metavar="COL=HEADER", help="Column with a header of each row."
        ),
        text_option("--body-column", metavar="COL", help="Column with each row's body."),
        text_option(
            "--json-template", metavar="JSON", help="JSON body with {column} filled from each row."
        ),
    ),
)
