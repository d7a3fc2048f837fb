"""A URL with random parts: ``http://host/item/[0-9]{4}``, another address for each request.

Text stands for itself, dots and question marks too. ``[a-z0-9_]`` is one character of a set,
``(tea|coffee)`` one of some words, and ``{4}`` or ``{2,8}`` after either repeats it. The scheme
and the host are always as written; a backslash takes the meaning from the character after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from crawler.errors import UsageError
from crawler.pieces import Piece

EXAMPLE: Final = "give it as http://host/item/[0-9]{4}"
_AUTHORITY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_REPEAT: Final = re.compile(r"\{([0-9]{1,4})(?:,([0-9]{1,4}))?\}")
_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class _Part:
    """One of ``choices``, from ``least`` to ``most`` times."""

    choices: Sequence[str]
    least: int = 1
    most: int = 1

    def text(self, random: Random) -> str:
        if len(self.choices) == 1 and self.least == self.most:
            return self.choices[0] * self.least
        return "".join(random.choices(self.choices, k=random.randint(self.least, self.most)))


@dataclass(frozen=True, slots=True)
class UrlPattern:
    """A parsed pattern. ``urls`` gives as many addresses as are asked for."""

    parts: tuple[_Part, ...]

    def urls(self, seed: int) -> Iterator[str]:
        """Give random URLs without end, the same ones for the same ``seed``."""
        random = Random(seed)
        while True:
            yield "".join([part.text(random) for part in self.parts])


def parse_url_pattern(text: str, option: str = "--rand-url") -> UrlPattern:
    """Read a pattern; raises ``UsageError`` naming the column of what cannot be read."""
    authority = _AUTHORITY.match(text)
    if authority is None:
        whole = Piece.of(text, option)
        raise whole.wrong("is no URL with a scheme and a host", EXAMPLE)
    reader = _Reader(text, authority.end(), option)
    parts = (_Part((authority[0],)), *reader.parts())
    if all(len(part.choices) == 1 for part in parts):
        raise UsageError(f"{option} {text!r} has no random part: {EXAMPLE}")
    return UrlPattern(parts)


class _Reader:
    """Reads a pattern from left to right."""

    def __init__(self, text: str, at: int, option: str) -> None:
        self._text = text
        self._at = at
        self._option = option

    def parts(self) -> Iterator[_Part]:
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "[":
                yield self._repeated(self._set(self._until("]")))
            elif char == "(":
                yield self._repeated(tuple(self._until(")").split("|")))
            elif char in "{}])":
                raise self._wrong(self._at, self._at + 1, "stands alone: write \\ before it")
            else:
                yield self._literal()

    def _literal(self) -> _Part:
        if self._text[self._at] == "\\" and self._at + 1 < len(self._text):
            self._at += 1
        self._at += 1
        return self._repeated((self._text[self._at - 1],))

    def _until(self, end: str) -> str:
        """Give what stands between the bracket here and its end, and go on after it."""
        start = self._at
        stop = self._text.find(end, start)
        if stop < 0:
            raise self._wrong(start, len(self._text), f"has no {end}")
        if stop == start + 1:
            raise self._wrong(start, stop + 1, "is empty")
        self._at = stop + 1
        return self._text[start + 1 : stop]

    def _set(self, inner: str) -> tuple[str, ...]:
        """Spell out ``a-z0-9_``."""
        begun = self._at - len(inner) - 1
        chars: dict[str, None] = {}
        i = 0
        while i < len(inner):
            last = inner[i + 2] if inner[i + 1 : i + 2] == "-" and i + 2 < len(inner) else inner[i]
            if last < inner[i]:
                raise self._wrong(begun + i, begun + i + 3, "is a range backwards")
            chars.update(dict.fromkeys(map(chr, range(ord(inner[i]), ord(last) + 1))))
            i += 3 if last is not inner[i] and inner[i + 1 : i + 2] == "-" else 1
        return tuple(chars)

    def _repeated(self, choices: tuple[str, ...]) -> _Part:
        match = _REPEAT.match(self._text, self._at)
        if match is None:
            return _Part(choices)
        least, most = int(match[1]), int(match[2] or match[1])
        if not 0 < most <= _MOST or least > most:
            raise self._wrong(*match.span(), f"repeats {least} to {most} times, of 1 to {_MOST}")
        self._at = match.end()
        return _Part(choices, least, most)

    def _wrong(self, start: int, end: int, what: str) -> UsageError:
        return Piece.of(self._text, self._option).part(start, end).wrong(what, EXAMPLE)
