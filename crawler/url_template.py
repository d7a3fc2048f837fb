"""A URL with places for values: ``http://host/novelSearchApi?name={name}``.

A value is percent-encoded whole, so that it can never reach out of its place: a ``/``, ``&`` or
``#`` in it stays part of the value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import quote

from crawler.errors import UsageError
from crawler.urls import InvalidUrl, mask, wire_url

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True)
class UrlTemplate:
    """A URL with ``{name}`` where a value goes; ``{{`` and ``}}`` are braces.

    There is one literal more than there are names; a name may come twice.
    """

    literals: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a template. Raises ``UsageError`` when it has no placeholder or gives no URL."""
        shown = f"--url-template {mask(text)!r}"
        literals, names, end = [""], [], 0
        for token in _TOKEN.finditer(text):
            literals[-1] += text[end : token.start()]
            end = token.end()
            if token[0] in ("{{", "}}"):
                literals[-1] += token[0][0]
            elif token[1]:
                names.append(token[1])
                literals.append("")
            else:
                raise UsageError(
                    f"{shown}: {token[0]!r} at position {token.start()}: write {{name}}"
                    " for a value, {{ or }} for a brace"
                )
        literals[-1] += text[end:]
        if not names:
            raise UsageError(f"{shown} has no placeholder: write {{name}} where the value goes")
        template = cls(tuple(literals), tuple(names))
        try:
            wire_url(template.fill("1" * len(names)))
        except InvalidUrl as error:
            raise UsageError(f"{shown} makes no URL: {error}") from None
        return template

    def fill(self, values: Sequence[str]) -> str:
        """The URL with a percent-encoded value for each of ``names``.

        Raises ``UnicodeEncodeError`` for a value that holds an undecodable byte.
        """
        filled = [self.literals[0]]
        for value, literal in zip(values, self.literals[1:], strict=True):
            filled += (quote(value, safe=""), literal)
        return "".join(filled)
