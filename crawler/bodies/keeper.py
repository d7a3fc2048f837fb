"""The keeper of bodies: which replies are kept, and what their records say of it."""

from __future__ import annotations

from typing import Final

from crawler.bodies.sinks import FolderSink, RowSink, Sink
from crawler.bodies.warc import WarcSink
from crawler.body_plan import BODY_FIELDS, Bodies
from crawler.engines.base import Kept
from crawler.record import Record

_WHOLE: Final = frozenset((None, "http", "unexpected"))
"""Errors of replies that came whole: other bodies may be cut off."""


class BodyKeeper:
    """Keeps bodies in one sink."""

    def __init__(self, plan: Bodies, run: str) -> None:
        self._plan = plan
        self._sink = _sink(plan, run)

    def keep(self, record: Record, kept: Kept) -> Record:
        """Keep a reply's body if it is wanted; its record then says where."""
        content_type = kept.header("content-type") or ""
        try:
            if not self._wants(record, content_type):
                return record
            where = self._sink.add(record, kept)
        finally:
            kept.body.close()
        fields = dict(record.fields)
        fields.update(zip(BODY_FIELDS, (where, kept.body.sha256, content_type), strict=True))
        return record._replace(fields=fields)

    def _wants(self, record: Record, content_type: str) -> bool:
        plan = self._plan
        kind = content_type.strip().lower()
        return (
            record.error in _WHOLE
            and (not plan.only_status or record.status in plan.only_status)
            and (not plan.only_type or kind.startswith(plan.only_type))
        )

    def flush(self) -> None:
        """Have the bodies written."""
        self._sink.flush()

    def settled(self) -> None:
        """The records of the bodies are in the log."""
        self._sink.settled()

    def close(self) -> None:
        """Let go of files."""
        self._sink.close()


def _sink(plan: Bodies, run: str) -> Sink:
    if plan.form == "folder":
        return FolderSink(plan, run)
    return WarcSink(plan) if plan.form == "warc" else RowSink(plan)
