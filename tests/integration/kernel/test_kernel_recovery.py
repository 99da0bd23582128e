"""Streams made again from the outbox: each fact at its sequence, or a refusal that says why."""

import msgspec
import pytest

from bus.connection import Connection
from bus.jetstream import BatchReader, last_sequence
from bus.jetstream import request as jetstream_request
from bus.streams import ConsumerSpec, apply, plan, plugin_streams
from kernel.database import Database
from kernel.recovery import RecoveryError, Refill, require_whole
from kernel.relay import Relay
from kernel.sql import statement
from kernel.telemetry import Telemetry
from tests.sample_plugin.contract import AddToTally, TallyChanged
from tests.sample_plugin.stage import (
    a_runtime,
    a_tallying_plugin,
    asked,
    drop_streams,
    eventually,
    published,
)
from tests.sample_plugin.store import UNSENT

FORGET_ONE = statement("DELETE FROM kernel.outbox WHERE stream_seq = 3")
UNNOTE_LAST = statement(
    "UPDATE kernel.outbox SET sent_at = NULL, stream_seq = NULL WHERE stream_seq > 3"
)
FACTS = 5


async def sent(url: str, database: Database, bus: Connection) -> None:
    """Say five facts and publish them."""
    runtime = a_runtime(a_tallying_plugin(), database)
    for number in range(1, FACTS + 1):
        await asked(runtime, AddToTally(tally_id="t", number=number))
    relay = Relay("sample", database, url, bus, Telemetry())
    await relay.start()

    async def is_done() -> bool:
        return await database.fetchval(UNSENT) == 0  # type: ignore[no-any-return]  # an int

    await eventually(is_done)
    await relay.stop()


async def lose(bus: Connection) -> None:
    await drop_streams(bus, "EVT_SAMPLE")
    await apply(bus, plugin_streams("sample"), [])


async def stream_ends_at(bus: Connection, sequence: int) -> None:
    async def does() -> bool:
        return await last_sequence(bus, "EVT_SAMPLE") == sequence

    await eventually(does)


async def foreign_fact(bus: Connection) -> None:
    await published(bus, TallyChanged(tally_id="foreign", number=1))
    await stream_ends_at(bus, 1)


async def facts_of(bus: Connection) -> list[tuple[int, str, str, bytes]]:
    messages = await BatchReader(bus, "EVT_SAMPLE").read(1)
    return [(m.sequence, m.subject, m.headers["ce-id"], m.payload) for m in messages]


async def test_a_lost_stream_is_filled_again_with_every_fact_at_its_sequence(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await sent(sample_url, sample_database, bus)
    before = await facts_of(bus)
    await lose(bus)
    refill = Refill("sample", sample_database, bus)

    was_whole = await refill.is_whole()
    await refill.run()

    assert (was_whole, refill.published) == (False, FACTS)
    assert await facts_of(bus) == before
    assert await Refill("sample", sample_database, bus).is_whole()


async def test_a_stream_of_which_the_end_is_lost_is_filled_from_there(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await sent(sample_url, sample_database, bus)
    before = await facts_of(bus)
    await lose(bus)
    half = Refill("sample", sample_database, bus)
    await sample_database.execute(UNNOTE_LAST)
    await half.is_whole()
    await half.run()
    unnoted = await half.put_back_unnoted("reader.sample", FACTS)

    whole = await Refill("sample", sample_database, bus).is_whole()

    assert (half.published, unnoted, whole) == (FACTS, 2, True)
    assert await facts_of(bus) == before


async def test_a_reader_ahead_of_both_stream_and_outbox_is_refused(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await sent(sample_url, sample_database, bus)
    refill = Refill("sample", sample_database, bus)
    await refill.is_whole()

    with pytest.raises(RecoveryError, match=r"reader\.sample has seen fact 9"):
        await refill.put_back_unnoted("reader.sample", 9)


async def test_an_outbox_with_a_gap_is_refused(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await sent(sample_url, sample_database, bus)
    await sample_database.execute(FORGET_ONE)

    with pytest.raises(RecoveryError, match="some are missing"):
        await require_whole(sample_database, "sample")


async def test_a_stream_of_another_history_is_refused_and_left_alone(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await sent(sample_url, sample_database, bus)
    await lose(bus)
    await foreign_fact(bus)

    with pytest.raises(RecoveryError, match="not of one history"):
        await Refill("sample", sample_database, bus).is_whole()

    assert await last_sequence(bus, "EVT_SAMPLE") == 1


async def test_a_stream_ahead_of_its_outbox_names_the_other_way(
    sample_database: Database, bus: Connection
) -> None:
    await foreign_fact(bus)

    with pytest.raises(RecoveryError, match="recover --from-streams sample"):
        await Refill("sample", sample_database, bus).is_whole()


async def test_a_consumer_begins_where_it_is_told_and_nobody_minds_later(bus: Connection) -> None:
    placed = ConsumerSpec(
        stream="EVT_SAMPLE",
        name="reader",
        filter_subjects=("evt.sample.>",),
        max_ack_pending=1,
        start=3,
    )
    for number in range(4):
        await published(bus, TallyChanged(tally_id="t", number=number))
    await stream_ends_at(bus, 4)
    await apply(bus, [], [placed])

    usual = msgspec.structs.replace(placed, start=1)
    changed = await apply(bus, [], [msgspec.structs.replace(usual, max_ack_pending=7)])

    info = await jetstream_request(bus, "CONSUMER.INFO.EVT_SAMPLE.reader")
    assert info["num_pending"] == 2
    assert [change.differences for change in changed] == [("max_ack_pending: 1 -> 7",)]
    assert await plan(bus, [], [msgspec.structs.replace(usual, max_ack_pending=7)]) == []
