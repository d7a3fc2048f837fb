"""What a pull would send, said without sending it: secrets as the file has them, or masked."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from crawler.cli.job_options import JobRequests
from crawler.pull.asking import TARGET, Asking, shown
from crawler.pull.job import PullJob
from crawler.pull.job_file import JobFile
from crawler.pull.state import State, TargetState
from crawler.report.columns import plain
from crawler.settings import Settings
from crawler.urls import MASK, mask

_SHOWN: Final = 10
_SECRET_KEYS: Final = frozenset(("user", "bearer", "cookie", "proxy", "data", "json"))
_SECRET_NAMES: Final = ("authorization", "cookie", "token", "secret", "key", "password", "auth")


def preview(file: JobFile, job: PullJob, requests: JobRequests) -> str:
    """Give the first targets as they would be asked for now, and how."""
    lines = [f"{job.name} ({job.path}): fine", f"  data in {job.store.folder}"]
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


def _known(job: PullJob) -> dict[str, TargetState]:
    state = State.reading(job.store.folder)
    if state is None:
        return {}
    with state:
        return {target.key: target for target in state.targets() if target.page == 1}


def _target_lines(target: Any, settings: Settings) -> Iterator[str]:  # noqa: ANN401
    method = target.method or settings.method
    yield f"  {method} {plain(shown(target.url))}"
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
    """Show a header's value unless its name says that it is secret."""
    low = name.lower()
    secret = any(word in low for word in _SECRET_NAMES)
    return value if not secret or _is_reference(value) else MASK


def _is_reference(value: str) -> bool:
    """Tell a secret that is named from one that is written down: nothing but the name is left."""
    words: Iterable[str] = value.split()
    return any(word.startswith(("${", "file:")) for word in words) and not any(
        len(word) > 0 and not word.startswith(("${", "file:")) and word not in _SCHEMES
        for word in words
    )


_SCHEMES: Final = ("Bearer", "Basic", "Token")
