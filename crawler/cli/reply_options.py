"""The options about what a reply must be, and what of it goes into the record."""

from __future__ import annotations

from typing import Final, TypedDict

from crawler.body_plan import BODY_FIELDS
from crawler.cli import values
from crawler.cli.grouped import OptionGroup
from crawler.cli.option_groups import flag_option, text_option, texts_option
from crawler.errors import UsageError
from crawler.expectations import Expectations
from crawler.record import RECORD_FIELDS


class ReplyParams(TypedDict):
    """The options about replies, as click gives them."""

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


def selected(params: ReplyParams, keep: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Read ``NAME=EXPRESSION`` or an expression, which is its own name. Raises ``UsageError``."""
    taken, pairs = {*RECORD_FIELDS, *keep, *BODY_FIELDS}, []
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
    "Replies (what a reply must be, and what of it the record tells)",
    (
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
