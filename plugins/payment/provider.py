"""The port to a payment provider. Razorpay fills it today; other gateways take the same place."""

from typing import Protocol

from kernel.context import Context
from kernel.money import Money
from plugins.payment.intents import ProviderNews, ProviderPayment, ProviderRefund


class PaymentProvider(Protocol):
    """Takes and gives back money. Trouble is raised as an error of the ``Unavailable`` family,
    a definite no as ``ProviderRefusedError``.
    """

    async def open_order(self, *, receipt: str, amount: Money) -> str:
        """Open an order and return the provider's id of it."""

    async def find_order(self, *, receipt: str, amount: Money) -> str | None:
        """Return the id of the order that was opened with this receipt, the oldest if there are several."""

    async def payment(self, provider_payment_id: str) -> ProviderPayment:
        """Return what the provider knows of one payment."""

    async def capture(self, provider_payment_id: str, *, amount: Money) -> ProviderPayment:
        """Take the whole authorised amount. Not repeatable: look first."""

    async def refund(
        self, provider_payment_id: str, *, amount: Money, receipt: str, idempotency_key: str
    ) -> ProviderRefund:
        """Give back captured money; a repeat with the same key gives the same refund."""

    async def refunds_of(self, provider_payment_id: str) -> tuple[ProviderRefund, ...]:
        """Return the refunds of one payment."""

    async def news_of_order(self, provider_order_id: str) -> ProviderNews:
        """Return all payments that were tried on an order, and their refunds."""


def provider_of(ctx: Context) -> PaymentProvider:
    """Return the provider that this host talks to."""
    return ctx.use(PaymentProvider)  # type: ignore[type-abstract]  # mypy has no type of a Protocol
