"""WARC (ISO 28500:2017): request, response and metadata of each exchange; warcio's one home.

Bodies are decoded, so their codings are kept as ``X-Archive-Orig-…`` and the length is that of what
is there. A body that is in the file already, its record in the log, is a revisit. Credentials of a
request are not written. Each record is a gzip member of its own.
"""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from crawler.bodies.appender import Appender
from crawler.body_plan import Bodies
from crawler.engines.base import Kept
from crawler.errors import UsageError
from crawler.record import Record
from crawler.settings import DEFAULT_USER_AGENT

RUN: Final = "X-Crawl-Run"
SEQ: Final = "X-Crawl-Seq"
SHA256: Final = "X-Crawl-Sha256"
"""Whose record it is: extension fields, which other readers leave alone."""

_SECRET: Final = frozenset(("authorization", "proxy-authorization", "cookie"))
_CODINGS: Final = frozenset(("content-encoding", "transfer-encoding", "content-length"))
_KNOWN_MOST: Final = 100_000


class WarcSink:
    """Appends what comes of each target to one WARC file."""

    def __init__(self, plan: Bodies) -> None:
        assert plan.file is not None
        self._file = plan.file
        self._appender = Appender(Path(plan.file))
        self._buffer = io.BytesIO()
        self._writer = _writer(self._buffer, plan.file)
        self._known: dict[str, tuple[str, str]] = {}
        self._fresh: dict[str, tuple[str, str]] = {}

    def add(self, record: Record, kept: Kept) -> str:
        """Take an exchange."""
        url, date = record.final_url or record.url, record.started
        own = {"WARC-Date": date, RUN: record.run, SEQ: str(record.seq), SHA256: kept.body.sha256}
        response = self._response(url, kept, own)
        identity = response.rec_headers.get_header("WARC-Record-ID")
        beside = {**own, "WARC-Concurrent-To": identity}
        new = self._writer.create_warc_record
        head, body = _request_head(kept), io.BytesIO(kept.request.body or b"")
        request = new(url, "request", body, http_headers=head, warc_headers_dict=beside)
        kind, fields = "application/warc-fields", io.BytesIO(_fields(record))
        metadata = new(url, "metadata", fields, warc_content_type=kind, warc_headers_dict=beside)
        for each in (response, request, metadata):
            self._writer.write_record(each)
        return self._file

    def _response(self, url: str, kept: Kept, own: dict[str, str]) -> Any:  # noqa: ANN401
        digest = "sha1:" + base64.b32encode(hashlib.sha1(kept.body.read()).digest()).decode()
        known = self._known.get(digest) if kept.body.size else None
        head = _response_head(kept)
        if known is not None:
            return self._writer.create_revisit_record(
                url, digest, *known, http_headers=head, warc_headers_dict=own
            )
        self._fresh[digest] = (url, own["WARC-Date"])
        return self._writer.create_warc_record(
            url, "response", kept.body.open(), http_headers=head, warc_headers_dict=own
        )

    def flush(self) -> None:
        """Append what was taken as one block."""
        self._appender.append(self._buffer.getvalue())
        self._buffer.seek(0)
        self._buffer.truncate()

    def settled(self) -> None:
        """Let later bodies refer to these: their records are in the log, so they stay."""
        if len(self._known) < _KNOWN_MOST:
            self._known.update(self._fresh)
        self._fresh.clear()

    def close(self) -> None:
        """Close the file."""
        self._appender.close()


def warc_info(path: str) -> bytes:
    """Give the record that a file begins with."""
    buffer = io.BytesIO()
    writer = _writer(buffer, path)
    fields = {
        "software": DEFAULT_USER_AGENT,
        "format": "WARC File Format 1.1",
        "conformsTo": "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
    }
    writer.write_record(writer.create_warcinfo_record(Path(path).name, fields))
    return buffer.getvalue()


def _writer(buffer: io.BytesIO, path: str) -> Any:  # noqa: ANN401
    try:
        from warcio.warcwriter import WARCWriter
    except ImportError:
        raise UsageError(
            ".warc needs the extra: pip install 'crawl-bench[warc]'; .jsonl needs none"
        ) from None
    packed = path.lower().endswith(".gz")
    return WARCWriter(buffer, gzip=packed, warc_version="1.1")


def check_warc(path: str) -> None:
    """Raise ``UsageError`` where WARC cannot be written."""
    _writer(io.BytesIO(), path)


def _request_head(kept: Kept) -> Any:  # noqa: ANN401
    from warcio.statusandheaders import StatusAndHeaders

    parts = urlsplit(kept.request.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = [("Host", parts.netloc), *kept.request.headers]
    shown = [(n, "***" if n.lower() in _SECRET else v) for n, v in headers]
    line = f"{kept.request.method} {target} HTTP/1.1"
    return StatusAndHeaders(line, shown, is_http_request=True)


def _response_head(kept: Kept) -> Any:  # noqa: ANN401
    from warcio.statusandheaders import StatusAndHeaders

    protocol, _, status = kept.status_line.partition(" ")
    headers = [
        (f"X-Archive-Orig-{name}" if name.lower() in _CODINGS else name, value)
        for name, value in kept.headers
    ]
    headers.append(("Content-Length", str(kept.body.size)))
    return StatusAndHeaders(status, headers, protocol=protocol)


def _fields(record: Record) -> bytes:
    fields = {
        "crawl-run": record.run,
        "crawl-seq": record.seq,
        "elapsedMs": record.elapsed_ms,
        "waitMs": record.wait_ms,
        "attempts": record.attempts,
    }
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
