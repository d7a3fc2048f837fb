"""A body as one row of JSON lines, and back. Text where it is text, else Base64."""

from __future__ import annotations

import codecs
import re
from base64 import b64decode, b64encode
from functools import lru_cache
from typing import Any, Final, NamedTuple

from crawler.body_plan import Bodies
from crawler.codec import decode_row, encode_json, encode_row
from crawler.engines.base import Kept
from crawler.record import Record, page_number

ROW_START: Final = b'{"run":"'
"""What every row begins with."""

_CHARSET: Final = re.compile(r"(?i);\s*charset\s*=\s*\"?([\w.:\-]+)")

_CHARSETS: Final = re.compile(
    r"ascii|utf-(8|16|32)(-[bl]e)?|iso8859-\d+|cp\d+|koi8-[rut]|mac-\w+|tis-620|ptcp154|big5(hkscs)?"
    r"|gb2312|gbk|gb18030|hz|johab|euc_\w+|shift_jis\w*|iso2022_\w+"
)


class SavedBody(NamedTuple):
    """A body that was kept, and what its reply said. ``headers`` are () unless they were kept."""

    run: str
    seq: int
    url: str
    status: int | None
    content_type: str | None
    sha256: str
    headers: tuple[tuple[str, str], ...]
    content: bytes
    page: int = 1

    @property
    def text(self) -> str:
        """The content as text: by its charset, else as UTF-8, with replacement characters."""
        return self.content.decode(_charset(self.content_type), "replace")


def encode_body(record: Record, kept: Kept, plan: Bodies) -> bytes:
    """Give the row of a body, newline included."""
    content_type = kept.header("content-type")
    row: dict[str, Any] = {
        "run": record.run,
        "seq": record.seq,
        "url": record.url,
        "status": record.status,
        "content_type": content_type,
        "sha256": kept.body.sha256,
    }
    page = page_number(record.fields)
    if page > 1:
        row["page"] = page
    if plan.headers:
        row["headers"] = [list(pair) for pair in kept.headers]
    content = kept.body.read()
    if plan.parse == "json":
        line = _parsed(row, content)
        if line is not None:
            return line
    row.update(content_field(content, content_type))
    return encode_row(row)


def _parsed(row: dict[str, Any], content: bytes) -> bytes | None:
    """Give the row with the body as JSON; None where it is none."""
    try:
        return encode_json({**row, "json": decode_row(content)})
    except ValueError:
        return None


def content_field(content: bytes, content_type: str | None) -> dict[str, str]:
    """Give a body as ``text``, where the same bytes come of it again, else as ``base64``."""
    charset = _charset(content_type)
    try:
        text = content.decode(charset)
        if text.encode(charset) == content:
            return {"text": text}
    except (UnicodeError, LookupError):
        pass
    return {"base64": b64encode(content).decode("ascii")}


def decode_body(line: bytes) -> SavedBody:
    """Read a row back; raises ``ValueError`` for what is none.

    JSON that was parsed comes back as compact JSON.
    """
    row = decode_row(line)
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    try:
        content = _bytes(row)
        headers = tuple((str(name), str(value)) for name, value in row.get("headers") or ())
        own = (row["run"], row["seq"], row["url"], row["status"], row["content_type"])
        return SavedBody(*own, row["sha256"], headers, content, row.get("page", 1))
    except (KeyError, TypeError) as exc:
        raise ValueError(f"no row of a body: {exc}") from None


def _bytes(row: dict[str, Any]) -> bytes:
    if "base64" in row:
        return b64decode(row["base64"])
    if "json" in row:
        return encode_json(row["json"]).rstrip(b"\n")
    text: str = row["text"]
    return text.encode(_charset(row["content_type"]))


@lru_cache(maxsize=64)
def _charset(content_type: str | None) -> str:
    """Give the charset that a Content-Type names, UTF-8 where it names none that is known."""
    found = _CHARSET.search(content_type or "")
    return "utf-8" if found is None else _known(found[1])


def _known(charset: str) -> str:
    """Give a charset of texts. Python knows more: punycode takes the square of a text's length."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, UnicodeError):
        return "utf-8"
    return name if _CHARSETS.fullmatch(name) else "utf-8"
