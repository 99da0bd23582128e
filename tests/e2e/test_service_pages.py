"""Health, readiness, the API page and the OpenAPI document."""

import httpx
import pytest

from kernel.testing.market import Market
from kernel.testing.system import System

FIXED_PATHS = {
    ("post", "/api/v1/identity/register"),
    ("post", "/api/v1/identity/login"),
    ("post", "/api/v1/identity/refresh"),
    ("post", "/api/v1/identity/logout"),
    ("get", "/api/v1/identity/me"),
    ("post", "/api/v1/vendors"),
    ("post", "/api/v1/vendors/{vendor_id}/approve"),
    ("post", "/api/v1/catalog/products"),
    ("get", "/api/v1/catalog/products"),
    ("get", "/api/v1/catalog/products/{product_id}"),
    ("post", "/api/v1/catalog/offers"),
    ("get", "/api/v1/catalog/offers"),
    ("patch", "/api/v1/catalog/offers/{offer_id}"),
    ("post", "/api/v1/catalog/offers/{offer_id}/stock"),
    ("post", "/api/v1/orders/quote"),
    ("post", "/api/v1/orders"),
    ("get", "/api/v1/orders"),
    ("get", "/api/v1/orders/{order_id}"),
    ("get", "/api/v1/orders/{order_id}/history"),
    ("get", "/api/v1/orders/{order_id}/live"),
    ("post", "/api/v1/orders/{order_id}/cancel"),
    ("post", "/api/v1/orders/{order_id}/sub-orders/{sub_order_id}/accept"),
    ("post", "/api/v1/orders/{order_id}/sub-orders/{sub_order_id}/reject"),
    ("post", "/api/v1/orders/{order_id}/sub-orders/{sub_order_id}/dispatch"),
    ("post", "/api/v1/orders/{order_id}/sub-orders/{sub_order_id}/deliver"),
    ("get", "/api/v1/vendors/{vendor_id}/sub-orders"),
    ("get", "/api/v1/payments/{payment_id}"),
    ("post", "/api/v1/payments/{payment_id}/verify"),
    ("post", "/api/v1/payments/webhooks/razorpay"),
    ("get", "/api/v1/notifications"),
}


async def outside(system: System, path: str) -> httpx.Response:
    return await system.http.get(f"{system.supervisor.gateway_url}{path}")


@pytest.mark.parametrize("path", ["/health", "/ready", "/schema", "/schema/openapi.json"])
async def test_the_pages_outside_the_api_answer(system: System, path: str) -> None:
    answer = await outside(system, path)

    assert answer.status_code == 200


async def test_every_path_of_the_main_journey_is_documented(system: System) -> None:
    document = (await outside(system, "/schema/openapi.json")).json()

    documented = {
        (method, path) for path, operations in document["paths"].items() for method in operations
    }
    assert document["openapi"].startswith("3.1")
    assert documented >= FIXED_PATHS


async def test_details_of_readiness_stay_inside(system: System) -> None:
    public = (await outside(system, "/ready")).json()
    inside = (await system.http.get(f"{system.supervisor.internal_url}/ready")).json()

    assert inside["status"] == public["status"] == "ready"
    assert not public.get("parts")
    assert {"nats", "database"} <= {part["name"] for part in inside["parts"]}


async def test_metrics_gather_all_processes(system: System, market: Market) -> None:
    await market.stranger.get("/catalog/products")

    answer = await system.http.get(f"{system.supervisor.internal_url}/metrics")

    assert answer.status_code == 200
    assert 'plugin="catalog"' in answer.text


async def test_a_correlation_id_comes_back(market: Market) -> None:
    answer = await market.stranger.request(
        "GET", "/catalog/products", headers={"X-Correlation-ID": "mine-42"}
    )

    assert answer.headers["x-correlation-id"] == "mine-42"
