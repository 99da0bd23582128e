"""The relay under kill, stop, late commits and strange streams: facts once, in order, and nothing lost."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from bus.connection import Connection
from bus.envelope import read_envelope
from bus.jetstream import BatchReader, StoredMessage, last_sequence
from bus.jetstream import request as jetstream_request
from bus.puller import Delivery, Puller
from bus.streams import apply, plugin_streams
from kernel.context import Context
from kernel.database import Database
from kernel.embedded.stack import EmbeddedStack
from kernel.ids import new_uuid7
from kernel.outbox import INSERT_ROWS, OutboxRow, insert_arguments, timer_subject
from kernel.plugin import PUBLIC, Plugin
from kernel.relay import Relay, StreamMismatchError
from kernel.telemetry import Telemetry
from tests.sample_plugin.contract import AddToTally, RingBell, TallyChanged, TallyView
from tests.sample_plugin.stage import (
    SMALL_POOL,
    a_plugin,
    a_runtime,
    a_tallying_plugin,
    an_envelope,
    asked,
    drop_streams,
    eventually,
    opened,
    published,
    run_sql,
)
from tests.sample_plugin.store import OUTBOX, UNSENT


def a_relay(url: str, database: Database, connection: Connection) -> Relay:
    return Relay("sample", database, url, connection, Telemetry())


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[Relay]:
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


async def messages_of(connection: Connection, stream: str) -> list[StoredMessage]:
    reader = BatchReader(connection, stream)
    return await reader.read(1, batch=1000)


async def all_is_sent(database: Database) -> None:
    async def nothing_waits() -> bool:
        return not await database.fetchval(UNSENT)

    await eventually(nothing_waits, within=20, what="the outbox is empty")


def versions_by_key(messages: list[StoredMessage]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for message in messages:
        key = message.subject.rpartition(".")[2]
        found.setdefault(key, []).append(int(message.headers["realserv-version"]))
    return found


def identities(messages: list[StoredMessage]) -> list[str]:
    return [message.headers["ce-id"] for message in messages]


@asynccontextmanager
async def relay_process(
    stack: EmbeddedStack, url: str, mode: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.sample_plugin.relay_process",
        url,
        stack.nats_url,
        str(stack.nats.keys.seed_file("admin")),
        mode,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        return (await process.stdout.readline()).decode().strip()


async def test_two_relays_at_once_publish_every_fact_once_and_in_causal_order(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    relays = [a_relay(sample_url, sample_database, bus) for _ in range(2)]
    done = asyncio.Event()

    async def publish_without_the_lock(relay: Relay) -> None:
        await relay._catch_up()
        while not done.is_set() or await sample_database.fetchval(UNSENT):
            await relay._publish_batch()
            await asyncio.sleep(0)

    async def write(number: int) -> None:
        for _ in range(20):
            await asked(runtime, AddToTally(tally_id=f"t{number % 3}"))

    publishing = [asyncio.create_task(publish_without_the_lock(relay)) for relay in relays]
    await asyncio.gather(*(write(number) for number in range(12)))
    done.set()
    await asyncio.gather(*publishing)

    facts = await messages_of(bus, "EVT_SAMPLE")
    assert versions_by_key(facts) == {f"t{n}": list(range(1, 81)) for n in range(3)}
    rows = [row for row in await sample_database.fetch(OUTBOX) if row["kind"] == "fact"]
    assert [row["stream_seq"] for row in rows] == [
        {str(UUID(f.headers["ce-id"])): f.sequence for f in facts}[str(row["ce_id"])]
        for row in rows
    ]


async def test_only_one_of_two_relays_leads(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    async with running(a_relay(sample_url, sample_database, bus)) as first:
        await eventually(_leads(first))
        async with running(a_relay(sample_url, sample_database, bus)) as second:
            runtime = a_runtime(a_tallying_plugin(), sample_database, wake=second.wake)

            await asked(runtime, AddToTally(tally_id="t"))
            await all_is_sent(sample_database)

            assert (first.is_leader, second.is_leader) == (True, False)


def _leads(relay: Relay) -> Any:
    async def leads() -> bool:
        return relay.is_leader

    return leads


async def test_F20_what_was_committed_before_a_kill_is_published_by_the_next_relay(
    stack: EmbeddedStack, sample_url: str, sample_database: Database, bus: Connection
) -> None:
    async with relay_process(stack, sample_url, "die before publishing") as process:
        await process.wait()

    assert process.returncode == -signal.SIGKILL
    assert await sample_database.fetchval(UNSENT) == 20
    async with running(a_relay(sample_url, sample_database, bus)):
        await all_is_sent(sample_database)

    assert versions_by_key(await messages_of(bus, "EVT_SAMPLE")) == {"t": list(range(1, 11))}
    assert len(await messages_of(bus, "WORK_SAMPLE")) == 10


async def test_a_fact_that_was_published_but_not_marked_before_a_kill_stands_in_the_stream_once(
    stack: EmbeddedStack, sample_url: str, sample_database: Database, bus: Connection
) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    await asyncio.gather(*(asked(runtime, AddToTally(tally_id="t")) for _ in range(10)))

    async with relay_process(stack, sample_url, "die before marking") as process:
        await process.wait()
    assert process.returncode == -signal.SIGKILL
    assert (await last_sequence(bus, "EVT_SAMPLE"), await sample_database.fetchval(UNSENT)) == (
        10,
        20,
    )
    async with running(a_relay(sample_url, sample_database, bus)):
        await all_is_sent(sample_database)

    assert versions_by_key(await messages_of(bus, "EVT_SAMPLE")) == {"t": list(range(1, 11))}
    assert len(set(identities(await messages_of(bus, "WORK_SAMPLE")))) == 10
    assert len(await messages_of(bus, "WORK_SAMPLE")) == 10


async def test_a_late_committer_with_a_smaller_id_is_not_skipped(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    late = await asyncpg.connect(sample_url)
    transaction = late.transaction()
    await transaction.start()
    fact = OutboxRow("fact", new_uuid7(), "evt.sample.tally_changed.v1.0.late", {}, "{}")
    headers = an_envelope(TallyChanged, fact.ce_id).to_headers()
    await late.set_type_codec("jsonb", schema="pg_catalog", encoder=str, decoder=str, format="text")
    await late.execute(INSERT_ROWS.sql, *insert_arguments([fact._replace(headers=headers)]))
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    await asked(runtime, AddToTally(tally_id="early"))

    async with running(a_relay(sample_url, sample_database, bus)) as relay:
        await all_is_sent(sample_database)
        await transaction.commit()
        relay.wake()
        await all_is_sent(sample_database)
    await late.close()

    keys = [m.subject.rpartition(".")[2] for m in await messages_of(bus, "EVT_SAMPLE")]
    assert keys == ["early", "late"]


async def test_a_stopped_process_loses_its_lock_and_doubles_nothing_when_it_goes_on(
    stack: EmbeddedStack, sample_url: str, sample_database: Database, bus: Connection
) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    async with relay_process(stack, sample_url, "publish") as process:
        assert await line_of(process) == "leads"
        await asked(runtime, AddToTally(tally_id="t"))
        await bus.client.publish("wake.sample", b"")
        await all_is_sent(sample_database)
        os.kill(process.pid, signal.SIGSTOP)
        await asked(runtime, AddToTally(tally_id="t"))

        async with running(a_relay(sample_url, sample_database, bus)) as successor:
            await eventually(_leads(successor), within=12, what="another relay takes over")
            await all_is_sent(sample_database)
            os.kill(process.pid, signal.SIGCONT)
            await asyncio.gather(*(asked(runtime, AddToTally(tally_id="t")) for _ in range(20)))
            successor.wake()
            assert await line_of(process) == "lost"
            await all_is_sent(sample_database)

    facts, tells = await messages_of(bus, "EVT_SAMPLE"), await messages_of(bus, "WORK_SAMPLE")
    assert versions_by_key(facts) == {"t": list(range(1, 23))}
    assert len(tells) == len(set(identities(tells))) == 22


async def test_a_fact_in_the_stream_that_the_outbox_does_not_know_stops_the_relay(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await published(bus, TallyChanged(tally_id="foreign", number=1))
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    await asked(runtime, AddToTally(tally_id="t"))

    async with running(a_relay(sample_url, sample_database, bus)) as relay:
        fault = await eventually(_fault_of(relay))

    assert "realserv recover --from-streams" in fault
    assert await last_sequence(bus, "EVT_SAMPLE") == 1


async def test_a_message_without_an_identity_in_the_stream_stops_the_relay(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await bus.client.publish("evt.sample.tally_changed.v1.0.x", b"{}")

    with pytest.raises(StreamMismatchError, match="from-streams"):
        await a_relay(sample_url, sample_database, bus)._catch_up()


async def test_a_lost_stream_stops_the_relay_and_names_the_way_out(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    await asked(runtime, AddToTally(tally_id="t"))
    async with running(a_relay(sample_url, sample_database, bus)):
        await all_is_sent(sample_database)
    await drop_streams(bus, "EVT_SAMPLE")
    await apply(bus, plugin_streams("sample"), [])

    async with running(a_relay(sample_url, sample_database, bus)) as relay:
        fault = await eventually(_fault_of(relay))

    assert "realserv recover --from-outbox" in fault


async def test_a_stream_lost_under_a_relay_that_leads_is_not_filled_from_the_middle(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    await asked(runtime, AddToTally(tally_id="t"))
    async with running(a_relay(sample_url, sample_database, bus)) as relay:
        await all_is_sent(sample_database)
        await drop_streams(bus, "EVT_SAMPLE")
        await apply(bus, plugin_streams("sample"), [])

        await asked(runtime, AddToTally(tally_id="t"))
        relay.wake()
        fault = await eventually(_fault_of(relay))

    assert "realserv recover --from-outbox" in fault
    assert await last_sequence(bus, "EVT_SAMPLE") == 0


def _fault_of(relay: Relay) -> Any:
    async def fault() -> str | None:
        return relay.fault

    return fault


async def test_a_tell_carries_its_identity_as_message_id_and_a_repeat_is_dropped(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    await asked(runtime, AddToTally(tally_id="t"))
    relay = a_relay(sample_url, sample_database, bus)
    await relay._catch_up()
    await relay._publish_batch()
    await run_sql(sample_url, "UPDATE kernel.outbox SET sent_at = NULL WHERE kind = 'tell'")

    await relay._publish_batch()

    (tell,) = await messages_of(bus, "WORK_SAMPLE")
    assert tell.headers["Nats-Msg-Id"] == tell.headers["ce-id"]
    assert tell.subject == "work.sample.do.note_tally_v1"
    assert await sample_database.fetchval(UNSENT) == 0


async def test_tells_that_nobody_stores_hold_up_no_fact(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    await drop_streams(bus, "WORK_SAMPLE")
    await asked(runtime, AddToTally(tally_id="t"))

    async with running(a_relay(sample_url, sample_database, bus)):

        async def fact_is_there() -> bool:
            return await last_sequence(bus, "EVT_SAMPLE") == 1

        await eventually(fact_is_there)
        assert await sample_database.fetchval(UNSENT) == 1
        await apply(bus, plugin_streams("sample"), [])
        await all_is_sent(sample_database)

    assert len(await messages_of(bus, "WORK_SAMPLE")) == 1


def a_timing_plugin(*steps: Any) -> Plugin:
    async def set_timers(command: AddToTally, ctx: Context) -> TallyView:
        async with ctx.transaction() as tx:
            for step in steps[command.number]:
                step(tx)
        return TallyView(tally_id=command.tally_id, total=0)

    plugin = a_plugin()
    plugin.command(AddToTally, set_timers, allow=PUBLIC)
    return plugin


def later(tally_id: str, at: datetime, timer: str = "bell") -> Any:
    return lambda tx: tx.later(RingBell(tally_id=tally_id), at=at, id=timer)


def cancel(timer: str = "bell") -> Any:
    return lambda tx: tx.cancel(timer)


SOON = timedelta(milliseconds=200)
HOUR = timedelta(hours=1)


@pytest.fixture
async def rung(bus: Connection) -> AsyncIterator[list[str]]:
    """The tallies whose bells rang."""
    found: list[str] = []

    async def note(delivery: Delivery) -> None:
        found.append(delivery.data.decode())
        await delivery.ack()

    puller = Puller(bus, "WORK_SAMPLE", "worker", note)
    puller.start()
    yield found
    await puller.stop()


async def relayed(url: str, database: Database, bus: Connection, *transactions: Any) -> None:
    """Run each list of steps in a transaction of its own, publishing after every one."""
    runtime = a_runtime(a_timing_plugin(*transactions), database)
    relay = a_relay(url, database, bus)
    await relay._catch_up()
    for number in range(len(transactions)):
        await asked(runtime, AddToTally(tally_id="t", number=number))
        await relay._publish_batch()
    assert await database.fetchval(UNSENT) == 0


async def ringing(rung: list[str], count: int) -> list[str]:
    async def enough() -> bool:
        return len(rung) >= count

    await eventually(enough, within=5, what=f"{count} bells")
    return rung


async def test_F10_two_timers_of_different_ids_both_fire(
    sample_url: str, sample_database: Database, bus: Connection, rung: list[str]
) -> None:
    at = datetime.now(UTC) + SOON

    await relayed(sample_url, sample_database, bus, [later("a", at, "1"), later("b", at, "2")])

    assert sorted(await ringing(rung, 2)) == [
        '{"tally_id":"a","at":null}',
        '{"tally_id":"b","at":null}',
    ]


async def test_a_timer_set_again_replaces_the_first_and_a_cancelled_one_is_gone(
    sample_url: str, sample_database: Database, bus: Connection, rung: list[str]
) -> None:
    now = datetime.now(UTC)

    await relayed(
        sample_url,
        sample_database,
        bus,
        [later("first", now + HOUR), later("gone", now + HOUR, "other")],
        [later("second", now + SOON), cancel("other")],
    )

    assert await ringing(rung, 1) == ['{"tally_id":"second","at":null}']
    with pytest.raises(Exception, match="no message found"):
        await jetstream_request(
            bus, "STREAM.MSG.GET.WORK_SAMPLE", {"last_by_subj": timer_subject("sample", "other")}
        )


@pytest.mark.parametrize(
    ("steps", "is_set"),
    [
        pytest.param(["set", "cancel"], False, id="set and cancelled"),
        pytest.param(["cancel", "set"], True, id="cancelled and set"),
        pytest.param(["set", "cancel", "set"], True, id="set, cancelled and set"),
    ],
)
async def test_of_several_orders_about_one_timer_in_one_batch_the_last_counts(
    sample_url: str, sample_database: Database, bus: Connection, steps: list[str], is_set: bool
) -> None:
    named = {"set": later("t", datetime.now(UTC) + HOUR), "cancel": cancel()}

    await relayed(sample_url, sample_database, bus, [named[step] for step in steps])

    assert len(await messages_of(bus, "WORK_SAMPLE")) == int(is_set)


async def test_a_timer_given_in_another_time_zone_fires_at_that_moment(
    sample_url: str, sample_database: Database, bus: Connection, rung: list[str]
) -> None:
    at = (datetime.now(UTC) + SOON).astimezone(timezone(timedelta(hours=5, minutes=30)))

    await relayed(sample_url, sample_database, bus, [later("t", at)])

    assert len(await ringing(rung, 1)) == 1


async def test_facts_and_timers_carry_who_acted_and_why_but_no_token(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    identity = new_uuid7()
    await asked(runtime, AddToTally(tally_id="t"), identity)
    async with running(a_relay(sample_url, sample_database, bus)):
        await all_is_sent(sample_database)

    (fact,) = await messages_of(bus, "EVT_SAMPLE")
    envelope = read_envelope(fact.headers)

    assert (envelope.causation_id, envelope.correlation_id) == (str(identity), "test")
    assert (envelope.actor, envelope.token) == ("anonymous", "")
    assert (envelope.subject, envelope.version) == ("t", 1)


async def test_the_outbox_has_a_partition_for_this_month_and_the_two_after_it(
    sample_url: str,
) -> None:
    rows = await run_sql(
        sample_url,
        """
        SELECT to_regclass('kernel.outbox_' || to_char(now() AT TIME ZONE 'UTC'
            + make_interval(months => ahead), 'YYYYMM')) AS partition
        FROM generate_series(0, 2) AS ahead
        """,
    )
    await run_sql(sample_url, "SELECT kernel.ensure_partitions()")

    assert all(row["partition"] for row in rows)


async def test_housekeeping_forgets_old_tells_and_marks_but_no_fact(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    await asked(runtime, AddToTally(tally_id="t"), new_uuid7())
    relay = a_relay(sample_url, sample_database, bus)
    await relay._catch_up()
    await relay._publish_batch()
    for table in ("outbox", "inbox"):
        await run_sql(
            sample_url, f"UPDATE kernel.{table} SET created_at = now() - interval '36 days'"
        )

    await relay._tidy()

    assert [row["kind"] for row in await sample_database.fetch(OUTBOX)] == ["fact"]
    assert (await run_sql(sample_url, "SELECT count(*) FROM kernel.inbox"))[0][0] == 0


async def test_F03_publishing_goes_on_after_the_server_was_killed_and_came_back(
    own_nats: Any, own_bus: Connection, sample_url: str
) -> None:
    async with opened(sample_url, SMALL_POOL) as database:
        runtime = a_runtime(a_tallying_plugin(), database)
        async with running(a_relay(sample_url, database, own_bus)) as relay:
            await eventually(_leads(relay))
            await asked(runtime, AddToTally(tally_id="t"))
            await all_is_sent(database)

            own_nats.process.send(signal.SIGKILL)
            await asyncio.gather(*(asked(runtime, AddToTally(tally_id="t")) for _ in range(10)))
            await own_nats.start()
            await all_is_sent(database)

        facts = await messages_of(own_bus, "EVT_SAMPLE")
        assert versions_by_key(facts) == {"t": list(range(1, 12))}
