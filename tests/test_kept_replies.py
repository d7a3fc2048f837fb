"""Whole replies, kept for those in a worker who look at them: the same through both engines."""

from __future__ import annotations

import gzip
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.body import IN_MEMORY_BYTES, Body
from crawler.engines.base import Request
from crawler.settings import Settings
from tests.engine_cases import ENGINES, exchange
from tests.raw_server import RawServer, answers


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_body_reads_as_it_was_written(pieces: list[bytes]) -> None:
    """Whatever the pieces, the whole, its size and its digest are theirs, each time it is read."""
    body = Body()
    for piece in pieces:
        body.write(piece)
    whole = b"".join(pieces)
    assert (body.read(), body.read(), body.size) == (whole, whole, len(whole))
    assert body.sha256 == hashlib.sha256(whole).hexdigest()


def test_a_large_body_is_in_a_file() -> None:
    """Memory is bounded by the concurrency, not by what servers send."""
    body = Body()
    whole = b"0123456789" * (IN_MEMORY_BYTES // 8)
    for start in range(0, len(whole), 64_000):
        body.write(whole[start : start + 64_000])
    assert body.open().fileno() > 2
    assert body.read() == whole
    body.close()


@pytest.mark.parametrize("name", ENGINES)
def test_a_reply_is_kept_whole(name: str) -> None:
    """Status line, headers (repeated ones too) and the decoded body, of the final block."""
    packed = gzip.compress(b"some text", mtime=0)
    head = (
        b"HTTP/1.1 200 Fine\r\nA: 1\r\na: 2\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    )
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    with RawServer(answers(hint + head % len(packed) + packed)) as server:
        request = Request(server.url, "GET", (), None, 5.0)
        (reply,) = exchange(name, Settings(keep_replies=True), request)
    assert reply.error is None
    assert reply.kept is not None
    assert reply.kept.request == request
    assert reply.kept.status_line == "HTTP/1.1 200 Fine"
    assert reply.kept.header("a") == "1, 2"
    assert reply.kept.header("link") is None
    assert reply.kept.body.read() == b"some text"


@pytest.mark.parametrize("name", ENGINES)
def test_nothing_is_kept_unasked(name: str) -> None:
    """It would cost every reply, and only some runs look at it."""
    with RawServer(answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")) as server:
        (reply,) = exchange(name, Settings(), Request(server.url, "GET", (), None, 5.0))
    assert (reply.kept, reply.bytes) == (None, 2)
