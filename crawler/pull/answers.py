"""What the status page answers to a path: looked up among what the views tell, nowhere else."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from crawler.pull.overview import JobView
from crawler.pull.page import diff_page, job_page, jobs_page
from crawler.pull.view_values import view_value

Views = Callable[[], Sequence[JobView]]
Metrics = Callable[[Sequence[JobView]], str]

TEXT: Final = "text/plain; charset=utf-8"
_HTML: Final = "text/html; charset=utf-8"
_JSON: Final = "application/json"
_METRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
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
        views = self._views()
        if path == "/":
            return Answer(200, _HTML, jobs_page(views, time.time()))
        if path == "/metrics":
            return Answer(200, _METRICS, self._metrics(views))
        if path == "/api":
            return _json([view_value(view) for view in views])
        is_api = path.startswith("/api/jobs/")
        if not is_api and not path.startswith("/jobs/"):
            return _not_found()
        rest = path.removeprefix("/api").removeprefix("/jobs/")
        name, _, inner = rest.partition("/")
        view = next((view for view in views if view.name == name), None)
        if view is None:
            return _not_found()
        if inner:
            return _not_found() if is_api else _diff(view, inner.removeprefix("diffs/"))
        return (
            _json(view_value(view)) if is_api else Answer(200, _HTML, job_page(view, time.time()))
        )


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
