"""The published language of notification: messages to people, and what became of them."""

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from bus.message import Event, Query, View
from kernel.ids import id_meta
from kernel.paging import Cursor, Limit

OWNER: Final = "notification"

NotificationId = Annotated[str, id_meta("notification")]
UserId = Annotated[str, id_meta("user")]
Channel = Literal["email", "in_app"]


class NotificationView(View, frozen=True, kw_only=True):
    """A message in the caller's list."""

    notification_id: NotificationId
    topic: str
    title: str
    body: str
    created_at: datetime


class NotificationList(View, frozen=True, kw_only=True):
    """A page of messages, newest first."""

    items: tuple[NotificationView, ...]
    next_cursor: str | None = None


class ListNotifications(Query[NotificationList], frozen=True, kw_only=True):
    """List the caller's messages."""

    limit: Limit = 20
    cursor: Cursor | None = None


class NotificationSent(Event, frozen=True, kw_only=True):
    """A message has been handed to its channel."""

    KEY: ClassVar[str] = "notification_id"

    notification_id: NotificationId
    user_id: UserId
    topic: str
    channel: Channel


class NotificationFailed(Event, frozen=True, kw_only=True):
    """A message could not be handed over, for good."""

    KEY: ClassVar[str] = "notification_id"

    notification_id: NotificationId
    user_id: UserId
    topic: str
    channel: Channel
    reason: str
