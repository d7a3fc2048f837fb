"""Paths into JSON whose values do not count: ``$.generated_at``, ``items[*].age``, ``a[0].b``.

The part of JSONPath (RFC 9535) that names members, elements and all of either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from crawler.errors import UsageError

_STEP: Final = re.compile(
    r"""\.?(?P<name>[^.\[\]*'"\s]+)|\.(?P<any>\*)|\[(?P<all>\*)\]|\[(?P<index>-?[0-9]{1,9})\]"""
    r"""|\[(?P<quote>['"])(?P<member>.*?)(?P=quote)\]"""
)

Step = str | int | None
"""A member's name, an element's index, or None for all of either."""


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path that was read."""

    text: str
    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> JsonPath:
        """Read a path; raises ``UsageError``."""
        rest = text.strip().removeprefix("$")
        steps, at = list[Step](), 0
        while at < len(rest):
            match = _STEP.match(rest, at)
            if match is None:
                raise UsageError(
                    f"[store] ignore: {text!r} is no path; give one as $.generated_at or "
                    "$.items[*].age"
                )
            steps.append(_step(match))
            at = match.end()
        if not steps:
            raise UsageError(f"[store] ignore: {text!r} is all of the reply; name a part of it")
        return cls(text, tuple(steps))

    def without(self, value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Give a copy of ``value`` without what the path names; the same where that is nothing."""
        return _without(value, self.steps)


def _step(match: re.Match[str]) -> Step:
    if match["index"] is not None:
        return int(match["index"])
    return match["name"] if match["name"] is not None else match["member"]


def _without(value: Any, steps: tuple[Step, ...]) -> Any:  # noqa: ANN401
    step, rest = steps[0], steps[1:]
    if isinstance(value, dict) and not isinstance(step, int):
        return _without_members(value, value if step is None else {step}, rest)
    if isinstance(value, list) and not isinstance(step, str):
        count = len(value)
        chosen = range(count) if step is None else {step if step >= 0 else step + count}
        return _without_elements(value, chosen, rest)
    return value


def _without_members(value: dict[str, Any], chosen: Any, rest: tuple[Step, ...]) -> Any:  # noqa: ANN401
    if not rest:
        return {name: each for name, each in value.items() if name not in chosen}
    return {name: _without(each, rest) if name in chosen else each for name, each in value.items()}


def _without_elements(value: list[Any], chosen: Any, rest: tuple[Step, ...]) -> Any:  # noqa: ANN401
    if not rest:
        return [each for at, each in enumerate(value) if at not in chosen]
    return [_without(each, rest) if at in chosen else each for at, each in enumerate(value)]
