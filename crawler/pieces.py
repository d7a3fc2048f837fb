"""Pieces of an option's text that know where they stand, so that an error can point at one.

Columns count characters from 1, as editors do.
"""

from __future__ import annotations

from dataclasses import dataclass

from crawler.errors import UsageError


@dataclass(frozen=True, slots=True)
class Piece:
    """Some of the ``whole`` text given to ``option``: ``text``, which begins at ``column``."""

    text: str
    column: int
    option: str
    whole: str

    @classmethod
    def of(cls, text: str, option: str) -> Piece:
        """The whole text."""
        return cls(text, 1, option, text)

    def part(self, start: int, end: int) -> Piece:
        """The characters from ``start`` to ``end`` (0-based, exclusive), blanks around cut off."""
        inner = self.text[start:end]
        blanks = len(inner) - len(inner.lstrip())
        return Piece(inner.strip(), self.column + start + blanks, self.option, self.whole)

    def split(self, mark: str) -> list[Piece]:
        """The parts between the ``mark``s."""
        parts, start = [], 0
        for text in self.text.split(mark):
            parts.append(self.part(start, start + len(text)))
            start += len(text) + len(mark)
        return parts

    def wrong(self, what: str, example: str) -> UsageError:
        """The error that this piece is ``what``, with the right form to give instead."""
        fault = f"{self.text!r} {what}" if self.text else "nothing stands there"
        return UsageError(f"{self.option} {self.whole!r}, column {self.column}: {fault}; {example}")
