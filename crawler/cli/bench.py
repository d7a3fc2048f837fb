"""The bench verb: carry out a benchmark, show how it goes, print the report and the verdicts.

The report goes to stdout, all talk to stderr. The exit code is 3 where a threshold is broken or B
is worse than A, 1 where nothing succeeded, 130 or 143 where it was stopped.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Final

from crawler.bench import Bench, Benchmark, Plan
from crawler.calibration import Floor, calibrate
from crawler.cli.bench_options import BenchOptions, TargetChoice
from crawler.cli.stopping import StopSignals
from crawler.figures import Figures
from crawler.files import check_output, write_whole
from crawler.load import Load
from crawler.progress import BenchProgress
from crawler.report.columns import plain
from crawler.report.latency_text import render
from crawler.report.model import Report
from crawler.settings import Settings
from crawler.targets import open_targets
from crawler.urls import mask
from crawler.verdicts import judge
from crawler.workload import Workload

EXIT_BROKEN: Final = 3


def execute(options: BenchOptions, settings: Settings) -> int:
    """Run it all; give the exit code."""
    if options.targets is None:
        print(_floor_words(calibrate(settings, options.load)))
        return 0
    if options.metrics is not None:
        check_output("--metrics", options.metrics, [options.out] if options.out else [])
    plan = _plan(options, settings, _workload(options.targets))
    floor = calibrate(settings, options.load) if options.calibrate else None
    with _progress(options) as progress:
        benchmark = Benchmark(plan, progress.update)
        with StopSignals(benchmark) as stopped:
            bench = benchmark.run()
    return _tell(bench, options, floor, stopped.by)


def _workload(choice: TargetChoice) -> Workload:
    if not choice.urls and not choice.url_files:
        return choice.arrange(())
    with open_targets(
        choice.urls,
        choice.url_files,
        column=choice.column,
        keep=choice.keep,
        template=choice.template,
        stdin=sys.stdin.buffer if "-" in choice.url_files else None,
    ) as targets:
        return choice.arrange(tuple(targets))


def _plan(options: BenchOptions, settings: Settings, workload: Workload) -> Plan:
    return Plan(
        workload=workload,
        load=options.load,
        settings=settings,
        out=options.out,
        drop_unfinished=options.drop_unfinished,
        keep_going=options.keep_going,
        split=options.ab,
        warn=_say,
    )


def _progress(options: BenchOptions) -> BenchProgress:
    load: Load = options.load
    stream = None if options.quiet or not sys.stderr.isatty() else sys.stderr
    return BenchProgress(load.length_s, load.total, stream=stream)


def _tell(bench: Bench, options: BenchOptions, floor: Floor | None, stopped: int | None) -> int:
    print(render(bench.report), end="")
    if floor is not None:
        print(f"\n{_floor_words(floor)}")
    worse = False
    if bench.sides is not None and options.targets is not None:
        worse = _compare(*bench.sides, bench.report, options.targets.urls)
    verdicts = [judge(t, bench.report.figures, bench.report.main) for t in options.thresholds]
    if verdicts:
        print("\nthresholds")
        for verdict in verdicts:
            print(f"  {verdict.words}")
    if options.metrics is not None:
        from crawler.report.openmetrics import to_openmetrics

        write_whole(options.metrics, to_openmetrics(bench.report).encode())
    if bench.log is not None and not options.quiet:
        _say(f"records of run {bench.run} are in {options.out}")
    return _exit_code(bench, [v.words for v in verdicts if not v.passed], stopped, worse=worse)


def _compare(a: Figures, b: Figures, report: Report, urls: tuple[str, ...]) -> bool:
    """Say how B differs from A, by the latency that the report means; tell whether it breaks."""
    from crawler.compared import Plan as Comparing
    from crawler.comparison import compare
    from crawler.report import comparison_text

    asked = Comparing(scope="total", latency="response" if report.open_loop else "service")
    comparison = replace(compare(a, b, asked), old_name="A", new_name="B")
    print("\nB against A")
    for name, url in zip("AB", urls, strict=True):
        print(f"{name}: {plain(mask(url))}")
    print(f"\n{comparison_text.render(comparison)}", end="")
    return bool(comparison.broken)


def _exit_code(bench: Bench, broken: list[str], stopped: int | None, *, worse: bool) -> int:
    if bench.gave_up is not None:
        _say(f"ended early: {bench.gave_up}; --keep-going would go on")
    if stopped is not None:
        return 128 + stopped
    for words in broken:
        _say(words)
    if broken or worse:
        return EXIT_BROKEN
    return int(bench.report.figures.total.ok == 0)


def _floor_words(floor: Floor) -> str:
    at = "in a closed loop" if floor.rate_per_s is None else f"at {floor.rate_per_s:,.6g}/s"
    return (
        f"our own floor here, {at} against a server that does nothing: p50 {floor.p50_ms:.3g} ms, "
        f"p99 {floor.p99_ms:.3g} ms, lag p99 {floor.lag_p99_ms:.3g} ms; at most "
        f"{floor.most_per_s:,.0f}/s"
    )


def _say(text: str) -> None:
    print(f"crawl: {text}", file=sys.stderr)
