"""Every error that this package raises on purpose.

A message says what was got and what to do about it. Foreign exceptions are translated where the
foreign library is called and never reach a user; anything else that escapes is a bug, and
propagates.
"""

from __future__ import annotations


class CrawlError(Exception):
    """Base of all errors raised by ``crawler``. ``exit_code`` is what the command ends with."""

    exit_code = 2


class UsageError(CrawlError):
    """An option or argument that cannot be used; the message names it and the remedy."""


class TargetError(CrawlError):
    """A list of targets that cannot be read; the message names the file and the line, if known."""


class SessionError(UsageError):
    """A ``requests.Session`` holds something that the chosen engine cannot do."""


class LogError(CrawlError):
    """The record log cannot be opened, read, written or resumed."""


class LogLockedError(LogError):
    """Another run holds the record log: process ``pid``, ``since`` a moment in ISO 8601."""

    def __init__(self, message: str, *, pid: str = "unknown", since: str = "unknown") -> None:
        super().__init__(message)
        self.pid = pid
        self.since = since


class JobRunningError(CrawlError):
    """Another process is pulling the job."""

    exit_code = 4


class WorkerError(CrawlError):
    """A worker's initializer or function raised; ``remote_traceback`` is the worker's own."""

    def __init__(self, message: str, remote_traceback: str = "") -> None:
        super().__init__(message)
        self.remote_traceback = remote_traceback
