"""Why: from any id to what led to it, what came of it, and what it waits for."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bus.connection import Connection
from bus.jetstream import publish
from bus.message import Nothing
from kernel.causes import Causes, Step, UnknownCauseError
from kernel.context import Context, EffectContext
from kernel.database import Database
from kernel.errors import Conflict
from kernel.ids import new_uuid7
from kernel.outbox import SCHEDULE
from kernel.plugin import INTERNAL, PUBLIC, OnRepeat, Plugin
from kernel.relay import Relay
from kernel.telemetry import Telemetry
from kernel.work import Worker
from tests.sample_plugin.contract import (
    AddToTally,
    NoteTally,
    RingBell,
    SendSlip,
    SlipSent,
    TallyChanged,
    TallyView,
)
from tests.sample_plugin.stage import (
    a_plugin,
    a_runtime,
    asked,
    eventually,
    note_change,
    opened,
    published,
    run_sql,
)
from tests.sample_plugin.store import ADD, NOTE, UNSENT

SOON = datetime.now(UTC) + timedelta(hours=3)


class RefusedError(Conflict):
    """This will not do."""

    code = "sample.refused"


async def add(command: AddToTally, ctx: Context) -> TallyView:
    """Say one thing of each kind."""
    async with ctx.transaction() as tx:
        total = await tx.fetchval(ADD, tally_id=command.tally_id, number=command.number)
        tx.emit(TallyChanged(tally_id=command.tally_id, number=command.number))
        tx.tell(NoteTally(tally_id=command.tally_id, number=command.number))
        tx.tell(SendSlip(tally_id=command.tally_id))
        tx.later(RingBell(tally_id=command.tally_id), at=SOON, id=command.tally_id)
    return TallyView(tally_id=command.tally_id, total=total)


async def note(command: Any, ctx: Context) -> Nothing:
    """Refuse negative numbers."""
    if getattr(command, "number", 0) < 0:
        raise RefusedError
    async with ctx.transaction() as tx:
        await tx.execute(NOTE, tally_id=command.tally_id, number=0)
    return Nothing()


async def send(intent: SendSlip, ctx: EffectContext) -> SlipSent:
    """Succeed."""
    return SlipSent(tally_id=intent.tally_id, receipt="r")


def a_busy_plugin() -> Plugin:
    plugin = a_plugin(emits=(TallyChanged,), tells=(NoteTally,))
    plugin.command(AddToTally, add, allow=PUBLIC)
    plugin.command(NoteTally, note, allow=INTERNAL)
    plugin.command(RingBell, note, allow=INTERNAL)
    plugin.command(SlipSent, note, allow=INTERNAL)
    plugin.effect(SendSlip, send, on_repeat=OnRepeat.SAME_KEY)
    plugin.react(TallyChanged, note_change)
    return plugin


@pytest.fixture
def causes(bus: Connection, sample_database: Database) -> Causes:
    return Causes(bus, {"sample": sample_database}, {"sample": a_busy_plugin()})


async def relayed(bus: Connection, url: str) -> None:
    """Publish the outbox once."""
    async with opened(url) as database:
        relay = Relay("sample", database, url, bus, Telemetry())
        await relay.start()

        async def all_is_sent() -> bool:
            return bool(await database.fetchval(UNSENT) == 0)

        await eventually(all_is_sent)
        await relay.stop()


def steps_in(beginnings: list[Step]) -> Iterator[Step]:
    for step in beginnings:
        yield step
        yield from steps_in(step.caused)


def of_kind(beginnings: list[Step], kind: str) -> Step:
    (found,) = [step for step in steps_in(beginnings) if step.kind == kind]
    return found


async def test_a_request_is_the_beginning_of_all_that_it_caused(
    causes: Causes, sample_database: Database
) -> None:
    identity = new_uuid7()
    await asked(
        a_runtime(a_busy_plugin(), sample_database), AddToTally(tally_id="tally_1"), identity
    )

    (request,) = await causes.chain(str(identity))

    assert (request.kind, request.type, request.is_asked_for) == (
        "request",
        "sample.add_to_tally",
        True,
    )
    assert [h.state for h in request.handled] == ["done"]
    assert sorted((step.kind, step.type) for step in request.caused) == [
        ("fact", "sample.tally_changed.v1"),
        ("intent", "sample.send_slip.v1"),
        ("tell", "sample.note_tally.v1"),
        ("timer", "sample.ring_bell.v1"),
    ]
    assert {step.is_sent for step in request.caused} == {False}


@pytest.mark.parametrize("by", ["key", "correlation", "fact"])
async def test_a_chain_is_found_by_any_id_in_it(
    causes: Causes, sample_database: Database, by: str
) -> None:
    identity = new_uuid7()
    await asked(a_runtime(a_busy_plugin(), sample_database), AddToTally(tally_id="t9"), identity)
    (request,) = await causes.chain(str(identity))
    wanted = {"key": "t9", "correlation": "test", "fact": of_kind([request], "fact").id}[by]

    (found,) = await causes.chain(wanted)

    assert found.id == str(identity)


async def test_the_chain_of_one_message_leaves_its_siblings_out(
    causes: Causes, sample_database: Database
) -> None:
    identity = new_uuid7()
    await asked(a_runtime(a_busy_plugin(), sample_database), AddToTally(tally_id="t"), identity)
    fact = of_kind(await causes.chain(str(identity)), "fact")

    found = await causes.chain(fact.id)

    assert [step.kind for step in steps_in(found)] == ["request", "fact"]


async def test_what_is_done_and_what_still_waits_is_told_apart(
    bus: Connection, causes: Causes, sample_database: Database, sample_url: str
) -> None:
    runtime = a_runtime(a_busy_plugin(), sample_database)
    identity = new_uuid7()
    await asked(runtime, AddToTally(tally_id="t"), identity)
    await relayed(bus, sample_url)
    worker = Worker(runtime, bus)
    worker.start()

    async def is_over() -> bool:
        intent = of_kind(await causes.chain(str(identity)), "intent")
        return intent.effect is not None and intent.effect.state == "done"

    await eventually(is_over)
    await worker.stop()
    found = await causes.chain(str(identity))

    timer, fact = of_kind(found, "timer"), of_kind(found, "fact")
    assert [(h.state, h.next_attempt_at) for h in timer.handled] == [("waiting", SOON)]
    assert [(h.handler, h.state) for h in fact.handled] == [("sample.tally_changed", "waiting")]
    assert (fact.stream_seq, fact.is_sent) == (1, True)
    assert [h.state for h in of_kind(found, "tell").handled] == ["done"]


async def test_a_reaction_that_has_passed_the_fact_is_done(
    bus: Connection, causes: Causes, sample_database: Database, sample_url: str
) -> None:
    identity = new_uuid7()
    await asked(a_runtime(a_busy_plugin(), sample_database), AddToTally(tally_id="t"), identity)
    await relayed(bus, sample_url)
    await run_sql(
        sample_url,
        "INSERT INTO kernel.positions SELECT 'sample.sample', part, 1 FROM generate_series(0, 3) part",
    )

    fact = of_kind(await causes.chain(str(identity)), "fact")

    assert [(h.handler, h.state) for h in fact.handled] == [("sample.tally_changed", "done")]


async def test_a_dead_letter_and_its_reason_stand_at_its_message(
    bus: Connection, causes: Causes, sample_database: Database, sample_url: str
) -> None:
    runtime = a_runtime(a_busy_plugin(), sample_database)
    identity = new_uuid7()
    await asked(runtime, AddToTally(tally_id="t", number=-1), identity)
    await relayed(bus, sample_url)
    worker = Worker(runtime, bus)
    worker.start()

    async def is_dead() -> bool:
        told = of_kind(await causes.chain(str(identity)), "tell")
        return [h.state for h in told.handled] == ["dead"]

    await eventually(is_dead)
    await worker.stop()

    (handled,) = of_kind(await causes.chain(str(identity)), "tell").handled
    assert (handled.handler, handled.reason.partition(":")[0]) == (
        "sample.note_tally",
        "sample.refused",
    )


async def test_a_message_that_waits_for_a_later_try_says_when_and_after_how_many(
    bus: Connection, causes: Causes, sample_database: Database, sample_url: str
) -> None:
    identity = new_uuid7()
    await asked(a_runtime(a_busy_plugin(), sample_database), AddToTally(tally_id="t"), identity)
    told = of_kind(await causes.chain(str(identity)), "tell")
    headers = {
        "ce-id": told.id,
        "realserv-failures": "3",
        SCHEDULE: f"@at {SOON.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}",
        "Nats-Schedule-Target": "work.sample.do.note_tally_v1",
    }
    await publish(bus, f"work.sample.timer.retry-{told.id}", b"{}", headers)

    (handled,) = of_kind(await causes.chain(str(identity)), "tell").handled

    assert (handled.state, handled.failures, handled.next_attempt_at) == ("retrying", 3, SOON)


async def test_an_intent_shows_how_far_its_effect_has_come(
    causes: Causes, sample_database: Database
) -> None:
    identity = new_uuid7()
    await asked(a_runtime(a_busy_plugin(), sample_database), AddToTally(tally_id="t"), identity)

    effect = of_kind(await causes.chain(str(identity)), "intent").effect

    assert effect is not None
    assert (effect.effect, effect.state, effect.attempts) == ("send_slip", "intended", 0)


async def test_an_event_that_nobody_said_is_unknown(bus: Connection, causes: Causes) -> None:
    await published(bus, TallyChanged(tally_id="t", number=1))

    with pytest.raises(UnknownCauseError):
        await causes.chain(str(new_uuid7()))
    with pytest.raises(UnknownCauseError):
        await causes.chain("order_01k9z7x3c8e4m9r2t5v6w7y8z0")
