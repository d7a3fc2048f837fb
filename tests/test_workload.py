"""What a benchmark requests: the order, the shares, and the same again for the same seed."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.errors import UsageError
from crawler.record import ARM, Target
from crawler.url_pattern import parse_url_pattern
from crawler.urls import wire_url
from crawler.workload import Workload, a_and_b, in_turn, made_up, shuffled, weighted

TARGETS = [
    Target(0, "http://h/a", fields={"city": "x"}),
    Target(1, "http://h/b"),
    Target(2, "http://h/c"),
]


def urls_of(workload: Workload, count: int) -> list[str]:
    return [target.url for target in islice(workload.targets(), count)]


def test_targets_come_in_turn_numbered_anew_with_what_they_carry() -> None:
    """In their order, again and again; seq counts requests; columns and options stay."""
    targets = list(islice(in_turn(TARGETS).targets(), 5))
    assert [target.url[-1] for target in targets] == ["a", "b", "c", "a", "b"]
    assert [target.seq for target in targets] == [0, 1, 2, 3, 4]
    assert [target.fields for target in targets] == [{"city": "x"}, {}, {}, {"city": "x"}, {}]


def test_each_round_of_a_shuffle_has_every_target_once() -> None:
    """Shuffled, no target is requested again before all were; the seed decides the order."""
    urls = urls_of(shuffled(TARGETS, 7), 300)
    rounds = [urls[i : i + 3] for i in range(0, 300, 3)]
    assert all(sorted(each) == ["http://h/a", "http://h/b", "http://h/c"] for each in rounds)
    assert len({tuple(each) for each in rounds}) == 6
    assert urls == urls_of(shuffled(TARGETS, 7), 300) != urls_of(shuffled(TARGETS, 8), 300)


def test_weights_are_shares() -> None:
    """A weight of 8 to 2 to 0 gives shares near 80, 20 and 0 %."""
    counts = Counter(urls_of(weighted(TARGETS, (8, 2, 0), 1), 10_000))
    assert 7_800 < counts["http://h/a"] < 8_200  # 5 standard deviations
    assert counts["http://h/c"] == 0


@pytest.mark.parametrize("weights", [(1,), (1, 2, 3, 4), (0, 0, 0)])
def test_weights_that_do_not_fit_are_refused(weights) -> None:
    """There is a weight for each URL, one of them above 0."""
    with pytest.raises(UsageError, match="--weights"):
        weighted(TARGETS, weights, 1)


def test_a_and_b_are_interleaved_at_random_in_blocks() -> None:
    """Each block of 16 has 8 of either side, marked, in an order that cannot be foreseen."""
    targets = list(islice(a_and_b(TARGETS[0], TARGETS[1], 3).targets(), 1600))
    arms = ["".join(t.fields[ARM] for t in targets[i : i + 16]) for i in range(0, 1600, 16)]
    assert {arm.count("A") for arm in arms} == {8}
    assert len(set(arms)) > 90
    assert {(t.fields[ARM], t.url) for t in targets} == {("A", "http://h/a"), ("B", "http://h/b")}
    assert targets[0].fields.keys() <= {"city", ARM}


def test_a_pattern_makes_urls_of_its_form() -> None:
    """Sets, words and repeats are chosen at random; all else stands for itself."""
    pattern = parse_url_pattern(
        r"http://127.0.0.1:80/i.php?id=[0-9]{4}&q=(tea|coffee)&r=[a-cX_-]{1,3}\["
    )
    urls = urls_of(made_up(pattern, 1), 2_000)
    prefix, suffix = "http://127.0.0.1:80/i.php?id=", "["
    assert all(url.startswith(prefix) and url.endswith(suffix) for url in urls)
    ids = {url[len(prefix) :][:4] for url in urls}
    assert all(each.isdigit() for each in ids)
    assert len(ids) > 1_500
    assert {url.split("&")[1] for url in urls} == {"q=tea", "q=coffee"}
    tails = [url.split("&r=")[1][:-1] for url in urls]
    assert {len(tail) for tail in tails} == {1, 2, 3}
    assert {char for tail in tails for char in tail} == set("abcX_-")


def test_the_host_of_a_pattern_is_as_written() -> None:
    """An IPv6 address in brackets is no set of characters."""
    pattern = parse_url_pattern("http://[::1]:8000/[ab]")
    assert {wire_url(url).url for url in urls_of(made_up(pattern, 1), 50)} == {
        "http://[::1]:8000/a",
        "http://[::1]:8000/b",
    }


@pytest.mark.parametrize(
    ("text", "column", "what"),
    [
        ("item/[0-9]", 1, "no URL"),
        ("http://h/[", 10, "has no ]"),
        ("http://h/a(b", 11, r"has no \)"),
        ("http://h/[]", 10, "is empty"),
        ("http://h/x[z-a]", 12, "backwards"),
        ("http://h/[a]{0}", 13, "repeats 0"),
        ("http://h/[a]{3,1}", 13, "repeats 3 to 1"),
        ("http://h/a}", 11, "stands alone"),
    ],
)
def test_a_pattern_that_cannot_be_read_says_where(text, column, what) -> None:
    """The error gives the column and an example of the right form."""
    with pytest.raises(UsageError, match=rf"column {column}: .*{what}.*item/\[0-9\]\{{4\}}"):
        parse_url_pattern(text)


def test_a_pattern_without_a_random_part_is_refused() -> None:
    """A plain URL needs no pattern."""
    with pytest.raises(UsageError, match="has no random part"):
        parse_url_pattern("http://h/plain")


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text) -> None:
    """Whatever stands in a pattern, it gives URLs or a clear error."""
    said = ""
    try:
        url = next(parse_url_pattern("http://h/" + text).urls(1))
    except UsageError as exc:
        url, said = "", str(exc)
    assert url.startswith("http://h/") or said.startswith("--rand-url ")
