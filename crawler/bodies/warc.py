"""WARC (ISO 28500:2017, WARC/1.1): request, response and metadata of each exchange.

Bodies are decoded, so their codings are kept as ``X-Archive-Orig-…`` and the length is that of what
is there. A body that is in the file already, its record in the log, is a revisit. Credentials of a
request are not written. Each record is a gzip member of its own. Records are written here, because
warcio takes 300 us for the three; it reads them, and a test has it check them.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Final

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

_TOLD: Final = re.compile(
    r"(?i)user-agent|accept(-.*)?|content-(type|length|encoding|language)|range|if-.*|cache-control"
    r"|pragma|referer|connection|host|te|expect|dnt|upgrade-insecure-requests|sec-fetch-.*"
)
"""Names of request headers whose values are no secrets; those of all others become ``***``."""
_CODINGS: Final = frozenset(("content-encoding", "transfer-encoding", "content-length"))
_KNOWN_MOST: Final = 100_000
_REVISIT: Final = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
_LEVEL: Final = 1
"""zlib's quickest: three members a target are the larger part of the work."""
_SMALL_BYTES: Final = 4096
"""Up to this size zlib works in 32 KB: its usual 256 KB take 50 us to set up, beside 20 to pack."""
_TINY_BYTES: Final = 1000
"""Up to this size its fixed codes are used: to count better ones takes longer than to pack."""

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
        self._new_id = _Ids().new
        self._known: dict[str, tuple[str, str]] = {}
        self._fresh: dict[str, tuple[str, str]] = {}

    def add(self, record: Record, kept: Kept) -> str:
        """Take an exchange."""
        own, identity = _own_fields(record, kept), self._new_id()
        kind, fields, block = self._response(record, kept)
        self._put(kind, identity, own + fields, block)
        beside = f"{own}WARC-Concurrent-To: {identity}\r\n"
        self._put("request", self._new_id(), beside + _HTTP_REQUEST, _request(record, kept))
        self._put("metadata", self._new_id(), beside + _FIELDS, _metadata(record))
        if self._size >= PENDING_BYTES:
            self.flush()
        return self._file

    def _response(self, record: Record, kept: Kept) -> tuple[str, str, bytes]:
        """Give kind, fields and block of a response, or of a revisit."""
        body = kept.body.read()
        digest = sha1(body)
        fields = f"{_HTTP_RESPONSE}WARC-Payload-Digest: {digest}\r\n"
        known = self._known.get(digest) if body else None
        if known is None:
            self._fresh[digest] = (record.final_url or record.url, record.started)
            block = _response_head(kept) + body
            return "response", f"{fields}WARC-Block-Digest: {sha1(block)}\r\n", block
        refers = (
            f"WARC-Profile: {_REVISIT}\r\nWARC-Refers-To-Target-URI: {known[0]}\r\n"
            f"WARC-Refers-To-Date: {known[1]}\r\n"
        )
        return "revisit", fields + refers, _response_head(kept)

    def _put(self, kind: str, identity: str, fields: str, block: bytes) -> None:
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


_HTTP_RESPONSE: Final = "Content-Type: application/http; msgtype=response\r\n"
_HTTP_REQUEST: Final = "Content-Type: application/http; msgtype=request\r\n"
_FIELDS: Final = "Content-Type: application/warc-fields\r\n"


def _own_fields(record: Record, kept: Kept) -> str:
    """Give the fields that all records of an exchange have."""
    page = page_number(record.fields)
    return (
        f"WARC-Target-URI: {record.final_url or record.url}\r\nWARC-Date: {record.started}\r\n"
        f"{RUN}: {record.run}\r\n{SEQ}: {record.seq}\r\n{SHA256}: {kept.body.sha256}\r\n"
        + (f"{PAGE}: {page}\r\n" if page > 1 else "")
    )


def warc_record(kind: str, identity: str, fields: str, block: bytes, *, packed: bool) -> bytes:
    """Give one record, a gzip member if ``packed``; ``fields`` are beside those of any record."""
    head = (
        f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Record-ID: {identity}\r\n"
        f"{fields}Content-Length: {len(block)}\r\n\r\n"
    )
    data = b"".join((head.encode("utf-8", "replace"), block, b"\r\n\r\n"))
    return _member(data) if packed else data


def _member(data: bytes) -> bytes:
    if len(data) > _SMALL_BYTES:
        member = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    elif len(data) > _TINY_BYTES:
        member = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + 12, 5)
    else:
        member = zlib.compressobj(_LEVEL, zlib.DEFLATED, 16 + 12, 5, zlib.Z_FIXED)
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
    fields = f"WARC-Date: {date}\r\nWARC-Filename: {Path(path).name}\r\n{_FIELDS}"
    packed = path.lower().endswith(".gz")
    return warc_record("warcinfo", _Ids().new(), fields, text.encode(), packed=packed)


class _Ids:
    """Ids of records: a random UUID of this worker's, its last part counted on."""

    def __init__(self) -> None:
        self._start = f"<urn:uuid:{str(uuid.uuid4())[:-12]}"
        self._count = secrets.randbits(32)

    def new(self) -> str:
        """Give an id as no other record has."""
        self._count += 1
        return f"{self._start}{self._count:012x}>"


def sha1(data: bytes) -> str:
    """Give a digest as WARC writes it: in Base32, ten bits at a time."""
    number = int.from_bytes(hashlib.sha1(data).digest())
    return "sha1:" + "".join([_BASE32[number >> shift & 1023] for shift in _SHIFTS])


_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_BASE32: Final = [first + second for first in _LETTERS for second in _LETTERS]
_SHIFTS: Final = tuple(range(150, -1, -10))


def _request(record: Record, kept: Kept) -> bytes:
    _, _, rest = (record.final_url or record.url).partition("://")  # without a session's keys
    host, slash, path = rest.partition("/")  # of a URL that was sent: it has a path
    line = f"{kept.request.method} {slash}{path} HTTP/1.1\r\nHost: {host}\r\n"
    head = line.encode("utf-8", "surrogateescape") + _request_fields(kept.request.headers)
    return head + (kept.request.body or b"")


@lru_cache(maxsize=256)
def _request_fields(headers: Fields) -> bytes:
    lines = [f"{name}: {value if _TOLD.fullmatch(name) else '***'}\r\n" for name, value in headers]
    return "".join((*lines, "\r\n")).encode("utf-8", "surrogateescape")


def _response_head(kept: Kept) -> bytes:
    lines = [kept.status_line, "\r\n"]
    for name, value in kept.headers:
        prefix = "X-Archive-Orig-" if name.lower() in _CODINGS else ""
        lines.append(f"{prefix}{name}: {value}\r\n")
    lines.append(f"Content-Length: {kept.body.size}\r\n\r\n")
    return "".join(lines).encode("latin-1", "replace")


def _metadata(record: Record) -> bytes:
    return (
        f"crawl-run: {record.run}\r\ncrawl-seq: {record.seq}\r\n"
        f"elapsedMs: {record.elapsed_ms}\r\nwaitMs: {record.wait_ms}\r\n"
        f"attempts: {record.attempts}\r\n"
    ).encode()
