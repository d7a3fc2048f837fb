"""A job file's options of the main job: read by ``crawl run``'s own parser, under its own names.

So an option means in a job what it means on the command line, and its errors are the same, with the
file and the section in front. Relative paths are those from the job file's folder: whoever reads
requests stands there.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import click

from crawler.cli.grouped import OptionGroup
from crawler.cli.list_options import LISTS
from crawler.cli.option_groups import REQUEST, TARGETS
from crawler.cli.options import RunOptions, RunParams, parse
from crawler.cli.polite_options import POLITENESS
from crawler.cli.reply_options import REPLIES
from crawler.cli.run import open_list
from crawler.cli.run_command import OUTPUT, POOL_AND_RECORD, RETRIES, run_command
from crawler.environment import expand_files
from crawler.errors import UsageError
from crawler.pull.job import CursorPlan
from crawler.pull.job_file import JobFile, Sections
from crawler.pull.keys import SECTIONS, Key
from crawler.pull.moments import names_cursor, place_fault, protected, sample
from crawler.settings import Settings
from crawler.targets import TargetList
from crawler.urls import InvalidUrl, mask, wire_url

_GROUPS: Final[tuple[tuple[str, tuple[OptionGroup, ...]], ...]] = (
    ("targets", (TARGETS, LISTS)),
    ("request", (REQUEST,)),
    ("politeness", (POLITENESS,)),
    ("retries", (RETRIES,)),
    ("replies", (REPLIES,)),
    ("pool", (POOL_AND_RECORD,)),
    ("output", (OUTPUT,)),
)
_NOT_OF_A_JOB: Final = frozenset(
    ("out", "resume", "retry-failed", "wait", "summary", "quiet", "debug", "dedupe", "sample")
)
"""What a pull decides for itself: its log, its ends, and that each target is asked each time."""
_WITH_SECRETS: Final = frozenset(("header", "user", "bearer", "cookie", "proxy"))
_BODIES: Final = frozenset(("data", "json"))
_PLACE: Final = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|\$\{file:[^{}]+\}")
_LIST: Final = "list"


def _options() -> Iterator[tuple[str, str, click.Option]]:
    """Yield section, key and option of all that a job may say of the main job's."""
    for section, groups in _GROUPS:
        for group in groups:
            for option in group.options:
                name = next(o for o in option.opts if o.startswith("--")).removeprefix("--")
                if name not in _NOT_OF_A_JOB:
                    yield section, name, option


def _key(name: str, option: click.Option) -> Key:
    shown = option.metavar or "TEXT"
    default = option.default if isinstance(option.default, str | int | float) else shown
    example = "true" if option.is_flag else f'"{default}"'
    if isinstance(option.type, click.Choice):
        choices = tuple(map(str, option.type.choices))
        return Key(name, "choice", option.help or "", example, choices)
    kind = "flag" if option.is_flag else "texts" if option.multiple else "text"
    return Key(name, cast(Any, kind), option.help or "", example)


def known_keys() -> Sections:
    """Give all keys of a job file, by section: its own and the main job's."""
    known: dict[str, dict[str, Key]] = {
        section: {key.name: key for key in keys} for section, keys in SECTIONS.items()
    }
    for section, name, option in _options():
        known.setdefault(section, {})[name] = _key(name, option)
    return known


@dataclass(frozen=True, slots=True)
class JobRequests:
    """What a job requests: its ``settings``, and where its targets come from."""

    settings: Settings
    options: RunOptions
    warn: Callable[[str], None]
    left_out: list[str] = field(default_factory=list)
    """What was said to be missing of the targets when they were opened."""

    @property
    def whole(self) -> bool:
        """Whether all targets were there when they were opened."""
        return not self.left_out

    @contextlib.contextmanager
    def open(self) -> Iterator[TargetList]:
        """Open the targets; raises ``CrawlError`` as ``crawl run`` does."""
        with contextlib.ExitStack() as opened:
            try:
                listed = open_list(self.options, self.settings, opened, self._leave_out)
            except UsageError as exc:
                raise UsageError(_placed(str(exc))) from None
            yield opened.enter_context(listed)

    def _leave_out(self, words: str) -> None:
        self.left_out.append(words)
        self.warn(words)


def read_requests(file: JobFile, warn: Callable[[str], None]) -> JobRequests:
    """Read what a job requests, secrets and all; raises ``UsageError``."""
    try:
        params = _params(file)
        options, settings = parse(params, stdin_piped=False)
    except click.ClickException as exc:
        raise UsageError(f"{file.path}: {_placed(exc.format_message())}") from None
    except UsageError as exc:
        raise UsageError(f"{file.path}: {_placed(str(exc))}") from None
    return JobRequests(settings, options, warn)


def _params(file: JobFile) -> RunParams:
    arguments = [text for section, _ in _GROUPS for text in _arguments(file.table(section))]
    urls = file.table("targets").get(_LIST, ())
    for url in urls:
        _check_url(url)
    template = file.table("targets").get("url-template")
    if urls and template is not None:
        raise UsageError(
            "[targets] list, url-template: a list's URLs are whole; take one of the two away"
        )
    fault = place_fault(template or "", others=True)
    if fault:
        raise UsageError(f"[targets] url-template: {fault}")
    with run_command.make_context("pull", [*arguments, "--", *urls]) as context:
        return cast(RunParams, dict(context.params))


def _check_url(url: str) -> None:
    """Refuse what is no URL, and what looks as if it were filled in: it would be sent as it is."""
    if "${" in url:
        raise UsageError(
            "[targets] list: ${…} is not filled in, since URLs name files and records; "
            "a secret goes into [request] header"
        )
    fault = place_fault(url, others=False)
    if fault:
        raise UsageError(f"[targets] list: {fault}")
    try:
        wire_url(sample(url))
    except InvalidUrl as exc:
        raise UsageError(f"[targets] list: {mask(url)!r} is no URL: {exc}") from None


def check_cursor(file: JobFile, plan: CursorPlan | None) -> None:
    """Raise ``UsageError`` for a cursor that would go into no request."""
    table = file.table("targets")
    template = table.get("url-template")
    texts = [*table.get(_LIST, ()), *([template] if template else ())]
    names = any(map(names_cursor, texts))
    if plan is None and names:
        raise UsageError("[targets] {cursor}: there is no [cursor] section that says what it is")
    if plan is None or plan.param or not texts or names:
        return
    raise UsageError(
        '[cursor]: no request would send it; give param = "since", or write {cursor} into a URL'
    )


def _arguments(table: Mapping[str, Any]) -> Iterator[str]:
    """Write a section's keys as the command line would have them."""
    own = {key.name for key in (*SECTIONS["targets"],)}
    for name, value in table.items():
        if name in own:
            continue
        if isinstance(value, bool):
            yield from [f"--{name}"] if value else []
            continue
        for text in (value,) if isinstance(value, str) else cast("Iterable[str]", value):
            yield f"--{name}={_text(name, text)}"


def _text(name: str, text: str) -> str:
    if text in ("-", "@-"):
        raise UsageError(f"--{name}: a pull has no standard input; give a file")
    if name == "header":
        text = _FILE_IN_HEADER.sub(r"\1: ${file:\2}", text)
    if name in _WITH_SECRETS:
        return expand_files(text, f"--{name}")
    if name in _BODIES and _PLACE.search(text):
        raise UsageError(
            f"--{name}: ${{...}} is not filled in there; send a secret in a header, or have "
            "--data @FILE read the body"
        )
    return protected(text) if name == "url-template" else text


def _placed(message: str) -> str:
    """Name a key as the file has it where the parser speaks of an option."""
    homes = {name: section for section, name, _ in _options()}

    def placed(match: re.Match[str]) -> str:
        home = homes.get(match[1])
        return match[0] if home is None else f"[{home}] {match[1]}"

    message = re.sub(r"'-\w' / ", "", message)
    message = message.replace("give URLs, or a list as in crawl --urls list.txt", _NO_TARGETS)
    return re.sub(r"--([a-z][a-z-]*)", placed, message.rstrip("."))


_FILE_IN_HEADER: Final = re.compile(r"^([^:]*):\s*file:([^{}]+)$")
_NO_TARGETS: Final = '[targets] list = ["https://…"] or urls = "list.txt" says what'


@contextlib.contextmanager
def standing_at(file: Path) -> Iterator[None]:
    """Work from the job file's folder: paths in it are meant from there."""
    with contextlib.chdir(file.parent):
        yield
