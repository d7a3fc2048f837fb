"""WARC (ISO 28500:2017, WARC/1.1): request, response and metadata of each exchange.

Bodies are decoded, so their codings are kept as ``X-Archive-Orig-…`` and the length is that of what
is there. A body that is in the file already, its record in the log, is a revisit. Credentials of a
request are not written. Each record is a gzip member of its own. Records are written here, because
warcio takes 300 us for the three; it reads them, and a test has it check them.
"""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
import zlib
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from crawler.bodies.appender import PENDING_BYTES, Appender
from crawler.body_plan import Bodies
from crawler.engines.base import Kept
from crawler.record import Record, page_number
from crawler.settings import DEFAULT_USER_AGENT

RUN: Final = "X-Crawl-Run"
SEQ: Final = "X-Crawl-Seq"
PAGE: Final = "X-Crawl-Page"
SHA256: Final = "X-Crawl-Sha256"
"""Whose record it is: extension fields, which other readers leave alone."""

_SECRET: Final = re.compile(r"(?i)auth|cookie|token|secret|key|passw|session|signature")
"""Names of headers whose values may be secrets: they are written as ``***``."""
_CODINGS: Final = frozenset(("content-encoding", "transfer-encoding", "content-length"))
_KNOWN_MOST: Final = 100_000
_REVISIT: Final = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
_LEVEL: Final = 1
"""zlib's quickest: three members a target are the larger part of the work."""

Fields = tuple[tuple[str, str], ...]


class WarcSink:
    """Appends what comes of each target to one WARC file."""

    def __init__(self, plan: Bodies) -> None:
        assert plan.file is not None
        self._file = plan.file
        self._packed = plan.file.lower().endswith(".gz")
        self._appender = Appender(Path(plan.file))
        self._blocks: list[bytes] = []
        self._size = 0
        self._known: dict[str, tuple[str, str]] = {}
        self._fresh: dict[str, tuple[str, str]] = {}

    def add(self, record: Record, kept: Kept) -> str:
        """Take an exchange."""
        own: Fields = (
            ("WARC-Target-URI", record.final_url or record.url),
            ("WARC-Date", record.started),
            (RUN, record.run),
            (SEQ, str(record.seq)),
            (SHA256, kept.body.sha256),
        )
        page = page_number(record.fields)
        own = own if page == 1 else (*own, (PAGE, str(page)))
        identity = new_id()
        kind, fields, block = self._response(own, kept)
        self._put(kind, identity, (*own, *fields), block)
        beside = (*own, ("WARC-Concurrent-To", identity))
        self._put("request", new_id(), (*beside, *_HTTP_REQUEST), _request(kept))
        self._put("metadata", new_id(), (*beside, *_FIELDS), _metadata(record))
        if self._size >= PENDING_BYTES:
            self.flush()
        return self._file

    def _response(self, own: Fields, kept: Kept) -> tuple[str, Fields, bytes]:
        """Give kind, fields and block of a response, or of a revisit."""
        body = kept.body.read()
        digest = sha1(body)
        fields = (*_HTTP_RESPONSE, ("WARC-Payload-Digest", digest))
        known = self._known.get(digest) if body else None
        if known is None:
            self._fresh[digest] = (own[0][1], own[1][1])
            return "response", fields, _response_head(kept) + body
        refers = (
            ("WARC-Profile", _REVISIT),
            ("WARC-Refers-To-Target-URI", known[0]),
            ("WARC-Refers-To-Date", known[1]),
        )
        return "revisit", (*fields, *refers), _response_head(kept)

    def _put(self, kind: str, identity: str, fields: Fields, block: bytes) -> None:
        data = warc_record(kind, identity, fields, block, packed=self._packed)
        self._blocks.append(data)
        self._size += len(data)

    def flush(self) -> None:
        """Append what was taken as one block."""
        self._appender.append(b"".join(self._blocks))
        self._blocks.clear()
        self._size = 0

    def settled(self) -> None:
        """Let later bodies refer to these: their records are in the log, so they stay."""
        if len(self._known) < _KNOWN_MOST:
            self._known.update(self._fresh)
        self._fresh.clear()

    def close(self) -> None:
        """Close the file."""
        self._appender.close()


_HTTP_RESPONSE: Final = (("Content-Type", "application/http; msgtype=response"),)
_HTTP_REQUEST: Final = (("Content-Type", "application/http; msgtype=request"),)
_FIELDS: Final = (("Content-Type", "application/warc-fields"),)


def warc_record(kind: str, identity: str, fields: Fields, block: bytes, *, packed: bool) -> bytes:
    """Give one record, a gzip member if ``packed``; ``fields`` are beside those of any record."""
    lines = [f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Record-ID: {identity}\r\n"]
    lines += [f"{name}: {value}\r\n" for name, value in fields]
    lines.append(f"WARC-Block-Digest: {sha1(block)}\r\nContent-Length: {len(block)}\r\n\r\n")
    data = b"".join(("".join(lines).encode("utf-8", "replace"), block, b"\r\n\r\n"))
    return _member(data) if packed else data


def _member(data: bytes) -> bytes:
    member = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return member.compress(data) + member.flush()


def nobody(records: bytes, *, packed: bool) -> bytes:
    """Give the first of some records as nobody's: a revisit needs its content, no target has it."""
    if packed:
        records = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(records)
    head, mark, rest = records.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    size = next(int(x[15:]) for x in lines if x.startswith(b"Content-Length:"))
    own = f"{SEQ}:".encode()
    kept = b"\r\n".join(line for line in lines if not line.startswith(own))
    data = kept + mark + rest[:size] + mark
    return _member(data) if packed else data


def warc_info(path: str, date: str) -> bytes:
    """Give the record that a file begins with."""
    text = (
        f"software: {DEFAULT_USER_AGENT}\r\nformat: WARC File Format 1.1\r\n"
        "conformsTo: http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/"
        "\r\n"
    )
    fields = (("WARC-Date", date), ("WARC-Filename", Path(path).name), *_FIELDS)
    packed = path.lower().endswith(".gz")
    return warc_record("warcinfo", new_id(), fields, text.encode(), packed=packed)


def new_id() -> str:
    """Give a record's id, as no other record has."""
    return f"<urn:uuid:{uuid.uuid4()}>"


def sha1(data: bytes) -> str:
    """Give a digest as WARC writes it."""
    return "sha1:" + base64.b32encode(hashlib.sha1(data).digest()).decode("ascii")


def _request(kept: Kept) -> bytes:
    parts = urlsplit(kept.request.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{kept.request.method} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"]
    for name, value in kept.request.headers:
        lines.append(f"{name}: {'***' if _SECRET.search(name) else value}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("utf-8", "surrogateescape") + (kept.request.body or b"")


def _response_head(kept: Kept) -> bytes:
    lines = [kept.status_line, "\r\n"]
    for name, value in kept.headers:
        prefix = "X-Archive-Orig-" if name.lower() in _CODINGS else ""
        lines.append(f"{prefix}{name}: {value}\r\n")
    lines.append(f"Content-Length: {kept.body.size}\r\n\r\n")
    return "".join(lines).encode("latin-1", "replace")


def _metadata(record: Record) -> bytes:
    fields = {
        "crawl-run": record.run,
        "crawl-seq": record.seq,
        "elapsedMs": record.elapsed_ms,
        "waitMs": record.wait_ms,
        "attempts": record.attempts,
    }
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
