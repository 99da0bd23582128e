"""Webhooks as they were received: stored before they are handled, each event once."""

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import bindparam, select, update

from kernel.context import Row, Tx
from kernel.ids import to_uuid, to_wire
from kernel.sql import statement
from plugins.payment.tables import webhooks_received

Outcome = Literal["handled", "ignored", "unmatched", "mismatched", "unreadable"]

KEEP_WEBHOOK = statement(
    """
    INSERT INTO webhooks_received (webhook_id, event_id, body, outcome, received_at)
    VALUES (:webhook_id, :event_id, :body, 'received', :received_at)
    ON CONFLICT (event_id) DO NOTHING
    """
)
LOCKED_WEBHOOK = statement(
    select(webhooks_received)
    .where(webhooks_received.c.webhook_id == bindparam("webhook_id"))
    .with_for_update()
)
SETTLE_WEBHOOK = statement(
    update(webhooks_received)
    .where(webhooks_received.c.webhook_id == bindparam("key"))
    .values(
        outcome=bindparam("outcome"),
        event=bindparam("event"),
        provider_order_id=bindparam("provider_order_id"),
        handled_at=bindparam("handled_at"),
    )
)
UNMATCHED_WEBHOOKS = statement(
    """
    SELECT webhook_id FROM webhooks_received
    WHERE outcome = 'unmatched' AND provider_order_id = :provider_order_id
    ORDER BY received_at, webhook_id
    """
)
FORGET_BODIES = statement(
    "UPDATE webhooks_received SET body = NULL WHERE body IS NOT NULL AND received_at < :before"
)


class WebhookStore:
    """The table ``webhooks_received``, in the handler's transaction."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def keep(self, webhook_id: str, event_id: str, body: bytes, at: datetime) -> bool:
        """Store a webhook as it came; tells whether its event is new."""
        count = await self._tx.execute(
            KEEP_WEBHOOK,
            webhook_id=to_uuid(webhook_id),
            event_id=event_id,
            body=body,
            received_at=at,
        )
        return bool(count)

    async def unhandled(self, webhook_id: str) -> Row | None:
        """Return a webhook that waits for its handling, locked; None when there is nothing left to do."""
        row = await self._tx.fetchrow(LOCKED_WEBHOOK, webhook_id=to_uuid(webhook_id))
        if row is None or row["body"] is None:
            return None
        return row if row["outcome"] in ("received", "unmatched") else None

    async def settle(
        self,
        webhook_id: str,
        outcome: Outcome,
        *,
        at: datetime,
        event: str | None,
        provider_order_id: str | None = None,
    ) -> None:
        """Note what became of a webhook."""
        await self._tx.execute(
            SETTLE_WEBHOOK,
            key=to_uuid(webhook_id),
            outcome=outcome,
            event=event,
            provider_order_id=provider_order_id,
            handled_at=at,
        )

    async def unmatched(self, provider_order_id: str) -> tuple[str, ...]:
        """Return the webhooks that came before their order was known, oldest first."""
        rows = await self._tx.fetch(UNMATCHED_WEBHOOKS, provider_order_id=provider_order_id)
        return tuple(to_wire("webhook", row["webhook_id"]) for row in rows)

    async def forget_bodies(self, *, now: datetime, kept: timedelta) -> None:
        """Drop the bodies of old webhooks: what the provider wrote of the buyer there is personal."""
        await self._tx.execute(FORGET_BODIES, before=now - kept)
