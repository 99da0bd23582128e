"""Read models: facts folded by pure functions, in batches, with the position in one transaction.

A model reads the stream from its own position by direct gets, so nothing but that position says
what it has seen; a core message is only the bell.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import asyncpg
import nats.errors
import structlog

from bus.codec import decoder
from bus.connection import Connection
from bus.errors import ServiceError, UndecodableError
from bus.jetstream import BatchReader, JetStreamError, StoredMessage
from bus.streams import event_stream
from kernel.context import Write
from kernel.plugin import HandlerSpec
from kernel.runtime import PluginRuntime
from kernel.sql import Statement, statement
from kernel.upcasting import NO_UPCASTERS, Upcasters

log = structlog.get_logger("kernel.models")

BATCH: Final = 500
POLL_SECONDS: Final = 1.0

ENSURE_MODEL = statement(
    "INSERT INTO kernel.models (model, stream) VALUES (:model, :stream) ON CONFLICT DO NOTHING"
)
POSITION = statement(
    "SELECT stream_seq FROM kernel.models WHERE model = :model AND stream = :stream"
)
LOCK_POSITION = statement(
    "SELECT stream_seq FROM kernel.models WHERE model = :model AND stream = :stream FOR UPDATE"
)
MOVE_MODEL = statement(
    """
    UPDATE kernel.models SET stream_seq = :stream_seq WHERE model = :model AND stream = :stream
    """
)


class ModelFold:
    """Folds one source's facts into one model of a plugin."""

    def __init__(
        self,
        runtime: PluginRuntime,
        connection: Connection,
        model: str,
        source: str,
        specs: list[HandlerSpec],
    ) -> None:
        self.model = model
        self.stream = event_stream(source)
        self._runtime = runtime
        self._connection = connection
        self._source = source
        self._reader = BatchReader(connection, self.stream)
        self._projector = Projector(specs, runtime.upcasters)
        self.fault: str | None = None
        """Why the model stands still, when only a person can help."""
        self._rung = asyncio.Event()
        self._bell: Any = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Fold from the position on, and go on as facts arrive."""
        await self._runtime.database.execute(ENSURE_MODEL, model=self.model, stream=self.stream)
        self._bell = await self._connection.client.subscribe(f"evt.{self._source}.>", cb=self._ring)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop; a batch in hand is rolled back."""
        if self._bell is not None and self._connection.is_connected:
            await self._bell.unsubscribe()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _ring(self, message: Any) -> None:
        self._rung.set()

    async def _run(self) -> None:
        while True:
            self._rung.clear()
            count = 0
            try:
                count = await self.fold_batch()
                self.fault = None
            except UndecodableError as error:
                self.fault = f"model {self.model} cannot read {self.stream}: {error.message}"
                log.error("fold_unreadable", model=self.model, reason=self.fault)  # noqa: TRY400  the reason says it
                await asyncio.sleep(5 * POLL_SECONDS)
            except (
                ServiceError,
                JetStreamError,
                nats.errors.Error,
                asyncpg.PostgresError,
            ) as error:
                log.warning("fold_interrupted", model=self.model, error=repr(error))
                await asyncio.sleep(POLL_SECONDS)
            except Exception as error:
                self.fault = f"model {self.model} cannot fold {self.stream}: {error!r}"
                log.exception("fold_broke", model=self.model, stream=self.stream)
                await asyncio.sleep(5 * POLL_SECONDS)
            if count < BATCH:
                try:
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._rung.wait()
                except TimeoutError:
                    continue

    async def fold_batch(self) -> int:
        """Fold what stands next in the stream; returns how many messages were read."""
        database = self._runtime.database
        position = await database.fetchval(POSITION, model=self.model, stream=self.stream)
        messages = await self._reader.read(position + 1, batch=BATCH)
        if not messages:
            return 0
        writes = self._projector.writes(messages)
        async with database.connection() as connection, connection.transaction():
            lock = LOCK_POSITION.arguments({"model": self.model, "stream": self.stream})
            if await connection.fetchval(LOCK_POSITION.sql, *lock) != position:
                return 0
            for prepared, rows in in_runs(writes):
                await connection.executemany(prepared.sql, rows)
            move = {
                "stream_seq": messages[-1].sequence,
                "model": self.model,
                "stream": self.stream,
            }
            await connection.execute(MOVE_MODEL.sql, *MOVE_MODEL.arguments(move))
        return len(messages)


class Projector:
    """Turns facts into the writes of one model, by pure functions and nothing else."""

    def __init__(self, specs: list[HandlerSpec], upcasters: Upcasters = NO_UPCASTERS) -> None:
        self._upcasters = upcasters
        self._projections = {
            spec.message.subject: (decoder(spec.message.cls), spec.function)
            for spec in specs
            if spec.message is not None
        }

    def writes(self, messages: Iterable[StoredMessage]) -> list[Write]:
        """Return the writes of these facts in their order; raises UndecodableError."""
        found: list[Write] = []
        for message in messages:
            stem, payload = self._upcasters.read(message.subject, message.payload)
            projection = self._projections.get(stem)
            if projection is not None:
                decode, function = projection
                found += function(decode(payload))
        return found


def in_runs(writes: Sequence[Write]) -> Iterator[tuple[Statement, list[list[Any]]]]:
    """Put neighbouring writes of one statement together; their order stays."""
    for _, run in groupby(writes, key=lambda write: id(write.statement)):
        together = list(run)
        prepared = together[0].statement
        yield prepared, [prepared.arguments(write.params) for write in together]


def models_of(specs: list[HandlerSpec]) -> dict[tuple[str, str], list[HandlerSpec]]:
    """Group projections by model and source."""
    found: dict[tuple[str, str], list[HandlerSpec]] = {}
    for spec in specs:
        if spec.message is not None:
            found.setdefault((spec.model, spec.message.owner), []).append(spec)
    return found
