"""What a pull would send, said without sending it: secrets as the file has them, or masked."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any, Final

from crawler.cli.job_options import JobRequests
from crawler.durations import duration_text
from crawler.pull.asking import TARGET, Asking
from crawler.pull.channels import channels_of
from crawler.pull.job import PLAIN_HEADERS, PullJob
from crawler.pull.job_file import JobFile
from crawler.pull.state import State, TargetState
from crawler.pull.triggers import trigger_of
from crawler.report.columns import plain
from crawler.settings import Settings
from crawler.urls import MASK, InvalidUrl, mask, wire_url

_SHOWN: Final = 10
_MOMENTS: Final = 3
_SECRET_KEYS: Final = frozenset(("user", "bearer", "cookie", "proxy", "data", "json"))
_REFERENCE: Final = re.compile(r"\$\{[^{}]+\}|file:\S+")


def preview(file: JobFile, job: PullJob, requests: JobRequests) -> str:
    """Give the first targets as they would be asked for now, and how."""
    lines = [f"{job.name} ({job.path}): fine", f"  data in {job.store.folder}"]
    lines += [f"  {line}" for line in (*_timing_lines(job), *_hints(job))]
    lines += [f"  {line}" for line in _settings_lines(file)]
    with requests.open() as targets:
        known = _known(job)
        asking = Asking(job, requests.settings, known, time.time())
        sent = asking.requests(targets)
        lines += [line for target in islice(sent, _SHOWN) for line in _target_lines(
            target, requests.settings)]  # fmt: skip
        rest = sum(1 for _ in sent)
    if rest:
        lines.append(f"  and {rest:,} more")
    return "\n".join(lines) + "\n"


def _timing_lines(job: PullJob) -> Iterator[str]:
    """Say when a loop would pull the job."""
    trigger, timing = trigger_of(job.timing), job.timing
    if trigger is None:
        yield "when: as it is called (there is no schedule and no every)"
    elif timing.every_s is not None:
        yield f"when: every {duration_text(timing.every_s)}"
    else:
        moments, at = list[str](), time.time()
        for _ in range(_MOMENTS):
            at = trigger.following(at, at)
            moments.append(f"{datetime.fromtimestamp(at, timing.zone):%a %Y-%m-%d %H:%M %Z}")
        yield f"when: {timing.schedule}: {', '.join(moments)} ..."


def _hints(job: PullJob) -> Iterator[str]:
    """Say what is right and yet hardly meant: alerts that nobody hears of, or that never come."""
    plan = job.alerts
    if plan.rules and not channels_of(plan):
        yield "[alerts]: without command, webhook or smtp they are only shown, not told"
    if channels_of(plan) and not plan.rules:
        yield "[alerts]: without failures, fail-on, slower, unchanged-for or changes, all that is"
        yield "  told is a pull that cannot be made"


def _known(job: PullJob) -> dict[str, TargetState]:
    state = State.reading(job.store.folder)
    if state is None:
        return {}
    with state:
        return {target.key: target for target in state.targets() if target.page == 1}


def _target_lines(target: Any, settings: Settings) -> Iterator[str]:  # noqa: ANN401
    method = target.method or settings.method
    try:
        yield f"  {method} {plain(wire_url(target.url).shown)}"
    except InvalidUrl as exc:
        yield f"  {plain(mask(target.url))!r} is not sent, its record will say invalid_url: {exc}"
    if target.fields[TARGET] != target.url and "{" in target.fields[TARGET]:
        yield f"    of {plain(target.fields[TARGET])}"
    for name, value in target.headers or ():
        yield f"    {name}: {plain(_safe_header(name, value))}"


def _settings_lines(file: JobFile) -> Iterator[str]:
    """Say what the file sets of requests; a secret is what the file has in its place."""
    for section in ("request", "politeness", "retries", "replies", "pool"):
        for key, value in file.table(section).items():
            many = value if isinstance(value, tuple) else (value,)
            yield f"[{section}] {key} = {', '.join(_safe(key, each) for each in many)}"


def _safe(key: str, value: object) -> str:
    if not isinstance(value, str):
        return str(value).lower()
    if key == "header":
        name, colon, rest = value.partition(":")
        return f"{name}{colon} {_safe_header(name, rest.strip())}" if colon else MASK
    if key in _SECRET_KEYS and not _is_reference(value):
        return MASK
    return plain(mask(value))


def _safe_header(name: str, value: str) -> str:
    """Show a header's value where it is no secret, or names one."""
    known = PLAIN_HEADERS.fullmatch(name.strip()) or _is_reference(value)
    return value if known else MASK


def _is_reference(value: str) -> bool:
    """Tell a secret that is named from one that is written down: nothing but the name is left."""
    return all(word in _SCHEMES or _REFERENCE.fullmatch(word) for word in value.split())


_SCHEMES: Final = ("Bearer", "Basic", "Token")
