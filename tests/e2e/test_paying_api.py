"""Paying online: by the provider's webhook, by the checkout's answer, and getting money back."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from kernel.testing.market import Market, Person, Shop, an_order, rupees, status_of, until
from kernel.testing.system import System

Rows = Callable[..., Awaitable[list[Any]]]


async def online_order(buyer: Person, shop: Shop, *, quantity: float = 2) -> tuple[Any, Any]:
    """Place an order to be paid online, and return it with its payment once that can be made."""
    offer = await shop.stocked(stock=100)
    order = await buyer.post(
        "/orders", an_order(offer, quantity=quantity, payment_method="razorpay")
    )
    path = f"/payments/{order['payment']['payment_id']}"

    async def payment() -> Any:
        answer = await buyer.request("GET", path)
        return answer.json() if answer.is_success else {"status": answer.json()["code"]}

    return order, await until(payment, lambda seen: seen["status"] == "ready")


async def pay(system: System, payment: dict[str, Any], **how: object) -> dict[str, Any]:
    """Pay as the buyer would on the provider's page."""
    body = {"method": "upi", "outcome": "success", **how}
    async with httpx.AsyncClient(base_url=f"{system.provider_url}/standin") as provider:
        answer = await provider.post(f"/orders/{payment['provider_order_id']}/pay", json=body)
        paid: dict[str, Any] = answer.raise_for_status().json()
        return paid


async def test_an_online_order_waits_for_its_money(market: Market, shop: Shop) -> None:
    buyer = await market.buyer()

    order, payment = await online_order(buyer, shop)

    assert (order["status"], order["payment"]["status"]) == ("placed", "pending")
    assert order["pay_by"] is not None
    assert payment["amount"] == order["total"]
    assert payment["captured"] == payment["refunded"] == rupees(0)


async def test_a_webhook_confirms_the_order_once(
    system: System, market: Market, shop: Shop
) -> None:
    buyer = await market.buyer()
    order, payment = await online_order(buyer, shop)

    await pay(system, payment)

    await until(
        lambda: status_of(buyer, order["order_id"]), lambda seen: seen == ("confirmed", "captured")
    )
    history = await buyer.get(f"/orders/{order['order_id']}/history")
    names = [step["name"] for step in history["changes"]]
    assert names.count("order_confirmed") == 1
    paid = await buyer.get(f"/payments/{payment['payment_id']}")
    assert paid["captured"] == order["total"]


async def test_the_answer_of_the_checkout_page_is_verified(
    system: System, market: Market, shop: Shop
) -> None:
    buyer = await market.buyer()
    order, payment = await online_order(buyer, shop)
    paid = await pay(system, payment)
    paid.pop("status")

    verified = await buyer.post(f"/payments/{payment['payment_id']}/verify", paid)

    assert verified["payment_id"] == payment["payment_id"]
    assert verified["status"] in {"authorized", "captured"}
    await until(
        lambda: status_of(buyer, order["order_id"]), lambda seen: seen == ("confirmed", "captured")
    )


async def test_a_checkout_answer_with_a_wrong_signature_is_refused(
    system: System, market: Market, shop: Shop
) -> None:
    buyer = await market.buyer()
    _, payment = await online_order(buyer, shop)
    forged = {
        "razorpay_order_id": payment["provider_order_id"],
        "razorpay_payment_id": "pay_forged0000001",
        "razorpay_signature": "0" * 64,
    }

    answer = await buyer.request("POST", f"/payments/{payment['payment_id']}/verify", forged)

    assert (answer.status_code, answer.json()["code"]) == (422, "payment.bad_signature")


async def test_a_cancelled_paid_order_is_refunded(
    system: System, market: Market, shop: Shop
) -> None:
    buyer = await market.buyer()
    order, payment = await online_order(buyer, shop)
    await pay(system, payment)
    await until(lambda: status_of(buyer, order["order_id"]), lambda seen: seen[0] == "confirmed")

    await buyer.post(f"/orders/{order['order_id']}/cancel", {"reason": "the site is not ready"})

    await until(
        lambda: status_of(buyer, order["order_id"]), lambda seen: seen == ("cancelled", "refunded")
    )
    refunded = await buyer.get(f"/payments/{payment['payment_id']}")
    assert refunded["refunded"] == order["total"]
    await until(
        lambda: buyer.get("/notifications", limit=100),
        lambda seen: "refund_settled" in {one["topic"] for one in seen["items"]},
    )


async def test_another_buyers_payment_is_not_there(market: Market, shop: Shop) -> None:
    buyer, other = await market.buyer(), await market.buyer()
    _, payment = await online_order(buyer, shop)

    answer = await other.request("GET", f"/payments/{payment['payment_id']}")

    assert (answer.status_code, answer.json()["code"]) == (404, "payment.not_found")


@pytest.mark.parametrize("headers", [{}, {"X-Razorpay-Signature": "0" * 64}])
async def test_a_webhook_that_is_not_signed_by_the_provider_is_refused(
    market: Market, rows: Rows, headers: dict[str, str]
) -> None:
    body = b'{"event":"payment.captured","mark":"%s"}' % uuid4().hex.encode()

    answer = await market.http.post(
        "/payments/webhooks/razorpay",
        content=body,
        headers={"Content-Type": "application/json", **headers},
    )

    assert (answer.status_code, answer.json()["code"]) == (401, "payment.bad_webhook_signature")
    assert await rows("payment", "SELECT 1 FROM webhooks_received WHERE body = $1", body) == []
