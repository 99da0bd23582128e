"""Record the facts of a journey: ``python -m tests.contract.record_streams``.

What is recorded is kept for ever; a recording of today goes beside those of yesterday, under the
date, and today's code must read them all.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from bus.jetstream import BatchReader
from kernel.config import BusSettings
from kernel.graph import find_plugins
from kernel.hosted import open_connection
from kernel.testing.market import Market, Shop, an_order, status_of, until
from kernel.testing.system import ADMIN_EMAIL, ADMIN_PASSWORD, System, running_system

FOLDER: Final = Path(__file__).parent / "streams"


class RecordedFact(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a recording."""

    subject: str
    time: str
    version: int | None
    body: msgspec.Raw


def recorded(path: Path) -> list[RecordedFact]:
    """Read a recording."""
    return [msgspec.json.decode(line, type=RecordedFact) for line in path.read_bytes().splitlines()]


async def main() -> None:
    """Walk through a market in every way that makes facts, and keep the streams."""
    async with running_system("one-local") as system:
        market = await Market.enter(system.http, ADMIN_EMAIL, ADMIN_PASSWORD)
        first, second = await market.shop(), await market.shop()
        await _walk(market, first, second)
        await asyncio.sleep(3)
        await _keep(system)


async def _walk(market: Market, first: Shop, second: Shop) -> None:
    product = await first.describe()
    offer = await first.offer(product)
    await second.offer(product)
    other = await second.stocked(price=52_000)
    buyer = await market.buyer()
    delivered = await buyer.post("/orders", an_order(offer))
    await first.handle(delivered, "accept", "dispatch", "deliver")
    await until(
        lambda: status_of(buyer, delivered["order_id"]), lambda seen: seen[0] == "completed"
    )
    both = await buyer.post(
        "/orders",
        {
            **an_order(offer),
            "lines": [{"offer_id": offer, "quantity": 2}, {"offer_id": other, "quantity": 3}],
        },
    )
    await second.handle(both, "accept", "dispatch", "deliver")
    part = next(p for p in both["sub_orders"] if p["vendor_id"] == first.vendor_id)
    await first.owner.post(
        f"/orders/{both['order_id']}/sub-orders/{part['sub_order_id']}/reject",
        {"reason": "The lorry broke down"},
    )
    cancelled = await buyer.post("/orders", an_order(other))
    await buyer.post(f"/orders/{cancelled['order_id']}/cancel", {"reason": "Found it cheaper"})
    await buyer.post("/orders", an_order(offer, payment_method="razorpay"))
    await first.owner.post(f"/catalog/offers/{offer}/stock", {"delta": -5, "reason": "damaged"})


async def _keep(system: System) -> None:
    bus = system.supervisor.configuration.section("bus", BusSettings)
    day = datetime.now(UTC).strftime("%Y%m%d")
    FOLDER.mkdir(exist_ok=True)
    for plugin in find_plugins():
        connection = await open_connection(bus, plugin, f"{plugin}.recording")
        messages = await BatchReader(connection, f"EVT_{plugin.upper()}").read(1, batch=5_000)
        await connection.close()
        lines = [
            msgspec.json.encode(
                RecordedFact(
                    subject=message.subject,
                    time=message.headers["ce-time"],
                    version=int(message.headers["realserv-version"])
                    if "realserv-version" in message.headers
                    else None,
                    body=msgspec.Raw(message.payload),
                )
            )
            for message in messages
        ]
        if lines:
            (FOLDER / f"{plugin}.{day}.jsonl").write_bytes(b"\n".join(lines) + b"\n")


if __name__ == "__main__":
    asyncio.run(main())
