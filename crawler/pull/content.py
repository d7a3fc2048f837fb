"""What a reply's body is, and when two of them are the same.

JSON is compared by its value, numbers by all of their digits: the order of members and the blanks
between them are no change, nor is what the job ignores. Anything else is compared byte by byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from crawler.bodies.names import extension
from crawler.bodies.rows import SavedBody
from crawler.exact_json import read_json, write_json
from crawler.pull.json_paths import JsonPath

_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*[\[{]")
"""How JSON begins that is more than a single value, a byte order mark before it or not."""

_LINES: Final = re.compile(r"(?i)ndjson|jsonl|json-?lines|json-seq")

ContentKind = Literal["json", "text", "binary", "empty"]


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """A body that was read: ``kind`` and ``digest`` tell whether it changed.

    ``value`` is what JSON holds, None of another kind, ``compared`` the same without what is
    ignored; ``ending`` the extension of its file, ``why`` what keeps it from being JSON.
    """

    kind: ContentKind
    digest: str
    data: bytes
    ending: str
    value: Any = None
    compared: Any = None
    why: str = ""


def read_content(body: SavedBody, ignore: tuple[JsonPath, ...]) -> Content:
    """Read a body as what it is, whatever it says it is."""
    data, ending = body.content, extension(body.content_type)
    why = ""
    if _says_json(body.content_type) or (_may_be_json(body.content_type) and _START.match(data)):
        try:
            return _json(data, ignore)
        except ValueError as exc:
            why = str(exc)
        except RecursionError:
            why = "it is nested too deeply"
    return _plain(data, ending, why)


def read_version(data: bytes, kind: str | None, ignore: tuple[JsonPath, ...]) -> Content:
    """Read a version that is kept as what it was when it came: ``kind``."""
    if kind == "json":
        with contextlib.suppress(ValueError, RecursionError):
            return _json(data, ignore)
    return _plain(data, "", "")


def _json(data: bytes, ignore: tuple[JsonPath, ...]) -> Content:
    value = read_json(data)
    compared = value
    for path in ignore:
        compared = path.without(compared)
    return Content("json", _digest(compared), data, ".json", value, compared)


def _plain(data: bytes, ending: str, why: str) -> Content:
    """Take a body as bytes; ``why`` it is no JSON is kept with it."""
    kind: ContentKind = "empty" if not data.strip() else "text" if _is_text(data) else "binary"
    return Content(kind, hashlib.sha256(data).hexdigest(), data, ending, why=why)


def _may_be_json(content_type: str | None) -> bool:
    """Whether what looks like JSON is: not JSON lines, which are so until a second one comes."""
    return not _LINES.search(content_type or "")


def _says_json(content_type: str | None) -> bool:
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _are_lines(data: bytes) -> bool:
    """Whether each of several lines is JSON: what came before was so as well, of one line."""
    lines = [line for line in data.splitlines() if line.strip()]
    if len(lines) < 2 or not all(map(_START.match, lines)):
        return False
    try:
        for line in lines:
            read_json(line)
    except (ValueError, RecursionError):
        return False
    return True


def _is_text(data: bytes) -> bool:
    if b"\0" in data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _digest(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    return hashlib.sha256(write_json(value, sort_keys=True).encode("utf-8")).hexdigest()


def fault_of(content: Content, body: SavedBody, before: str | None, *, allow_empty: bool) -> str:
    """Say what keeps a reply from being data; empty where nothing does.

    ``before`` is the kind of the newest version, None without one.
    """
    if content.kind == "empty" and not allow_empty and body.status != 204:
        return "the body is empty; [store] allow-empty = true takes that for data"
    if content.kind == "json" or content.kind == "empty":
        return ""
    kind = (body.content_type or "no Content-Type").partition(";")[0].strip()
    if _says_json(body.content_type):
        return f"the Content-Type says JSON and the body is none: {content.why}"
    are_lines = not _may_be_json(body.content_type) or _are_lines(content.data)
    if before == "json" and not are_lines:
        return f"JSON was expected, as in the version before, and {kind} came"
    return ""
