"""What `crawl compare` was asked, checked: no files are opened here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypedDict

from crawler.errors import UsageError

_PERCENT: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s?%")


class CompareParams(TypedDict):
    """The parameters as click gives them."""

    old: str
    new: str
    metric: Literal["p50", "p75", "p90", "p95", "p99", "p99.9"]
    latency: Literal["auto", "service", "response"]
    group_by: str
    old_run: str | None
    new_run: str
    threshold: str
    error_threshold: str
    json_file: str | None
    html_file: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A comparison to make; thresholds are shares (0.05 for 5 %), ``old_run`` None for its own."""

    old: str
    new: str
    metric: Literal["p50", "p75", "p90", "p95", "p99", "p99.9"]
    latency: Literal["auto", "service", "response"]
    group_by: str
    old_run: str | None
    new_run: str
    threshold: float
    error_threshold: float
    json_file: str | None
    html_file: str | None


def parse(params: CompareParams) -> Ask:
    """Check the parameters; raises ``UsageError`` naming the option and the remedy."""
    for option in ("old_run", "new_run", "group_by"):
        if params[option] == "":
            name = option.replace("_", "-")
            raise UsageError(f"--{name}: it is empty; leave the option out for its default")
    error_threshold = percent(params["error_threshold"], "--error-threshold")
    if error_threshold > 1:
        raise UsageError(
            f"--error-threshold: {params['error_threshold']!r} is more than 100 %; give points of "
            "the share of errors, as 0.5%"
        )
    return Ask(
        old=params["old"],
        new=params["new"],
        metric=params["metric"],
        latency=params["latency"],
        group_by=params["group_by"],
        old_run=params["old_run"],
        new_run=params["new_run"],
        threshold=percent(params["threshold"], "--threshold"),
        error_threshold=error_threshold,
        json_file=params["json_file"],
        html_file=params["html_file"],
    )


def percent(text: str, option: str) -> float:
    """Read ``5%`` or ``0.5 %`` as a share; a bare number is refused: 0.05 could mean either."""
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option}: {text!r} is no percentage; give it as 5% or 0.5%")
    return float(match[1]) / 100
