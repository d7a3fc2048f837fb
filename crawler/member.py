"""One worker as its parent sees it: started, given parts, ended."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import sys
import threading
import warnings
from multiprocessing import util
from multiprocessing.process import BaseProcess
from typing import Any

from crawler import pool_worker
from crawler.channel import Channel
from crawler.errors import UsageError
from crawler.ledger import Part
from crawler.pool_worker import Setup


def start_method() -> str:
    """Choose how workers start: ``fork`` where it is safe, else ``spawn``.

    Forking takes milliseconds and needs no main guard, but copies only the calling thread: a lock
    that another thread holds would stay locked in the worker for ever. Asked once a pool: workers
    that replace others start as these did, since a script without a guard must not be imported
    anew in the middle of its run. Our own thread that reads ahead holds no lock a worker takes.
    """
    if sys.platform == "linux" and threading.active_count() == 1:
        return "fork"
    return "spawn"


class Member:
    """One worker as its parent sees it."""

    def __init__(self, setup: Setup, lane: int = 0) -> None:
        self.setup = setup
        self.lane = lane
        self.method = "thread"
        self.channel: Channel | None = None
        self.process: BaseProcess | None = None
        self._at_exit: util.Finalize[None] | None = None
        self.thread: threading.Thread | None = None
        self._tasks = 0
        self.reset()

    def reset(self) -> None:
        """Be as before the first start."""
        self.ready = False
        self.writing = False
        self.wanted = self.setup.share
        self.parts: dict[int, Part] = {}

    def note(self, part: Part) -> int:
        """Write down that the worker has this part; give the task's number."""
        self._tasks += 1
        self.parts[self._tasks] = part
        self.wanted -= len(part.items)
        return self._tasks

    @property
    def has_suspect(self) -> bool:
        """Whether a suspect part runs here: nothing is put beside it."""
        return any(part.suspect for part in self.parts.values())

    def start(self, sock: socket.socket, inherited: list[Channel]) -> None:
        """Start the worker on its end of the channel."""
        channel = Channel(sock)
        if self.method == "thread":
            self.thread = threading.Thread(
                target=pool_worker.run, args=(channel, self.setup), daemon=True
            )
            self.thread.start()
            return
        context = multiprocessing.get_context(self.method)
        theirs = inherited if self.method == "fork" else []
        self.process = context.Process(  # type: ignore[attr-defined]
            target=pool_worker.run_process, args=(channel, self.setup, theirs), daemon=True
        )
        _start_process(self.process)
        # At the interpreter's end daemons are sent SIGTERM, which workers ignore, and waited for.
        self._at_exit = util.Finalize(None, self.process.kill, exitpriority=0)
        channel.close()

    def end(self, wait_s: float) -> str:
        """Wait until the worker has ended, by force after ``wait_s``; say how it ended."""
        if self.thread is not None:
            self.thread.join(wait_s)
            return "ended"
        if self.process is None:
            return "was not started"
        self.process.join(wait_s)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        if self._at_exit is not None:
            self._at_exit.cancel()
        code = self.process.exitcode or 0
        self.process.close()
        self.process = None
        return f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"


def _start_process(process: Any) -> None:  # noqa: ANN401 - contexts differ in their classes
    if multiprocessing.current_process().daemon:
        raise UsageError("a pool's worker may not start processes of its own: use processes=0")
    try:
        with warnings.catch_warnings():
            # From 3.12 on Python warns of any thread at a fork: numpy's too, whose library stops
            # and restarts them around a fork itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
    except RuntimeError as exc:
        if "bootstrapping" not in str(exc):
            raise
        os._exit(1)  # a spawned worker importing a main script without a guard: its parent tells
    except (pickle.PicklingError, AttributeError, TypeError) as exc:
        raise UsageError(
            f"a worker cannot be sent what it needs ({exc}); use processes=0"
        ) from None
