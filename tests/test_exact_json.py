"""JSON whose numbers keep their digits."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.exact_json import read_json, write_json

_DIGITS = st.text("0123456789", min_size=1, max_size=40).map(lambda text: text.lstrip("0") or "0")
_NUMBERS = st.builds(
    lambda sign, whole, part, power: sign + whole + part + power,
    st.sampled_from(["", "-"]),
    _DIGITS,
    st.one_of(st.just(""), st.text("0123456789", min_size=1, max_size=40).map(".".__add__)),
    st.one_of(st.just(""), st.integers(-400, 400).map(lambda power: f"e{power}")),
)


@given(_NUMBERS)
def test_a_number_keeps_its_value(text: str) -> None:
    """However many digits it has, and however far from 1 it is; written, it is the same again."""
    read = read_json(f'{{"n": {text}}}'.encode())["n"]
    assert Decimal(repr(read) if isinstance(read, float) else read) == Decimal(text)
    assert Decimal(write_json([read])[1:-1]) == Decimal(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
        | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab\"'1.e"), inner),
    )
)  # fmt: skip
def test_what_a_double_holds_is_what_json_gives(value: Any) -> None:
    """Whichever of the two readers reads it."""
    text = json.dumps(value)
    assert read_json(text.encode()) == value
    assert json.loads(write_json(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "[1, 12345678901234567, NaN]", "[12345678901234567, Infinity]", "[12345678901234567",
        "[1e99999999999999999999]", '["\ud800", 12345678901234567]', "[012345678901234567]", "",
        '["\\ud800", 12345678901234567]', '["\\uDC00\\ud800", 12345678901234567]',
    ],
    ids=[
        "nan", "infinity", "cut off", "no exponent", "no Unicode", "leading zero", "nothing",
        "half of a pair", "the halves exchanged",
    ],
)  # fmt: skip
def test_what_is_no_json_is_refused(text: str) -> None:
    """A number of many digits makes the reader no laxer."""
    with pytest.raises(ValueError, match=r"\w"):
        read_json(text.encode("utf-8", "surrogatepass"))


def test_a_whole_pair_is_a_character() -> None:
    """Beyond the basic plane, JSON's escapes come in pairs."""
    assert read_json(b'["\\ud83d\\ude00", 12345678901234567]') == ["\U0001f600", 12345678901234567]


def test_a_byte_order_mark_is_left_out() -> None:
    """Windows' servers send one."""
    assert read_json(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_a_text_that_looks_like_a_number_stays_a_text() -> None:
    """Only numbers lose their quotes."""
    value = {"n": Decimal("1.00000000000000000001"), "t": "1.00000000000000000001"}
    assert write_json(value) == '{"n":1.00000000000000000001,"t":"1.00000000000000000001"}'


def test_digits_by_the_thousand() -> None:
    """Python's own limit on reading them (CVE-2020-10735) is none here."""
    text = "9" * 5000
    assert write_json(read_json(f"[{text}]".encode())) == f"[{text}]"
