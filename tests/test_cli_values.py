"""Texts of the command line to values: the right forms, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.cli import values
from crawler.errors import UsageError


def complaint_of(read: Callable[[], object]) -> str:
    """What ``read`` complains of; just the option when it does not."""
    try:
        read()
    except UsageError as exc:
        return str(exc)
    return "-o"


# Durations, sizes, limits, names


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("500ms", 0.5), ("2m", 120), ("1.5h", 5400), (" 1 s ", 1), ("0", 0)],
)
def test_duration_forms(text: str, seconds: float) -> None:
    """A duration is a number with ms, s, m or h; a bare number is seconds."""
    assert values.duration_s(text, "--timeout") == seconds


@given(st.integers(0, 10**9))
def test_whole_milliseconds_survive(milliseconds: int) -> None:
    """Milliseconds come out as exactly that many thousandths of a second."""
    assert values.duration_s(f"{milliseconds}ms", "--timeout") == milliseconds / 1000


@pytest.mark.parametrize("text", ["", "s", "-1", "1e3", "3x", "1 2", "1.s", "inf", "٣s", "9" * 400])
def test_what_is_no_duration_is_named(text: str) -> None:
    """A text that is no duration is refused with the option, the text and an example."""
    with pytest.raises(UsageError, match=r"--timeout: .* is no duration; give one as 30s"):
        values.duration_s(text, "--timeout")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1000", 1000),
        ("100MB", 100_000_000),
        ("1MiB", 1_048_576),
        ("1.5kb", 1500),
        ("0.1GB", 100_000_000),
        ("1 KiB", 1024),
        ("7B", 7),
    ],
)
def test_size_forms(text: str, size: int) -> None:
    """A size is bytes, or a number with a decimal (MB) or binary (MiB) unit, in any case."""
    assert values.size_bytes(text, "--max-body") == size


@given(st.integers(0, 10**15 - 1))
def test_sizes_are_exact(size: int) -> None:
    """A size is computed in whole numbers, never through a float that rounds, and reads back."""
    assert values.size_bytes(f"{size}TiB", "--max-body") == size * 2**40
    assert values.size_bytes(values.size_text(size), "--max-body") == size


@pytest.mark.parametrize("text", ["", "MB", "10M", "10mibs", "-1", "1e6", "1,5MB"])
def test_what_is_no_size_is_named(text: str) -> None:
    """A bare M is neither 10**6 nor 2**20: it is refused with the right forms."""
    with pytest.raises(UsageError, match=r"--max-body: .* is no size; give one as 100MB, 1MiB"):
        values.size_bytes(text, "--max-body")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is typed, a parser gives a value or our own error, nothing else."""
    environ = {"A": "x"}
    for read in (
        lambda: values.duration_s(text, "-o"),
        lambda: values.size_bytes(text, "-o"),
        lambda: values.max_errors(text, "-o"),
        lambda: values.names(text, "-o"),
        lambda: values.expand_env(text, "-o", environ),
        lambda: values.header(text, "-o"),
        lambda: values.user_password(text, "-o"),
        lambda: values.bearer_token(text, "-o"),
        lambda: list(values.cookies((text,), "-o")),
        lambda: values.proxy(text, "-o"),
    ):
        assert complaint_of(read).startswith("-o")


@pytest.mark.parametrize(
    ("text", "failed", "total", "exceeded"),
    [
        ("0", 0, 10, False),
        ("0", 1, 10, True),
        ("3", 3, 3, False),
        ("3", 4, 1000, True),
        ("10%", 1, 10, False),
        ("10%", 2, 10, True),
        ("0.5%", 5, 1000, False),
        ("0.5%", 6, 1000, True),
        ("100%", 9, 9, False),
        ("0%", 0, 0, False),
    ],
)
def test_max_errors(text: str, failed: int, total: int, exceeded: bool) -> None:
    """So many failures, or such a share of them, are still fine; one more is not."""
    assert values.max_errors(text, "--max-errors").exceeded(failed, total) is exceeded


@pytest.mark.parametrize("text", ["", "-1", "101%", "x", "%", "1.5"])
def test_what_is_no_limit_is_named(text: str) -> None:
    """A limit is a count or a share up to 100 %; anything else is refused with both forms."""
    with pytest.raises(UsageError, match=r"--max-errors: .* give a count as 10, or a share"):
        values.max_errors(text, "--max-errors")


# The environment


@given(st.text())
def test_escaping_is_undone(text: str) -> None:
    """``$${`` stands for ``${``, so any text can be written."""
    assert values.expand_env(text.replace("${", "$${"), "-H", {}) == text


def test_variables_are_filled() -> None:
    """``${NAME}`` is the variable's value, which is not expanded again; ``$NAME`` is just text."""
    environ = {"A": "1", "B_2": "${A}"}
    assert values.expand_env("<${A}${B_2}$A$${A}>", "-H", environ) == "<1${A}$A${A}>"


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A B}", "${A"])
def test_half_a_variable_is_refused(text: str) -> None:
    """What looks like a variable and is none would be sent as it stands: it is refused."""
    with pytest.raises(UsageError, match=r"-H: '\$\{' is not followed by NAME"):
        values.expand_env(text, "-H", {})
