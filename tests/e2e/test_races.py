"""Many at once: nothing is sold twice, and one key is one order."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from kernel.ids import to_uuid
from kernel.testing.market import Market, Shop, an_order, until

Rows = Callable[..., Awaitable[list[Any]]]

BUYERS = 60
BAGS = 25
TWINS = 16


async def test_sixty_buyers_race_for_the_last_twenty_five_bags(
    market: Market, shop: Shop, rows: Rows
) -> None:
    offer = await shop.stocked(stock=BAGS)
    buyers = await asyncio.gather(*(market.buyer() for _ in range(BUYERS)))

    answers = await asyncio.gather(
        *(buyer.request("POST", "/orders", an_order(offer)) for buyer in buyers)
    )

    assert Counter(answer.status_code for answer in answers) == {201: BAGS, 409: BUYERS - BAGS}
    refusals = {answer.json()["code"] for answer in answers if answer.status_code == 409}
    assert refusals == {"catalog.stock_short"}
    stock = await until(
        lambda: rows(
            "catalog",
            "SELECT on_hand, reserved FROM stocks WHERE offer_id = $1",
            to_uuid(offer),
        ),
        lambda found: found[0]["reserved"] == 0,
    )
    assert stock[0]["on_hand"] == 0
    sold = await rows(
        "order",
        """
        SELECT count(*) AS orders, sum(quantity) AS thousandths
        FROM order_lines JOIN sub_orders USING (sub_order_id) JOIN orders USING (order_id)
        WHERE offer_id = $1 AND orders.status = 'confirmed'
        """,
        to_uuid(offer),
    )
    assert (sold[0]["orders"], sold[0]["thousandths"]) == (BAGS, BAGS * 1000)


async def test_sixteen_equal_posts_with_one_key_make_one_order(
    market: Market, shop: Shop, rows: Rows
) -> None:
    offer = await shop.stocked(stock=100)
    buyer = await market.buyer()

    answers = await asyncio.gather(
        *(
            buyer.request("POST", "/orders", an_order(offer, quantity=3), key="one and the same")
            for _ in range(TWINS)
        )
    )

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    orders = await rows(
        "order",
        "SELECT order_id FROM orders WHERE buyer_id = $1",
        to_uuid(buyer.user_id),
    )
    reservations = await rows(
        "catalog",
        "SELECT reservation_id, quantity FROM reservation_lines WHERE offer_id = $1",
        to_uuid(offer),
    )
    facts = await rows(
        "order",
        "SELECT 1 FROM kernel.outbox WHERE subject LIKE 'evt.order.order_placed.%' "
        "AND payload LIKE '%' || $1 || '%'",
        buyer.user_id,
    )
    assert (len(orders), len(reservations), len(facts)) == (1, 1, 1)
    assert reservations[0]["quantity"] == 3_000


async def test_a_key_used_for_another_body_is_refused(market: Market, shop: Shop) -> None:
    offer = await shop.stocked()
    buyer = await market.buyer()
    await buyer.post("/orders", an_order(offer, quantity=1), key="mine")

    answer = await buyer.request("POST", "/orders", an_order(offer, quantity=2), key="mine")

    assert (answer.status_code, answer.json()["code"]) == (422, "kernel.identity_reused")


async def test_the_same_key_of_another_buyer_is_another_order(market: Market, shop: Shop) -> None:
    offer = await shop.stocked()
    one, other = await market.buyer(), await market.buyer()

    first = await one.post("/orders", an_order(offer), key="shared")
    second = await other.post("/orders", an_order(offer), key="shared")

    assert first["order_id"] != second["order_id"]


async def test_a_refusal_is_not_remembered_by_its_key(market: Market, shop: Shop) -> None:
    offer = await shop.stocked(stock=1)
    buyer = await market.buyer()
    refused = await buyer.request("POST", "/orders", an_order(offer, quantity=2), key="later")
    await shop.owner.post(f"/catalog/offers/{offer}/stock", {"delta": 5, "reason": "received"})

    answer = await buyer.request("POST", "/orders", an_order(offer, quantity=2), key="later")

    assert (refused.status_code, answer.status_code) == (409, 201)
