"""The published language of payment: what is owed, taken and given back."""

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from bus.message import Command, Event, Nothing, Query, View
from kernel.ids import id_meta
from kernel.money import Money
from kernel.text import END

OWNER: Final = "payment"

PaymentId = Annotated[str, id_meta("payment")]
RefundId = Annotated[str, id_meta("refund")]
OrderId = Annotated[str, id_meta("order")]
UserId = Annotated[str, id_meta("user")]
PaymentMethod = Literal["cod", "razorpay"]
PaymentStatus = Literal[
    "pending",
    "ready",
    "authorized",
    "captured",
    "partly_refunded",
    "refunded",
    "failed",
    "cash_due",
]
FailureReason = Literal["declined", "expired", "cancelled", "provider"]
RefundReason = Literal[
    "order_cancelled", "stock_short", "no_vendor", "payment_late", "paid_twice", "operator"
]
ProviderText = Annotated[
    str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.=-]+" + END)
]
HeaderText = Annotated[str, Meta(max_length=1024)]


class PaymentView(View, frozen=True, kw_only=True):
    """A payment as its buyer sees it. ``authorized``, ``captured`` and ``refunded`` are sums of facts."""

    payment_id: PaymentId
    order_id: OrderId
    method: PaymentMethod
    status: PaymentStatus
    amount: Money
    authorized: Money
    captured: Money
    refunded: Money
    provider_order_id: str | None = None
    provider_key_id: str | None = None
    """The provider's public key id, which the buyer's checkout page needs."""
    version: int


class GetPayment(Query[PaymentView], frozen=True, kw_only=True):
    """Show a payment to its buyer or to finance staff."""

    payment_id: PaymentId


class VerifyPayment(Command[PaymentView], frozen=True, kw_only=True):
    """Take the signed answer of Razorpay's checkout page, sent by the buyer's browser."""

    payment_id: PaymentId
    razorpay_order_id: ProviderText
    razorpay_payment_id: ProviderText
    razorpay_signature: ProviderText


class ReceiveRazorpayWebhook(Command[Nothing], frozen=True, kw_only=True):
    """Take a webhook: the signature is checked on the raw body, which is stored before it is handled."""

    body: bytes
    x_razorpay_signature: HeaderText = ""
    x_razorpay_event_id: HeaderText = ""


class WebhookCount(View, frozen=True, kw_only=True):
    """How many webhooks ended in one way."""

    outcome: Literal["received", "handled", "ignored", "unmatched", "mismatched", "unreadable"]
    count: int


class WebhookCounts(View, frozen=True, kw_only=True):
    """What became of the webhooks that were received."""

    items: tuple[WebhookCount, ...]


class CountWebhooks(Query[WebhookCounts], frozen=True, kw_only=True):
    """Count the webhooks by what became of them, for finance staff; unmatched ones want a look."""


class CreatePayment(Command[Nothing], frozen=True, kw_only=True):
    """Open the payment of a placed order (told). Answered by ``PaymentRequested`` or ``PaymentFailed``."""

    payment_id: PaymentId
    order_id: OrderId
    buyer_id: UserId
    method: PaymentMethod
    amount: Money
    pay_by: datetime | None


class CancelPayment(Command[Nothing], frozen=True, kw_only=True):
    """Take no more money for an order (told); what was taken already is refunded.

    Answered by ``PaymentFailed``, or by ``RefundSettled`` for each amount given back.
    """

    payment_id: PaymentId
    order_id: OrderId
    reason: RefundReason


class CollectCash(Command[Nothing], frozen=True, kw_only=True):
    """Note that the cash of a delivered order was taken (told). Answered by ``PaymentCaptured``."""

    payment_id: PaymentId
    order_id: OrderId
    amount: Money


class PaymentRequested(Event, frozen=True, kw_only=True):
    """The payment can be made now; for cash it is due on delivery."""

    KEY: ClassVar[str] = "payment_id"

    payment_id: PaymentId
    order_id: OrderId
    method: PaymentMethod
    amount: Money


class PaymentAuthorized(Event, frozen=True, kw_only=True):
    """The buyer's bank holds the amount."""

    KEY: ClassVar[str] = "payment_id"

    payment_id: PaymentId
    order_id: OrderId
    amount: Money


class PaymentCaptured(Event, frozen=True, kw_only=True):
    """The amount is ours."""

    KEY: ClassVar[str] = "payment_id"

    payment_id: PaymentId
    order_id: OrderId
    buyer_id: UserId
    method: PaymentMethod
    amount: Money


class PaymentFailed(Event, frozen=True, kw_only=True):
    """An attempt or the whole payment failed; a later authorisation is still accepted as true."""

    KEY: ClassVar[str] = "payment_id"

    payment_id: PaymentId
    order_id: OrderId
    buyer_id: UserId
    reason: FailureReason
    is_final: bool


class RefundRequested(Event, frozen=True, kw_only=True):
    """Money is on its way back."""

    KEY: ClassVar[str] = "payment_id"

    payment_id: PaymentId
    order_id: OrderId
    refund_id: RefundId
    amount: Money
    reason: RefundReason


class RefundSettled(Event, frozen=True, kw_only=True):
    """The refund has been made."""

    KEY: ClassVar[str] = "payment_id"

    payment_id: PaymentId
    order_id: OrderId
    buyer_id: UserId
    refund_id: RefundId
    amount: Money


class RefundFailed(Event, frozen=True, kw_only=True):
    """The provider refused the refund; finance must look."""

    KEY: ClassVar[str] = "payment_id"

    payment_id: PaymentId
    order_id: OrderId
    refund_id: RefundId
    amount: Money
