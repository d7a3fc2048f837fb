"""Reading WARC back: whose records there are, and the bodies in them. Memory is an index."""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

from crawler.bodies.packing import unpacked
from crawler.bodies.rows import SavedBody
from crawler.bodies.warc import PAGE, RUN, SEQ, SHA256
from crawler.errors import LogError, UsageError

_GZIP: Final = b"\x1f\x8b\x08"
_MEMBER_BYTES: Final = 1024
_END: Final = b"\r\n\r\n"
_HEAD_BYTES: Final = 1 << 16


class Place(NamedTuple):
    """One record of a file: its bytes, and whose it is; ``seq`` is -1 where it is not ours."""

    kind: str
    run: str
    seq: int
    page: int
    sha256: str
    digest: str
    offset: int
    length: int


def check_warcio() -> None:
    """Raise ``UsageError`` where WARC cannot be read: a run that is resumed has to."""
    if find_spec("warcio") is None:
        raise UsageError(
            ".warc needs the extra: pip install 'crawl-bench[warc]'; .jsonl needs none"
        )


def places(path: Path) -> Iterator[Place]:
    """Yield every whole record in order; one that is cut off ends it.

    Raises ``LogError`` where the file cannot be read, or is damaged elsewhere than at its end.
    """
    for head, offset, length in _walk(path):
        run, seq = head.get(RUN.lower(), ""), head.get(SEQ.lower(), "")
        page = head.get(PAGE.lower(), "1")
        ours = bool(run) and seq.isdigit()
        yield Place(
            head.get("warc-type", ""),
            run if ours else "",
            int(seq) if ours else -1,
            int(page) if page.isdigit() else 1,
            head.get(SHA256.lower(), ""),
            head.get("warc-payload-digest", ""),
            offset,
            length,
        )


def warc_bodies(path: Path) -> Iterator[SavedBody]:
    """Yield the body of each target in input order, run after run; of revisits, the first one's."""
    wanted: list[tuple[str, int, int, int, str]] = []
    originals: dict[str, int] = {}
    for place in places(path):
        if place.kind == "response":
            originals.setdefault(place.digest, place.offset)
        if place.kind in ("response", "revisit") and place.seq >= 0:
            wanted.append((place.run, place.seq, place.page, place.offset, place.digest))
    wanted.sort()
    with path.open("rb") as file:
        for run, seq, page, offset, digest in wanted:
            head, content = _at(file, offset)
            if head.rec_type == "revisit":
                _, content = _at(file, originals.get(digest, offset))
            yield _saved(run, seq, page, head, content)


def _at(file: Any, offset: int) -> tuple[Any, bytes]:  # noqa: ANN401
    from warcio.archiveiterator import ArchiveIterator

    file.seek(offset)
    record = next(iter(ArchiveIterator(file)))
    return record, record.content_stream().read()


def _saved(run: str, seq: int, page: int, record: Any, content: bytes) -> SavedBody:  # noqa: ANN401
    head, http = record.rec_headers, record.http_headers
    status = http.get_statuscode()
    return SavedBody(
        run,
        seq,
        head.get_header("WARC-Target-URI"),
        int(status) if status.isdigit() else None,
        http.get_header("Content-Type"),
        head.get_header(SHA256) or "",
        tuple(http.headers),
        content,
        page,
    )


def _walk(path: Path) -> Iterator[tuple[dict[str, str], int, int]]:
    """Yield fields, offset and length of each whole record: warcio takes a torn one for whole."""
    packed = path.name.lower().endswith(".gz")
    end = 0
    try:
        size = path.stat().st_size
        for offset, head, length in _members(path) if packed else _plain(path, size):
            end = offset + length
            yield head, offset, length
    except OSError as exc:
        raise LogError(f"cannot read {path}: {exc.strerror or exc}") from None
    if end < size and _goes_on(path, end + 1):
        raise LogError(
            f"{path} is damaged in its record at byte {end}: restore it, or give another file"
        )


def _members(path: Path) -> Iterator[tuple[int, dict[str, str], int]]:
    for offset, length, data in unpacked(path, "gzip"):
        head, block_at = _fields(data)
        if head is None or block_at + int(head["content-length"]) + len(_END) != len(data):
            return
        yield offset, head, length


def _plain(path: Path, size: int) -> Iterator[tuple[int, dict[str, str], int]]:
    offset = 0
    with path.open("rb") as file:
        while offset < size:
            file.seek(offset)
            head, block_at = _fields(file.read(_HEAD_BYTES))
            if head is None:
                return
            length = block_at + int(head["content-length"]) + len(_END)
            file.seek(offset + length - len(_END))
            if file.read(len(_END)) != _END:
                return
            yield offset, head, length
            offset += length


def _fields(data: bytes) -> tuple[dict[str, str] | None, int]:
    """Give the fields of a record, by their names in lower case, and where its block begins."""
    head, mark, _ = data.partition(_END)
    if not mark or not head.startswith(b"WARC/1."):
        return None, 0
    pairs = (line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n")[1:])
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    fits = fields.get("content-length", "").isdigit()
    return fields if fits else None, len(head) + len(mark)


def _goes_on(path: Path, start: int) -> bool:
    """Tell whether another record begins after ``start``: then what is wrong is no torn end."""
    marks = (_GZIP, _END + b"WARC/1.")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for mark in marks:
            at = data.find(mark, start)
            while at >= 0:
                if mark is not _GZIP or _is_member(data[at : at + _MEMBER_BYTES]):
                    return True
                at = data.find(mark, at + 1)
    return False


def _is_member(data: bytes) -> bool:
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(data).startswith(b"WARC/1.")
    except zlib.error:
        return False
