"""What the status page answers to a path: looked up among what the views tell, nowhere else."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from typing import ClassVar, Final, NamedTuple

from crawler.pull.overview import JobView
from crawler.pull.page import diff_page, job_page, jobs_page
from crawler.pull.view_values import view_value

Views = Callable[[str | None], Sequence[JobView]]
"""Gives the view of the job of a name, those of all jobs for None: each may take a while."""
Metrics = Callable[[Sequence[JobView]], str]

TEXT: Final = "text/plain; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"
_JSON: Final = "application/json"
_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_JOB: Final = re.compile(
    r"(?P<api>/api)?/jobs/(?P<name>[^/]+)|/jobs/(?P<of>[^/]+)/diffs/(?P<diff>.+)"
)
_LARGEST_DIFF: Final = 5_000_000


class Answer(NamedTuple):
    """A reply's status, its Content-Type and its body."""

    status: int
    kind: str
    body: str


class Answers:
    """From a path to what is to be answered."""

    def __init__(self, views: Views, metrics: Metrics, healthy: Callable[[], bool]) -> None:
        self._views = views
        self._metrics = metrics
        self._healthy = healthy

    def health(self) -> Answer:
        """Say whether the loop is alive, 503 if it is not."""
        return Answer(200, TEXT, "ok\n") if self._healthy() else Answer(503, TEXT, "stuck\n")

    def of(self, path: str) -> Answer:
        """Answer a path without its query, percent-decoded; 404 for what is not there."""
        page = self._PAGES.get(path)
        if page is not None:
            return page(self, self._views(None))
        match = _JOB.fullmatch(path)
        view = None if match is None else self._view(match["name"] or match["of"])
        if match is None or view is None:
            return _not_found()
        if match["diff"] is not None:
            return _diff(view, match["diff"])
        if match["api"]:
            return _json(view_value(view))
        return Answer(200, _HTML, job_page(view, time.time()))

    def _view(self, name: str) -> JobView | None:
        return next(iter(self._views(name)), None)

    def _front(self, views: Sequence[JobView]) -> Answer:
        return Answer(200, _HTML, jobs_page(views, time.time()))

    def _figures(self, views: Sequence[JobView]) -> Answer:
        return Answer(200, _METRICS, self._metrics(views))

    def _values(self, views: Sequence[JobView]) -> Answer:
        return _json([view_value(view) for view in views])

    _PAGES: ClassVar = {"/": _front, "/metrics": _figures, "/api": _values}


def _diff(view: JobView, place: str) -> Answer:
    """Answer a diff that the view's changes name, nothing else."""
    for change in view.changes:
        if change.diff is not None and change.diff.relative_to(view.folder).as_posix() == place:
            try:
                with change.diff.open("rb") as file:
                    text = file.read(_LARGEST_DIFF).decode("utf-8", "replace")
            except OSError:
                return _not_found()
            return Answer(200, _HTML, diff_page(view, change, text))
    return _not_found()


def _json(value: object) -> Answer:
    return Answer(200, _JSON, json.dumps(value, ensure_ascii=False) + "\n")


def _not_found() -> Answer:
    return Answer(404, TEXT, "there is no such page; / shows all jobs\n")
