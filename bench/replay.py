"""A read model made anew from recorded facts, beside a bare pull consumer with executemany."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import asyncpg

from bench.figures import Figure
from bench.sample import Ticked
from bus.codec import decoder, encode
from bus.connection import Connection, connect
from bus.envelope import Envelope
from bus.jetstream import last_sequence, request
from bus.message import describe
from bus.puller import Delivery, Puller
from bus.streams import apply, plugin_streams
from kernel.context import Write
from kernel.ids import new_uuid7
from kernel.migrator import STORE, migrate
from kernel.plugin import Plugin
from kernel.replay import Replay, replay_model
from kernel.sql import statement
from kernel.testing.stack import fresh_database, running_stack, throwaway_folder
from kernel.upcasting import NO_UPCASTERS

FACTS: Final = 100_000
KEYS: Final = 5_000
CHUNK: Final = 1_000
FLOOR: Final = 30_000
TABLE: Final = "CREATE TABLE ticks (key text NOT NULL, number bigint NOT NULL)"
KEEP: Final = statement("INSERT INTO ticks (key, number) VALUES (:key, :number)")


def keep_tick(event: Ticked) -> list[Write]:
    """One row for each fact."""
    return [Write(KEEP, {"key": event.key, "number": event.number})]


async def replay(seconds: int) -> list[Figure]:
    """100 000 facts into one table: by replay, then by the bare parts."""
    del seconds
    async with _recorded_facts() as (bus, url):
        plugin = Plugin("sample", "1.0.0", summary="Ticks.", package="bench", emits=(Ticked,))
        plugin.model("ticks", tables=("ticks",))
        plugin.project(Ticked, keep_tick, model="ticks")
        done = await replay_model(url, Replay(plugin, "ticks", bus, NO_UPCASTERS))
        bare = await _bare(bus, url)
    return [
        Figure(
            name=f"replay of {FACTS:,} facts",
            value=done.rate,
            unit="facts/s",
            baseline=bare,
            floor=FLOOR,
        ),
        Figure(name="bare puller + executemany", value=bare, unit="facts/s"),
    ]


@asynccontextmanager
async def _recorded_facts() -> AsyncIterator[tuple[Connection, str]]:
    with throwaway_folder() as folder:
        async with running_stack(folder) as stack, fresh_database(stack) as url:
            await migrate(url, STORE)
            connection = await asyncpg.connect(url)
            await connection.execute(TABLE)
            await connection.close()
            seed = stack.nats_keys_dir / "admin.nk"
            bus = await connect(stack.nats_url, name="bench.replay", seed_file=seed)
            try:
                await apply(bus, plugin_streams("sample"), [])
                await _publish(bus)
                yield bus, url
            finally:
                await bus.close()


async def _publish(bus: Connection) -> None:
    described = describe(Ticked)
    for number in range(FACTS):
        event = Ticked(key=f"key-{number % KEYS}", number=number)
        envelope = Envelope(
            id=new_uuid7(),
            type=described.full_name,
            source="sample",
            time=datetime.now(UTC),
            correlation_id="bench",
            subject=event.key,
            actor="user:bench",
            is_keyed=True,
        )
        await bus.client.publish(
            described.event_subject(event.key), encode(event), headers=envelope.to_headers()
        )
        if number % CHUNK == 0:
            await bus.flush()
    while await last_sequence(bus, "EVT_SAMPLE") < FACTS:  # noqa: ASYNC110  the server rings no bell
        await asyncio.sleep(0.05)


async def _bare(bus: Connection, url: str) -> float:
    """Pull, decode, write a thousand at a time and acknowledge; returns facts in a second."""
    config = {
        "name": "bare",
        "durable_name": "bare",
        "ack_policy": "explicit",
        "ack_wait": 60 * 10**9,
    }
    config |= {"max_ack_pending": 20_000}
    body = {"stream_name": "EVT_SAMPLE", "config": config}
    await request(bus, "CONSUMER.CREATE.EVT_SAMPLE.bare", body)
    connection = await asyncpg.connect(url)
    decode, waiting = decoder(Ticked), asyncio.Queue[Delivery]()

    async def handle(delivery: Delivery) -> None:
        waiting.put_nowait(delivery)
        await delivery.ack()

    puller = Puller(bus, "EVT_SAMPLE", "bare", handle, concurrency=64, batch=2 * CHUNK)
    began = time.perf_counter()
    puller.start()
    try:
        for _ in range(FACTS // CHUNK):
            events = [decode((await waiting.get()).data) for _ in range(CHUNK)]
            await connection.executemany(KEEP.sql, [(e.key, e.number) for e in events])
        return FACTS / (time.perf_counter() - began)
    finally:
        await puller.stop()
        await connection.close()
