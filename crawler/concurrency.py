"""How many requests a host bears at once, found by its latency: additive increase, multiplicative
decrease (Chiu and Jain, 1989), with the gradient of latency as the sign of a queue (as Netflix's
concurrency-limits has it).
"""

from __future__ import annotations

from typing import Final

_BEGIN: Final = 2.0
_MOST: Final = 64
_BACK: Final = 0.7
_SLOW: Final = 2.0
"""A latency of so many times the usual is a queue at the host."""
_LEARN: Final = 0.05


class Adaptive:
    """The limit of one host, from 1 to ``most`` (64 unless given)."""

    __slots__ = ("_limit", "_most", "_usual_ms")

    def __init__(self, *, most: int | None) -> None:
        self._most = _MOST if most is None else most
        self._limit = min(_BEGIN, self._most)
        self._usual_ms = 0.0

    @property
    def limit(self) -> int:
        """How many may be in flight now."""
        return int(self._limit)

    def succeeded(self, elapsed_ms: float) -> None:
        """A reply came: a quick one raises the limit, by one in as many as are in flight."""
        usual_ms = self._usual_ms or elapsed_ms
        if elapsed_ms > _SLOW * usual_ms:
            self._limit = max(1.0, self._limit - _BACK / self._limit)
        else:
            self._limit = min(float(self._most), self._limit + 1 / self._limit)
        # What is quick is learnt at once, what is slow slowly: the host at rest is the measure.
        learn = _LEARN / 50 if elapsed_ms > usual_ms else _LEARN
        self._usual_ms = usual_ms + learn * (elapsed_ms - usual_ms)

    def failed(self) -> None:
        """A failure lowers the limit by three tenths."""
        self._limit = max(1.0, self._limit * _BACK)
