"""Builders of payments and of what a provider says."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from typing import Any, Literal

from bus.message import Command, Event
from kernel.ids import derived_uuid, to_wire
from kernel.money import Money
from plugins.payment.domain import Moment, Payment
from plugins.payment.intents import ProviderNews, ProviderPayment, ProviderRefund

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
RUPEES_500 = Money(50_000)

PaymentState = Literal["created", "authorized", "captured", "refunded", "failed"]
RefundState = Literal["pending", "processed", "failed"]


def an_id(prefix: str, name: str = "a") -> str:
    return to_wire(prefix, derived_uuid(NOON, prefix, name))


def ids() -> Callable[[str], str]:
    numbers = count()
    return lambda prefix: an_id(prefix, str(next(numbers)))


NOW = Moment(NOON, ids())


def a_payment(**overrides: Any) -> Payment:
    """A payment that is not created yet."""
    given: dict[str, Any] = {
        "payment_id": an_id("payment"),
        "order_id": an_id("order"),
        "buyer_id": an_id("user"),
        "method": "razorpay",
        "amount": RUPEES_500,
    }
    return Payment(**given | overrides)


def a_ready_payment(**overrides: Any) -> Payment:
    """A payment whose order stands open at the provider."""
    payment = a_payment(**overrides)
    payment.create(NOW)
    payment.open("order_Provider1", NOW)
    return settled(payment)


def a_captured_payment() -> Payment:
    payment = a_ready_payment()
    payment.learn(paid("pay_1", "captured"), NOW)
    return settled(payment)


def a_cash_payment() -> Payment:
    payment = a_payment(method="cod")
    payment.create(NOW)
    return settled(payment)


def settled(payment: Payment) -> Payment:
    """The payment as it is loaded: without changes of its own."""
    payment.changes.clear()
    return payment


def paid(
    provider_payment_id: str,
    status: PaymentState,
    *,
    amount: Money = RUPEES_500,
    is_captured: bool = False,
) -> ProviderNews:
    return ProviderNews(
        payments=(
            ProviderPayment(
                provider_payment_id=provider_payment_id,
                status=status,
                amount=amount,
                is_captured=is_captured,
            ),
        )
    )


def given_back(
    provider_refund_id: str,
    status: RefundState,
    *,
    attempt: str = "pay_1",
    amount: Money = RUPEES_500,
    receipt: str | None = None,
) -> ProviderNews:
    return ProviderNews(
        refunds=(
            ProviderRefund(
                provider_refund_id=provider_refund_id,
                provider_payment_id=attempt,
                status=status,
                amount=amount,
                receipt=receipt,
            ),
        )
    )


def told(payment: Payment) -> list[Event]:
    """The events of the payment's new facts."""
    return [change.event for change in payment.changes if change.event is not None]


def intended(payment: Payment) -> list[Command[Any]]:
    """What the payment's new facts set off."""
    return [change.intent for change in payment.changes if change.intent is not None]


def kinds(payment: Payment) -> list[str]:
    """The kinds of the payment's new facts."""
    return [change.fact.kind for change in payment.changes]
