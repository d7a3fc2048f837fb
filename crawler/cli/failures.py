"""What a failure looks like from outside: one line on stderr and an exit code, never a traceback.

A verb answers 0 (fine), 1 (more failed than allowed) or 3 (a threshold broken). From here come 2
(usage or set-up), 70 (a bug in crawl; EX_SOFTWARE of sysexits.h), 130 (interrupted) and 141 (nobody
reads our output any more; 128 + SIGPIPE, what a shell reports of ``cat``).
"""

from __future__ import annotations

import os
import select
import sys
import traceback
from collections.abc import Callable
from typing import Final

import click

from crawler.errors import CrawlError, WorkerError

EXIT_SETUP: Final = 2
EXIT_BUG: Final = 70
EXIT_INTERRUPTED: Final = 130
EXIT_PIPE: Final = 141


def guarded(body: Callable[[], int], *, debug: bool) -> int:
    """Run ``body`` and return its exit code, or report its exception and return the fitting one.

    With ``debug`` the traceback is shown too, a worker's own included.
    """
    try:
        code = body()
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except (KeyboardInterrupt, click.Abort):
        return _say("interrupted", EXIT_INTERRUPTED)
    except Exception as exc:
        return _report(exc, debug=debug)
    return code


def _report(exc: Exception, *, debug: bool) -> int:
    if isinstance(exc, BrokenPipeError) and _stdout_is_broken():
        _drop_stdout()
        return EXIT_PIPE
    if debug:
        _show_traceback(exc)
    if isinstance(exc, click.ClickException):
        return _say(f"error: {_click_message(exc)}", exc.exit_code)
    if isinstance(exc, CrawlError):
        return _say(f"error: {exc}", exc.exit_code)
    if isinstance(exc, OSError) and not isinstance(exc, ConnectionError):
        _drop_stdout()
        return _say(f"error: {_os_message(exc)}", EXIT_SETUP)
    hint = "" if debug else "; this is a bug: --debug or CRAWL_DEBUG=1 shows where"
    return _say(f"internal error: {_one_line(exc)}{hint}", EXIT_BUG)


def _say(message: str, code: int) -> int:
    if sys.stderr is not None:
        print(f"crawl: {message}", file=sys.stderr, flush=True)
    return code


def _click_message(exc: click.ClickException) -> str:
    message = exc.format_message().rstrip(".")
    context = exc.ctx if isinstance(exc, click.UsageError) else None
    return f"{message}; see {context.command_path} --help" if context else message


def _os_message(exc: OSError) -> str:
    """Say what failed where; without a file name it is our output that cannot be written."""
    reason = (exc.strerror or str(exc)).lower()
    place = "cannot write the output" if exc.filename is None else str(exc.filename)
    return f"{place}: {reason}"


def _one_line(exc: Exception) -> str:
    text = " ".join(str(exc).split())
    return f"{type(exc).__name__}: {text}" if text else type(exc).__name__


def _show_traceback(exc: Exception) -> None:
    traceback.print_exception(exc)
    if isinstance(exc, WorkerError) and exc.remote_traceback:
        print(exc.remote_traceback, file=sys.stderr)


def _stdout_is_broken() -> bool:
    """Tell a reader that left (``crawl --out - | head``) from a pipe of ours that broke."""
    poll = select.poll()
    poll.register(1, 0)
    return bool(poll.poll(0))


def _drop_stdout() -> None:
    """Let the interpreter's own last flush go nowhere, or it would complain a second time."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.close(devnull)
