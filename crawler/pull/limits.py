"""A pull's figures held against the limits of its job: what needs the report, and so numpy.

It is imported for a job that has limits: a pull without any starts sooner.
"""

from __future__ import annotations

from pathlib import Path

from crawler.log_blocks import Selection
from crawler.pull.alerting import Finding
from crawler.pull.committing import Committed
from crawler.pull.job import PullJob
from crawler.reading import read_report
from crawler.verdicts import judge


def broken_limits(job: PullJob, log: Path, committed: Committed) -> list[Finding]:
    """Hold a run's figures against the job's limits.

    What was answered and is no data, an empty body say, has failed to a pull.
    """
    of_run = Selection(run=committed.run.id)
    report = read_report([log], selection=of_run, warn=lambda _: None)
    report.figures.total.reject(committed.failed - report.figures.total.failed)
    verdicts = [judge(each, report.figures, report.main) for each in job.alerts.thresholds]
    return [Finding("fail-on", v.threshold.text, not v.passed, v.words) for v in verdicts]
