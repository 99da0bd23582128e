"""The stream store is deleted: it is made again from the outboxes, and the market goes on."""

import shutil
from collections import Counter
from typing import Any, Final

import asyncpg
import msgspec
import pytest

from bus.jetstream import BatchReader
from kernel.config import BusSettings
from kernel.graph import find_plugins
from kernel.hosted import open_connection
from kernel.preparation import prepare
from kernel.testing.market import Market, Shop, an_order, status_of, until
from kernel.testing.system import ADMIN_EMAIL, ADMIN_PASSWORD, System, running_system
from plugins.notification.sink import read_messages

pytestmark = pytest.mark.xdist_group("lost-stream-store")

OWN_TABLES: Final = """
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = 'public' AND table_name <> 'alembic_version' AND table_type = 'BASE TABLE'
    ORDER BY table_name
"""
QUIET: Final = """
    SELECT (SELECT count(*) FROM kernel.outbox WHERE sent_at IS NULL)
        + (SELECT count(*) FROM kernel.effects WHERE state = 'started')
"""
COMPLETED: Final = ("completed", "cash_collected")


async def fetched(system: System, plugin: str, sql: str) -> list[Any]:
    connection = await asyncpg.connect(system.database_url(plugin))
    try:
        return list(await connection.fetch(sql))
    finally:
        await connection.close()


async def digests(system: System) -> dict[str, str]:
    """Return a digest of every table of every plugin."""
    found = {}
    for plugin in find_plugins():
        for row in await fetched(system, plugin, OWN_TABLES):
            table = row["table_name"]
            ordered = f"SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {table} AS t"
            found[f"{plugin}.{table}"] = (await fetched(system, plugin, ordered))[0][0]
    return found


async def streams(system: System) -> dict[str, list[tuple[int, str, str, bytes]]]:
    """Return every fact of every plugin with its place."""
    bus = system.supervisor.configuration.section("bus", BusSettings)
    found = {}
    for plugin in find_plugins():
        connection = await open_connection(bus, plugin, f"{plugin}.test")
        messages = await BatchReader(connection, f"EVT_{plugin.upper()}").read(1, batch=5_000)
        found[plugin] = [(m.sequence, m.subject, m.headers["ce-id"], m.payload) for m in messages]
        await connection.close()
    return found


async def settled(system: System) -> None:
    """Wait until nothing is left to publish or to send."""

    async def waiting() -> int:
        return sum([(await fetched(system, plugin, QUIET))[0][0] for plugin in find_plugins()])

    await until(waiting, lambda count: count == 0)


async def sold(market: Market, shop: Shop, offer: str) -> str:
    """Sell something for cash, up to the last step; returns the order's id."""
    buyer = await market.buyer()
    order = await buyer.post("/orders", an_order(offer))
    await shop.handle(order, "accept", "dispatch", "deliver")
    await until(lambda: status_of(buyer, order["order_id"]), lambda seen: seen == COMPLETED)
    return str(order["order_id"])


def mails(system: System) -> Counter[str]:
    return Counter(message.message_id for message in read_messages(system.mail_folder))


async def lose_stream_store(system: System) -> None:
    """Stop everything but the databases, delete JetStream's folder, and start anew as ``up`` does."""
    supervisor, servers = system.supervisor, system.supervisor.servers
    assert servers is not None
    await supervisor.stop_host("host1")
    await servers.nats.stop()
    shutil.rmtree(system.folder / "nats" / "jetstream")
    await servers.nats.start()
    await prepare(supervisor.configuration, find_plugins().values())
    await supervisor.start_host(supervisor.layouts["host1"])


async def test_a_deleted_stream_store_is_made_again_and_nothing_is_done_twice() -> None:
    async with running_system("one-local") as system:
        market = await Market.enter(system.http, ADMIN_EMAIL, ADMIN_PASSWORD)
        shop = await market.shop()
        offer = await shop.stocked()
        for _ in range(5):
            await sold(market, shop, offer)
        await settled(system)
        before, tables = await streams(system), await digests(system)
        sent = mails(system)

        await lose_stream_store(system)
        report = await system.command("recover", "--from-outbox")
        await settled(system)

        assert "order" in report
        assert await streams(system) == before
        assert await digests(system) == tables
        assert mails(system) == sent
        again = await sold(market, shop, offer)
        await settled(system)
        assert again.startswith("order_")
        assert set(mails(system).values()) == {1}
        replayed = msgspec.json.decode(await system.command("replay", "order", "--json"))
        assert [(line["model"], line["is_same"], line["is_switched"]) for line in replayed] == [
            ("sales", True, True)
        ]
        assert (await shop.owner.get(f"/vendors/{shop.vendor_id}/sales"))["days"][0][
            "sub_orders"
        ] == 6


async def test_an_order_placed_before_the_recovery_goes_on_after_it() -> None:
    async with running_system("one-local") as system:
        market = await Market.enter(system.http, ADMIN_EMAIL, ADMIN_PASSWORD)
        shop = await market.shop()
        offer = await shop.stocked()
        await sold(market, shop, offer)
        await settled(system)
        await lose_stream_store(system)
        buyer = await market.buyer()
        order = await buyer.post("/orders", an_order(offer))

        await system.command("recover", "--from-outbox")

        await shop.handle(order, "accept", "dispatch", "deliver")
        assert await until(
            lambda: status_of(buyer, order["order_id"]), lambda seen: seen == COMPLETED
        )
