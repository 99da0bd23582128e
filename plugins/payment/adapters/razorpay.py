"""Razorpay over HTTPS. Facts of its API stand in ``providers.md``; the stand-in behaves the same way.

Orders are created for manual capture, so that nothing is taken that we did not ask for. Assumed and
not verified: an account where the buyer bears the fee would report other amounts than ours, and is
not supported.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import httpx
import msgspec

from kernel.money import Money
from kernel.providers import ProviderGuard, is_fault
from plugins.payment.adapters.wire import (
    Collection,
    ErrorReply,
    OrderEntity,
    PaymentEntity,
    RefundEntity,
)
from plugins.payment.errors import (
    ProviderCredentialsError,
    ProviderRefusedError,
    ProviderUnreadableError,
    RefundInFlightError,
)
from plugins.payment.intents import ProviderNews, ProviderPayment, ProviderRefund
from plugins.payment.settings import PaymentSettings

T = TypeVar("T")

PAGE: Final = 100


class RazorpayProvider:
    """Takes and gives back money through Razorpay."""

    def __init__(
        self, client: httpx.AsyncClient, guard: ProviderGuard, settings: PaymentSettings
    ) -> None:
        self._client = client
        self._guard = guard
        self._settings = settings

    async def open_order(self, *, receipt: str, amount: Money) -> str:
        """Open an order for manual capture and return its id."""
        body: dict[str, Any] = {
            "amount": amount.amount,
            "currency": amount.currency,
            "receipt": receipt,
            "partial_payment": False,
            "payment": {
                "capture": "manual",
                "capture_options": {
                    "manual_expiry_period": int(
                        self._settings.authorization_kept.total_seconds() // 60
                    ),
                    "refund_speed": "normal",
                },
            },
        }
        if self._settings.has_unique_receipts:
            body["unique_receipt"] = True
        order = await self._send(OrderEntity, "POST", "/orders", body=body)
        return order.id

    async def find_order(self, *, receipt: str, amount: Money) -> str | None:
        """Return the oldest order with this receipt and amount."""
        page = await self._get(
            Collection[OrderEntity], "/orders", {"receipt": receipt, "count": PAGE}
        )
        # The filter is checked again: what is opened for another purchase must never be taken for ours.
        found = [o for o in page.items if o.receipt == receipt and o.money == amount]
        return min(found, key=lambda order: (order.created_at, order.id)).id if found else None

    async def payment(self, provider_payment_id: str) -> ProviderPayment:
        """Return one payment."""
        entity = await self._get(PaymentEntity, f"/payments/{provider_payment_id}", {})
        return entity.to_news()

    async def capture(self, provider_payment_id: str, *, amount: Money) -> ProviderPayment:
        """Capture the whole authorised amount."""
        body = {"amount": amount.amount, "currency": amount.currency}
        path = f"/payments/{provider_payment_id}/capture"
        return (await self._send(PaymentEntity, "POST", path, body=body)).to_news()

    async def refund(
        self, provider_payment_id: str, *, amount: Money, receipt: str, idempotency_key: str
    ) -> ProviderRefund:
        """Give back captured money; the key makes a repeat harmless."""
        entity = await self._send(
            RefundEntity,
            "POST",
            f"/payments/{provider_payment_id}/refund",
            body={"amount": amount.amount, "speed": "normal", "receipt": receipt},
            headers={"X-Refund-Idempotency": idempotency_key},
            is_repeatable=True,
        )
        return entity.to_news()

    async def refunds_of(self, provider_payment_id: str) -> tuple[ProviderRefund, ...]:
        """Return the refunds of one payment."""
        page = await self._get(
            Collection[RefundEntity], f"/payments/{provider_payment_id}/refunds", {"count": PAGE}
        )
        return tuple(entity.to_news() for entity in page.items)

    async def news_of_order(self, provider_order_id: str) -> ProviderNews:
        """Return the payments of an order, and the refunds of those that have any."""
        page = await self._get(
            Collection[PaymentEntity], f"/orders/{provider_order_id}/payments", {"count": PAGE}
        )
        refunds: list[ProviderRefund] = []
        for payment in page.items:
            if payment.amount_refunded or payment.status in ("captured", "refunded"):
                refunds += await self.refunds_of(payment.id)
        return ProviderNews(
            payments=tuple(payment.to_news() for payment in page.items), refunds=tuple(refunds)
        )

    async def _get(self, kind: type[T], path: str, query: Mapping[str, str | int]) -> T:
        return await self._send(kind, "GET", path, query=query, is_repeatable=True)

    async def _send(
        self,
        kind: type[T],
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool = False,
    ) -> T:
        request = self._client.build_request(method, path, params=query, json=body, headers=headers)
        content = await self._guard.call(self._exchange, request, is_repeatable=is_repeatable)
        try:
            return msgspec.json.decode(content, type=kind)
        except msgspec.DecodeError as error:
            raise ProviderUnreadableError(f"{method} {path}: {error}") from error

    async def _exchange(self, request: httpx.Request) -> bytes:
        response = await self._client.send(request)
        status = response.status_code
        if status == 200:
            return response.content
        if status == 429 or status >= 500:
            response.raise_for_status()
        if status in (401, 403):
            raise ProviderCredentialsError
        if status == 409:
            raise RefundInFlightError(retry_after=1.0)
        raise ProviderRefusedError(_reason(response))


def _reason(response: httpx.Response) -> str:
    """Return Razorpay's own words, which name fields and rules, not people."""
    try:
        error = msgspec.json.decode(response.content, type=ErrorReply).error
    except msgspec.DecodeError:
        return f"Razorpay answered {response.status_code}"
    return f"{error.code}: {error.description or error.reason or ''}"[:300]


def _is_fault(error: Exception) -> bool:
    """A refund in flight is an answer; the rest is as for every provider."""
    return is_fault(error) and not isinstance(error, RefundInFlightError)


@asynccontextmanager
async def razorpay(settings: PaymentSettings) -> AsyncIterator[RazorpayProvider]:
    """Open the connection pool to Razorpay and close it at the end."""
    seconds = settings.timeout.total_seconds()
    guard = ProviderGuard(
        "razorpay",
        timeout=seconds,
        concurrency=settings.concurrency,
        retries=settings.retries,
        is_fault=_is_fault,
    )
    async with httpx.AsyncClient(
        base_url=settings.base_url,
        auth=httpx.BasicAuth(settings.key_id, settings.key_secret.reveal()),
        timeout=httpx.Timeout(seconds, connect=min(seconds, 3.0)),
        limits=httpx.Limits(max_connections=settings.concurrency),
        follow_redirects=False,
    ) as client:
        yield RazorpayProvider(client, guard, settings)
