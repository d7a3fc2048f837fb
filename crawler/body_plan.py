"""Where bodies go and which are kept, in one frozen value, validated once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from crawler.errors import UsageError

Parse = Literal["none", "json"]
Form = Literal["folder", "jsonl", "warc", "parquet"]

BODY_FIELDS: Final = ("body", "sha256", "content_type")
"""What a record says of a body that was kept: where it is, its digest, its type."""

DEFAULT_NAME: Final = "{index:08d}-{host}-{sha1:8}{ext}"

_ENDINGS: Final[dict[str, Form]] = {
    ".jsonl": "jsonl",
    ".jsonl.gz": "jsonl",
    ".jsonl.zst": "jsonl",
    ".warc": "warc",
    ".warc.gz": "warc",
    ".parquet": "parquet",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """A ``folder`` with a file for each body, or one ``file`` for all. Raises ``UsageError``.

    ``name`` is the pattern of a folder's files, ``fanout`` the digits of their digest that name a
    folder in it. ``headers`` keeps the reply's headers in a row. ``only_status`` and ``only_type``
    (beginnings of a Content-Type) say which replies are kept: all, where they are empty.
    """

    folder: str | None = None
    file: str | None = None
    name: str = DEFAULT_NAME
    fanout: int = 0
    parse: Parse = "none"
    headers: bool = False
    only_status: tuple[int, ...] = ()
    only_type: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.folder is None) == (self.file is None):
            raise UsageError("--save-bodies and --bodies both say where bodies go: give one")
        if not 0 <= self.fanout <= 8:
            raise UsageError(f"--fanout is {self.fanout}: give 1 to 8 digits, or 0 for no folders")
        if self.file is not None and form_of(self.file) is None:
            raise UsageError(
                f"--bodies {self.file}: the extension tells the form: give .jsonl, .jsonl.gz, "
                ".jsonl.zst, .warc, .warc.gz or .parquet"
            )

    @property
    def form(self) -> Form:
        """What bodies are kept as."""
        form = "folder" if self.file is None else form_of(self.file)
        assert form is not None, "the file's name was checked"
        return form


def form_of(path: str) -> Form | None:
    """Give the form that a file's name tells; None for any other name."""
    name = path.lower()
    return next((form for end, form in _ENDINGS.items() if name.endswith(end)), None)
