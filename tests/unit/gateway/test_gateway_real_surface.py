"""The declarations of the product's own plugins, as the gateway sees them."""

import json
import re
from importlib.metadata import entry_points
from typing import Any, cast

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.openapi import openapi_document
from gateway.settings import GatewaySettings
from gateway.testing.stage import HandSurface, Stage
from kernel.plugin import Plugin
from kernel.text import END

JOURNEY = {
    "post /api/v1/identity/register",
    "post /api/v1/identity/login",
    "post /api/v1/identity/refresh",
    "post /api/v1/identity/logout",
    "get /api/v1/identity/me",
    "post /api/v1/vendors",
    "post /api/v1/vendors/{vendor_id}/approve",
    "post /api/v1/catalog/products",
    "post /api/v1/catalog/offers",
    "get /api/v1/catalog/offers",
    "patch /api/v1/catalog/offers/{offer_id}",
    "post /api/v1/catalog/offers/{offer_id}/stock",
    "get /api/v1/catalog/products",
    "get /api/v1/catalog/products/{product_id}",
    "post /api/v1/orders/quote",
    "post /api/v1/orders",
    "get /api/v1/orders",
    "get /api/v1/vendors/{vendor_id}/sub-orders",
    "get /api/v1/orders/{order_id}",
    "get /api/v1/orders/{order_id}/history",
    "get /api/v1/orders/{order_id}/live",
    "post /api/v1/orders/{order_id}/cancel",
    "post /api/v1/orders/{order_id}/sub-orders/{sub_order_id}/accept",
    "post /api/v1/orders/{order_id}/sub-orders/{sub_order_id}/reject",
    "post /api/v1/orders/{order_id}/sub-orders/{sub_order_id}/dispatch",
    "post /api/v1/orders/{order_id}/sub-orders/{sub_order_id}/deliver",
    "get /api/v1/payments/{payment_id}",
    "post /api/v1/payments/{payment_id}/verify",
    "post /api/v1/payments/webhooks/razorpay",
    "get /api/v1/notifications",
}


@pytest.fixture(scope="module")
def plugins() -> list[Plugin]:
    return [entry.load() for entry in entry_points(group="realserv.plugins")]


def test_the_whole_journey_is_declared_and_documented(plugins: list[Plugin]) -> None:
    document = openapi_document(plugins)

    OpenAPIV31SpecValidator(cast("Any", document)).validate()
    routes = {f"{m} {path}" for path, item in document["paths"].items() for m in item}
    assert routes >= JOURNEY


def test_no_text_rule_lets_a_last_line_feed_through(plugins: list[Plugin]) -> None:
    schemas = json.dumps(openapi_document(plugins)["components"]["schemas"])
    found = re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', schemas)

    assert len(found) > 20
    assert [rule for rule in map(json.loads, found) if not rule.endswith(END)] == []


async def test_a_gateway_can_be_built_from_all_declarations(plugins: list[Plugin]) -> None:
    stage = Stage()
    stage.surface = HandSurface(*plugins)
    stage.settings = GatewaySettings()

    async with stage.client() as client:
        answer = await client.get("/api/v1/orders")

    assert answer.json()["code"] == "gateway.token_missing"
