"""How an API tells of its next page: one frozen value, read from ``--paginate`` and checked once.

The styles are those that APIs have, by the names that dlt's REST source gives them: a Link header
(RFC 8288), a URL in the JSON, a cursor in the JSON, a page number, an offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, Self, cast

from crawler.errors import UsageError

PageStyle = Literal["link-header", "json", "cursor", "page", "offset"]

DEFAULT_MAX_PAGES: Final = 1000
_FORMS: Final = (
    "give link-header, json:PATH, cursor:PATH=PARAM, page:PARAM or offset:PARAM,LIMIT, "
    "as json:links.next or page:page"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pagination:
    """Where the next page is told, and how many pages a target may have. Raises ``UsageError``.

    ``path`` is a JMESPath expression (``json`` and ``cursor``), ``param`` the parameter of the URL
    that the next page changes (``cursor``, ``page`` and ``offset``), ``limit`` by how much
    (``offset``).
    """

    style: PageStyle
    path: str = ""
    param: str = ""
    limit: int = 1
    max_pages: int = DEFAULT_MAX_PAGES

    def __post_init__(self) -> None:
        if self.max_pages < 1:
            raise UsageError(f"--max-pages is {self.max_pages}: give at least 1")

    @classmethod
    def parse(cls, text: str, max_pages: int = DEFAULT_MAX_PAGES) -> Self:
        """Read ``json:links.next`` and the like. Raises ``UsageError``."""
        style, _, rest = text.partition(":")
        path, param, limit = "", "", "1"
        if style == "json":
            path = rest
        elif style == "cursor":
            path, _, param = rest.rpartition("=")
        elif style == "page":
            param = rest
        elif style == "offset":
            param, _, limit = rest.rpartition(",")
        known = style in ("link-header", "json", "cursor", "page", "offset")
        fits = bool(path) == (style in ("json", "cursor"))
        named = bool(param) == (style in ("cursor", "page", "offset"))
        counts = limit.isascii() and limit.isdigit() and 0 < int(limit[:10]) < 10**9
        if not (known and fits and named and counts) or (style == "link-header" and rest):
            raise UsageError(f"--paginate {text!r} is no style: {_FORMS}")
        return cls(
            style=cast("PageStyle", style),
            path=path.strip(),
            param=param.strip(),
            limit=int(limit),
            max_pages=max_pages,
        )
