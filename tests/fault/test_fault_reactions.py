"""Reactions under failures, kills and restarts: every event of a key in order, none lost, none twice."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bus.codec import encode
from bus.connection import Connection, connect
from bus.jetstream import BatchReader, last_sequence
from bus.jetstream import request as jetstream_request
from bus.message import describe
from bus.streams import PARTITIONS, apply, part_of_slot, reaction_consumers
from kernel.context import Context
from kernel.database import Database
from kernel.embedded.stack import EmbeddedStack
from kernel.errors import Conflict
from kernel.reactions import ParkedSweeper, Subscription
from tests.sample_plugin.contract import TallyChanged, TallyClosed
from tests.sample_plugin.stage import (
    a_plugin,
    a_runtime,
    an_envelope,
    eventually,
    note_change,
    opened,
    published,
    run_sql,
)
from tests.sample_plugin.store import JOURNAL, NOTE, OUTBOX, PARKED, POSITIONS

EVENTS, KEYS = 5_000, 50


class PoisonError(Conflict):
    """This event is refused for ever."""

    code = "sample.poison"


def a_subscription(
    database: Database, connection: Connection, handler: Any = note_change
) -> Subscription:
    plugin = a_plugin()
    plugin.react(TallyChanged, handler)
    return Subscription(a_runtime(plugin, database), connection, "sample", plugin.of_kind("react"))


@asynccontextmanager
async def running(*subscriptions: Subscription) -> AsyncIterator[None]:
    """React and sweep in so many processes' stead."""
    sweepers = [
        ParkedSweeper(subscription.runtime, [subscription]) for subscription in subscriptions
    ]
    for subscription, sweeper in zip(subscriptions, sweepers, strict=True):
        await subscription.start()
        sweeper.start()
    try:
        yield
    finally:
        await asyncio.gather(*(sweeper.stop() for sweeper in sweepers))
        await asyncio.gather(*(subscription.stop() for subscription in subscriptions))


@asynccontextmanager
async def another_connection(stack: EmbeddedStack) -> AsyncIterator[Connection]:
    connection = await connect(
        stack.nats_url, name="second", seed_file=stack.nats.keys.seed_file("admin")
    )
    try:
        yield connection
    finally:
        await connection.close()


async def publish_all(
    connection: Connection, events: list[TallyChanged], *, first: int = 0
) -> None:
    """Publish and wait until it is stored; ``first`` messages were published before without waiting."""
    before = 0 if first else await last_sequence(connection, "EVT_SAMPLE")
    for event in events:
        await published(connection, event)
    await connection.flush()

    async def all_are_stored() -> bool:
        return await last_sequence(connection, "EVT_SAMPLE") == before + first + len(events)

    await eventually(all_are_stored)


def numbered(*keys: str, count: int) -> list[TallyChanged]:
    return [TallyChanged(tally_id=key, number=number) for number in range(count) for key in keys]


async def journal(database: Database) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row in await database.fetch(JOURNAL):
        found.setdefault(row["tally_id"], []).append(row["number"])
    return found


def noted(database: Database, count: int) -> Callable[[], Any]:
    async def enough() -> bool:
        return len(await database.fetch(JOURNAL)) >= count

    return enough


def parked(database: Database, count: int) -> Callable[[], Any]:
    async def enough() -> bool:
        return len(await database.fetch(PARKED)) == count

    return enough


def at_random(chance: float, after: Any = note_change) -> Any:
    """Fail now and then before and now and then after the work is done."""
    dice = random.Random(4711)

    async def react(event: TallyChanged, ctx: Context) -> None:
        if dice.random() < chance:
            raise ConnectionError("before")
        async with ctx.transaction() as tx:
            await tx.execute(NOTE, tally_id=event.tally_id, number=event.number)
            if dice.random() < chance:
                raise ConnectionError("amid")

    return react


async def test_five_thousand_events_of_fifty_keys_are_reacted_to_in_order_and_once_amid_failures(
    stack: EmbeddedStack, bus: Connection, sample_url: str
) -> None:
    keys = [f"k{number}" for number in range(KEYS)]
    poisoned: Counter[str] = Counter()
    flaky = at_random(0.002)

    async def react(event: TallyChanged, ctx: Context) -> None:
        if event.tally_id in ("k7", "k23") and event.number == 30:
            poisoned[event.tally_id] += 1
            if poisoned[event.tally_id] <= 5:
                raise ConnectionError("poisoned for a while")
        await flaky(event, ctx)

    events = numbered(*keys, count=EVENTS // KEYS)
    async with (
        opened(sample_url) as first,
        opened(sample_url) as second,
        another_connection(stack) as other,
    ):
        await publish_all(bus, events)
        async with running(a_subscription(first, bus, react), a_subscription(second, other, react)):
            await eventually(noted(first, EVENTS), within=60)
            await eventually(parked(first, 0))

        assert await journal(first) == {key: list(range(EVENTS // KEYS)) for key in keys}


async def test_F29_a_poisoned_key_is_parked_alone_and_its_successors_behind_it(
    bus: Connection, sample_database: Database
) -> None:
    async def refuse_poison(event: TallyChanged, ctx: Context) -> None:
        if event.tally_id == "bad" and event.number == 1:
            raise PoisonError
        await note_change(event, ctx)

    await publish_all(bus, numbered("bad", "good", "fine", count=4))
    async with running(a_subscription(sample_database, bus, refuse_poison)):
        await eventually(noted(sample_database, 9))
        await eventually(parked(sample_database, 3))
        rows = await sample_database.fetch(PARKED)

    assert await journal(sample_database) == {
        "bad": [0],
        "good": [0, 1, 2, 3],
        "fine": [0, 1, 2, 3],
    }
    assert [row["key"] for row in rows] == ["bad"] * 3
    assert [row["attempts"] for row in rows] == [0, 0, 0]
    assert rows[0]["next_attempt_at"] is None
    assert rows[0]["reason"].startswith("sample.poison")
    assert [row["reason"] for row in rows[1:]] == ["behind an earlier event"] * 2


async def test_a_released_key_is_handled_in_order_with_its_successors(
    bus: Connection, sample_database: Database, sample_url: str
) -> None:
    is_mended = asyncio.Event()

    async def refuse_until_mended(event: TallyChanged, ctx: Context) -> None:
        if event.number == 0 and not is_mended.is_set():
            raise PoisonError
        await note_change(event, ctx)

    await publish_all(bus, numbered("t", count=5))
    async with running(a_subscription(sample_database, bus, refuse_until_mended)):
        await eventually(parked(sample_database, 5))
        is_mended.set()
        await run_sql(
            sample_url, "UPDATE kernel.parked SET next_attempt_at = now() WHERE stream_seq = 1"
        )
        await eventually(parked(sample_database, 0))
        await publish_all(bus, [TallyChanged(tally_id="t", number=5)])
        await eventually(noted(sample_database, 6))

    assert await journal(sample_database) == {"t": [0, 1, 2, 3, 4, 5]}


async def test_a_parked_event_leaves_one_copy_for_people_and_none_for_those_behind_it(
    bus: Connection, sample_database: Database
) -> None:
    async def refuse(event: TallyChanged, ctx: Context) -> None:
        raise PoisonError

    await publish_all(bus, numbered("t", count=3))
    async with running(a_subscription(sample_database, bus, refuse)):
        await eventually(parked(sample_database, 3))
        rows = await sample_database.fetch(OUTBOX)

    assert [(row["kind"], row["subject"]) for row in rows] == [("dead", "dlq.sample.tally_changed")]
    assert rows[0]["headers"]["realserv-reason"].startswith("sample.poison")


@pytest.mark.parametrize(
    "payload",
    [b"{", b"\x00\xff", b'{"tally_id": 5, "number": 1}', b"[" * 5_000],
    ids=["truncated", "with a NUL", "of another shape", "nested too deeply"],
)
async def test_F35_an_undecodable_event_is_parked_without_a_retry(
    bus: Connection, sample_database: Database, payload: bytes
) -> None:
    kind = describe(TallyChanged)
    headers = an_envelope(TallyChanged).to_headers()
    await bus.client.publish(kind.event_subject("t"), payload, headers=headers)
    await publish_all(bus, [TallyChanged(tally_id="other", number=1)], first=1)

    async with running(a_subscription(sample_database, bus)):
        await eventually(parked(sample_database, 1))
        await eventually(noted(sample_database, 1))
        (row,) = await sample_database.fetch(PARKED)

    assert (row["attempts"], row["next_attempt_at"]) == (0, None)
    assert row["reason"].startswith("bus.undecodable")


@pytest.mark.parametrize(
    "headers",
    [{}, {"ce-id": "x"}, {"ce-time": "0001-01-01T00:00:00+14:00"}],
    ids=["none", "no identity", "a time before time"],
)
async def test_an_event_with_strange_headers_is_parked_without_a_retry(
    bus: Connection, sample_database: Database, headers: dict[str, str]
) -> None:
    event = TallyChanged(tally_id="t", number=1)
    ours = an_envelope(TallyChanged).to_headers() if headers else {}
    subject = describe(TallyChanged).event_subject("t")
    await bus.client.publish(subject, encode(event), headers=ours | headers)

    async with running(a_subscription(sample_database, bus)):
        await eventually(parked(sample_database, 1))
        (row,) = await sample_database.fetch(PARKED)

    assert row["next_attempt_at"] is None


async def test_an_event_that_nobody_reacts_to_is_skipped(
    bus: Connection, sample_database: Database
) -> None:
    await published(bus, TallyClosed(tally_id="t"))
    await publish_all(bus, [TallyChanged(tally_id="t", number=1)], first=1)

    async with running(a_subscription(sample_database, bus)):
        await eventually(noted(sample_database, 1))
        rows = await sample_database.fetch(PARKED)

    assert rows == []


async def test_the_position_of_each_part_is_the_last_event_that_it_handled(
    bus: Connection, sample_database: Database
) -> None:
    events = numbered("a", "b", "c", "d", "e", "f", count=2)
    await publish_all(bus, events)

    async with running(a_subscription(sample_database, bus)):
        await eventually(noted(sample_database, len(events)))

    expected = dict.fromkeys(range(PARTITIONS), 0)
    reader = BatchReader(bus, "EVT_SAMPLE")
    expected |= {
        part_of_slot(int(m.subject.split(".")[4])): m.sequence for m in await reader.read(1)
    }
    rows = await sample_database.fetch(POSITIONS)
    assert {row["part"]: row["stream_seq"] for row in rows} == expected


async def test_F16_a_consumer_made_anew_starts_over_and_doubles_nothing(
    bus: Connection, sample_database: Database
) -> None:
    await publish_all(bus, numbered("a", "b", "c", "d", count=5))
    async with running(a_subscription(sample_database, bus)):
        await eventually(noted(sample_database, 20))
    specs = reaction_consumers("sample", "sample", [describe(TallyChanged)])
    for spec in specs:
        await jetstream_request(bus, f"CONSUMER.DELETE.{spec.stream}.{spec.name}")
    await apply(bus, [], specs)

    await publish_all(bus, numbered("a", "b", "c", "d", count=1))
    async with running(a_subscription(sample_database, bus)):
        await eventually(noted(sample_database, 24))

    assert await journal(sample_database) == {key: [0, 1, 2, 3, 4, 0] for key in "abcd"}


async def test_acknowledgements_lost_by_a_killed_server_double_nothing(
    own_nats: Any, own_bus: Connection, sample_database: Database
) -> None:
    keys = [f"k{number}" for number in range(12)]
    await publish_all(own_bus, numbered(*keys, count=30))

    async with running(a_subscription(sample_database, own_bus)):
        await eventually(noted(sample_database, 100))
        own_nats.process.send(signal.SIGKILL)
        await own_nats.process.wait()
        await own_nats.start()
        await eventually(noted(sample_database, 360), within=60)

    assert await journal(sample_database) == {key: list(range(30)) for key in keys}


async def test_an_outage_leaves_no_subscriptions_behind(
    own_nats: Any, own_bus: Connection, sample_database: Database
) -> None:
    async with running(a_subscription(sample_database, own_bus)):
        await publish_all(own_bus, numbered("t", count=1))
        await eventually(noted(sample_database, 1))
        before = len(own_bus.client._subs)
        own_nats.process.send(signal.SIGKILL)
        await own_nats.process.wait()
        await asyncio.sleep(0.6)
        await own_nats.start()
        await eventually(_connected(own_bus))
        await publish_all(own_bus, numbered("t", count=1))
        await eventually(noted(sample_database, 2), within=20)

        assert len(own_bus.client._subs) <= before


def _connected(connection: Connection) -> Callable[[], Any]:
    async def connected() -> bool:
        return connection.is_connected

    return connected


async def test_F21_retries_of_a_parked_event_do_not_grow_with_the_hosts(
    bus: Connection, sample_database: Database, sample_url: str
) -> None:
    attempts: list[int] = []
    is_parked = asyncio.Event()

    async def fail(event: TallyChanged, ctx: Context) -> None:
        if not is_parked.is_set():
            raise PoisonError
        attempts.append(1)
        async with ctx.transaction():
            await asyncio.sleep(0.05)
            raise ConnectionError("still broken")

    subscriptions = [a_subscription(sample_database, bus, fail) for _ in range(4)]
    await publish_all(bus, numbered("t", count=1))
    await subscriptions[0].start()
    await eventually(parked(sample_database, 1))
    await subscriptions[0].stop()
    is_parked.set()
    await run_sql(sample_url, "UPDATE kernel.parked SET next_attempt_at = now()")

    sweepers = [ParkedSweeper(s.runtime, [s]) for s in subscriptions]
    await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))

    (row,) = await sample_database.fetch(PARKED)
    assert (len(attempts), row["attempts"]) == (1, 1)


async def test_a_parked_event_that_two_processes_take_at_once_is_handled_once(
    bus: Connection, sample_database: Database, sample_url: str
) -> None:
    is_parked = asyncio.Event()

    async def react(event: TallyChanged, ctx: Context) -> None:
        if not is_parked.is_set():
            raise PoisonError
        await note_change(event, ctx)

    subscription = a_subscription(sample_database, bus, react)
    await publish_all(bus, numbered("t", count=10))
    await subscription.start()
    await eventually(parked(sample_database, 10))
    await subscription.stop()
    is_parked.set()
    await run_sql(sample_url, "UPDATE kernel.parked SET next_attempt_at = now()")

    sweepers = [ParkedSweeper(subscription.runtime, [subscription]) for _ in range(3)]
    for _ in range(10):
        await asyncio.gather(*(sweeper.sweep() for sweeper in sweepers))

    assert await journal(sample_database) == {"t": list(range(10))}


async def test_F13_an_event_that_was_delivered_too_often_is_parked_without_running_its_handler(
    bus: Connection, sample_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel.reactions.MAX_DELIVERIES", 0)
    await publish_all(bus, numbered("t", count=1))

    async with running(a_subscription(sample_database, bus)):
        await eventually(parked(sample_database, 1))
        (row,) = await sample_database.fetch(PARKED)

    assert row["reason"] == "delivered too often: it may crash"


async def test_F02_a_cancelled_reaction_is_no_failure_and_goes_to_the_next_process(
    bus: Connection, sample_database: Database
) -> None:
    begun = asyncio.Event()

    async def linger(event: TallyChanged, ctx: Context) -> None:
        begun.set()
        await asyncio.sleep(30)

    lingering = a_subscription(sample_database, bus, linger)
    await lingering.start()
    await publish_all(bus, numbered("t", count=2))
    async with asyncio.timeout(5):
        await begun.wait()
    await asyncio.gather(*(puller.stop(timeout=0.1) for puller in lingering._pullers))

    async with running(a_subscription(sample_database, bus)):
        await eventually(noted(sample_database, 2), within=5)

    assert await journal(sample_database) == {"t": [0, 1]}
    assert await sample_database.fetch(PARKED) == []


async def test_F01_a_graceful_stop_finishes_what_is_in_hand_and_gives_the_rest_back_at_once(
    bus: Connection, sample_database: Database
) -> None:
    begun = asyncio.Event()

    async def work(event: TallyChanged, ctx: Context) -> None:
        begun.set()
        await asyncio.sleep(0.2)
        await note_change(event, ctx)

    async with running(a_subscription(sample_database, bus, work)):
        await publish_all(bus, numbered("a", "b", "c", "d", "e", count=4))
        await begun.wait()
    done_at_stop = len(await sample_database.fetch(JOURNAL))
    async with running(a_subscription(sample_database, bus)):
        await eventually(noted(sample_database, 20), within=5)

    assert 0 < done_at_stop < 20
    assert await journal(sample_database) == {key: [0, 1, 2, 3] for key in "abcde"}


async def test_events_flow_again_when_the_database_was_away(
    bus: Connection, sample_url: str, stack: EmbeddedStack
) -> None:
    async with opened(sample_url) as database:
        async with running(a_subscription(database, bus)):
            await publish_all(bus, numbered("a", "b", count=5))
            await eventually(noted(database, 10))
            await run_sql(
                stack.postgres_url("postgres"),
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
                sample_url.rpartition("/")[2],
            )
            await publish_all(bus, numbered("a", "b", count=5))
            await eventually(noted(database, 20))

        assert await journal(database) == {key: [0, 1, 2, 3, 4] * 2 for key in "ab"}


def test_F06_F07_our_consumers_never_ask_for_a_server_back_off_or_a_limit_of_deliveries() -> None:
    specs = reaction_consumers("sample", "sample", [describe(TallyChanged)])

    configs = [spec.config() for spec in specs]

    assert all("backoff" not in config for config in configs)
    assert [config["max_deliver"] for config in configs] == [-1] * PARTITIONS
    assert [config["max_ack_pending"] for config in configs] == [1] * PARTITIONS


def test_the_parts_of_a_subscription_share_no_slot_and_leave_none_out() -> None:
    specs = reaction_consumers("sample", "sample", [describe(TallyChanged)])

    filters = [subject for spec in specs for subject in spec.filter_subjects]

    assert sorted(filters) == sorted(f"evt.sample.tally_changed.v1.{n}.>" for n in range(16))
