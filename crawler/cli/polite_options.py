"""The options of politeness: how strangers' servers are treated, and one switch for it all."""

from __future__ import annotations

from typing import Final, TypedDict

from crawler.cli import values
from crawler.cli.grouped import OptionGroup
from crawler.cli.option_groups import default_option, flag_option, text_option
from crawler.cli.values import duration_text
from crawler.errors import UsageError
from crawler.politeness import POLITE_BREAKER, POLITE_PER_HOST, POLITE_RATE_PER_S, Politeness
from crawler.schedule import parse_rate

_PLAIN: Final = Politeness()
_POLITE: Final = Politeness(
    per_host=POLITE_PER_HOST,
    per_host_rate_per_s=POLITE_RATE_PER_S,
    breaker=POLITE_BREAKER,
    robots=True,
)


class PoliteParams(TypedDict):
    """The options of politeness, as click gives them."""

    polite: bool
    per_host: str | None
    rate: str | None
    per_host_rate: str | None
    burst: str
    delay: str | None
    jitter: str | None
    breaker: str | None
    breaker_pause: str
    adaptive: bool
    robots: bool


def politeness(params: PoliteParams) -> Politeness | None:
    """Read the options; None where none of them asks for anything. Raises ``UsageError``."""
    base = _POLITE if params["polite"] else _PLAIN
    read = Politeness(
        per_host=values.count(params["per_host"], "--per-host", least=1) or base.per_host,
        rate_per_s=_rate(params["rate"], "--rate", base.rate_per_s),
        per_host_rate_per_s=_rate(
            params["per_host_rate"], "--per-host-rate", base.per_host_rate_per_s
        ),
        burst=values.count(params["burst"], "--burst", least=1) or 1,
        delay_s=_delay_s(params["delay"]),
        jitter=_share(params["jitter"]),
        breaker=values.count(params["breaker"], "--breaker", least=1) or base.breaker,
        breaker_pause_s=values.duration_s(params["breaker_pause"], "--breaker-pause"),
        adaptive=params["adaptive"],
        robots=params["robots"] or base.robots,
    )
    _check_burst(params, read)
    idle = Politeness(burst=read.burst, breaker_pause_s=read.breaker_pause_s)
    return None if read == idle else read


def _check_burst(params: PoliteParams, read: Politeness) -> None:
    if read.burst > 1 and read.rate_per_s is None and read.per_host_rate_per_s is None:
        raise UsageError("--burst is that of a rate: give --rate or --per-host-rate with it")
    if read.breaker is None and read.breaker_pause_s != _PLAIN.breaker_pause_s:
        raise UsageError("--breaker-pause is that of a breaker: give --breaker with it")
    if params["jitter"] is not None and not read.delay_s:
        raise UsageError("--jitter is that of a delay: give --delay with it")


def _rate(text: str | None, option: str, otherwise: float | None) -> float | None:
    return otherwise if text is None else parse_rate(text, option).per_s


def _delay_s(text: str | None) -> float:
    return 0.0 if text is None or text.strip() == "0" else values.duration_s(text, "--delay")


def _share(text: str | None) -> float:
    share = None if text is None else values.max_errors(text, "--jitter").percent
    if text is not None and share is None:
        raise UsageError(f"--jitter: {text!r} is no share; give one as 50%")
    return (share or 0.0) / 100


POLITENESS: Final = OptionGroup(
    "Politeness (a host is the name and port of a URL)",
    (
        flag_option(
            "--polite",
            help=f"For strangers' servers: --per-host {POLITE_PER_HOST} --per-host-rate "
            f"{POLITE_RATE_PER_S:g}/s --breaker {POLITE_BREAKER} --robots.",
        ),
        text_option("--per-host", metavar="N", help="Requests in flight to one host, at most."),
        text_option(
            "--per-host-rate", metavar="RATE", help="Requests to one host, at most: 2/s, 30/m."
        ),
        text_option(
            "--rate",
            metavar="RATE",
            help="Requests in all, at most: 10/s. One process then makes them.",
        ),
        default_option(
            "--burst",
            metavar="N",
            value="1",
            help="Requests that a rate lets go at once after a rest.",
        ),
        text_option("--delay", metavar="TIME", help="Time between two requests to one host."),
        text_option("--jitter", metavar="N%", help="Share by which each --delay varies."),
        text_option(
            "--breaker",
            metavar="N",
            help="Leave a host alone after so many failures in a row; it is probed three times, "
            "then its other targets are given up as aborted.",
        ),
        default_option(
            "--breaker-pause",
            metavar="TIME",
            value=duration_text(_PLAIN.breaker_pause_s),
            help="Time before the first probe; it doubles.",
        ),
        flag_option(
            "--adaptive",
            help="Raise and lower the requests in flight to a host by its latency.",
        ),
        flag_option("--robots", help="Heed robots.txt and its Crawl-delay (RFC 9309)."),
    ),
)
