"""A run that has ended becomes versions, state and ``latest/``: each step may be repeated.

First the versions are on the disk, then one transaction tells of them, then ``latest/`` follows. A
pull that is killed anywhere on the way is taken up by the next one from the run's records and
bodies, and comes to the same files and rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from crawler.bodies.rows import SavedBody
from crawler.pull.asking import CONDITIONAL, NEVER, PART, TARGET
from crawler.pull.content import Content, read_content, read_version
from crawler.pull.cursors import Cursors, furthest
from crawler.pull.diffs import Diff, diff_of
from crawler.pull.durable import Workshop
from crawler.pull.job import PullJob
from crawler.pull.judging import (
    CHANGED,
    FAILED,
    NOT_MODIFIED,
    UNCHANGED,
    Judged,
    held_against,
    judge,
)
from crawler.pull.latest import latest_path, slug_of
from crawler.pull.replies import Recorded, Reply, replies_of
from crawler.pull.state import Outcome, RunState, State, TargetState, Version
from crawler.pull.validators import Validators, validators_of
from crawler.pull.versions import New, Versions, has_file_of_its_own, open_versions
from crawler.record import NEXT, Record, page_number

OUTCOMES_KEPT: Final = 300
"""Outcomes of a target that the state keeps: what its history and its baseline are made of."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What a run came to: its row in the state, and the targets that it asked, as they are now.

    ``targets`` has their pages too; ``failed`` counts targets of which a page, at least, failed.
    """

    run: RunState
    targets: tuple[TargetState, ...]
    failed: int


@dataclass(slots=True)
class _Group:
    """What came of one target so far: its pages, and whether they are all there."""

    key: str
    cursors: list[Any] = field(default_factory=list)
    last_page: int = 0
    whole: bool = True
    failed: bool = False
    succeeded_at: float | None = None
    """When its first page went well before."""


class Commit:
    """Commits one run of a job, whose records and bodies are where it was recorded."""

    def __init__(
        self, job: PullJob, state: State, workshop: Workshop, *, warn: Callable[[str], None]
    ) -> None:
        self._job = job
        self._state = state
        self._workshop = workshop
        self._warn = warn
        self._cursors = None if job.cursor is None else Cursors(job.cursor)
        self._counts = dict.fromkeys((CHANGED, UNCHANGED, FAILED), 0)
        self._touched: list[TargetState] = []
        self._cut = False
        self._failed = 0
        self._dropped = state.dropped()

    def commit(
        self, recorded: Recorded, ended_s: float, *, cut: bool, whole: bool = True
    ) -> Committed | None:
        """Take a run in; None where that was done before. Raises ``LogError``, ``StateError``.

        ``cut`` tells one that may not have come to all of its targets; ``whole`` whether these were
        all of the job's.
        """
        run, self._cut = recorded.run, cut
        if self._state.has_run(run):
            self._follow(recorded)
            return None
        sizes = dict(self._state.rows("SELECT place, bytes FROM rows_file"))
        versions = open_versions(self._job.store.versions, self._workshop, run, sizes)
        with self._state.writing():
            began_s = self._take_all(replies_of(recorded), versions, ended_s)
            for place, size in versions.flush().items():
                self._state.change("INSERT OR REPLACE INTO rows_file VALUES (?, ?)", place, size)
            counts = self._counts
            row = RunState(
                run, began_s, ended_s, counts[CHANGED], counts[UNCHANGED], counts[FAILED], None,
                cut,
            )  # fmt: skip
            self._state.add(row)
            if whole and not cut:
                self._state.drop_others(run)
            self._prune()
        self._follow(recorded)
        return Committed(row, tuple(self._touched), self._failed)

    def _take_all(self, replies: Any, versions: Versions, ended_s: float) -> float:  # noqa: ANN401
        """Take each reply in; give the moment at which the first was begun."""
        began_s, group = ended_s, None
        for reply in replies:
            record = reply[0]
            key = record.fields.get(TARGET, record.url)
            if group is None or group.key != key:
                self._conclude(group)
                group = _Group(key)
            began_s = min(began_s, moment_of(record))
            self._take(group, reply, versions)
        self._conclude(group)
        return began_s

    def _take(self, group: _Group, reply: Reply, versions: Versions) -> None:
        record, body = reply
        page = page_number(record.fields)
        known = self._known(group.key, page)
        if known.id in self._dropped:
            self._state.drop(known.id, dropped=False)
        judged = judge(record, body, known, self._job)
        if judged.outcome == CHANGED and known.digest is not None:
            known, judged = held_against(self._latest(known), known, judged)
        found = None
        if self._cursors is not None and judged.content is not None:
            judged, found = self._with_cursor(judged, self._cursors)
        if not group.cursors:
            group.succeeded_at = known.succeeded_at
        group.cursors.append(found)
        group.last_page = page
        group.failed = group.failed or judged.outcome == FAILED
        group.whole = not group.failed and not record.fields.get(NEXT)
        self._counts[judged.outcome] += 1
        now = self._kept(known, record, body, judged, versions)
        self._touched.append(now)
        self._state.set_target(now)
        self._state.add(
            Outcome(
                known.id, moment_of(record), record.run, judged.outcome, record.status,
                judged.error, judged.detail, record.elapsed_ms,
            )
        )  # fmt: skip

    def _with_cursor(self, judged: Judged, cursors: Cursors) -> tuple[Judged, Any]:
        """Read the cursor of a reply; one that tells none holds nothing new."""
        content = judged.content
        assert content is not None, "asked for replies with content only"
        if content.kind != "json":
            words = "the reply is no JSON, so [cursor] from finds nothing in it"
            return Judged(FAILED, "unexpected", words), None
        try:
            found = cursors.of(content.value)
        except ValueError as exc:
            words = f"[cursor] from does not suit the reply: {exc}"
            return Judged(FAILED, "unexpected", words), None
        return (Judged(UNCHANGED) if found is None else judged), found

    def _known(self, key: str, page: int) -> TargetState:
        known = self._state.target(key, page)
        if known is not None:
            return known
        return self._state.add_target(key, page, slug_of(key, page, self._state.has_slug))

    def _kept(
        self,
        known: TargetState,
        record: Record,
        body: SavedBody | None,
        judged: Judged,
        versions: Versions,
    ) -> TargetState:
        """Keep what changed; give the target as it is now."""
        at = moment_of(record)
        if judged.outcome == FAILED:
            since = known.failing_since if known.failures else at
            return known._replace(
                tried_at=at, failing_since=since, failures=known.failures + 1,
                error=judged.error, detail=judged.detail,
            )  # fmt: skip
        now = known._replace(
            tried_at=at, succeeded_at=at, failing_since=None, failures=0, error=None, detail=None
        )
        if record.status != NOT_MODIFIED and body is not None:
            now = self._with_validators(now, record, body, judged)
        if judged.outcome != CHANGED or body is None or judged.content is None:
            return now
        return self._changed(known, now, New(
            known.slug, known.key, record.run, at, body, judged.content,
            self._diff(judged.before, judged.content),
        ), versions)  # fmt: skip

    def _changed(
        self, known: TargetState, now: TargetState, new: New, versions: Versions
    ) -> TargetState:
        place, diff = versions.add(new)
        added, removed = (None, None) if new.diff is None else new.diff[2:]
        content = new.content
        self._state.add(
            Version(
                known.id, new.run, new.at, content.digest, place, diff, len(content.data),
                added, removed, int(known.changed_at is not None),
            )
        )  # fmt: skip
        if known.ending not in (None, content.ending):
            self._remove(latest_path(self._workshop.folder, known))
        return now._replace(
            kind=content.kind, ending=content.ending, digest=content.digest, changed_at=new.at
        )

    def _with_validators(
        self, now: TargetState, record: Record, body: SavedBody, judged: Judged
    ) -> TargetState:
        """Note what the server calls this body; one name for two bodies is not to be trusted."""
        found = validators_of(body.headers, moment_of(record))
        before = Validators(now.etag, now.last_modified)
        same = (now.asked, now.asked_with) == (record.url, self._job.manner)
        trusted = now.trusted
        if same and trusted and judged.outcome == CHANGED and found.deny(before):
            trusted = False
            name = "Last-Modified" if found.etag is None else "ETag"
            self._warn(f"{now.key}: one {name} for two bodies: it is asked in full from now on")
        own = record.fields.get(CONDITIONAL) in (NEVER, PART)
        return now._replace(
            asked=record.url, asked_with=None if own else self._job.manner, etag=found.etag,
            last_modified=found.last_modified, trusted=trusted, full_at=moment_of(record),
        )  # fmt: skip

    def _diff(self, before: Content | None, content: Content) -> Diff | None:
        """Tell what changed since the newest version; a feed's are no versions of one."""
        if before is None or self._job.cursor is not None:
            return None
        return diff_of(before, content, self._job.store.diff)

    def _latest(self, known: TargetState) -> Content | None:
        """Read what is in ``latest/``, which this run has not touched yet; None without it."""
        try:
            data = latest_path(self._workshop.folder, known).read_bytes()
        except OSError:
            return None
        return read_version(data, known.kind, self._job.store.ignore)

    def _conclude(self, group: _Group | None) -> None:
        """End a target: its cursor moves on, and pages that are no more leave ``latest/``."""
        if group is None:
            return
        self._failed += group.failed
        first = self._state.target(group.key)
        lacks_pages = group.failed or (self._cut and not group.whole)
        if lacks_pages and first is not None:  # what they hold is to be asked for again
            first = first._replace(succeeded_at=group.succeeded_at)
            self._state.set_target(first)
        if self._cursors is not None and first is not None:
            found, origin = furthest(group.cursors), self._cursors.plan.origin
            if group.whole and found is not None:
                self._state.set_target(first._replace(cursor=found, cursor_of=origin))
            elif group.whole and first.cursor is not None and first.cursor_of is None:
                self._state.set_target(first._replace(cursor_of=origin))  # of an earlier version
            elif found is None and not group.failed and not first.has_cursor(origin):
                self._warn(f"{group.key}: [cursor] from found nothing in it, and never did yet")
            elif found is not None:
                self._warn(
                    f"{group.key}: the cursor stays where it was: not all pages came; see "
                    "--history, or give more [replies] max-pages"
                )
        if group.whole:
            self._forget_pages(group)

    def _forget_pages(self, group: _Group) -> None:
        for known in self._state.pages_beyond(group.key, group.last_page):
            if known.digest is not None:
                self._remove(latest_path(self._workshop.folder, known))
            self._state.set_target(known._replace(digest=None, asked=None))
            self._state.drop(known.id, dropped=True)

    def _prune(self) -> None:
        """Forget outcomes beyond those kept, and versions beyond those that the job keeps."""
        keep = self._job.store.keep if self._job.store.versions == "files" else 0
        for target in self._touched:
            self._state.forget_outcomes(target.id, OUTCOMES_KEPT)
            for version in self._state.versions(target=target.id)[keep:] if keep else ():
                if version.news:  # a pull was killed before it told of it: this one does
                    continue
                self._state.forget_version(version)
                folder = self._workshop.folder
                for place in filter(None, (version.place, version.diff)):
                    if has_file_of_its_own(place):  # it may be of when the job kept rows
                        self._remove(folder / place)

    def _remove(self, path: Path) -> None:
        """Have a file removed once the transaction that has no use for it is made."""
        place = path.relative_to(self._workshop.folder).as_posix()
        self._state.change("INSERT OR REPLACE INTO gone VALUES (?)", place)

    def _follow(self, recorded: Recorded) -> None:
        """Have ``latest/`` show what the state tells of this run, and clear away what is gone."""
        for (place,) in self._state.rows("SELECT place FROM gone"):
            with contextlib.suppress(OSError):
                (self._workshop.folder / place).unlink()
        self._state.change("DELETE FROM gone")
        for record, body in replies_of(recorded):
            if body is None or record.error is not None:
                continue
            known = self._state.target(
                record.fields.get(TARGET, record.url), page_number(record.fields)
            )
            if known is not None and known.digest is not None:
                self._show(known, record, body)

    def _show(self, known: TargetState, record: Record, body: SavedBody) -> None:
        """Put a body into ``latest/`` if it is the newest version and not there yet."""
        path = latest_path(self._workshop.folder, known)
        is_newest = known.changed_at == moment_of(record)
        if not is_newest and not path.exists():
            is_newest = read_content(body, self._job.store.ignore).digest == known.digest
        if is_newest:
            self._workshop.write(path, body.content)


def moment_of(record: Record) -> float:
    """Give the Unix time at which a record's last attempt began."""
    return datetime.fromisoformat(record.started).timestamp()
