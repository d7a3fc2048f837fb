"""What a log says was done already, so that a run that was cut off can go on.

Resumed is the newest run in the log. A target is done when it has a record (with ``--retry-failed``
a record without an error), and the list must be the one that the run began with: a record whose URL
is not that of its place in the list is an error, never a guess.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from crawler.codec import BadLineError, parse
from crawler.errors import LogError
from crawler.log import last_line, parsed_rows
from crawler.paging import page_of
from crawler.record import NEXT, Target, page_number
from crawler.urls import InvalidUrl, mask, wire_url

_OPEN: Final = 0
_FAILED: Final = 1
_FINISHED: Final = 2
_FINISHED_BADLY: Final = 3


class Done:
    """The targets that need no request any more: 5 bytes of memory each."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.count = 0
        self.failed = 0
        self._state = bytearray()
        self._urls: array[int] = array("I")
        self._pages: dict[int, tuple[int, str]] = {}

    def note_page(self, seq: int, page: int, following: str) -> None:
        """Note the page that is to follow one that is recorded; none follows the last one."""
        if following:
            self._pages[seq] = (page + 1, following)
        else:
            self._pages.pop(seq, None)

    def note(self, seq: int, url: str | None, *, finished: bool, failed: bool = False) -> None:
        """Note the newest record of a target; ``finished`` ones, ``failed`` or not, are done.

        The ``url`` of a further page is not the target's: it is None.
        """
        if seq >= len(self._state):
            missing = seq + 1 - len(self._state)
            self._state.extend(bytes(missing))
            self._urls.extend([0] * missing)
        before, now = self._state[seq], _state(finished=finished, failed=failed)
        self.count += (now >= _FINISHED) - (before >= _FINISHED)
        self.failed += (now == _FINISHED_BADLY) - (before == _FINISHED_BADLY)
        self._state[seq] = now
        if url is not None:
            self._urls[seq] = _digest(url)

    def whole(self, targets: Iterable[Target]) -> Iterator[Target]:
        """Pass the whole list on; raises ``LogError`` at its end if the run's list was longer."""
        last = -1
        for target in targets:
            last = target.seq
            yield target
        if last + 1 < len(self._state):
            raise LogError(
                f"the list has {last + 1} targets and run {self.run} fetched {len(self._state)}: "
                "the list has changed; give the same list, or start without --resume"
            )

    def open_targets(self, targets: Iterable[Target]) -> Iterator[Target]:
        """Yield the targets that are still to be fetched.

        Raises ``LogError`` at the first one whose record is of another URL.
        """
        known = len(self._state)
        for target in targets:
            seq = target.seq
            if seq < known and self._state[seq] != _OPEN:
                if not _is_of(self._urls[seq], target.url):
                    raise LogError(
                        f"target {seq + 1} of the list is not what run {self.run} fetched there: "
                        "the list has changed; give the same list, or start without --resume"
                    )
                if self._state[seq] >= _FINISHED:
                    continue
                if seq in self._pages:
                    page, url = self._pages[seq]
                    target = page_of(target, url, page)
            yield target


def _state(*, finished: bool, failed: bool) -> int:
    if not finished:
        return _FAILED
    return _FINISHED_BADLY if failed else _FINISHED


def load_done(path: Path, *, retry_failed: bool, max_pages: int = 1) -> Done | None:
    """Read what the newest run in a log has done; None when the log holds no run.

    A target with more pages to come, up to ``max_pages``, is not done. Raises ``LogError`` when the
    log cannot be read.
    """
    run = newest_run(path)
    if run is None:
        return None
    done = Done(run)
    for _, row in parsed_rows(path):
        if row["run"] == run:
            seq, failed = row["seq"], row.get("error") is not None
            finished, page = not (failed and retry_failed), 1
            if max_pages > 1:
                page = page_number(row)
                following = "" if failed or page >= max_pages else row.get(NEXT) or ""
                finished = finished and not following
                if not failed:
                    done.note_page(seq, page, following)
            url = row["url"] if page == 1 else None
            done.note(seq, url, finished=finished, failed=failed)
    return done


def newest_run(path: Path) -> str | None:
    """Give the run id of a log's last whole line, None for an empty or absent log.

    Raises ``LogError`` when the log cannot be read.
    """
    line = last_line(path)
    if line is None:
        return None
    try:
        return str(parse(line)["run"])
    except BadLineError as exc:
        raise LogError(f"{path}, last line: {exc}; is this a record log?") from None


def _is_of(noted: int, url: str) -> bool:
    """Tell whether a record's URL, noted as its digest, is that of a target, sent or never sent."""
    try:
        shown = wire_url(url).shown
    except InvalidUrl:
        return noted == _digest(mask(url))
    return noted == _digest(shown) or noted == _digest(mask(url))


def _digest(url: str) -> int:
    return zlib.crc32(url.encode("utf-8", "backslashreplace"))
