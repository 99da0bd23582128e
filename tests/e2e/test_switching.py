"""A plugin switched off while the system runs: nothing is lost, and the HTTP surface follows."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kernel.ids import to_uuid
from kernel.testing.market import Market, Person, Shop, an_order, until
from kernel.testing.system import ADMIN_EMAIL, ADMIN_PASSWORD, System, running_system
from plugins.notification.sink import StoredMail, read_messages

Rows = Callable[..., Awaitable[list[Any]]]

ORDERS = 3
PER_ORDER = 3
"""Letters of a placed cash order: placed and confirmed to its buyer, a new order to its vendor."""


def letters_to(system: System, *people: Person) -> list[StoredMail]:
    """Return the e-mails that these people were sent."""
    addresses = {person.email for person in people}
    return [mail for mail in read_messages(system.mail_folder) if addresses & set(mail.to)]


async def statuses(market: Market, path: str = "/notifications") -> set[int]:
    """Ask over several connections at once, so that every gateway process is asked."""
    answers = await asyncio.gather(*(market.admin.request("GET", path) for _ in range(12)))
    return {answer.status_code for answer in answers}


async def letters(system: System, *people: Person) -> list[StoredMail]:
    return letters_to(system, *people)


async def place_orders(shop: Shop, buyer: Person) -> list[str]:
    offer = await shop.stocked()
    return [(await buyer.post("/orders", an_order(offer)))["order_id"] for _ in range(ORDERS)]


async def test_a_disabled_notification_catches_up_and_sends_each_letter_once(
    system: System, market: Market, rows: Rows
) -> None:
    shop, buyer = await market.shop(), await market.buyer()
    await until(lambda: letters(system, buyer, shop.owner), lambda mails: len(mails) == 2)
    await system.command("plugin", "disable", "notification", "--reason", "a test")
    await until(lambda: statuses(market), lambda seen: seen == {503})

    refused = await buyer.request("GET", "/notifications")
    await place_orders(shop, buyer)
    while_off = letters_to(system, buyer, shop.owner)
    await system.command("plugin", "enable", "notification")

    assert (refused.status_code, refused.json()["code"]) == (503, "kernel.plugin_disabled")
    assert int(refused.headers["retry-after"]) >= 1
    assert len(while_off) == 2
    await until(lambda: statuses(market), lambda seen: seen == {200})
    expected = 2 + ORDERS * PER_ORDER
    mails = await until(
        lambda: letters(system, buyer, shop.owner), lambda mails: len(mails) >= expected
    )
    assert set(Counter(mail.message_id for mail in mails).values()) == {1}
    intents = await rows(
        "notification",
        "SELECT notification_id, state FROM notifications WHERE user_id = any($1)",
        [to_uuid(buyer.user_id), to_uuid(shop.owner.user_id)],
    )
    assert len(intents) == len(mails) == expected


async def test_every_process_follows_the_switch(system: System, market: Market) -> None:
    await system.command("plugin", "disable", "notification")
    try:
        await until(lambda: statuses(market), lambda seen: seen == {503})
        others = await statuses(market, "/catalog/products")
    finally:
        await system.command("plugin", "reset", "notification")

    assert others == {200}
    await until(lambda: statuses(market), lambda seen: seen == {200})


async def test_what_others_need_is_not_switched_off(system: System, market: Market) -> None:
    with pytest.raises(RuntimeError, match="order"):
        await system.command("plugin", "disable", "catalog")

    assert (await market.admin.request("GET", "/catalog/products")).status_code == 200


async def test_a_plugin_disabled_by_configuration_begins_when_it_is_enabled() -> None:
    off = {"plugins": {"notification": {"enabled": False}}}
    async with running_system("one-local", overrides=off) as system:
        market = await Market.enter(system.http, ADMIN_EMAIL, ADMIN_PASSWORD)
        shop, buyer = await market.shop(), await market.buyer()
        await place_orders(shop, buyer)
        refused = await buyer.request("GET", "/notifications")
        while_off = letters_to(system, buyer, shop.owner)

        await system.command("plugin", "enable", "notification")

        expected = 2 + ORDERS * PER_ORDER
        mails = await until(
            lambda: letters(system, buyer, shop.owner), lambda mails: len(mails) >= expected
        )
        assert (refused.status_code, refused.json()["code"]) == (503, "kernel.plugin_disabled")
        assert while_off == []
        assert set(Counter(mail.message_id for mail in mails).values()) == {1}
        assert len(mails) == expected
