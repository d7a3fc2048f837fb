"""For the tests of comparisons: figures of made-up requests, by endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crawler.blocks import Block
from crawler.codec import encode
from crawler.figures import Figures
from crawler.histogram import Histogram
from crawler.record import ERROR_CLASSES
from tests.log_cases import plain

HTTP = ERROR_CLASSES.index("http")
Floats = npt.NDArray[np.float64]


def histogram_of(values: npt.ArrayLike) -> Histogram:
    histogram = Histogram()
    histogram.add_many(values)
    return histogram


def block(name: str, ms: npt.ArrayLike, failed: int = 0, status: int = 200) -> Block:
    """Successes of ``ms`` milliseconds, then so many replies of status 500."""
    times = np.concatenate([np.asarray(ms, np.float64), np.full(failed, 1.0)])
    count = len(times)
    ok = np.arange(count) < count - failed
    return Block(
        run="r",
        names=(name,),
        group=np.zeros(count, np.int64),
        started_s=np.linspace(1.7e9, 1.7e9 + 10, count),
        elapsed_ms=times,
        lag_ms=np.zeros(count),
        phases_ms=np.zeros((count, 5)),
        status=np.where(ok, status, 500),
        error=np.where(ok, -1, HTTP),
        bytes=np.zeros(count, np.int64),
        reused=np.ones(count, np.bool_),
        sent=np.ones(count, np.bool_),
    )


def figures_of(endpoints: Mapping[str, npt.ArrayLike], **changes: int) -> Figures:
    """Figures of endpoints, each with its latencies; ``changes`` are those of ``block``."""
    figures = Figures()
    for name, ms in endpoints.items():
        figures.add(block(name, ms, **changes))
    return figures


def drawn(kind: str, size: int | tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Latencies in ms: ``lognormal``, ``pareto`` (infinite variance), ``ties`` (a coarse clock)."""
    if kind == "pareto":
        return 10 * (1 + rng.pareto(1.5, size))
    times = 10 * np.exp(rng.normal(0, 0.5, size))
    return times if kind == "lognormal" else np.ceil(times)


def write_log(
    path: Path, run: str, latencies: Mapping[str, npt.ArrayLike], failed: int = 0, **changes: object
) -> None:
    """Append a run to a log: successes by URL with their latencies, then failures of each."""
    lines = []
    for url, times in latencies.items():
        ok = {"url": url, "run": run, **changes}
        lines += [plain(0, **{**ok, "elapsed_ms": float(ms)}) for ms in np.asarray(times)]
        lines += [plain(0, **{**ok, "status": 500, "error": "http"})] * failed
    first = len(path.read_bytes().splitlines()) if path.exists() else 0
    with path.open("ab") as file:
        file.writelines(encode(each._replace(seq=seq)) for seq, each in enumerate(lines, first))
