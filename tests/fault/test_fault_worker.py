"""The work queue under failures: tried again, postponed, buried for people, and never lost or doubled."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from bus.connection import Connection
from bus.jetstream import BatchReader, StoredMessage
from bus.jetstream import request as jetstream_request
from bus.message import Nothing, describe
from bus.streams import apply, shared_streams, worker_consumer
from kernel.context import Context, EffectContext
from kernel.database import Database
from kernel.errors import Conflict, NothingHappened, Unavailable
from kernel.ids import new_uuid7
from kernel.jobs import ensure_schedules, job_identity, job_subject
from kernel.outbox import timer_subject
from kernel.plugin import INTERNAL, OnRepeat, Plugin
from kernel.telemetry import Telemetry
from kernel.work import Worker
from tests.sample_plugin.contract import NoteTally, SendSlip, SlipSent
from tests.sample_plugin.stage import (
    a_plugin,
    a_runtime,
    an_envelope,
    drop_streams,
    eventually,
    published,
)
from tests.sample_plugin.store import EFFECTS, JOURNAL, NOTE, OUTBOX

DLQ_ONLY = [stream for stream in shared_streams() if stream.name == "DLQ"]


class RefusedError(Conflict):
    """This will not do."""

    code = "sample.refused"


class AwayError(Unavailable):
    """It is away for now."""

    code = "sample.away"


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait tenths of seconds where production waits seconds to hours."""
    monkeypatch.setattr("kernel.work.QUICK", (0.01, 0.01))
    monkeypatch.setattr("kernel.retries.LATER", (0.1, 0.1))


class Script:
    """Plays a handler: one answer for each call, the last one for ever."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.calls: list[Any] = []

    async def note(self, command: Any, ctx: Context) -> Nothing:
        """Note the command, or fail as told."""
        self._next(command)
        async with ctx.transaction() as tx:
            await tx.execute(NOTE, tally_id=command.tally_id, number=getattr(command, "number", 0))
        return Nothing()

    async def send(self, intent: SendSlip, ctx: EffectContext) -> SlipSent | None:
        """Call the provider, or fail as told."""
        answer = self._next(ctx.idempotency_key)
        return SlipSent(tally_id=intent.tally_id, receipt=answer) if answer else None

    async def look_up(self, intent: SendSlip, ctx: EffectContext) -> SlipSent | None:
        """Look at the provider, or fail as told."""
        return await self.send(intent, ctx)

    async def job(self, ctx: Context) -> None:
        """Run a job."""
        async with ctx.transaction() as tx:
            answer = self._next("job")
            await tx.execute(NOTE, tally_id="job", number=len(self.calls))
            await asyncio.sleep(answer or 0)

    def _next(self, call: Any) -> Any:
        self.calls.append(call)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def a_noting_plugin(script: Script) -> Plugin:
    plugin = a_plugin()
    plugin.command(NoteTally, script.note, allow=INTERNAL)
    return plugin


def a_sending_plugin(
    provider: Script, *, on_repeat: Any = OnRepeat.SAME_KEY, outcome: Script | None = None
) -> Plugin:
    plugin = a_plugin()
    plugin.effect(SendSlip, provider.send, on_repeat=on_repeat)
    plugin.command(SlipSent, (outcome or Script(None)).note, allow=INTERNAL)
    return plugin


@asynccontextmanager
async def working(plugin: Plugin, database: Database, bus: Connection) -> AsyncIterator[Telemetry]:
    telemetry = Telemetry()
    worker = Worker(a_runtime(plugin, database, telemetry=telemetry), bus)
    worker.start()
    try:
        yield telemetry
    finally:
        await worker.stop()


async def left_in(bus: Connection, stream: str) -> list[StoredMessage]:
    return await BatchReader(bus, stream).read(1)


def buried(bus: Connection, count: int = 1) -> Callable[[], Any]:
    async def enough() -> bool:
        return len(await left_in(bus, "DLQ")) >= count

    return enough


def queue_is_empty(bus: Connection) -> Callable[[], Any]:
    async def empty() -> bool:
        return not await left_in(bus, "WORK_SAMPLE")

    return empty


async def test_a_command_that_fails_is_tried_again_at_once_and_then_by_a_schedule(
    bus: Connection, sample_database: Database
) -> None:
    script = Script(*[AwayError()] * 4, None)

    async with working(a_noting_plugin(script), sample_database, bus):
        await published(bus, NoteTally(tally_id="t"))
        await eventually(_journal_has(sample_database, 1))
        await eventually(queue_is_empty(bus))

    assert len(script.calls) == 5
    assert await left_in(bus, "DLQ") == []


def _journal_has(database: Database, count: int) -> Callable[[], Any]:
    async def enough() -> bool:
        return len(await database.fetch(JOURNAL)) >= count

    return enough


async def test_a_refusal_goes_to_the_dead_letters_at_once(
    bus: Connection, sample_database: Database
) -> None:
    script, identity = Script(RefusedError()), new_uuid7()

    async with working(a_noting_plugin(script), sample_database, bus):
        await published(bus, NoteTally(tally_id="t"), identity)
        await eventually(buried(bus))
        await eventually(queue_is_empty(bus))

    (letter,) = await left_in(bus, "DLQ")
    assert len(script.calls) == 1
    assert letter.subject == "dlq.sample.note_tally"
    assert letter.headers["ce-id"] == str(identity)
    assert letter.headers["realserv-reason"].startswith("sample.refused")
    assert letter.headers["realserv-origin"] == "work.sample.do.note_tally_v1"


async def test_a_command_that_fails_for_ever_goes_to_the_dead_letters_in_the_end(
    bus: Connection, sample_database: Database
) -> None:
    script = Script(ConnectionError("never"))

    async with working(a_noting_plugin(script), sample_database, bus):
        await published(bus, NoteTally(tally_id="t"))
        await eventually(buried(bus))
        await eventually(queue_is_empty(bus))

    assert len(script.calls) == 9
    (letter,) = await left_in(bus, "DLQ")
    assert letter.headers["realserv-reason"].startswith("ConnectionError at ")


async def test_F35_an_undecodable_command_is_buried_without_running_its_handler(
    bus: Connection, sample_database: Database
) -> None:
    script = Script(None)
    headers = an_envelope(NoteTally).to_headers()

    async with working(a_noting_plugin(script), sample_database, bus):
        await bus.client.publish(describe(NoteTally).work_subject, b"\x00{", headers=headers)
        await bus.client.publish(describe(NoteTally).work_subject, b"{}")
        await eventually(buried(bus, 2))

    assert script.calls == []


async def test_F11_a_message_whose_dead_letter_cannot_be_stored_stays_in_the_queue(
    bus: Connection, sample_database: Database
) -> None:
    script = Script(RefusedError())
    await drop_streams(bus, "DLQ")

    async with working(a_noting_plugin(script), sample_database, bus):
        await published(bus, NoteTally(tally_id="t"))
        await eventually(_called(script, 1))
        await bus.flush()
        await asyncio.sleep(0.1)
        kept = await left_in(bus, "WORK_SAMPLE")
    await apply(bus, DLQ_ONLY, [])

    assert len(kept) == 1


def _called(script: Script, count: int) -> Callable[[], Any]:
    async def enough() -> bool:
        return len(script.calls) >= count

    return enough


async def test_F14_a_released_message_that_fails_again_is_buried_again(
    bus: Connection, sample_database: Database
) -> None:
    script, identity = Script(RefusedError()), new_uuid7()

    async with working(a_noting_plugin(script), sample_database, bus):
        await published(bus, NoteTally(tally_id="t"), identity)
        await eventually(buried(bus))
        await jetstream_request(bus, "STREAM.PURGE.DLQ")
        await published(bus, NoteTally(tally_id="t"), identity)
        await eventually(buried(bus))

    assert len(script.calls) == 2


async def test_F13_a_message_delivered_too_often_is_buried_without_running_its_handler(
    bus: Connection, sample_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel.work.MAX_DELIVERIES", 0)
    script = Script(None)

    async with working(a_noting_plugin(script), sample_database, bus):
        await published(bus, NoteTally(tally_id="t"))
        await eventually(buried(bus))

    assert script.calls == []


async def test_F02_F04_a_cancelled_command_is_no_failure_and_goes_to_the_next_process(
    bus: Connection, sample_database: Database
) -> None:
    begun = asyncio.Event()

    async def linger(command: NoteTally, ctx: Context) -> Nothing:
        begun.set()
        await asyncio.sleep(30)
        return Nothing()

    plugin = a_plugin()
    plugin.command(NoteTally, linger, allow=INTERNAL)
    worker = Worker(a_runtime(plugin, sample_database), bus)
    worker.start()
    await published(bus, NoteTally(tally_id="t"))
    async with asyncio.timeout(5):
        await begun.wait()
    await worker._puller.stop(timeout=0.05)

    script = Script(None)
    async with working(a_noting_plugin(script), sample_database, bus):
        await eventually(_journal_has(sample_database, 1), within=5)

    assert await left_in(bus, "DLQ") == []


async def test_a_command_that_arrives_twice_is_done_once(
    bus: Connection, sample_database: Database
) -> None:
    script, identity = Script(None), new_uuid7()

    async with working(a_noting_plugin(script), sample_database, bus):
        await published(bus, NoteTally(tally_id="t"), identity)
        await published(bus, NoteTally(tally_id="t"), identity)
        await published(bus, NoteTally(tally_id="last"))
        await eventually(_journal_has(sample_database, 2))
        await eventually(queue_is_empty(bus))

    rows = await sample_database.fetch(JOURNAL)
    assert sorted(row["tally_id"] for row in rows) == ["last", "t"]


async def test_a_message_that_this_version_does_not_know_is_left_for_another(
    bus: Connection, sample_database: Database
) -> None:
    async with working(a_noting_plugin(Script(None)), sample_database, bus):
        await bus.client.publish("work.sample.do.from_the_future_v1", b"{}")
        await published(bus, NoteTally(tally_id="t"))
        await eventually(_journal_has(sample_database, 1))

    assert [m.subject for m in await left_in(bus, "WORK_SAMPLE")] == [
        "work.sample.do.from_the_future_v1"
    ]


async def test_F08_messages_that_wait_long_block_nobody(
    bus: Connection, sample_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel.retries.LATER", (60.0,))
    await apply(bus, [], [replace(worker_consumer("sample"), max_ack_pending=2)])
    script = Script(*[AwayError()] * 9, None)

    async with working(a_noting_plugin(script), sample_database, bus):
        for number in range(3):
            await published(bus, NoteTally(tally_id="bad", number=number))
        await eventually(_called(script, 9))
        await published(bus, NoteTally(tally_id="good"))
        await eventually(_journal_has(sample_database, 1))

    timers = [m.subject for m in await left_in(bus, "WORK_SAMPLE")]
    assert len(timers) == 3
    assert all(subject.startswith("work.sample.timer.retry-") for subject in timers)


async def test_F27_long_work_is_not_given_to_somebody_else_meanwhile(
    bus: Connection, sample_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.puller.ACK_WAIT", 0.6)
    await apply(bus, [], [replace(worker_consumer("sample"), ack_wait=int(0.6e9))])
    runs: list[int] = []

    async def work_long(command: NoteTally, ctx: Context) -> Nothing:
        runs.append(1)
        await asyncio.sleep(1.4)
        return Nothing()

    plugin = a_plugin()
    plugin.command(NoteTally, work_long, allow=INTERNAL)
    async with working(plugin, sample_database, bus):
        await published(bus, NoteTally(tally_id="t"))
        await eventually(queue_is_empty(bus))

    assert runs == [1]


async def intents(database: Database) -> list[tuple[str, int, int]]:
    rows = await database.fetch(EFFECTS)
    return [(row["state"], row["attempts"], row["possible_duplicates"]) for row in rows]


async def sent(bus: Connection, *identities: Any) -> None:
    for identity in identities:
        await published(bus, SendSlip(tally_id="t"), identity)
    await bus.flush()


async def test_a_done_intent_is_never_called_again_and_its_outcome_is_followed_once(
    bus: Connection, sample_database: Database
) -> None:
    provider, outcome, identity = Script("receipt"), Script(None), new_uuid7()

    async with working(a_sending_plugin(provider, outcome=outcome), sample_database, bus):
        await sent(bus, identity, identity)
        await eventually(queue_is_empty(bus))
        await sent(bus, identity)
        await eventually(queue_is_empty(bus))

    assert provider.calls == [str(identity)]
    assert outcome.calls == [SlipSent(tally_id="t", receipt="receipt")]
    assert [state for state, _, _ in await intents(sample_database)] == ["done"]


async def test_an_effect_that_failed_is_repeated_under_the_same_key(
    bus: Connection, sample_database: Database
) -> None:
    provider, identity = Script(AwayError(), "receipt"), new_uuid7()

    async with working(a_sending_plugin(provider), sample_database, bus):
        await sent(bus, identity)
        await eventually(queue_is_empty(bus))

    assert provider.calls == [str(identity)] * 2
    assert await intents(sample_database) == [("done", 2, 0)]


async def test_a_started_intent_is_asked_for_at_the_provider_and_not_called_when_it_is_found(
    bus: Connection, sample_database: Database
) -> None:
    provider, look_up, outcome = Script(AwayError()), Script("found"), Script(None)
    plugin = a_sending_plugin(provider, on_repeat=look_up.look_up, outcome=outcome)

    async with working(plugin, sample_database, bus):
        await sent(bus, new_uuid7())
        await eventually(queue_is_empty(bus))

    assert (len(provider.calls), len(look_up.calls)) == (1, 1)
    assert outcome.calls == [SlipSent(tally_id="t", receipt="found")]


async def test_a_started_intent_that_the_provider_does_not_know_is_called_again(
    bus: Connection, sample_database: Database
) -> None:
    provider, look_up = Script(AwayError(), "receipt"), Script(None)
    plugin = a_sending_plugin(provider, on_repeat=look_up.look_up)

    async with working(plugin, sample_database, bus):
        await sent(bus, new_uuid7())
        await eventually(queue_is_empty(bus))

    assert (len(provider.calls), len(look_up.calls)) == (2, 1)


async def test_a_started_intent_is_looked_up_again_when_the_look_up_reached_nobody(
    bus: Connection, sample_database: Database
) -> None:
    provider = Script(AwayError(), "a second payment")
    look_up = Script(NothingHappened(), NothingHappened(), "found")

    async with working(a_sending_plugin(provider, on_repeat=look_up.look_up), sample_database, bus):
        await sent(bus, new_uuid7())
        await eventually(queue_is_empty(bus))

    assert (len(provider.calls), len(look_up.calls)) == (1, 3)
    assert [state for state, _, _ in await intents(sample_database)] == ["done"]


async def test_an_effect_without_key_or_look_up_is_repeated_once_counted_and_then_given_to_people(
    bus: Connection, sample_database: Database
) -> None:
    provider = Script(AwayError())
    plugin = a_sending_plugin(provider, on_repeat=OnRepeat.ONCE_MORE)

    async with working(plugin, sample_database, bus) as telemetry:
        await sent(bus, new_uuid7())
        await eventually(buried(bus))

    assert len(provider.calls) == 2
    assert await intents(sample_database) == [("unknown", 3, 1)]
    assert b'possible_duplicates_total{effect="send_slip",plugin="sample"} 1.0' in (
        telemetry.exposition()
    )


async def test_an_effect_of_which_nothing_happened_may_be_called_as_often_as_it_takes(
    bus: Connection, sample_database: Database
) -> None:
    provider = Script(*[NothingHappened()] * 4, "receipt")
    plugin = a_sending_plugin(provider, on_repeat=OnRepeat.ONCE_MORE)

    async with working(plugin, sample_database, bus):
        await sent(bus, new_uuid7())
        await eventually(queue_is_empty(bus))

    assert await intents(sample_database) == [("done", 5, 0)]


async def test_a_repeat_of_which_nothing_happened_is_not_counted_as_the_one_repeat(
    bus: Connection, sample_database: Database
) -> None:
    provider = Script(AwayError(), NothingHappened(), "receipt")
    plugin = a_sending_plugin(provider, on_repeat=OnRepeat.ONCE_MORE)

    async with working(plugin, sample_database, bus):
        await sent(bus, new_uuid7())
        await eventually(queue_is_empty(bus))

    assert await intents(sample_database) == [("done", 3, 1)]


async def test_an_outcome_whose_handler_fails_is_kept_and_told_and_the_provider_is_left_alone(
    bus: Connection, sample_database: Database
) -> None:
    provider, outcome = Script("receipt"), Script(AwayError())

    async with working(a_sending_plugin(provider, outcome=outcome), sample_database, bus):
        await sent(bus, new_uuid7())
        await eventually(queue_is_empty(bus))

    (row,) = await sample_database.fetch(OUTBOX)
    assert len(provider.calls) == 1
    assert [state for state, _, _ in await intents(sample_database)] == ["done"]
    assert (row["kind"], row["subject"]) == ("tell", describe(SlipSent).work_subject)


def a_plugin_with_a_job(script: Script) -> Plugin:
    async def count(ctx: Context) -> None:
        """Count the firings."""
        await script.job(ctx)

    plugin = a_plugin()
    plugin.job("*/5 * * * *", count)
    return plugin


async def fire(bus: Connection) -> None:
    headers = an_envelope(NoteTally, job_identity("sample", "count")).to_headers()
    await bus.client.publish(job_subject("sample", "count"), b"{}", headers=headers)
    await bus.flush()


async def test_every_firing_of_a_job_runs_though_all_carry_one_identity(
    bus: Connection, sample_database: Database
) -> None:
    script = Script(None)

    async with working(a_plugin_with_a_job(script), sample_database, bus):
        for number in range(3):
            await fire(bus)
            await eventually(_journal_has(sample_database, number + 1))

    assert len(script.calls) == 3


async def test_firings_that_pile_up_behind_a_running_job_are_one(
    bus: Connection, sample_database: Database
) -> None:
    script = Script(0.5, 0)

    async with working(a_plugin_with_a_job(script), sample_database, bus):
        await fire(bus)
        await eventually(_called(script, 1))
        for _ in range(3):
            await fire(bus)
        await eventually(queue_is_empty(bus))

    assert len(script.calls) == 2


async def test_a_job_that_failed_is_tried_again(bus: Connection, sample_database: Database) -> None:
    script = Script(*[AwayError()] * 4, None)

    async with working(a_plugin_with_a_job(script), sample_database, bus):
        await fire(bus)
        await eventually(_journal_has(sample_database, 1))
        await eventually(queue_is_empty(bus))

    assert len(script.calls) == 5


async def test_schedules_are_put_once_and_again_when_they_change(bus: Connection) -> None:
    plugin = a_plugin_with_a_job(Script(None))

    first = await ensure_schedules(bus, plugin)
    second = await ensure_schedules(bus, plugin)
    plugin.handlers[0] = replace(plugin.handlers[0], schedule="0 3 * * *")
    third = await ensure_schedules(bus, plugin)

    assert (first, second, third) == (["sample.count"], [], ["sample.count"])
    (schedule,) = await left_in(bus, "WORK_SAMPLE")
    assert schedule.subject == timer_subject("sample", "job-count")
    assert schedule.headers["Nats-Schedule"] == "0 0 3 * * *"
    assert schedule.headers["Nats-Schedule-Time-Zone"] == "Asia/Kolkata"


def test_the_worker_never_sees_the_subjects_of_timers_and_has_no_limit_of_deliveries() -> None:
    config = worker_consumer("sample").config()

    assert config["filter_subjects"] == ["work.sample.do.>"]
    assert (config["max_deliver"], "backoff" in config) == (-1, False)
