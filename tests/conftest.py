"""What many tests share: the demo API in a process of its own, and the command as users run it."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.browser import Browser, chromium
from tests.warm import Warm

ROOT = Path(__file__).parent.parent


def command(*arguments: object) -> list[str]:
    """The command line of a ``crawl`` that runs with this interpreter."""
    return [sys.executable, "-m", "crawler", *map(str, arguments)]


settings.register_profile("crawl", deadline=None)  # a slow machine is no defect of ours
settings.load_profile("crawl")

_warm = list[Warm]()
"""The process that forks commands, once there is one."""


@atexit.register
def _end_warm() -> None:
    for warm in _warm:
        warm.close()


def _warm_one() -> Warm:
    if not _warm or not _warm[0].is_alive:
        _warm[:] = [Warm(ROOT)]
    return _warm[0]


def crawl(
    *arguments: object, timeout: float = 60, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end and give what it said.

    It is forked where nothing but a folder or an environment is asked for, else started anew.
    """
    if options.keys() <= {"cwd", "env"} and hasattr(os, "pidfd_open"):
        cwd, env = options.get("cwd") or Path.cwd(), options.get("env") or os.environ
        return _warm_one().run(list(map(str, arguments)), cwd, env, timeout)
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, encoding="utf-8", timeout=timeout,
        **options,
    )  # fmt: skip


def records_of(path: Path) -> list[dict[str, Any]]:
    """The records of a log, as plain JSON reads them; a line that is none fails the test."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def assert_each_once(path: Path, count: int) -> None:
    """One record for each target of the list: none lost, none doubled."""
    times = Counter(record["seq"] for record in records_of(path))
    doubled = {seq: n for seq, n in times.items() if n > 1}
    missing = set(range(count)) - set(times)
    assert not doubled, f"doubled: {dict(list(doubled.items())[:5])}"
    assert not missing, f"lost {len(missing)}: {sorted(missing)[:5]}"
    assert set(times) == set(range(count))


@contextlib.contextmanager
def demo_process() -> Iterator[str]:
    """The demo API in a process of its own; gives its URL."""
    server = subprocess.Popen(
        command("demo", "--port", "0"), stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        assert server.stdout is not None
        yield server.stdout.readline().split()[-1]
    finally:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


@pytest.fixture(scope="session")
def demo() -> Iterator[str]:
    """URL of a demo API for the whole session."""
    with demo_process() as url:
        yield url


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium for the whole session; skips where none is installed."""
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def _no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests talk to loopback directly, whatever the machine's environment says."""
    for name in list(os.environ):
        if name.lower() in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name)
