"""Where the pool's items come from, taken a few at a time.

``Direct`` takes from an iterable that has its items at hand. ``Prefetched`` reads a slow one, such
as a pipe, on a thread, so that the taker never waits for it: results go on coming out, and a stop
is heard, while the producer sleeps.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, Literal, Protocol

Reading = Literal["direct", "ahead"]
"""How an iterable is read: as items are wanted, or on a thread if its reader may not wait."""

_ROOM: Final = 10_000


class Source(Protocol):
    """Items in order, and whether there are more."""

    lanes: int
    """Over how many workers items are spread; 0 where any worker may have any item."""

    @property
    def exhausted(self) -> bool:
        """Whether all was given."""
        ...

    def take(self, count: int, lane: int = 0) -> list[Any]:
        """Give up to ``count`` items; none, where none is there yet or ``exhausted`` is set."""
        ...

    def finished(self, items: list[Any]) -> None:
        """Items that were given are done."""
        ...


class Direct:
    """An iterable whose items are at hand."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.lanes = 0
        self.exhausted = False
        self._items = iter(items)

    def take(self, count: int, lane: int = 0) -> list[Any]:
        """Give the next ``count`` items, fewer at the end. Raises what the iterable raises."""
        items = list(islice(self._items, count))
        self.exhausted = len(items) < count
        return items

    def finished(self, items: list[Any]) -> None:
        """Nobody waits for that here."""


class Prefetched:
    """An iterable read on a thread; ``ready`` is called there whenever items come after none."""

    def __init__(self, items: Iterable[Any], ready: Callable[[], None]) -> None:
        self.lanes = 0
        self.exhausted = False
        self._items: deque[Any] = deque()
        self._ready = ready
        self._ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._read, args=(items,), daemon=True).start()

    def _read(self, items: Iterable[Any]) -> None:
        try:
            for item in items:
                with self._changed:
                    while len(self._items) >= _ROOM:
                        self._changed.wait()
                    self._items.append(item)
                    first = len(self._items) == 1
                if first:
                    self._ready()
        except BaseException as exc:
            self._error = exc
        self._ended = True
        self._ready()

    def take(self, count: int, lane: int = 0) -> list[Any]:
        """Give what is there, up to ``count`` items. Raises what the iterable raised."""
        with self._changed:
            ended = self._ended
            items = [self._items.popleft() for _ in range(min(count, len(self._items)))]
            self._changed.notify()
        if ended and not items:
            self.exhausted = True
            if self._error is not None:
                raise self._error
        return items

    def finished(self, items: list[Any]) -> None:
        """Nobody waits for that here."""
