"""A job as its file tells it, in frozen values that were checked once.

What is requested and how (the options of the main job, secrets among them) is no part of it: that
is read only when a pull begins, so that a status needs no secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from crawler.errors import UsageError
from crawler.pull.job_file import JobFile, Table
from crawler.pull.json_paths import JsonPath
from crawler.pull.moments import UTC_ZONE, read_moment
from crawler.sizes import size_bytes
from crawler.thresholds import Threshold, parse_thresholds

VersionForm = Literal["files", "jsonl", "parquet"]
DiffForm = Literal["unified", "json", "none"]

PLAIN_HEADERS: Final = re.compile(
    r"(?i)accept(-.+)?|content-.+|user-agent|cache-control|prefer|range|origin|from|if-.+"
)
"""Headers whose values are no secrets; any other may be one."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DAY_S: Final = 86_400.0
_LONGEST_S: Final = 3652 * _DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a job is pulled: a cron ``schedule`` or ``every_s``; neither where it is not told."""

    schedule: str | None = None
    every_s: float | None = None
    zone: tzinfo = UTC_ZONE
    jitter_s: float = 0.0
    catch_up: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class StorePlan:
    """What is kept of a change, and what is none. ``keep`` is a number of versions, 0 for all."""

    folder: Path
    versions: VersionForm = "files"
    diff: DiffForm = "unified"
    ignore: tuple[JsonPath, ...] = ()
    full_every_s: float = _DAY_S
    allow_empty: bool = False
    keep: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorPlan:
    """What of a reply goes into the next request: ``expression`` found in it, sent as ``param``."""

    expression: str
    param: str | None = None
    start: str | None = None

    @property
    def origin(self) -> str:
        """What a cursor comes by: one that came by something else says nothing."""
        return f"{self.expression} from {self.start}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlan:
    """When the record log is put aside, and when what was put aside is deleted."""

    most_bytes: int = 100_000_000
    most_s: float = 30 * _DAY_S
    keep_s: float = 365 * _DAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPlan:
    """What is told, and how; texts may hold ``${ENV}``, expanded when something is to be sent."""

    failures: int = 0
    thresholds: tuple[Threshold, ...] = ()
    slower: bool = False
    unchanged_for_s: float | None = None
    changes: bool = False
    command: tuple[str, ...] = ()
    webhook: str | None = None
    smtp: str | None = None
    sender: str | None = None
    receivers: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of the rules that the job has."""
        there = {
            "failures": self.failures > 0,
            "fail-on": bool(self.thresholds),
            "slower": self.slower,
            "unchanged-for": self.unchanged_for_s is not None,
            "changes": self.changes,
        }
        return tuple(rule for rule, is_there in there.items() if is_there)


@dataclass(frozen=True, slots=True, kw_only=True)
class PullJob:
    """One job. ``path`` and the store's folder are absolute.

    ``manner`` is a digest of how it asks and compares, as the file has it: of secrets their names.
    ``expects_statuses`` tells that it says itself which ones are fine.
    """

    path: Path
    name: str
    timing: Timing
    start: datetime
    store: StorePlan
    cursor: CursorPlan | None
    log: LogPlan
    alerts: AlertPlan
    textfile: Path | None
    otlp: str | None
    manner: str = ""
    expects_statuses: bool = False


def job_of(file: JobFile) -> PullJob:
    """Read a job's own keys; raises ``UsageError`` that names the file and the key."""
    try:
        return _job(file)
    except UsageError as exc:
        raise UsageError(f"{file.path}: {exc}") from None


def _job(file: JobFile) -> PullJob:
    top, metrics = file.table(""), file.table("metrics")
    name = top.get("name", file.path.stem)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"name {name!r}: give letters, digits and -_. (the folder is named for it)"
        )
    textfile = metrics.get("textfile")
    timing = _timing(top)
    return PullJob(
        path=file.path,
        name=name,
        timing=timing,
        start=read_moment(file.table("targets").get("start", "1970-01-01"), timing.zone),
        store=_store(file.table("store"), file.path.parent, name),
        cursor=_cursor(file.table("cursor"), given="cursor" in file.tables),
        log=_log(file.table("log")),
        alerts=_alerts(file.table("alerts")),
        textfile=None if textfile is None else file.path.parent / Path(textfile).expanduser(),
        otlp=metrics.get("otlp"),
        manner=_manner(file),
        expects_statuses="expect-status" in file.table("replies"),
    )


def _manner(file: JobFile) -> str:
    """Tell one way to ask and compare from another. A credential that rotates changes nothing."""
    texts = file.table("request").get("header", ())
    files = [text.removeprefix("@") for text in texts if text.startswith("@")]
    told = [
        *(_headers_of(file.path.parent / name) for name in files),
        *(sorted(file.table(name).items()) for name in ("request", "replies")),
        file.table("store").get("ignore"),
        sorted(file.table("cursor").items()),
    ]
    return sha256(repr(told).encode("utf-8", "backslashreplace")).hexdigest()


def _headers_of(path: Path) -> list[str]:
    """Give the lines of a file of headers, of those that may be secret the names."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:  # the pull will say so
        return []
    pairs = (line.partition(":") for line in lines)
    return [
        name + (value if PLAIN_HEADERS.fullmatch(name.strip()) else "") for name, _, value in pairs
    ]


_NICKNAMES: Final[Mapping[str | None, str]] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
"""What crontab(5) calls some schedules."""


def _timing(top: Table) -> Timing:
    schedule, every_s = top.get("schedule"), top.get("every")
    if schedule is not None and every_s is not None:
        raise UsageError("schedule and every both say when: give one of them")
    if every_s is not None and every_s < 1:
        raise UsageError("every: give at least 1s; crawl bench sends faster than that")
    for name in ("every", "jitter"):
        if top.get(name, 0.0) > _LONGEST_S:
            raise UsageError(f"{name}: it is longer than ten years")
    return Timing(
        schedule=_NICKNAMES.get(schedule, schedule),
        every_s=every_s,
        zone=zone_of(top.get("timezone")),
        jitter_s=top.get("jitter", 0.0),
        catch_up=top.get("catch-up", True),
    )


def zone_of(name: str | None) -> tzinfo:
    """Give a time zone by its IANA name, UTC for None; raises ``UsageError``."""
    if name is None:
        return UTC_ZONE
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise UsageError(
            f"timezone {name!r}: no such time zone; give one as Europe/Berlin or UTC"
        ) from None


def _store(table: Table, beside: Path, name: str) -> StorePlan:
    folder = beside / Path(table.get("dir", name)).expanduser()
    plan: dict[str, Any] = {"folder": folder.absolute()}
    for key, field in (
        ("versions", "versions"),
        ("diff", "diff"),
        ("full-every", "full_every_s"),
        ("allow-empty", "allow_empty"),
        ("keep-versions", "keep"),
    ):
        if key in table:
            plan[field] = table[key]
    plan["ignore"] = tuple(JsonPath.parse(text) for text in table.get("ignore", ()))
    return StorePlan(**plan)


def _cursor(table: Table, *, given: bool) -> CursorPlan | None:
    if not given:
        return None
    expression = table.get("from", "")
    if not expression.strip():
        raise UsageError('[cursor] from: say what to remember, as "max(items[*].updated_at)"')
    # A leading $ is JSONPath's word for the whole reply; JMESPath starts there anyway.
    plain = re.sub(r"\$\.", "", expression)
    return CursorPlan(expression=plain, param=table.get("param"), start=table.get("start"))


def _log(table: Table) -> LogPlan:
    plain = LogPlan()
    size = table.get("max-log-size")
    return LogPlan(
        most_bytes=plain.most_bytes if size is None else size_bytes(size, "max-log-size"),
        most_s=table.get("max-log-age", plain.most_s),
        keep_s=table.get("keep-logs", plain.keep_s),
    )


def _alerts(table: Table) -> AlertPlan:
    plan = AlertPlan(
        failures=table.get("failures", 0),
        thresholds=parse_thresholds(table["fail-on"], "fail-on") if "fail-on" in table else (),
        slower=table.get("slower", False),
        unchanged_for_s=table.get("unchanged-for"),
        changes=table.get("changes", False),
        command=table.get("command", ()),
        webhook=table.get("webhook"),
        smtp=table.get("smtp"),
        sender=table.get("from"),
        receivers=table.get("to", ()),
    )
    if (plan.smtp is None) != (not plan.receivers) or (plan.smtp and not plan.sender):
        raise UsageError("[alerts] mails need all of smtp, from and to")
    return plan
