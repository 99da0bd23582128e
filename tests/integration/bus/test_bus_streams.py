"""Streams and consumers as declarations, on a real NATS: plan, apply, and what others own."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from bus.connection import Connection
from bus.jetstream import BatchReader, JetStreamError, publish, request
from bus.message import describe
from bus.puller import Delivery, Puller
from bus.streams import apply, plan, plugin_streams, reaction_consumers, worker_consumer
from tests.sample_plugin.contract import TallyChanged
from tests.sample_plugin.stage import eventually, published

STREAMS = plugin_streams("sample")
CONSUMERS = [
    worker_consumer("sample"),
    *reaction_consumers("sample", "sample", [describe(TallyChanged)]),
]


async def test_what_is_missing_is_made_and_a_second_apply_changes_nothing(bus: Connection) -> None:
    await request(bus, "STREAM.DELETE.WORK_SAMPLE")

    done = await apply(bus, STREAMS, CONSUMERS)

    assert ("create", "WORK_SAMPLE") in [(change.verb, change.asset) for change in done]
    assert await plan(bus, STREAMS, CONSUMERS) == []
    assert await apply(bus, STREAMS, CONSUMERS) == []


async def test_F09_a_plan_names_each_difference_and_changes_nothing(bus: Connection) -> None:
    await apply(bus, STREAMS, CONSUMERS)
    wanted = replace(STREAMS[1], duplicate_window=60 * 10**9)

    changes = await plan(bus, [wanted], [replace(CONSUMERS[0], max_ack_pending=7)])

    assert [(c.verb, c.asset, c.differences) for c in changes] == [
        ("update", "WORK_SAMPLE", ("duplicate_window: 120000000000 -> 60000000000",)),
        ("update", "WORK_SAMPLE/worker", ("max_ack_pending: 512 -> 7",)),
    ]
    assert await plan(bus, STREAMS, CONSUMERS) == []


async def test_F31_what_operators_added_to_a_stream_survives_an_update(bus: Connection) -> None:
    found = (await request(bus, "STREAM.INFO.WORK_SAMPLE"))["config"]
    await request(bus, "STREAM.UPDATE.WORK_SAMPLE", found | {"description": "kept by people"})

    await apply(bus, [replace(STREAMS[1], duplicate_window=60 * 10**9)], [])

    config = (await request(bus, "STREAM.INFO.WORK_SAMPLE"))["config"]
    assert config["description"] == "kept by people"
    assert config["duplicate_window"] == 60 * 10**9
    assert config["metadata"]["owner"] == "realserv"


async def test_facts_can_be_neither_deleted_nor_purged(bus: Connection) -> None:
    await published(bus, TallyChanged(tally_id="t", number=1))

    with pytest.raises(JetStreamError):
        await request(bus, "STREAM.PURGE.EVT_SAMPLE")
    with pytest.raises(JetStreamError):
        await request(bus, "STREAM.MSG.DELETE.EVT_SAMPLE", {"seq": 1})


async def test_a_publication_repeated_under_its_id_is_told_apart(bus: Connection) -> None:
    subject, headers = "work.sample.do.x_v1", {"Nats-Msg-Id": "one"}

    first = await publish(bus, subject, b"{}", headers)
    second = await publish(bus, subject, b"{}", headers)

    assert (first.is_duplicate, second.is_duplicate) == (False, True)
    assert first.sequence == second.sequence


async def test_a_fact_published_after_another_than_it_names_is_refused(bus: Connection) -> None:
    await publish(bus, "evt.sample.x.v1.0.k", b"{}", {"Nats-Msg-Id": "a"})

    with pytest.raises(JetStreamError):
        await publish(
            bus,
            "evt.sample.x.v1.0.k",
            b"{}",
            {"Nats-Expected-Last-Sequence": "1", "Nats-Expected-Last-Msg-Id": "b"},
        )


async def test_a_stream_is_read_in_batches_from_any_place(bus: Connection) -> None:
    for number in range(25):
        await published(bus, TallyChanged(tally_id="t", number=number))
    reader = BatchReader(bus, "EVT_SAMPLE")

    async def all_are_stored() -> bool:
        return len(await reader.read(1)) == 25

    await eventually(all_are_stored)

    assert [m.sequence for m in await reader.read(11, batch=10)] == list(range(11, 21))
    assert [m.sequence for m in await reader.read(21, batch=10)] == list(range(21, 26))
    assert await reader.read(26) == []


async def test_a_puller_feeds_no_more_at_a_time_than_it_was_told(bus: Connection) -> None:
    running: set[int] = set()
    most: list[int] = []

    async def handle(delivery: Delivery) -> None:
        running.add(delivery.stream_seq)
        most.append(len(running))
        await asyncio.sleep(0.01)
        running.discard(delivery.stream_seq)
        await delivery.ack()

    for number in range(30):
        await bus.client.publish("work.sample.do.x_v1", str(number).encode())
    puller = Puller(bus, "WORK_SAMPLE", "worker", handle, concurrency=4)
    puller.start()

    async def all_are_done() -> bool:
        return len(most) == 30 and not running

    await eventually(all_are_done)
    await puller.stop()

    assert max(most) == 4


async def test_a_puller_goes_on_when_its_consumer_was_deleted_and_made_again(
    bus: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.puller.HEARTBEAT", 0.5)
    monkeypatch.setattr("bus.puller.SILENCE", 1.0)
    got: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        got.append(delivery.data)
        await delivery.ack()

    puller = Puller(bus, "WORK_SAMPLE", "worker", handle)
    puller.start()
    await bus.client.publish("work.sample.do.x_v1", b"before")
    await eventually(_got(got, 1))
    await request(bus, "CONSUMER.DELETE.WORK_SAMPLE.worker")
    await bus.client.publish("work.sample.do.x_v1", b"after")
    await apply(bus, [], [worker_consumer("sample")])

    await eventually(_got(got, 2))
    await puller.stop()

    assert got == [b"before", b"after"]


async def test_a_puller_idles_for_longer_than_a_pull_lives_and_still_hears_the_next_message(
    bus: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.puller.HEARTBEAT", 0.2)
    monkeypatch.setattr("bus.puller.SILENCE", 0.6)
    monkeypatch.setattr("bus.puller.EXPIRES", 0.5)
    got: list[bytes] = []

    async def handle(delivery: Delivery) -> None:
        got.append(delivery.data)
        await delivery.ack()

    puller = Puller(bus, "WORK_SAMPLE", "worker", handle)
    puller.start()
    with suppress(AssertionError):
        await eventually(_got(got, 1), within=1.3)
    await bus.client.publish("work.sample.do.x_v1", b"late")

    await eventually(_got(got, 1), within=2)
    await puller.stop()


def _got(got: list[bytes], count: int) -> Any:
    async def enough() -> bool:
        return len(got) >= count

    return enough
