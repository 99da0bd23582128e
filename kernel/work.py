"""The worker of a plugin's work queue: told commands, timers' commands, effects and jobs."""

import asyncio
from datetime import UTC, datetime, timedelta

import structlog

from bus.actor import ANONYMOUS
from bus.connection import Connection
from bus.envelope import CE_ID, Envelope, read_envelope
from bus.errors import ServiceError, UndecodableError
from bus.jetstream import publish
from bus.provenance import forgery_of
from bus.puller import Delivery, Puller
from bus.streams import work_stream
from kernel.dead_letters import FAILURES, failures_of, reason_of, store_dead_letter
from kernel.effects import EffectRunner
from kernel.ids import derived_uuid
from kernel.jobs import JobMark, job_subject
from kernel.outbox import SCHEDULE, SCHEDULE_TARGET
from kernel.plugin import HandlerSpec
from kernel.retries import MAX_DELIVERIES, QUICK, delay_after, is_worth_retrying
from kernel.runtime import PluginRuntime

log = structlog.get_logger("kernel.work")

CONCURRENCY = 32


class Worker:
    """Pulls one plugin's work queue in this process."""

    def __init__(self, runtime: PluginRuntime, connection: Connection) -> None:
        self._runtime = runtime
        self._connection = connection
        self._effects = EffectRunner(runtime)
        self._specs = _subjects(runtime)
        self._puller = Puller(
            connection,
            work_stream(runtime.plugin.name),
            "worker",
            self._handle,
            concurrency=CONCURRENCY,
        )

    def start(self) -> None:
        """Begin to pull."""
        self._puller.start()

    async def stop(self) -> None:
        """Give back what is not begun, finish the rest."""
        await self._puller.stop()

    async def _handle(self, delivery: Delivery) -> None:
        forgery = forgery_of(delivery.headers, self._runtime.plugin.name)
        if forgery:
            await self._bury(delivery, "forged", forgery)
            return
        spec = self._specs.get(delivery.subject)
        if spec is None:
            await self._refuse_unknown(delivery)
            return
        failures = failures_of(delivery.headers)
        if delivery.attempt > MAX_DELIVERIES:
            await self._bury(delivery, spec.name, "delivered too often: it may crash its handler")
            return
        try:
            envelope = read_envelope(delivery.headers)
        except UndecodableError as error:
            await self._bury(delivery, spec.name, reason_of(error))
            return
        failure = await self._try(spec, delivery, envelope)
        if failure is None:
            await delivery.ack()
        elif not is_worth_retrying(failure) or (delay := delay_after(failures + 1)) is None:
            await self._bury(delivery, spec.name, reason_of(failure))
        else:
            await self._postpone(delivery, failures + 1, delay)

    async def _try(
        self, spec: HandlerSpec, delivery: Delivery, envelope: Envelope
    ) -> Exception | None:
        """Run the handler, again after short waits; returns what it failed with in the end."""
        for wait in (*QUICK, None):
            try:
                with self._runtime.telemetry.handling(
                    self._runtime.plugin.name, spec, envelope
                ) as outcome:
                    try:
                        await self._run(spec, delivery, envelope)
                    except ServiceError as error:
                        outcome.fail(error.to_wire().code)
                        raise
                    except Exception:
                        outcome.defect()
                        raise
            except Exception as error:  # noqa: BLE001  whatever broke is retried or buried by the caller
                if wait is None or not is_worth_retrying(error):
                    return error
                await asyncio.sleep(wait)
            else:
                return None
        return None

    async def _run(self, spec: HandlerSpec, delivery: Delivery, envelope: Envelope) -> None:
        if spec.kind == "effect":
            await self._effects.run(spec, delivery.data, envelope)
        elif spec.kind == "job":
            firing = derived_uuid(
                delivery.stored_at,
                str(envelope.id),
                delivery.headers.get("Nats-Schedule-Next", ""),
            )
            fired = Envelope(
                id=firing,
                type=envelope.type,
                source=envelope.source,
                time=delivery.stored_at,
                correlation_id=str(firing),
                is_keyed=True,
            )
            mark = JobMark(spec.name, delivery.stored_at)
            await self._runtime.run(spec, None, fired, mark, ANONYMOUS, None)
        else:
            await self._runtime.do(spec, delivery.data, envelope)

    async def _postpone(self, delivery: Delivery, failures: int, delay: float) -> None:
        """Hand the message to a schedule and let the queue's copy go: a long wait blocks nobody."""
        identity = delivery.headers[CE_ID]
        at = datetime.now(UTC) + timedelta(seconds=delay)
        kept = {k: v for k, v in delivery.headers.items() if not k.startswith("Nats-")}
        headers = {
            **kept,
            FAILURES: str(failures),
            SCHEDULE: f"@at {at.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}",
            SCHEDULE_TARGET: delivery.subject,
            "Nats-Msg-Id": f"{identity}-{failures}",
        }
        subject = f"work.{self._runtime.plugin.name}.timer.retry-{identity}"
        try:
            await publish(self._connection, subject, delivery.data, headers)
        except (ServiceError, RuntimeError) as error:
            log.warning("postpone_failed", subject=delivery.subject, error=repr(error))
            await delivery.retry(5.0)
            return
        log.warning(
            "message_postponed",
            subject=delivery.subject,
            message_id=identity,
            failures=failures,
            seconds=round(delay, 1),
        )
        await delivery.ack()

    async def _bury(self, delivery: Delivery, handler: str, reason: str) -> None:
        plugin = self._runtime.plugin.name
        try:
            await store_dead_letter(
                self._connection,
                f"dlq.{plugin}.{handler}",
                delivery.data,
                delivery.headers,
                origin=delivery.subject,
                reason=reason,
                sequence=delivery.stream_seq,
            )
        except (ServiceError, RuntimeError) as error:
            log.exception("dead_letter_not_stored", handler=handler, error=repr(error))
            await delivery.retry(5.0)
            return
        self._runtime.telemetry.dead_letters.labels(plugin, handler).inc()
        log.error("dead_letter", plugin=plugin, handler=handler, reason=reason)
        await delivery.terminate(reason)

    async def _refuse_unknown(self, delivery: Delivery) -> None:
        """Leave it to a host that knows it, a newer version perhaps; bury it when none does."""
        if delivery.attempt > MAX_DELIVERIES:
            await self._bury(delivery, "unknown", f"nobody handles {delivery.subject}")
        else:
            await delivery.retry(5.0)


def _subjects(runtime: PluginRuntime) -> dict[str, HandlerSpec]:
    found: dict[str, HandlerSpec] = {}
    for spec in runtime.plugin.handlers:
        if spec.kind in ("command", "effect") and spec.message is not None:
            found[spec.message.work_subject] = spec
        elif spec.kind == "job":
            found[job_subject(runtime.plugin.name, spec.name)] = spec
    return found
