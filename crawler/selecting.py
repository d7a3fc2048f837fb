"""Values taken out of JSON replies into their records (JMESPath); nothing else knows jmespath."""

from __future__ import annotations

from typing import Any, Final

import jmespath
from jmespath.exceptions import JMESPathError

from crawler.codec import decode_row, encode_row
from crawler.engines.base import Kept
from crawler.errors import UsageError
from crawler.record import Record

_NOTHING: Final = ""


def compiled(expression: str, option: str) -> Any:  # noqa: ANN401 - jmespath's own type
    """Read an expression; raises ``UsageError`` that says what is wrong with it and where."""
    try:
        return jmespath.compile(expression)
    except JMESPathError as exc:
        words = " ".join(str(exc).split())
        raise UsageError(f"{option} {expression!r} is no JMESPath expression: {words}") from None


class Selector:
    """The keeper that puts what each expression finds into the record, under its name.

    Texts are written as they are, other values as JSON; what is not there is an empty text, as in a
    reply that is no JSON.
    """

    def __init__(self, select: tuple[tuple[str, str], ...]) -> None:
        self._select = [(name, compiled(text, "--select")) for name, text in select]

    def keep(self, record: Record, kept: Kept) -> Record:
        """Add the fields; the reply is only looked at."""
        try:
            reply = decode_row(kept.body.read())
        except ValueError:
            found = dict.fromkeys((name for name, _ in self._select), _NOTHING)
        else:
            found = {name: _text(_search(expr, reply)) for name, expr in self._select}
        return record._replace(fields={**record.fields, **found})

    def flush(self) -> None:
        """Nothing is written here."""

    def settled(self) -> None:
        """Nothing waits for that."""

    def close(self) -> None:
        """Nothing is open."""


def _search(expression: Any, reply: Any) -> Any:  # noqa: ANN401
    try:
        return expression.search(reply)
    except JMESPathError:  # a function on a value of another type: nothing is found in this reply
        return None


def _text(value: Any) -> str:  # noqa: ANN401
    if value is None:
        return _NOTHING
    return value if isinstance(value, str) else encode_row(value).decode("utf-8").rstrip("\n")
