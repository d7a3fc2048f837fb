"""Runners: coroutines that live as long as a worker and wait for exchanges, one after another.

Whoever finishes an exchange resumes the runner that waits for it, at once and directly: no task,
no future and no turn of the loop a request, which together cost as much as libcurl's own part.
A runner waits for nothing but pauses; what needs sleeps and futures is a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Protocol


class Pause:
    """What a stepped runner waits for; ``set_result`` resumes it before it returns."""

    __slots__ = ("_resume",)

    _resume: Callable[[Any], None]

    def __await__(self) -> Generator[Pause, Any, Any]:
        """Give up control until ``set_result``; the result is what that was given."""
        return (yield self)

    def set_result(self, result: Any) -> None:  # noqa: ANN401 - as asyncio.Future
        """Resume the runner that waits with ``result``."""
        self._resume(result)

    def done(self) -> bool:
        """Tell whether the result is there: never, since it is handed over and not kept."""
        return False


class Waiting(Protocol):
    """What is common to a ``Pause`` and an ``asyncio.Future``."""

    def __await__(self) -> Generator[Any, Any, Any]:
        """Give up control until there is a result."""
        ...

    def set_result(self, result: Any) -> None:  # noqa: ANN401
        """Give the result to who waits."""
        ...

    def done(self) -> bool:
        """Tell whether nobody waits any more."""
        ...


class Runners(Protocol):
    """How an engine's runners are run."""

    def pause(self) -> Waiting:
        """Give something to wait for."""
        ...

    def run(self, runner: Coroutine[Any, Any, None]) -> None:
        """Start a runner; it runs until ``close``."""
        ...

    def close(self) -> None:
        """End every runner where it waits."""
        ...


class Stepped:
    """Runs runners by stepping them directly. Keeps them until ``close``."""

    def __init__(self) -> None:
        self._runners: list[Coroutine[Any, Any, None]] = []

    def pause(self) -> Waiting:
        """Give something to wait for."""
        return Pause()

    def run(self, runner: Coroutine[Any, Any, None]) -> None:
        """Run until the first pause; from there on, each pause's result goes on with it."""
        self._runners.append(runner)
        send = runner.send

        def resume(result: Any = None) -> None:  # noqa: ANN401
            send(result)._resume = resume

        resume()

    def close(self) -> None:
        """End every runner where it waits."""
        for runner in self._runners:
            runner.close()


class Tasks:
    """Runs runners as tasks of the loop, for engines whose exchanges wait for futures."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def pause(self) -> Waiting:
        """Give something to wait for."""
        return asyncio.get_running_loop().create_future()

    def run(self, runner: Coroutine[Any, Any, None]) -> None:
        """Run it as a task."""
        self._tasks.append(asyncio.get_running_loop().create_task(runner))

    def close(self) -> None:
        """Cancel every runner."""
        for task in self._tasks:
            task.cancel()
