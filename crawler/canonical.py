"""One text for URLs that mean the same (RFC 3986, section 6.2.2 and 6.2.3), to find duplicates by.

Scheme and host in lower case, no default port, no fragment, ``.`` and ``..`` resolved, percent
encodings of unreserved characters undone and the others in capitals, parameters sorted by name.
Only for comparing: what is requested is the URL as it was given.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from crawler.urls import InvalidUrl, wire_url

_ENCODED: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PORTS: Final = {"http": ":80", "https": ":443"}


def canonical(url: str) -> str:
    """Give the text that all URLs of one meaning share; what is no URL stays as it is."""
    try:
        wire = wire_url(url)
    except InvalidUrl:
        return url
    parts = urlsplit(wire.url)
    host = parts.netloc.lower()
    port = _PORTS.get(parts.scheme, "")
    host = host.removesuffix(port) if port else host
    path = _without_dots(_decoded(parts.path)) or "/"
    pairs = sorted(filter(None, _decoded(parts.query).split("&")), key=_name)
    owner = "" if wire.credentials is None else ":".join(wire.credentials) + "@"
    return f"{parts.scheme}://{owner}{host}{path}" + (f"?{'&'.join(pairs)}" if pairs else "")


def _name(pair: str) -> str:
    """Sort by name alone: the order of one name's values may mean something."""
    return pair.partition("=")[0]


def _decoded(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        character = chr(int(match[1], 16))
        return character if character in _UNRESERVED else match[0].upper()

    return _ENCODED.sub(one, text)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    parts = path.split("/")
    for part in parts[1:]:
        if part == "..":
            del kept[-1:]
        elif part != ".":
            kept.append(part)
    if parts[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
