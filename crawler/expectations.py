"""What a reply must be to count as fine; what is otherwise a failure of class ``unexpected``.

A status that is expected is fine, 404 too. One that is not, and that a retry may mend (503, say),
is still ``http`` and retried; any other is final.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final

from crawler.errors import UsageError

_STATUS: Final = re.compile(r"[1-9]\d\d|[1-9]xx", re.IGNORECASE)
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """Conditions on a reply; () , None and False are none. Raises ``UsageError``.

    ``statuses`` are codes and classes, as ``("200", "3xx")``; ``types`` beginnings of a
    Content-Type; ``body`` a regular expression to be found in the body's bytes; ``json`` asks that
    the body is JSON.
    """

    statuses: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    body: str | None = None
    json: bool = False
    _pattern: re.Pattern[bytes] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        for status in self.statuses:
            if not _STATUS.fullmatch(status):
                raise UsageError(f"--expect-status: {status!r} is none; give some as 200,204,3xx")
        if self.body is None:
            return
        try:
            object.__setattr__(self, "_pattern", _compiled(self.body))
        except (re.error, UnicodeEncodeError, OverflowError, RecursionError) as exc:
            raise UsageError(f"--expect-body {self.body!r}: {exc}") from None

    @property
    def need_replies(self) -> bool:
        """Whether more than the status is to be looked at."""
        return bool(self.types) or self.body is not None or self.json

    def meets_status(self, status: int) -> bool:
        """Tell whether a status is fine: among those given, or below 400 where none is."""
        if not self.statuses:
            return status < 400
        text = str(status)
        return any(text == want or text[0] + "xx" == want.lower() for want in self.statuses)

    def fault_of_status(self, status: int) -> str:
        """Say what is wrong with a status."""
        return f"the status {status} is not among {', '.join(self.statuses)}"

    def fault_of_type(self, content_type: str | None) -> str | None:
        """Say what is wrong with a Content-Type; None where nothing is."""
        kind = (content_type or "").strip().lower()
        if not self.types or kind.startswith(tuple(each.lower() for each in self.types)):
            return None
        return f"the Content-Type is {kind[:_SHOWN] or 'missing'}, not {' or '.join(self.types)}"

    def fault_of_body(self, body: bytes) -> str | None:
        """Say what is wrong with a body; None where nothing is."""
        if self._pattern is not None and not self._pattern.search(body):
            return f"the body does not match --expect-body {self.body!r}"
        if self.json:
            try:
                json.loads(body)
            except ValueError as exc:
                return f"the body is no JSON: {exc}"
            except RecursionError:  # a server's doing: it must not end the run
                return "the body is no JSON: it is nested too deeply to be read"
        return None


def _compiled(regex: str) -> re.Pattern[bytes]:
    """Read a regular expression; bytes of an argument that are no UTF-8 stand for themselves."""
    return re.compile(regex.encode("utf-8", "surrogateescape"))
