"""The pytest plugin: the fixture ``bench``, and the marker ``latency`` that holds it to limits.

pytest loads this file whenever it starts, so it imports nothing but pytest; the rest comes with the
first test that asks for it. A test that fails by itself is not judged; one that passes fails if a
limit is broken, in the words of ``crawl bench --fail-on``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from crawler.bench import Bench
    from crawler.report.model import Report
    from crawler.thresholds import Threshold

_MARKER: Final = "@pytest.mark.latency"
_EXAMPLE: Final = f'{_MARKER}(p95="200ms", errors="0%")'
_WORDS: Final = "latency"
"""The name of the user property that holds a verdict's words; JUnit files have it too."""

_REQUESTS: Final = 100
_CONNECTIONS: Final = 64

_limits: Final = pytest.StashKey[tuple["Threshold", ...]]()
_done: Final = pytest.StashKey[list["Bench"]]()


class Bencher:
    """What the fixture ``bench`` is: call it to make requests and measure them."""

    def __init__(self, done: list[Bench]) -> None:
        self._done = done

    def __call__(
        self,
        urls: str | Sequence[str],
        *,
        requests: int | None = None,
        duration: str | None = None,
        rate: str | float | None = None,
        concurrency: int | None = None,
        warmup: str | int = 0,
        **settings: Any,  # noqa: ANN401 - the fields of Settings
    ) -> Report:
        """Request ``urls``, in turn, and give the report of it.

        As many as ``requests`` (100), or for a ``duration`` (``"5s"``). One after the other, or
        ``concurrency`` at once; with a ``rate`` (``"50/s"``) each when it is due, over up to 64
        connections. ``warmup`` (``"2s"``, or a number of requests) comes first and counts nowhere.
        ``settings`` are fields of ``Settings``; one process makes the requests unless they say
        otherwise. Raises a ``CrawlError`` where something cannot be used; a request that fails is
        counted.
        """
        __tracebackhide__ = True
        from crawler.benching import benchmark
        from crawler.errors import CrawlError

        if requests is None and duration is None:
            requests = _REQUESTS
        if concurrency is None:
            concurrency = 1 if rate is None else _CONNECTIONS
        settings = {"processes": 1, "concurrency": concurrency, **settings}
        try:
            self._done.append(
                benchmark(
                    urls, requests=requests, duration=duration, rate=rate, warmup=warmup, **settings
                )
            )
        except CrawlError as exc:
            raise exc.with_traceback(None) from None
        return self._done[-1].report


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Bencher:
    """Make requests and measure them: ``bench("http://…", requests=100)``."""
    request.node.stash[_done] = done = list["Bench"]()  # of this run of the test, not of one before
    return Bencher(done)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"latency(*thresholds, **limits): what all that the test benches must hold, as {_EXAMPLE}"
        ' or latency("p99<1s,rate>45/s"); the test uses the fixture bench.',
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Read the test's limits before it runs: a wrong one is its error, and costs no request."""
    markers = list(item.iter_markers("latency"))
    if not markers:
        return
    if "bench" not in getattr(item, "fixturenames", ()):
        pytest.fail(f"{_MARKER}: the test does not use the fixture bench", pytrace=False)
    item.stash[_limits] = _limits_of(markers)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Hold what a test that passed has benched to its limits."""
    outcome = yield
    limits = item.stash.get(_limits, ())
    if limits:
        _hold(item, limits)
    return outcome


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was measured, a line a limit, of tests that passed: the others have told it."""
    lines = [
        f"{report.nodeid}: {words}"
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for name, words in report.user_properties
        if name == _WORDS
    ]
    if lines and terminalreporter.verbosity >= 0:
        terminalreporter.section("latency")
        for line in lines:
            terminalreporter.line(line)


def _limits_of(markers: Sequence[pytest.Mark]) -> tuple[Threshold, ...]:
    """The limits of all markers of a test; where two are of the same, the nearest one's."""
    from crawler.errors import UsageError

    limits = {}
    try:
        for marker in reversed(markers):
            for limit in _of_marker(marker):
                of = "errors" if limit.kind in ("share", "failures") else limit.kind
                limits[of, limit.of, limit.q, limit.comparison[0]] = limit
    except UsageError as exc:
        pytest.fail(str(exc), pytrace=False)
    if not limits:
        pytest.fail(f"{_MARKER} gives no limit: give some, as {_EXAMPLE}", pytrace=False)
    return tuple(limits.values())


def _of_marker(marker: pytest.Mark) -> Iterator[Threshold]:
    from crawler.thresholds import parse_limit, parse_thresholds

    for text in marker.args:
        yield from parse_thresholds(str(text), _MARKER)
    for name, limit in marker.kwargs.items():
        yield parse_limit(name, limit, _MARKER)


def _hold(item: pytest.Item, limits: Sequence[Threshold]) -> None:
    """Fail the test if one of ``limits`` is broken by one of its calls; keep the words of all."""
    from crawler.verdicts import judge

    benches = item.stash.get(_done, [])
    if not benches:
        pytest.fail(f"{_MARKER}: the test benched nothing: call bench(url)", pytrace=False)
    broken: list[str] = []
    for number, each in enumerate(benches, start=1):
        report = each.report
        call = f"bench {number} of {len(benches)}: " if len(benches) > 1 else ""
        verdicts = [judge(limit, report.figures, report.main) for limit in limits]
        item.user_properties += [(_WORDS, call + verdict.words) for verdict in verdicts]
        words = [call + verdict.words for verdict in verdicts if not verdict.passed]
        broken += [*words, *_remarks(each)] if words else []
    if broken:
        pytest.fail("\n".join(broken), pytrace=False)


def _remarks(each: Bench) -> list[str]:
    """What else is to be known where a limit is broken: what failed, and our own part in it."""
    from crawler.report.columns import plain

    failed = [
        f"{name}: {failures:,} failed, first {plain(example.url)}: {plain(example.detail)}"
        for name, (failures, example) in each.report.figures.errors.items()
    ]
    return [*failed, *([each.gave_up] if each.gave_up else []), *each.report.audit.warnings]
