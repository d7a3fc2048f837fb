"""Reading WARC back: whose records there are, and the bodies in them. Memory is an index."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from crawler.bodies.rows import SavedBody
from crawler.bodies.warc import RUN, SEQ, SHA256
from crawler.errors import LogError, UsageError


class Place(NamedTuple):
    """One record of a file: its bytes, and whose it is; ``seq`` is -1 where it is not ours."""

    kind: str
    run: str
    seq: int
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

    Raises ``LogError`` where the file cannot be read.
    """
    for record, offset, length in _walk(path):
        head = record.rec_headers
        run, seq = head.get_header(RUN), head.get_header(SEQ)
        ours = run is not None and seq is not None and seq.isdigit()
        yield Place(
            record.rec_type,
            run if ours else "",
            int(seq) if ours else -1,
            head.get_header(SHA256) or "",
            head.get_header("WARC-Payload-Digest") or "",
            offset,
            length,
        )


def warc_bodies(path: Path) -> Iterator[SavedBody]:
    """Yield the body of each target in input order, run after run; of revisits, the first one's."""
    wanted: list[tuple[str, int, int, str]] = []
    originals: dict[str, int] = {}
    for place in places(path):
        if place.kind == "response":
            originals.setdefault(place.digest, place.offset)
        if place.kind in ("response", "revisit") and place.seq >= 0:
            wanted.append((place.run, place.seq, place.offset, place.digest))
    wanted.sort()
    with path.open("rb") as file:
        for run, seq, offset, digest in wanted:
            head, content = _at(file, offset)
            if head.rec_type == "revisit":
                _, content = _at(file, originals.get(digest, offset))
            yield _saved(run, seq, head, content)


def _at(file: Any, offset: int) -> tuple[Any, bytes]:  # noqa: ANN401
    from warcio.archiveiterator import ArchiveIterator

    file.seek(offset)
    record = next(iter(ArchiveIterator(file)))
    return record, record.content_stream().read()


def _saved(run: str, seq: int, record: Any, content: bytes) -> SavedBody:  # noqa: ANN401
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
    )


def _walk(path: Path) -> Iterator[tuple[Any, int, int]]:
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            records = ArchiveIterator(file)
            for record in records:
                records.read_to_end(record)
                offset, length = records.get_record_offset(), records.get_record_length()
                if offset + length > size:
                    return
                yield record, offset, length
    except (ArchiveLoadFailed, EOFError):
        return
    except OSError as exc:
        raise LogError(f"cannot read {path}: {exc.strerror or exc}") from None
