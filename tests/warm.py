"""The command without the half second that Python takes to import it: forked, not started anew.

Each process of tests keeps one other that has imported ``crawl`` and forks for every command. What
is forked is a process of its own, with its own arguments, folder, environment, streams and exit
code, and goes in by the door that users take, ``crawler.__main__``. Only the start differs; those
of the documentation, of kills, signals and the loop are real, and those of ``test_cli.py``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

IMPORTED: Final = (
    "crawler.cli.bench",
    "crawler.cli.compare",
    "crawler.cli.pull",
    "crawler.cli.report",
    "crawler.cli.run",
    "crawler.summary",
    "crawler.worker",
)
"""What verbs import when they are called."""


class Warm:
    """The process that forks, as tests see it."""

    def __init__(self, root: Path) -> None:
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(theirs.fileno())],
            pass_fds=[theirs.fileno()], cwd=root,
        )  # fmt: skip
        theirs.close()

    def close(self) -> None:
        """End it, once nothing is to be run any more."""
        self._door.shutdown(socket.SHUT_RDWR)  # processes that were forked have it as well
        self._door.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def is_alive(self) -> bool:
        """Whether it forks on demand."""
        return self._process.poll() is None

    def run(
        self, arguments: list[str], cwd: Path, env: Mapping[str, str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """Run ``crawl`` to its end as ``subprocess.run`` would; standard input is empty."""
        told = {"argv": ["crawl", *arguments], "cwd": str(cwd), "env": dict(env)}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with (
            ours,
            tempfile.TemporaryFile() as message,
            open(os.devnull, "rb") as empty,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
        ):
            message.write(json.dumps(told).encode())
            message.seek(0)
            with theirs:
                fds = [stream.fileno() for stream in (message, empty, out, err, theirs)]
                socket.send_fds(self._door, [b"run"], fds)
            code = _awaited(ours, arguments, timeout_s)
            return subprocess.CompletedProcess(arguments, code, _text_of(out), _text_of(err))


def _awaited(report: socket.socket, arguments: list[str], timeout_s: float) -> int:
    """The exit code, negative for a signal's; a process that takes longer is killed."""
    pid = int(report.recv(32))
    report.settimeout(timeout_s)
    try:
        return os.waitstatus_to_exitcode(int(report.recv(32)))
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
        raise subprocess.TimeoutExpired(arguments, timeout_s) from None


def _text_of(stream: Any) -> str:
    stream.seek(0)
    text: str = stream.read().decode("utf-8").replace("\r\n", "\n")
    return text


class _Server:
    """The process that forks, as it sees itself."""

    def __init__(self, door: socket.socket) -> None:
        self._door = door
        self._reports: dict[int, tuple[int, socket.socket]] = {}
        """By the file descriptor of a process: its number, and where its end is told."""
        self._selector = selectors.DefaultSelector()
        self._selector.register(door, selectors.EVENT_READ)

    def serve(self) -> list[str] | None:
        """Fork for each message; in the forked process give its arguments, at the end None."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._door:
                    self._tell_end(key.fd)
                    continue
                word, fds, *_ = socket.recv_fds(self._door, 8, 5)
                if not word:
                    return None
                if (pid := os.fork()) == 0:
                    self._forget_others()
                    return _become(fds)
                self._note(pid, fds)

    def _note(self, pid: int, fds: list[int]) -> None:
        report = socket.socket(fileno=fds.pop())
        _tell(report, pid)
        for fd in fds:
            os.close(fd)
        ended = os.pidfd_open(pid)
        self._reports[ended] = pid, report
        self._selector.register(ended, selectors.EVENT_READ)

    def _tell_end(self, ended: int) -> None:
        self._selector.unregister(ended)
        os.close(ended)
        pid, report = self._reports.pop(ended)
        with report:
            _tell(report, os.waitpid(pid, 0)[1])

    def _forget_others(self) -> None:
        self._selector.close()
        self._door.close()
        for ended, (_, report) in self._reports.items():
            os.close(ended)
            report.close()


def _tell(report: socket.socket, number: int) -> None:
    with contextlib.suppress(OSError):  # who asked may have gone
        report.send(str(number).encode())


def _become(fds: list[int]) -> list[str]:
    """Take over the streams, the folder and the environment of a command; give its arguments."""
    with os.fdopen(fds.pop(0), "rb") as message:
        told = json.load(message)
    os.close(fds.pop())
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    argv: list[str] = told["argv"]
    return argv


def _main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    argv = _Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if argv is not None:
        from crawler.__main__ import main

        sys.argv = argv
        sys.exit(main())


if __name__ == "__main__":
    _main()
