"""Lines of an OpenMetrics text: https://prometheus.io/docs/specs/om/open_metrics_spec/."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Labels = Mapping[str, str]


def head(name: str, kind: str, told: str, unit: str = "") -> Iterator[str]:
    """Yield what stands before a family's samples."""
    yield f"# TYPE {name} {kind}"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {told}"


def sample(name: str, labels: Labels, value: float) -> str:
    """Give a sample's line."""
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}"


def _escaped(text: str) -> str:
    """A label's value between its quotes: printable, as a terminal and the grammar want it."""
    return plain(text).replace("\\", "\\\\").replace('"', '\\"')


def plain(text: str) -> str:
    """``text`` with whatever cannot be printed written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
