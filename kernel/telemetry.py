"""What the kernel sees of every message: a log line, a span and counts, per handler."""

import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final

import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bus.envelope import TRACEPARENT, Envelope
from kernel.plugin import HandlerSpec

log = structlog.get_logger("kernel")
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_propagator = TraceContextTextMapPropagator()


class Outcome:
    """How a handling ended; set by the runtime, read by telemetry."""

    __slots__ = ("code", "is_defect")

    def __init__(self) -> None:
        self.code = "ok"
        self.is_defect = False

    def fail(self, code: str) -> None:
        """It was refused, or something it needs is away."""
        self.code = code

    def defect(self) -> None:
        """It broke; the log gets the trace-back."""
        self.code = "kernel.internal_error"
        self.is_defect = True


class Telemetry:
    """The counters of one process and the ways to log and trace."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.handled = Counter(
            "realserv_messages",
            "Messages handled, by plugin, kind, handler and outcome code",
            ("plugin", "kind", "handler", "code"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "realserv_message_seconds",
            "Time to handle a message",
            ("plugin", "kind", "handler"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "realserv_messages_in_flight",
            "Messages being handled now",
            ("plugin",),
            registry=self.registry,
        )
        self.outbox_sent = Counter(
            "realserv_outbox_published",
            "Outbox rows published, by plugin and kind",
            ("plugin", "kind"),
            registry=self.registry,
        )
        self.outbox_waiting = Gauge(
            "realserv_outbox_waiting",
            "Outbox rows not yet published",
            ("plugin",),
            registry=self.registry,
        )
        self.parked = Gauge(
            "realserv_parked_events",
            "Events parked behind a failure",
            ("plugin",),
            registry=self.registry,
        )
        self.dead_letters = Counter(
            "realserv_dead_letters",
            "Messages given up, by plugin and handler",
            ("plugin", "handler"),
            registry=self.registry,
        )
        self.possible_duplicates = Counter(
            "realserv_effect_possible_duplicates",
            "Effects repeated without knowing whether the first call arrived",
            ("plugin", "effect"),
            registry=self.registry,
        )
        is_collected = isinstance(trace.get_tracer_provider(), TracerProvider)
        self._tracer = trace.get_tracer("realserv") if is_collected else None
        self._children: dict[tuple[str, str, str], Any] = {}
        self._ok: dict[tuple[str, str, str], Any] = {}

    def handling(self, plugin: str, spec: HandlerSpec, envelope: Envelope) -> "HandlingWatch":
        """Surround one handling: span, duration, count, and one line in the log when it failed."""
        return HandlingWatch(self, plugin, spec, envelope)

    def begin_span(self, name: str, envelope: Envelope) -> AbstractContextManager[Span] | None:
        """Return the span of a handling, to be entered; None while nobody collects traces."""
        if self._tracer is None:
            return None
        carrier = {TRACEPARENT: envelope.traceparent} if envelope.traceparent else {}
        parent = _propagator.extract(carrier) if carrier else None
        return self._tracer.start_as_current_span(name, context=parent, kind=SpanKind.CONSUMER)

    def note(self, key: tuple[str, str, str], outcome: Outcome, took: float) -> None:
        """Count one handling."""
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self.seconds.labels(*key)
            self._ok[key] = self.handled.labels(*key, "ok")
        child.observe(took)
        if outcome.code == "ok":
            self._ok[key].inc()
        else:
            self.handled.labels(*key, outcome.code).inc()

    def traceparent(self) -> str:
        """Return the W3C header of the current span, or an empty text."""
        if self._tracer is None:
            return ""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return carrier.get(TRACEPARENT, "")

    def exposition(self) -> bytes:
        """Return the counters in Prometheus' text format."""
        return generate_latest(self.registry)


class HandlingWatch:
    """One handling being watched."""

    __slots__ = (
        "_envelope",
        "_key",
        "_outcome",
        "_span",
        "_spans",
        "_spec",
        "_started",
        "_telemetry",
    )

    def __init__(
        self, telemetry: Telemetry, plugin: str, spec: HandlerSpec, envelope: Envelope
    ) -> None:
        self._telemetry = telemetry
        self._spec = spec
        self._envelope = envelope
        self._key = (plugin, spec.kind, spec.name)
        self._outcome = Outcome()
        self._spans: AbstractContextManager[Span] | None = None
        self._span: Span | None = None
        self._started = 0.0

    def __enter__(self) -> Outcome:
        plugin, _, name = self._key
        self._spans = self._telemetry.begin_span(f"{plugin}.{name}", self._envelope)
        if self._spans is not None:
            self._span = self._spans.__enter__()
        self._started = time.perf_counter()
        return self._outcome

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        took = time.perf_counter() - self._started
        self._telemetry.note(self._key, self._outcome, took)
        if error is not None and self._outcome.is_defect:
            self._log_defect(error)
        if self._spec.kind != "query" or self._outcome.code != "ok":
            self._log(took)
        if self._span is not None and self._spans is not None:
            self._describe(self._span, error)
            self._spans.__exit__(kind, error, trace_back)

    def _describe(self, span: Span, error: BaseException | None) -> None:
        span.set_attribute("messaging.message.id", str(self._envelope.id))
        span.set_attribute("realserv.correlation_id", self._envelope.correlation_id)
        span.set_attribute("realserv.code", self._outcome.code)
        if error is not None and self._outcome.is_defect:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))

    def _log_defect(self, error: BaseException) -> None:
        plugin, _, name = self._key
        log.error(
            "handler_broke",
            plugin=plugin,
            handler=name,
            message_id=str(self._envelope.id),
            correlation_id=self._envelope.correlation_id,
            exc_info=error,
        )

    def _log(self, took: float) -> None:
        plugin, kind, name = self._key
        log.info(
            "message_handled",
            plugin=plugin,
            handler=name,
            kind=kind,
            code=self._outcome.code,
            actor=self._envelope.actor,
            message_id=str(self._envelope.id),
            correlation_id=self._envelope.correlation_id,
            ms=round(took * 1000, 2),
        )
