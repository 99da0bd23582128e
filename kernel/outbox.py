"""The outbox: what a transaction says, written with it, published after it by the relay.

Rows go in by the last statement before COMMIT, so id order is causal order.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from bus.codec import encode
from bus.envelope import Envelope
from bus.message import Command, Event, describe, one_token
from kernel.ids import derived_uuid, time_of
from kernel.sql import statement

OutboxKind = Literal["fact", "tell", "timer", "cancel", "dead"]

SCHEDULE = "Nats-Schedule"
SCHEDULE_TARGET = "Nats-Schedule-Target"

INSERT_ROWS = statement(
    """
    WITH said AS (
        SELECT * FROM unnest(
            cast(:kinds AS text[]), cast(:ce_ids AS uuid[]), cast(:subjects AS text[]),
            cast(:headers AS text[]), cast(:payloads AS text[]), cast(:effects AS text[])
        ) WITH ORDINALITY AS row (kind, ce_id, subject, headers, payload, effect, place)
    ), intended AS (
        INSERT INTO kernel.effects (intent_id, effect, state)
        SELECT ce_id, effect, 'intended' FROM said WHERE effect IS NOT NULL
        ON CONFLICT DO NOTHING
    )
    INSERT INTO kernel.outbox (kind, ce_id, subject, headers, payload)
    SELECT kind, ce_id, subject, headers::jsonb, payload FROM said ORDER BY place
    """
)
"""The last statement before COMMIT: all that is said, and a row for each intent among it."""


class OutboxRow(NamedTuple):
    """One thing to publish."""

    kind: OutboxKind
    ce_id: UUID
    subject: str
    headers: Mapping[str, str]
    payload: str
    effect: str | None = None
    """The effect that the row is the intent of."""


class Cause(NamedTuple):
    """Why a message is made: its identity and the chain before it."""

    message_id: UUID
    handler: str
    source: str
    correlation_id: str
    actor: str
    traceparent: str


class OutboxWriter:
    """Collects what one handling says, with ids derived from its cause."""

    def __init__(self, cause: Cause, now: datetime) -> None:
        self._cause = cause
        self._now = now
        self._ordinal = 0
        self.rows: list[OutboxRow] = []

    def emit(self, event: Event, version: int | None) -> None:
        """Add a fact."""
        described = describe(type(event))
        key = described.key_of(event)
        envelope = self._envelope(described.full_name, subject=key, version=version)
        self._add("fact", envelope, described.event_subject(key), event)

    def tell(self, command: Command[Any], *, is_intent: bool = False) -> Envelope:
        """Add a durable command, or the intent of an effect; returns its envelope."""
        described = describe(type(command))
        envelope = self._envelope(described.full_name)
        effect = described.name if is_intent else None
        self._add("tell", envelope, described.work_subject, command, effect=effect)
        return envelope

    def later(self, command: Command[Any], at: datetime, timer: str) -> None:
        """Add a timer; the schedule's subject carries its id, so that a second one replaces it."""
        described = describe(type(command))
        envelope = self._envelope(described.full_name)
        headers = {
            SCHEDULE: f"@at {at.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}",
            SCHEDULE_TARGET: described.work_subject,
        }
        self._add("timer", envelope, timer_subject(described.owner, timer), command, headers)

    def cancel(self, owner: str, timer: str) -> None:
        """Add the cancelling of a timer."""
        envelope = self._envelope("kernel.cancel_timer.v1")
        headers = envelope.to_headers()
        self.rows.append(
            OutboxRow("cancel", envelope.id, timer_subject(owner, timer), headers, "{}")
        )

    def _envelope(self, kind: str, *, subject: str = "", version: int | None = None) -> Envelope:
        cause = self._cause
        self._ordinal += 1
        identity = derived_uuid(
            time_of(cause.message_id),
            str(cause.message_id),
            cause.handler,
            "out",
            str(self._ordinal),
        )
        return Envelope(
            id=identity,
            type=kind,
            source=cause.source,
            time=self._now,
            correlation_id=cause.correlation_id,
            subject=subject,
            causation_id=str(cause.message_id),
            traceparent=cause.traceparent,
            actor=cause.actor,
            version=version,
            is_keyed=True,
        )

    def _add(
        self,
        kind: OutboxKind,
        envelope: Envelope,
        subject: str,
        message: object,
        more: Mapping[str, str] | None = None,
        *,
        effect: str | None = None,
    ) -> None:
        headers = envelope.to_headers()
        if more:
            headers.update(more)
        text = encode(message).decode()
        self.rows.append(OutboxRow(kind, envelope.id, subject, headers, text, effect))


def timer_subject(owner: str, timer: str) -> str:
    """Return the subject that holds one timer's schedule; raises ValueError for a wild id."""
    return f"work.{owner}.timer.{one_token(timer)}"


def insert_arguments(rows: Sequence[OutboxRow]) -> list[Any]:
    """Return the arguments of ``INSERT_ROWS`` for asyncpg."""
    return INSERT_ROWS.arguments(
        {
            "kinds": [row.kind for row in rows],
            "ce_ids": [row.ce_id for row in rows],
            "subjects": [row.subject for row in rows],
            "headers": [encode(row.headers).decode() for row in rows],
            "payloads": [row.payload for row in rows],
            "effects": [row.effect for row in rows],
        }
    )
