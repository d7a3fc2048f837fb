"""What ``crawl pull`` was asked, read and held together: one thing at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypedDict

from crawler.cli import values
from crawler.errors import UsageError

if TYPE_CHECKING:
    from crawler.pull.job import Timing

Unit = Literal["systemd", "cron", "k8s"]
Mode = Literal["once", "loop", "check", "init", "schema", "unit", "status", "history"]


class PullParams(TypedDict):
    """The options of ``crawl pull``, as click gives them."""

    jobs: tuple[str, ...]
    loop: bool
    every: str | None
    at_once: str | None
    serve: str | None
    token: str | None
    wait: bool
    skip_if_running: bool
    text_on_stdin: bool
    check: bool
    init: bool
    schema: bool
    unit: Unit | None
    status: bool
    history: bool
    since: str | None
    json: bool
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PullOptions:
    """What to do with which jobs; ``places`` are job files, and folders where there may be many."""

    mode: Mode
    places: tuple[Path, ...]
    every: Timing | None = None
    at_once: int | None = None
    serve: str | None = None
    token: str | None = None
    wait: bool = False
    skip_if_running: bool = False
    text_on_stdin: bool = False
    unit: Unit | None = None
    since_s: float = 0.0
    json: bool = False
    quiet: bool = False


_SINCE: Final = "7d"
_OF_LOOP: Final = ("serve", "token", "at_once")
_WITHOUT_JOBS: Final = ("schema",)


def parse_pull(params: PullParams) -> PullOptions:
    """Read the options; raises ``UsageError``."""
    mode = _mode(params)
    if mode == "loop":
        _check_loop(params)
    else:
        _check_unheeded(params)
    _check_looking(params, mode)
    if not params["jobs"] and mode not in _WITHOUT_JOBS:
        raise UsageError("no job: give its file, as crawl pull job.toml; --init job.toml makes one")
    token = params["token"]
    return PullOptions(
        mode=mode,
        places=tuple(map(Path, params["jobs"])),
        every=_every(params["every"]),
        at_once=values.count(params["at_once"], "--at-once", least=1),
        serve=params["serve"],
        token=None if token is None else values.bearer_token(token, "--token"),
        wait=params["wait"],
        skip_if_running=params["skip_if_running"],
        text_on_stdin=params["text_on_stdin"],
        unit=params["unit"],
        since_s=values.moment_s(params["since"] or _SINCE, "--since", now_s=time.time()),
        json=params["json"],
        quiet=params["quiet"],
    )


def _mode(params: PullParams) -> Mode:
    asked: dict[Mode, bool] = {
        "check": params["check"],
        "init": params["init"],
        "schema": params["schema"],
        "unit": params["unit"] is not None,
        "status": params["status"],
        "history": params["history"],
        "loop": params["loop"] or params["every"] is not None,
    }
    modes = [mode for mode, is_asked in asked.items() if is_asked]
    if len(modes) > 1:
        first, second = (f"--{mode}" for mode in modes[:2])
        raise UsageError(f"{first} and {second} are two things to do: give one of them")
    return modes[0] if modes else "once"


def _check_loop(params: PullParams) -> None:
    if params["wait"] or params["skip_if_running"]:
        raise UsageError("--loop never pulls a job twice at once: leave --wait, --skip-if-running")
    if params["token"] is not None and params["serve"] is None:
        raise UsageError("--token is that of the page: give --serve with it")


def _check_unheeded(params: PullParams) -> None:
    """Refuse options that only a loop would heed."""
    for name in _OF_LOOP:
        if params[name] is not None:
            raise UsageError(f"--{name.replace('_', '-')} is of a loop: give --loop with it")
    if params["wait"] and params["skip_if_running"]:
        raise UsageError("--wait and --skip-if-running say opposite things: give one of them")


def _check_looking(params: PullParams, mode: Mode) -> None:
    """Refuse options that the mode would not heed."""
    if params["since"] is not None and mode != "history":
        raise UsageError("--since is of the history: give --history with it")
    if params["json"] and mode not in ("status", "history"):
        raise UsageError("--json is a form of --status and --history: give one of them")


def _every(text: str | None) -> Timing | None:
    if text is None:
        return None
    every_s = values.duration_s(text, "--every")
    if every_s < 1:
        raise UsageError("--every: give at least 1s; crawl bench sends faster than that")
    from crawler.pull.job import Timing

    return Timing(every_s=every_s)
