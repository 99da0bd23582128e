"""The write side of notification: messages, their deliveries, and whose a vendor is."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, select, update
from sqlalchemy.dialects.postgresql import insert

from kernel.context import Reader, Row, Tx
from kernel.ids import to_uuid, to_wire
from kernel.sql import statement
from plugins.notification.domain import QUEUED, Delivery
from plugins.notification.errors import NotificationNotFoundError
from plugins.notification.tables import notifications, vendor_owners

_DELIVERY: Final = select(
    notifications.c.notification_id,
    notifications.c.user_id,
    notifications.c.topic,
    notifications.c.state,
    notifications.c.reason,
    notifications.c.reply_code,
    notifications.c.settled_at,
).where(notifications.c.notification_id == bindparam("notification_id"))

ADD_NOTIFICATION = statement(insert(notifications).on_conflict_do_nothing())
DELIVERY_TO_CHANGE = statement(_DELIVERY.with_for_update())
SAVE_DELIVERY = statement(
    update(notifications)
    .where(notifications.c.notification_id == bindparam("known_id"))
    .values(
        state=bindparam("state"),
        reason=bindparam("reason"),
        reply_code=bindparam("reply_code"),
        settled_at=bindparam("settled_at"),
    )
)
LETTER = statement(
    select(
        notifications.c.user_id,
        notifications.c.topic,
        notifications.c.locale,
        notifications.c.title,
        notifications.c.body,
        notifications.c.created_at,
    ).where(notifications.c.notification_id == bindparam("notification_id"))
)
OWNER_OF_VENDOR = statement(
    select(vendor_owners.c.owner_id).where(vendor_owners.c.vendor_id == bindparam("vendor_id"))
)
_owner: Final = insert(vendor_owners)
KEEP_OWNER = statement(
    _owner.on_conflict_do_update(
        index_elements=["vendor_id"], set_={"owner_id": _owner.excluded.owner_id}
    )
)


class NewNotification(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it is first written."""

    notification_id: UUID
    event_id: UUID
    user_id: str
    topic: str
    locale: str
    title: str
    body: str
    created_at: datetime


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What an e-mail is made of, but for the name and address of its reader."""

    user_id: str
    topic: str
    locale: str
    title: str
    body: str
    created_at: datetime


async def letter_of(db: Reader, notification_id: str) -> Letter:
    """Return what to send; raises NotificationNotFoundError."""
    row = await db.fetchrow(LETTER, notification_id=to_uuid(notification_id))
    if row is None:
        raise NotificationNotFoundError
    return Letter(
        user_id=to_wire("user", row["user_id"]),
        topic=row["topic"],
        locale=row["locale"],
        title=row["title"],
        body=row["body"],
        created_at=row["created_at"],
    )


async def find_owner(db: Reader, vendor_id: str) -> str | None:
    """Return whose a vendor is, or None when no fact has told it yet."""
    owner = await db.fetchval(OWNER_OF_VENDOR, vendor_id=to_uuid(vendor_id))
    return None if owner is None else to_wire("user", owner)


class NotificationStore:
    """Messages and owners within a transaction."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def add(self, new: NewNotification) -> bool:
        """Write a message; False when this event has told this person so before."""
        added = await self._tx.execute(
            ADD_NOTIFICATION,
            notification_id=new.notification_id,
            event_id=new.event_id,
            user_id=to_uuid(new.user_id),
            topic=new.topic,
            locale=new.locale,
            title=new.title,
            body=new.body,
            state=QUEUED,
            reason=None,
            reply_code=None,
            created_at=new.created_at,
            settled_at=None,
        )
        return added == 1

    async def delivery(self, notification_id: str) -> Delivery:
        """Load a delivery and lock it; raises NotificationNotFoundError."""
        row = await self._tx.fetchrow(DELIVERY_TO_CHANGE, notification_id=to_uuid(notification_id))
        if row is None:
            raise NotificationNotFoundError
        return _delivery(row)

    async def save(self, delivery: Delivery) -> None:
        """Write a delivery back and tell its facts."""
        await self._tx.execute(
            SAVE_DELIVERY,
            known_id=to_uuid(delivery.notification_id),
            state=delivery.state,
            reason=delivery.reason,
            reply_code=delivery.reply_code,
            settled_at=delivery.settled_at,
        )
        for fact in delivery.facts:
            self._tx.emit(fact)

    async def keep_owner(self, vendor_id: str, owner_id: str) -> None:
        """Remember whose a vendor is."""
        await self._tx.execute(KEEP_OWNER, vendor_id=to_uuid(vendor_id), owner_id=to_uuid(owner_id))


def _delivery(row: Row) -> Delivery:
    return Delivery(
        notification_id=to_wire("notification", row["notification_id"]),
        user_id=to_wire("user", row["user_id"]),
        topic=row["topic"],
        state=row["state"],
        reason=row["reason"],
        reply_code=row["reply_code"],
        settled_at=row["settled_at"],
    )
