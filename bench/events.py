"""From a committed fact to a reaction in another process, beside a bare publish to a pull consumer."""

import asyncio
import statistics
import time
from typing import Any, Final

from bench.figures import Figure
from bus.connection import Connection, connect
from bus.jetstream import publish, request
from bus.puller import Delivery, Puller
from kernel.testing.stack import running_stack, throwaway_folder

RATE: Final = 200
COUNT: Final = 1000


async def events(seconds: int) -> list[Figure]:
    """JetStream publish to pull with the same sync, at 200 a second: the baseline of reactions."""
    del seconds
    with throwaway_folder() as folder:
        async with running_stack(folder, durable=True) as stack:
            seed = stack.nats_keys_dir / "admin.nk"
            one = await connect(stack.nats_url, name="bench.publish", seed_file=seed)
            two = await connect(stack.nats_url, name="bench.pull", seed_file=seed)
            try:
                rate, p50, p99 = await _publish_and_pull(one, two)
            finally:
                await one.close()
                await two.close()
    return [
        Figure(
            name=f"JetStream publish to pull, synced, {RATE}/s",
            value=rate,
            p50_ms=p50,
            p99_ms=p99,
        )
    ]


async def _publish_and_pull(one: Connection, two: Connection) -> tuple[float, float, float]:
    stream = {"name": "BENCH", "subjects": ["bench.>"], "storage": "file"}
    await request(one, "STREAM.CREATE.BENCH", stream)
    consumer = {"durable_name": "bench", "ack_policy": "explicit", "max_deliver": -1}
    await request(
        one,
        "CONSUMER.CREATE.BENCH.bench",
        {"stream_name": "BENCH", "config": {**consumer, "name": "bench"}},
    )
    latencies: list[float] = []
    done = asyncio.Event()

    async def handle(delivery: Delivery) -> None:
        latencies.append((time.perf_counter() - float(delivery.headers["sent"])) * 1000)
        await delivery.ack()
        if len(latencies) == COUNT:
            done.set()

    puller = Puller(two, "BENCH", "bench", handle, concurrency=8)
    puller.start()
    started = time.perf_counter()
    tasks: set[asyncio.Task[Any]] = set()
    for number in range(COUNT):
        wait = started + number / RATE - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        headers = {"sent": str(time.perf_counter())}
        task = asyncio.create_task(publish(one, "bench.tick", b"{}", headers))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    async with asyncio.timeout(20):
        await done.wait()
    took = time.perf_counter() - started
    await puller.stop()
    return COUNT / took, statistics.median(latencies), sorted(latencies)[int(COUNT * 0.99)]
