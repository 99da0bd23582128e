"""Dead letters are redriven in order and once, or discarded for a reason; every act is written down."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import pytest

from bus.connection import Connection
from bus.jetstream import BatchReader, StoredMessage, publish
from bus.message import Nothing
from kernel.context import Context
from kernel.database import Database
from kernel.dead_letter_office import (
    FIRST_DIED,
    Act,
    Choice,
    DeadLetterOffice,
    UnknownLetterError,
)
from kernel.dead_letters import store_dead_letter
from kernel.errors import Conflict
from kernel.ids import new_uuid7
from kernel.plugin import INTERNAL, Plugin
from kernel.reactions import ParkedSweeper, Subscription
from kernel.work import Worker
from tests.sample_plugin.contract import NoteTally, TallyChanged
from tests.sample_plugin.stage import (
    a_plugin,
    a_runtime,
    an_envelope,
    eventually,
    note_change,
    published,
)
from tests.sample_plugin.store import JOURNAL, NOTE

NOTED = "work.sample.do.note_tally_v1"
EVERYTHING = Choice()
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class BrokenError(Conflict):
    """Not yet mended."""

    code = "sample.broken"


class Bench:
    """A plugin that fails until it is mended, and the office for its dead letters."""

    def __init__(self, bus: Connection, database: Database) -> None:
        self.bus = bus
        self.database = database
        self.is_mended = False
        self.buried = 0
        self.noted: list[tuple[str, str]] = []
        self.plugin = self._declare()
        self.office = DeadLetterOffice(
            bus, {"sample": database}, {"sample": self.plugin}, self.note
        )

    def _declare(self) -> Plugin:
        plugin = a_plugin()
        plugin.command(NoteTally, self.note_tally, allow=INTERNAL)
        plugin.react(TallyChanged, self.react)
        return plugin

    async def note(self, act: str, thing: str) -> None:
        self.noted.append((act, thing))

    async def note_tally(self, command: NoteTally, ctx: Context) -> Nothing:
        if not self.is_mended:
            raise BrokenError
        async with ctx.transaction() as tx:
            await tx.execute(NOTE, tally_id=command.tally_id, number=command.number)
        return Nothing()

    async def react(self, event: TallyChanged, ctx: Context) -> None:
        if not self.is_mended:
            raise BrokenError
        await note_change(event, ctx)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        worker = Worker(a_runtime(self.plugin, self.database), self.bus)
        worker.start()
        try:
            yield
        finally:
            await worker.stop()

    @asynccontextmanager
    async def reacting(self) -> AsyncIterator[None]:
        runtime = a_runtime(self.plugin, self.database)
        subscription = Subscription(runtime, self.bus, "sample", self.plugin.of_kind("react"))
        sweeper = ParkedSweeper(runtime, [subscription])
        await subscription.start()
        sweeper.start()
        try:
            yield
        finally:
            await asyncio.gather(sweeper.stop(), subscription.stop())

    async def until_dead(self, count: int, choice: Choice = EVERYTHING) -> None:
        async def enough() -> bool:
            return len(await self.office.letters(choice)) == count

        await eventually(enough, what=f"{count} dead letters")

    async def until_noted(self, count: int) -> list[tuple[str, int]]:
        async def enough() -> bool:
            return len(await self.database.fetch(JOURNAL)) == count

        await eventually(enough, what=f"{count} notes")
        return [(row["tally_id"], row["number"]) for row in await self.database.fetch(JOURNAL)]

    async def redriven(self, choice: Choice = EVERYTHING, **options: Any) -> list[Act]:
        return [act async for act in self.office.redrive(choice, **{"rate": 1000.0, **options})]

    async def discarded(self, choice: Choice = EVERYTHING, **options: Any) -> list[Act]:
        told = {"rate": 1000.0, "reason": "settled by hand", **options}
        return [act async for act in self.office.discard(choice, **told)]

    async def bury(
        self, number: int = 1, identity: UUID | None = None, headers: Mapping[str, str] = NO_HEADERS
    ) -> UUID:
        """Store a dead letter of the work queue; returns its ce-id."""
        identity = identity or new_uuid7()
        self.buried += 1
        envelope = an_envelope(NoteTally, identity).to_headers() | dict(headers)
        payload = b'{"tally_id": "t", "number": %d}' % number
        await store_dead_letter(
            self.bus,
            "dlq.sample.note_tally",
            payload,
            envelope,
            origin=NOTED,
            reason="sample.broken: Not yet mended.",
            sequence=self.buried,
        )
        return identity


@pytest.fixture
def bench(bus: Connection, sample_database: Database) -> Bench:
    return Bench(bus, sample_database)


def results(acts: list[Act]) -> list[str]:
    return [act.result for act in acts]


async def in_work_queue(bus: Connection) -> list[StoredMessage]:
    return await BatchReader(bus, "WORK_SAMPLE").read(1)


async def test_F14_a_redriven_message_has_a_new_message_id_and_its_old_identity(
    bench: Bench,
) -> None:
    identity = new_uuid7()
    await published(
        bench.bus, NoteTally(tally_id="t", number=7), identity, **{"Nats-Msg-Id": str(identity)}
    )
    async with bench.working():
        await bench.until_dead(1)
        bench.is_mended = True

        acts = await bench.redriven()
        journal = await bench.until_noted(1)

    assert (results(acts), journal) == (["sent"], [("t", 7)])
    assert acts[0].letter.message_id == str(identity)
    assert await bench.office.letters(EVERYTHING) == []


async def test_F14_a_redrive_that_the_server_drops_as_a_repeat_is_no_success(bench: Bench) -> None:
    identity = await bench.bury()
    (letter,) = await bench.office.letters(EVERYTHING)
    repeat = {"Nats-Msg-Id": f"redrive-{identity}-{letter.sequence}"}
    await publish(bench.bus, NOTED, b"{}", an_envelope(NoteTally).to_headers() | repeat)

    acts = await bench.redriven()

    assert (results(acts), acts[0].is_refused) == (["duplicate"], True)
    assert len(await bench.office.letters(EVERYTHING)) == 1
    assert [act for act, _ in bench.noted] == ["dlq redrive", "dlq redrive: duplicate"]


async def test_a_redriven_message_begins_with_all_its_tries_and_without_its_cause(
    bench: Bench,
) -> None:
    identity = await bench.bury(headers={"realserv-failures": "10"})

    await bench.redriven()
    (message,) = await in_work_queue(bench.bus)

    ours = {name for name in message.headers if name.startswith("realserv-")}
    assert ours == {"realserv-correlation-id", "realserv-keyed", FIRST_DIED}
    assert (message.subject, message.headers["ce-id"]) == (NOTED, str(identity))


async def test_a_message_redriven_twice_is_done_once(bench: Bench) -> None:
    bench.is_mended = True
    identity = await bench.bury()
    await bench.redriven()
    async with bench.working():
        await bench.until_noted(1)
        await bench.bury(identity=identity)
        again = await bench.redriven()
        await bench.bury(2)
        await bench.redriven()
        journal = await bench.until_noted(2)

    assert results(again) == ["sent"]
    assert journal == [("t", 1), ("t", 2)]


@pytest.mark.parametrize(("days", "expected"), [(29, "sent"), (31, "too old")])
async def test_a_letter_that_first_died_over_thirty_days_ago_is_refused(
    bench: Bench, days: int, expected: str
) -> None:
    died_at = datetime.now(UTC) - timedelta(days=days)
    await bench.bury(headers={FIRST_DIED: died_at.isoformat()})

    acts = await bench.redriven()

    assert results(acts) == [expected]


async def test_a_parked_event_that_is_over_thirty_days_old_is_refused(
    bench: Bench, sample_url: str
) -> None:
    await published(bench.bus, TallyChanged(tally_id="t", number=0))
    async with bench.reacting():
        await bench.until_dead(1)
    later = DeadLetterOffice(
        bench.bus,
        {"sample": bench.database},
        {"sample": bench.plugin},
        bench.note,
        now=lambda: datetime.now(UTC) + timedelta(days=31),
    )

    acts = [act async for act in later.redrive(EVERYTHING, rate=1000)]

    assert (results(acts), bench.noted) == (["too old"], [])


async def test_parked_events_are_redriven_in_order_for_each_key(bench: Bench) -> None:
    for number in range(3):
        for key in ("a", "b"):
            await published(bench.bus, TallyChanged(tally_id=key, number=number))
    async with bench.reacting():
        await bench.until_dead(6)
        bench.is_mended = True

        acts = await bench.redriven(Choice(key="a"))
        journal = await bench.until_noted(3)
        left = await bench.office.letters(Choice(key="b"))

    assert results(acts) == ["due", "follows", "follows"]
    assert journal == [("a", 0), ("a", 1), ("a", 2)]
    assert [letter.state for letter in left] == ["given up", "behind", "behind"]


async def test_redriving_an_event_behind_another_begins_with_that_one(bench: Bench) -> None:
    identity = new_uuid7()
    await published(bench.bus, TallyChanged(tally_id="t", number=0))
    await published(bench.bus, TallyChanged(tally_id="t", number=1), identity)
    async with bench.reacting():
        await bench.until_dead(2)
        bench.is_mended = True

        acts = await bench.redriven(Choice(identities=(str(identity),)))
        journal = await bench.until_noted(2)

    assert (results(acts), journal) == (["follows"], [("t", 0), ("t", 1)])


async def test_a_discarded_event_lets_the_next_of_its_key_go_on(bench: Bench) -> None:
    identity = new_uuid7()
    await published(bench.bus, TallyChanged(tally_id="t", number=0), identity)
    await published(bench.bus, TallyChanged(tally_id="t", number=1))
    async with bench.reacting():
        await bench.until_dead(2)
        bench.is_mended = True

        acts = await bench.discarded(Choice(identities=(str(identity),)))
        journal = await bench.until_noted(1)

    assert (results(acts), journal) == (["discarded"], [("t", 1)])
    assert bench.noted == [
        (
            "dlq discard: settled by hand",
            f"sample.tally_changed sample.tally_changed.v1 {identity}",
        )
    ]


async def test_a_discarded_message_of_a_work_queue_is_gone(bench: Bench) -> None:
    await bench.bury()

    acts = await bench.discarded()
    again = await bench.discarded()

    assert (results(acts), again) == (["discarded"], [])
    assert await in_work_queue(bench.bus) == []


async def test_a_letter_that_somebody_else_took_meanwhile_is_told_as_gone(bench: Bench) -> None:
    await bench.bury()
    (letter,) = await bench.office.letters(EVERYTHING)
    await bench.redriven()

    assert await bench.office._discard(letter) == "gone"
    assert await bench.office._redrive(letter, is_dry_run=False) == "gone"


async def test_a_dry_run_changes_nothing_and_writes_nothing_down(bench: Bench) -> None:
    await bench.bury()
    await published(bench.bus, TallyChanged(tally_id="t", number=0))
    async with bench.reacting():
        await bench.until_dead(2)
        before = await bench.office.letters(EVERYTHING)

        redriven = await bench.redriven(is_dry_run=True)
        discarded = await bench.discarded(is_dry_run=True)

        assert await bench.office.letters(EVERYTHING) == before
    assert (results(redriven), results(discarded)) == (["sent", "due"], ["discarded"] * 2)
    assert bench.noted == []


async def test_letters_are_redriven_no_faster_than_the_rate(bench: Bench) -> None:
    for number in range(5):
        await bench.bury(number)
    loop = asyncio.get_running_loop()
    began = loop.time()

    await bench.redriven(rate=20.0)

    assert 0.2 <= loop.time() - began < 5


@pytest.mark.parametrize(
    ("choice", "count"),
    [
        (Choice(plugin="sample"), 2),
        (Choice(plugin="other"), 0),
        (Choice(handler="note_tally"), 1),
        (Choice(cause="BROKEN"), 2),
        (Choice(cause="away"), 0),
        (Choice(key="t"), 1),
        (Choice(since=datetime(2020, 1, 1, tzinfo=UTC)), 2),
        (Choice(until=datetime(2020, 1, 1, tzinfo=UTC)), 0),
    ],
    ids=repr,
)
async def test_letters_are_chosen_by_plugin_handler_key_cause_and_time(
    bench: Bench, choice: Choice, count: int
) -> None:
    await bench.bury()
    await published(bench.bus, TallyChanged(tally_id="t", number=0))
    async with bench.reacting():
        await bench.until_dead(2)

    assert len(await bench.office.letters(choice)) == count


async def test_the_copy_of_an_event_that_was_handled_since_is_settled(bench: Bench) -> None:
    event = an_envelope(TallyChanged).to_headers()
    await store_dead_letter(
        bench.bus,
        "dlq.sample.tally_changed",
        b"{}",
        event,
        origin="evt.sample.tally_changed.v1.3.t",
        reason="sample.broken",
        sequence=1,
    )

    (letter,) = await bench.office.letters(EVERYTHING)
    acts = await bench.redriven()

    assert (letter.state, letter.key, results(acts)) == ("settled", "t", ["settled"])


async def test_the_content_of_a_letter_is_shown_and_that_is_written_down(bench: Bench) -> None:
    identity = await bench.bury(5)

    (content,) = await bench.office.contents(str(identity))
    with pytest.raises(UnknownLetterError):
        await bench.office.contents(str(new_uuid7()))

    assert content.payload == '{"tally_id": "t", "number": 5}'
    assert content.headers["realserv-origin"] == NOTED
    assert bench.noted == [("dlq show", str(identity))]


async def test_the_content_of_a_parked_event_comes_from_the_table(bench: Bench) -> None:
    identity = new_uuid7()
    await published(bench.bus, TallyChanged(tally_id="t", number=4), identity)
    async with bench.reacting():
        await bench.until_dead(1)

    (content,) = await bench.office.contents(str(identity))

    assert content.payload == '{"tally_id":"t","number":4}'
    assert (content.letter.subscription, content.letter.state) == ("sample.sample", "given up")
