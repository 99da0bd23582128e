"""What notification does when something happened: one message per event and reader."""

from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

from bus.message import Event, Nothing
from kernel.context import Context, Tx
from kernel.ids import derived_uuid, time_of, to_wire
from plugins.identity.contract import UserRegistered
from plugins.notification.contract import NoteDelivery, SendEmail, Topic
from plugins.notification.rendering import DEFAULT_LOCALE, Templates
from plugins.notification.store import NewNotification, NotificationStore, find_owner
from plugins.order.contract import SubOrderAssigned
from plugins.vendor.contract import StandingOf, VendorApproved, VendorRegistered


class TellsBuyer(Protocol):
    """An event that says who its buyer is."""

    @property
    def buyer_id(self) -> str:
        """The user to be told."""


async def welcome(event: UserRegistered, ctx: Context) -> None:
    """Welcome a new user."""
    async with ctx.transaction() as tx:
        await _notify(tx, ctx, "welcome", event.user_id, event)


def to_buyer(topic: Topic) -> Callable[[TellsBuyer, Context], Awaitable[None]]:
    """Return the reaction that tells an event to its buyer."""

    async def tell_buyer(event: TellsBuyer, ctx: Context) -> None:
        async with ctx.transaction() as tx:
            await _notify(tx, ctx, topic, event.buyer_id, event)

    return tell_buyer


async def to_vendor(event: SubOrderAssigned, ctx: Context) -> None:
    """Tell a vendor's owner of a new order; the owner is asked for while no fact has told it."""
    known = await find_owner(ctx.db, event.vendor_id)
    owner_id = known or (await ctx.ask(StandingOf(vendor_id=event.vendor_id))).owner_id
    async with ctx.transaction() as tx:
        await _notify(tx, ctx, "sub_order_assigned", owner_id, event)
        if known is None:
            await NotificationStore(tx).keep_owner(event.vendor_id, owner_id)


async def keep_owner(event: VendorRegistered | VendorApproved, ctx: Context) -> None:
    """Remember whose a vendor is."""
    async with ctx.transaction() as tx:
        await NotificationStore(tx).keep_owner(event.vendor_id, event.owner_id)


async def note_delivery(command: NoteDelivery, ctx: Context) -> Nothing:
    """Note what became of an e-mail."""
    async with ctx.transaction() as tx:
        delivery = await NotificationStore(tx).delivery(command.notification_id)
        if command.outcome == "sent":
            delivery.sent(at=ctx.now())
        else:
            delivery.failed(command.reason or "refused", command.reply_code, at=ctx.now())
        await NotificationStore(tx).save(delivery)
    return Nothing()


def notification_uuid(event_id: UUID, user_id: str, topic: Topic) -> UUID:
    """Return the id of the one message that an event has for a reader on a topic."""
    return derived_uuid(time_of(event_id), str(event_id), user_id, topic)


async def _notify(
    tx: Tx, ctx: Context, topic: Topic, user_id: str, event: Event | TellsBuyer
) -> None:
    text = ctx.use(Templates).render(topic, DEFAULT_LOCALE, event)
    new = NewNotification(
        notification_id=notification_uuid(ctx.message_id, user_id, topic),
        event_id=ctx.message_id,
        user_id=user_id,
        topic=topic,
        locale=DEFAULT_LOCALE,
        title=text.title,
        body=text.body,
        created_at=ctx.now(),
    )
    if await NotificationStore(tx).add(new):
        tx.tell(SendEmail(notification_id=to_wire("notification", new.notification_id)))
