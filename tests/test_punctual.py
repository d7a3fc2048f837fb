"""Waking up on time: with a loop whose clock is the test's own, and with a real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest

from crawler.punctual import Punctual


class LateLoop:
    """A loop whose timers fire ``late_s`` late; looking again takes 10 us."""

    def __init__(self, late_s: float) -> None:
        self.now_s, self.late_s = 100.0, late_s
        self.looks = 0
        self._next: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        return self.now_s

    def call_at(self, when_s: float, callback: Callable[[], None]) -> object:
        assert self._next is None, "one alarm at a time"
        self._next = (max(when_s, self.now_s) + self.late_s, callback)
        return object()

    def call_soon(self, callback: Callable[[], None]) -> object:
        assert self._next is None, "one alarm at a time"
        self.looks += 1
        self._next = (self.now_s + 10e-6, callback)
        return object()

    def run(self) -> None:
        while self._next is not None:
            (self.now_s, callback), self._next = self._next, None
            callback()


def lateness(loop: Any, dues_s: list[float]) -> list[float]:
    """How late each of some moments was found to be due."""
    late_s: list[float] = []

    def go_on() -> None:
        while dues_s and punctual.is_due(dues_s[0]):
            late_s.append(loop.time() - dues_s.pop(0))

    punctual = Punctual(loop, go_on)
    go_on()
    loop.run()
    return late_s


@pytest.mark.parametrize("late_s", [0.0, 0.0001, 0.0005])
def test_it_learns_how_late_timers_are_and_wakes_so_much_earlier(late_s) -> None:
    """The first moment is found as late as a timer fires; soon all are on time, none early."""
    loop = LateLoop(late_s)
    found = lateness(loop, [100.0 + 0.01 * k for k in range(1, 101)])
    assert len(found) == 100
    assert min(found) >= 0
    assert found[0] == pytest.approx(late_s, abs=1e-9)
    assert max(found[50:]) <= 11e-6


def test_it_never_looks_again_for_longer_than_a_millisecond() -> None:
    """On a machine that is late by much more, it does not burn the time that it lacks."""
    loop = LateLoop(0.02)
    lateness(loop, [100.0 + 0.1 * k for k in range(1, 51)])
    assert loop.looks <= 50 * 100


def test_moments_in_the_past_are_due() -> None:
    """What is late is begun at once, without an alarm."""
    loop = LateLoop(0.0)
    assert lateness(loop, [99.0, 99.5, 100.0]) == [1.0, 0.5, 0.0]


def test_a_real_loop_is_on_time_for_most() -> None:
    """Moments 5 ms apart are found due within a millisecond of them, most of them."""
    loop = asyncio.SelectorEventLoop()
    late_s: list[float] = []
    begin_s = loop.time() + 0.005
    dues_s = [begin_s + 0.005 * k for k in range(60)]

    def go_on() -> None:
        while dues_s and punctual.is_due(dues_s[0]):
            late_s.append(loop.time() - dues_s.pop(0))
        if not dues_s:
            loop.stop()

    punctual = Punctual(loop, go_on)
    loop.call_soon(go_on)
    loop.run_forever()
    loop.close()
    assert min(late_s) >= 0
    assert median(late_s[20:]) < 0.001
