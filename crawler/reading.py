"""Logs to a report: any number of them merged, a selection of their records, what ran beside.

What cannot be read is left out and told once, with where it first was; only when nothing can be
read is that an error. A ``LogReading`` reads on where it stopped, so that a log that grows can be
followed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from crawler.audit import audit
from crawler.blocks import Block
from crawler.codec import BadLineError, parse
from crawler.errors import LogError, UsageError
from crawler.figures import Figures
from crawler.log import last_line
from crawler.log_blocks import EVERYTHING, BlockReader, Repeats, Selection
from crawler.log_chunks import LogFile, is_rereadable
from crawler.log_columns import BadLine
from crawler.report.model import Report, RunFigures
from crawler.run_notes import RunNote, read_notes
from crawler.samples import NONE

RUNS_APART: Final = 20
"""Runs whose figures are kept by themselves: the newest. All are in the total."""
LAST: Final = "last"
"""The run that was begun last; no id begins so."""
KNOWN_GROUPS: Final = ("endpoint", "host", "path", "url", "status")
_TITLE_LOGS: Final = 3

Warn = Callable[[str], None]


def read_report(
    paths: Sequence[Path],
    *,
    selection: Selection = EVERYTHING,
    group_by: str = "endpoint",
    warn: Warn,
) -> Report:
    """Read logs and report them together.

    ``selection.run`` is the beginning of one run's id, or ``last``. ``warn`` is told in words what
    was left out. Raises ``LogError`` when nothing can be read, ``UsageError`` when the selection
    leaves nothing or is of several runs.
    """
    reading = LogReading(paths, selection=selection, group_by=group_by)
    reading.read()
    report = reading.report()
    reading.tell(warn)
    return report


@dataclass(slots=True)
class _Unreadable:
    """Lines of a log that are no records: how many, and the first."""

    lines: int = 0
    first: BadLine | None = None

    def add(self, bad: BadLine) -> None:
        self.lines += 1
        self.first = self.first or bad


class LogReading:
    """What has been read of some logs so far; see ``read_report``."""

    def __init__(
        self, paths: Sequence[Path], *, selection: Selection = EVERYTHING, group_by: str
    ) -> None:
        self._paths = tuple(paths)
        self._group_by = group_by
        self._asked = selection
        self._begin(None)

    def read(self) -> None:
        """Take in what the logs hold now and was not read before; raises ``LogError``."""
        if any(log.replaced() for log in self._logs):
            self._begin(None)
        self._read_on()
        if not self._reader.settled and self._rereadable():
            self._begin(self._reader.repeats)
            self._read_on()

    def tell(self, warn: Warn) -> None:
        """Say in words what was left out."""
        for log in self._logs:
            bad = self._bad[log.path]
            if bad.first is not None:
                noun = (
                    "line is no record and is" if bad.lines == 1 else "lines are no records and are"
                )
                warn(
                    f"{log.path}: {bad.lines:,} {noun} left out; the first is line "
                    f"{bad.first.line}: {bad.first.reason}"
                )
            elif not log.lines and len(self._logs) > 1:
                warn(f"{log.path}: no whole line in it; the other logs are reported")
            if log.torn:
                warn(f"{log.path}, line {log.lines + 1}: torn, or still being written; left out")
        if not self._reader.settled:
            warn(
                "some targets are recorded twice; in a pipe, which is read once, each record counts"
            )

    def report(self) -> Report:
        """Report what has been read; raises ``LogError`` and ``UsageError``, as ``read_report``."""
        self._check()
        notes = self._notes()
        runs = tuple(
            RunFigures(run, figures, notes.get(run)) for run, figures in sorted(self._runs.items())
        )
        noted = [note for run, note in notes.items() if run in self.figures.runs]
        return Report(self._title(), self.figures, runs, audit(self.figures, noted))

    def _begin(self, older: Repeats | None) -> None:
        """Begin at the first line; with what a first reading found, the older records are out."""
        self._logs = [LogFile(path) for path in dict.fromkeys(self._paths)]
        self._bad = {log.path: _Unreadable() for log in self._logs}
        self._reader = BlockReader(
            self._group_by, self._selection(), bad=self._note_bad, older=older
        )
        self._runs: dict[str, Figures] = {}
        self.figures = Figures(self._group_by)

    def _read_on(self) -> None:
        for log in self._logs:
            for block in self._reader.blocks(log):
                self._add(block)

    def _add(self, block: Block) -> None:
        """Take in a block, in all and for its run; the first run's figures are those of all."""
        if self._runs.keys() <= {block.run}:
            self._runs[block.run] = self.figures
        else:
            self._part()
            apart = self._runs.get(block.run)
            if apart is None:
                apart = self._runs[block.run] = Figures(self._group_by, limit=1).without_groups()
            apart.add(block)
            if len(self._runs) > RUNS_APART:
                del self._runs[min(self._runs)]
        self.figures.add(block)

    def _part(self) -> None:
        """Part the first run's figures from those of all, where they are still one."""
        for run, figures in self._runs.items():
            if figures is self.figures:
                self._runs[run] = figures.without_groups()

    def _note_bad(self, log: LogFile, bad: BadLine) -> None:
        self._bad[log.path].add(bad)

    def _rereadable(self) -> bool:
        return all(is_rereadable(log.path) for log in self._logs)

    def _selection(self) -> Selection:
        if self._asked.run != LAST:
            return self._asked
        return replace(self._asked, run=max(map(_last_run, self._logs)))

    def _check(self) -> None:
        if not self._reader.records:
            raise self._nothing_read()
        if not self.figures.runs and not self.figures.warmup:
            raise UsageError(f"no record is of {self._asked_words()}; the logs hold {self._held()}")
        if self._asked.run not in (None, LAST) and len(self.figures.runs) > 1:
            raise UsageError(
                f"--run {self._asked.run}: several runs begin so: {_listed(self.figures.runs)}"
            )
        if self._group_by not in KNOWN_GROUPS and self.figures.groups.keys() == {NONE}:
            raise UsageError(
                f"--group-by {self._group_by}: no record has a column of that name; give one of "
                f"{', '.join(KNOWN_GROUPS)} or a column that was kept with --keep"
            )

    def _nothing_read(self) -> LogError:
        for path, bad in self._bad.items():
            if bad.first is not None:
                return LogError(
                    f"{path}, line {bad.first.line}: {bad.first.reason}; none of its {bad.lines:,} "
                    "lines is a record: is this a record log?"
                )
        names = ", ".join(str(log.path) for log in self._logs)
        torn = any(log.torn for log in self._logs)
        return LogError(f"{names}: {'no whole line' if torn else 'no record'} in it yet")

    def _asked_words(self) -> str:
        at = self._asked
        words = [
            "" if at.run is None else f"--run {at.run}",
            "" if at.since_s is None else f"--since {_stamp(at.since_s)}",
            "" if at.until_s is None else f"--until {_stamp(at.until_s)}",
        ]
        return " ".join(filter(None, words)) or "no warm-up"

    def _held(self) -> str:
        """What runs the logs hold, and from when to when."""
        everything = LogReading(self._paths, group_by="status")
        everything.read()
        spans = everything.figures.runs
        if not spans:
            return "nothing but warm-up requests"
        first_s = min(span.first_s for span in spans.values())
        last_s = max(span.last_start_s for span in spans.values())
        return f"{_listed(spans)}, from {_stamp(first_s)} to {_stamp(last_s)}"

    def _notes(self) -> dict[str, RunNote]:
        return {run: note for log in self._logs for run, note in read_notes(log.path).items()}

    def _title(self) -> str:
        names = [log.path.name for log in self._logs]
        more = len(names) - _TITLE_LOGS
        shown = ", ".join(names[:_TITLE_LOGS])
        return f"{shown} and {more} more" if more > 0 else shown


def _last_run(log: LogFile) -> str:
    """The run of a log's last record, "" without any: runs are appended one after the other."""
    try:
        line = last_line(log.path) if is_rereadable(log.path) else None
        run: str = parse(line or b"")["run"]
    except BadLineError:  # a gzip file, or a last line that is no record
        reader = BlockReader("status", bad=lambda _log, _bad: None)
        last = deque((block.run for block in reader.blocks(LogFile(log.path))), maxlen=1)
        run = last.pop() if last else ""
    return run


def _listed(runs: Iterable[str]) -> str:
    names = sorted(runs)
    more = len(names) - 5
    shown = ", ".join(names[-5:])
    return f"{shown} and {more} older" if more > 0 else shown


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
