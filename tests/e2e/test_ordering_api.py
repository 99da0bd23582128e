"""One order from quote to delivery, and the ways in which it ends otherwise."""

from typing import Any

import pytest

from kernel.testing.market import (
    Market,
    Person,
    Shop,
    an_address,
    an_order,
    rupees,
    status_of,
    until,
)


async def two_vendors_order(market: Market, shop: Shop, buyer: Person) -> tuple[Any, Shop]:
    """Order cement of one vendor, and a mason of whoever is near."""
    other = await market.shop(name="Charminar Labour", location={"lat": 17.46, "lon": 78.39})
    cement = await shop.stocked(stock=500, price=38_000)
    mason = await other.describe("Mason", category="masonry", kind="labour", unit="day", hsn="9954")
    await other.offer(mason, price=90_000, stock=20)
    lines = [{"offer_id": cement, "quantity": 10}, {"product_id": mason, "quantity": 2}]
    return await buyer.post("/orders", an_order(lines=lines)), other


async def stock_of(shop: Shop, offer_id: str) -> dict[str, Any]:
    """Return what is on hand and reserved of an offer."""
    listed = await shop.owner.get("/catalog/offers", limit=100)
    return next(one for one in listed["items"] if one["offer_id"] == offer_id)


async def titles(person: Person) -> set[str]:
    return {one["title"] for one in (await person.get("/notifications", limit=100))["items"]}


async def test_a_quote_needs_no_log_in_and_adds_up(market: Market, shop: Shop) -> None:
    offer = await shop.stocked(price=38_000)
    body = {
        "lines": [{"offer_id": offer, "quantity": 10}],
        "delivery_address": an_address(),
    }

    quote = await market.stranger.post("/orders/quote", body)

    assert quote == {
        "serviceable": True,
        "subtotal": rupees(380_000),
        "tax": rupees(68_400),
        "delivery": rupees(35_000),
        "discount": rupees(0),
        "total": rupees(483_400),
    }


async def test_a_place_far_away_is_not_served(market: Market, shop: Shop) -> None:
    offer = await shop.stocked()
    delhi = an_address(city="Delhi", pincode="110001", lat=28.63, lon=77.22)
    buyer = await market.buyer()

    quote = await market.stranger.post(
        "/orders/quote",
        {"lines": [{"offer_id": offer, "quantity": 1}], "delivery_address": delhi},
    )
    placed = await buyer.request("POST", "/orders", an_order(offer, delivery_address=delhi))

    assert quote["serviceable"] is False
    assert placed.status_code == 409
    assert placed.json()["code"] == "order.not_serviceable"


async def test_an_order_is_split_by_vendor_and_adds_up(market: Market, shop: Shop) -> None:
    buyer = await market.buyer()

    order, other = await two_vendors_order(market, shop, buyer)

    assert order.keys() >= {
        "order_id",
        "status",
        "subtotal",
        "tax",
        "delivery",
        "discount",
        "total",
        "sub_orders",
        "payment",
    }
    assert order["status"] == "confirmed"
    assert {part["vendor_id"] for part in order["sub_orders"]} == {shop.vendor_id, other.vendor_id}
    assert all(
        part.keys() >= {"sub_order_id", "vendor_id", "status", "lines"}
        for part in order["sub_orders"]
    )
    assert order["payment"].keys() >= {"payment_id", "status"}
    assert order["total"]["amount"] == (
        order["subtotal"]["amount"]
        + order["tax"]["amount"]
        + order["delivery"]["amount"]
        - order["discount"]["amount"]
    )


async def test_a_cash_order_goes_from_door_to_door_and_everybody_is_told(
    market: Market, shop: Shop
) -> None:
    buyer = await market.buyer()
    order, other = await two_vendors_order(market, shop, buyer)
    asked = await shop.inbox(status="assigned", limit=100)

    accepted = await shop.handle(order, "accept")
    await other.handle(order, "accept")
    await shop.handle(order, "dispatch", "deliver")
    await other.handle(order, "dispatch", "deliver")

    assert order["order_id"] in {item["order_id"] for item in asked}
    assert [part["status"] for part in accepted] == ["accepted"]
    ended = await until(
        lambda: status_of(buyer, order["order_id"]),
        lambda seen: seen == ("completed", "cash_collected"),
    )
    payment = await buyer.get(f"/payments/{order['payment']['payment_id']}")
    assert ended == ("completed", "cash_collected")
    assert payment["captured"] == order["total"]
    told = {"We have your order", "Your order is complete", "We have your payment"}
    await until(lambda: titles(buyer), told.issubset)
    await until(lambda: titles(other.owner), lambda seen: "A new order for you" in seen)


async def test_history_tells_the_steps_of_an_order(market: Market, shop: Shop) -> None:
    buyer = await market.buyer()
    order = await buyer.post("/orders", an_order(await shop.stocked()))
    await shop.handle(order, "accept", "dispatch", "deliver")

    history = await until(
        lambda: buyer.get(f"/orders/{order['order_id']}/history"),
        lambda seen: "order_completed" in {step["name"] for step in seen["changes"]},
    )

    steps = history["changes"]
    assert history["order_id"] == order["order_id"]
    assert [step["version"] for step in steps] == list(range(1, len(steps) + 1))
    assert [step["name"] for step in steps[:6]] == [
        "order_placed",
        "order_confirmed",
        "sub_order_assigned",
        "sub_order_accepted",
        "sub_order_dispatched",
        "sub_order_delivered",
    ]


async def test_own_orders_are_listed_by_status_and_page(market: Market, shop: Shop) -> None:
    buyer = await market.buyer()
    offer = await shop.stocked()
    placed = [(await buyer.post("/orders", an_order(offer)))["order_id"] for _ in range(3)]
    await buyer.post(f"/orders/{placed[1]}/cancel", {"reason": "too many"})

    first = await buyer.get("/orders", limit=2)
    second = await buyer.get("/orders", limit=2, cursor=first["next_cursor"])
    cancelled = await buyer.get("/orders", status="cancelled")

    shown = [one["order_id"] for one in [*first["items"], *second["items"]]]
    assert shown == placed[::-1]
    assert second["next_cursor"] is None
    assert [one["order_id"] for one in cancelled["items"]] == [placed[1]]


async def test_a_rejected_sub_order_goes_to_the_next_vendor(market: Market) -> None:
    near = await market.shop(name="Near", location={"lat": 17.444, "lon": 78.378})
    far = await market.shop(name="Far", location={"lat": 17.50, "lon": 78.40})
    product = await near.describe()
    await near.offer(product)
    await far.offer(product)
    buyer = await market.buyer()
    lines = [{"product_id": product, "quantity": 3}]
    order = await buyer.post("/orders", an_order(lines=lines))

    await near.handle(order, "reject")

    taken = await until(lambda: far.inbox(status="assigned"))
    assert [part["vendor_id"] for part in order["sub_orders"]] == [near.vendor_id]
    assert [item["order_id"] for item in taken] == [order["order_id"]]


async def test_cancelling_gives_the_stock_back(market: Market, shop: Shop) -> None:
    buyer = await market.buyer()
    offer = await shop.stocked(stock=40)
    order = await buyer.post("/orders", an_order(offer, quantity=15))
    await until(lambda: stock_of(shop, offer), lambda stock: stock["on_hand"] == 25)

    cancelled = await buyer.post(
        f"/orders/{order['order_id']}/cancel", {"reason": "found it cheaper"}
    )

    stock = await until(lambda: stock_of(shop, offer), lambda stock: stock["available"] == 40)
    assert (cancelled["status"], cancelled["cancel_reason"]) == ("cancelled", "buyer")
    assert (stock["on_hand"], stock["reserved"]) == (40, 0)


async def test_what_is_on_its_way_cannot_be_cancelled(market: Market, shop: Shop) -> None:
    buyer = await market.buyer()
    order = await buyer.post("/orders", an_order(await shop.stocked()))
    await shop.handle(order, "accept", "dispatch")

    answer = await buyer.request(
        "POST", f"/orders/{order['order_id']}/cancel", {"reason": "changed my mind"}
    )

    assert (answer.status_code, answer.json()["code"]) == (409, "order.too_late_to_cancel")


@pytest.mark.parametrize("path", ["", "/history", "/live"])
async def test_another_buyers_order_is_not_there(market: Market, shop: Shop, path: str) -> None:
    buyer, other = await market.buyer(), await market.buyer()
    order = await buyer.post("/orders", an_order(await shop.stocked()))

    answer = await other.request("GET", f"/orders/{order['order_id']}{path}")

    assert (answer.status_code, answer.json()["code"]) == (404, "order.not_found")


async def test_another_vendor_cannot_accept(market: Market, shop: Shop) -> None:
    buyer = await market.buyer()
    rival = await market.shop()
    order = await buyer.post("/orders", an_order(await shop.stocked()))
    part = order["sub_orders"][0]["sub_order_id"]

    answer = await rival.owner.request(
        "POST", f"/orders/{order['order_id']}/sub-orders/{part}/accept"
    )

    assert answer.status_code == 404
