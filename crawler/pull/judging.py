"""What a target's record and body come to: changed, unchanged or failed."""

from __future__ import annotations

from typing import Final, NamedTuple

from crawler.bodies.rows import SavedBody
from crawler.pull.asking import CONDITIONAL, PART, YES
from crawler.pull.content import Content, fault_of, read_content
from crawler.pull.job import PullJob
from crawler.pull.state import TargetState
from crawler.record import Record

NOT_MODIFIED: Final = 304
_PARTIAL: Final = 206
CHANGED: Final = "changed"
UNCHANGED: Final = "unchanged"
FAILED: Final = "failed"


class Judged(NamedTuple):
    """What came of a target; ``content`` is there where a body was data.

    ``before`` is the newest version that it is to be told apart from, if there is one.
    """

    outcome: str
    error: str | None = None
    detail: str | None = None
    content: Content | None = None
    before: Content | None = None


def judge(record: Record, body: SavedBody | None, known: TargetState, job: PullJob) -> Judged:
    """Hold a reply against what is known of its target."""
    if record.error is not None:
        return Judged(FAILED, record.error, record.detail)
    if record.status == NOT_MODIFIED:
        return _not_modified(record, known)
    if record.status is not None and 300 <= record.status < 400 and not job.expects_statuses:
        words = f"HTTP {record.status}: a redirect that was not followed is no data"
        return Judged(FAILED, "unexpected", words)
    is_part = record.status == _PARTIAL and record.fields.get(CONDITIONAL) != PART
    if is_part and not job.expects_statuses:
        return Judged(FAILED, "unexpected", "HTTP 206: a part came, and all was asked for")
    plan = job.store
    if body is None:
        return Judged(FAILED, "aborted", "its body was not kept: the pull was cut off")
    content = read_content(body, plan.ignore)
    fault = fault_of(content, body, known.kind, allow_empty=plan.allow_empty)
    if fault:
        return Judged(FAILED, "unexpected", fault)
    if body.status == 204 and content.kind == "empty" and not plan.allow_empty:
        return Judged(UNCHANGED)  # No Content: there is nothing new
    return Judged(UNCHANGED if content.digest == known.digest else CHANGED, content=content)


def held_against(
    before: Content | None, known: TargetState, judged: Judged
) -> tuple[TargetState, Judged]:
    """Take for unchanged what is equal to the newest version, ``before``, as the job compares now.

    Its digest may be of another ``ignore``, and the server may call the same bytes by another
    Content-Type.
    """
    content = judged.content
    if before is None or content is None:
        return known, judged
    if before.digest != content.digest and before.data != content.data:
        return known, judged._replace(before=before)
    same = known._replace(kind=content.kind, digest=content.digest)
    return same, judged._replace(outcome=UNCHANGED)


def _not_modified(record: Record, known: TargetState) -> Judged:
    if (
        record.fields.get(CONDITIONAL) == YES
        and known.digest is not None
        and known.asked == record.url
    ):
        return Judged(UNCHANGED)
    return Judged(FAILED, "unexpected", "304 came for a request without If-None-Match")
