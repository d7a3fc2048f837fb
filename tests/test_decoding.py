"""Content-Encoding undone: any split, any nesting, no memory for bombs, no silence about damage."""

from __future__ import annotations

import gzip
import itertools
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.decoding import MAX_CODINGS, PIECE_BYTES, DecodeFailed, Decoder, TooLarge

MB = 1_000_000


def raw_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "X-GZIP": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "identity": lambda data: data,
}


def decode(coding: str, chunks: list[bytes], limit: int = 10 * MB) -> bytes:
    out: list[bytes] = []
    decoder = Decoder(coding, limit, out.append)
    for chunk in chunks:
        decoder.feed(chunk)
    decoder.finish()
    decoded = b"".join(out)
    assert decoder.size == len(decoded)
    assert all(len(piece) <= max(PIECE_BYTES, *map(len, chunks)) for piece in out)
    return decoded


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(
    data=st.binary(max_size=5000) | st.integers(0, 300_000).map(bytes),
    codings=st.lists(st.sampled_from(sorted(ENCODERS)), max_size=MAX_CODINGS),
    cuts=st.lists(st.integers(0, 400_000), max_size=6),
)
def test_any_body_in_any_split_under_any_nesting_round_trips(
    data: bytes, codings: list[str], cuts: list[int]
) -> None:
    """Codings are undone last first, wherever the network cuts the body."""
    body = data
    for coding in codings:
        body = ENCODERS[coding](body)
    assert decode(" , ".join(codings), split(body, cuts)) == data


@pytest.mark.parametrize("coding", sorted(ENCODERS))
def test_a_body_fed_byte_by_byte_decodes(coding: str) -> None:
    """One byte at a time is a split like any other."""
    data = b"crawl " * 50
    body = ENCODERS[coding](data)
    assert decode(coding, [body[i : i + 1] for i in range(len(body))]) == data


@pytest.mark.parametrize("coding", ["gzip", "deflate", "Deflate"])
def test_a_body_cut_at_any_byte_fails(coding: str) -> None:
    """A compressed body that stops early is never taken for a whole one."""
    body = ENCODERS[coding](bytes(range(256)) * 3)
    for end in range(1, len(body)):
        with pytest.raises(DecodeFailed, match="ends in the middle"):
            decode(coding, [body[:end]])


def test_a_cut_inside_an_inner_coding_fails() -> None:
    """Every layer must come to its end, not the outer one only."""
    inner = gzip.compress(b"x" * 1000)[:-9]
    with pytest.raises(DecodeFailed, match="ends in the middle"):
        decode("gzip, gzip", [gzip.compress(inner)])


@given(parts=st.lists(st.binary(max_size=200), min_size=1, max_size=4), cut=st.integers(0, 900))
def test_gzip_members_in_a_row_are_one_body(parts: list[bytes], cut: int) -> None:
    """RFC 1952, section 2.2: members follow one another and decode to their concatenation."""
    body = b"".join(gzip.compress(part) for part in parts)
    assert decode("gzip", split(body, [cut])) == b"".join(parts)


def test_padding_after_gzip_is_ignored() -> None:
    """What is no further member after a complete one is left aside, as other clients do."""
    body = gzip.compress(b"hello")
    assert decode("gzip", [body, b"\0\0\0", b"\x1f junk"]) == b"hello"


def test_a_second_member_cut_short_fails() -> None:
    """A further member that has begun must end."""
    with pytest.raises(DecodeFailed, match="ends in the middle"):
        decode("gzip", [gzip.compress(b"hello") + gzip.compress(b"again")[:7]])


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_data_of_another_kind_fail(coding: str) -> None:
    """A body that is not what its header says is refused at once."""
    with pytest.raises(DecodeFailed, match="corrupt"):
        decode(coding, [b"\xff<html>plain text</html>"])


def test_a_wrong_checksum_fails() -> None:
    """gzip's CRC is checked: a flipped bit does not pass."""
    body = bytearray(gzip.compress(b"hello"))
    body[-6] ^= 1
    with pytest.raises(DecodeFailed, match="corrupt"):
        decode("gzip", [bytes(body)])


@pytest.mark.parametrize("coding", ["br", "zstd, gzip", "nonsense"])
def test_an_unknown_coding_passes_through(coding: str) -> None:
    """What cannot be decoded is counted as it came, from the unknown coding inwards."""
    wire = gzip.compress(b"hello") if coding.endswith("gzip") else b"hello"
    assert decode(coding, [wire]) == b"hello"


@pytest.mark.parametrize("coding", ["", "gzip", "deflate", "gzip, deflate", "br"])
def test_an_empty_body_is_fine(coding: str) -> None:
    """Replies to HEAD name the coding that a GET would have: no byte, no error."""
    assert decode(coding, []) == b""
    assert decode(coding, [b""]) == b""


def test_more_codings_than_allowed_fail() -> None:
    """At most five codings are undone; six are an attack."""
    decoder = Decoder(", ".join(["gzip"] * 6), MB)
    with pytest.raises(DecodeFailed, match="6 codings"):
        decoder.feed(b"x")


@pytest.mark.parametrize("coding", sorted(ENCODERS))
def test_the_limit_holds_to_the_byte(coding: str) -> None:
    """A body of exactly the limit passes; one byte more raises, and is not counted."""
    body = ENCODERS[coding](b"x" * 1000)
    assert decode(coding, [body], limit=1000) == b"x" * 1000
    decoder = Decoder(coding, 999)
    with pytest.raises(TooLarge):
        decoder.feed(body)
    assert decoder.size <= 999


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_costs_no_memory(layers: int) -> None:
    """A 1000:1 bomb is stopped at the limit with a few pieces of memory in use."""
    bomb = gzip.compress(bytes(100 * MB), 9)
    for _ in range(layers - 1):
        bomb = gzip.compress(bomb, 9)
    decoder = Decoder(", ".join(["gzip"] * layers), 50 * MB)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            decoder.feed(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 49 * MB < decoder.size <= 50 * MB
    assert peak < 10 * PIECE_BYTES
