"""The rules of the house, held on the source itself: floors, homes, sizes, light workers."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).resolve().parents[1] / "crawler"

FLOORS: Final[dict[str, float]] = {
    "errors.py": 0,
    "environment.py": 0.1,
    "exposition.py": 0.1,
    "sizes.py": 0.1,
    "pull/__init__.py": 0.1,
    "pull/keys.py": 0.1,
    "pull/schema.py": 0.1,
    "pull/baseline.py": 0.1,
    "pull/moments.py": 0.2,
    "pull/json_paths.py": 0.2,
    "pull/job_file.py": 0.4,
    "pull/job.py": 0.5,
    "pull/triggers.py": 0.6,
    "pull/timetable.py": 0.7,
    "pull/state_file.py": 1.05,
    "pull/state.py": 1.1,
    "pull/durable.py": 1.15,
    "pull/content.py": 1.2,
    "pull/validators.py": 0.1,
    "pull/latest.py": 1.2,
    "pull/rotation.py": 1.2,
    "pull/cursors.py": 1.3,
    "pull/diffs.py": 1.3,
    "pull/job_lock.py": 1.3,
    "pull/asking.py": 1.3,
    "pull/judging.py": 1.31,
    "pull/replies.py": 1.35,
    "pull/versions.py": 1.4,
    "pull/committing.py": 1.5,
    "pull/overview.py": 1.5,
    "pull/channels.py": 1.5,
    "pull/units.py": 1.6,
    "pull/job_template.py": 1.6,
    "pull/job_schema.py": 1.6,
    "pull/metrics.py": 1.6,
    "pull/otlp.py": 1.7,
    "pull/view_values.py": 1.6,
    "pull/status_text.py": 2.2,
    "pull/page.py": 2.3,
    "pull/answers.py": 2.4,
    "pull/serving.py": 2.45,
    "pull/pulling.py": 4.1,
    "pull/alerting.py": 4.15,
    "pull/limits.py": 4.17,
    "pull/news.py": 1.75,
    "pull/looping.py": 4.2,
    "cli/job_options.py": 5.35,
    "cli/job_twins.py": 5.36,
    "cli/pull_options.py": 5.1,
    "cli/job_preview.py": 5.37,
    "cli/pull_views.py": 5.37,
    "cli/pull.py": 5.38,
    "cli/pull_command.py": 5.39,
    "record.py": 0,
    "durations.py": 0.1,
    "politeness.py": 0.05,
    "rate_limit.py": 0.1,
    "concurrency.py": 0.1,
    "turnstile.py": 0.2,
    "spread.py": 0.2,
    "reorder.py": 0.1,
    "robots.py": 1.1,
    "body.py": 0.1,
    "private_addresses.py": 0.1,
    "arrow_lists.py": 0.05,
    "canonical.py": 0.2,
    "selection.py": 1,
    "row_requests.py": 1,
    "remote_lists.py": 1,
    "duplicates.py": 1,
    "cli/list_options.py": 5.07,
    "expectations.py": 0.05,
    "selecting.py": 1.2,
    "pagination.py": 0.05,
    "paging.py": 1.25,
    "cli/reply_options.py": 5.07,
    "saved.py": 1.6,
    "body_plan.py": 0.05,
    "bodies/__init__.py": 1,
    "bodies/names.py": 1,
    "bodies/packing.py": 1,
    "bodies/rows.py": 1.1,
    "bodies/appender.py": 1.2,
    "bodies/sinks.py": 1.3,
    "bodies/warc.py": 1.3,
    "bodies/warc_reading.py": 1.35,
    "bodies/keeper.py": 1.4,
    "bodies/reading.py": 1.3,
    "bodies/parquet.py": 1.4,
    "bodies/preparing.py": 1.5,
    "bodies/settling.py": 1.5,
    "cli/body_options.py": 5.07,
    "keeping.py": 2.1,
    "pieces.py": 0.1,
    "urls.py": 0.1,
    "lists.py": 0.1,
    "frames.py": 0.1,
    "histogram.py": 0.1,
    "intervals.py": 0.2,
    "blocks.py": 0.2,
    "timeline.py": 0.3,
    "schedule.py": 0.2,
    "workload.py": 1.1,
    "load.py": 1.2,
    "window.py": 0.3,
    "machine.py": 0.1,
    "moment.py": 0.1,
    "punctual.py": 0.1,
    "files.py": 1.15,
    "file_limit.py": 0.1,
    "calibration.py": 4.2,
    "url_pattern.py": 0.2,
    "null_server.py": 1,
    "timings.py": 0.15,
    "figures.py": 1,
    "thresholds.py": 0.3,
    "verdicts.py": 1.1,
    "rank_test.py": 0.3,
    "shifts.py": 0.3,
    "compared.py": 1.1,
    "url_changes.py": 1.4,
    "comparing.py": 3.1,
    "comparison.py": 1.15,
    "run_notes.py": 1.2,
    "log_chunks.py": 1.2,
    "log_columns.py": 1.2,
    "log_arrow.py": 1.25,
    "log_blocks.py": 1.3,
    "audit.py": 1.3,
    "decoding.py": 0.1,
    "settings.py": 0.1,
    "samples.py": 0.1,
    "channel.py": 0.1,
    "source.py": 0.1,
    "engines/__init__.py": 0.1,
    "engines/base.py": 0.2,
    "codec.py": 1,
    "exact_json.py": 1.1,
    "columns.py": 1,
    "url_template.py": 1,
    "profile.py": 0.9,
    "engine_choice.py": 1.1,
    "bar.py": 0.1,
    "session.py": 1,
    "retry.py": 1,
    "demo_values.py": 1,
    "demo_changes.py": 1.01,
    "demo_pages.py": 1.02,
    "engines/multi.py": 1,
    "engines/http1.py": 1,
    "engines/threads.py": 1,
    "engines/exchange.py": 1,
    "log.py": 1.1,
    "targets.py": 1.1,
    "summary.py": 1.1,
    "progress.py": 1.1,
    "demo_site.py": 1.05,
    "demo_api.py": 1.1,
    "engines/curl_options.py": 1.1,
    "engines/transfer.py": 1.2,
    "engines/curl.py": 1.3,
    "engines/fake.py": 1.1,
    "engines/transport.py": 1.1,
    "engines/faults.py": 1.15,
    "engines/requests.py": 1.2,
    "export.py": 1.2,
    "run_lock.py": 1.2,
    "resume.py": 1.3,
    "fetch.py": 2,
    "ledger.py": 1,
    "pool_worker.py": 2,
    "report/__init__.py": 2,
    "report/columns.py": 2,
    "report/units.py": 2,
    "report/spread.py": 2,
    "report/listing.py": 2.05,
    "report/text.py": 2.1,
    "report/machine.py": 2.1,
    "report/model.py": 2,
    "report/latency_text.py": 2.25,
    "report/latency_machine.py": 2.2,
    "report/hgrm.py": 2.2,
    "report/openmetrics.py": 2.2,
    "report/markup.py": 2.1,
    "report/cells.py": 2.2,
    "report/page.py": 2.2,
    "report/tables.py": 2.25,
    "report/html.py": 2.3,
    "report/comparison_html.py": 2.3,
    "report/comparison_words.py": 2.15,
    "report/comparison_text.py": 2.2,
    "report/comparison_machine.py": 2.2,
    "reading.py": 3,
    "bench.py": 4.1,
    "benching.py": 4.15,
    "pytest_plugin.py": 4.3,
    "cli/report.py": 5.2,
    "cli/report_command.py": 5.3,
    "cli/compare_options.py": 5.1,
    "cli/compare.py": 5.2,
    "cli/compare_command.py": 5.3,
    "cli/bench.py": 5.2,
    "cli/bench_command.py": 5.3,
    "member.py": 2.1,
    "demand.py": 2.1,
    "batches.py": 2.1,
    "station.py": 2.2,
    "polite_station.py": 2.25,
    "worker.py": 2.3,
    "recovery.py": 2.3,
    "pool.py": 3,
    "by_hosts.py": 3.1,
    "crawling.py": 4,
    "run.py": 4.1,
    "__init__.py": 4.2,
    "cli/values.py": 5,
    "cli/failures.py": 5,
    "cli/grouped.py": 5,
    "cli/completion.py": 5,
    "cli/options.py": 5.1,
    "cli/polite_options.py": 5.07,
    "cli/option_groups.py": 5.05,
    "cli/stopping.py": 5.1,
    "cli/bench_options.py": 5.15,
    "cli/run.py": 5.2,
    "cli/demo.py": 5.2,
    "cli/run_command.py": 5.3,
    "cli/__init__.py": 5.4,
    "__main__.py": 5.5,
}
"""Each file of ``crawler/`` and its floor: it imports from files on lower floors only.

The whole number is the floor; the decimal orders the files that share one.
"""

UNBUILT_FILES_ALLOWED: Final = False
"""Whether FLOORS may name files that do not exist (while the house is being built)."""

HOMES: Final[dict[str, tuple[str, ...]]] = {
    "requests": (
        "session.py",
        "engines/requests.py",
        "engines/transport.py",
        "engines/faults.py",
        "remote_lists.py",
        "pull/channels.py",
    ),
    "certifi": ("profile.py",),
    "urllib3": ("engines/requests.py", "engines/transport.py", "engines/faults.py"),
    "pycurl": (
        "engines/curl.py",
        "engines/curl_options.py",
        "engines/multi.py",
        "engines/transfer.py",
    ),
    "tenacity": ("retry.py",),
    "tqdm": ("bar.py",),
    "pandas": ("frames.py",),
    "numpy": (
        "summary.py",
        "histogram.py",
        "intervals.py",
        "blocks.py",
        "timeline.py",
        "window.py",
        "figures.py",
        "log_blocks.py",
        "rank_test.py",
        "shifts.py",
        "url_changes.py",
        "log_columns.py",
        "log_arrow.py",
    ),
    "orjson": ("codec.py",),
    "multiprocessing": ("member.py",),
    "click": ("cli/", "__main__.py"),
    "click_default_group": ("cli/", "__main__.py"),
    "idna": ("urls.py",),
    "protego": ("robots.py",),
    "jmespath": ("selecting.py",),
    "pyarrow": ("export.py", "log_arrow.py", "arrow_lists.py"),
    "warcio": ("bodies/warc_reading.py",),
    "zstandard": ("bodies/packing.py",),
    "plotly": ("report/page.py",),
    "pytest": ("pytest_plugin.py",),
    "sqlite3": ("pull/state.py", "pull/state_file.py"),
    "cronsim": ("pull/triggers.py",),
    "jsonpatch": ("pull/diffs.py",),
    "opentelemetry": ("pull/otlp.py",),
}
"""Each third party (and ``multiprocessing``) and the files, or folders, that may import it."""

LONGEST_FUNCTION: Final = 50
LONGEST_FILE: Final = 400
MEDIAN_FUNCTION_BELOW: Final = 10


def _source_files() -> list[str]:
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def _parsed(name: str) -> ast.Module:
    return ast.parse((PACKAGE / name).read_text(encoding="utf-8"), filename=name)


def _file_of(module: str) -> str | None:
    """The file of a dotted module of the package; None for what is no module of it."""
    parts = module.split(".")
    if parts[0] != "crawler":
        return None
    for candidate in ("/".join([*parts[1:], "__init__.py"]), "/".join(parts[1:]) + ".py"):
        if (PACKAGE / candidate).is_file():
            return candidate
    return None


def _package_of(name: str) -> list[str]:
    """The dotted package that ``name``'s relative imports start from, as parts."""
    return ["crawler", *name.split("/")[:-1]]


def _from_import(name: str, node: ast.ImportFrom) -> Iterator[str]:
    package = _package_of(name)
    base = package[: len(package) - node.level + 1] if node.level else []
    module = ".".join([*base, *([node.module] if node.module else [])])
    for alias in node.names:
        member = f"{module}.{alias.name}"
        yield member if _file_of(member) else module


def _dynamic_import(node: ast.Call) -> Iterator[str]:
    called = ast.unparse(node.func)
    if called in ("importlib.import_module", "import_module", "__import__"):
        first = node.args[0] if node.args else None
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def _imports(name: str) -> list[tuple[int, str]]:
    """Line and dotted name of all that a file imports: in functions and TYPE_CHECKING too."""
    return sorted(set(_all_imports(name)))


def _all_imports(name: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(_parsed(name)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, module) for module in _from_import(name, node))
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, module) for module in _dynamic_import(node))


def _functions() -> Iterator[tuple[str, int, int]]:
    """File, line and number of lines (decorators and docstring aside) of every function."""
    for name in _source_files():
        for node in ast.walk(_parsed(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield name, node.lineno, _code_lines(node)


def _code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node) is None:
        return lines
    docstring = node.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def _is_at_home(name: str, homes: tuple[str, ...]) -> bool:
    return any(name.startswith(home) if home.endswith("/") else name == home for home in homes)


def test_every_file_has_a_floor() -> None:
    """Every file in ``crawler/`` stands in the table of floors, and the table names no other."""
    files = set(_source_files())
    assert files - FLOORS.keys() == set(), "give these files a floor in FLOORS"
    if not UNBUILT_FILES_ALLOWED:
        assert FLOORS.keys() - files == set(), "these files are gone: take them out of FLOORS"


@pytest.mark.parametrize("name", _source_files())
def test_a_file_imports_from_lower_floors_only(name: str) -> None:
    """A file imports from files on lower floors only; its own floor is no lower floor."""
    floor = FLOORS.get(name, float("-inf"))
    wrong = []
    for line, module in _imports(name):
        used = _file_of(module)
        if used is not None and used != name and FLOORS.get(used, float("inf")) >= floor:
            wrong.append(f"crawler/{name}:{line}: {used} is on floor {FLOORS.get(used)}")
    assert not wrong, f"{name} is on floor {FLOORS.get(name)}:\n" + "\n".join(wrong)


def _for_types_only(name: str) -> set[int]:
    """The lines of a file that only a type checker runs."""
    guards = (
        node
        for node in ast.walk(_parsed(name))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {line for node in guards for line in range(node.lineno, (node.end_lineno or 0) + 1)}


@pytest.mark.parametrize("name", _source_files())
def test_each_third_party_has_one_home(name: str) -> None:
    """A third party is imported in its home and nowhere else (but as a type), and each has one."""
    wrong = []
    types_only = _for_types_only(name)
    for line, module in _imports(name):
        if line in types_only:
            continue
        top = module.split(".")[0]
        if top == "crawler" or (top in sys.stdlib_module_names and top not in HOMES):
            continue
        if not _is_at_home(name, HOMES.get(top, ())):
            wrong.append(f"crawler/{name}:{line}: {top} may be imported in {HOMES.get(top)}")
    assert not wrong, "\n".join(wrong)


def test_a_worker_imports_neither_pandas_nor_numpy() -> None:
    """What a worker process needs loads neither pandas nor numpy: memory and start-up time."""
    code = "import sys, crawler.worker; print(*{'pandas', 'numpy'} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_functions_are_short() -> None:
    """Half of all functions have under 10 lines, and none has more than 50 (docstring aside)."""
    functions = list(_functions())
    too_long = [
        f"crawler/{name}:{line}: {n} lines" for name, line, n in functions if n > LONGEST_FUNCTION
    ]
    assert not too_long, "\n".join(too_long)
    assert statistics.median(n for _, _, n in functions) < MEDIAN_FUNCTION_BELOW


def test_files_are_small() -> None:
    """No file has more than 400 lines."""
    lengths = {name: len((PACKAGE / name).read_text().splitlines()) for name in _source_files()}
    assert {name: n for name, n in lengths.items() if n > LONGEST_FILE} == {}


def test_no_file_is_named_for_nothing() -> None:
    """No module is called utils, helpers, common or misc: a file is named for what it holds."""
    nameless = {"utils", "util", "helpers", "common", "misc"}
    assert [name for name in _source_files() if Path(name).stem in nameless] == []


@pytest.mark.parametrize(
    ("source", "imported"),
    [
        ("import requests.adapters", "requests.adapters"),
        ("def f():\n    import pandas", "pandas"),
        ("if TYPE_CHECKING:\n    from crawler.record import Record", "crawler.record"),
        ("from crawler import errors", "crawler.errors"),
        ("from .base import Reply", "crawler.engines.base"),
        ("from .. import settings", "crawler.settings"),
        ("import importlib\nimportlib.import_module('pandas')", "pandas"),
    ],
)
def test_the_reader_of_imports_sees_every_form(
    source: str, imported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Imports are seen wherever they stand: in functions, relative, dynamic."""
    (tmp_path / "engines").mkdir()
    for name in ("record.py", "errors.py", "settings.py", "engines/base.py"):
        (tmp_path / name).touch()
    (tmp_path / "engines/some.py").write_text(source)
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    assert imported in [module for _, module in _imports("engines/some.py")]
