"""What a latency report is made from, whether a log was read or a benchmark has just ended."""

from __future__ import annotations

from dataclasses import dataclass

from crawler.audit import Audit
from crawler.figures import Figures
from crawler.histogram import Histogram
from crawler.run_notes import RunNote


@dataclass(frozen=True, slots=True, eq=False)
class RunFigures:
    """The figures of one run, and its note where there is one."""

    run: str
    figures: Figures
    note: RunNote | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """All that a report tells: ``figures`` of everything, ``runs`` each by itself, oldest first."""

    title: str
    figures: Figures
    runs: tuple[RunFigures, ...]
    audit: Audit

    @property
    def open_loop(self) -> bool:
        """Whether requests were sent by a schedule: the response time is the main figure then."""
        return any(each.note is not None and each.note.schedule is not None for each in self.runs)

    @property
    def main(self) -> Histogram:
        """The latency that is meant where one is asked for: response time of an open loop."""
        total = self.figures.total
        return total.response if self.open_loop else total.service
