"""Vendors, products, offers and stock, as design.md §7 fixes them."""

from typing import Any
from uuid import uuid4

import pytest

from kernel.testing.market import Market, Shop, rupees, until


@pytest.fixture(scope="session")
async def shelf(shop: Shop) -> str:
    """A category of its own with three products: two cements and a mason's day."""
    category = f"shelf-{uuid4().hex[:8]}"
    dear = await shop.describe("Ramco OPC 53 cement", category=category, brand="Ramco")
    cheap = await shop.describe("Nagarjuna PPC cement", category=category, brand="Nagarjuna")
    mason = await shop.describe(
        "Mason, day rate", category=category, kind="labour", unit="day", hsn="9954"
    )
    await shop.offer(dear, price=42_000)
    await shop.offer(cheap, price=36_000, stock=0)
    await shop.offer(mason, price=90_000, stock=20)
    return category


async def names(market: Market, category: str, **params: str | int) -> list[str]:
    found = await market.stranger.get("/catalog/products", category=category, **params)
    return [item["name"] for item in found["items"]]


async def test_a_vendor_is_pending_until_an_admin_approves(market: Market) -> None:
    owner = await market.register("vendor")
    firm = {
        "name": "Deccan Hardware",
        "location": {"lat": 17.4, "lon": 78.5},
        "service_radius_km": 12.5,
        "orders_per_day": 30,
        "gstin": "36ABCFE1234F1ZX",
        "pan": "ABCFE1234F",
    }

    answer = await owner.request("POST", "/vendors", firm)
    vendor_id = answer.json()["vendor_id"]
    approved = await market.admin.request("POST", f"/vendors/{vendor_id}/approve")

    assert (answer.status_code, answer.json()) == (
        201,
        {"vendor_id": vendor_id, "status": "pending"},
    )
    assert (approved.status_code, approved.json()) == (
        200,
        {"vendor_id": vendor_id, "status": "approved"},
    )


async def test_a_vendor_cannot_approve_itself(market: Market, shop: Shop) -> None:
    answer = await shop.owner.request("POST", f"/vendors/{shop.vendor_id}/approve")

    assert (answer.status_code, answer.json()["code"]) == (403, "kernel.permission_denied")


async def test_products_and_offers_answer_with_their_ids(shop: Shop) -> None:
    product = {
        "name": "Fe 550D TMT bar 12 mm",
        "category": "steel",
        "kind": "material",
        "unit": "kg",
        "hsn": "7214",
        "description": "Per kilogram, 12 m lengths",
    }

    created = await shop.owner.request("POST", "/catalog/products", product)
    offered = await shop.owner.request(
        "POST",
        "/catalog/offers",
        {
            "product_id": created.json()["product_id"],
            "vendor_id": shop.vendor_id,
            "sku": f"TMT12-{uuid4().hex[:8]}",
            "price": rupees(6_250),
            "min_quantity": 50,
            "stock": 12_500.5,
        },
    )

    assert (created.status_code, created.json().keys()) == (201, {"product_id"})
    assert (offered.status_code, offered.json().keys()) == (201, {"offer_id"})


async def test_own_offers_show_the_stock_that_others_do_not_see(market: Market) -> None:
    shop = await market.shop()
    offer_id = await shop.offer(await shop.describe(), price=38_000, stock=120)

    listed = await shop.owner.get("/catalog/offers")

    assert listed.keys() == {"items", "next_cursor"}
    assert [(one["offer_id"], one["on_hand"], one["price"]) for one in listed["items"]] == [
        (offer_id, 120, rupees(38_000))
    ]


async def test_a_changed_price_stands_in_the_product_at_once(market: Market, shop: Shop) -> None:
    product_id = await shop.describe()
    offer_id = await shop.offer(product_id, price=38_000)

    changed = await shop.owner.patch(f"/catalog/offers/{offer_id}", {"price": rupees(39_500)})

    assert changed["price"] == rupees(39_500)
    product = await market.stranger.get(f"/catalog/products/{product_id}")
    assert product["offers"][0]["price"] == rupees(39_500)


async def test_a_paused_offer_is_not_sold_until_it_is_taken_up_again(
    market: Market, shop: Shop
) -> None:
    product_id = await shop.describe()
    offer_id = await shop.offer(product_id)
    page = f"/catalog/products/{product_id}"

    await shop.owner.patch(f"/catalog/offers/{offer_id}", {"paused": True})
    paused = await market.stranger.get(page)
    await shop.owner.patch(f"/catalog/offers/{offer_id}", {"paused": False, "min_quantity": 5})
    resumed = await market.stranger.get(page)

    assert paused["offers"] == []
    assert [(one["offer_id"], one["min_quantity"]) for one in resumed["offers"]] == [(offer_id, 5)]


async def test_stock_comes_and_goes_with_a_reason(shop: Shop) -> None:
    offer_id = await shop.stocked(stock=10)
    path = f"/catalog/offers/{offer_id}/stock"

    more = await shop.owner.post(path, {"delta": 5.5, "reason": "received"})
    less = await shop.owner.post(path, {"delta": -2, "reason": "damaged"})
    short = await shop.owner.request("POST", path, {"delta": -14, "reason": "lost"})

    assert (more["on_hand"], less["on_hand"]) == (15.5, 13.5)
    assert (short.status_code, short.json()["code"]) == (409, "catalog.stock_short")


async def test_another_vendor_cannot_touch_an_offer(market: Market, shop: Shop) -> None:
    offer_id = await shop.stocked()
    rival = await market.shop()

    answer = await rival.owner.request(
        "PATCH", f"/catalog/offers/{offer_id}", {"price": rupees(100)}
    )

    assert (answer.status_code, answer.json()["code"]) == (404, "catalog.offer_not_found")


async def test_a_product_shows_its_open_offers_cheapest_first(market: Market, shop: Shop) -> None:
    rival = await market.shop(name="Deccan Hardware")
    product_id = await shop.describe("Birla A1 cement", description="53 grade")
    await shop.offer(product_id, price=40_000, stock=30)
    await rival.offer(product_id, price=37_000, stock=7)

    product = await market.stranger.get(f"/catalog/products/{product_id}")

    assert product.keys() >= {"product_id", "name", "category", "kind", "unit", "hsn", "offers"}
    assert product["offers"][0].keys() >= {"offer_id", "price", "available", "vendor"}
    assert [
        (one["price"]["amount"], one["available"], one["vendor"]) for one in product["offers"]
    ] == [
        (37_000, 7, {"vendor_id": rival.vendor_id, "name": "Deccan Hardware"}),
        (40_000, 30, {"vendor_id": shop.vendor_id, "name": "Sri Lakshmi Traders"}),
    ]


async def test_a_new_product_is_found_by_the_words_of_the_trade(market: Market, shop: Shop) -> None:
    brand = f"Zuari{uuid4().hex[:8]}"
    product_id = await shop.describe(f"{brand} TMT bar 10 mm", category="steel", hsn="7214")
    await shop.offer(product_id)

    found = await until(
        lambda: market.stranger.get("/catalog/products", q=f"{brand} sariya"),
        lambda page: page["items"],
    )

    assert [item["product_id"] for item in found["items"]] == [product_id]


async def test_the_list_pages_by_cursor_and_counts_the_whole(market: Market, shelf: str) -> None:
    path = "/catalog/products"
    await until(lambda: names(market, shelf), lambda found: len(found) == 3)

    first = await market.stranger.get(path, category=shelf, sort="name", limit=2)
    second = await market.stranger.get(
        path, category=shelf, sort="name", limit=2, cursor=first["next_cursor"]
    )

    assert first.keys() == {"items", "next_cursor", "facets"}
    assert [one["name"] for one in first["items"]] == ["Mason, day rate", "Nagarjuna PPC cement"]
    assert [one["name"] for one in second["items"]] == ["Ramco OPC 53 cement"]
    assert second["next_cursor"] is None
    assert counts(first, "kind") == counts(second, "kind") == {"material": 2, "labour": 1}
    assert counts(first, "category") == {shelf: 3}


def counts(page: dict[str, Any], facet: str) -> dict[str, int]:
    return {one["value"]: one["count"] for one in page["facets"][facet]}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"sort": "price"}, ["Nagarjuna PPC cement", "Ramco OPC 53 cement", "Mason, day rate"]),
        ({"sort": "-price"}, ["Mason, day rate", "Ramco OPC 53 cement", "Nagarjuna PPC cement"]),
        ({"sort": "newest"}, ["Mason, day rate", "Nagarjuna PPC cement", "Ramco OPC 53 cement"]),
        ({"sort": "name", "min_price": 40_000}, ["Mason, day rate", "Ramco OPC 53 cement"]),
        ({"sort": "name", "max_price": 40_000}, ["Nagarjuna PPC cement"]),
        ({"sort": "name", "available": "true"}, ["Mason, day rate", "Ramco OPC 53 cement"]),
        ({"sort": "name", "kind": "labour"}, ["Mason, day rate"]),
        ({"sort": "relevance", "q": "ramco"}, ["Ramco OPC 53 cement"]),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
async def test_the_list_is_sorted_and_filtered(
    market: Market, shelf: str, params: dict[str, Any], expected: list[str]
) -> None:
    await until(lambda: names(market, shelf), lambda found: len(found) == 3)

    found = await names(market, shelf, **params)

    assert found == expected
