"""Requests of their own for the rows of a list: method, headers and body out of its columns.

The columns are read like kept ones and taken out of the record again, unless they are kept too. A
row whose method or header cannot be sent stops nothing: it is recorded where it would be sent. What
has no columns (an argument, a line of a plain list beside a table) is a row of empty cells.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from crawler.errors import UsageError
from crawler.record import NO_FIELDS, Target
from crawler.settings import check_header

_PLACE: Final = re.compile(r"\{([^{}\"]+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRequests:
    """Which columns make a row's request. ``headers`` are pairs of a column and a header's name.

    Every ``{column}`` in the texts of ``json_template`` is filled from the row. Raises
    ``UsageError``.
    """

    method: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: str | None = None
    json_template: str | None = None
    _places: tuple[str, ...] = field(init=False, default=(), repr=False)

    def __post_init__(self) -> None:
        if self.body is not None and self.json_template is not None:
            raise UsageError("--body-column and --json-template both make the body: give one")
        for column, name in self.headers:
            check_header(f"--header-column {column}={name}", name, "")
        if self.json_template is None:
            return
        try:
            shape = json.loads(self.json_template)
        except ValueError as exc:
            raise UsageError(f"--json-template is no JSON: {exc}") from None
        places = dict.fromkeys(name for text in _texts(shape) for name in _PLACE.findall(text))
        object.__setattr__(self, "_places", tuple(places))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are needed."""
        single = (self.method, self.body)
        named = [name for name in single if name is not None]
        return tuple(dict.fromkeys((*named, *(c for c, _ in self.headers), *self._places)))

    @property
    def makes_body(self) -> bool:
        """Whether rows have bodies of their own: then they are posted, unless told otherwise."""
        return self.body is not None or self.json_template is not None

    def of(self, targets: Iterable[Target], keep: tuple[str, ...]) -> Iterator[Target]:
        """Yield targets with their requests; only the columns to ``keep`` stay in them."""
        for target in targets:
            yield self._request(target, keep)

    def _request(self, target: Target, keep: tuple[str, ...]) -> Target:
        row = target.fields or defaultdict(str)
        fields = {name: row[name] for name in keep} if keep else NO_FIELDS
        method = row[self.method].strip() if self.method is not None else ""
        headers = tuple((name, row[column]) for column, name in self.headers if row[column])
        if self.json_template is not None:
            headers = (*headers, ("Content-Type", "application/json"))
        return Target(
            target.seq, target.url, method or None, headers or None, self._body(row), None, fields
        )

    def _body(self, row: Mapping[str, str]) -> bytes | None:
        if self.json_template is not None:
            filled = _filled(json.loads(self.json_template), row)
            return json.dumps(filled, ensure_ascii=False).encode("utf-8", "replace")
        return None if self.body is None else row[self.body].encode("utf-8", "replace")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)


def _filled(value: object, row: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return _PLACE.sub(lambda match: row[match[1]], value)
    if isinstance(value, list):
        return [_filled(item, row) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, row) for key, item in value.items()}
    return value
