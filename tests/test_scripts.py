"""The scripts, as far as can be held cheaply: set-up, the no-skip rule, the benchmark's parts."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[1]
SCRIPTS: Final = [
    *(ROOT / "scripts" / name for name in ("setup-venv", "test", "check", "demo", "benchmark")),
    ROOT / ".ci" / "run",
]
TOOLS: Final = ("bash", "env", "dirname", "sed", "grep", "rm", "cat")

PYTHON_STUB: Final = """\
#!/bin/bash
# Python, but for its venvs: their pip notes what it is asked and installs nothing.
if [[ "$1 $2" == "-m venv" ]]; then
  "{python}" -m venv --without-pip "$3"
  pip=$(echo "$3"/lib/python*/site-packages)/pip
  mkdir "$pip"
  touch "$pip/__init__.py"
  echo 'import sys; open("{calls}", "a").write(sys.argv[-1] + chr(10))' > "$pip/__main__.py"
else
  exec "{python}" "$@"
fi
"""


def run(command: Sequence[str | Path], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **environment},
    )


class Checkout:
    """A clone with only what set-up reads, and a python3 whose pip only takes notes."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a clone"
        self._calls = folder / "pip-calls"
        self._bin = folder / "bin"
        (self.root / "scripts").mkdir(parents=True)
        self._bin.mkdir()
        shutil.copy(ROOT / "scripts" / "setup-venv", self.root / "scripts")
        (self.root / "pyproject.toml").write_text("[project]\n")
        stub = self._bin / "python3"
        python = getattr(sys, "_base_executable", sys.executable)
        stub.write_text(PYTHON_STUB.format(python=python, calls=self._calls))
        stub.chmod(0o755)

    def setup(self, extra: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self._bin}:{os.environ['PATH']}"
        script = self.root / "scripts" / "setup-venv"
        return run([script, extra], **{"PATH": path, "PYTHON": "", **environment})

    def installs(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_strict_and_executable(script: Path) -> None:
    """Every script runs as a program, parses, and stops at the first error or unset variable."""
    assert os.access(script, os.X_OK)
    assert "\nset -euo pipefail\n" in script.read_text()
    assert run(["bash", "-n", script]).returncode == 0


def test_setup_installs_once(checkout: Checkout) -> None:
    """A second set-up installs nothing: the stamp matches, and no network is needed."""
    for _ in range(2):
        done = checkout.setup("all")
        assert done.returncode == 0, done.stderr
    assert checkout.installs() == [f"{checkout.root}[all]"]


def test_setup_for_tests_serves_the_demo_too(checkout: Checkout) -> None:
    """The dev extra holds what the demo needs; the other way round is installed."""
    for extra in ("all", "dev", "all", "dev"):
        assert checkout.setup(extra).returncode == 0
    assert [call.rpartition("[")[2] for call in checkout.installs()] == ["all]", "dev]"]


def test_setup_follows_pyproject(checkout: Checkout) -> None:
    """A changed pyproject.toml is installed anew."""
    checkout.setup("dev")
    (checkout.root / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    assert checkout.setup("dev").returncode == 0
    assert len(checkout.installs()) == 2


def test_setup_remakes_a_venv_of_another_path(checkout: Checkout) -> None:
    """A .venv that came along with a copied checkout points elsewhere, and is made anew."""
    checkout.setup("dev")
    moved = checkout.root.parent / "moved"
    checkout.root.rename(moved)
    checkout.root = moved
    done = checkout.setup("dev")
    assert "making .venv" in done.stderr
    assert checkout.installs()[-1] == f"{moved}[dev]"


def test_setup_remakes_a_broken_venv(checkout: Checkout) -> None:
    """A .venv whose interpreter is gone is made anew."""
    checkout.setup("dev")
    (checkout.root / ".venv" / "bin" / "python").unlink()
    assert checkout.setup("dev").returncode == 0
    assert len(checkout.installs()) == 2


def test_setup_says_what_is_wrong_with_the_named_python(checkout: Checkout) -> None:
    """PYTHON=… that does not run is refused with its name and what to do."""
    done = checkout.setup("dev", PYTHON="python2.0")
    assert done.returncode == 2
    assert "PYTHON=python2.0" in done.stderr
    assert "3.11 or later" in done.stderr


def test_setup_without_any_python_says_how_to_get_one(checkout: Checkout, tmp_path: Path) -> None:
    """Without a Python 3.11 or later, set-up names what is missing and how to get it."""
    bare = tmp_path / "bare"
    bare.mkdir()
    for tool in TOOLS:
        (bare / tool).symlink_to(shutil.which(tool) or "/nonexistent")
    done = checkout.setup("dev", PATH=str(bare))
    assert done.returncode == 2
    assert "no Python 3.11 or later" in done.stderr
    assert "apt-get install python3" in done.stderr


def test_setup_refuses_an_unknown_extra(checkout: Checkout) -> None:
    """An extra that does not exist is refused before anything is made."""
    done = checkout.setup("everything")
    assert done.returncode == 2
    assert "all or dev" in done.stderr
    assert not (checkout.root / ".venv").exists()


@pytest.mark.parametrize(
    "source",
    [
        "import pytest\ndef test_it(): pytest.skip('no nginx here')",
        "import pytest\npytest.skip('no nginx here', allow_module_level=True)",
        "import pytest\n@pytest.mark.skip(reason='no nginx here')\ndef test_it(): pass",
    ],
    ids=["in the test", "module", "mark"],
)
def test_a_skip_fails_in_ci(source: str, tmp_path: Path) -> None:
    """With the plugin that CI loads, a skip of any kind is a failure that tells its reason."""
    (tmp_path / "test_some.py").write_text(source)
    options = ["-p", "pytest_no_skips", "-p", "no:cacheprovider", "-c", os.devnull]
    done = run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", tmp_path, tmp_path],
        PYTHONPATH=str(ROOT / "scripts"),
    )
    assert done.returncode in (1, 2), done.stdout
    assert "skipped, which CI does not allow: " in done.stdout
    assert "no nginx here" in done.stdout


@pytest.fixture
def delay_url() -> Iterator[str]:
    server = ROOT / "scripts" / "bench" / "delay_server.py"
    with subprocess.Popen(
        [sys.executable, server, "--delay-ms", "50"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.kill()


def test_the_delay_server_knows_what_it_holds(delay_url: str) -> None:
    """Four clients that always wait for a reply are four requests in flight, after 50 ms each."""

    def ask_in_a_row() -> None:
        host, port = delay_url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            for _ in range(16):
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert connection.recv(1000).startswith(b"HTTP/1.1 200")

    started_s = time.monotonic()
    clients = [threading.Thread(target=ask_in_a_row) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert time.monotonic() - started_s >= 16 * 0.050
    with urllib.request.urlopen(f"{delay_url}/stats") as reply:
        assert 3.0 < json.loads(reply.read())["mean_in_flight"] <= 4.01


def test_the_delay_server_leaves_some_without_an_answer(delay_url: str) -> None:
    """A path that starts with /stuck is never answered."""
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(f"{delay_url}/stuck", timeout=0.3)


@pytest.mark.skipif(
    not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), reason="needs nginx"
)
def test_the_benchmark_measures_and_keeps_its_results(tmp_path: Path) -> None:
    """One command gives a row a client, absent ones with the reason, and the same as JSON."""
    script = ROOT / "scripts" / "bench" / "main.py"
    options: list[str | Path] = [
        "--quick",
        "--urls",
        "640",
        "--only",
        "rivals",
        "--output",
        tmp_path,
    ]
    done = run([sys.executable, script, *options])
    assert done.returncode in (0, 1), done.stderr
    results = json.loads((tmp_path / "results.json").read_text())
    rows = {row["name"]: row for row in results["rivals"]}
    assert rows.keys() >= {"crawl", "hey", "wrk", "ab -k", "curl --parallel", "aiohttp"}
    assert all(name in done.stdout for name in rows)
    assert rows["bare libcurl loop"]["requests"] == 640
    assert all(row["note"] or row["errors"] == 0 for row in rows.values())
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
