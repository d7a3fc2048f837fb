"""Names of files for bodies: never outside their folder, whatever a URL or a server says.

A value that goes into a name loses all that is not a letter, a digit or one of ``._-~+=@,``; a part
of a path is no ``.`` or ``..``, no name that Windows reserves, and at most 200 bytes long.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crawler.errors import UsageError

LONGEST_BYTES: Final = 200
_PLACE: Final = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_NUMBERS: Final = frozenset(("index", "status"))
_UNFIT: Final = re.compile(r"[^\w.\-~+=@,]", re.UNICODE)
_RESERVED: Final = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_LENGTHS: Final[Mapping[str, int]] = {"sha1": 40, "sha256": 64}
_WRITTEN_EXTENSION: Final = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}$")
_EXTENSION: Final = re.compile(r"\.[a-z0-9]{1,8}")

PLACES: Final = ("index", "host", "path", "status", "sha1", "sha256", "ext")
"""What a name may hold beside columns of the list."""

EXTENSIONS: Final[Mapping[str, str]] = {
    "application/json": ".json",
    "application/ld+json": ".json",
    "application/problem+json": ".json",
    "application/xml": ".xml",
    "application/pdf": ".pdf",
    "application/zip": ".zip",
    "application/gzip": ".gz",
    "application/javascript": ".js",
    "application/x-ndjson": ".jsonl",
    "application/xhtml+xml": ".html",
    "application/octet-stream": ".bin",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/css": ".css",
    "text/csv": ".csv",
    "text/xml": ".xml",
    "text/javascript": ".js",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/gif": ".gif",
    "image/webp": ".webp",
    "image/svg+xml": ".svg",
    "audio/mpeg": ".mp3",
    "video/mp4": ".mp4",
}
"""Extensions by media type. A table of our own: the system's differ from machine to machine."""


def extension(content_type: str | None) -> str:
    """Give the extension for a Content-Type, ``.bin`` for one that says nothing."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind in EXTENSIONS:
        return EXTENSIONS[kind]
    if kind.endswith("+json"):
        return ".json"
    if kind.endswith("+xml"):
        return ".xml"
    return ".bin"


@dataclass(frozen=True, slots=True)
class NamePattern:
    """A pattern such as ``{index:08d}-{host}-{sha1:8}{ext}``, read once.

    ``stem`` and ``end`` are the pattern cut before its extension: between them stands what makes a
    name differ from others'.
    """

    stem: str
    end: str
    fanout: int
    places: frozenset[str]
    by_content: bool
    """A name holds a whole digest of its body: a file that has it holds the same."""

    @classmethod
    def parse(cls, pattern: str, fanout: int) -> NamePattern:
        """Read a pattern. Raises ``UsageError`` naming the placeholder that cannot be."""
        for name, form in _PLACE.findall(pattern):
            _check_place(name, form)
        rest = _PLACE.sub("", pattern)
        if "{" in rest or "}" in rest:
            raise UsageError(f"--name {pattern!r}: a brace is not closed, as in {{host}}")
        if not pattern.strip() or pattern.startswith("/") or pattern.endswith("/"):
            raise UsageError(f"--name {pattern!r}: give a name within the folder")
        found = _PLACE.findall(pattern)
        stem, end = _cut_extension(pattern)
        places = frozenset(name for name, _ in found)
        by_content = any(name in _LENGTHS and not form for name, form in found)
        if not by_content and not _tells_apart(stem, end):
            stem += "-{index}"  # two bodies may not have one name
        return cls(stem, end, fanout, places, by_content)

    @property
    def needs_sha1(self) -> bool:
        """Whether a name holds the body's SHA-1, which nothing else asks for."""
        return "sha1" in self.places

    def fill(self, values: Mapping[str, str | int], digest: str, beside: str = "") -> str:
        """Give the name for a body, with ``/`` between its parts; ``digest`` makes the fan-out.

        What the name is to be told from others by, a run say, goes ``beside`` what it has.
        """
        pattern = f"{self.stem}-{beside}{self.end}" if beside else self.stem + self.end
        filled = _PLACE.sub(lambda m: _value(values.get(m[1], ""), m[1], m[2] or ""), pattern)
        parts = [_part(part) for part in filled.split("/") if part]
        head = [digest[: self.fanout]] if self.fanout else []
        return "/".join((*head, *parts))


def _tells_apart(stem: str, end: str) -> bool:
    """Tell whether a name's ``{index}`` can be read back from it, so that no two names are alike.

    It can where it stands first or last, and no digit or other value stands beside it.
    """
    pieces = _PLACE.split(stem)  # text, name, form, text, name, form, ..., text
    texts, names = pieces[::3], pieces[1::3]
    if "index" not in names or end.removeprefix("{ext}").partition("{")[1]:
        return False
    first = names[0] == "index" and _parts(texts[1][:1] if len(names) > 1 else "")
    last = names[-1] == "index" and _parts(texts[-2][-1:] if len(names) > 1 else "")
    return first or last if len(names) > 1 else True


def _parts(character: str) -> bool:
    return character != "" and not character.isalnum() and character != "_"


def _cut_extension(pattern: str) -> tuple[str, str]:
    """Cut before ``{ext}``, or before an extension that is written out, as in ``{id}.json``."""
    stem, mark, end = pattern.partition("{ext}")
    if mark:
        return stem, mark + end
    found = _WRITTEN_EXTENSION.search(pattern)
    return (pattern, "") if found is None else (pattern[: found.start()], found[0])


def _check_place(name: str, form: str) -> None:
    if not name:
        raise UsageError("--name: {} names nothing; placeholders are {index}, {host}, {ext} …")
    fits = re.fullmatch(r"(0?\d{1,2}d?)?" if name in _NUMBERS else r"(\d{1,3})?", form)
    if fits is None:
        raise UsageError(
            f"--name: {{{name}:{form}}} cannot be: give digits for a number, as {{index:08d}}, "
            "and a length for a text, as {sha1:8}"
        )
    if name in _LENGTHS and form and int(form) > _LENGTHS[name]:
        raise UsageError(f"--name: {{{name}:{form}}} is longer than its {_LENGTHS[name]} digits")


def _value(value: str | int, name: str, form: str) -> str:
    if isinstance(value, int):
        width = int(form.rstrip("d") or 0)
        return str(value).rjust(width, "0" if form.startswith("0") else "_")
    if name == "ext":
        return value if _EXTENSION.fullmatch(value) else ".bin"
    text = _UNFIT.sub("_", value)
    return text[: int(form)] if form else text


def _part(part: str) -> str:
    """Make one part of a path fit for any file system."""
    part = _UNFIT.sub("_", part).strip(". ") if part.strip(". ") else "_" * len(part)
    part = "_" + part if _RESERVED.fullmatch(part) else part
    data = part.encode("utf-8", "replace")
    if len(data) <= LONGEST_BYTES:
        return data.decode("utf-8")
    end = _EXTENSION.search(part[-9:])
    tail = "-" + hashlib.sha1(data).hexdigest()[:12] + (end[0] if end else "")
    return data[: LONGEST_BYTES - len(tail)].decode("utf-8", "ignore") + tail
