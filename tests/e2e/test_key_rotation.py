"""A key of the bus is changed while requests come without a pause: none of them fails."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kernel.embedded.nats import public_key_in
from kernel.testing.market import Market, Shop, an_address
from kernel.testing.system import System

pytestmark = pytest.mark.topologies("one-local", "split")


async def asking(market: Market, offer: str, seen: list[int], stop: asyncio.Event) -> None:
    """Read the catalogue and have orders quoted, which order asks catalog and vendor about."""
    quote: dict[str, Any] = {
        "lines": [{"offer_id": offer, "quantity": 1}],
        "delivery_address": an_address(),
    }
    while not stop.is_set():
        listed = await market.stranger.request("GET", "/catalog/products", params={"limit": 3})
        quoted = await market.stranger.request("POST", "/orders/quote", quote)
        seen += [listed.status_code, quoted.status_code]


@pytest.mark.parametrize("credential", ["catalog", "order", "gateway"])
async def test_no_request_fails_while_a_key_is_changed(
    system: System, market: Market, shop: Shop, credential: str
) -> None:
    keys = Path(system.supervisor.configuration.data["bus"]["keys_dir"])
    before = public_key_in(keys / f"{credential}.nk")
    offer = await shop.stocked()
    seen: list[int] = []
    stop = asyncio.Event()
    shoppers = [asyncio.create_task(asking(market, offer, seen, stop)) for _ in range(4)]

    said = await system.command("keys", "rotate-bus", credential)
    stop.set()
    await asyncio.gather(*shoppers)

    assert said.endswith("the old key is let in no more\n")
    assert public_key_in(keys / f"{credential}.nk") != before
    assert [path.name for path in keys.glob(f"{credential}.*")] == [f"{credential}.nk"]
    assert len(seen) > 50
    assert [status for status in seen if status != 200] == []
