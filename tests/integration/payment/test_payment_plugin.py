"""Payment on a real database against the stand-in: every message twice, webhooks late, doubled and forged."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import msgspec
import pytest

from bus.actor import Actor
from bus.errors import ServiceError
from kernel.ids import new_uuid7, to_wire
from kernel.money import Money
from kernel.sql import statement
from kernel.testing import PluginHarness, an_actor
from plugins.order.contract import SubOrderCancelled
from plugins.payment.contract import (
    CancelPayment,
    CollectCash,
    CreatePayment,
    GetPayment,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentFailed,
    PaymentRequested,
    RefundFailed,
    RefundRequested,
    RefundSettled,
)
from plugins.payment.intents import (
    AskProvider,
    CaptureAtProvider,
    NoteRefund,
    OpenAtProvider,
    RefundAtProvider,
)
from plugins.payment.plugin import plugin
from tests.integration.payment.conftest import StandIn, settings_for
from tests.integration.payment.market import BUYER, RUPEES_500, Market, eventually, webhook_listener

STRANGER = to_wire("user", new_uuid7())
KEPT = statement("SELECT outcome, body FROM webhooks_received ORDER BY received_at, webhook_id")
CHANGE_FACT = statement("UPDATE payment_facts SET amount = 1")
DROP_LINES = statement("DELETE FROM ledger_lines")
ADD_CROOKED_LINE = statement(
    """
    INSERT INTO ledger_lines (entry_id, account, amount, currency)
    SELECT entry_id, 'refunds_payable', 1, 'INR' FROM ledger_entries LIMIT 1
    """
)


@pytest.fixture
async def market(database: str, standin: StandIn, webhook_port: int) -> AsyncIterator[Market]:
    """Payment with nothing in it, and a stand-in with nothing in it."""
    settings = settings_for(standin.base_url, retries=0, ask_after=timedelta(minutes=10))
    async with PluginHarness.open(plugin, database, settings=settings) as harness:
        opened = Market(harness, standin)
        async with webhook_listener(opened, webhook_port):
            yield opened


# The good days


async def test_cash_is_due_and_then_collected(market: Market) -> None:
    payment_id = await market.create(method="cod")
    due = await market.view(payment_id)

    await market.harness.tell(
        CollectCash(payment_id=payment_id, order_id=due.order_id, amount=RUPEES_500), times=2
    )

    view = await market.view(payment_id)
    assert (due.status, view.status, view.captured) == ("cash_due", "captured", RUPEES_500)
    assert len(await market.harness.said(PaymentRequested)) == 1
    assert len(await market.harness.said(PaymentCaptured)) == 1
    assert await market.balances() == {"cash_with_vendors": 50_000, "order_liability": -50_000}


async def test_an_online_payment_is_opened_once(market: Market) -> None:
    payment_id = await market.create()
    pending = await market.view(payment_id)

    await market.work()

    view = await market.view(payment_id)
    [order] = (await market.standin.books())["orders"]
    assert (pending.status, view.status) == ("pending", "ready")
    assert (view.provider_order_id, view.provider_key_id) == (order["id"], "rzp_test_1")
    assert order["receipt"] == payment_id


async def test_the_checkouts_answer_is_verified_and_the_money_captured(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", is_dropped=True)
    paid = await market.pay(payment_id)

    verified = await market.verify(payment_id, paid)
    view = await market.until(payment_id, "captured")

    assert (verified.status, verified.authorized) == ("authorized", RUPEES_500)
    assert (view.captured, view.refunded) == (RUPEES_500, Money(0))
    [payment] = (await market.standin.books())["payments"]
    assert payment["status"] == "captured"
    assert len(await market.harness.said(PaymentAuthorized)) == 1
    assert len(await market.harness.said(PaymentCaptured)) == 1
    assert await market.balances() == {"gateway_clearing": 50_000, "order_liability": -50_000}


async def test_a_webhook_alone_is_enough(market: Market) -> None:
    payment_id = await market.create_ready()

    await market.pay(payment_id)

    await market.until(payment_id, "captured")


async def test_the_buyer_and_the_webhook_may_both_bring_the_news(market: Market) -> None:
    payment_id = await market.create_ready()
    paid = await market.pay(payment_id)

    await market.verify(payment_id, paid)
    await market.until(payment_id, "captured")
    await market.until_delivered()

    assert len(await market.harness.said(PaymentCaptured)) == 1
    assert await market.told(CaptureAtProvider) == 1


async def test_a_cancelled_payment_is_refunded_in_full(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.pay(payment_id)
    await market.until(payment_id, "captured")

    await market.cancel(payment_id)
    view = await market.until(payment_id, "refunded")

    assert view.refunded == RUPEES_500
    [refund] = (await market.standin.books())["refunds"]
    assert (refund["amount"], refund["status"]) == (50_000, "processed")
    assert len(await market.harness.said(RefundRequested)) == 1
    assert len(await market.harness.said(RefundSettled)) == 1
    assert await market.balances() == {}


# The bad days


async def test_webhooks_doubled_delayed_and_reordered_have_one_effect(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", copies=3, jitter=0.3)

    await market.pay(payment_id, capture=True)
    await market.until_delivered()

    await market.until(payment_id, "captured")
    assert len(await market.harness.said(PaymentCaptured)) == 1
    assert await market.balances() == {"gateway_clearing": 50_000, "order_liability": -50_000}
    assert set(market.webhook_statuses) == {200}


async def test_the_newest_webhook_may_come_first(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", is_held=True)
    await market.pay(payment_id, outcome="fail")
    await market.pay(payment_id, capture=True)

    await market.standin.do("/standin/road/release")
    await market.until_delivered()

    view = await market.view(payment_id)
    assert (view.status, view.captured) == ("captured", RUPEES_500)


async def test_a_webhook_signed_with_the_former_secret_is_taken(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", is_signed_old=True)

    await market.pay(payment_id)

    await market.until(payment_id, "captured")


async def test_a_forged_webhook_leaves_nothing_behind(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", is_forged=True)

    await market.pay(payment_id)

    async def is_answered() -> bool:
        return bool(market.webhook_statuses)

    await eventually(is_answered)

    assert set(market.webhook_statuses) == {401}
    assert await market.harness.runtime.database.fetch(KEPT) == []


@pytest.mark.parametrize("signature", ["", "0" * 64, "ä" * 10])
async def test_a_webhook_without_a_good_signature_is_refused(
    market: Market, signature: str
) -> None:
    status = await market.take_webhook(
        b'{"event":"payment.captured"}', {"x-razorpay-signature": signature}
    )

    assert status == 401
    assert await market.harness.runtime.database.fetch(KEPT) == []


async def test_a_failed_try_may_succeed_late(market: Market) -> None:
    payment_id = await market.create_ready()

    await market.pay(payment_id, late_authorize=0.3)
    await market.until(payment_id, "captured")

    [failed] = await market.harness.said(PaymentFailed)
    assert (failed.reason, failed.is_final) == ("declined", False)


async def test_a_second_success_is_given_back(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.pay(payment_id)
    await market.until(payment_id, "captured")

    await market.pay(payment_id, force=True, capture=True, keep_second=True)

    async def is_settled() -> bool:
        await market.work()
        return bool(await market.harness.said(RefundSettled))

    await eventually(is_settled)

    view = await market.view(payment_id)
    [requested] = await market.harness.said(RefundRequested)
    assert requested.reason == "paid_twice"
    assert (view.status, view.captured, view.refunded) == (
        "captured",
        RUPEES_500 + RUPEES_500,
        RUPEES_500,
    )
    assert await market.balances() == {"gateway_clearing": 50_000, "order_liability": -50_000}


async def test_a_second_success_that_the_provider_gives_back_is_not_given_back_twice(
    market: Market,
) -> None:
    payment_id = await market.create_ready()
    await market.pay(payment_id)
    await market.until(payment_id, "captured")

    await market.pay(payment_id, force=True, capture=True)
    await market.until_delivered()
    await market.work()

    view = await market.view(payment_id)
    assert view.refunded == RUPEES_500
    assert len((await market.standin.books())["refunds"]) == 1
    assert await market.harness.said(RefundFailed) == []
    assert await market.balances() == {"gateway_clearing": 50_000, "order_liability": -50_000}


async def test_money_that_comes_after_the_cancelling_goes_back(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.cancel(payment_id)
    await market.work()

    await market.pay(payment_id, capture=True)
    await market.until(payment_id, "refunded")

    [failed] = await market.harness.said(PaymentFailed)
    [requested] = await market.harness.said(RefundRequested)
    assert (failed.is_final, requested.reason) == (True, "payment_late")
    assert await market.balances() == {}


async def test_an_authorisation_of_a_cancelled_payment_is_left_alone(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", is_dropped=True)
    paid = await market.pay(payment_id)
    await market.verify(payment_id, paid)

    await market.cancel(payment_id)
    await market.work()

    [payment] = (await market.standin.books())["payments"]
    assert payment["status"] == "authorized"
    assert (await market.view(payment_id)).status == "failed"


async def test_a_payment_cancelled_at_once_is_not_opened(market: Market) -> None:
    payment_id = await market.create()

    await market.cancel(payment_id)
    await market.work()

    assert (await market.standin.books())["orders"] == []


async def test_a_refund_that_the_bank_refuses_is_told(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.pay(payment_id)
    await market.until(payment_id, "captured")
    await market.standin.set("/standin/faults", refund_after=-1)
    await market.cancel(payment_id)
    await market.work()

    [refund] = (await market.standin.books())["refunds"]
    await market.standin.do(f"/standin/refunds/{refund['id']}/settle", outcome="failed")
    await market.until_delivered()

    assert len(await market.harness.said(RefundFailed)) == 1
    assert await market.balances() == {"gateway_clearing": 50_000, "refunds_payable": -50_000}


async def test_a_definite_refusal_ends_the_payment(market: Market) -> None:
    payment_id = await market.create(amount=Money(99))

    await market.work()

    [failed] = await market.harness.said(PaymentFailed)
    assert (failed.reason, failed.is_final) == ("provider", True)
    assert (await market.view(payment_id)).status == "failed"


async def test_an_order_whose_answer_was_lost_is_opened_once(market: Market) -> None:
    payment_id = await market.create()
    await market.standin.set("/standin/faults", lose_answers=1)
    intent = await market.waiting()
    with pytest.raises(ServiceError):
        await market.do(intent)

    await market.do(intent)
    await market.work()

    assert (await market.view(payment_id)).status == "ready"
    assert len((await market.standin.books())["orders"]) == 1


async def test_a_capture_whose_answer_was_lost_is_made_once(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", is_dropped=True)
    await market.verify(payment_id, await market.pay(payment_id))
    await market.standin.set("/standin/faults", lose_answers=1)
    intent = await market.waiting()
    with pytest.raises(ServiceError):
        await market.do(intent)

    await market.do(intent)
    await market.work()

    assert (await market.view(payment_id)).status == "captured"


async def test_an_order_that_never_arrived_is_opened_by_the_repeat(market: Market) -> None:
    payment_id = await market.create()
    await market.standin.set("/standin/faults", fail_next=1)
    intent = await market.waiting()
    with pytest.raises(ServiceError):
        await market.do(intent)

    await market.do(intent)
    await market.work()

    assert (await market.view(payment_id)).status == "ready"


async def test_a_capture_that_never_arrived_is_made_by_the_repeat(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", is_dropped=True)
    await market.verify(payment_id, await market.pay(payment_id))
    await market.standin.set("/standin/faults", fail_next=1)
    intent = await market.waiting()
    with pytest.raises(ServiceError):
        await market.do(intent)

    await market.do(intent)
    await market.work()

    assert (await market.view(payment_id)).status == "captured"


@pytest.mark.parametrize("fault", ["lose_answers", "fail_next"])
async def test_a_refund_whose_call_went_wrong_is_made_once(market: Market, fault: str) -> None:
    payment_id = await market.create_ready()
    await market.pay(payment_id)
    await market.until(payment_id, "captured")
    await market.until_delivered()
    await market.cancel(payment_id)
    await market.standin.set("/standin/faults", **{fault: 1, "refund_after": 0})
    intent = await market.waiting()
    with pytest.raises(ServiceError):
        await market.do(intent)

    await market.do(intent)
    await market.until(payment_id, "refunded")

    assert len((await market.standin.books())["refunds"]) == 1
    assert await market.balances() == {}


async def test_the_providers_own_refund_is_taken_for_ours_when_ours_is_refused(
    market: Market,
) -> None:
    payment_id = await market.create_ready()
    await market.pay(payment_id)
    await market.until(payment_id, "captured")
    await market.standin.set("/standin/road", is_dropped=True)
    second = await market.pay(payment_id, force=True, capture=True)
    intent = RefundAtProvider(
        payment_id=payment_id,
        refund_id=to_wire("refund", new_uuid7()),
        provider_payment_id=second["razorpay_payment_id"],
        amount=RUPEES_500,
    )

    outcome = await market.harness.perform(intent)

    assert isinstance(outcome, NoteRefund)
    assert outcome.found is not None
    assert (outcome.found.status, outcome.found.receipt) == ("processed", None)


async def test_a_refund_that_is_refused_for_good_has_failed(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", is_dropped=True)
    paid = await market.pay(payment_id)
    intent = RefundAtProvider(
        payment_id=payment_id,
        refund_id=to_wire("refund", new_uuid7()),
        provider_payment_id=paid["razorpay_payment_id"],
        amount=RUPEES_500,
    )

    outcome = await market.harness.perform(intent)

    assert outcome == NoteRefund(payment_id=payment_id, refund_id=intent.refund_id, found=None)


async def test_a_payment_that_exists_is_not_created_again(market: Market) -> None:
    payment_id = await market.create(method="cod")
    view = await market.view(payment_id)

    await market.harness.tell(
        CreatePayment(
            payment_id=payment_id,
            order_id=view.order_id,
            buyer_id=BUYER,
            method="razorpay",
            amount=Money(100),
            pay_by=None,
        )
    )

    assert await market.view(payment_id) == view


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (b'{"event": "payment.downtime.started", "payload": {}}', "ignored"),
        (b'{"event": "payment.captured", "payload": {"payment": {}}}', "unreadable"),
        (b"not even JSON", "unreadable"),
        (b'{"event": "payment.captured", "payload": {}}', "unmatched"),
    ],
)
async def test_what_became_of_a_strange_webhook_is_noted(
    market: Market, body: bytes, outcome: str
) -> None:
    status = await market.take_signed(body)

    assert (status, await market.outcomes()) == (200, [outcome])


async def test_another_amount_than_ours_is_kept_for_finance_and_not_booked(
    market: Market,
) -> None:
    payment_id = await market.create_ready()
    order_id = (await market.view(payment_id)).provider_order_id
    entity = {
        "id": "pay_1",
        "amount": 100,
        "currency": "INR",
        "status": "captured",
        "order_id": order_id,
    }

    await market.take_signed(
        msgspec.json.encode(
            {"event": "payment.captured", "payload": {"payment": {"entity": entity}}}
        )
    )

    assert await market.outcomes() == ["mismatched"]
    assert (await market.view(payment_id)).status == "ready"
    assert await market.balances() == {}


async def test_a_webhook_without_an_event_id_is_known_by_its_body(market: Market) -> None:
    body = b'{"event": "payment.downtime.started", "payload": {}}'

    await market.take_signed(body)
    await market.take_signed(body)

    assert await market.outcomes() == ["ignored"]


async def test_a_capture_after_the_authorisation_ran_out_fails_this_try_only(
    market: Market,
) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", is_dropped=True)
    paid = await market.pay(payment_id)
    await market.verify(payment_id, paid)
    await market.standin.do(f"/standin/payments/{paid['razorpay_payment_id']}/expire")

    await market.work()

    [failed] = await market.harness.said(PaymentFailed)
    assert (failed.reason, failed.is_final) == ("provider", False)
    assert (await market.view(payment_id)).status == "ready"


async def test_a_webhook_that_comes_before_its_order_is_known_is_handled_then(
    market: Market,
) -> None:
    payment_id = await market.create()
    intent = await market.waiting()
    outcome = await market.harness.perform(intent.read(OpenAtProvider))
    assert outcome is not None
    [order] = (await market.standin.books())["orders"]
    await market.standin.pay(order["id"], capture=True)
    await market.until_delivered()
    before = await market.outcomes()

    await market.harness.tell(outcome)
    await market.work()

    assert (set(before), set(await market.outcomes())) == ({"unmatched"}, {"handled"})
    assert (await market.view(payment_id)).status == "captured"


async def test_a_cancelled_part_of_a_paid_order_is_refunded_once(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.pay(payment_id)
    paid = await market.until(payment_id, "captured")
    cancelled = SubOrderCancelled(
        order_id=paid.order_id,
        buyer_id=BUYER,
        payment_id=payment_id,
        sub_order_id=to_wire("suborder", new_uuid7()),
        vendor_id=to_wire("vendor", new_uuid7()),
        amount=Money(20_000),
        reason="no_vendor",
    )

    await market.harness.deliver(cancelled, times=2)
    view = await market.until(payment_id, "partly_refunded")

    assert (view.captured, view.refunded) == (RUPEES_500, Money(20_000))


async def test_a_payment_whose_webhook_never_came_is_asked_about(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", is_dropped=True)
    await market.pay(payment_id)
    market.harness.clock_offset = timedelta(minutes=11)

    await market.harness.run_job("ask_about_quiet_payments")
    await market.harness.run_job("ask_about_quiet_payments")
    await market.until(payment_id, "captured")

    assert await market.told(AskProvider) == 1


async def test_a_refund_whose_webhook_never_came_is_asked_about(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.pay(payment_id)
    await market.until(payment_id, "captured")
    await market.standin.set("/standin/road", is_dropped=True)
    await market.standin.set("/standin/faults", refund_after=-1)
    await market.cancel(payment_id)
    await market.work()
    [refund] = (await market.standin.books())["refunds"]
    await market.standin.do(f"/standin/refunds/{refund['id']}/settle", outcome="processed")
    market.harness.clock_offset = timedelta(minutes=11)

    await market.harness.run_job("ask_about_quiet_payments")
    await market.work()

    assert (await market.view(payment_id)).status == "refunded"


async def test_nobody_is_asked_about_a_payment_that_is_fresh(market: Market) -> None:
    await market.create_ready()

    await market.harness.run_job("ask_about_quiet_payments")

    assert await market.told(AskProvider) == 0


async def test_old_webhook_bodies_are_forgotten(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.pay(payment_id)
    await market.until_delivered()
    market.harness.clock_offset = timedelta(days=91)

    await market.harness.run_job("forget_webhook_bodies")

    rows = await market.harness.runtime.database.fetch(KEPT)
    assert {row["body"] for row in rows} == {None}


# Who may


async def test_a_told_command_that_overtakes_the_creation_is_to_come_again(
    market: Market,
) -> None:
    command = CancelPayment(
        payment_id=to_wire("payment", new_uuid7()),
        order_id=to_wire("order", new_uuid7()),
        reason="order_cancelled",
    )

    with pytest.raises(ServiceError) as refusal:
        await market.harness.tell(command)

    wire = refusal.value.to_wire()
    assert (wire.code, wire.retryable) == ("payment.not_created_yet", True)


async def _code(market: Market, query: GetPayment, actor: Actor) -> str:
    with pytest.raises(ServiceError) as refusal:
        await market.harness.ask(query, actor=actor)
    return refusal.value.to_wire().code


async def test_a_payment_is_shown_to_its_buyer_only(market: Market) -> None:
    query = GetPayment(payment_id=await market.create())

    assert await _code(market, query, an_actor(STRANGER, "payments:read")) == "payment.not_found"


async def test_finance_sees_every_payment(market: Market) -> None:
    payment_id = await market.create()

    view = await market.harness.ask(
        GetPayment(payment_id=payment_id),
        actor=an_actor(STRANGER, "payments:read", "payments:read_any", roles=("finance",)),
    )

    assert view.payment_id == payment_id


async def test_without_the_permission_nothing_is_shown(market: Market) -> None:
    query = GetPayment(payment_id=await market.create())

    assert await _code(market, query, an_actor(BUYER)) == "kernel.permission_denied"


async def test_a_payment_that_is_not_there_yet_is_to_be_asked_for_again(market: Market) -> None:
    query = GetPayment(payment_id=to_wire("payment", new_uuid7()))

    with pytest.raises(ServiceError) as refusal:
        await market.harness.ask(query, actor=an_actor(BUYER, "payments:read"))

    assert (refusal.value.to_wire().status, refusal.value.retry_after) == (404, 1.0)


async def test_nobody_else_verifies_a_payment(market: Market) -> None:
    payment_id = await market.create_ready()
    paid = await market.pay(payment_id)

    with pytest.raises(ServiceError) as refusal:
        await market.verify(payment_id, paid, user_id=STRANGER)

    assert refusal.value.to_wire().code == "payment.not_found"


async def test_a_wrong_checkout_signature_is_refused_and_nothing_noted(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.standin.set("/standin/road", is_dropped=True)
    paid = await market.pay(payment_id)

    with pytest.raises(ServiceError) as refusal:
        await market.verify(payment_id, {**paid, "razorpay_signature": "0" * 64})

    wire = refusal.value.to_wire()
    assert (wire.code, wire.status) == ("payment.bad_signature", 422)
    assert (await market.view(payment_id)).status == "ready"


async def test_the_signature_of_another_payment_is_refused(market: Market) -> None:
    mine, other = await market.create_ready(), await market.create_ready()
    await market.standin.set("/standin/road", is_dropped=True)
    paid = await market.pay(other)

    with pytest.raises(ServiceError) as refusal:
        await market.verify(mine, paid)

    assert refusal.value.to_wire().code == "payment.bad_signature"


async def test_cash_is_not_verified_online(market: Market) -> None:
    payment_id = await market.create(method="cod")
    paid = {
        "razorpay_order_id": "order_1",
        "razorpay_payment_id": "pay_1",
        "razorpay_signature": "0" * 64,
    }

    with pytest.raises(ServiceError) as refusal:
        await market.verify(payment_id, paid)

    assert refusal.value.to_wire().code == "payment.not_payable_online"


# What the database itself refuses


async def test_facts_cannot_be_changed(market: Market) -> None:
    await market.create(method="cod")

    with pytest.raises(asyncpg.CheckViolationError, match="append-only"):
        await market.harness.runtime.database.execute(CHANGE_FACT)


async def test_the_ledger_cannot_be_thinned_out(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.pay(payment_id)
    await market.until(payment_id, "captured")

    with pytest.raises(asyncpg.CheckViolationError, match="append-only"):
        await market.harness.runtime.database.execute(DROP_LINES)


async def test_no_crooked_entry_is_committed(market: Market) -> None:
    payment_id = await market.create_ready()
    await market.pay(payment_id)
    await market.until(payment_id, "captured")

    with pytest.raises(asyncpg.CheckViolationError, match="add up to"):
        await market.harness.runtime.database.execute(ADD_CROOKED_LINE)

    assert await market.unbalanced() == 0


async def test_cancelling_and_paying_at_once_ends_in_one_truth(market: Market) -> None:
    payment_id = await market.create_ready()

    await asyncio.gather(
        market.cancel(payment_id), market.pay(payment_id, capture=True), market.work()
    )
    await market.until(payment_id, "refunded")

    assert await market.balances() == {}
    assert len((await market.standin.books())["refunds"]) == 1
