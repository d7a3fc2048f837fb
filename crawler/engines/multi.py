"""libcurl's multi handle as the selector of an asyncio loop.

``select`` drives libcurl, resolves the futures of finished transfers and then waits on libcurl's
sockets and the loop's own descriptors together: no thread, no polling period, no second wait.
Finished transfers are handed over in small slices, so that replies do not wait unread behind our
own bookkeeping.

Two ways to drive libcurl, chosen by measurement: ``perform`` with select(2) is the cheaper
(10 us a request at 64 in flight against 18), but ends at descriptor 1023; ``socket_action`` with
epoll knows no such limit.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import pycurl

SELECT_LIMIT: Final = 1000
"""Descriptors at and above this number are not for select(2) (FD_SETSIZE is 1024)."""
_BLIND_S: Final = 0.001
_SLICE: Final = 16
_MAX_WAIT_S: Final = 60.0

Finished = Callable[[Any, int, str], None]
"""Called with an easy handle, its error code (0 is fine) and libcurl's words for it."""
BeforePerform = Callable[[], None]
FileObject = Any
"""A descriptor, or an object with a ``fileno``."""


class Driver(Protocol):
    """Lets libcurl work, and waits until it or another descriptor has something to do."""

    def drive(self) -> None:
        """Let libcurl do all that it can without waiting."""
        ...

    def wait(self, timeout_s: float) -> None:
        """Wait for a socket of libcurl's, a descriptor of the loop's, or the time."""
        ...

    def close(self) -> None:
        """Let go of what the driver itself holds."""
        ...


class PerformDriver:
    """``curl_multi_perform`` and select(2): cheap, for descriptors below ``SELECT_LIMIT``."""

    def __init__(self, multi: Any, loop_fd: int) -> None:  # noqa: ANN401 - pycurl has no types
        self._multi = multi
        self._loop_fd = loop_fd
        self._running = 0

    def drive(self) -> None:
        """Let libcurl do all that it can without waiting."""
        _, self._running = self._multi.perform()

    def wait(self, timeout_s: float) -> None:
        """Wait for a socket of libcurl's, a descriptor of the loop's, or the time."""
        timer_ms = self._multi.timeout()
        if timer_ms >= 0:
            timeout_s = min(timeout_s, timer_ms / 1000)
        readable, writable, exceptional = self._multi.fdset()
        # libcurl hides descriptors from 1024 on; it shows one of its own too, or none, by version.
        shown = len({*readable, *writable}) if writable else len(readable)
        if shown <= self._running and not _fits_select(0):
            timeout_s = min(timeout_s, _BLIND_S)
        readable.append(self._loop_fd)
        select.select(readable, writable, exceptional, timeout_s)

    def close(self) -> None:
        """Hold nothing, so let nothing go."""


class SocketActionDriver:
    """``curl_multi_socket_action`` and epoll: for any number of descriptors."""

    def __init__(self, multi: Any, loop_fd: int) -> None:  # noqa: ANN401 - pycurl has no types
        self._multi = multi
        self._loop_fd = loop_fd
        self._poll = selectors.DefaultSelector()
        self._poll.register(loop_fd, selectors.EVENT_READ)
        self._timer_s: float | None = None
        self._closed = False
        multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)

    def _watch(self, event: int, fd: int, _multi: object, _data: object) -> None:
        if self._closed:
            return
        with contextlib.suppress(KeyError):
            self._poll.unregister(fd)
        if event != pycurl.POLL_REMOVE:
            self._poll.register(fd, _EVENTS[event])

    def _set_timer(self, timeout_ms: int) -> None:
        self._timer_s = None if timeout_ms < 0 else time.monotonic() + timeout_ms / 1000

    def drive(self) -> None:
        """Let libcurl do all that it can without waiting."""
        for key, events in self._poll.select(0):
            if key.fd != self._loop_fd:
                self._multi.socket_action(key.fd, _CURL_EVENTS[events])
        if self._timer_s is not None and self._timer_s <= time.monotonic():
            self._timer_s = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)

    def wait(self, timeout_s: float) -> None:
        """Wait for a socket of libcurl's, a descriptor of the loop's, or the time."""
        if self._timer_s is not None:
            timeout_s = min(timeout_s, self._timer_s - time.monotonic())
        self._poll.select(max(0.0, timeout_s))

    def close(self) -> None:
        """Close the epoll descriptor; libcurl may still want to unregister sockets, in vain."""
        self._closed = True
        self._poll.close()


_EVENTS: Final = {
    pycurl.POLL_IN: selectors.EVENT_READ,
    pycurl.POLL_OUT: selectors.EVENT_WRITE,
    pycurl.POLL_INOUT: selectors.EVENT_READ | selectors.EVENT_WRITE,
}
_CURL_EVENTS: Final = {
    selectors.EVENT_READ: pycurl.CSELECT_IN,
    selectors.EVENT_WRITE: pycurl.CSELECT_OUT,
    selectors.EVENT_READ | selectors.EVENT_WRITE: pycurl.CSELECT_IN | pycurl.CSELECT_OUT,
}


class CurlSelector(selectors.BaseSelector):
    """What an asyncio loop waits on: its own descriptors and a multi handle's transfers.

    ``finished`` is called for each transfer that has ended, already removed from the multi handle;
    ``before`` once before libcurl is driven, to stamp what is about to start.
    """

    def __init__(
        self,
        multi: Any,  # noqa: ANN401 - pycurl has no types
        *,
        connections: int,
        finished: Finished,
        before: BeforePerform,
    ) -> None:
        self._own = selectors.DefaultSelector()
        self._multi = multi
        self._finished = finished
        self._before = before
        self._detached = False
        loop_fd = self._own.fileno()
        self._driver: Driver
        if _fits_select(connections):
            self._driver = PerformDriver(multi, loop_fd)
        else:
            self._driver = SocketActionDriver(multi, loop_fd)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Drive libcurl, hand over what has finished, wait at most ``timeout`` seconds."""
        if self._detached:
            return self._own.select(timeout)
        if not self._drive() and (timeout is None or timeout > 0):
            self._driver.wait(_MAX_WAIT_S if timeout is None else min(timeout, _MAX_WAIT_S))
            self._drive()
        return self._own.select(0)

    def detach(self) -> None:
        """Drive the multi handle no more: it is about to be closed, the loop is not yet."""
        self._detached = True

    def _drive(self) -> bool:
        self._before()
        self._driver.drive()
        _, fine, failed = self._multi.info_read(_SLICE)
        for curl in fine:
            self._multi.remove_handle(curl)
            self._finished(curl, 0, "")
        for curl, code, words in failed:
            self._multi.remove_handle(curl)
            self._finished(curl, code, words)
        return bool(fine or failed)

    def register(
        self,
        fileobj: FileObject,
        events: int,
        data: Any = None,  # noqa: ANN401
    ) -> selectors.SelectorKey:
        """Watch a descriptor of the loop's own."""
        return self._own.register(fileobj, events, data)

    def unregister(self, fileobj: FileObject) -> selectors.SelectorKey:
        """Watch it no longer."""
        return self._own.unregister(fileobj)

    def modify(
        self,
        fileobj: FileObject,
        events: int,
        data: Any = None,  # noqa: ANN401
    ) -> selectors.SelectorKey:
        """Watch a descriptor for other events."""
        return self._own.modify(fileobj, events, data)

    def get_map(self) -> Mapping[FileObject, selectors.SelectorKey]:
        """Give the loop's own descriptors."""
        return self._own.get_map()

    def close(self) -> None:
        """Let go of the loop's own descriptors."""
        self._driver.close()
        self._own.close()


def _fits_select(connections: int) -> bool:
    """Tell whether twice ``connections`` descriptors (in use and idle) stay below the limit."""
    probe = os.open(os.devnull, os.O_RDONLY)
    os.close(probe)
    return probe + 2 * connections + 32 < SELECT_LIMIT
