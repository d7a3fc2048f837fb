"""Lists that are fetched first, into a temporary folder: lists at a URL, sitemaps (sitemaps.org).

What cannot be fetched or read is an error before anything else is sent. Credentials in a URL are
used and never shown.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from xml.etree import ElementTree

import requests

from crawler.errors import TargetError
from crawler.settings import DEFAULT_USER_AGENT
from crawler.urls import mask

SITEMAP_BYTES: Final = 52_428_800
"""The most that sitemaps.org allows one file to have, unpacked."""
_LIST_BYTES: Final = 1 << 33
_TIMEOUT_S: Final = 30.0
_SITEMAPS_MOST: Final = 50_000
_ENDINGS: Final = {
    "text/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
}
_KNOWN: Final = re.compile(
    r"\.(txt|csv|tsv|tab|jsonl|ndjson|parquet|arrow|feather)(\.gz)?$", re.IGNORECASE
)


def is_remote(path: str) -> bool:
    """Tell whether a list is named by a URL."""
    return path.lower().startswith(("http://", "https://"))


def check_not_fetched(name: str) -> None:
    """Raise ``TargetError`` for a list at a URL: its address would not be looked at."""
    if is_remote(name):
        raise TargetError(
            f"{mask(name)} is fetched without regard to --block-private: fetch it first, and give "
            "the file"
        )


def fetch_list(url: str, folder: Path) -> str:
    """Fetch a list into a folder; give the file's path, which ends as its format is named.

    Raises ``TargetError`` where it cannot be had.
    """
    with _opened(url) as reply:
        found = _KNOWN.search(urlsplit(url).path)
        kind = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        ending = found[0].lower() if found else _ENDINGS.get(kind, ".txt")
        place = folder / f"list-{len(os.listdir(folder))}{ending}"
        with place.open("wb") as file:
            for piece in _pieces(reply, url, _LIST_BYTES):
                file.write(piece)
    return str(place)


def _opened(url: str) -> requests.Response:
    try:
        headers = {"User-Agent": DEFAULT_USER_AGENT}
        reply = requests.get(url, headers=headers, timeout=_TIMEOUT_S, stream=True)
    except (requests.RequestException, ValueError) as exc:
        kind = type(exc).__name__
        raise TargetError(f"the list {mask(url)} cannot be fetched ({kind}): check it") from None
    if reply.status_code != 200:
        reply.close()
        raise TargetError(f"the list {mask(url)} cannot be fetched: HTTP {reply.status_code}")
    return reply


def _pieces(reply: requests.Response, url: str, most: int) -> Iterator[bytes]:
    size = 0
    try:
        for piece in reply.iter_content(1 << 16):
            size += len(piece)
            if size > most:
                raise TargetError(f"the list {mask(url)} is larger than {most:,} bytes")
            yield piece
    except requests.RequestException as exc:
        kind = type(exc).__name__
        raise TargetError(f"the list {mask(url)} broke off ({kind}): try again") from None


def sitemap_list(
    names: Sequence[str], folder: Path, *, warn: Callable[[str], None], private: bool = True
) -> str:
    """Write the URLs of sitemaps, files or URLs, and of those they name, as a list; give its path.

    Without ``private`` none is fetched. Raises ``TargetError`` for one that cannot be had or read;
    one that only another sitemap names is left out with a warning.
    """
    place = folder / "sitemaps.txt"
    waiting, seen = list(names), set(names)
    with place.open("w", encoding="utf-8") as file:
        while waiting:
            name = waiting.pop(0)
            if not private:
                check_not_fetched(name)
            for kind, url in _entries(name) if name in names else _entries_or_none(name, warn):
                if kind == "url":
                    file.write(url + "\n")
                elif not is_remote(url):  # a stranger's sitemap must not have local files read
                    raise TargetError(
                        f"the sitemap {mask(name)} names {mask(url)[:80]!r}, which is no URL of one"
                    )
                elif url not in seen:
                    seen.add(url)
                    waiting.append(url)
            if len(seen) > _SITEMAPS_MOST:
                raise TargetError(
                    f"the sitemap {mask(name)} and others name over {_SITEMAPS_MOST:,} sitemaps, "
                    "more than an index may: give those that you want with --sitemap"
                )
    return str(place)


def _entries_or_none(name: str, warn: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """Yield the entries of a sitemap that another one names: all before what is wrong with it."""
    try:
        yield from _entries(name)
    except TargetError as exc:
        warn(f"left out: {exc}")


def _entries(name: str) -> Iterator[tuple[str, str]]:
    """Yield ``url`` or ``sitemap`` and the address of each entry."""
    data = _sitemap(name).removeprefix(codecs.BOM_UTF8)
    head = data[:4096].lstrip()
    if b"\0" in head:  # UTF-16: no text, and its <!DOCTYPE would not be seen below
        raise TargetError(f"the sitemap {mask(name)} is not UTF-8: save it as UTF-8")
    if head.startswith((b"{", b"[")):
        raise TargetError(f"the sitemap {mask(name)} is JSON: a sitemap is XML, or a URL a line")
    if not head.startswith(b"<"):  # sitemaps.org allows plain text, a URL a line
        lines = data.decode("utf-8", "replace").splitlines()
        yield from (("url", line.strip()) for line in lines if line.strip())
        return
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise TargetError(f"the sitemap {mask(name)} declares a document type: no sitemap does")
    try:
        for _, element in ElementTree.iterparse(io.BytesIO(data)):
            tag = element.tag.rpartition("}")[2]
            if tag in ("url", "sitemap"):
                for child in element:
                    if child.tag.rpartition("}")[2] == "loc" and (child.text or "").strip():
                        yield tag, (child.text or "").strip()
                element.clear()
    except ElementTree.ParseError as exc:
        raise TargetError(f"the sitemap {mask(name)} is no XML: {exc}") from None


def _sitemap(name: str) -> bytes:
    if is_remote(name):
        with _opened(name) as reply:
            data = b"".join(_pieces(reply, name, SITEMAP_BYTES))
    else:
        try:
            data = Path(name).read_bytes()
        except OSError as exc:
            raise TargetError(f"the sitemap {name} cannot be read: {exc.strerror}") from None
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(SITEMAP_BYTES + 1)
        except (OSError, EOFError, zlib.error) as exc:
            raise TargetError(f"the sitemap {mask(name)} is damaged gzip: {exc}") from None
    if len(data) > SITEMAP_BYTES:
        raise TargetError(f"the sitemap {mask(name)} is larger than {SITEMAP_BYTES:,} bytes")
    return data
