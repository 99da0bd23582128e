"""The scenarios: what users do most, beside what the bare parts can do."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from bench.events import events
from bench.figures import Figure
from bench.kernel_cost import kernel_cost
from bench.load import Request, measure
from bench.market import ADDRESS, Market, build_market
from bench.orders import orders
from bench.replay import replay
from kernel.embedded.ports import free_port
from kernel.supervisor import Layout
from kernel.testing.system import System, running_system

HOSTS = 2
ROWS = 1000


@asynccontextmanager
async def whole_system(
    *, local_calls: bool = True, durable: bool = True, mails: bool = True
) -> AsyncIterator[System]:
    """Two hosts with all parts each, as ``realserv up`` starts on two cores."""
    layouts = [Layout(name=f"host{number}") for number in range(1, HOSTS + 1)]
    overrides: dict[str, Any] = {
        "bus": {"local_calls": local_calls},
        "database": {"pool": {"max_size": 5}},
        "plugins": {"notification": {"enabled": mails}},
    }
    async with running_system(
        "one-local", overrides=overrides, layouts=layouts, durable=durable
    ) as system:
        yield system


@asynccontextmanager
async def baseline(system: System) -> AsyncIterator[tuple[str, list[UUID]]]:
    """The baseline server on the same PostgreSQL, as many processes as hosts; yields url and ids."""
    servers = system.supervisor.servers
    if servers is None:
        raise RuntimeError("the benchmark runs on embedded servers")
    await servers.create_database("bench")
    url = servers.postgres_url("bench")
    ids = [uuid4() for _ in range(ROWS)]
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS bench_rows (id uuid PRIMARY KEY, name text, category text, "
        "kind text, unit text, hsn text, price bigint)"
    )
    await connection.executemany(
        "INSERT INTO bench_rows VALUES ($1, 'Cement', 'cement', 'material', 'bag', '2523', 38000)",
        [(one,) for one in ids],
    )
    await connection.close()
    port = free_port()
    arguments = ["-m", "bench.baseline", "--port", str(port), "--database", url]
    children = [
        await asyncio.create_subprocess_exec(sys.executable, *arguments) for _ in range(HOSTS)
    ]
    try:
        await _until_listening(port)
        yield f"http://127.0.0.1:{port}", ids
    finally:
        for child in children:
            child.terminate()
            await child.wait()


async def _until_listening(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                await asyncio.sleep(1.0)
                return


async def reads(seconds: int) -> list[Figure]:
    """Read by id: with local calls, then with every call over NATS."""
    found = []
    for local_calls, floor, name in ((True, 0.5, "local calls"), (False, 0.35, "over NATS")):
        async with whole_system(local_calls=local_calls) as system:
            market = await build_market(system, products=200)
            paths = [f"/api/v1/catalog/products/{product}" for product in market.products]
            async with baseline(system) as (url, ids):
                bare = await measure(url, [Request("GET", "/bare")], seconds=seconds)
                row = await measure(
                    url, [Request("GET", f"/rows/{one}") for one in ids[:200]], seconds=seconds
                )
            ours = await measure(
                system.supervisor.gateway_url,
                [Request("GET", path) for path in paths],
                seconds=seconds,
            )
        if local_calls:
            found.append(Figure(name="bare Litestar", value=bare.rate))
            found.append(
                Figure(
                    name="Litestar + asyncpg, one row",
                    value=row.rate,
                    p50_ms=row.p50_ms,
                    p99_ms=row.p99_ms,
                )
            )
        found.append(
            Figure(
                name=f"read by id, {name}",
                value=ours.rate,
                baseline=row.rate,
                floor_ratio=floor,
                p50_ms=ours.p50_ms,
                p99_ms=ours.p99_ms,
                errors=ours.errors,
            )
        )
    return found


async def lists(seconds: int) -> list[Figure]:
    """A list of 20 with facets, at 1 000 and at 10 000 products: the front page and five searches."""
    found = []
    for products, floor in ((1000, 2000), (10_000, 1200)):
        async with whole_system() as system:
            await build_market(system, products=products)
            mix = [
                Request("GET", f"/api/v1/catalog/products?{query}")
                for query in (
                    "limit=20",
                    "limit=20&sort=price",
                    "q=cement&limit=20",
                    "category=steel&limit=20&sort=-price",
                    "q=tmt&limit=20&available=true",
                    "min_price=10000&max_price=500000&limit=20&sort=name",
                )
            ]
            ours = await measure(system.supervisor.gateway_url, mix, seconds=seconds)
        found.append(
            Figure(
                name=f"list of 20 with facets, {products} products",
                value=ours.rate,
                floor=floor,
                p50_ms=ours.p50_ms,
                p99_ms=ours.p99_ms,
                errors=ours.errors,
            )
        )
    return found


async def quote(seconds: int) -> list[Figure]:
    """A validated POST: the quote of two lines."""
    async with whole_system() as system:
        market = await build_market(system, products=100)
        ours = await measure(system.supervisor.gateway_url, _quotes(market), seconds=seconds)
        async with baseline(system) as (url, _):
            bare = await measure(url, [Request("GET", "/bare")], seconds=seconds)
    return [
        Figure(
            name="validated POST (quote of two lines)",
            value=ours.rate,
            floor=1500,
            p50_ms=ours.p50_ms,
            p99_ms=ours.p99_ms,
            errors=ours.errors,
        ),
        Figure(name="bare Litestar beside it", value=bare.rate),
    ]


def _quotes(market: Market) -> list[Request]:
    return [
        Request(
            "POST",
            "/api/v1/orders/quote",
            (("Content-Type", "application/json"),),
            json.dumps(
                {
                    "lines": [
                        {"offer_id": first, "quantity": 2},
                        {"offer_id": second, "quantity": 1.5},
                    ],
                    "delivery_address": ADDRESS,
                }
            ),
        )
        for first, second in zip(market.offers[0], market.offers[1], strict=False)
    ]


async def orders_scenario(seconds: int) -> list[Figure]:
    """Cash orders of two vendors at a steady rate: no error, no backlog; with and without e-mails.

    Each order makes four messages, each an e-mail by SMTP to a sink on the same two cores.
    """
    found = []
    for mails in (False, True):
        async with whole_system(mails=mails) as system:
            market = await build_market(system, products=100)
            found += await orders(system, market, seconds=max(10, seconds), mails=mails)
    return found


SCENARIOS: dict[str, Callable[[int], Coroutine[Any, Any, list[Figure]]]] = {
    "kernel": kernel_cost,
    "reads": reads,
    "lists": lists,
    "quote": quote,
    "orders": orders_scenario,
    "events": events,
    "replay": replay,
}
