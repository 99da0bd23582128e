"""What the kernel sees of every message: a log line, a span and counts, per handler."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode
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
        self._tracer = trace.get_tracer("realserv")
        self._children: dict[tuple[str, str, str], Any] = {}
        self._ok: dict[tuple[str, str, str], Any] = {}

    @contextmanager
    def handling(self, plugin: str, spec: HandlerSpec, envelope: Envelope) -> Iterator[Outcome]:
        """Surround one handling: span, duration, count, and one line in the log when it failed."""
        outcome = Outcome()
        key = (plugin, spec.kind, spec.name)
        started = time.perf_counter()
        carrier = {TRACEPARENT: envelope.traceparent} if envelope.traceparent else {}
        parent = _propagator.extract(carrier) if carrier else None
        with self._tracer.start_as_current_span(
            f"{plugin}.{spec.name}", context=parent, kind=SpanKind.CONSUMER
        ) as span:
            try:
                yield outcome
            except Exception as error:
                if outcome.is_defect:
                    log.exception(
                        "handler_broke",
                        plugin=plugin,
                        handler=spec.name,
                        message_id=str(envelope.id),
                        correlation_id=envelope.correlation_id,
                    )
                    span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise
            finally:
                took = time.perf_counter() - started
                self._note(key, outcome, took)
                if span.is_recording():
                    span.set_attribute("messaging.message.id", str(envelope.id))
                    span.set_attribute("realserv.correlation_id", envelope.correlation_id)
                    span.set_attribute("realserv.code", outcome.code)
                if spec.kind != "query" or outcome.code != "ok":
                    log.info(
                        "message_handled",
                        plugin=plugin,
                        handler=spec.name,
                        kind=spec.kind,
                        code=outcome.code,
                        actor=envelope.actor,
                        message_id=str(envelope.id),
                        correlation_id=envelope.correlation_id,
                        ms=round(took * 1000, 2),
                    )

    def _note(self, key: tuple[str, str, str], outcome: Outcome, took: float) -> None:
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
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return carrier.get(TRACEPARENT, "")

    def exposition(self) -> bytes:
        """Return the counters in Prometheus' text format."""
        return generate_latest(self.registry)
