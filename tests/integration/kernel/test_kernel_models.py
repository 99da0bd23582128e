"""Read models on real streams: folded in batches, the same on every replay, by however many folders."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bus.connection import Connection
from bus.jetstream import last_sequence
from kernel.context import Write
from kernel.database import Database
from kernel.models import ModelFold
from kernel.plugin import Plugin
from kernel.sql import statement
from tests.sample_plugin.contract import TallyChanged, TallyClosed
from tests.sample_plugin.stage import a_plugin, a_runtime, eventually, published
from tests.sample_plugin.store import ADD, JOURNAL, NOTE

TALLIES = statement("SELECT tally_id, total FROM tallies ORDER BY tally_id")
CLEAR = statement("DELETE FROM tallies")
FORGET_POSITION = statement("UPDATE kernel.models SET stream_seq = 0")
POSITION = statement("SELECT stream_seq FROM kernel.models")


def add_up(event: TallyChanged) -> list[Write]:
    return [Write(ADD, {"tally_id": event.tally_id, "number": event.number})]


def add_up_and_note(event: TallyChanged) -> list[Write]:
    return [*add_up(event), Write(NOTE, {"tally_id": event.tally_id, "number": event.number})]


def a_modelling_plugin(projection: Any = add_up) -> Plugin:
    plugin = a_plugin()
    plugin.project(TallyChanged, projection, model="totals")
    return plugin


def a_fold(database: Database, bus: Connection, projection: Any = add_up) -> ModelFold:
    plugin = a_modelling_plugin(projection)
    runtime = a_runtime(plugin, database)
    return ModelFold(runtime, bus, "totals", "sample", plugin.of_kind("project"))


@asynccontextmanager
async def folding(*folds: ModelFold) -> AsyncIterator[None]:
    for fold in folds:
        await fold.start()
    try:
        yield
    finally:
        for fold in folds:
            await fold.stop()


async def publish(bus: Connection, count: int, *, keys: int = 3) -> None:
    before = await last_sequence(bus, "EVT_SAMPLE")
    for number in range(count):
        await published(bus, TallyChanged(tally_id=f"t{number % keys}", number=number))

    async def all_are_stored() -> bool:
        return await last_sequence(bus, "EVT_SAMPLE") == before + count

    await eventually(all_are_stored)


async def folded(database: Database, sequence: int) -> None:
    async def is_there() -> bool:
        return await database.fetchval(POSITION) == sequence  # type: ignore[no-any-return]  # an int

    await eventually(is_there)


async def tallies(database: Database) -> list[tuple[str, int]]:
    return [(row["tally_id"], row["total"]) for row in await database.fetch(TALLIES)]


def totals(count: int, keys: int = 3) -> list[tuple[str, int]]:
    return [(f"t{key}", sum(range(key, count, keys))) for key in range(keys)]


async def test_a_model_is_folded_from_all_facts_and_follows_new_ones(
    bus: Connection, sample_database: Database
) -> None:
    await publish(bus, 1_200)

    async with folding(a_fold(sample_database, bus)):
        await folded(sample_database, 1_200)
        before = await tallies(sample_database)
        await publish(bus, 3)
        await folded(sample_database, 1_203)

    assert before == totals(1_200)


async def test_a_replay_gives_the_very_same_model(
    bus: Connection, sample_database: Database
) -> None:
    await publish(bus, 700)
    fold = a_fold(sample_database, bus)
    async with folding(fold):
        await folded(sample_database, 700)
    first = await tallies(sample_database)
    await sample_database.execute(CLEAR)
    await sample_database.execute(FORGET_POSITION)

    async with folding(fold):
        await folded(sample_database, 700)

    assert await tallies(sample_database) == first == totals(700)


async def test_several_folders_of_one_model_fold_every_fact_once_and_in_order(
    bus: Connection, sample_database: Database
) -> None:
    folds = [a_fold(sample_database, bus, add_up_and_note) for _ in range(3)]

    async with folding(*folds):
        await asyncio.gather(*(publish_some(bus, part) for part in range(4)))
        await folded(sample_database, 400)

    rows = await sample_database.fetch(JOURNAL)
    assert [sorted(r["number"] for r in rows if r["tally_id"] == f"p{p}") for p in range(4)] == [
        list(range(100))
    ] * 4
    assert [r["number"] for r in rows if r["tally_id"] == "p0"] == list(range(100))


async def publish_some(bus: Connection, part: int) -> None:
    for number in range(100):
        await published(bus, TallyChanged(tally_id=f"p{part}", number=number))
        await asyncio.sleep(0)


async def test_facts_that_no_projection_names_are_passed_over(
    bus: Connection, sample_database: Database
) -> None:
    await published(bus, TallyClosed(tally_id="t"))

    async with folding(a_fold(sample_database, bus)):
        await folded(sample_database, 1)

    assert await tallies(sample_database) == []


async def test_a_batch_that_breaks_is_folded_wholly_or_not_at_all(
    bus: Connection, sample_database: Database
) -> None:
    await publish(bus, 10)

    def break_at_seven(event: TallyChanged) -> list[Write]:
        return [Write(ADD, {"tally_id": None if event.number == 7 else "t", "number": 1})]

    fold = a_fold(sample_database, bus, break_at_seven)
    async with folding(fold):
        with pytest.raises(Exception, match="not-null"):
            await fold.fold_batch()

    assert await sample_database.fetchval(POSITION) == 0
    assert await tallies(sample_database) == []
