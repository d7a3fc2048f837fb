"""Which jobs are due: bookkeeping of moments, without a clock of its own.

Moments that passed unseen (the machine slept, the clock was put forward, all places were taken) are
caught up by one pull, however many they were. A job is never due while it is being pulled: moments
that come then are passed over and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from crawler.errors import UsageError
from crawler.pull.job import Timing
from crawler.pull.triggers import Trigger, trigger_of

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Entry:
    timing: Timing
    trigger: Trigger
    slot_s: float
    at_s: float
    served_s: float | None = None
    running: bool = False
    passed_over: int = 0


class Timetable(Generic[Key]):
    """Jobs by ``Key`` and when each is due, in Unix seconds.

    ``draw`` gives a random number from 0 up to its argument: the jitter of a moment.
    """

    def __init__(self, draw: Callable[[float], float]) -> None:
        self._entries: dict[Key, _Entry] = {}
        self._draw = draw

    def put(self, key: Key, timing: Timing, last_s: float | None, now_s: float) -> None:
        """Take a job up, last pulled at ``last_s``; one that is known keeps its moment.

        Raises ``UsageError`` for a schedule that is none, or where there is none.
        """
        known = self._entries.get(key)
        if known is not None and known.timing == timing:
            return
        trigger = trigger_of(timing)
        if trigger is None:
            raise UsageError(
                'there is no schedule; give schedule = "*/15 * * * *" or every = "15m"'
            )
        slot_s = _first(trigger, timing, last_s, now_s)
        entry = _Entry(timing, trigger, slot_s, slot_s + self._draw(timing.jitter_s))
        if last_s is not None and trigger.following(last_s, last_s) == slot_s:
            entry.served_s = last_s
        entry.running = known is not None and known.running
        self._entries[key] = entry

    def drop(self, key: Key) -> None:
        """Forget a job."""
        self._entries.pop(key, None)

    def due(self, now_s: float, most: int) -> list[Key]:
        """Give up to ``most`` jobs that are due, those due longest first: they are running now."""
        late = sorted(
            (key for key, entry in self._entries.items() if entry.at_s <= now_s),
            key=lambda key: self._entries[key].at_s,
        )
        chosen = list[Key]()
        for key in late:
            entry = self._entries[key]
            if entry.running:
                entry.passed_over += 1
            elif len(chosen) == most:
                continue  # it stays due until there is room
            else:
                entry.running = True
                chosen.append(key)
            entry.served_s = entry.slot_s
            self._move_on(entry, now_s)
        return chosen

    def begun(self, key: Key) -> None:
        """Note that a job is being pulled: it is not due until that has ended."""
        self._entries[key].running = True

    def ended(self, key: Key) -> int:
        """Note that a job's pull has ended; give how many moments were passed over meanwhile."""
        entry = self._entries.get(key)
        if entry is None:
            return 0
        passed_over, entry.passed_over, entry.running = entry.passed_over, 0, False
        return passed_over

    def set_back(self, now_s: float, by_s: float) -> None:
        """Compute moments anew: the clock was put back by ``by_s``, and they would come too late.

        A step that is shorter than the time between two moments brings none a second time.
        """
        for entry in self._entries.values():
            served_s = entry.served_s
            if served_s is not None and entry.slot_s - served_s > by_s:
                continue
            if entry.slot_s > now_s:
                entry.slot_s = now_s
                self._move_on(entry, now_s)

    def next_at(self, key: Key) -> float | None:
        """Give when a job is due next, None for one that is not known."""
        entry = self._entries.get(key)
        return None if entry is None else entry.at_s

    def wait_s(self, now_s: float) -> float:
        """Give how long nothing will be due; infinite without jobs."""
        moments = (entry.at_s for entry in self._entries.values())
        return max(0.0, min(moments, default=float("inf")) - now_s)

    def _move_on(self, entry: _Entry, now_s: float) -> None:
        entry.slot_s = entry.trigger.following(entry.slot_s, now_s)
        entry.at_s = entry.slot_s + self._draw(entry.timing.jitter_s)


def _first(trigger: Trigger, timing: Timing, last_s: float | None, now_s: float) -> float:
    """Give a job's first moment: now, where one passed since its last pull."""
    if last_s is None or last_s > now_s:
        return trigger.following(None, now_s)
    missed_s = trigger.following(last_s, last_s)
    if missed_s > now_s:
        return missed_s
    return now_s if timing.catch_up else trigger.following(last_s, now_s)
