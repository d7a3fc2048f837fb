"""A job's figures sent by OTLP over HTTP, once a pull: https://opentelemetry.io/docs/specs/otlp/."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from crawler.errors import CrawlError, UsageError
from crawler.pull.metrics import figures_of
from crawler.pull.overview import JobView
from crawler.settings import VERSION

_TIMEOUT_S: Final = 10
_EXTRA: Final = "[metrics] otlp needs the extra: pip install 'crawl-bench[otlp]'"


class OtlpError(CrawlError):
    """The figures could not be sent."""


def push(endpoint: str, view: JobView) -> None:
    """Send a job's gauges to an endpoint, as http://host:4318/v1/metrics.

    One request; a server that says it is busy, or hangs up, is asked again within 10 s. The
    environment's ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_SERVICE_NAME`` and the like hold. Raises
    ``UsageError`` without the extra, ``OtlpError`` where they were not taken.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    except ImportError:
        raise UsageError(_EXTRA) from None
    place = f"[metrics] otlp: {_place(endpoint)}"
    own = Resource({"service.name": "crawl", "service.version": VERSION})
    with contextlib.ExitStack() as stack:
        stack.enter_context(_silent())
        resource = own.merge(OTELResourceDetector().detect())  # Resource.create starts threads
        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        stack.callback(provider.shutdown)
        _set(provider.get_meter("crawl.pull", VERSION), view)
        data = reader.get_metrics_data()
        if data is None:  # nothing is known, or OTEL_SDK_DISABLED
            return
        try:
            exporter = OTLPMetricExporter(endpoint=endpoint, timeout=_TIMEOUT_S)
            stack.callback(exporter.shutdown)
            result = exporter.export(data)
        except Exception as exc:  # whatever its transport lets out: a pull is not to fail for it
            raise OtlpError(f"{place}: {type(exc).__name__}") from None
    if result is not MetricExportResult.SUCCESS:
        raise OtlpError(f"{place} did not take the figures")


def check_otlp(endpoint: str) -> None:
    """Raise ``UsageError`` for what can be known to be wrong before anything is to be sent."""
    _place(endpoint)
    if find_spec("opentelemetry") is None:
        raise UsageError(_EXTRA)


def _place(endpoint: str) -> str:
    """Give what may be told of an endpoint; its path may be a secret."""
    try:
        url = urlsplit(endpoint)
    except ValueError:
        url = urlsplit("")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise UsageError("[metrics] otlp: give it as http://host:4318/v1/metrics")
    return f"{url.scheme}://{url.hostname}"


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep the library's talk from stderr: what fails is told by us, once."""
    logger = logging.getLogger("opentelemetry")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _set(meter: Any, view: JobView) -> None:  # noqa: ANN401 - only known where it is installed
    for figure in figures_of([view]):
        unit = "s" if figure.unit == "seconds" else "1"
        gauge = meter.create_gauge(figure.name, unit=unit, description=figure.told)
        for labels, value in figure.values:
            gauge.set(value, dict(labels))
