"""Read models made anew beside the live ones: equal, switched at once, and nothing else is run."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest

from bus.connection import Connection
from bus.jetstream import last_sequence
from bus.message import Nothing
from kernel.context import Context, EffectContext, Write
from kernel.database import Database
from kernel.models import ModelFold
from kernel.plugin import INTERNAL, OnRepeat, Plugin
from kernel.replay import Replay, Replayed, ReplayError, replay_model
from kernel.sql import statement
from kernel.upcasting import NO_UPCASTERS
from tests.sample_plugin.contract import NoteTally, SendSlip, SlipSent, TallyChanged
from tests.sample_plugin.stage import (
    a_plugin,
    a_runtime,
    eventually,
    note_change,
    published,
    run_sql,
)
from tests.sample_plugin.store import ADD, NOTE

MODEL: Final = "totals"
POSITION: Final = statement("SELECT stream_seq FROM kernel.models WHERE model = 'totals'")
DIGEST: Final = statement(
    "SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM tallies AS t"
)
TOTAL: Final = statement("SELECT cast(sum(total) AS bigint) FROM tallies")
SPOIL: Final = statement("UPDATE tallies SET total = -1")
INDEX_NAMES: Final = "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"
SCHEMAS: Final = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'replay%'"


def add_up(event: TallyChanged) -> list[Write]:
    return [Write(ADD, {"tally_id": event.tally_id, "number": event.number})]


async def send_slip(intent: SendSlip, ctx: EffectContext) -> SlipSent:
    raise AssertionError("no effect runs in a replay")


async def note(command: NoteTally, ctx: Context) -> Nothing:
    raise AssertionError("no command runs in a replay")


def a_whole_plugin(projection: Any = add_up) -> Plugin:
    """The sample with a handler of every kind."""
    plugin = a_plugin()
    plugin.model(MODEL, tables=("tallies",))
    plugin.project(TallyChanged, projection, model=MODEL)
    plugin.react(TallyChanged, note_change)
    plugin.command(NoteTally, note, allow=INTERNAL)
    plugin.effect(SendSlip, send_slip, on_repeat=OnRepeat.SAME_KEY)
    return plugin


async def publish(bus: Connection, count: int, *, keys: int = 3) -> None:
    before = await last_sequence(bus, "EVT_SAMPLE")
    for number in range(count):
        await published(bus, TallyChanged(tally_id=f"t{number % keys}", number=number))

    async def all_are_stored() -> bool:
        return await last_sequence(bus, "EVT_SAMPLE") == before + count

    await eventually(all_are_stored)


def a_live_fold(database: Database, bus: Connection, plugin: Plugin) -> ModelFold:
    return ModelFold(a_runtime(plugin, database), bus, MODEL, "sample", plugin.of_kind("project"))


async def folded(database: Database, sequence: int) -> None:
    async def is_there() -> bool:
        return await database.fetchval(POSITION) == sequence  # type: ignore[no-any-return]  # an int

    await eventually(is_there)


async def live_model(database: Database, bus: Connection, count: int) -> None:
    """Publish so many facts and have the live model fold them."""
    await publish(bus, count)
    fold = a_live_fold(database, bus, a_whole_plugin())
    await fold.start()
    await folded(database, count)
    await fold.stop()


async def replayed(
    url: str, bus: Connection, plugin: Plugin | None = None, **options: Any
) -> Replayed:
    work = Replay(plugin or a_whole_plugin(), MODEL, bus, NO_UPCASTERS)
    return await replay_model(url, work, **options)


async def test_a_model_made_anew_is_equal_to_the_live_one_to_the_byte(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await live_model(sample_database, bus, 2_345)
    before = await sample_database.fetchval(DIGEST)
    names = await run_sql(sample_url, INDEX_NAMES)

    done = await replayed(sample_url, bus)

    assert (done.facts, done.rows, done.is_same, done.is_switched) == (2_345, 3, True, True)
    assert await sample_database.fetchval(DIGEST) == before
    assert await run_sql(sample_url, INDEX_NAMES) == names
    assert (await run_sql(sample_url, SCHEMAS))[0][0] == 0


async def test_a_spoiled_model_is_mended_under_the_eyes_of_its_readers(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await live_model(sample_database, bus, 100)
    right = await sample_database.fetchval(TOTAL)
    await sample_database.execute(SPOIL)
    seen: set[int] = set()

    async def keep_reading() -> None:
        while True:
            seen.add(await sample_database.fetchval(TOTAL))

    reader = asyncio.create_task(keep_reading())
    done = await replayed(sample_url, bus)
    await asyncio.sleep(0.1)
    reader.cancel()
    with suppress(asyncio.CancelledError):
        await reader

    assert not done.is_same
    assert seen == {-3, right}


async def test_facts_that_arrive_meanwhile_are_folded_once(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    plugin = a_whole_plugin()
    fold = a_live_fold(sample_database, bus, plugin)
    await fold.start()
    await publish(bus, 500)
    publishing = asyncio.create_task(publish(bus, 2_000))

    for _ in range(4):
        await replayed(sample_url, bus, plugin)
    await publishing
    await folded(sample_database, 2_500)
    await fold.stop()

    assert await sample_database.fetchval(TOTAL) == sum(range(500)) + sum(range(2_000))


async def test_nothing_but_the_model_is_touched(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await live_model(sample_database, bus, 50)

    await replayed(sample_url, bus)

    counts = """
        SELECT (SELECT count(*) FROM kernel.outbox), (SELECT count(*) FROM kernel.effects),
            (SELECT count(*) FROM kernel.inbox), (SELECT count(*) FROM kernel.positions),
            (SELECT count(*) FROM journal)
    """
    assert list((await run_sql(sample_url, counts))[0]) == [0, 0, 0, 0, 0]
    assert await last_sequence(bus, "WORK_SAMPLE") == 0


async def test_a_projection_cannot_write_what_is_not_its_models(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await live_model(sample_database, bus, 5)

    def write_elsewhere(event: TallyChanged) -> list[Write]:
        return [Write(NOTE, {"tally_id": event.tally_id, "number": event.number})]

    with pytest.raises(asyncpg.UndefinedTableError, match="journal"):
        await replayed(sample_url, bus, a_whole_plugin(write_elsewhere))

    assert await sample_database.fetchval(TOTAL) == sum(range(5))
    assert (await run_sql(sample_url, SCHEMAS))[0][0] == 0


async def test_a_dry_run_compares_and_changes_nothing(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await live_model(sample_database, bus, 20)
    await publish(bus, 10)
    same = await replayed(sample_url, bus, is_dry=True)
    await sample_database.execute(SPOIL)

    spoiled = await replayed(sample_url, bus, is_dry=True)

    assert (same.is_same, spoiled.is_same) == (True, False)
    assert await sample_database.fetchval(TOTAL) == -3
    assert await sample_database.fetchval(POSITION) == 20
    assert (await run_sql(sample_url, SCHEMAS))[0][0] == 0


async def test_a_replay_may_leave_out_what_came_before_a_place_or_a_time(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await live_model(sample_database, bus, 10)
    await asyncio.sleep(0.01)
    noon = datetime.now(UTC)
    await publish(bus, 3)

    later = await replayed(sample_url, bus, start=noon)
    by_time = await sample_database.fetchval(TOTAL)
    last_two = await replayed(sample_url, bus, start=12)
    nothing = await replayed(sample_url, bus, start=noon + timedelta(days=1), is_dry=True)

    assert (later.facts, by_time) == (3, 0 + 1 + 2)
    assert (last_two.facts, await sample_database.fetchval(TOTAL)) == (2, 1 + 2)
    assert nothing.facts == 0


async def test_two_replays_of_one_model_do_not_meet(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await live_model(sample_database, bus, 3_000)

    outcomes = await asyncio.gather(
        *(replayed(sample_url, bus) for _ in range(2)), return_exceptions=True
    )

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ReplayError", "Replayed"]


async def test_a_reader_who_stays_is_not_pushed_out(
    sample_url: str, sample_database: Database, bus: Connection
) -> None:
    await live_model(sample_database, bus, 5)
    work = Replay(a_whole_plugin(), MODEL, bus, NO_UPCASTERS, patience=0.1)
    async with sample_database.connection() as reader, reader.transaction():
        await reader.fetchval("SELECT count(*) FROM tallies")

        with pytest.raises(ReplayError, match="somebody reads totals"):
            await replay_model(sample_url, work)

    assert await sample_database.fetchval(TOTAL) == sum(range(5))
    assert (await replayed(sample_url, bus)).is_same


async def test_a_model_that_names_no_tables_is_refused(bus: Connection) -> None:
    plugin = a_plugin()
    plugin.project(TallyChanged, add_up, model=MODEL)

    with pytest.raises(ReplayError, match="names no tables"):
        Replay(plugin, MODEL, bus, NO_UPCASTERS)
