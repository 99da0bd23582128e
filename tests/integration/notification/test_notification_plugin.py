"""Notification on real PostgreSQL: one message per event and reader, and one outcome per e-mail."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from bus.codec import encode
from bus.envelope import Envelope
from bus.errors import NoResponderError, RemoteError, ServiceError
from bus.message import describe
from kernel.effects import EffectRunner
from kernel.errors import Invalid, NotFound, NothingHappened
from kernel.ids import new_uuid7, to_wire
from kernel.money import Money
from kernel.plugin import Plugin
from kernel.providers import ProviderUnavailable
from kernel.quantity import Quantity
from kernel.sql import statement
from kernel.testing import PluginHarness, an_actor
from plugins.identity.contract import Contact, Contacts, ContactsOf, UserRegistered
from plugins.notification.contract import (
    ListNotifications,
    NoteDelivery,
    NotificationFailed,
    NotificationList,
    NotificationSent,
    SendEmail,
)
from plugins.notification.errors import (
    IllegalDeliveryMoveError,
    MailDeferredError,
    MailRefusedError,
    NotificationNotFoundError,
    ReaderUnavailableError,
)
from plugins.notification.mail import Mail, Mailer
from plugins.notification.plugin import plugin
from plugins.order.contract import (
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderedLine,
    OrderPlaced,
    SubOrderAssigned,
    SubOrderDelivered,
    SubOrderDispatched,
)
from plugins.payment.contract import PaymentCaptured, RefundSettled
from plugins.vendor.contract import Standing, StandingOf, VendorApproved, VendorRegistered

NOON = datetime(2026, 1, 5, 6, 30, tzinfo=UTC)
CANARY = "Canary-Name"
EFFECT_STATES = statement("SELECT state, possible_duplicates FROM kernel.effects")
ALL_TEXT = statement(
    "SELECT coalesce(string_agg(row_to_json(n)::text, ' '), '') FROM notifications AS n"
)


def an_id(prefix: str) -> str:
    return to_wire(prefix, new_uuid7())


BUYER, OWNER, STRANGER = an_id("user"), an_id("user"), an_id("user")
VENDOR, ORDER, PAYMENT = an_id("vendor"), an_id("order"), an_id("payment")
PART: dict[str, Any] = {
    "order_id": ORDER,
    "buyer_id": BUYER,
    "sub_order_id": an_id("suborder"),
    "vendor_id": VENDOR,
}
PLACED = OrderPlaced(
    order_id=ORDER,
    buyer_id=BUYER,
    payment_id=PAYMENT,
    payment_method="cod",
    reservation_id=an_id("reservation"),
    parts=(),
    pincode="500081",
    subtotal=Money(100_000),
    tax=Money(18_000),
    delivery=Money(5_000),
    discount=Money(0),
    total=Money(123_000),
    placed_at=NOON,
    pay_by=None,
)
CONFIRMED = OrderConfirmed(order_id=ORDER, buyer_id=BUYER, confirmed_at=NOON)
ASSIGNED = SubOrderAssigned(
    **PART,
    assignment=1,
    lines=(
        OrderedLine(
            offer_id=an_id("offer"),
            product_id=an_id("product"),
            hsn="2523",
            unit="bag",
            quantity=Quantity.of(20),
            unit_price=Money(38_000),
            amount=Money(760_000),
            tax_rate_bp=1800,
            tax=Money(136_800),
        ),
    ),
    accept_by=NOON,
)
TO_BUYER = (
    (UserRegistered(user_id=BUYER, roles=("buyer",)), "welcome"),
    (PLACED, "order_placed"),
    (CONFIRMED, "order_confirmed"),
    (SubOrderDispatched(**PART), "sub_order_dispatched"),
    (SubOrderDelivered(**PART), "sub_order_delivered"),
    (
        OrderCompleted(order_id=ORDER, buyer_id=BUYER, payment_id=PAYMENT, total=Money(123_000)),
        "order_completed",
    ),
    (
        OrderCancelled(order_id=ORDER, buyer_id=BUYER, payment_id=PAYMENT, reason="stock_short"),
        "order_cancelled",
    ),
    (
        PaymentCaptured(
            payment_id=PAYMENT,
            order_id=ORDER,
            buyer_id=BUYER,
            method="cod",
            amount=Money(123_000),
        ),
        "payment_captured",
    ),
    (
        RefundSettled(
            payment_id=PAYMENT,
            order_id=ORDER,
            buyer_id=BUYER,
            refund_id=an_id("refund"),
            amount=Money(123_000),
        ),
        "refund_settled",
    ),
)


class MailerOfTest:
    """A Mailer that keeps what it is given, or fails as it is told."""

    def __init__(self) -> None:
        self.taken: list[Mail] = []
        self.troubles: list[Exception] = []

    async def send(self, mail: Mail) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        self.taken.append(mail)


def contacts_of(query: ContactsOf) -> Contacts:
    found = (
        Contact(user_id=user, name=CANARY, email="canary@x.example") for user in query.user_ids
    )
    return Contacts(contacts=tuple(found))


def standing_of(query: StandingOf) -> Standing:
    return Standing(
        vendor_id=query.vendor_id,
        owner_id=OWNER,
        name="Sri Sai Cement",
        status="approved",
        state_code="36",
    )


@pytest.fixture
def mailer() -> MailerOfTest:
    return MailerOfTest()


@pytest.fixture
async def harness(database: str, mailer: MailerOfTest) -> AsyncIterator[PluginHarness]:
    answers: dict[Any, Callable[[Any], Any]] = {ContactsOf: contacts_of, StandingOf: standing_of}
    async with PluginHarness.open(
        plugin, database, answers=answers, resources={Mailer: mailer}
    ) as opened:
        yield opened


async def messages_of(harness: PluginHarness, user_id: str, **query: Any) -> NotificationList:
    return await harness.ask(ListNotifications(**query), actor=an_actor(user_id))


async def an_intent(harness: PluginHarness) -> SendEmail:
    await harness.deliver(CONFIRMED)
    return (await harness.said(SendEmail))[-1]


class Intent:
    """One intent on its way through the kernel's effect runner, over and over."""

    def __init__(self, harness: PluginHarness, intent: SendEmail) -> None:
        (self._spec,) = plugin.of_kind("effect")
        self._runner = EffectRunner(harness.runtime)
        self._payload = encode(intent)
        self.envelope = Envelope(
            id=new_uuid7(),
            type=describe(SendEmail).full_name,
            source="notification",
            time=NOON,
            correlation_id="test",
        )

    async def run(self) -> ServiceError | None:
        try:
            await self._runner.run(self._spec, self._payload, self.envelope)
        except ServiceError as error:
            return error
        return None


@pytest.mark.parametrize(("event", "topic"), TO_BUYER)
async def test_each_event_tells_its_reader_once_even_when_it_is_delivered_twice(
    harness: PluginHarness, event: Any, topic: str
) -> None:
    await harness.deliver(event, times=2)

    (message,) = (await messages_of(harness, BUYER)).items
    (intent,) = await harness.said(SendEmail)
    assert message.topic == topic
    assert intent.notification_id == message.notification_id


async def test_an_event_that_comes_again_after_its_mark_was_lost_is_told_once(
    harness: PluginHarness,
) -> None:
    await harness.deliver(PLACED, key="the same event")

    await harness.deliver(PLACED, key="the same event")

    assert len((await messages_of(harness, BUYER)).items) == 1
    assert len(await harness.said(SendEmail)) == 1


async def test_the_vendors_owner_learns_of_a_new_order_from_the_facts_alone(
    harness: PluginHarness,
) -> None:
    await harness.deliver(VendorRegistered(vendor_id=VENDOR, owner_id=OWNER))
    harness.neighbours.answers.clear()

    await harness.deliver(ASSIGNED, times=2)

    (message,) = (await messages_of(harness, OWNER)).items
    assert message.topic == "sub_order_assigned"
    assert "20 bag" in message.body
    assert (await messages_of(harness, BUYER)).items == ()


async def test_approval_alone_tells_whose_a_vendor_is(harness: PluginHarness) -> None:
    await harness.deliver(VendorApproved(vendor_id=VENDOR, owner_id=OWNER), times=2)
    harness.neighbours.answers.clear()

    await harness.deliver(ASSIGNED)

    assert len((await messages_of(harness, OWNER)).items) == 1


async def test_the_owner_of_an_unknown_vendor_is_asked_for_once_and_remembered(
    harness: PluginHarness,
) -> None:
    await harness.deliver(ASSIGNED)

    await harness.deliver(ASSIGNED)

    assert [type(question) for question in harness.neighbours.asked] == [StandingOf]
    assert len((await messages_of(harness, OWNER)).items) == 2


async def test_an_unknown_vendors_message_waits_until_vendor_can_be_asked(
    harness: PluginHarness,
) -> None:
    del harness.neighbours.answers[StandingOf]
    with pytest.raises(NoResponderError):
        await harness.deliver(ASSIGNED)
    harness.neighbours.answers[StandingOf] = standing_of

    await harness.deliver(ASSIGNED)

    assert len((await messages_of(harness, OWNER)).items) == 1


async def test_a_message_and_its_intent_hold_nothing_personal(harness: PluginHarness) -> None:
    intent = await an_intent(harness)

    outcome = await harness.perform(intent)

    stored = await harness.runtime.database.fetchval(ALL_TEXT)
    spoken = b"".join(row.payload for row in await harness.spoken())
    assert "anary" not in stored
    assert b"anary" not in spoken
    assert outcome is not None
    assert b"anary" not in encode(outcome)


async def test_a_list_shows_only_ones_own_messages(harness: PluginHarness) -> None:
    await harness.deliver(CONFIRMED)

    assert (await messages_of(harness, STRANGER)).items == ()


async def test_a_list_is_refused_without_a_log_in(harness: PluginHarness) -> None:
    with pytest.raises(ServiceError) as refused:
        await harness.ask(ListNotifications())

    assert refused.value.to_wire().status == 401


async def test_a_list_pages_from_the_newest_to_the_oldest(harness: PluginHarness) -> None:
    await harness.deliver(PLACED)
    await harness.deliver(CONFIRMED, key="an identity made under a key tells no time")
    await harness.deliver(SubOrderDelivered(**PART))

    first = await messages_of(harness, BUYER, limit=2)
    second = await messages_of(harness, BUYER, limit=2, cursor=first.next_cursor)

    topics = [message.topic for message in first.items + second.items]
    assert len(first.items) == 2
    assert topics == ["sub_order_delivered", "order_confirmed", "order_placed"]
    assert second.next_cursor is None


@pytest.mark.parametrize("cursor", ["nonsense", "WyJ4Il0", "WzFd"])
async def test_a_made_up_cursor_is_refused(harness: PluginHarness, cursor: str) -> None:
    with pytest.raises(Invalid):
        await messages_of(harness, BUYER, cursor=cursor)


async def test_an_e_mail_goes_to_its_reader_by_name(
    harness: PluginHarness, mailer: MailerOfTest
) -> None:
    intent = await an_intent(harness)

    outcome = await harness.perform(intent)

    (sent,) = mailer.taken
    assert outcome == NoteDelivery(notification_id=intent.notification_id, outcome="sent")
    assert (sent.to_name, sent.to_address) == (CANARY, "canary@x.example")
    assert sent.subject == "Your order is confirmed"
    assert sent.body.startswith(f"Hello {CANARY},\n\nYour order {ORDER}")
    assert str(UUID(sent.intent_id)) == sent.intent_id


async def test_an_erased_reader_is_an_outcome(harness: PluginHarness, mailer: MailerOfTest) -> None:
    intent = await an_intent(harness)
    harness.neighbours.answers[ContactsOf] = lambda _query: Contacts(contacts=())

    outcome = await harness.perform(intent)

    assert outcome == NoteDelivery(
        notification_id=intent.notification_id, outcome="failed", reason="no_address"
    )
    assert mailer.taken == []


async def test_a_refused_e_mail_is_an_outcome(harness: PluginHarness, mailer: MailerOfTest) -> None:
    intent = await an_intent(harness)
    mailer.troubles = [MailRefusedError(550)]

    outcome = await harness.perform(intent)

    assert outcome == NoteDelivery(
        notification_id=intent.notification_id, outcome="failed", reason="refused", reply_code=550
    )


async def test_while_identity_is_away_nothing_has_happened(harness: PluginHarness) -> None:
    intent = await an_intent(harness)
    del harness.neighbours.answers[ContactsOf]

    with pytest.raises(ReaderUnavailableError) as away:
        await harness.perform(intent)

    assert isinstance(away.value, NothingHappened)


async def test_a_refusal_by_identity_is_not_tried_again(harness: PluginHarness) -> None:
    def refuse(_query: ContactsOf) -> Contacts:
        raise Invalid

    intent = await an_intent(harness)
    harness.neighbours.answers[ContactsOf] = refuse

    with pytest.raises(RemoteError):
        await harness.perform(intent)


async def test_an_intent_for_no_message_is_a_defect(harness: PluginHarness) -> None:
    with pytest.raises(NotificationNotFoundError):
        await harness.perform(SendEmail(notification_id=an_id("notification")))


async def test_however_often_an_e_mail_is_put_off_it_is_sent_once_with_one_message_id(
    harness: PluginHarness, mailer: MailerOfTest
) -> None:
    intent = Intent(harness, await an_intent(harness))
    mailer.troubles = [MailDeferredError(), MailDeferredError(), MailDeferredError()]

    errors = [await intent.run() for _ in range(5)]

    assert [type(error) for error in errors[:3]] == [MailDeferredError] * 3
    assert errors[3:] == [None, None]
    assert [sent.intent_id for sent in mailer.taken] == [str(intent.envelope.id)]
    assert len(await harness.said(NotificationSent)) == 1


async def test_an_e_mail_whose_receipt_was_lost_is_sent_once_more_and_counted(
    harness: PluginHarness, mailer: MailerOfTest
) -> None:
    intent = Intent(harness, await an_intent(harness))
    mailer.troubles = [ProviderUnavailable()]

    lost = await intent.run()
    repeated = await intent.run()

    (row,) = [
        row
        for row in await harness.runtime.database.fetch(EFFECT_STATES)
        if row["possible_duplicates"]
    ]
    assert isinstance(lost, ProviderUnavailable)
    assert repeated is None
    assert row["state"] == "done"
    assert len(mailer.taken) == 1


async def test_a_sent_e_mail_is_noted_once(harness: PluginHarness) -> None:
    intent = await an_intent(harness)
    note = NoteDelivery(notification_id=intent.notification_id, outcome="sent")

    await harness.tell(note, times=2)
    await harness.tell(note)

    (fact,) = await harness.said(NotificationSent)
    assert (fact.notification_id, fact.user_id) == (intent.notification_id, BUYER)
    assert (fact.topic, fact.channel) == ("order_confirmed", "email")


async def test_a_failed_e_mail_is_noted_once_with_its_reason(harness: PluginHarness) -> None:
    intent = await an_intent(harness)
    note = NoteDelivery(
        notification_id=intent.notification_id, outcome="failed", reason="refused", reply_code=550
    )

    await harness.tell(note, times=2)

    (fact,) = await harness.said(NotificationFailed)
    assert fact.reason == "refused"


async def test_an_e_mail_that_was_sent_cannot_have_failed(harness: PluginHarness) -> None:
    intent = await an_intent(harness)
    await harness.tell(NoteDelivery(notification_id=intent.notification_id, outcome="sent"))

    with pytest.raises(IllegalDeliveryMoveError):
        await harness.tell(
            NoteDelivery(
                notification_id=intent.notification_id, outcome="failed", reason="no_address"
            )
        )

    assert await harness.said(NotificationFailed) == []


async def test_the_outcome_of_no_message_is_refused(harness: PluginHarness) -> None:
    with pytest.raises(NotFound):
        await harness.tell(NoteDelivery(notification_id=an_id("notification"), outcome="sent"))


async def test_no_user_may_note_a_delivery(harness: PluginHarness) -> None:
    intent = await an_intent(harness)
    note = NoteDelivery(notification_id=intent.notification_id, outcome="sent")
    harness.runtime.askers = {}

    with pytest.raises(ServiceError) as refused:
        await harness.ask(note, actor=an_actor(BUYER, roles=("admin",)))

    assert refused.value.to_wire().status == 403


def test_the_declaration_names_a_reaction_for_every_event_it_is_tested_with() -> None:
    declared: Plugin = plugin
    events = {type(event) for event, _ in TO_BUYER}

    reactions = {spec.message.cls for spec in declared.of_kind("react") if spec.message}

    assert reactions == events | {SubOrderAssigned, VendorRegistered, VendorApproved}
