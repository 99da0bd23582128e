"""Replay: a read model is made anew from the facts, beside the live one, and takes its place at once.

The new generation stands in a schema of its own, and its connection sees no other: projections can
write the model's tables and nothing else. There is no runtime here, so no reaction, effect, ask or
outbox. At the head the live model is held, the rest is applied, and tables and positions change
hands in one transaction.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from bus.connection import Connection
from bus.envelope import read_envelope
from bus.errors import ServiceError
from bus.jetstream import BatchReader, StoredMessage, last_sequence
from bus.streams import event_stream
from kernel.config import BusSettings, Configuration
from kernel.database import Database, PoolSettings, open_database
from kernel.graph import PluginError
from kernel.hosted import open_connection
from kernel.models import (
    ENSURE_MODEL,
    LOCK_POSITION,
    MOVE_MODEL,
    POSITION,
    Projector,
    in_runs,
    models_of,
)
from kernel.plugin import Plugin
from kernel.upcasting import Upcasters

BATCH: Final = 1_000
SWITCH_TRIES: Final = 5
SWITCH_SECONDS: Final = 5.0
"""How long readers wait behind the switch, which itself waits for whoever reads; it is tried again."""
LOCK_SPACE: Final = 0x52455059
POOL: Final = PoolSettings(min_size=0, max_size=1, statement_timeout=600)
Progress = Callable[[str, int, int], None]
"""Called with a stream, up to which sequence it is folded, and where it ends."""

TABLE_EXISTS: Final = "SELECT to_regclass($1) IS NOT NULL"
INDEXES: Final = """
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE i.indrelid = to_regclass($1) ORDER BY i.indexrelid
"""
DIGEST: Final = """
    SELECT count(*)::text || ':' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)::text
    FROM {table} AS t
"""


class ReplayError(ServiceError):
    """The model cannot be made anew; the live one is as it was."""

    code = "kernel.replay_refused"
    title = "The replay stopped"


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay did."""

    model: str
    facts: int
    rows: int
    seconds: float
    is_switched: bool
    is_same: bool
    """Whether the new generation is equal to the live one at the same place of the streams."""

    @property
    def rate(self) -> float:
        """Facts folded in a second."""
        return self.facts / self.seconds if self.seconds else 0.0


class Generation:
    """A new set of a model's tables, in a schema that nobody else looks into."""

    def __init__(self, connection: asyncpg.Connection, model: str, tables: Sequence[str]) -> None:
        self.schema = schema_of(model)
        self._connection = connection
        self._tables = tables

    async def create(self) -> None:
        """Make empty tables like the live ones, with the same names of indexes and constraints."""
        await self.drop()
        await self._connection.execute(f'CREATE SCHEMA "{self.schema}"')
        for table in self._tables:
            live, new = f'public."{table}"', f'"{self.schema}"."{table}"'
            if not await self._connection.fetchval(TABLE_EXISTS, live):
                raise ReplayError(f"there is no table {table}: is the database migrated?")
            await self._connection.execute(f"CREATE TABLE {new} (LIKE {live} INCLUDING ALL)")
            names = await self._connection.fetch(INDEXES, live)
            copies = await self._connection.fetch(INDEXES, new)
            for name, copy in zip(names, copies, strict=True):
                if name["relname"] != copy["relname"]:
                    await self._connection.execute(
                        f'ALTER INDEX "{self.schema}"."{copy["relname"]}" '
                        f'RENAME TO "{name["relname"]}"'
                    )

    async def write(self, prepared: str, rows: list[list[Any]]) -> None:
        """Run one write for many rows."""
        await self._connection.executemany(prepared, rows)

    async def take_over(self) -> None:
        """Become the live tables, within the transaction that is open. Readers wait for it."""
        for table in self._tables:
            await self._connection.execute(f'DROP TABLE public."{table}"')
            await self._connection.execute(
                f'ALTER TABLE "{self.schema}"."{table}" SET SCHEMA public'
            )
        await self._connection.execute(f'DROP SCHEMA "{self.schema}"')

    async def drop(self) -> None:
        """Remove what is there of it."""
        await self._connection.execute(f'DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')

    async def rows(self) -> int:
        """Count what was made."""
        counts = [
            await self._connection.fetchval(f'SELECT count(*) FROM "{self.schema}"."{table}"')  # noqa: S608  names from the declaration
            for table in self._tables
        ]
        return sum(counts)

    async def equals_live(self) -> bool:
        """Compare with the live tables, whatever the order of their rows."""
        for table in self._tables:
            new = DIGEST.format(table=f'"{self.schema}"."{table}"')
            live = DIGEST.format(table=f'public."{table}"')
            if await self._connection.fetchval(new) != await self._connection.fetchval(live):
                return False
        return True


class Replay:
    """Makes one model of one plugin anew. ``pool`` must see the generation's schema alone."""

    def __init__(
        self,
        plugin: Plugin,
        model: str,
        connection: Connection,
        upcasters: Upcasters,
        progress: Progress = lambda *_: None,
        *,
        patience: float = SWITCH_SECONDS,
    ) -> None:
        if model not in plugin.model_tables:
            raise ReplayError(f"{plugin.name} names no tables of its model {model}")
        self.model = model
        self.tables = plugin.model_tables[model]
        self._connection = connection
        self._progress = progress
        self._patience = patience
        self._projectors = {
            event_stream(source): Projector(specs, upcasters)
            for (name, source), specs in models_of(plugin.of_kind("project")).items()
            if name == model
        }
        self._folded: dict[str, int] = {}
        self._facts = 0

    async def run(
        self, database: Database, *, start: int | datetime = 1, is_dry: bool = False
    ) -> Replayed:
        """Fill, compare and, unless it is dry, switch; raises ReplayError and leaves the live model alone."""
        began = time.monotonic()
        async with database.connection() as connection, self._alone(connection):
            generation = Generation(connection, self.model, self.tables)
            await generation.create()
            try:
                for stream in self._projectors:
                    self._folded[stream] = await self._first(stream, start) - 1
                    await self._fill(connection, generation, stream, is_dry=is_dry)
                seconds = time.monotonic() - began
                return await self._end(connection, generation, seconds, is_dry=is_dry)
            finally:
                if not connection.is_closed():
                    await generation.drop()

    @asynccontextmanager
    async def _alone(self, connection: asyncpg.Connection) -> AsyncIterator[None]:
        key = f"{LOCK_SPACE}, hashtext('{self.model}')"
        if not await connection.fetchval(f"SELECT pg_try_advisory_lock({key})"):
            raise ReplayError(f"{self.model} is being replayed already")
        try:
            yield
        finally:
            if not connection.is_closed():
                await connection.execute(f"SELECT pg_advisory_unlock({key})")

    async def _first(self, stream: str, start: int | datetime) -> int:
        if isinstance(start, int):
            return start
        return await first_since(
            BatchReader(self._connection, stream), start, await self._end_of(stream)
        )

    async def _end_of(self, stream: str) -> int:
        return await last_sequence(self._connection, stream)

    async def _fill(
        self, connection: asyncpg.Connection, generation: Generation, stream: str, *, is_dry: bool
    ) -> None:
        """Fold up to the head; a dry run no farther than the live model, to compare with it."""
        end = await self._end_of(stream)
        if is_dry:
            end = await self._live_position(connection, stream)
        await self._fold(generation, stream, end)

    async def _live_position(self, connection: asyncpg.Connection, stream: str) -> int:
        arguments = POSITION.arguments({"model": self.model, "stream": stream})
        return await connection.fetchval(POSITION.sql, *arguments) or 0

    async def _fold(self, generation: Generation, stream: str, end: int) -> None:
        """Fold one stream up to a sequence; while a batch is written the next one is read."""
        reader, projector = BatchReader(self._connection, stream), self._projectors[stream]
        reading: asyncio.Task[list[StoredMessage]] | None = None
        try:
            while (position := self._folded[stream]) < end:
                messages = await (reading or _read(reader, position, end))
                if not messages:
                    raise ReplayError(f"{stream} cannot be read beyond {position}")
                last = messages[-1].sequence
                reading = asyncio.create_task(_read(reader, last, end)) if last < end else None
                for prepared, rows in in_runs(projector.writes(messages)):
                    await generation.write(prepared.sql, rows)
                self._folded[stream] = last
                self._facts += len(messages)
                self._progress(f"{self.model} {stream}", last, end)
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _end(
        self,
        connection: asyncpg.Connection,
        generation: Generation,
        seconds: float,
        *,
        is_dry: bool,
    ) -> Replayed:
        """Hold the live model, apply the rest and switch, or roll back and try again when readers stay."""
        for remaining in reversed(range(SWITCH_TRIES)):
            folded, facts = dict(self._folded), self._facts
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute(
                    f"SET LOCAL lock_timeout = '{self._patience * 1000:.0f}ms'"
                )
                is_same = await self._apply_rest(connection, generation, is_dry=is_dry)
                rows = await generation.rows()
                if not is_dry:
                    await generation.take_over()
                    await transaction.commit()
                else:
                    await transaction.rollback()
            except asyncpg.LockNotAvailableError as error:
                await transaction.rollback()
                self._folded, self._facts = folded, facts
                if not remaining:
                    raise ReplayError(
                        f"somebody reads {self.model} for longer than {self._patience} s, a back-up "
                        "perhaps; the live model is as it was"
                    ) from error
            except BaseException:
                await transaction.rollback()
                raise
            else:
                return Replayed(
                    model=self.model,
                    facts=self._facts,
                    rows=rows,
                    seconds=seconds,
                    is_switched=not is_dry,
                    is_same=is_same,
                )
        raise AssertionError("unreachable")

    async def _apply_rest(
        self, connection: asyncpg.Connection, generation: Generation, *, is_dry: bool
    ) -> bool:
        """Lock the live positions, fold up to them, compare, then fold up to the head."""
        live = {}
        for stream in self._projectors:
            names = {"model": self.model, "stream": stream}
            await connection.execute(ENSURE_MODEL.sql, *ENSURE_MODEL.arguments(names))
            held = LOCK_POSITION.arguments(names)
            live[stream] = await connection.fetchval(LOCK_POSITION.sql, *held)
            await self._fold(generation, stream, live[stream])
        is_same = self._folded == live and await generation.equals_live()
        if not is_dry:
            for stream in self._projectors:
                await self._fold(generation, stream, await self._end_of(stream))
                moved = {
                    "stream_seq": self._folded[stream],
                    "model": self.model,
                    "stream": stream,
                }
                await connection.execute(MOVE_MODEL.sql, *MOVE_MODEL.arguments(moved))
        return is_same


async def _read(reader: BatchReader, position: int, end: int) -> list[StoredMessage]:
    return await reader.read(position + 1, batch=min(BATCH, end - position))


async def first_since(reader: BatchReader, moment: datetime, end: int) -> int:
    """Return the first sequence whose fact is not older than a moment, by its own time; halving."""
    low, high = 1, end + 1
    while low < high:
        middle = (low + high) // 2
        (message,) = await reader.read(middle, batch=1)
        if read_envelope(message.headers).time < moment:
            low = middle + 1
        else:
            high = middle
    return low


def schema_of(model: str) -> str:
    """Return the schema in which the new generation of a model is made."""
    return f"replay_{model}"


def models_named(plugin: Plugin, model: str | None) -> list[str]:
    """Return the models of a plugin, or the named one; raises PluginError when there is none."""
    known = sorted({name for name, _ in models_of(plugin.of_kind("project"))})
    if model is not None and model not in known:
        raise PluginError(
            f"{plugin.name} has no model {model}; it has {', '.join(known) or 'none'}"
        )
    if not known:
        raise PluginError(f"{plugin.name} has no read model that is folded from facts")
    return known if model is None else [model]


async def replay(
    configuration: Configuration,
    plugin: Plugin,
    upcasters: Upcasters,
    *,
    model: str | None = None,
    start: int | datetime = 1,
    is_dry: bool = False,
    progress: Progress = lambda *_: None,
) -> list[Replayed]:
    """Make a plugin's models anew, one after the other, while everything runs."""
    bus = configuration.section("bus", BusSettings)
    names = models_named(plugin, model)
    connection = await open_connection(bus, plugin.name, f"{plugin.name}.replay")
    try:
        return [
            await replay_model(
                configuration.plugin_database(plugin.name),
                Replay(plugin, name, connection, upcasters, progress),
                start=start,
                is_dry=is_dry,
            )
            for name in names
        ]
    finally:
        await connection.close()


async def replay_model(
    url: str, work: Replay, *, start: int | datetime = 1, is_dry: bool = False
) -> Replayed:
    """Run one replay on a connection that sees the new generation alone."""
    path = f'"{schema_of(work.model)}"'
    database = await open_database(url, POOL, name="replay", search_path=path)
    try:
        return await work.run(database, start=start, is_dry=is_dry)
    finally:
        await database.close()
