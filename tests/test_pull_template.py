"""What --init writes and what --schema prints: both say what the reader of job files takes."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from crawler.cli import main
from crawler.cli.job_options import known_keys, read_requests
from crawler.pull.job import job_of
from crawler.pull.job_file import parse_job
from crawler.pull.job_schema import job_schema
from crawler.pull.job_template import job_template
from tests.conftest import ROOT

TEMPLATE = job_template("prices", known_keys())
EXAMPLES = [
    number
    for number, line in enumerate(TEMPLATE.splitlines())
    if re.match(r"# [a-z-]+ = |# \[", line)
]


def test_init_writes_a_job_that_is_valid_and_never_over_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It passes --check as it stands; a second --init is refused."""
    path = tmp_path / "prices.toml"
    assert main(["pull", "--init", str(path)]) == 0
    assert main(["pull", "--check", str(path)]) == 0
    assert "https://api.example.org/v1/prices" in capsys.readouterr().out
    assert main(["pull", "--init", str(path)]) == 2
    assert "there is such a file" in capsys.readouterr().err
    assert main(["pull", "--init", str(tmp_path / "job.yaml")]) == 2


@pytest.mark.parametrize("number", EXAMPLES, ids=lambda n: TEMPLATE.splitlines()[n][2:40])
def test_each_example_can_be_taken_as_it_stands(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line's # taken away: the job still reads, with the requests that it makes."""
    for name in ("API_KEY", "API_TOKEN", "HOOK_TOKEN", "SMTP_PASSWORD"):
        monkeypatch.setenv(name, "x")
    (tmp_path / "list.csv").write_text("id\n1\n")
    monkeypatch.chdir(tmp_path)
    lines = TEMPLATE.splitlines()
    lines[number] = lines[number].removeprefix("# ")
    section = next((x for x in reversed(lines[: number + 1]) if x.startswith(("[", "# ["))), "")
    if section.startswith("# ["):
        lines[lines.index(section)] = section.removeprefix("# ")
    _complete(lines)
    file = parse_job(tmp_path / "prices.toml", "\n".join(lines).encode(), known_keys())
    job_of(file)
    read_requests(file, print)
    jsonschema.validate(tomllib.loads("\n".join(lines)), job_schema(known_keys()))


def _complete(lines: list[str]) -> None:
    """Take along what a key cannot be without: mails need three, a template its list."""
    if any(line.startswith("url-template") for line in lines):
        at = next(at for at, line in enumerate(lines) if line.startswith("list = "))
        lines[at] = 'urls = "list.csv"'
    mails = ("# smtp =", '# from = "crawl', "# to =")
    cursor = ('# from = "max',)
    for group, marks in ((mails, ("smtp =", 'from = "crawl', "to =")), (cursor, ("[cursor]",))):
        if any(line.startswith(marks) for line in lines):
            for at, line in enumerate(lines):
                if line.startswith(group):
                    lines[at] = line.removeprefix("# ")


def test_the_schema_that_is_published_is_the_code_s() -> None:
    """crawl pull --schema > docs/job.schema.json makes it anew."""
    published = json.loads((ROOT / "docs" / "job.schema.json").read_text(encoding="utf-8"))
    assert published == job_schema(known_keys())
    jsonschema.Draft202012Validator.check_schema(published)


@pytest.mark.parametrize(
    "job",
    [
        {"targets": {"list": ["http://a/"]}, "every": "15m"},
        {"targets": {"urls": "list.csv", "keep": ["a"]}, "request": {"insecure": True}},
        {"targets": {"list": "http://a/"}, "every": 900, "politeness": {"per-host": 2}},
    ],
)
def test_the_schema_takes_jobs(job: dict[str, Any]) -> None:
    """Texts or lists of them, numbers where the reader takes numbers."""
    jsonschema.validate(job, job_schema(known_keys()))


@pytest.mark.parametrize(
    "job",
    [
        {"every": "15m"},
        {"targets": {}, "evry": "15m"},
        {"targets": {"lits": []}},
        {"targets": {}, "every": "soon"},
        {"targets": {}, "store": {"diff": "yes"}},
        {"targets": {}, "request": {"insecure": "yes"}},
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(job: dict[str, Any]) -> None:
    """Unknown keys, values of another kind, no targets."""
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, job_schema(known_keys()))
