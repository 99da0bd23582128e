"""Reactions: ordered subscriptions to the facts of others, and the table of parked events.

Each partition of a subscription is a durable that the server feeds one message at a time; its
position moves in the handler's transaction. An event that keeps failing is parked with it, later
events of the same key are parked behind it, and all other keys flow.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from bus.actor import parse_actor
from bus.codec import decoder
from bus.connection import Connection
from bus.envelope import Envelope, read_envelope
from bus.errors import ServiceError, UndecodableError
from bus.message import MessageType
from bus.provenance import STREAM
from bus.puller import Delivery, Puller
from bus.streams import PARTITIONS, event_stream
from kernel.database import DatabaseUnavailable
from kernel.dead_letters import dead_letter_headers, reason_of
from kernel.ids import derived_uuid
from kernel.outbox import INSERT_ROWS, OutboxRow, insert_arguments
from kernel.plugin import HandlerSpec
from kernel.retries import QUICK, delay_after, is_worth_retrying
from kernel.runtime import PluginRuntime
from kernel.sql import statement
from kernel.unit_of_work import (
    AlreadyDone,
    Answer,
    EventMark,
    KeyIsParked,
)

log = structlog.get_logger("kernel.reactions")

SWEEP_SECONDS: Final = 0.5
MAX_DELIVERIES: Final = 50
PATIENCE_WITH_UNKNOWN: Final = 5
"""Deliveries, a second apart, of an event that this host does not know before it is skipped."""

ENSURE_POSITIONS = statement(
    """
    INSERT INTO kernel.positions (subscription, part)
    SELECT :subscription, part FROM generate_series(0, cast(:last AS integer)) AS part
    ON CONFLICT DO NOTHING
    """
)
PARK = statement(
    """
    INSERT INTO kernel.parked (
        subscription, part, key, stream_seq, ce_id, subject, headers, payload, reason, attempts,
        next_attempt_at
    ) VALUES (
        :subscription, :part, :key, :stream_seq, :ce_id, :subject, :headers, :payload, :reason,
        :attempts, :next_attempt_at
    ) ON CONFLICT DO NOTHING
    """
)
DUE_HEADS = statement(
    """
    SELECT * FROM (
        SELECT DISTINCT ON (subscription, key) id, subscription, key, ce_id, subject, headers,
            payload, attempts, next_attempt_at
        FROM kernel.parked ORDER BY subscription, key, stream_seq
    ) AS head
    WHERE next_attempt_at <= now() ORDER BY next_attempt_at LIMIT 20
    """
)
COUNT_PARKED = statement("SELECT count(*) FROM kernel.parked")
TURN_SECONDS: Final = 60
"""How long a due event belongs to the process that begins with it, however that ends."""

TAKE_TURN = statement(
    """
    UPDATE kernel.parked SET next_attempt_at = now() + make_interval(secs => :seconds)
    WHERE id = :id AND next_attempt_at <= now()
    """
)
TAKE_PARKED = statement("DELETE FROM kernel.parked WHERE id = :id")
NOTE_FAILURE = statement(
    """
    UPDATE kernel.parked SET attempts = attempts + 1, reason = :reason,
        next_attempt_at = :next_attempt_at
    WHERE id = :id
    """
)


def subscription_name(subscriber: str, source: str) -> str:
    """Return the name of a subscription in positions, parked rows and logs."""
    return f"{subscriber}.{source}"


class Subscription:
    """One plugin's reactions to one source's facts, pulled by this process."""

    def __init__(
        self, runtime: PluginRuntime, connection: Connection, source: str, specs: list[HandlerSpec]
    ) -> None:
        self.name = subscription_name(runtime.plugin.name, source)
        self.source = source
        self._runtime = runtime
        self._specs = {spec.message.subject: spec for spec in specs if spec.message is not None}
        self._pullers = [
            Puller(
                connection,
                event_stream(source),
                f"{runtime.plugin.name}-react-{part}",
                _Part(self, part).handle,
                batch=4,
            )
            for part in range(PARTITIONS)
        ]

    async def start(self) -> None:
        """Make sure the positions exist, then pull."""
        await self._runtime.database.execute(
            ENSURE_POSITIONS, subscription=self.name, last=PARTITIONS - 1
        )
        for puller in self._pullers:
            puller.start()

    async def stop(self) -> None:
        """Give back what is not begun, finish the rest."""
        await asyncio.gather(*(puller.stop() for puller in self._pullers))

    def spec_of(self, subject: str) -> HandlerSpec | None:
        """Return the reaction to an event by its subject, or None when none is declared (any more)."""
        return self._specs.get(self._runtime.upcasters.today(subject))

    async def react(self, spec: HandlerSpec, data: bytes, envelope: Envelope, mark: Any) -> None:
        """Run the reaction once; AlreadyDone is success."""
        runtime = self._runtime
        with runtime.telemetry.handling(runtime.plugin.name, spec, envelope) as outcome:
            try:
                _, body = runtime.upcasters.read(f"evt.{envelope.type}", data)
                event = decoder(_message(spec).cls)(body)
                await runtime.run(spec, event, envelope, mark, parse_actor(envelope.actor), None)
            except ServiceError as error:
                outcome.fail(error.to_wire().code)
                raise
            except KeyIsParked:
                outcome.fail("kernel.key_is_parked")
                raise
            except Exception:
                outcome.defect()
                raise

    @property
    def runtime(self) -> PluginRuntime:
        """The plugin that reacts."""
        return self._runtime


class _Part:
    """One partition: what becomes of each delivery."""

    def __init__(self, subscription: Subscription, part: int) -> None:
        self._subscription = subscription
        self._part = part

    async def handle(self, delivery: Delivery) -> None:
        key = delivery.subject.rpartition(".")[2]
        mark = EventMark(self._subscription.name, self._part, delivery.stream_seq, key)
        spec = self._subscription.spec_of(delivery.subject)
        if spec is None or STREAM in delivery.headers:
            await self._leave(delivery)
            return
        if delivery.attempt > MAX_DELIVERIES:
            await self._park(delivery, mark, spec, "delivered too often: it may crash", failures=1)
            return
        try:
            envelope = read_envelope(delivery.headers)
        except UndecodableError as error:
            await self._park(delivery, mark, spec, reason_of(error), failures=None)
            return
        for wait in (*QUICK, None):
            try:
                await self._subscription.react(spec, delivery.data, envelope, mark)
            except KeyIsParked:
                await self._park(delivery, mark, spec, "behind an earlier event", failures=0)
                return
            except Exception as error:  # noqa: BLE001  whatever broke is retried or parked
                if wait is None or not is_worth_retrying(error):
                    failures = 1 if is_worth_retrying(error) else None
                    await self._park(delivery, mark, spec, reason_of(error), failures=failures)
                    return
                await asyncio.sleep(wait)
            else:
                await delivery.ack()
                return

    async def _leave(self, delivery: Delivery) -> None:
        """Leave an unknown event to a host that knows it, a newer version perhaps; at last, skip it.

        A forged one, which another stream was made to send, is skipped at once.
        """
        if STREAM in delivery.headers:
            log.critical("forged_fact", subject=delivery.subject, seq=delivery.stream_seq)
        elif delivery.attempt <= PATIENCE_WITH_UNKNOWN:
            await delivery.retry(1.0)
            return
        log.warning("unknown_event_skipped", subject=delivery.subject, seq=delivery.stream_seq)
        await delivery.ack()

    async def _park(
        self,
        delivery: Delivery,
        mark: EventMark,
        spec: HandlerSpec,
        reason: str,
        *,
        failures: int | None,
    ) -> None:
        """Move the event to the table, and the position past it, in one transaction; then let go."""
        try:
            await park(self._subscription, delivery, mark, spec, reason, failures)
        except AlreadyDone:
            await delivery.ack()
            return
        except (DatabaseUnavailable, asyncpg.PostgresError) as error:
            log.warning("park_failed", subscription=mark.subscription, error=repr(error))
            await delivery.retry(2.0)
            return
        await delivery.ack()


async def park(
    subscription: Subscription,
    delivery: Delivery,
    mark: EventMark,
    spec: HandlerSpec,
    reason: str,
    failures: int | None,
) -> None:
    """Park one delivery. ``failures`` None means that only an operator can release it.

    Whatever an event failed with while an earlier one of its key is parked, it waits behind that one.
    """
    database = subscription.runtime.database
    async with database.connection() as connection, connection.transaction():
        try:
            await mark.claim(connection)
        except KeyIsParked:
            failures, reason = 0, "behind an earlier event"
        identity = derived_uuid(datetime.now(UTC), mark.subscription, str(mark.stream_seq))
        row = _parked_row(delivery, mark, identity, reason, failures)
        await connection.execute(PARK.sql, *PARK.arguments(row))
        if failures != 0:
            copy = OutboxRow(
                "dead",
                identity,
                f"dlq.{subscription.runtime.plugin.name}.{spec.name}",
                dead_letter_headers(delivery.headers, origin=delivery.subject, reason=reason),
                row["payload"],
            )
            await connection.execute(INSERT_ROWS.sql, *insert_arguments([copy]))
    subscription.runtime.wake()
    log.error("event_parked", subscription=mark.subscription, key=mark.key, reason=reason)


def _parked_row(
    delivery: Delivery, mark: EventMark, identity: UUID, reason: str, failures: int | None
) -> dict[str, Any]:
    delay = None if failures is None else (delay_after(failures) if failures else 0.0)
    return {
        "subscription": mark.subscription,
        "part": mark.part,
        "key": mark.key,
        "stream_seq": mark.stream_seq,
        "ce_id": _identity(delivery.headers) or identity,
        "subject": delivery.subject,
        "headers": dict(delivery.headers),
        "payload": delivery.data.decode(errors="replace").replace("\x00", "\ufffd"),
        "reason": reason,
        "attempts": failures or 0,
        "next_attempt_at": None if delay is None else datetime.now(UTC) + timedelta(seconds=delay),
    }


class ParkedMark:
    """A parked event is handled when its row is gone."""

    def __init__(self, row_id: int) -> None:
        self._row_id = row_id

    async def claim(self, connection: asyncpg.Connection) -> None:
        """Take the row; raises AlreadyDone when another process did."""
        if (await connection.execute(TAKE_PARKED.sql, self._row_id)).endswith(" 0"):
            raise AlreadyDone

    async def settle(self, connection: asyncpg.Connection, answer: Answer | None) -> None:
        """The row went with the transaction."""


class ParkedSweeper:
    """Runs parked events again when their time has come, in order per key."""

    def __init__(self, runtime: PluginRuntime, subscriptions: list[Subscription]) -> None:
        self._runtime = runtime
        self._by_name = {subscription.name: subscription for subscription in subscriptions}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look for due events."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop looking; an event in hand goes back to the table."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                done = await self.sweep()
            except (ServiceError, asyncpg.PostgresError) as error:
                log.warning("sweep_failed", plugin=self._runtime.plugin.name, error=repr(error))
                done = 0
            await asyncio.sleep(0 if done else SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Try the oldest event of each key that is due; returns how many were handled."""
        database = self._runtime.database
        rows = await database.fetch(DUE_HEADS)
        waiting = await database.fetchval(COUNT_PARKED)
        self._runtime.telemetry.parked.labels(self._runtime.plugin.name).set(waiting)
        handled = 0
        for row in rows:
            subscription = self._by_name.get(row["subscription"])
            spec = subscription.spec_of(row["subject"]) if subscription is not None else None
            if subscription is not None and spec is not None:
                handled += await self._try(subscription, spec, row)
        return handled

    async def _try(
        self, subscription: Subscription, spec: HandlerSpec, row: Mapping[str, Any]
    ) -> bool:
        """Run one event, unless another process has begun with it: retries do not grow with hosts."""
        taken = await self._runtime.database.execute(TAKE_TURN, id=row["id"], seconds=TURN_SECONDS)
        if not taken:
            return False
        try:
            envelope = read_envelope(row["headers"])
            await subscription.react(spec, row["payload"].encode(), envelope, ParkedMark(row["id"]))
        except Exception as error:  # noqa: BLE001  whatever broke is noted on the row
            failures = row["attempts"] + 1
            delay = delay_after(failures) if is_worth_retrying(error) else None
            next_at = None if delay is None else datetime.now(UTC) + timedelta(seconds=delay)
            await self._runtime.database.execute(
                NOTE_FAILURE, id=row["id"], reason=reason_of(error), next_attempt_at=next_at
            )
            return False
        return True


def sources_of(specs: list[HandlerSpec]) -> dict[str, list[HandlerSpec]]:
    """Group reactions by the plugin whose facts they are about."""
    found: dict[str, list[HandlerSpec]] = {}
    for spec in specs:
        found.setdefault(_message(spec).owner, []).append(spec)
    return found


def _message(spec: HandlerSpec) -> MessageType:
    if spec.message is None:
        raise TypeError(f"{spec.name} has no message")
    return spec.message


def _identity(headers: Mapping[str, str]) -> Any:
    try:
        return read_envelope(headers).id
    except UndecodableError:
        return None
