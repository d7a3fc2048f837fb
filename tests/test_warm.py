"""The process that forks commands for tests: what is forked is as what is started."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, command
from tests.warm import Warm


@pytest.fixture(name="warm")
def _warm() -> Iterator[Warm]:
    warm = Warm(ROOT)
    yield warm
    warm.close()
    assert not warm.is_alive


@pytest.mark.parametrize("line", ["--version", "http://[::1/", "--no-such", "demo x"])
def test_it_says_and_ends_as_one_that_is_started(warm: Warm, tmp_path: Path, line: str) -> None:
    """The exit code, and both streams, but for moments and the run's name."""
    quiet = [*line.split(), *(["--summary", "none", "--quiet"] if "//" in line else ())]
    forked = warm.run(quiet, tmp_path, os.environ, 30)
    started = subprocess.run(command(*quiet), cwd=tmp_path, capture_output=True, text=True)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        started.returncode, started.stdout, started.stderr,
    )  # fmt: skip


def test_one_that_takes_too_long_is_killed_and_the_next_is_run(warm: Warm, tmp_path: Path) -> None:
    """As subprocess does; who waits no more is told nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(subprocess.TimeoutExpired):
            warm.run([url, "--out", "none"], tmp_path, os.environ, 0.5)
    assert warm.run(["--version"], tmp_path, os.environ, 30).returncode == 0


def test_a_large_environment_arrives(warm: Warm, tmp_path: Path) -> None:
    """Nothing of it is cut off."""
    environment = {**os.environ, "LARGE": "x" * 400_000}
    assert warm.run(["--version"], tmp_path, environment, 30).returncode == 0
