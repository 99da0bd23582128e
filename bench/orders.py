"""Orders at a steady rate, and what is left behind them; beside pgbench with one order's transactions."""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import asyncpg
import httpx

from bench.figures import Figure
from bench.market import ADDRESS, Market
from bus.connection import Connection, connect
from bus.jetstream import pages
from kernel.embedded.postgres import installed_release
from kernel.testing.system import System

RATES = {False: (60, 80, 100, 110, 120, 130, 140, 160), True: (20, 30, 40, 50, 60, 80, 100)}
KEPT_UP = 0.95
"""The share of the rate that must have been answered in time, or it was not kept up."""
SETTLE_SECONDS = 3.0
"""What still waits so long after the load is a backlog."""

# What one cash order of two vendors writes, as bare statements: reservation and stock, capacity,
# order with parts, lines and history, payment, notifications, and an outbox row for each message.
TRANSACTIONS = """
\\set a random(1, 1000)
\\set b random(1, 1000)
BEGIN;
UPDATE stock SET reserved = reserved + 1 WHERE id = :a;
UPDATE stock SET reserved = reserved + 1 WHERE id = :b;
INSERT INTO rows (body) SELECT repeat('x', 200) FROM generate_series(1, 6);
COMMIT;
BEGIN;
UPDATE stock SET capacity = capacity + 1 WHERE id = 1 + :a % 50;
INSERT INTO rows (body) SELECT repeat('x', 200) FROM generate_series(1, 3);
COMMIT;
BEGIN;
INSERT INTO rows (body) SELECT repeat('x', 200) FROM generate_series(1, 18);
COMMIT;
BEGIN;
INSERT INTO rows (body) SELECT repeat('x', 200) FROM generate_series(1, 5);
COMMIT;
BEGIN;
UPDATE stock SET reserved = reserved - 1, on_hand = on_hand - 1 WHERE id = :a;
UPDATE stock SET reserved = reserved - 1, on_hand = on_hand - 1 WHERE id = :b;
INSERT INTO rows (body) SELECT repeat('x', 200) FROM generate_series(1, 8);
COMMIT;
BEGIN;
INSERT INTO rows (body) SELECT repeat('x', 200) FROM generate_series(1, 4);
COMMIT;
BEGIN;
INSERT INTO rows (body) SELECT repeat('x', 200) FROM generate_series(1, 8);
COMMIT;
"""


async def orders(system: System, market: Market, *, seconds: int, mails: bool) -> list[Figure]:
    """Find the highest of a few rates at which every order succeeds and no backlog stays."""
    bare = await _pgbench(system)
    best: Figure | None = None
    for rate in RATES[mails]:
        figure, left = await _at_rate(system, market, rate, seconds)
        if figure.errors or left or figure.value < rate:
            break
        best = figure
    if best is None:
        best = figure
    what = "with four e-mails each" if mails else "notification off"
    return [
        Figure(
            name=f"orders, two vendors, cash, {what}",
            value=best.value,
            baseline=bare,
            floor=100,
            p50_ms=best.p50_ms,
            p99_ms=best.p99_ms,
            errors=best.errors,
        ),
        Figure(name="pgbench: one order's bare transactions", value=bare),
    ]


async def _at_rate(system: System, market: Market, rate: int, seconds: int) -> tuple[Figure, int]:
    latencies: list[float] = []
    errors = 0

    async def place(number: int, client: httpx.AsyncClient) -> None:
        nonlocal errors
        first = market.offers[0][number % len(market.offers[0])]
        second = market.offers[1][number % len(market.offers[1])]
        body = {
            "lines": [{"offer_id": first, "quantity": 1}, {"offer_id": second, "quantity": 2}],
            "delivery_address": ADDRESS,
            "payment_method": "cod",
        }
        token = market.buyers[number % len(market.buyers)]
        started = time.perf_counter()
        try:
            answer = await client.post(
                "/orders",
                content=json.dumps(body),
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            errors += answer.status_code != 201
        except httpx.HTTPError:
            errors += 1
        latencies.append((time.perf_counter() - started) * 1000)

    limits = httpx.Limits(max_connections=64)
    async with httpx.AsyncClient(base_url=system.url, timeout=20, limits=limits) as client:
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(rate * seconds):
                wait = started + number / rate - time.perf_counter()
                if wait > 0:
                    await asyncio.sleep(wait)
                group.create_task(place(number, client))
        took = time.perf_counter() - started
    left = await _backlog(system)
    latencies.sort()
    figure = Figure(
        name=f"at {rate}/s",
        value=rate if rate * seconds / took >= rate * KEPT_UP else rate * seconds / took,
        p50_ms=latencies[len(latencies) // 2],
        p99_ms=latencies[int(len(latencies) * 0.99)],
        errors=errors,
    )
    return figure, left


async def _backlog(system: System) -> int:
    """Return how much is unsent, undone or unseen once the load has ended and a short while has passed."""
    deadline = time.monotonic() + SETTLE_SECONDS
    servers = system.supervisor.servers
    if servers is None:
        raise RuntimeError("the benchmark runs on embedded servers")
    bus = await connect(
        servers.nats_url, name="bench", seed_file=servers.nats_keys_dir / "admin.nk"
    )
    try:
        while True:
            left = await _waiting_in_streams(bus) + await _waiting_in_outboxes(system)
            if left == 0 or time.monotonic() > deadline:
                return left
            await asyncio.sleep(0.25)
    finally:
        await bus.close()


async def _waiting_in_outboxes(system: System) -> int:
    left = 0
    for plugin in system.supervisor.plugins:
        connection = await asyncpg.connect(system.database_url(plugin))
        left += await connection.fetchval(
            "SELECT count(*) FROM kernel.outbox WHERE sent_at IS NULL"
        )
        await connection.close()
    return left


async def _waiting_in_streams(bus: Connection) -> int:
    """Count what consumers have not taken or not settled; a plugin that is off takes nothing."""
    left = 0
    for stream in await pages(bus, "STREAM.LIST", "streams"):
        name = stream["config"]["name"]
        for consumer in await pages(bus, f"CONSUMER.LIST.{name}", "consumers"):
            if consumer["num_waiting"]:
                left += consumer["num_pending"] + consumer["num_ack_pending"]
    return left


async def _pgbench(system: System) -> float:
    """Return the rate at which PostgreSQL alone takes all transactions of an order."""
    servers = system.supervisor.servers
    program = _pgbench_program()
    if servers is None or program is None:
        return 0.0
    await servers.create_database("pgbench")
    url = servers.postgres_url("pgbench")
    connection = await asyncpg.connect(url)
    await connection.execute(
        "CREATE TABLE stock (id int PRIMARY KEY, on_hand bigint, reserved bigint, capacity bigint);"
        "INSERT INTO stock SELECT g, 1000000, 0, 0 FROM generate_series(1, 1000) g;"
        "CREATE TABLE rows (id bigserial PRIMARY KEY, body text)"
    )
    await connection.close()
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(TRANSACTIONS)
        script.flush()
        command = [
            program,
            "-n",
            "-M",
            "prepared",
            "-c",
            "8",
            "-j",
            "2",
            "-T",
            "6",
            "-f",
            script.name,
            url,
        ]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=True
        )
    line = next(line for line in done.stdout.splitlines() if line.startswith("tps"))
    return float(line.split()[2])


def _pgbench_program() -> str | None:
    found = Path(installed_release().program("pgbench"))
    return str(found) if found.exists() else shutil.which("pgbench")
