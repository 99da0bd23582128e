"""What payment tells itself: the intents of its effects, and the outcomes that come back.

Nobody else sends these. They carry ids, money and states only, so that nothing personal reaches a
stream. ``ProviderPayment`` and ``ProviderRefund`` say what any provider may say about money.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from bus.message import Command, Nothing, View
from kernel.ids import id_meta
from kernel.money import Money
from plugins.payment.contract import PaymentId, ProviderText, RefundId

OWNER: Final = "payment"

WebhookId = Annotated[str, id_meta("webhook")]


class ProviderPayment(View, frozen=True, kw_only=True):
    """One try of a buyer to pay, as the provider sees it."""

    provider_payment_id: ProviderText
    status: Literal["created", "authorized", "captured", "refunded", "failed"]
    amount: Money
    is_captured: bool = False
    """Whether the money ever became ours; an authorisation that ran out is refunded without it."""

    @property
    def was_captured(self) -> bool:
        """Whether the money became ours, be it that it has been given back since."""
        return self.status == "captured" or (self.status == "refunded" and self.is_captured)


class ProviderRefund(View, frozen=True, kw_only=True):
    """One refund as the provider sees it; ``receipt`` is our refund id, when it was ours."""

    provider_refund_id: ProviderText
    provider_payment_id: ProviderText
    status: Literal["pending", "processed", "failed"]
    amount: Money
    receipt: str | None = None


class ProviderNews(View, frozen=True, kw_only=True):
    """What a provider says about one of our payments, in no particular order."""

    payments: Annotated[tuple[ProviderPayment, ...], Meta(max_length=100)] = ()
    refunds: Annotated[tuple[ProviderRefund, ...], Meta(max_length=200)] = ()


class OpenAtProvider(Command[Nothing], frozen=True, kw_only=True):
    """Open an order at the provider, which the buyer then pays."""

    payment_id: PaymentId
    amount: Money


class NoteProviderOrder(Command[Nothing], frozen=True, kw_only=True):
    """The provider opened the order; without an id it refused for good."""

    payment_id: PaymentId
    provider_order_id: ProviderText | None


class CaptureAtProvider(Command[Nothing], frozen=True, kw_only=True):
    """Take the money that the buyer's bank holds."""

    payment_id: PaymentId
    provider_payment_id: ProviderText
    amount: Money


class NoteCapture(Command[Nothing], frozen=True, kw_only=True):
    """What became of a capture."""

    payment_id: PaymentId
    found: ProviderPayment
    is_refused: bool = False


class RefundAtProvider(Command[Nothing], frozen=True, kw_only=True):
    """Give money back."""

    payment_id: PaymentId
    refund_id: RefundId
    provider_payment_id: ProviderText
    amount: Money


class NoteRefund(Command[Nothing], frozen=True, kw_only=True):
    """What became of a refund; without ``found`` the provider refused it for good."""

    payment_id: PaymentId
    refund_id: RefundId
    found: ProviderRefund | None


class AskProvider(Command[Nothing], frozen=True, kw_only=True):
    """Ask the provider about a payment of which nothing was heard for a while."""

    payment_id: PaymentId
    provider_order_id: ProviderText


class NoteProviderNews(Command[Nothing], frozen=True, kw_only=True):
    """What the provider answered."""

    payment_id: PaymentId
    news: ProviderNews


class HandleWebhook(Command[Nothing], frozen=True, kw_only=True):
    """Handle a webhook that was stored."""

    webhook_id: WebhookId
