"""The adapter's reading of answers that no well-behaved provider gives. The good ones: the contract suite."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from kernel.errors import Unavailable
from kernel.money import Money
from kernel.providers import ProviderGuard
from kernel.settings import Secret
from plugins.payment.adapters.razorpay import RazorpayProvider
from plugins.payment.errors import (
    ProviderCredentialsError,
    ProviderRefusedError,
    ProviderUnreadableError,
)
from plugins.payment.settings import PaymentSettings

Answer = Callable[[httpx.Request], httpx.Response]


def some_settings() -> PaymentSettings:
    return PaymentSettings(
        key_id="rzp_test_1", key_secret=Secret("s"), webhook_secrets=(Secret("w"),)
    )


@asynccontextmanager
async def a_provider(answer: Answer, *, retries: int = 0) -> AsyncIterator[RazorpayProvider]:
    transport = httpx.MockTransport(answer)
    guard = ProviderGuard("razorpay", retries=retries, backoff=0.001)
    async with httpx.AsyncClient(transport=transport, base_url="https://api.test/v1") as client:
        yield RazorpayProvider(client, guard, some_settings())


async def test_html_in_the_place_of_json_is_unreadable() -> None:
    async with a_provider(lambda _: httpx.Response(200, text="<html>")) as provider:
        with pytest.raises(ProviderUnreadableError):
            await provider.payment("pay_1")


async def test_an_unknown_state_is_unreadable_rather_than_guessed() -> None:
    entity = {"id": "pay_1", "amount": 100, "currency": "INR", "status": "thawing"}
    async with a_provider(lambda _: httpx.Response(200, json=entity)) as provider:
        with pytest.raises(ProviderUnreadableError):
            await provider.payment("pay_1")


async def test_another_currency_is_unreadable() -> None:
    entity = {"id": "pay_1", "amount": 100, "currency": "USD", "status": "captured"}
    async with a_provider(lambda _: httpx.Response(200, json=entity)) as provider:
        with pytest.raises(ProviderUnreadableError):
            await provider.payment("pay_1")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_no_verdict_on_the_payment(status: int) -> None:
    async with a_provider(lambda _: httpx.Response(status, json={})) as provider:
        with pytest.raises(ProviderCredentialsError):
            await provider.open_order(receipt="r", amount=Money(100))


async def test_a_refusal_without_words_is_a_refusal() -> None:
    async with a_provider(lambda _: httpx.Response(400, text="no")) as provider:
        with pytest.raises(ProviderRefusedError, match="400"):
            await provider.capture("pay_1", amount=Money(100))


async def test_opening_an_order_is_never_repeated_blindly() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(502)

    async with a_provider(answer, retries=3) as provider:
        with pytest.raises(Unavailable):
            await provider.open_order(receipt="r", amount=Money(100))

    assert len(seen) == 1


async def test_reading_is_repeated() -> None:
    entity = {"id": "pay_1", "amount": 100, "currency": "INR", "status": "created"}
    answers = iter([httpx.Response(502), httpx.Response(200, json=entity)])

    async with a_provider(lambda _: next(answers), retries=1) as provider:
        found = await provider.payment("pay_1")

    assert found.status == "created"


async def test_an_order_of_another_purchase_is_never_taken_for_ours() -> None:
    orders = [
        {"id": "order_1", "amount": 100, "currency": "INR", "status": "created", "created_at": 1},
        {
            "id": "order_2",
            "amount": 999,
            "currency": "INR",
            "status": "created",
            "created_at": 2,
            "receipt": "r",
        },
    ]

    async with a_provider(lambda _: httpx.Response(200, json={"items": orders})) as provider:
        found = await provider.find_order(receipt="r", amount=Money(100))

    assert found is None


async def test_of_several_orders_with_one_receipt_the_oldest_counts() -> None:
    order = {"amount": 100, "currency": "INR", "status": "created", "receipt": "r"}
    orders = [
        {**order, "id": "order_2", "created_at": 2},
        {**order, "id": "order_1", "created_at": 1},
    ]

    async with a_provider(lambda _: httpx.Response(200, json={"items": orders})) as provider:
        found = await provider.find_order(receipt="r", amount=Money(100))

    assert found == "order_1"
