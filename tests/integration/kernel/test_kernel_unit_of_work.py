"""One message, one transaction: applied once, answered alike, and all or nothing wherever it breaks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from bus.errors import InternalError, ServiceError
from bus.message import Nothing
from kernel.context import Context
from kernel.database import Database, PoolSettings, open_database
from kernel.errors import Conflict
from kernel.ids import new_uuid7
from kernel.plugin import PUBLIC, Plugin
from kernel.testing import FakeNeighbours
from kernel.testing.breaking import BREAKS, BreakingDatabase
from kernel.unit_of_work import IdentityMismatchError
from tests.sample_plugin.contract import (
    AddToTally,
    ForeignCommand,
    GetTally,
    NoteTally,
    TallyClosed,
    TallyView,
)
from tests.sample_plugin.stage import (
    a_plugin,
    a_runtime,
    a_spec,
    a_tallying_plugin,
    add_to_tally,
    an_envelope,
    asked,
)
from tests.sample_plugin.store import ADD, INBOX, OUTBOX, TOTAL

MARKS_OF = """
    SELECT (SELECT coalesce(max(total), 0) FROM tallies WHERE tally_id = $1),
           (SELECT count(*) FROM kernel.outbox WHERE payload LIKE '%' || $1 || '%'),
           (SELECT count(*) FROM kernel.inbox WHERE message_id = $2)
"""


class TooSmallError(Conflict):
    """The number is too small."""

    code = "sample.too_small"


def a_plugin_with(handler: Any) -> Plugin:
    plugin = a_plugin()
    plugin.command(AddToTally, handler, allow=PUBLIC)
    return plugin


async def test_a_command_is_applied_once_per_identity(sample_database: Database) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    command, identity = AddToTally(tally_id="t", number=5), new_uuid7()

    first = await asked(runtime, command, identity)
    second = await asked(runtime, command, identity)

    assert first == second == TallyView(tally_id="t", total=5, version=5)
    assert await sample_database.fetchval(TOTAL, tally_id="t") == 5
    assert len(await sample_database.fetch(OUTBOX)) == 2


async def test_two_identities_are_two_commands(sample_database: Database) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)

    await asked(runtime, AddToTally(tally_id="t"), new_uuid7())
    await asked(runtime, AddToTally(tally_id="t"), new_uuid7())

    assert await sample_database.fetchval(TOTAL, tally_id="t") == 2


async def test_sixteen_equal_commands_at_once_have_one_effect_and_one_reply(
    sample_database: Database,
) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    command, identity = AddToTally(tally_id="t", number=3), new_uuid7()

    replies = await asyncio.gather(*(asked(runtime, command, identity) for _ in range(16)))

    assert replies == [TallyView(tally_id="t", total=3, version=3)] * 16
    assert await sample_database.fetchval(TOTAL, tally_id="t") == 3
    assert len(await sample_database.fetch(OUTBOX)) == 2


async def test_the_same_identity_with_another_body_is_refused(sample_database: Database) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)
    identity = new_uuid7()
    await asked(runtime, AddToTally(tally_id="t", number=5), identity)

    with pytest.raises(IdentityMismatchError) as refused:
        await asked(runtime, AddToTally(tally_id="t", number=6), identity)

    assert (refused.value.code, refused.value.status) == ("kernel.identity_reused", 422)


async def test_a_refusal_stores_nothing_and_is_decided_anew(sample_database: Database) -> None:
    decided: list[int] = []

    async def refuse_at_first(command: AddToTally, ctx: Context) -> TallyView:
        decided.append(1)
        if len(decided) == 1:
            async with ctx.transaction() as tx:
                await tx.fetchval(ADD, tally_id=command.tally_id, number=100)
                raise TooSmallError
        return await add_to_tally(command, ctx)

    runtime = a_runtime(a_plugin_with(refuse_at_first), sample_database)
    identity = new_uuid7()

    with pytest.raises(TooSmallError):
        await asked(runtime, AddToTally(tally_id="t"), identity)
    assert await sample_database.fetchval(INBOX) == 0
    reply = await asked(runtime, AddToTally(tally_id="t"), identity)

    assert reply.total == 1
    assert len(decided) == 2


async def test_a_refusal_whose_twin_succeeded_answers_the_twins_reply(
    sample_database: Database,
) -> None:
    both_are_in = asyncio.Barrier(2)
    refuses = iter((False, True))
    twin_is_done = asyncio.Event()

    async def one_succeeds(command: AddToTally, ctx: Context) -> TallyView:
        is_refused = next(refuses)
        await both_are_in.wait()
        if is_refused:
            await twin_is_done.wait()
            raise TooSmallError
        return await add_to_tally(command, ctx)

    runtime = a_runtime(a_plugin_with(one_succeeds), sample_database)
    command, identity = AddToTally(tally_id="t", number=7), new_uuid7()
    twins = [asyncio.create_task(asked(runtime, command, identity)) for _ in range(2)]
    twins[0].add_done_callback(lambda _: twin_is_done.set())
    twins[1].add_done_callback(lambda _: twin_is_done.set())

    first, second = await asyncio.gather(*twins)

    assert first == second
    assert await sample_database.fetchval(TOTAL, tally_id="t") == 7


async def test_a_refusal_given_to_the_transaction_commits_and_is_decided_anew(
    sample_database: Database,
) -> None:
    async def count_and_refuse(command: AddToTally, ctx: Context) -> TallyView:
        async with ctx.transaction() as tx:
            await tx.fetchval(ADD, tally_id=command.tally_id, number=1)
            tx.refuse(TooSmallError())
        return TallyView(tally_id=command.tally_id, total=0)

    runtime = a_runtime(a_plugin_with(count_and_refuse), sample_database)
    identity = new_uuid7()

    with pytest.raises(TooSmallError):
        await asked(runtime, AddToTally(tally_id="t"), identity)
    with pytest.raises(TooSmallError):
        await asked(runtime, AddToTally(tally_id="t"), identity)

    assert await sample_database.fetchval(TOTAL, tally_id="t") == 2
    assert await sample_database.fetchval(INBOX) == 0


async def test_an_error_that_the_handler_catches_further_out_still_rolls_back(
    sample_database: Database,
) -> None:
    async def swallow(command: AddToTally, ctx: Context) -> TallyView:
        try:
            async with ctx.transaction() as tx:
                await tx.fetchval(ADD, tally_id=command.tally_id, number=1)
                raise ValueError("half done")  # noqa: TRY301  the block is what is tested
        except ValueError:
            return TallyView(tally_id=command.tally_id, total=0)

    runtime = a_runtime(a_plugin_with(swallow), sample_database)

    with pytest.raises(InternalError):
        await asked(runtime, AddToTally(tally_id="t"), new_uuid7())

    assert await sample_database.fetchval(TOTAL, tally_id="t") is None


@pytest.mark.parametrize("identity", [None, new_uuid7()], ids=["unkeyed", "keyed"])
async def test_a_swallowed_database_error_is_never_answered_as_success(
    sample_database: Database, identity: Any
) -> None:
    async def swallow(command: AddToTally, ctx: Context) -> TallyView:
        async with ctx.transaction() as tx:
            await tx.fetchval(ADD, tally_id=command.tally_id, number=1)
            with suppress(asyncpg.NotNullViolationError):
                await tx.fetchval(ADD, tally_id=None, number=1)
        return TallyView(tally_id=command.tally_id, total=1)

    runtime = a_runtime(a_plugin_with(swallow), sample_database)

    with pytest.raises(InternalError):
        await asked(runtime, AddToTally(tally_id="t"), identity)

    assert await sample_database.fetchval(TOTAL, tally_id="t") is None


@pytest.mark.parametrize(
    "misuse",
    [
        pytest.param(lambda ctx, tx: ctx.ask(GetTally(tally_id="t")), id="asks"),
        pytest.param(lambda ctx, tx: ctx.transaction().__aenter__(), id="opens another"),
    ],
)
async def test_what_is_forbidden_while_the_transaction_is_open_raises_and_changes_nothing(
    sample_database: Database, misuse: Callable[[Any, Any], Any]
) -> None:
    async def misused(command: AddToTally, ctx: Context) -> TallyView:
        async with ctx.transaction() as tx:
            await tx.fetchval(ADD, tally_id=command.tally_id, number=1)
            await misuse(ctx, tx)
        return TallyView(tally_id=command.tally_id, total=0)

    plugin = a_plugin(asks=(GetTally,))
    plugin.command(AddToTally, misused, allow=PUBLIC)
    neighbours = FakeNeighbours({GetTally: lambda query: TallyView(tally_id="t", total=0)})
    runtime = a_runtime(plugin, sample_database, caller=neighbours)

    with pytest.raises(InternalError):
        await asked(runtime, AddToTally(tally_id="t"), new_uuid7())

    assert neighbours.asked == []
    assert await sample_database.fetchval(TOTAL, tally_id="t") is None


async def test_asking_after_the_block_but_before_the_commit_raises(
    sample_database: Database,
) -> None:
    async def ask_late(command: AddToTally, ctx: Context) -> TallyView:
        async with ctx.transaction() as tx:
            await tx.fetchval(ADD, tally_id=command.tally_id, number=1)
        return await ctx.ask(GetTally(tally_id="t"))

    plugin = a_plugin(asks=(GetTally,))
    plugin.command(AddToTally, ask_late, allow=PUBLIC)
    runtime = a_runtime(plugin, sample_database)

    with pytest.raises(InternalError):
        await asked(runtime, AddToTally(tally_id="t"), new_uuid7())

    assert await sample_database.fetchval(TOTAL, tally_id="t") is None


@pytest.mark.parametrize(
    "speak",
    [
        pytest.param(lambda tx: tx.emit(TallyClosed(tally_id="t")), id="emit"),
        pytest.param(lambda tx: tx.emit(NoteTally(tally_id="t")), id="emit a command"),
        pytest.param(lambda tx: tx.tell(_foreign()), id="tell"),
        pytest.param(lambda tx: tx.later(_foreign(), at=None, id="x"), id="later"),
    ],
)
async def test_saying_what_is_not_declared_raises_and_changes_nothing(
    sample_database: Database, speak: Callable[[Any], None]
) -> None:
    async def undeclared(command: AddToTally, ctx: Context) -> TallyView:
        async with ctx.transaction() as tx:
            await tx.fetchval(ADD, tally_id=command.tally_id, number=1)
            speak(tx)
        return TallyView(tally_id=command.tally_id, total=0)

    plugin = a_plugin(emits=())
    plugin.command(AddToTally, undeclared, allow=PUBLIC)
    runtime = a_runtime(plugin, sample_database)

    with pytest.raises(InternalError):
        await asked(runtime, AddToTally(tally_id="t"), new_uuid7())

    assert await sample_database.fetchval(TOTAL, tally_id="t") is None


def _foreign() -> Any:
    from plugins.catalog.contract import ReleaseStock

    return ReleaseStock.__new__(ReleaseStock)


async def test_asking_what_is_not_declared_raises(sample_database: Database) -> None:
    async def undeclared(command: AddToTally, ctx: Context) -> Nothing:
        return await ctx.ask(ForeignCommand(tally_id="t"))

    runtime = a_runtime(a_plugin_with(undeclared), sample_database)

    with pytest.raises(InternalError):
        await asked(runtime, AddToTally(tally_id="t"))


async def test_a_repeated_handler_repeats_its_asks_under_the_same_identity(
    sample_database: Database,
) -> None:
    async def ask_and_fail(command: AddToTally, ctx: Context) -> TallyView:
        await ctx.ask(NoteTally(tally_id="a"))
        await ctx.ask(NoteTally(tally_id="b"))
        raise TooSmallError

    plugin = a_plugin(asks=(NoteTally,))
    plugin.command(AddToTally, ask_and_fail, allow=PUBLIC)
    neighbours = FakeNeighbours({NoteTally: lambda _: Nothing()})
    runtime = a_runtime(plugin, sample_database, caller=neighbours)
    identity = new_uuid7()

    with pytest.raises(TooSmallError):
        await asked(runtime, AddToTally(tally_id="t"), identity)
    with pytest.raises(TooSmallError):
        await asked(runtime, AddToTally(tally_id="t"), identity)

    assert neighbours.asked == [NoteTally(tally_id="a"), NoteTally(tally_id="b")]


async def test_every_id_of_a_repeated_run_is_the_same(sample_database: Database) -> None:
    made: list[list[str]] = []

    async def make_ids(command: AddToTally, ctx: Context) -> TallyView:
        made.append([ctx.new_id("order"), ctx.new_id("order"), str(ctx.new_uuid())])
        raise TooSmallError

    runtime = a_runtime(a_plugin_with(make_ids), sample_database)
    identity = new_uuid7()

    with pytest.raises(TooSmallError):
        await asked(runtime, AddToTally(tally_id="t"), identity)
    with pytest.raises(TooSmallError):
        await asked(runtime, AddToTally(tally_id="t"), identity)

    assert made[0] == made[1]
    assert len(set(made[0])) == 3


async def test_a_request_under_a_random_uuid_of_another_version_can_make_ids(
    sample_database: Database,
) -> None:
    runtime = a_runtime(a_tallying_plugin(), sample_database)

    replies = [await asked(runtime, AddToTally(tally_id="t"), uuid4()) for _ in range(40)]

    assert replies[-1].total == 40


async def test_a_told_command_is_done_once_however_often_it_arrives(
    sample_database: Database,
) -> None:
    plugin = a_tallying_plugin()
    runtime = a_runtime(plugin, sample_database)
    spec, envelope = a_spec(plugin, AddToTally), an_envelope(AddToTally)
    payload = b'{"tally_id": "t", "number": 4}'

    await runtime.do(spec, payload, envelope)
    await runtime.do(spec, payload, envelope)

    assert await sample_database.fetchval(TOTAL, tally_id="t") == 4


async def test_a_handler_that_overruns_its_deadline_changes_nothing(
    sample_database: Database,
) -> None:
    async def linger(command: AddToTally, ctx: Context) -> TallyView:
        async with ctx.transaction() as tx:
            await tx.fetchval(ADD, tally_id=command.tally_id, number=1)
            await asyncio.sleep(30)
        return TallyView(tally_id=command.tally_id, total=1)

    plugin = a_plugin_with(linger)
    runtime = a_runtime(plugin, sample_database)
    envelope = an_envelope(AddToTally, timeout_ms=100)

    with pytest.raises(ServiceError) as late:
        await runtime.answer(a_spec(plugin, AddToTally), b'{"tally_id": "t"}', envelope)

    assert late.value.code == "bus.deadline_exceeded"
    assert await sample_database.fetchval(TOTAL, tally_id="t") is None
    assert sample_database.pool.get_idle_size() == sample_database.pool.get_size()


NOTHING, ALL = (0, 0, 0), (1, 2, 1)


@pytest.fixture(scope="module")
async def shared_pool(stack: Any, template: str) -> AsyncIterator[Database]:
    """One database for the many places where a handling may break."""
    await stack.create_database("sample_breaks")
    from kernel.migrator import STORE, migrate, plugin_migrations

    url = stack.postgres_url("sample_breaks")
    await migrate(url, STORE, plugin_migrations("sample", "tests.sample_plugin"))
    database = await open_database(url, PoolSettings(min_size=1, max_size=3))
    yield database
    await database.close()
    await stack.drop_database("sample_breaks")


@pytest.mark.parametrize("way", BREAKS)
@pytest.mark.parametrize("place", range(1, 9))
async def test_a_handling_that_breaks_at_any_statement_leaves_all_or_nothing(
    shared_pool: Database, way: str, place: int
) -> None:
    breaking = BreakingDatabase(shared_pool, place, BREAKS[way])
    plugin = a_tallying_plugin()
    command, identity = AddToTally(tally_id=uuid4().hex), new_uuid7()

    broken = asyncio.create_task(asked(a_runtime(plugin, breaking), command, identity))
    await asyncio.wait([broken])
    left = tuple(await _marks(shared_pool, command, identity))
    reply = await asked(a_runtime(plugin, shared_pool), command, identity)

    assert broken.cancelled() or broken.exception() or left == ALL
    assert left in (NOTHING, ALL)
    assert reply == TallyView(tally_id=command.tally_id, total=1, version=1)
    assert tuple(await _marks(shared_pool, command, identity)) == ALL
    assert shared_pool.pool.get_idle_size() == shared_pool.pool.get_size()


async def _marks(database: Database, command: AddToTally, identity: Any) -> Any:
    async with database.connection() as connection:
        return await connection.fetchrow(MARKS_OF, command.tally_id, identity)
