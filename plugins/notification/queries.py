"""The caller's list of messages."""

from typing import Final

from sqlalchemy import bindparam, select

from kernel.context import Context, Row
from kernel.ids import to_uuid, to_wire
from kernel.paging import open_cursor, seal_cursor
from kernel.sql import statement
from plugins.notification.contract import ListNotifications, NotificationList, NotificationView
from plugins.notification.tables import notifications

_PAGE: Final = (
    select(
        notifications.c.notification_id,
        notifications.c.topic,
        notifications.c.title,
        notifications.c.body,
        notifications.c.created_at,
    )
    .where(notifications.c.user_id == bindparam("user_id"))
    .order_by(notifications.c.notification_id.desc())
    .limit(bindparam("rows"))
)
FIRST_PAGE = statement(_PAGE)
PAGE_AFTER = statement(_PAGE.where(notifications.c.notification_id < bindparam("after")))


async def list_notifications(query: ListNotifications, ctx: Context) -> NotificationList:
    """Give the caller's own messages, newest first: an id carries the time of what it tells of."""
    user_id, rows = to_uuid(ctx.actor.id), query.limit + 1
    if query.cursor is None:
        found = await ctx.db.fetch(FIRST_PAGE, user_id=user_id, rows=rows)
    else:
        (after,) = open_cursor(query.cursor, str)
        found = await ctx.db.fetch(PAGE_AFTER, user_id=user_id, after=to_uuid(after), rows=rows)
    items = tuple(_view(row) for row in found[: query.limit])
    has_more = len(found) > query.limit
    return NotificationList(
        items=items, next_cursor=seal_cursor(items[-1].notification_id) if has_more else None
    )


def _view(row: Row) -> NotificationView:
    return NotificationView(
        notification_id=to_wire("notification", row["notification_id"]),
        topic=row["topic"],
        title=row["title"],
        body=row["body"],
        created_at=row["created_at"],
    )
