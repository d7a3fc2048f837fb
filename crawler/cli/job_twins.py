"""Job files beside a job that would be the same job: each pull would undo the other's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from crawler.cli.job_options import known_keys
from crawler.errors import CrawlError, UsageError
from crawler.pull.job import PullJob, job_of
from crawler.pull.job_file import read_job_file
from crawler.pull.looping import check_apart


def twins_of(job: PullJob) -> Iterator[str]:
    """Yield a warning for each other job file of the same folder that has a job's name or place."""
    for path in sorted(job.path.parent.glob("*.toml")):
        if not path.is_file() or path.samefile(job.path):
            continue
        with contextlib.suppress(CrawlError):  # it is no job, or wrong: another's business
            twin = job_of(read_job_file(path, known_keys()))
            try:
                check_apart((twin, job))
            except UsageError as exc:
                yield f"{exc}, or pull one of them only"
