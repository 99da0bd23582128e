"""Traces by OpenTelemetry, sampled, exported by OTLP where a collector is configured."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from kernel.config import TelemetrySettings


@contextmanager
def tracing(settings: TelemetrySettings, *, service: str) -> Iterator[None]:
    """Record a share of the traces while the context is open; without a collector, none."""
    if not settings.otlp_endpoint:
        yield
        return
    provider = TracerProvider(
        resource=Resource.create({"service.name": "realserv", "service.instance.id": service}),
        sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
    )
    exporter = OTLPSpanExporter(endpoint=settings.otlp_endpoint)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()
