"""Razorpay's JSON, as far as we read it: entities, lists, errors and webhooks. Unknown fields are skipped."""

from typing import Generic, Literal, TypeVar

import msgspec

from kernel.money import Currency, Money
from plugins.payment.intents import ProviderPayment, ProviderRefund

T = TypeVar("T")


class OrderEntity(msgspec.Struct, frozen=True):
    """An order: what is to be paid, by any number of tries."""

    id: str
    amount: int
    currency: Currency
    status: Literal["created", "attempted", "paid"]
    created_at: int
    receipt: str | None = None

    @property
    def money(self) -> Money:
        """What is to be paid."""
        return Money(self.amount, self.currency)


class PaymentEntity(msgspec.Struct, frozen=True):
    """One try to pay. It carries much about the buyer, none of which is read."""

    id: str
    amount: int
    currency: Currency
    status: Literal["created", "authorized", "captured", "refunded", "failed"]
    order_id: str | None = None
    captured: bool | None = None
    amount_refunded: int | None = None

    def to_news(self) -> ProviderPayment:
        """Return what this says about money."""
        return ProviderPayment(
            provider_payment_id=self.id,
            status=self.status,
            amount=Money(self.amount, self.currency),
            is_captured=bool(self.captured),
        )


class RefundEntity(msgspec.Struct, frozen=True):
    """One refund."""

    id: str
    payment_id: str
    amount: int
    currency: Currency
    status: Literal["pending", "processed", "failed"]
    receipt: str | None = None

    def to_news(self) -> ProviderRefund:
        """Return what this says about money."""
        return ProviderRefund(
            provider_refund_id=self.id,
            provider_payment_id=self.payment_id,
            status=self.status,
            amount=Money(self.amount, self.currency),
            receipt=self.receipt,
        )


class Collection(msgspec.Struct, Generic[T], frozen=True):
    """A page of a list."""

    items: tuple[T, ...]


class ErrorDetail(msgspec.Struct, frozen=True):
    """Why a call was refused."""

    code: str = ""
    description: str | None = ""
    reason: str | None = ""


class ErrorReply(msgspec.Struct, frozen=True):
    """The body of a refusal."""

    error: ErrorDetail


class Wrapped(msgspec.Struct, Generic[T], frozen=True):
    """An entity in a webhook."""

    entity: T


class Payload(msgspec.Struct, frozen=True):
    """The entities of a webhook, as they were when the event happened."""

    payment: Wrapped[PaymentEntity] | None = None
    order: Wrapped[OrderEntity] | None = None
    refund: Wrapped[RefundEntity] | None = None

    @property
    def provider_order_id(self) -> str | None:
        """The order that this is about."""
        if self.payment is not None:
            return self.payment.entity.order_id
        return None if self.order is None else self.order.entity.id


class EventName(msgspec.Struct, frozen=True):
    """The name of a webhook's event, read before its payload."""

    event: str


class Webhook(msgspec.Struct, frozen=True):
    """A webhook about a payment, an order or a refund."""

    event: str
    payload: Payload
