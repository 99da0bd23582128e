"""A market to measure: vendors, products, offers and buyers made through the API."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import httpx

from kernel.testing.system import ADMIN_EMAIL, ADMIN_PASSWORD, System

PASSWORD = "a password to measure 1"
ADDRESS = {
    "line1": "12 Main Road",
    "city": "Hyderabad",
    "pincode": "500081",
    "lat": 17.4435,
    "lon": 78.3772,
}
AT_ONCE = 24


@dataclass
class Market:
    """What was made."""

    products: list[str] = field(default_factory=list)
    offers: list[list[str]] = field(default_factory=list)
    """Offers by vendor."""
    buyers: list[str] = field(default_factory=list)
    """Access tokens."""


async def build_market(
    system: System, *, products: int, vendors: int = 2, buyers: int = 4
) -> Market:
    """Make a market; its stock does not run out while it is measured."""
    http = system.http
    market = Market()
    admin = await _log_in(http, ADMIN_EMAIL, ADMIN_PASSWORD)
    sellers = []
    for number in range(vendors):
        token = await _register(http, f"vendor{number}@bench.example", "vendor")
        place = {"lat": 17.44 + number / 100, "lon": 78.38}
        body = {
            "name": f"Vendor {number}",
            "location": place,
            "service_radius_km": 60,
            "orders_per_day": 100_000,
        }
        vendor = (await _post(http, "/vendors", token, body))["vendor_id"]
        await _post(http, f"/vendors/{vendor}/approve", admin, {})
        sellers.append((vendor, token))
        market.offers.append([])
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with limit:
            vendor = number % vendors
            body = {
                "name": f"{WORDS[number % len(WORDS)]} {number}",
                "category": CATEGORIES[number % len(CATEGORIES)],
                "kind": "material",
                "unit": "bag",
                "hsn": "2523",
                "brand": f"Brand {number % 12}",
            }
            product = (await _post(http, "/catalog/products", admin, body))["product_id"]
            offer = {
                "product_id": product,
                "vendor_id": sellers[vendor][0],
                "sku": f"SKU-{number}",
                "price": {"amount": 10_000 + number, "currency": "INR"},
                "min_quantity": 1,
                "stock": 1_000_000,
            }
            made = await _post(http, "/catalog/offers", sellers[vendor][1], offer)
            market.products.append(product)
            market.offers[vendor].append(made["offer_id"])

    await asyncio.gather(*(one(number) for number in range(products)))
    market.buyers = [
        await _register(http, f"buyer{number}@bench.example", "buyer") for number in range(buyers)
    ]
    return market


async def _register(http: httpx.AsyncClient, email: str, role: str) -> str:
    body = {"email": email, "password": PASSWORD, "name": "Bench", "role": role}
    await _answer(http.post("/identity/register", json=body))
    return await _log_in(http, email, PASSWORD)


async def _log_in(http: httpx.AsyncClient, email: str, password: str) -> str:
    body = {"email": email, "password": password}
    token: str = (await _answer(http.post("/identity/login", json=body)))["access_token"]
    return token


async def _post(http: httpx.AsyncClient, path: str, token: str, body: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    return await _answer(http.post(path, json=body, headers=headers))


async def _answer(call: Awaitable[httpx.Response]) -> Any:
    response = await call
    response.raise_for_status()
    return response.json()


WORDS = (
    "Cement",
    "TMT bar",
    "River sand",
    "Aggregate",
    "Brick",
    "Block",
    "Paint",
    "Pipe",
    "Tile",
    "Ply",
)
CATEGORIES = ("cement", "steel", "sand", "aggregate", "bricks", "blocks", "paint", "plumbing")
