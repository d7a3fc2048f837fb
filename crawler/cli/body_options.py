"""The options of bodies: where they go, what they are named, which are kept."""

from __future__ import annotations

from typing import Final, TypedDict

from crawler.bodies.names import PLACES, NamePattern
from crawler.body_plan import BODY_FIELDS, DEFAULT_NAME, Bodies, Parse, form_of
from crawler.cli import values
from crawler.cli.grouped import OptionGroup
from crawler.cli.option_groups import (
    choice_option,
    default_option,
    file_option,
    flag_option,
    text_option,
    texts_option,
)
from crawler.errors import UsageError

_KINDS: Final = (
    "application",
    "audio",
    "font",
    "image",
    "message",
    "model",
    "multipart",
    "text",
    "video",
)


class BodyParams(TypedDict):
    """The options of bodies, as click gives them."""

    save_bodies: str | None
    bodies: str | None
    name: str
    fanout: int
    parse: Parse
    save_headers: bool
    only_status: tuple[str, ...]
    only_type: tuple[str, ...]


def bodies(params: BodyParams, keep: tuple[str, ...]) -> Bodies | None:
    """Read the options; None where no bodies are kept. Raises ``UsageError``."""
    if params["save_bodies"] is None and params["bodies"] is None:
        _check_unheeded(params)
        return None
    taken = [name for name in keep if name in BODY_FIELDS]
    if taken:
        raise UsageError(
            f"--keep {taken[0]}: a record says under that name where its body is; "
            "rename the column, or keep no bodies"
        )
    if params["bodies"] is not None and (params["name"] != DEFAULT_NAME or params["fanout"]):
        raise UsageError("--name and --fanout are of a folder's files: they need --save-bodies")
    _check_fits(params, keep)
    return Bodies(
        folder=params["save_bodies"],
        file=params["bodies"],
        name=params["name"],
        fanout=params["fanout"],
        parse=params["parse"],
        headers=params["save_headers"],
        only_status=tuple(
            _status(x) for x in values.all_names(params["only_status"], "--only-status")
        ),
        only_type=tuple(map(_type, values.all_names(params["only_type"], "--only-type"))),
    )


def _check_fits(params: BodyParams, keep: tuple[str, ...]) -> None:
    """Refuse what the form that was chosen has no use for."""
    unknown = NamePattern.parse(params["name"], 0).places.difference(PLACES, keep)
    if unknown:
        name = min(unknown)
        raise UsageError(
            f"--name: {{{name}}} is nothing that a body has; there are "
            f"{', '.join(f'{{{place}}}' for place in PLACES)}, and the columns kept: "
            f"give --keep {name} if the list has one"
        )
    file = params["bodies"]
    form = None if file is None else form_of(file)
    if params["parse"] != "none" and form != "jsonl":
        raise UsageError("--parse json makes JSON of bodies in rows: give --bodies FILE.jsonl")
    if params["save_headers"] and form is None:
        raise UsageError(
            "--save-headers puts headers beside bodies: a folder's files have no place for them; "
            "give --bodies FILE.jsonl, .parquet or .warc.gz"
        )


def _check_unheeded(params: BodyParams) -> None:
    given = {
        "--name": params["name"] != DEFAULT_NAME,
        "--fanout": bool(params["fanout"]),
        "--parse": params["parse"] != "none",
        "--save-headers": params["save_headers"],
        "--only-status": bool(params["only_status"]),
        "--only-type": bool(params["only_type"]),
    }
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} is about bodies: give --save-bodies DIR or --bodies FILE")


def _status(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 100 <= int(text) <= 999):
        raise UsageError(f"--only-status: {text!r} is no status code; give some as 200,206")
    return int(text)


def _type(text: str) -> str:
    kind = text.lower()
    if "/" not in kind and kind not in _KINDS:
        raise UsageError(
            f"--only-type: {text!r} is no media type nor the beginning of one; "
            "give some as application/json,image"
        )
    return kind


BODIES: Final = OptionGroup(
    "Bodies (read and counted, and not kept unless one of the first two is given)",
    (
        text_option(
            "--save-bodies", metavar="DIR", help="Keep each body as a file in this folder."
        ),
        file_option(
            "--bodies",
            help="Keep all bodies in one file: .jsonl, .jsonl.gz, .jsonl.zst, .warc.gz, .parquet.",
        ),
        default_option(
            "--name",
            metavar="PATTERN",
            value=DEFAULT_NAME,
            help="Name of a file: {index}, {host}, {path}, {status}, {sha1}, {sha256}, {ext} or a "
            "kept column.",
        ),
        default_option(
            "--fanout",
            metavar="N",
            value=0,
            help="Put files in folders named by so many digits of their digest.",
        ),
        choice_option(
            "--parse", among=("none", "json"), value="none", help="Keep JSON as JSON in .jsonl."
        ),
        flag_option("--save-headers", help="Keep the reply's headers too, in .jsonl and .parquet."),
        texts_option("--only-status", metavar="CODE,...", help="Keep bodies of these only."),
        texts_option("--only-type", metavar="TYPE,...", help="Keep bodies of these types only."),
    ),
)
