"""Hosts that are away, and hosts that are killed: what was accepted is done, once, and no more than that."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest

from kernel.ids import to_uuid
from kernel.testing.market import Market, Person, Shop, an_order, status_of, until
from kernel.testing.system import System
from plugins.notification.sink import read_messages

pytestmark = pytest.mark.topologies("split")

Rows = Callable[..., Awaitable[list[Any]]]

STOCK: Final = 10_000
SHOPPERS: Final = 4
HEALED: Final = 150.0
"""Seconds in which all is done that hosts had in hand when they were killed: the server gives a
delivery to another host after 30 s, and several may follow one another."""


async def test_orders_are_taken_while_payment_is_away_and_end_when_it_is_back(
    system: System, market: Market, shop: Shop
) -> None:
    buyer = await market.buyer()
    offer = await shop.stocked()
    async with system.without("payment"):
        cash = await buyer.request("POST", "/orders", an_order(offer))
        online = await buyer.request("POST", "/orders", an_order(offer, payment_method="razorpay"))
        away = await buyer.request("GET", f"/payments/{cash.json()['payment']['payment_id']}")
        await shop.handle(cash.json(), "accept", "dispatch", "deliver")

    assert (cash.status_code, online.status_code) == (201, 201)
    assert (away.status_code, away.json()["code"]) == (503, "bus.no_responder")
    assert int(away.headers["retry-after"]) >= 1
    assert await until(
        lambda: status_of(buyer, cash.json()["order_id"]),
        lambda seen: seen == ("completed", "cash_collected"),
    )
    payable = f"/payments/{online.json()['payment']['payment_id']}"
    assert await until(lambda: buyer.get(payable), lambda seen: seen["status"] == "ready")


async def test_while_catalog_is_away_orders_are_refused_and_nothing_is_half_done(
    system: System, market: Market, shop: Shop, rows: Rows
) -> None:
    buyer = await market.buyer()
    offer = await shop.stocked(stock=10)
    async with system.without("catalog"):
        refused = await buyer.request("POST", "/orders", an_order(offer), key="again")
        listed = await market.stranger.request("GET", "/catalog/products")

    after = await buyer.request("POST", "/orders", an_order(offer), key="again")

    for answer in (refused, listed):
        assert (answer.status_code, answer.json()["code"]) == (503, "bus.no_responder")
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
    assert after.status_code == 201
    assert await traces(rows, buyer, offer) == (1, 1, 1)


async def test_while_vendor_is_away_nothing_is_reserved(
    system: System, market: Market, shop: Shop, rows: Rows
) -> None:
    buyer = await market.buyer()
    offer = await shop.stocked(stock=10)
    async with system.without("vendor"):
        refused = await buyer.request("POST", "/orders", an_order(offer))

    assert (refused.status_code, refused.json()["code"]) == (503, "bus.no_responder")
    assert await traces(rows, buyer, offer) == (0, 0, 0)


async def traces(rows: Rows, buyer: Person, offer: str) -> tuple[int, int, int]:
    """Count the buyer's orders, their facts in the outbox, and the offer's reservations."""
    orders = await rows("order", "SELECT 1 FROM orders WHERE buyer_id = $1", to_uuid(buyer.user_id))
    facts = await rows(
        "order",
        "SELECT 1 FROM kernel.outbox WHERE subject LIKE 'evt.order.order_placed.%' "
        "AND payload LIKE '%' || $1 || '%'",
        buyer.user_id,
    )
    held = await rows(
        "catalog", "SELECT 1 FROM reservation_lines WHERE offer_id = $1", to_uuid(offer)
    )
    return len(orders), len(facts), len(held)


async def shop_on(buyer: Person, offer: str, stop: asyncio.Event) -> list[str]:
    """Order again and again, each time until it is accepted; returns the accepted orders."""
    accepted: list[str] = []
    while not stop.is_set():
        accepted.append(await order_in_the_end(buyer, offer, key=uuid4().hex))
    return accepted


async def order_in_the_end(buyer: Person, offer: str, *, key: str) -> str:
    """Send one order under one key until it is accepted, as a client in bad weather does."""

    async def attempt() -> str:
        try:
            answer = await buyer.request("POST", "/orders", an_order(offer), key=key)
        except httpx.TransportError:
            return ""
        assert answer.status_code in (201, 500, 502, 503, 504), answer.text
        return str(answer.json()["order_id"]) if answer.status_code == 201 else ""

    return await until(attempt, within=60)


async def kill(system: System, host: str) -> None:
    """Kill a host without a word, and wait until the supervisor has it back."""
    pid = system.pid_of(host)
    os.kill(pid, signal.SIGKILL)
    ready = system.supervisor.folder / f"{host}.ready"

    async def is_back() -> bool:
        again = system.pid_of(host)
        return again != pid and ready.exists() and ready.read_text() == str(again)

    await until(is_back, within=60)


@pytest.mark.timeout(400)
async def test_every_host_is_killed_in_turn_and_every_accepted_order_stands_once(
    system: System, market: Market, rows: Rows
) -> None:
    shop = await market.shop(orders_per_day=100_000)
    offer = await shop.stocked(stock=STOCK)
    buyers = [await market.buyer() for _ in range(SHOPPERS)]
    stop = asyncio.Event()
    shoppers = [asyncio.create_task(shop_on(buyer, offer, stop)) for buyer in buyers]

    for number in ("1", "2"):
        hosts = [name for name in system.supervisor.layouts if name.endswith(number)]
        await asyncio.gather(*(kill(system, host) for host in hosts[::2]))
        await asyncio.gather(*(kill(system, host) for host in hosts[1::2]))
    stop.set()
    accepted = [order for bought in await asyncio.gather(*shoppers) for order in bought]

    assert len(accepted) == len(set(accepted)) > SHOPPERS
    await orders_stand_once(rows, buyers, accepted)
    await stock_adds_up(rows, offer, sold=len(accepted))
    await letters_went_once(system, rows, buyers)
    ledger = await rows("payment", "SELECT coalesce(sum(amount), 0) AS balance FROM ledger_lines")
    assert ledger[0]["balance"] == 0


async def orders_stand_once(rows: Rows, buyers: list[Person], accepted: list[str]) -> None:
    """Every accepted order is there, confirmed, once, and nothing else is."""
    ids = [to_uuid(buyer.user_id) for buyer in buyers]
    orders = await rows(
        "order", "SELECT order_id, status FROM orders WHERE buyer_id = any($1)", ids
    )
    assert {row["order_id"] for row in orders} == {to_uuid(order) for order in accepted}
    assert {row["status"] for row in orders} == {"confirmed"}
    facts = await until(
        lambda: rows(
            "order",
            "SELECT payload::jsonb ->> 'order_id' AS order_id, stream_seq FROM kernel.outbox "
            "WHERE subject LIKE 'evt.order.order_placed.%' "
            "AND payload::jsonb ->> 'buyer_id' = any($1)",
            [buyer.user_id for buyer in buyers],
        ),
        lambda found: all(row["stream_seq"] for row in found),
        within=HEALED,
    )
    assert Counter(row["order_id"] for row in facts) == Counter(accepted)
    assert len({row["stream_seq"] for row in facts}) == len(facts)


async def stock_adds_up(rows: Rows, offer: str, *, sold: int) -> None:
    """What was sold is deducted, and nothing is held any more."""
    stock = await until(
        lambda: rows(
            "catalog",
            "SELECT on_hand, reserved FROM stocks WHERE offer_id = $1",
            to_uuid(offer),
        ),
        lambda found: found[0]["on_hand"] == (STOCK - sold) * 1000 and not found[0]["reserved"],
        within=HEALED,
    )
    assert len(stock) == 1
    lines = await rows(
        "catalog",
        "SELECT state, count(*) AS n FROM reservation_lines WHERE offer_id = $1 GROUP BY state",
        to_uuid(offer),
    )
    assert {row["state"]: row["n"] for row in lines} == {"committed": sold}


async def letters_went_once(system: System, rows: Rows, buyers: list[Person]) -> None:
    """Every buyer's letters went out; one that went twice was counted as a possible duplicate."""
    ids = [to_uuid(buyer.user_id) for buyer in buyers]
    letters = await until(
        lambda: rows(
            "notification", "SELECT state FROM notifications WHERE user_id = any($1)", ids
        ),
        lambda found: found and {row["state"] for row in found} == {"sent"},
        within=HEALED,
    )
    addresses = {buyer.email for buyer in buyers}
    sent = Counter(
        mail.message_id for mail in read_messages(system.mail_folder) if addresses & set(mail.to)
    )
    counted = await rows("notification", "SELECT sum(possible_duplicates) AS n FROM kernel.effects")
    assert len(sent) == len(letters)
    assert sent.total() - len(sent) <= counted[0]["n"]
