"""Counts, times and traces HTTP requests."""

import time
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Histogram

from bus.envelope import TRACEPARENT

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_propagator: Final = TraceContextTextMapPropagator()


class RequestTelemetry:
    """The Observer that feeds the process's registry and tracer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "realserv_http_requests",
            "HTTP requests answered, by operation and status",
            ("operation", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "realserv_http_request_seconds",
            "Time to answer an HTTP request; of a live stream, how long it was open",
            ("operation",),
            buckets=BUCKETS,
            registry=registry,
        )
        self._tracer = trace.get_tracer("realserv")
        self._counts: dict[tuple[str, int], Any] = {}
        self._times: dict[str, Any] = {}

    def begin(self, operation: str, traceparent: str) -> "RequestWatch":
        """Start a span under the caller's trace, and the clock."""
        parent = _propagator.extract({TRACEPARENT: traceparent}) if traceparent else None
        span = self._tracer.start_span(f"http {operation}", context=parent, kind=SpanKind.SERVER)
        return RequestWatch(self, operation, span)

    def note(self, operation: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (operation, status)
        count = self._counts.get(key)
        if count is None:
            count = self._counts[key] = self._requests.labels(operation, str(status))
        timer = self._times.get(operation)
        if timer is None:
            timer = self._times[operation] = self._seconds.labels(operation)
        count.inc()
        timer.observe(seconds)


class RequestWatch:
    """One request being watched."""

    __slots__ = ("_operation", "_owner", "_span", "_started", "traceparent")

    def __init__(self, owner: RequestTelemetry, operation: str, span: Span) -> None:
        self._owner = owner
        self._operation = operation
        self._span = span
        self._started = time.perf_counter()
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, context=trace.set_span_in_context(span))
        self.traceparent = carrier.get(TRACEPARENT, "")

    def end(self, status: int) -> None:
        """Note the answer's status and end the span."""
        self._owner.note(self._operation, status, time.perf_counter() - self._started)
        if self._span.is_recording():
            self._span.set_attribute("http.response.status_code", status)
            if status >= 500:
                self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()
