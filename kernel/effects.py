"""Effects: one row per intent, so that one intent has one effect at its provider.

intended -> started -> done(outcome). A started intent without outcome is asked for at the provider,
repeated under the same key, or repeated once and counted as a possible duplicate.
"""

from typing import Any
from uuid import UUID

import asyncpg
import structlog

from bus.actor import parse_actor
from bus.codec import decoder, encode
from bus.envelope import Envelope
from bus.errors import ServiceError, UndecodableError
from bus.message import Command, describe
from kernel.context import EffectContext
from kernel.errors import NothingHappened
from kernel.outbox import INSERT_ROWS, Cause, OutboxWriter, insert_arguments
from kernel.plugin import HandlerSpec, OnRepeat
from kernel.runtime import PluginRuntime, within
from kernel.sql import statement
from kernel.unit_of_work import AlreadyDone, Answer, TransactionMisuseError

log = structlog.get_logger("kernel.effects")

START = statement(
    """
    INSERT INTO kernel.effects AS e (intent_id, effect, state, attempts, started_at)
    VALUES (:intent_id, :effect, 'started', 1, now())
    ON CONFLICT (intent_id) DO UPDATE
    SET state = CASE WHEN e.state = 'done' THEN 'done' ELSE 'started' END,
        attempts = e.attempts + 1, started_at = now()
    RETURNING old.state AS state, old.possible_duplicates AS repeats
    """
)
BACK_TO_INTENDED = statement(
    "UPDATE kernel.effects SET state = 'intended' WHERE intent_id = :intent_id AND state = 'started'"
)
UNCOUNT_REPEAT = statement(
    """
    UPDATE kernel.effects SET possible_duplicates = possible_duplicates - 1
    WHERE intent_id = :intent_id
    """
)
COUNT_REPEAT = statement(
    """
    UPDATE kernel.effects SET possible_duplicates = possible_duplicates + 1
    WHERE intent_id = :intent_id
    """
)
GIVE_UP = statement(
    "UPDATE kernel.effects SET state = 'unknown' WHERE intent_id = :intent_id AND state = 'started'"
)
FINISH = statement(
    """
    UPDATE kernel.effects SET state = 'done', outcome = :outcome, done_at = now()
    WHERE intent_id = :intent_id AND state <> 'done'
    """
)


class OutcomeUnknownError(ServiceError):
    """The call was made twice and neither time is it known what came of it; people must look."""

    code = "kernel.effect_outcome_unknown"
    title = "It is not known whether the provider did it"


class EffectRunner:
    """Runs the effects of one plugin."""

    def __init__(self, runtime: PluginRuntime) -> None:
        self._runtime = runtime

    async def run(self, spec: HandlerSpec, payload: bytes, envelope: Envelope) -> None:
        """Bring one intent to its outcome, unless it has one. What the provider call raises is raised."""
        if spec.message is None:
            raise UndecodableError(f"{spec.name} takes no message")
        intent = decoder(spec.message.cls)(payload)
        database = self._runtime.database
        before = await database.fetchrow(START, intent_id=envelope.id, effect=spec.name)
        state = before["state"] if before is not None else None
        if state == "done":
            return
        context = self._runtime.effect_context(spec, envelope)
        is_repeat = state in ("started", "unknown")
        try:
            outcome = await self._call(spec, intent, context, is_repeat=is_repeat, before=before)
        except NothingHappened:
            if not is_repeat:
                await database.execute(BACK_TO_INTENDED, intent_id=envelope.id)
            elif spec.on_repeat is OnRepeat.ONCE_MORE:
                await database.execute(UNCOUNT_REPEAT, intent_id=envelope.id)
            raise
        await self._finish(spec, envelope, outcome)

    async def _call(
        self,
        spec: HandlerSpec,
        intent: Any,
        context: EffectContext,
        *,
        is_repeat: bool,
        before: Any,
    ) -> Command[Any] | None:
        call = spec.function
        if not is_repeat:
            return await within(None, spec.timeout, call(intent, context))
        context.is_repeat = True
        if spec.on_repeat is OnRepeat.ONCE_MORE:
            if before["repeats"] >= 1:
                await self._runtime.database.execute(GIVE_UP, intent_id=context.message_id)
                raise OutcomeUnknownError
            await self._runtime.database.execute(COUNT_REPEAT, intent_id=context.message_id)
            self._runtime.telemetry.possible_duplicates.labels(
                self._runtime.plugin.name, spec.name
            ).inc()
            log.warning("effect_repeated", effect=spec.name, intent_id=str(context.message_id))
        elif spec.on_repeat is not OnRepeat.SAME_KEY:
            found = await within(None, spec.timeout, spec.on_repeat(intent, context))
            if found is not None:
                return found  # type: ignore[no-any-return]  # a declared function is untyped here
        return await within(None, spec.timeout, call(intent, context))

    async def _finish(
        self, spec: HandlerSpec, envelope: Envelope, outcome: Command[Any] | None
    ) -> None:
        """Store the outcome and do what follows from it, in one transaction.

        When what follows fails, the outcome is stored all the same and told to the plugin itself,
        so that the provider is not called again for it.
        """
        runtime = self._runtime
        cause = Cause(
            message_id=envelope.id,
            handler=f"{runtime.plugin.name}.{spec.name}.outcome",
            source=runtime.plugin.name,
            correlation_id=envelope.correlation_id,
            actor=envelope.actor,
            traceparent=envelope.traceparent,
        )
        writer = OutboxWriter(cause, runtime.clock())
        if outcome is None:
            await self._store(envelope, None, writer)
            return
        told = writer.tell(outcome)
        payload = encode(outcome)
        try:
            await self._follow(outcome, payload, told, envelope)
        except Exception as error:  # noqa: BLE001  whatever broke, the outcome must be kept
            log.warning("outcome_told", effect=spec.name, error=repr(error))
            await self._store(envelope, payload.decode(), writer)

    async def _follow(
        self, outcome: Command[Any], payload: bytes, told: Envelope, intent: Envelope
    ) -> None:
        """Run the outcome's handler in the transaction that ends the intent."""
        runtime = self._runtime
        described = describe(type(outcome))
        spec = next(s for s in runtime.plugin.of_kind("command") if s.message is described)
        mark = OutcomeMark(intent.id, payload.decode())
        with runtime.telemetry.handling(runtime.plugin.name, spec, told) as seen:
            try:
                await runtime.run(spec, outcome, told, mark, parse_actor(told.actor), None)
            except Exception as error:
                seen.fail(type(error).__name__)
                raise

    async def _store(self, envelope: Envelope, outcome: str | None, writer: OutboxWriter) -> None:
        """End the intent, and tell its outcome durably."""
        arguments = FINISH.arguments({"outcome": outcome, "intent_id": envelope.id})
        async with (
            self._runtime.database.connection() as connection,
            connection.transaction(),
        ):
            status = await connection.execute(FINISH.sql, *arguments)
            if status.endswith(" 1") and writer.rows:
                await connection.execute(INSERT_ROWS.sql, *insert_arguments(writer.rows))
        self._runtime.wake()


class OutcomeMark:
    """Ends an intent in the transaction of what follows from its outcome.

    The intent's row is the mark: whoever ends it, here or by telling, does so once.
    """

    def __init__(self, intent_id: UUID, outcome: str) -> None:
        self._intent_id = intent_id
        self._outcome = outcome

    async def claim(self, connection: asyncpg.Connection) -> None:
        """Store the outcome; raises AlreadyDone when the intent has one."""
        arguments = FINISH.arguments({"outcome": self._outcome, "intent_id": self._intent_id})
        if (await connection.execute(FINISH.sql, *arguments)).endswith(" 0"):
            raise AlreadyDone

    async def settle(self, connection: asyncpg.Connection, answer: Answer | None) -> None:
        """The claim has noted it; a refusal that keeps its writes is told and tried again."""
        if answer is None:
            raise TransactionMisuseError("an outcome's handler refused what has happened")
