"""The commented job file that ``--init`` writes: valid as it stands, every key explained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from crawler.pull.job_file import Sections
from crawler.pull.keys import SECTIONS, TOP, Key

_URL: Final = '"https://api.example.org/v1/prices"'
_SHOWN: Final = (
    ("request", ("header", "bearer", "method", "timeout", "proxy")),
    ("politeness", ("per-host", "per-host-rate")),
    ("retries", ("retries", "backoff")),
    ("replies", ("expect-type", "assert-json", "select", "paginate")),
    ("pool", ("concurrency",)),
)
"""The options of the main job that most jobs need."""
_EXAMPLES: Final = {
    "header": '["Accept: application/json", "X-Api-Key: ${API_KEY}"]',
    "bearer": '"${API_TOKEN}"',
    "method": '"GET"',
    "timeout": '"30s"',
    "proxy": '"http://proxy.example.org:3128"',
    "per-host": "2",
    "per-host-rate": '"5/s"',
    "retries": "2",
    "backoff": '"250ms"',
    "expect-type": '["application/json"]',
    "assert-json": "true",
    "select": '["count=length(items)"]',
    "paginate": '"link-header"',
    "concurrency": "64",
}


def job_template(name: str, known: Sections) -> str:
    """Give the text of a job called ``name``."""
    return "\n".join(_lines(name, known)) + "\n"


def _lines(name: str, known: Sections) -> Iterator[str]:
    yield f"# A job of crawl pull. crawl pull --check {name}.toml shows what it would send;"
    yield "# crawl pull --schema tells editors the keys. What is commented out is optional."
    for section, keys in SECTIONS.items():
        yield ""
        if section == TOP:
            yield f'name = "{name}"'
            yield from _commented(keys[1:])
        elif section == "targets":
            yield from _targets()
            yield from _commented(keys[1:])
            yield from _options(known)
        elif section == "cursor":
            yield "# For feeds: what of a reply goes into the next request."
            yield f"# [{section}]"
            yield from _commented(keys)
        else:
            yield f"[{section}]"
            yield from _commented(keys)


def _targets() -> Iterator[str]:
    yield "[targets]"
    yield "# {today:%Y-%m-%d}, {yesterday}, {now} and {last_success} may stand in a URL."
    yield f"list = [{_URL}]"
    yield "# Or a list, and a template for its columns, as in crawl --urls and --url-template."
    yield '# urls = "list.csv"'
    yield '# url-template = "https://api.example.org/v1/prices/{id}"'


def _options(known: Sections) -> Iterator[str]:
    yield ""
    yield "# Every long option of crawl run has its name here: crawl --help lists them."
    for section, names in _SHOWN:
        yield f"[{section}]"
        for name in names:
            yield f"# {known[section][name].help}"
            yield f"# {name} = {_EXAMPLES[name]}"
        yield ""


def _commented(keys: tuple[Key, ...]) -> Iterator[str]:
    for key in keys:
        yield f"# {key.help}"
        yield f"# {key.name} = {key.example}"
