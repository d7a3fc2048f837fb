"""What a reply says of its version for later requests: its ETag and Last-Modified (RFC 9110, 8.8).

A date of the very second in which it was sent says nothing of a change later in that second, so it
is not taken (RFC 9110, section 8.8.2.2). A server that gives one validator to two bodies is found
out by ``deny``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

_APART_S: Final = 1.0


class Validators(NamedTuple):
    """A version's validators as they came, None where there is none."""

    etag: str | None
    last_modified: str | None

    def deny(self, before: Validators) -> bool:
        """Whether an earlier version with a body of its own had the same: one of the two is wrong.

        The date speaks only where there is no ETag: nobody heeds it beside one.
        """
        if self.etag is not None or before.etag is not None:
            return self.etag == before.etag
        return self.last_modified is not None and self.last_modified == before.last_modified


def validators_of(headers: Sequence[tuple[str, str]], asked_s: float) -> Validators:
    """Read a reply's header; where it tells no Date, it is of the Unix time at which it was asked.

    (RFC 9110, section 6.6.1, takes the time of receipt; the earlier one is the safer.)
    """
    found = {name.lower(): value for name, value in headers}
    changed = found.get("last-modified")
    since, sent = _moment(changed), _moment(found.get("date"))
    until_s = asked_s if sent is None else sent.timestamp()
    is_young = since is not None and until_s - since.timestamp() < _APART_S
    return Validators(found.get("etag"), None if is_young else changed)


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError, TypeError, IndexError):  # as the server wrote it
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # as with -0000, RFC 5322
