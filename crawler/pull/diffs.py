"""What changed between two versions: a unified diff to read, or a JSON Patch for programs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from crawler.errors import UsageError
from crawler.exact_json import write_json
from crawler.pull.content import Content

if TYPE_CHECKING:
    from crawler.pull.job import DiffForm

MOST_LINES: Final = 20_000
"""Lines of both sides beyond which no diff is made: difflib's time grows with their product."""


class Diff(NamedTuple):
    """A diff's text, its file's ending, and how many lines (operations) it adds and removes."""

    text: str
    ending: str
    added: int
    removed: int


def check_diff(form: DiffForm) -> None:
    """Raise ``UsageError`` where a form needs what is not installed."""
    if form == "json":
        _json_patch()


def diff_of(old: Content, new: Content, form: DiffForm) -> Diff | None:
    """Tell two versions apart; None where that is not to be, or cannot be told in lines."""
    if form == "json" and old.kind == new.kind == "json":
        try:
            return _patch(old, new)
        except RecursionError:  # nested too deeply for jsonpatch
            return None
    if form == "none" or "binary" in (old.kind, new.kind):
        return None
    try:
        before, after = list(_lines(old)), list(_lines(new))
    except RecursionError:  # nested too deeply to be laid out
        return None
    if len(before) + len(after) > MOST_LINES:
        return None
    lines = list(difflib.unified_diff(before, after, "before", "after", lineterm=""))
    added = sum(line.startswith("+") for line in lines[2:])
    removed = sum(line.startswith("-") for line in lines[2:])
    return Diff("\n".join(lines) + "\n", ".diff", added, removed)


def _lines(content: Content) -> Iterator[str]:
    """Give the lines of a text; of JSON those of its tidy form, without what is ignored."""
    if content.kind != "json":
        return iter(content.data.decode("utf-8", "replace").splitlines())
    tidy = write_json(content.compared, indent=2, sort_keys=True)
    return iter(tidy.splitlines())


def _patch(old: Content, new: Content) -> Diff:
    """Tell what changed but for what is ignored, which no operation names."""
    patch = _json_patch().JsonPatch.from_diff(old.compared, new.compared, dumps=write_json)
    operations = list(patch)
    added = sum(each["op"] in ("add", "replace") for each in operations)
    removed = sum(each["op"] in ("remove", "replace") for each in operations)
    text = write_json(operations, indent=1) + "\n"
    return Diff(text, ".patch.json", added, removed)


def _json_patch() -> Any:  # noqa: ANN401 - a module
    try:
        import jsonpatch
    except ImportError:
        raise UsageError(
            "[store] diff = \"json\" needs the extra: pip install 'crawl-bench[schedule]'"
        ) from None
    return jsonpatch
