"""Favourites on a real database, with catalog played by a function."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from bus.errors import ServiceError
from kernel.errors import NotFound
from kernel.migrator import downgrade, plugin_migrations
from kernel.money import Money
from kernel.testing import PluginHarness, an_actor
from plugins.catalog.contract import GetProduct, PriceChanged, ProductView
from realserv_favourites.contract import (
    AddFavourite,
    FavouriteCheaper,
    ListFavourites,
    RemoveFavourite,
)
from realserv_favourites.plugin import KEEP, READ, plugin

CEMENT = "product_01k9z7x3c8e4m9r2t5v6w7y8z0"
SAND = "product_01k9z7x3c8e4m9r2t5v6w7y8z1"
NO_PRODUCT = "product_01k9z7x3c8e4m9r2t5v6w7y8z2"
OFFER = "offer_01k9z7x3c8e4m9r2t5v6w7y8z0"
ASHA = an_actor("user_01k9z7x3c8e4m9r2t5v6w7y8z0", KEEP, READ)
RAVI = an_actor("user_01k9z7x3c8e4m9r2t5v6w7y8z1", KEEP, READ)
STRANGER = an_actor("user_01k9z7x3c8e4m9r2t5v6w7y8z2")


def the_product(query: GetProduct) -> ProductView:
    if query.product_id == NO_PRODUCT:
        raise NotFound
    return ProductView(
        product_id=query.product_id,
        name="Cement",
        category="cement",
        kind="material",
        unit="bag",
        hsn="2523",
        description="",
        brand=None,
        offers=(),
    )


def a_price_change(*, old: int = 40_000, new: int = 38_000) -> PriceChanged:
    return PriceChanged(
        offer_id=OFFER, product_id=CEMENT, old_price=Money(old), new_price=Money(new)
    )


@pytest.fixture
async def favourites(database: str) -> AsyncIterator[PluginHarness]:
    async with PluginHarness.open(plugin, database, answers={GetProduct: the_product}) as harness:
        yield harness


async def test_a_favourite_stands_on_its_buyers_list_alone(favourites: PluginHarness) -> None:
    await favourites.ask(AddFavourite(product_id=CEMENT), actor=ASHA)

    own = await favourites.ask(ListFavourites(), actor=ASHA)
    others = await favourites.ask(ListFavourites(), actor=RAVI)
    assert [item.product_id for item in own.items] == [CEMENT]
    assert others.items == ()


async def test_adding_again_gives_the_favourite_that_is_there(favourites: PluginHarness) -> None:
    first = await favourites.ask(AddFavourite(product_id=CEMENT), actor=ASHA)

    second = await favourites.ask(AddFavourite(product_id=CEMENT), actor=ASHA)

    listed = await favourites.ask(ListFavourites(), actor=ASHA)
    assert second == first
    assert listed.items == (first,)


async def test_an_addition_delivered_twice_is_answered_alike(favourites: PluginHarness) -> None:
    first = await favourites.ask(AddFavourite(product_id=CEMENT), actor=ASHA, key="k1")

    second = await favourites.ask(AddFavourite(product_id=CEMENT), actor=ASHA, key="k1")

    assert second == first


async def test_a_product_that_does_not_exist_is_no_favourite(favourites: PluginHarness) -> None:
    with pytest.raises(ServiceError) as refusal:
        await favourites.ask(AddFavourite(product_id=NO_PRODUCT), actor=ASHA)

    assert refusal.value.to_wire().status == 404


async def test_a_removal_delivered_twice_removes_once(favourites: PluginHarness) -> None:
    await favourites.ask(AddFavourite(product_id=CEMENT), actor=ASHA)
    await favourites.ask(AddFavourite(product_id=CEMENT), actor=RAVI)

    await favourites.ask(RemoveFavourite(product_id=CEMENT), actor=ASHA, key="k1")
    await favourites.ask(RemoveFavourite(product_id=CEMENT), actor=ASHA, key="k1")

    own = await favourites.ask(ListFavourites(), actor=ASHA)
    others = await favourites.ask(ListFavourites(), actor=RAVI)
    assert own.items == ()
    assert [item.product_id for item in others.items] == [CEMENT]


@pytest.mark.parametrize(
    "message",
    [AddFavourite(product_id=CEMENT), RemoveFavourite(product_id=CEMENT), ListFavourites()],
    ids=lambda message: type(message).__name__,
)
async def test_nothing_is_done_without_the_permission(
    favourites: PluginHarness, message: Any
) -> None:
    with pytest.raises(ServiceError) as refusal:
        await favourites.ask(message, actor=STRANGER)

    assert refusal.value.to_wire().code == "kernel.permission_denied"


async def test_a_lower_price_is_told_to_each_buyer_once(favourites: PluginHarness) -> None:
    await favourites.ask(AddFavourite(product_id=CEMENT), actor=ASHA)
    await favourites.ask(AddFavourite(product_id=CEMENT), actor=RAVI)
    await favourites.ask(AddFavourite(product_id=SAND), actor=RAVI)

    await favourites.deliver(a_price_change(), times=2)

    told = await favourites.said(FavouriteCheaper)
    listed = await favourites.ask(ListFavourites(), actor=RAVI)
    assert [fact.user_id for fact in told] == [ASHA.id, RAVI.id]
    assert {i.product_id: i.notice and i.notice.new_price for i in listed.items} == {
        SAND: None,
        CEMENT: Money(38_000),
    }


async def test_a_higher_price_is_told_to_nobody(favourites: PluginHarness) -> None:
    await favourites.ask(AddFavourite(product_id=CEMENT), actor=ASHA)

    await favourites.deliver(a_price_change(old=38_000, new=40_000))

    listed = await favourites.ask(ListFavourites(), actor=ASHA)
    assert await favourites.said(FavouriteCheaper) == []
    assert listed.items[0].notice is None


async def test_an_old_notice_is_shown_no_more(favourites: PluginHarness) -> None:
    await favourites.ask(AddFavourite(product_id=CEMENT), actor=ASHA)
    await favourites.deliver(a_price_change())

    favourites.clock_offset = timedelta(days=31)

    listed = await favourites.ask(ListFavourites(), actor=ASHA)
    assert listed.items[0].notice is None


async def test_the_list_comes_in_pages(favourites: PluginHarness) -> None:
    await favourites.ask(AddFavourite(product_id=CEMENT), actor=ASHA)
    await favourites.ask(AddFavourite(product_id=SAND), actor=ASHA)

    first = await favourites.ask(ListFavourites(limit=1), actor=ASHA)
    second = await favourites.ask(ListFavourites(limit=1, cursor=first.next_cursor), actor=ASHA)

    assert {i.product_id for i in (*first.items, *second.items)} == {SAND, CEMENT}
    assert second.next_cursor is None


async def test_a_cursor_that_no_page_gave_is_refused(favourites: PluginHarness) -> None:
    with pytest.raises(ServiceError) as refusal:
        await favourites.ask(ListFavourites(cursor="WyJubyBpZCJd"), actor=ASHA)

    assert refusal.value.to_wire().status == 422


async def test_the_migration_can_be_taken_back(favourites: PluginHarness, database: str) -> None:
    await downgrade(database, plugin_migrations(plugin.name, plugin.package), "base")

    with pytest.raises(ServiceError):
        await favourites.ask(ListFavourites(), actor=ASHA)
