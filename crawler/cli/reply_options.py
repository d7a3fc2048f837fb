"""The options about what a reply must be, and what of it goes into the record."""

from __future__ import annotations

from typing import Final, TypedDict

from crawler.body_plan import BODY_FIELDS
from crawler.cli import values
from crawler.cli.grouped import OptionGroup
from crawler.cli.option_groups import flag_option, text_option, texts_option
from crawler.errors import UsageError
from crawler.expectations import Expectations
from crawler.pagination import DEFAULT_MAX_PAGES, Pagination
from crawler.record import NEXT, PAGE, RECORD_FIELDS


class ReplyParams(TypedDict):
    """The options about replies, as click gives them."""

    paginate: str | None
    max_pages: str | None
    select: tuple[str, ...]
    expect_status: tuple[str, ...]
    expect_type: tuple[str, ...]
    expect_body: str | None
    assert_json: bool


def expectations(params: ReplyParams) -> Expectations | None:
    """Read what is expected; None where nothing is. Raises ``UsageError``."""
    read = Expectations(
        statuses=values.all_names(params["expect_status"], "--expect-status"),
        types=values.all_names(params["expect_type"], "--expect-type"),
        body=params["expect_body"],
        json=params["assert_json"],
    )
    return None if read == Expectations() else read


def pagination(params: ReplyParams, keep: tuple[str, ...]) -> Pagination | None:
    """Read how pages are followed; None where they are not. Raises ``UsageError``."""
    most = values.count(params["max_pages"], "--max-pages", least=1)
    if params["paginate"] is None:
        if most is not None:
            raise UsageError("--max-pages is of pages that are followed: give --paginate with it")
        return None
    taken = [name for name in keep if name in (PAGE, NEXT)]
    if taken:
        raise UsageError(
            f"--keep {taken[0]}: a record says under that name how pages are followed; "
            "rename the column"
        )
    rules = Pagination.parse(params["paginate"], most or DEFAULT_MAX_PAGES)
    if rules.path:
        from crawler.selecting import compiled

        compiled(rules.path, "--paginate")
    return rules


def selected(params: ReplyParams, keep: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Read ``NAME=EXPRESSION`` or an expression, which is its own name. Raises ``UsageError``."""
    pages = () if params["paginate"] is None else (PAGE, NEXT)
    taken, pairs = {*RECORD_FIELDS, *keep, *BODY_FIELDS, *pages}, []
    for text in params["select"]:
        name, mark, expression = text.partition("=")
        if (
            not mark
            or not name.replace("_", "").replace("-", "").isalnum()
            or expression[:1] == "="
        ):
            name, expression = text, text
        if not expression.strip():
            raise UsageError(f"--select {text!r} is no expression: give one, as id=data.id")
        if name in taken:
            raise UsageError(f"--select {name}: a record has a field of that name; give another")
        taken.add(name)
        pairs.append((name, expression))
    return tuple(pairs)


REPLIES: Final = OptionGroup(
    "Replies (what a reply must be, what of it the record tells, and where it leads)",
    (
        text_option(
            "--paginate",
            metavar="STYLE",
            help="Follow an API's pages: link-header, json:PATH, cursor:PATH=PARAM, page:PARAM, "
            "offset:PARAM,LIMIT.",
        ),
        text_option(
            "--max-pages",
            metavar="N",
            help=f"Pages of one target, at most.  [default: {DEFAULT_MAX_PAGES}]",
        ),
        texts_option(
            "--select",
            metavar="[NAME=]EXPR",
            help="Put what a JMESPath expression finds in a JSON reply into the record.",
        ),
        texts_option(
            "--expect-status",
            metavar="CODE,...",
            help="These are fine (200,404,3xx), others fail as unexpected.",
        ),
        texts_option(
            "--expect-type",
            metavar="TYPE,...",
            help="Fail as unexpected where the Content-Type begins otherwise.",
        ),
        text_option(
            "--expect-body",
            metavar="REGEX",
            help="Fail as unexpected where this is not found in the body.",
        ),
        flag_option("--assert-json", help="Fail as unexpected where the body is no JSON."),
    ),
)
