"""What a NATS client with none of our code sees: facts as JSON, queries, errors, discovery.

Only nats-py and json are used here, as ``nats req``, ``nats sub`` and ``nats micro`` would speak.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import nats
import pytest
from nats.aio.client import Client

from kernel.testing.market import Market, Shop, an_order, until
from kernel.testing.stack import plugin_names
from kernel.testing.system import System

ERROR: Final = "Nats-Service-Error"
ERROR_CODE: Final = "Nats-Service-Error-Code"
QUIET: Final = 0.5
"""Seconds without another answer after which `nats micro` holds that all have answered."""
IDENTITY: Final = {"name": str, "id": str, "version": str}


@pytest.fixture(scope="session")
async def client(system: System) -> AsyncIterator[Client]:
    """A plain client under the operators' credential."""
    bus = system.supervisor.configuration.data["bus"]
    client = await nats.connect(
        bus["servers"], nkeys_seed=str(Path(bus["keys_dir"]) / "cli.nk"), allow_reconnect=False
    )
    yield client
    await client.close()


async def gather(client: Client, subject: str, payload: bytes = b"{}") -> list[Any]:
    """Publish a request and collect answers until it is quiet, as `nats micro` does."""
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    await client.publish(subject, payload, reply=inbox)
    answers: list[Any] = []
    patience = 5.0
    while True:
        try:
            message = await subscription.next_msg(timeout=patience)
        except (TimeoutError, nats.errors.TimeoutError):
            await subscription.unsubscribe()
            return answers
        if message.headers and message.headers.get("Status") == "503":
            return answers
        answers.append(json.loads(message.data))
        patience = QUIET


def is_of(answer: dict[str, Any], fields: dict[str, type | tuple[type, ...]]) -> bool:
    return all(isinstance(answer.get(name), kind) for name, kind in fields.items())


async def test_facts_are_read_as_json_with_cloudevents_headers(
    client: Client, market: Market, shop: Shop
) -> None:
    subscription = await client.subscribe("evt.order.order_placed.v1.>")
    await client.flush()
    buyer = await market.buyer()
    order = await buyer.post("/orders", an_order(await shop.stocked()))

    message = await subscription.next_msg(timeout=30)
    fact = json.loads(message.data)
    while fact["order_id"] != order["order_id"]:
        message = await subscription.next_msg(timeout=30)
        fact = json.loads(message.data)
    await subscription.unsubscribe()

    assert fact["buyer_id"] == buyer.user_id
    assert fact["total"] == order["total"]
    assert message.subject.split(".")[-1] == order["order_id"]
    headers = message.headers
    assert headers is not None
    assert headers["ce-type"] == "order.order_placed.v1"
    assert headers["ce-source"] == "order"
    assert headers.keys() >= {"ce-id", "ce-time", "ce-specversion"}


async def test_public_queries_answer_anybody_on_the_bus(client: Client, shop: Shop) -> None:
    product_id = await shop.describe("Ultratech PPC")
    await shop.offer(product_id)

    page = await client.request("qry.catalog.list_products.v1", b'{"limit": 2}', timeout=10)
    product = await client.request(
        "qry.catalog.get_product.v1", json.dumps({"product_id": product_id}).encode(), timeout=10
    )

    assert json.loads(page.data).keys() == {"items", "next_cursor", "facets"}
    assert json.loads(product.data)["name"] == "Ultratech PPC"
    assert ERROR not in (product.headers or {})


async def test_a_realserv_token_speaks_for_its_user(
    system: System, client: Client, market: Market
) -> None:
    buyer = await market.buyer()
    token = (await system.command("token", "--as", buyer.email)).strip()

    me = await client.request(
        "qry.identity.get_me.v1", b"{}", timeout=10, headers={"realserv-token": token}
    )

    assert json.loads(me.data)["user_id"] == buyer.user_id


async def test_a_realserv_token_is_refused_over_http(system: System, market: Market) -> None:
    buyer = await market.buyer()
    token = (await system.command("token", "--as", buyer.email)).strip()

    answer = await market.http.get("/identity/me", headers={"Authorization": f"Bearer {token}"})

    assert (answer.status_code, answer.json()["code"]) == (401, "gateway.token_invalid")


@pytest.mark.parametrize(
    ("subject", "payload", "headers", "code", "status"),
    [
        ("qry.identity.get_me.v1", b"{}", {}, "kernel.token_required", "401"),
        ("qry.order.list_orders.v1", b"{}", {}, "kernel.token_required", "401"),
        (
            "qry.order.list_orders.v1",
            b"{}",
            {"realserv-token": "forged"},
            "kernel.bus_token_invalid",
            "401",
        ),
        (
            "qry.identity.contacts_of.v1",
            b'{"user_ids": ["user_01k9z7x3c8e4m9r2t5v6w7y8z0"]}',
            {},
            "kernel.internal_message",
            "403",
        ),
        ("qry.catalog.get_product.v1", b"[", {}, "bus.undecodable", "422"),
        (
            "qry.catalog.get_product.v1",
            b'{"product_id": "product_01k9z7x3c8e4m9r2t5v6w7y8z0"}',
            {},
            "catalog.product_not_found",
            "404",
        ),
    ],
)
async def test_a_refusal_stands_in_the_headers(
    client: Client, subject: str, payload: bytes, headers: dict[str, str], code: str, status: str
) -> None:
    answer = await client.request(subject, payload, timeout=10, headers=headers)

    assert answer.headers is not None
    assert (answer.headers[ERROR], answer.headers[ERROR_CODE]) == (code, status)
    assert json.loads(answer.data)["code"] == code


async def test_micro_ls_finds_every_plugin_with_its_version_and_endpoints(client: Client) -> None:
    found = await gather(client, "$SRV.INFO")

    assert {answer["name"] for answer in found} == set(plugin_names())
    assert all(is_of(answer, {**IDENTITY, "description": str}) for answer in found)
    assert {answer["type"] for answer in found} == {"io.nats.micro.v1.info_response"}
    assert len({answer["id"] for answer in found}) == len(found)
    endpoints = {one["name"]: one for answer in found for one in answer["endpoints"]}
    assert endpoints["list_products_v1"]["subject"] == "qry.catalog.list_products.v1"
    assert endpoints["place_order_v1"]["subject"] == "cmd.order.place_order.v1"
    assert all(
        is_of(one, {"name": str, "subject": str, "queue_group": str, "metadata": dict})
        and all(isinstance(value, str) for value in one["metadata"].values())
        for one in endpoints.values()
    )


async def test_micro_info_and_stats_of_one_service_agree(client: Client) -> None:
    info = json.loads((await client.request("$SRV.INFO.order", b"{}", timeout=10)).data)
    stats = json.loads(
        (await client.request(f"$SRV.STATS.order.{info['id']}", b"{}", timeout=10)).data
    )

    assert stats["id"] == info["id"]
    assert [one["name"] for one in stats["endpoints"]] == [one["name"] for one in info["endpoints"]]


async def test_micro_stats_are_valid_for_every_service(client: Client) -> None:
    found = await gather(client, "$SRV.STATS")

    numbers = {"num_requests": int, "num_errors": int, "processing_time": int}
    assert {answer["type"] for answer in found} == {"io.nats.micro.v1.stats_response"}
    assert all(is_of(answer, {**IDENTITY, "started": str, "endpoints": list}) for answer in found)
    assert all(
        is_of(one, {"name": str, "subject": str, "last_error": str, **numbers})
        and isinstance(one["average_processing_time"], int)
        for answer in found
        for one in answer["endpoints"]
    )


async def test_micro_ping_is_answered_by_every_instance(client: Client) -> None:
    pinged = await gather(client, "$SRV.PING", b"")
    listed = await gather(client, "$SRV.INFO")

    assert {answer["type"] for answer in pinged} == {"io.nats.micro.v1.ping_response"}
    assert {answer["id"] for answer in pinged} == {answer["id"] for answer in listed}


async def test_a_name_that_nobody_has_is_answered_at_once(client: Client) -> None:
    assert await gather(client, "$SRV.INFO.nobody") == []
    with pytest.raises(nats.errors.NoRespondersError):
        await client.request("qry.nobody.anything.v1", b"{}", timeout=30)


async def test_stream_and_consumer_requests_of_the_nats_cli_are_answered(client: Client) -> None:
    async def ask(subject: str, body: bytes) -> Any:
        return json.loads((await client.request(f"$JS.API.{subject}", body, timeout=10)).data)

    names = await ask("STREAM.NAMES", b'{"offset":0}')
    listed = await ask("STREAM.LIST", b'{"offset":0}')
    info = await ask("STREAM.INFO.EVT_ORDER", b"")
    consumers = await ask("CONSUMER.LIST.EVT_ORDER", b'{"offset":0}')
    one = await ask(f"CONSUMER.INFO.EVT_ORDER.{consumers['consumers'][0]['name']}", b"")

    assert {"EVT_ORDER", "WORK_ORDER", "DLQ", "AUDIT"} <= set(names["streams"])
    assert listed["total"] == len(names["streams"])
    assert info["config"]["name"] == "EVT_ORDER"
    assert one["stream_name"] == "EVT_ORDER"


async def test_the_statistics_count_what_was_asked(client: Client) -> None:
    async def asked() -> int:
        found = await gather(client, "$SRV.STATS.catalog")
        return sum(
            one["num_requests"]
            for answer in found
            for one in answer["endpoints"]
            if one["name"] == "list_products_v1"
        )

    before = await asked()

    await asyncio.gather(
        *(client.request("qry.catalog.list_products.v1", b"{}", timeout=10) for _ in range(5))
    )

    assert await until(asked, lambda count: count >= before + 5)
