"""What of a reply goes into the next request, and how far it may go.

A cursor moves only when every page of its target came and none is left: in a feed of newest first,
what a page that failed held would be lost for ever otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from crawler.exact_json import write_json
from crawler.pull.job import CursorPlan
from crawler.selecting import compiled, search_strictly

_EXPRESSION: Final = "[cursor] from"


class Cursors:
    """Reads cursors out of replies. Raises ``UsageError`` for an expression that is none."""

    def __init__(self, plan: CursorPlan) -> None:
        self.plan = plan
        self._expression = compiled(plan.expression, _EXPRESSION)

    def of(self, reply: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Give what a reply tells, None where it tells nothing.

        Raises ``ValueError`` where the expression does not suit the reply.
        """
        found = search_strictly(self._expression, reply)
        if found is None or found in ("", [], {}):
            return None
        if not isinstance(found, str) and not _is_number(found):
            raise ValueError("it gives no single text or number, as max(items[*].id) does")
        return found


def furthest(found: Sequence[Any]) -> str | None:
    """Give the cursor that some pages tell together, as text; None where none tells one.

    Numbers and texts have a greatest; of both together the last page's counts.
    """
    values = [value for value in found if value is not None]
    if not values:
        return None
    if all(isinstance(value, str) for value in values) or all(map(_is_number, values)):
        return _text(max(values))
    return _text(values[-1])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _text(value: Any) -> str:  # noqa: ANN401
    return value if isinstance(value, str) else write_json(value)
