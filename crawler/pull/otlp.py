"""A job's figures sent by OTLP over HTTP, once a pull: https://opentelemetry.io/docs/specs/otlp/."""

from __future__ import annotations

import logging
from typing import Any, Final

from crawler.errors import CrawlError, UsageError
from crawler.pull.metrics import figures_of
from crawler.pull.overview import JobView
from crawler.settings import VERSION

_TIMEOUT_S: Final = 10


class OtlpError(CrawlError):
    """The figures could not be sent."""


def push(endpoint: str, view: JobView) -> None:
    """Send a job's gauges to an endpoint, as http://host:4318/v1/metrics.

    One request, or as many as fit in 10 s. Raises ``UsageError`` without the extra, ``OtlpError``
    where they were not taken.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult
        from opentelemetry.sdk.resources import Resource
    except ImportError:
        raise UsageError(
            "[metrics] otlp needs the extra: pip install 'crawl-bench[otlp]'"
        ) from None
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it is told by us, once
    reader = InMemoryMetricReader()
    resource = Resource.create({"service.name": "crawl", "service.version": VERSION})
    provider = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
    _set(provider.get_meter("crawl.pull", VERSION), view)
    exporter = OTLPMetricExporter(endpoint=endpoint, timeout=_TIMEOUT_S)
    try:
        result = exporter.export(reader.get_metrics_data(), timeout_millis=1000 * _TIMEOUT_S)
    except Exception as exc:  # whatever its transport lets out: a pull is not to fail for it
        raise OtlpError(f"[metrics] otlp: {type(exc).__name__}") from None
    finally:
        exporter.shutdown()
        provider.shutdown()
    if result is not MetricExportResult.SUCCESS:
        raise OtlpError("[metrics] otlp: the endpoint did not take the figures")


def _set(meter: Any, view: JobView) -> None:  # noqa: ANN401 - only known where it is installed
    for figure in figures_of([view]):
        unit = "s" if figure.unit == "seconds" else "1"
        gauge = meter.create_gauge(figure.name, unit=unit, description=figure.told)
        for labels, value in figure.values:
            gauge.set(value, dict(labels))
