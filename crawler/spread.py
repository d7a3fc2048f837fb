"""The pool's source for a polite run: targets by host, each host's to one worker.

It reads ahead as far as there is room and hands out hosts in turn, of each no more than it can soon
use; so a list sorted by host keeps all connections busy, and a slow or paused host has little in
hand that a dead worker would have to give back.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from typing import Final

from crawler.record import Target
from crawler.source import Source
from crawler.urls import host_of

_READ_TOGETHER: Final = 2048
_OF_A_HOST: Final = 4
"""Targets of one host that go out together, so that one slow host holds few others' batch."""


class _Queue:
    """One host's targets that wait here, and how many are out."""

    __slots__ = ("lined_up", "out", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Target] = deque()
        self.out = 0
        self.lined_up = False


class Spread:
    """Targets by host, over ``lanes`` workers.

    ``window`` bounds what was read and is not done, or what ``held`` tells in its place;
    ``most_out`` bounds what is out of one host.
    """

    def __init__(
        self,
        inner: Source,
        *,
        lanes: int,
        most_out: int,
        window: int,
        held: Callable[[], int] | None = None,
    ) -> None:
        self._inner = inner
        self._lanes: list[deque[_Queue]] = [deque() for _ in range(max(1, lanes))]
        self._most_out = most_out
        self._window = window
        self._held = held
        self._out = 0
        self._hosts: dict[str, _Queue] = {}
        self._waiting = 0
        self.lanes = len(self._lanes)

    @property
    def exhausted(self) -> bool:
        """Whether all was read and handed out."""
        return self._inner.exhausted and not self._waiting

    def take(self, count: int, lane: int = 0) -> list[Target]:
        """Give up to ``count`` targets of the hosts of a lane; none, where none may go out now."""
        line, taken = self._lanes[lane % len(self._lanes)], list[Target]()
        self._read(line)
        while line and len(taken) < count:
            queue = line.popleft()
            some = min(_OF_A_HOST, count - len(taken), self._most_out - queue.out)
            while some > 0 and queue.waiting:
                taken.append(queue.waiting.popleft())
                queue.out += 1
                some -= 1
            queue.lined_up = False
            self._line_up(line, queue)
        self._waiting -= len(taken)
        self._out += len(taken)
        return taken

    def finished(self, targets: list[Target]) -> None:
        """Targets that were out are done."""
        self._out -= len(targets)
        for target in targets:
            name = host_of(target.url)
            queue = self._hosts[name]
            queue.out -= 1
            if queue.out or queue.waiting:
                self._line_up(self._lane(name), queue)
            else:
                del self._hosts[name]

    def _read(self, line: deque[_Queue]) -> None:
        """Read ahead some more, and as far as there is room while the line has nobody."""
        count = min(self._room(), _READ_TOGETHER)
        while count > 0 and not self._inner.exhausted:
            targets = self._inner.take(count)
            for target in targets:
                self._add(target)
            if not targets or line:
                return
            count = min(self._room(), _READ_TOGETHER)

    def _room(self) -> int:
        return self._window - (self._waiting + self._out if self._held is None else self._held())

    def _add(self, target: Target) -> None:
        name = host_of(target.url)
        queue = self._hosts.get(name)
        if queue is None:
            queue = self._hosts[name] = _Queue()
        queue.waiting.append(target)
        self._waiting += 1
        if not queue.lined_up:
            self._line_up(self._lane(name), queue)

    def _line_up(self, line: deque[_Queue], queue: _Queue) -> None:
        if not queue.lined_up and queue.waiting and queue.out < self._most_out:
            queue.lined_up = True
            line.append(queue)

    def _lane(self, name: str) -> deque[_Queue]:
        return self._lanes[zlib.crc32(name.encode("utf-8", "replace")) % len(self._lanes)]
