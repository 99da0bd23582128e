"""The published language of notification: messages to people, and what became of them."""

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from bus.message import Command, Event, Nothing, Query, View
from kernel.ids import id_meta
from kernel.paging import Cursor, Limit

OWNER: Final = "notification"

NotificationId = Annotated[str, id_meta("notification")]
UserId = Annotated[str, id_meta("user")]
Channel = Literal["email", "in_app"]
Topic = Literal[
    "welcome",
    "order_placed",
    "order_confirmed",
    "sub_order_assigned",
    "sub_order_dispatched",
    "sub_order_delivered",
    "order_completed",
    "order_cancelled",
    "payment_captured",
    "refund_settled",
]
FailureReason = Literal["no_address", "refused"]


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


class SendEmail(Command[Nothing], frozen=True, kw_only=True):
    """Send a message by e-mail (effect). The address is asked for when it is sent."""

    notification_id: NotificationId


class NoteDelivery(Command[Nothing], frozen=True, kw_only=True):
    """Note what became of an e-mail (told by its effect). Noting the same twice is the same as once."""

    notification_id: NotificationId
    outcome: Literal["sent", "failed"]
    reason: FailureReason | None = None
    """Why it failed."""
    reply_code: Annotated[int, Meta(ge=200, le=599)] | None = None
    """What the mail server answered to a refused message."""


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
    reason: FailureReason
