"""A day adds up, or the books say where it does not."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from kernel.money import ZERO, Money
from kernel.quantity import Quantity
from plugins.demo.books import faults_of, summary_of
from plugins.demo.day import SITES, Fate, Plan
from plugins.demo.market import (
    Outcome,
    is_decided,
    is_money_at_rest,
    is_over,
    knows_payment,
)
from plugins.order.contract import (
    HistoryEntry,
    OfferLine,
    OrderHistory,
    OrderLineView,
    OrderPaymentView,
    OrderView,
    SubOrderView,
)
from plugins.payment.contract import PaymentView

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
ORDER = "order_01m7wan8pce7t94awaz1rgg7cb"
PAYMENT = "payment_01m7wan8pce7t94awaz1rgg7cb"
VENDOR = "vendor_01m7wan8pce7t94awaz1rgg7cb"
OFFER = "offer_01m7wan8pce7t94awaz1rgg7cb"
PRODUCT = "product_01m7wan8pce7t94awaz1rgg7cb"
PART = "suborder_01m7wan8pce7t94awaz1rgg7cb"


def a_plan(**overrides: Any) -> Plan:
    line = OfferLine(offer_id=OFFER, quantity=Quantity.of(10))
    fields: dict[str, Any] = {
        "number": 0,
        "buyer": 0,
        "site": SITES[0],
        "lines": (line,),
        "payment_method": "cod",
        "fate": Fate.DELIVERED,
    }
    return Plan(**{**fields, **overrides})


def a_part(**overrides: Any) -> SubOrderView:
    line = OrderLineView(
        offer_id=OFFER,
        product_id=PRODUCT,
        hsn="2523",
        unit="bag",
        quantity=Quantity.of(10),
        unit_price=Money(38_000),
        amount=Money(380_000),
        tax_rate_bp=1800,
        tax=Money(68_400),
    )
    fields: dict[str, Any] = {
        "sub_order_id": PART,
        "vendor_id": VENDOR,
        "status": "delivered",
        "lines": (line,),
    }
    return SubOrderView(**{**fields, **overrides})


def an_order(**overrides: Any) -> OrderView:
    fields: dict[str, Any] = {
        "order_id": ORDER,
        "status": "completed",
        "delivery_status": "delivered",
        "subtotal": Money(380_000),
        "tax": Money(68_400),
        "delivery": Money(35_000),
        "discount": ZERO,
        "total": Money(483_400),
        "sub_orders": (a_part(),),
        "payment": OrderPaymentView(payment_id=PAYMENT, method="cod", status="cash_collected"),
        "delivery_address": SITES[0].address(),
        "placed_at": NOON,
        "version": 2,
    }
    return OrderView(**{**fields, **overrides})


def a_payment(**overrides: Any) -> PaymentView:
    fields: dict[str, Any] = {
        "payment_id": PAYMENT,
        "order_id": ORDER,
        "method": "cod",
        "status": "captured",
        "amount": Money(483_400),
        "authorized": Money(483_400),
        "captured": Money(483_400),
        "refunded": ZERO,
        "version": 3,
    }
    return PaymentView(**{**fields, **overrides})


def a_history(*versions: int) -> OrderHistory:
    steps = tuple(HistoryEntry(version=v, name="order_placed", at=NOON) for v in versions)
    return OrderHistory(order_id=ORDER, changes=steps)


def an_outcome(**overrides: Any) -> Outcome:
    fields: dict[str, Any] = {
        "plan": a_plan(),
        "order": an_order(),
        "payment": a_payment(),
        "history": a_history(1, 2),
        "placed_in": 0.1,
        "settled_in": 0.5,
    }
    return Outcome(**{**fields, **overrides})


def a_cancelled_order() -> OrderView:
    return an_order(
        status="cancelled",
        sub_orders=(a_part(status="cancelled"),),
        payment=OrderPaymentView(payment_id=PAYMENT, method="razorpay", status="refunded"),
    )


def test_a_delivered_and_paid_order_adds_up() -> None:
    assert faults_of(an_outcome()) == []


def test_a_cancelled_and_refunded_order_adds_up() -> None:
    refunded = a_payment(method="razorpay", status="refunded", refunded=Money(483_400))

    outcome = an_outcome(
        plan=a_plan(fate=Fate.CANCELLED), order=a_cancelled_order(), payment=refunded
    )

    assert faults_of(outcome) == []


def test_a_refused_order_has_nothing_to_add_up() -> None:
    outcome = Outcome(plan=a_plan(), refusal="catalog.stock_short")

    assert faults_of(outcome) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"order": an_order(subtotal=Money(1))}, "its lines are not its subtotal"),
        ({"order": an_order(tax=Money(1))}, "the tax of its lines is not its tax"),
        ({"order": an_order(discount=Money(1))}, "its parts are not its total"),
        ({"payment": a_payment(amount=Money(1))}, "its payment is over 1 instead of 483400"),
        ({"payment": a_payment(captured=ZERO)}, "0 paise were kept instead of 483400"),
        ({"payment": a_payment(refunded=Money(1))}, "483399 paise were kept instead of 483400"),
        ({"history": a_history(1)}, "its history has the steps [1], it is at version 2"),
        ({"history": a_history(1, 1, 2)}, "its history has the steps [1, 1, 2], it is at version 2"),
        ({"plan": a_plan(fate=Fate.CANCELLED)}, "it is completed and should be cancelled"),
        (
            {"order": an_order(sub_orders=(a_part(status="accepted"),))},
            "it is completed, and not all of its parts are delivered",
        ),
    ],
)  # fmt: skip
def test_what_does_not_add_up_is_named(changes: dict[str, Any], fault: str) -> None:
    assert f"{ORDER}: {fault}" in faults_of(an_outcome(**changes))


def test_an_order_that_came_to_no_end_is_named() -> None:
    assert faults_of(an_outcome(payment=None)) == ["plan 0: it came to no end"]


def test_a_days_figures_are_sums() -> None:
    online = an_outcome(
        plan=a_plan(fate=Fate.CANCELLED, payment_method="razorpay"),
        order=a_cancelled_order(),
        payment=a_payment(method="razorpay", status="refunded", refunded=Money(483_400)),
        confirmed_in=0.3,
    )
    rejected = an_outcome(plan=a_plan(fate=Fate.REJECTED))
    refused = Outcome(plan=a_plan(), refusal="order.no_vendor")

    summary = summary_of([an_outcome(), online, rejected, refused], seconds=2.0)

    assert [(row.status, row.orders) for row in summary.by_status] == [
        ("cancelled", 1),
        ("completed", 2),
    ]
    assert summary.refused == {"order.no_vendor": 1}
    assert summary.paid == summary.refunded == Money(483_400)
    assert summary.cash == Money(966_800)
    assert summary.reassigned == 1
    assert summary.mean_placing_ms == 100.0
    assert summary.mean_confirming_ms == 300.0
    assert summary.faults == ()


@pytest.mark.parametrize(
    ("status", "decided", "over"),
    [
        ("placed", False, False),
        ("confirmed", True, False),
        ("completed", True, True),
        ("cancelled", True, True),
    ],
)
def test_an_order_is_decided_before_it_is_over(status: str, *, decided: bool, over: bool) -> None:
    order = an_order(status=status)

    assert (is_decided(order), is_over(order)) == (decided, over)


@pytest.mark.parametrize(
    ("order", "payment", "at_rest"),
    [
        (an_order(), a_payment(status="cash_due", captured=ZERO), False),
        (an_order(), a_payment(), True),
        (a_cancelled_order(), a_payment(status="captured"), False),
        (a_cancelled_order(), a_payment(status="cash_due", captured=ZERO), False),
        (a_cancelled_order(), a_payment(status="failed", captured=ZERO), True),
        (a_cancelled_order(), a_payment(status="refunded", refunded=Money(483_400)), True),
    ],
)
def test_money_is_at_rest_when_it_is_where_it_belongs(
    order: OrderView, payment: PaymentView, *, at_rest: bool
) -> None:
    assert is_money_at_rest(order)(payment) is at_rest


def test_an_order_knows_its_payment_when_both_say_the_same() -> None:
    late = an_order(payment=replace(an_order().payment, status="cash_due"))

    assert knows_payment(a_payment())(an_order())
    assert not knows_payment(a_payment())(late)
