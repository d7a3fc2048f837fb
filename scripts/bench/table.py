"""What was measured, as aligned text: the rivals' table and the list of checks."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rivals import Rival, Round


@dataclass(frozen=True, slots=True)
class Row:
    """A rival and its rounds; none when it is absent. Figures are medians over the rounds."""

    rival: Rival
    rounds: tuple[Round, ...]

    @property
    def note(self) -> str | None:
        """Why there are no figures to compare: absent, or a round that went wrong."""
        if self.rival.absent:
            return f"absent: {self.rival.absent}"
        problems = [round_.problem for round_ in self.rounds if round_.problem]
        return f"failed: {problems[0]}" if problems else None

    @property
    def requests(self) -> float:
        """Requests of a round, as the server counted them."""
        return statistics.median(round_.requests for round_ in self.rounds)

    @property
    def wall_s(self) -> float:
        """Start of the process to its exit."""
        return statistics.median(round_.wall_s for round_ in self.rounds)

    @property
    def rates(self) -> list[float]:
        """Requests a second of each round, the slowest first."""
        return sorted(round_.requests / round_.wall_s for round_ in self.rounds)

    @property
    def rate(self) -> float:
        """Requests a second, start-up of the client included."""
        return statistics.median(self.rates)

    @property
    def cpu_us(self) -> float:
        """CPU time of all of the client's processes for one request, start-up included."""
        return statistics.median(1e6 * round_.cpu_s / round_.requests for round_ in self.rounds)

    @property
    def errors(self) -> int:
        """Errors of all rounds together."""
        return sum(round_.errors for round_ in self.rounds)


HEADER = ("client", "requests", "wall s", "req/s", "(min-max)", "CPU us/URL", "record", "errors")


def rivals_table(rows: Sequence[Row]) -> str:
    """The table, a line a rival; one without figures tells why."""
    lines = [HEADER, *(_cells(row) for row in rows if row.note is None)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    text = [_aligned(line, widths) for line in lines]
    text.insert(1, "-" * len(text[0]))
    name_width = widths[0]
    text += [f"{row.rival.name:<{name_width}}  {row.note}" for row in rows if row.note]
    return "\n".join(text)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.rival.name,
        f"{row.requests:,.0f}",
        f"{row.wall_s:.2f}",
        f"{row.rate:,.0f}",
        f"({row.rates[0]:,.0f}-{row.rates[-1]:,.0f})",
        f"{row.cpu_us:.1f}",
        row.rival.keeps,
        str(row.errors),
    )


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([f"{first[0]:<{first[1]}}", *(f"{cell:>{width}}" for cell, width in others)])


@dataclass(frozen=True, slots=True)
class Check:
    """A demand and what was measured. ``passed`` is None where nothing could be measured."""

    name: str
    wanted: str
    measured: str
    passed: bool | None

    @property
    def word(self) -> str:
        """The verdict in one word."""
        if self.passed is None:
            return "NONE"
        return "PASS" if self.passed else "FAIL"


def checks_table(checks: Sequence[Check]) -> str:
    """The checks, a line each: verdict, what was wanted, what was measured."""
    names = max(len(check.name) for check in checks)
    wanted = max(len(check.wanted) for check in checks)
    return "\n".join(
        f"{check.word}  {check.name:<{names}}  {check.wanted:<{wanted}}  {check.measured}"
        for check in checks
    )
