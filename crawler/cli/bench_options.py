"""What click read of `crawl bench` becomes typed values: what to send, how hard, which limits.

What options say of each other is decided here (a rate or a ramp, one way to choose targets), before
anything is sent.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crawler.cli import values
from crawler.cli.options import (
    NO_LOG,
    SourceParams,
    check_words,
    kept_columns,
    pool_settings,
    request_settings,
    url_files,
)
from crawler.errors import UsageError
from crawler.load import Load
from crawler.record import ARM, STAGE, Target
from crawler.schedule import Arrivals, Schedule, parse_ramp, parse_rate
from crawler.settings import Settings
from crawler.thresholds import Threshold, parse_thresholds
from crawler.url_pattern import parse_url_pattern
from crawler.workload import (
    Workload,
    a_and_b,
    check_requestable,
    in_turn,
    made_up,
    shuffled,
    weighted,
)

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_DURATION_S: Final = 10.0
_REQUESTS: Final = re.compile(r"[0-9]{1,15}")


class BenchParams(SourceParams):
    """All options of ``crawl bench``, as click gives them."""

    rand_url: str | None
    ab: tuple[str, str] | None
    shuffle: bool
    weights: str | None
    seed: int
    concurrency: int
    processes: int
    requests: int | None
    duration: str | None
    rate: str | None
    arrivals: Arrivals
    ramp: str | None
    warmup: str | None
    drop_unfinished: bool
    keep_going: bool
    calibrate: bool
    out: str | None
    group_by: str
    fail_on: tuple[str, ...]
    metrics: str | None
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What ``crawl bench`` was told beside its ``Settings``. ``out`` is None where none is kept.

    Without ``targets`` it only calibrates.
    """

    targets: TargetChoice | None
    load: Load
    out: Path | None
    ab: bool
    drop_unfinished: bool
    keep_going: bool
    calibrate: bool
    thresholds: tuple[Threshold, ...]
    metrics: Path | None
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChoice:
    """Where the targets come from, and ``arrange``, which makes the workload of them."""

    urls: tuple[str, ...]
    url_files: tuple[str, ...]
    column: str | None
    keep: tuple[str, ...]
    template: str | None
    arrange: Callable[[Sequence[Target]], Workload]


def parse(params: BenchParams, *, stdin_piped: bool) -> tuple[BenchOptions, Settings]:
    """Read the options of ``crawl bench``; raises ``UsageError`` for the first that is wrong."""
    settings = pool_settings(
        request_settings(params, Settings(retries=0)),
        params["concurrency"],
        params["processes"],
        params["group_by"],
        (*kept_columns(params), STAGE, ARM),
    )
    options = BenchOptions(
        targets=_targets(params, stdin_piped=stdin_piped),
        load=_load(params),
        out=_out(params["out"]),
        ab=params["ab"] is not None,
        drop_unfinished=params["drop_unfinished"],
        keep_going=params["keep_going"],
        calibrate=params["calibrate"],
        thresholds=tuple(t for text in params["fail_on"] for t in parse_thresholds(text)),
        metrics=None if params["metrics"] is None else Path(params["metrics"]),
        quiet=params["quiet"],
    )
    return options, settings


def _targets(params: BenchParams, *, stdin_piped: bool) -> TargetChoice | None:
    """Choose one way to come by targets: a list of URLs, a pattern, or two sides."""
    pattern, ab = params["rand_url"], params["ab"]
    ways = {
        "URLs and lists": bool(params["urls"] or params["url_files"]),
        "--rand-url": pattern is not None,
        "--ab": ab is not None,
    }
    given = [name for name, is_given in ways.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)}: give one of them, each says what to request")
    if given and given[0] != "URLs and lists" and (params["shuffle"] or params["weights"]):
        raise UsageError(f"{given[0]} has an order of its own: leave out --shuffle and --weights")
    if pattern is not None:
        made = made_up(parse_url_pattern(pattern), params["seed"])
        return _choice(params, (), (), lambda _: made)
    if ab is not None:
        _check_urls("--ab", ab)
        return _choice(params, ab, (), lambda sides: a_and_b(sides[0], sides[1], params["seed"]))
    if params["calibrate"] and not given and not stdin_piped:
        return None
    check_words(params)
    files = url_files(params, stdin_piped=stdin_piped)
    if not files and not params["urls"]:
        raise UsageError("nothing to request: give a URL, --urls LIST, --rand-url or --ab")
    if params["url_template"] is None:
        _check_urls("the URL", params["urls"])
    return _choice(params, params["urls"], files, _arrangement(params))


def _choice(
    params: BenchParams,
    urls: tuple[str, ...],
    files: tuple[str, ...],
    arrange: Callable[[Sequence[Target]], Workload],
) -> TargetChoice:
    return TargetChoice(
        urls=urls,
        url_files=files,
        column=params["column"],
        keep=kept_columns(params),
        template=params["url_template"],
        arrange=arrange,
    )


def _arrangement(params: BenchParams) -> Callable[[Sequence[Target]], Workload]:
    text, seed = params["weights"], params["seed"]
    if text is not None and params["shuffle"]:
        raise UsageError("--weights and --shuffle both order the targets: give one of them")
    if text is not None:
        weights = values.weights(text, "--weights")
        return lambda targets: weighted(targets, weights, seed)
    if params["shuffle"]:
        return lambda targets: shuffled(targets, seed)
    return in_turn


def _check_urls(where: str, urls: Sequence[str]) -> None:
    for url in urls:
        if "://" not in url and Path(url).is_file():
            raise UsageError(f"{url} is a file, not a URL: did you mean --urls {url}?")
    check_requestable(where, urls)


def _load(params: BenchParams) -> Load:
    rate, ramp = params["rate"], params["ramp"]
    if rate is not None and ramp is not None:
        raise UsageError("--rate and --ramp both say when requests are due: give one of them")
    stages = parse_ramp(ramp) if ramp is not None else None
    if rate is not None:
        stages = parse_rate(rate).stages
    if stages is None and params["arrivals"] != "constant":
        raise UsageError("--arrivals are those of a schedule: give --rate or --ramp with it")
    warmup_s, warmup_requests = _warmup(params["warmup"])
    schedule = None if stages is None else Schedule(stages, params["arrivals"], params["seed"])
    duration = params["duration"]
    duration_s = None if duration is None else values.duration_s(duration, "--duration")
    if params["requests"] is None and duration_s is None and ramp is None:
        duration_s = DEFAULT_DURATION_S
    return Load(
        requests=params["requests"],
        duration_s=duration_s,
        schedule=schedule,
        words=ramp if rate is None else _rate_words(rate, params["arrivals"]),
        warmup_s=warmup_s,
        warmup_requests=warmup_requests,
    )


def _rate_words(rate: str, arrivals: Arrivals) -> str:
    text = rate if "/" in rate else f"{rate}/s"
    return text if arrivals == "constant" else f"{text}, {arrivals} arrivals"


def _warmup(text: str | None) -> tuple[float, int]:
    """Read ``5s`` or ``1000`` requests."""
    if text is None:
        return 0.0, 0
    if _REQUESTS.fullmatch(text.strip()):
        return 0.0, int(text)
    try:
        return values.duration_s(text, "--warmup"), 0
    except UsageError:
        raise UsageError(
            f"--warmup: {text!r} is neither a duration nor a number of requests; give it as 5s "
            "or 1000"
        ) from None


def _out(given: str | None) -> Path | None:
    if given is None:
        return Path(time.strftime("bench-%Y%m%d-%H%M%S.log"))
    if given == NO_LOG:
        return None
    if not given or given == "-":
        raise UsageError("--out: give a file for the records, or none to keep none")
    return Path(given)
