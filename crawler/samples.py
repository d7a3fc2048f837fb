"""What a worker tells its parent of the records it has written: figures, not records.

One ``Samples`` a batch. It costs under a microsecond a record, crosses a pipe as a few flat
arrays, and imports neither numpy nor pandas, since every worker imports it. Memory stays flat
whatever the input: beyond ``GroupNames.limit`` names, records fall into one group ``(other)``.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from math import nan
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from crawler.record import Record

OTHER: Final = "(other)"
"""The group of records whose own group came after the limit was reached."""
NONE: Final = "(none)"
"""The group of records without the status or the column that they are grouped by."""
INVALID: Final = "(invalid URL)"
"""The group of records whose URL is none, when they are grouped by a part of it."""

PHASES: Final = ("dns", "connect", "tls", "wait", "receive")
"""The phases of a request on a new connection, in the order of ``Samples.phases_ms``."""

MAX_NAME: Final = 300
"""Characters kept of a group's name and of an error's example; a URL may be 64 KB long."""


@dataclass(frozen=True, slots=True)
class Live:
    """How a run stands at a moment; latencies are of successes, NaN while there are none."""

    count: int
    ok: int
    failed: int
    p50_ms: float
    p95_ms: float


class GroupNames:
    """The names of groups that one worker, or one summary, has seen; at most ``limit``."""

    __slots__ = ("_names", "limit")

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self._names: set[str] = set()

    def admit(self, name: str) -> str:
        """``name`` itself, cut to ``MAX_NAME``, or ``(other)`` when there is no room for it."""
        name = short_name(name)
        if name in self._names or name == OTHER:
            return name
        if len(self._names) >= self.limit:
            return OTHER
        self._names.add(name)
        return name


class Group:
    """Figures of one group: ``elapsed_ms`` of each success, failures counted, body bytes."""

    __slots__ = ("bytes", "elapsed_ms", "failed")

    def __init__(
        self, elapsed_ms: array[float] | None = None, failed: int = 0, bytes: int = 0
    ) -> None:
        self.elapsed_ms: array[float] = array("d") if elapsed_ms is None else elapsed_ms
        self.failed = failed
        self.bytes = bytes


@dataclass(frozen=True, slots=True)
class RunClock:
    """What a run took: wall time, CPU time of all its processes, cores it may use.

    ``workers_cpu_s`` is the part of its worker processes, of all of them together.
    """

    wall_s: float
    cpu_s: float
    cores: int
    workers_cpu_s: float = 0.0

    @property
    def cpu_share(self) -> float:
        """CPU used, of all that ``cores`` could give: 0 to 1; NaN for a run of no time."""
        capacity = self.wall_s * self.cores
        return self.cpu_s / capacity if capacity > 0 else nan


class Counts:
    """How many records there were, and how many of them failures: what an exit code needs."""

    __slots__ = ("failed", "records")

    def __init__(self) -> None:
        self.records = 0
        self.failed = 0

    def add(self, samples: Samples) -> None:
        """Count one batch."""
        for group in samples.groups.values():
            self.failed += group.failed
            self.records += group.failed + len(group.elapsed_ms)

    def note(self, *, failed: bool) -> None:
        """Count one record that was made without a request."""
        self.records += 1
        self.failed += failed


class Failures(NamedTuple):
    """Failures of one error class: how many, how long they took, and the first as an example."""

    failed: int
    total_ms: float
    max_ms: float
    url: str
    detail: str

    def plus(self, later: Failures) -> Failures:
        """Both together; the example stays that of ``self``."""
        return Failures(
            self.failed + later.failed,
            self.total_ms + later.total_ms,
            max(self.max_ms, later.max_ms),
            self.url,
            self.detail,
        )


class Samples:
    """The figures of one batch of records, by group and over all.

    ``group_by`` is ``endpoint`` (scheme, host and path), ``host`` (with its port), ``path``,
    ``url``, ``status`` or the name of a carried column. Over all groups: ``lag_ms`` of what was
    sent; ``phases_ms``, five values (``PHASES``) for each answered request that opened a
    connection; ``errors`` by class; ``statuses`` counted.
    """

    __slots__ = (
        "_key",
        "_known",
        "errors",
        "group_by",
        "groups",
        "lag_ms",
        "phases_ms",
        "statuses",
    )

    def __init__(self, group_by: str, known: GroupNames) -> None:
        self.group_by = group_by
        self._key = key_of(group_by)
        self._known = known
        self.groups: dict[str, Group] = {}
        self.lag_ms: array[float] = array("d")
        self.phases_ms: array[float] = array("d")
        self.errors: dict[str, Failures] = {}
        self.statuses: dict[int, int] = {}

    def add(self, record: Record) -> None:
        """Count one record."""
        name = self._key(record)
        group = self.groups.get(name)
        if group is None:
            group = self._open(name)
        status = record.status
        if status is not None:
            self.statuses[status] = self.statuses.get(status, 0) + 1
            if not record.reused:
                self._add_phases(record)
        group.bytes += record.bytes
        if record.error is None:
            group.elapsed_ms.append(record.elapsed_ms)
            self.lag_ms.append(record.lag_ms)
        else:
            group.failed += 1
            self._add_failure(record, record.error)

    def _open(self, name: str) -> Group:
        name = self._known.admit(name)
        group = self.groups.get(name)
        if group is None:
            group = self.groups[name] = Group()
        return group

    def _add_phases(self, record: Record) -> None:
        self.phases_ms.extend(
            (record.dns_ms, record.connect_ms, record.tls_ms, record.wait_ms, record.receive_ms)
        )

    def _add_failure(self, record: Record, error: str) -> None:
        if record.attempts:  # what was never sent was never late
            self.lag_ms.append(record.lag_ms)
        ms = record.elapsed_ms
        failure = Failures(1, ms, ms, short_name(record.url), short_name(record.detail or ""))
        earlier = self.errors.get(error)
        self.errors[error] = failure if earlier is None else earlier.plus(failure)

    def __reduce__(self) -> tuple[object, ...]:
        groups = [(name, g.elapsed_ms, g.failed, g.bytes) for name, g in self.groups.items()]
        errors = {error: tuple(failures) for error, failures in self.errors.items()}
        state = (self.group_by, groups, self.lag_ms, self.phases_ms, errors, self.statuses)
        return _restore, state


def _restore(
    group_by: str,
    groups: list[tuple[str, array[float], int, int]],
    lag_ms: array[float],
    phases_ms: array[float],
    errors: dict[str, tuple[int, float, float, str, str]],
    statuses: dict[int, int],
) -> Samples:
    """Rebuild what crossed a pipe. Plain tuples: a class of its own for each costs 1 us more."""
    samples = Samples(group_by, GroupNames())
    samples.groups = {name: Group(times, failed, size) for name, times, failed, size in groups}
    samples.lag_ms = lag_ms
    samples.phases_ms = phases_ms
    samples.errors = {error: Failures(*values) for error, values in errors.items()}
    samples.statuses = statuses
    return samples


def key_of(group_by: str) -> Callable[[Record], str]:
    """The function that names a record's group; see ``Samples`` for ``group_by``."""
    return _KEYS.get(group_by) or (lambda record: record.fields.get(group_by) or NONE)


def _endpoint(record: Record) -> str:
    if record.error == "invalid_url":
        return INVALID
    url = record.url
    cut = url.find("?")
    if cut >= 0:
        url = url[:cut]
    cut = url.find("#")
    return url[:cut] if cut >= 0 else url


def _host(record: Record) -> str:
    endpoint = _endpoint(record)
    start = endpoint.find("://") + 3
    if start == 2:  # no scheme: the text names no host
        return endpoint
    end = endpoint.find("/", start)
    authority = endpoint[start:] if end < 0 else endpoint[start:end]
    return authority[authority.rfind("@") + 1 :]


def _path(record: Record) -> str:
    endpoint = _endpoint(record)
    start = endpoint.find("://") + 3
    if start == 2:
        return endpoint
    end = endpoint.find("/", start)
    return "/" if end < 0 else endpoint[end:]


def _url(record: Record) -> str:
    return record.url


def _status(record: Record) -> str:
    return NONE if record.status is None else str(record.status)


_KEYS: Final[dict[str, Callable[[Record], str]]] = {
    "endpoint": _endpoint,
    "host": _host,
    "path": _path,
    "url": _url,
    "status": _status,
}


def short_name(text: str) -> str:
    """``text`` at most ``MAX_NAME`` long, and fit to be encoded: a URL may hold lone surrogates."""
    if len(text) > MAX_NAME:
        text = text[: MAX_NAME - 1] + "…"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
