"""The ledger: every entry, and so every prefix, adds up to zero, and the balances are what they should be."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.message import Event
from kernel.money import Money
from plugins.payment.contract import PaymentCaptured, RefundRequested, RefundSettled
from plugins.payment.errors import UnbalancedEntryError
from plugins.payment.ledger import Entry, Line, entry_of
from tests.unit.payment.payment_builders import (
    NOW,
    RUPEES_500,
    a_payment,
    a_ready_payment,
    an_id,
    told,
)
from tests.unit.payment.test_payment_domain import STEPS, Step


def _captured(method: str) -> PaymentCaptured:
    return PaymentCaptured(
        payment_id=an_id("payment"),
        order_id=an_id("order"),
        buyer_id=an_id("user"),
        method=method,  # type: ignore[arg-type]  # the tests name known methods
        amount=RUPEES_500,
    )


def _balances(events: list[Event]) -> Counter[str]:
    balances: Counter[str] = Counter()
    for event in events:
        entry = entry_of(event)
        for line in entry.lines if entry else ():
            balances[line.account] += line.amount.amount
    return balances


def test_an_online_payment_lies_with_the_gateway_until_it_is_settled() -> None:
    assert _balances([_captured("razorpay")]) == {
        "gateway_clearing": 50_000,
        "order_liability": -50_000,
    }


def test_cash_lies_with_the_vendors() -> None:
    assert _balances([_captured("cod")]) == {
        "cash_with_vendors": 50_000,
        "order_liability": -50_000,
    }


def test_a_settled_refund_leaves_nothing_behind() -> None:
    refund = {
        "payment_id": an_id("payment"),
        "order_id": an_id("order"),
        "refund_id": an_id("refund"),
        "amount": RUPEES_500,
    }

    balances = _balances(
        [
            _captured("razorpay"),
            RefundRequested(**refund, reason="order_cancelled"),  # type: ignore[arg-type]  # as above
            RefundSettled(**refund, buyer_id=an_id("user")),  # type: ignore[arg-type]  # as above
        ]
    )

    assert set(balances.values()) == {0}


def test_an_entry_that_does_not_add_up_cannot_be_made() -> None:
    with pytest.raises(UnbalancedEntryError):
        Entry(
            "payment_captured",
            (Line("gateway_clearing", Money(100)), Line("order_liability", Money(-99))),
        )


def test_an_entry_of_one_line_cannot_be_made() -> None:
    with pytest.raises(UnbalancedEntryError):
        Entry("payment_captured", (Line("gateway_clearing", Money(0)),))


@given(st.lists(STEPS, max_size=25))
def test_the_ledger_adds_up_to_zero_at_every_prefix(steps: list[Step]) -> None:
    payment = a_ready_payment()
    for step in steps:
        step(payment)
    events = told(payment)

    prefixes = [_balances(events[:length]) for length in range(len(events) + 1)]

    assert {sum(balances.values()) for balances in prefixes} == {0}


@given(st.lists(STEPS, max_size=25))
def test_the_balances_are_the_sums_of_the_payment(steps: list[Step]) -> None:
    payment = a_ready_payment()
    for step in steps:
        step(payment)

    balances = _balances(told(payment))

    promised = sum(refund.amount.amount for refund in payment.refunds.values())
    assert balances["gateway_clearing"] == (payment.captured - payment.refunded).amount
    assert balances["refunds_payable"] == payment.refunded.amount - promised
    assert balances["order_liability"] == promised - payment.captured.amount


def test_what_moves_no_money_is_not_booked() -> None:
    payment = a_payment()
    payment.create(NOW)
    payment.open("order_Provider1", NOW)
    payment.cancel("order_cancelled", NOW)

    assert [entry_of(event) for event in told(payment)] == [None, None]
