"""The caller's list of messages."""

from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, select, tuple_

from kernel.context import Context, Row
from kernel.errors import invalid_field
from kernel.ids import to_uuid, to_wire
from kernel.paging import open_cursor, seal_cursor
from kernel.sql import statement
from plugins.notification.contract import ListNotifications, NotificationList, NotificationView
from plugins.notification.tables import notifications

END_OF_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)
LAST_ID: Final = UUID(int=(1 << 128) - 1)

PAGE_BEFORE: Final = statement(
    select(
        notifications.c.notification_id,
        notifications.c.topic,
        notifications.c.title,
        notifications.c.body,
        notifications.c.created_at,
    )
    .where(
        notifications.c.user_id == bindparam("user_id"),
        tuple_(notifications.c.created_at, notifications.c.notification_id)
        < tuple_(
            bindparam("before", type_=notifications.c.created_at.type),
            bindparam("before_id", type_=notifications.c.notification_id.type),
        ),
    )
    .order_by(notifications.c.created_at.desc(), notifications.c.notification_id.desc())
    .limit(bindparam("rows"))
)


async def list_notifications(query: ListNotifications, ctx: Context) -> NotificationList:
    """Give the caller's own messages, newest first: by the time of writing, for ids made under a key tell none."""
    before, before_id = _position(query.cursor)
    found = await ctx.db.fetch(
        PAGE_BEFORE,
        user_id=to_uuid(ctx.actor.id),
        before=before,
        before_id=before_id,
        rows=query.limit + 1,
    )
    items = tuple(_view(row) for row in found[: query.limit])
    has_more = len(found) > query.limit
    return NotificationList(items=items, next_cursor=_cursor(items[-1]) if has_more else None)


def _position(cursor: str | None) -> tuple[datetime, UUID]:
    if cursor is None:
        return END_OF_TIME, LAST_ID
    created_at, identity = open_cursor(cursor, datetime, str)
    if created_at.tzinfo is None:
        raise invalid_field("cursor", "is not a cursor that this list gave")
    return created_at, to_uuid(identity)


def _cursor(last: NotificationView) -> str:
    return seal_cursor(last.created_at.isoformat(), last.notification_id)


def _view(row: Row) -> NotificationView:
    return NotificationView(
        notification_id=to_wire("notification", row["notification_id"]),
        topic=row["topic"],
        title=row["title"],
        body=row["body"],
        created_at=row["created_at"],
    )
