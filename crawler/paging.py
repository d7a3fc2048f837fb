"""An API's further pages, as further targets of the same line: what a reply says of the next one.

Each page has its record, with its number as ``page`` and in ``next`` the URL of the one behind it;
the last one's ``next`` is empty. So the log tells how far a line's pages were followed, and a run
that was killed goes on with the page behind the last.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote_plus, urljoin, urlsplit

from crawler.engines.base import Kept
from crawler.exact_json import read_json
from crawler.pagination import Pagination
from crawler.record import NEXT, PAGE, Record, Target, page_number
from crawler.selecting import compiled, search
from crawler.urls import InvalidUrl, wire_url

_LINK: Final = re.compile(r"<([^<>]*)>((?:\s*;\s*[^,;\"=]+(?:=(?:\"[^\"]*\"|[^,;\"]*))?)*)")
_REL: Final = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s,;\"]+))", re.IGNORECASE)
_AUTHORITY: Final = re.compile(r"[^/?#]*://[^/?#]*@")
_DEPTH: Final = 3
_SHOWN: Final = 80


class _NoPagesError(Exception):
    """A reply from which the next page cannot be told; the message says why."""


class _Followed:
    """What is known of the pages of one target, to see that they end."""

    __slots__ = ("body", "urls")

    def __init__(self) -> None:
        self.urls: set[int] = set()
        self.body = ""


def first_page(target: Target) -> Target:
    """Give a target as the first of its pages."""
    return target._replace(fields={**target.fields, PAGE: "1", NEXT: ""})


def page_of(target: Target, url: str, page: int) -> Target:
    """Give a further page of a target, with the credentials that its URL has."""
    found = _AUTHORITY.match(target.url)
    if found is not None:
        scheme, mark, rest = url.partition("://")
        url = f"{scheme}{mark}{found[0].partition('://')[2]}{rest}"
    return target._replace(url=url, fields={**target.fields, PAGE: str(page), NEXT: ""})


class Pager:
    """The keeper that finds the next page, and notes it in the record. Raises ``UsageError``."""

    def __init__(self, rules: Pagination) -> None:
        self._rules = rules
        self._followed: dict[int, _Followed] = {}
        self._path = compiled(rules.path, "--paginate") if rules.path else None
        kinds: dict[str, Callable[[str, Kept], str]] = {
            "link-header": self._by_link,
            "json": self._by_json,
            "cursor": self._by_cursor,
            "page": self._by_number,
            "offset": self._by_number,
        }
        self._next = kinds[rules.style]

    def further(self, target: Target, record: Record) -> Target | None:
        """Give the page behind that of a record; None behind the last one."""
        url, page = record.fields.get(NEXT), page_number(record.fields)
        if not url or record.error is not None or page >= self._rules.max_pages:
            return None
        return page_of(target, url, page + 1)

    def keep(self, record: Record, kept: Kept) -> Record:
        """Note the next page; a page from which it cannot be told is ``unexpected``."""
        if record.error is not None:
            return record
        try:
            url = self._checked(record, kept)
        except _NoPagesError as exc:
            self._followed.pop(record.seq, None)
            return record._replace(error="unexpected", detail=str(exc))
        if not url:
            self._followed.pop(record.seq, None)
        return record._replace(fields={**record.fields, NEXT: url})

    def _checked(self, record: Record, kept: Kept) -> str:
        """Give the URL of the next page, "" behind the last one: of this host, and a new one."""
        here = record.final_url or record.url
        found = self._next(here, kept)
        if not found:
            return ""
        url = _on_this_host(record.url, here, found)
        if page_number(record.fields) == 1:
            self._followed.pop(record.seq, None)
        known = self._followed.setdefault(record.seq, _Followed())
        known.urls.add(hash(wire_url(_bare(here)).url))
        if hash(url) in known.urls:
            raise _NoPagesError(f"the next page was fetched already: {url[:_SHOWN]}")
        if self._rules.style in ("page", "offset") and known.body == kept.body.sha256:
            raise _NoPagesError("the page is the same as the one before: do the pages end?")
        known.body = kept.body.sha256
        return url

    def _by_link(self, _: str, kept: Kept) -> str:
        for name, value in kept.headers:
            if name.lower() == "link":
                for link in _LINK.finditer(value):
                    rel = _REL.search(link[2])
                    if rel and "next" in (rel[1] or rel[2] or "").lower().split():
                        return link[1]
        return ""

    def _by_json(self, _: str, kept: Kept) -> str:
        found = search(self._path, _reply(kept))
        if found is None or isinstance(found, str):
            return found or ""
        raise _NoPagesError(f"{self._rules.path} is no URL in the reply (--paginate json:)")

    def _by_cursor(self, here: str, kept: Kept) -> str:
        found = search(self._path, _reply(kept))
        if found is None or found == "" or found is False:
            return ""
        if isinstance(found, dict | list):
            raise _NoPagesError(
                f"{self._rules.path} is no cursor in the reply (--paginate cursor:)"
            )
        return with_param(here, self._rules.param, str(found))

    def _by_number(self, here: str, kept: Kept) -> str:
        """Count on until a page holds nothing; an offset ends with one that is not full, too."""
        rules = self._rules
        count = 0 if kept.body.size == 0 else _items(_reply(kept))
        if count is None:
            raise _NoPagesError(f"no list is in the reply (--paginate {rules.style}:)")
        if count == 0 or (rules.style == "offset" and count < rules.limit):
            return ""
        now = dict(parse_qsl(urlsplit(here).query)).get(rules.param, "")
        first = 1 if rules.style == "page" else 0
        number = int(now) if now.isascii() and now.isdigit() else first
        return with_param(here, rules.param, str(number + rules.limit))

    def flush(self) -> None:
        """Nothing is written here."""

    def settled(self) -> None:
        """Nothing waits for that."""

    def close(self) -> None:
        """Nothing is open."""


def with_param(url: str, name: str, value: str) -> str:
    """Give a URL with a parameter set; the others stay as they are written."""
    parts = urlsplit(url)
    pairs = [pair for pair in parts.query.split("&") if pair]
    pair, done = f"{quote(name, safe='')}={quote(value, safe='')}", False
    for at, old in enumerate(pairs):
        if unquote_plus(old.partition("=")[0]) == name:
            pairs[at], done = pair, True
    return parts._replace(query="&".join(pairs if done else (*pairs, pair)), fragment="").geturl()


def _on_this_host(own: str, here: str, found: str) -> str:
    """Give the URL of a link as it is seen from here; credentials go to no other host."""
    try:
        base, link = wire_url(_bare(own)), wire_url(_bare(urljoin(here, found.strip())))
    except (InvalidUrl, ValueError) as exc:
        raise _NoPagesError(f"the next page is no URL: {exc}") from None
    before, after = urlsplit(base.url), urlsplit(link.url)
    if link.origin == base.origin:
        return link.url
    if before.hostname == after.hostname and after.scheme == "https":
        return link.url
    if before.hostname == after.hostname and before.scheme == "https":
        # An API behind a proxy that speaks TLS for it does not know its own scheme.
        return after._replace(scheme="https", netloc=before.netloc).geturl()
    raise _NoPagesError(
        f"the next page is of another host, {link.origin[:_SHOWN]}: give that as a target"
    )


def _bare(url: str) -> str:
    """Give a URL without its credentials."""
    found = _AUTHORITY.match(url)
    return url if found is None else url.partition("://")[0] + "://" + url[found.end() :]


def _reply(kept: Kept) -> Any:  # noqa: ANN401 - any JSON
    try:
        return read_json(kept.body.read())
    except RecursionError:
        raise _NoPagesError("the page is nested too deeply (--paginate)") from None
    except ValueError as exc:
        raise _NoPagesError(f"the page is no JSON (--paginate): {exc}") from None


def _items(value: Any, depth: int = 0) -> int | None:  # noqa: ANN401
    """Count the items of the longest list that is not deep in a reply; None where there is none."""
    if isinstance(value, list):
        return len(value)
    if not isinstance(value, dict) or depth == _DEPTH:
        return None
    if not value:
        return 0
    counts = (_items(each, depth + 1) for each in value.values())
    return max((count for count in counts if count is not None), default=None)
