"""The documentation is run: its commands, its Python, its tables, against the product as it is.

A fenced block is read by its info string. ``console`` holds commands after ``$ `` (``> `` goes on
with one), each followed by what it shows; ``# exit N`` at a command's end states another exit code
than 0. ``python`` is run as a script. ``text file=NAME`` (or any language) is a file. ``console
no-run REASON`` is not run. The blocks of a page share a folder and, in their order, one shell.
"""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Final, get_args

import pytest

import crawler
from crawler.demo_api import KNOBS_HELP
from crawler.record import RECORD_FIELDS, ErrorClass
from crawler.retry import RETRIED_ERRORS, RETRIED_STATUSES
from crawler.settings import Settings
from crawler.urls import InvalidUrl, wire_url
from tests.conftest import ROOT, crawl

PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACEHOLDER: Final = "http://127.0.0.1:8000"
"""The demo API's address, as ``crawl demo`` serves it and the pages write it."""
SKETCHED: Final = "architecture.md"
"""The page whose Python shows how the code is built; it is not there to be run."""
MOST_NOT_RUN: Final = 5
PAGE_TIMEOUT_S: Final = 180

_FENCE: Final = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`([^`]+)`")
_OPTION: Final = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_EXIT: Final = re.compile(r"# exit (\d+)")
_WORD: Final = re.compile(r"(?<![\w.…])[A-Za-z_]{3,}(?![\w.…])")
_NOT_HELD: Final = frozenset(("core", "cores"))
"""Words of shown output that depend on the machine."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its info string in words, its text, the line that it begins on."""

    info: tuple[str, ...]
    text: str
    line: int

    @property
    def language(self) -> str:
        return self.info[0] if self.info else ""

    @property
    def file(self) -> str | None:
        names = [word[len("file=") :] for word in self.info if word.startswith("file=")]
        return names[0] if names else None

    @property
    def is_run(self) -> bool:
        return self.language in ("console", "bash", "python") and "no-run" not in self.info


@dataclass(frozen=True)
class Step:
    """Something that a page has its reader do, and what the page says comes of it."""

    line: int
    command: str
    shown: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        stated = _EXIT.search(self.command)
        return int(stated[1]) if stated else 0


@dataclass(frozen=True)
class Outcome:
    """What came of a step; a command that never ran has the code None."""

    step: Step
    code: int | None
    output: str


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(text: str) -> list[Block]:
    return [
        Block(tuple(found[1].split()), found[2], text.count("\n", 0, found.start()) + 2)
        for found in _FENCE.finditer(text)
    ]


def commands_of(block: Block) -> Iterator[Step]:
    """The commands of a console block, each with the lines shown after it."""
    command: list[str] = []
    shown: list[str] = []
    begun = block.line
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        if line.startswith("$ "):
            if command:
                yield Step(begun, "\n".join(command), tuple(shown))
            begun, command, shown = number, [line[2:]], []
        elif line.startswith("> ") and command and not shown:
            command.append(line[2:])
        else:
            assert command, f"line {number} is shown before any command"
            shown.append(line)
    assert command, f"the block at line {block.line} holds no command: begin them with '$ '"
    yield Step(begun, "\n".join(command), tuple(shown))


def steps_of(blocks: list[Block], folder: Path, url: str) -> list[Step]:
    """Lay a page's files and scripts out in ``folder``; give its steps in their order."""
    steps: list[Step] = []
    for block in blocks:
        text = block.text.replace(PLACEHOLDER, url).replace(":8000", url[url.rindex(":") :])
        block = Block(block.info, text, block.line)
        if block.file is not None:
            (folder / block.file).write_text(text, encoding="utf-8")
        elif block.language == "python" and block.is_run:
            script = f"block-at-line-{block.line}.py"
            (folder / script).write_text(text, encoding="utf-8")
            steps.append(Step(block.line, f"python {script}"))
        elif block.is_run:
            steps.extend(commands_of(block))
    return steps


def run_page(page: Path, folder: Path, url: str, environment: dict[str, str]) -> list[Outcome]:
    """Run all of a page's steps in one shell, whatever comes of each."""
    folder.mkdir()
    blocks = blocks_of(page.read_text(encoding="utf-8"))
    if page.name == SKETCHED:
        blocks = [block for block in blocks if block.language != "python"]
    steps = steps_of(blocks, folder, url)
    outputs = folder.parent / f"{folder.name}-outputs"
    outputs.mkdir()
    script = "".join(
        f"{{ {step.command}\n}} >'{outputs}/{i}.out' 2>&1 </dev/null\n"
        f"echo $? >'{outputs}/{i}.code'\n"
        for i, step in enumerate(steps)
    )
    subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, timeout=PAGE_TIMEOUT_S, check=False
    )
    return [_outcome(step, outputs / str(i)) for i, step in enumerate(steps)]


def _outcome(step: Step, stem: Path) -> Outcome:
    code = stem.with_suffix(".code")
    if not code.exists():
        return Outcome(step, None, "never ran: is the shell's syntax right before it?")
    output = stem.with_suffix(".out").read_text(encoding="utf-8", errors="replace")
    return Outcome(step, int(code.read_text()), output)


def shell_environment(folder: Path) -> dict[str, str]:
    """An environment in which ``crawl`` and ``python`` are this checkout and this interpreter."""
    folder.mkdir()
    for name, target in (("crawl", "-m crawler "), ("python", "")):
        shim = folder / name
        shim.write_text(f"#!/bin/sh\nexec '{sys.executable}' {target}\"$@\"\n")
        shim.chmod(0o755)
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("CRAWL_")
    }
    return {**kept, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def runs(
    demo: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[list[Outcome]]]]:
    """Every page, being run: three at a time, since commands spend half their time waiting."""
    folder = tmp_path_factory.mktemp("docs")
    environment = shell_environment(folder / "bin")
    with ThreadPoolExecutor(3) as threads:
        yield {
            name_of(page): threads.submit(
                run_page, page, folder / page.stem, demo.rstrip("/"), environment
            )
            for page in PAGES
        }


EACH_PAGE: Final = pytest.mark.parametrize("page", PAGES, ids=name_of)


@EACH_PAGE
def test_what_a_page_says_to_run_runs(page: Path, runs: dict[str, Future[list[Outcome]]]) -> None:
    """Every command and script of a page ends with the exit code that the page states."""
    wrong = [
        f"{name_of(page)}:{step.line}: exit {code}, not {step.exit_code}: {step.command}\n{output}"
        for step, code, output in _parts(runs, page)
        if code != step.exit_code
    ]
    assert not wrong, "\n".join(wrong)


@EACH_PAGE
def test_what_a_page_shows_is_what_is_said(
    page: Path, runs: dict[str, Future[list[Outcome]]]
) -> None:
    """An error that a page shows is said so, word for word; of other output each word occurs."""
    wrong = []
    for step, _, output in _parts(runs, page):
        said = set(_WORD.findall(output)) | _NOT_HELD
        for line in step.shown:
            if line.startswith("crawl: error: "):
                missing = "" if line in output.splitlines() else line
            else:
                missing = " ".join(word for word in _WORD.findall(line) if word not in said)
            if missing:
                wrong.append(f"{name_of(page)}:{step.line}: not said: {missing}\n{output}")
    assert not wrong, "\n".join(wrong)


def _parts(
    runs: dict[str, Future[list[Outcome]]], page: Path
) -> Iterator[tuple[Step, int | None, str]]:
    for outcome in runs[name_of(page)].result():
        yield outcome.step, outcome.code, outcome.output


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    """A block that is not run gives its reason, and there are few of them."""
    skipped = [
        (name_of(page), block)
        for page in PAGES
        for block in blocks_of(page.read_text(encoding="utf-8"))
        if "no-run" in block.info
    ]
    for page, block in skipped:
        reason = block.info[block.info.index("no-run") + 1 :]
        assert len(reason) >= 3, f"{page}:{block.line}: say after no-run why it is not run"
    assert len(skipped) <= MOST_NOT_RUN


def test_the_reader_of_blocks_finds_them() -> None:
    """Pages are held to the product by what they run: many pages, and all of the main ones."""
    with_steps = {
        page.stem
        for page in PAGES
        if any(block.is_run for block in blocks_of(page.read_text(encoding="utf-8")))
    }
    main = "README targets requests retries record summary library cli bench report compare pull"
    assert with_steps >= set(main.split())


def options_of(help_text: str) -> set[str]:
    """The options that a help lists, at the beginnings of its lines."""
    listed = re.findall(r"^ {2,}(?:-\w, )?(--[a-z][a-z0-9-]*)", help_text, re.MULTILINE)
    return set(listed)


def code_in(page: Path) -> str:
    """All that stands in a page as code: fenced, or between backticks."""
    text = page.read_text(encoding="utf-8")
    fenced = [block.text for block in blocks_of(text)]
    return "\n".join([*fenced, *_CODE.findall(_FENCE.sub("", text))])


def options_in(page: Path) -> set[str]:
    return set(_OPTION.findall(code_in(page)))


VERBS: Final = ("run", "bench", "report", "compare", "pull", "demo")


@pytest.fixture(scope="module")
def options_of_verbs() -> dict[str, set[str]]:
    options = {verb: options_of(crawl(verb, "--help").stdout) for verb in VERBS}
    assert {"--urls", "--retry-failed", "--help"} <= options["run"]
    assert {"--rate", "--fail-on", "--timeout"} <= options["bench"]
    return options


@EACH_PAGE
def test_every_option_of_the_docs_exists(page: Path, options_of_verbs: dict[str, set[str]]) -> None:
    """An option that a page names is one of the command's, or of the scripts'."""
    known = {"--version"}.union(*options_of_verbs.values())
    scripts = (ROOT / "scripts").rglob("*")
    in_scripts = " ".join(path.read_text() for path in scripts if path.is_file() and _is_text(path))
    unknown = {option for option in options_in(page) - known if f'"{option}"' not in in_scripts}
    assert unknown == set()


def _is_text(path: Path) -> bool:
    return path.suffix in ("", ".py")


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_of_a_verb_is_documented(
    verb: str, options_of_verbs: dict[str, set[str]]
) -> None:
    """Each option is told of in docs/."""
    told = set().union(*(options_in(page) for page in PAGES if page.parent.name == "docs"))
    assert options_of_verbs[verb] - told == set()


def rows_under(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, cells without their backticks."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    table = re.search(r"(?:^\|.*\n)+", section, re.MULTILINE)
    assert table is not None, f"{page}: no table under {heading}"
    lines = table[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines]


def test_the_fields_of_a_record_are_all_told() -> None:
    """The table of fields is that of the record, in its order."""
    assert tuple(row[0] for row in rows_under("record.md", "Fields")) == RECORD_FIELDS


def test_the_error_classes_are_all_told() -> None:
    """The table of error classes names each, and says of each whether it is retried."""
    rows = {row[0]: row[2] for row in rows_under("record.md", "Error classes")}
    assert rows.keys() == set(get_args(ErrorClass))
    assert {error for error, retried in rows.items() if retried == "yes"} == RETRIED_ERRORS
    assert set(map(int, re.findall(r"\d+", rows["http"]))) == RETRIED_STATUSES


def test_the_examples_of_invalid_urls_are_invalid() -> None:
    """Each URL that the page of targets gives as invalid is refused."""
    rows = rows_under("targets.md", "Invalid URLs")
    examples = [url for row in rows for url in row[1].split("`, `") if ":" in url or "." in url]
    assert len(examples) >= 8
    for url in examples:
        with pytest.raises(InvalidUrl):
            wire_url(url)


def test_the_fields_of_settings_are_all_told() -> None:
    """The table of settings names each field in its order, with its default."""
    defaults = {
        field.name: "all cores" if field.default is MISSING else repr(field.default)
        for field in fields(Settings)
    }
    rows = rows_under("library.md", "`Settings`")
    assert {row[0]: row[1] for row in rows} == defaults
    assert [row[0] for row in rows] == list(defaults)


def test_what_the_package_exports_is_told() -> None:
    """Each public name stands in the library's page, and each keyword of ``crawl`` too."""
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    for name in crawler.__all__:
        assert name == "__version__" or name in page, name
    keywords = inspect.signature(crawler.crawl.stream).parameters
    assert keywords.keys() == inspect.signature(type(crawler.crawl).__call__).parameters.keys() - {
        "self"
    }
    for name in keywords.keys() - {"urls", "options"}:
        assert f"| `{name}` |" in page, name


def test_the_demo_has_what_the_docs_ask_of_it() -> None:
    """Paths of the demo API that pages name are paths that it lists."""
    listed = set(re.findall(r"^ {2}/([a-zA-Z0-9-]*)", KNOBS_HELP, re.MULTILINE))
    listed |= set(re.findall(r"^/([a-zA-Z0-9-]*)", KNOBS_HELP, re.MULTILINE))
    named = {
        found
        for page in PAGES
        for found in re.findall(rf"{PLACEHOLDER}/([a-zA-Z0-9-]+)", page.read_text("utf-8"))
    }
    assert len(named) > 5
    assert named <= listed


@EACH_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link names a file that is there, and a heading that it has."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), f"{name_of(page)}: {target}"
        assert not anchor or anchor in anchors_of(there), f"{name_of(page)}: {target}"


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_changelog_knows_the_version() -> None:
    """The newest entry of the changelog is of the version that the package has."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[([^\]]+)\]", text, re.MULTILINE)
    assert newest is not None
    assert newest[1] == crawler.__version__
