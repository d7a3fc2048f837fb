"""What the pages of the demo API share: a request, a reply, and how knobs are read."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Final, NamedTuple

_MAX_DELAY_S: Final = 3600.0
JSON_TYPE: Final = ("Content-Type", "application/json")
"""The header of a reply in JSON."""

Headers = tuple[tuple[str, str], ...]
Args = Mapping[str, str]


class Request(NamedTuple):
    """One request. ``target`` is as sent (RFC 9112, section 3.2); ``path`` is still encoded.

    ``segments`` of the path and ``pairs`` of the query are decoded. Header names are in lower
    case. ``minor_version`` is that of HTTP/1.
    """

    method: str
    target: str
    path: str
    segments: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    headers: Headers
    body: bytes
    minor_version: int
    keep_alive: bool

    def header(self, name: str) -> str:
        """The value of the first header called ``name`` (lower case), empty without one."""
        return next((value for key, value in self.headers if key == name), "")


class Reply(NamedTuple):
    """What to send, ``delay_s`` after the request came; ``never`` is a reply that never comes.

    ``parts``, where given, is the body, ``length`` bytes in pieces, each with its moment in
    seconds after the head.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    delay_s: float = 0.0
    never: bool = False
    chunked: bool = False
    parts: Iterator[tuple[float, bytes]] | None = None
    length: int = 0


class KnobError(Exception):
    """A knob that cannot be used; the message says what was got and what to give."""


def json_reply(status: int, value: object, *headers: tuple[str, str]) -> Reply:
    """A reply whose body is ``value`` as JSON in UTF-8."""
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return Reply(status, body, (JSON_TYPE, *headers))


_UNITS_S: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def duration_s(text: str) -> float:
    """Seconds, at most an hour, of ``100ms``, ``2s``, ``50us`` or ``0``. Raises ``KnobError``."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(us|ms|s)", text)
    if match is None and text != "0":
        raise KnobError(f"{text!r} is no duration: write a number and a unit, as 100ms, 2s, 50us")
    return min(float(match[1]) * _UNITS_S[match[2]], _MAX_DELAY_S) if match else 0.0


def decimal(text: str, name: str = "a shape", low: float = 0.1, high: float = 10.0) -> float:
    """A number of ``low`` to ``high``. Raises ``KnobError``, with ``name`` in it."""
    if re.fullmatch(r"[0-9]{0,4}\.?[0-9]{1,9}", text) is None or not low <= float(text) <= high:
        raise KnobError(f"{name} is {text!r}: give a number of {low} to {high}")
    return float(text)


_DELAYS: Final[Mapping[str, tuple[Callable[..., float], tuple[Callable[[str], float], ...]]]] = {
    "uniform": (lambda rng, low, high: rng.uniform(low, high), (duration_s, duration_s)),
    "normal": (lambda rng, mean, sd: rng.gauss(mean, sd), (duration_s, duration_s)),
    "exp": (lambda rng, mean: mean * rng.expovariate(1.0), (duration_s,)),
    "lognormal": (
        lambda rng, mid, sigma: mid * rng.lognormvariate(0, sigma),
        (duration_s, decimal),
    ),
    "pareto": (lambda rng, low, alpha: low * rng.paretovariate(alpha), (duration_s, decimal)),
}


def delay_s(text: str, rng: Random) -> float:
    """One draw, of 0 to an hour, from ``100ms``, ``exp:1s`` … (``KNOBS``); else ``KnobError``."""
    kind, colon, rest = text.partition(":")
    if not colon:
        return duration_s(text)
    if kind not in _DELAYS:
        raise KnobError(f"delay {kind!r} is unknown: give one of {', '.join(_DELAYS)}")
    draw, readers = _DELAYS[kind]
    values = rest.split(",")
    if len(values) != len(readers):
        raise KnobError(f"delay {kind} has {len(values)} values: give {len(readers)}")
    drawn = draw(rng, *(read(value) for read, value in zip(readers, values, strict=True)))
    return min(max(drawn, 0.0), _MAX_DELAY_S)


def whole(name: str, text: str, low: int, high: int) -> int:
    """A whole number of ``low`` to ``high``. Raises ``KnobError``, with ``name`` in it."""
    if re.fullmatch(r"[0-9]{1,15}", text) is None or not low <= int(text) <= high:
        raise KnobError(f"{name} is {text!r}: give a whole number of {low} to {high}")
    return int(text)
