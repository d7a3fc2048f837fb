"""Records that come as they are finished, given out in the order in which targets were read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from crawler.record import Target


class Reorder:
    """The targets read, in order, and the lines that came before their turn."""

    def __init__(self) -> None:
        self._expected: deque[int] = deque()
        self._lines: dict[int, list[bytes]] = {}

    @property
    def pending(self) -> int:
        """How many targets were read whose record was not given out yet."""
        return len(self._expected)

    def watch(self, targets: Iterable[Target]) -> Iterator[Target]:
        """Pass targets on, noting their order."""
        for target in targets:
            self._expected.append(target.seq)
            yield target

    def put(self, lines: Iterable[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """Take finished lines, all of a target's together; give those whose turn has come."""
        for seq, line in lines:
            self._lines.setdefault(seq, []).append(line)
        ready: list[tuple[int, bytes]] = []
        while self._expected and self._expected[0] in self._lines:
            seq = self._expected.popleft()
            ready.extend((seq, line) for line in self._lines.pop(seq))
        return ready

    def rest(self) -> list[tuple[int, bytes]]:
        """Give, of a run that was stopped, what came all the same, in order."""
        rest = [(seq, line) for seq in sorted(self._lines) for line in self._lines[seq]]
        self._lines.clear()
        return rest
