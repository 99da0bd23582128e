"""What a test of bus and kernel puts together: plugins, runtimes, connections, envelopes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg

from bus.codec import decoder, encode
from bus.connection import Connection
from bus.envelope import Envelope, Reply
from bus.jetstream import JetStreamError
from bus.jetstream import request as jetstream_request
from bus.message import Command, Message, Query, describe
from bus.streams import DLQ_STREAM, event_stream, work_stream
from kernel.context import Context
from kernel.database import Database, PoolSettings, open_database
from kernel.ids import new_uuid7
from kernel.plugin import PUBLIC, HandlerSpec, Plugin
from kernel.runtime import PluginRuntime
from kernel.settings import NoSettings
from kernel.telemetry import Telemetry
from kernel.testing import FakeNeighbours
from kernel.tokens import TokenVerifier
from tests.sample_plugin.contract import (
    AddToTally,
    GetTally,
    NoteTally,
    TallyChanged,
    TallyClosed,
    TallyView,
)
from tests.sample_plugin.store import ADD, NOTE, TOTAL

SMALL_POOL = PoolSettings(min_size=1, max_size=4, acquire_timeout=5.0)
SAMPLE_STREAMS = (event_stream("sample"), work_stream("sample"), DLQ_STREAM)


def a_plugin(**overrides: Any) -> Plugin:
    """Return the declaration of the sample, without handlers."""
    told: dict[str, Any] = {
        "summary": "Counts",
        "package": "tests.sample_plugin",
        "emits": (TallyChanged, TallyClosed),
        "tells": (NoteTally,),
        **overrides,
    }
    return Plugin("sample", "1.0.0", **told)


async def add_to_tally(command: AddToTally, ctx: Context) -> TallyView:
    """Add, say so, and have it noted."""
    async with ctx.transaction() as tx:
        total = await tx.fetchval(ADD, tally_id=command.tally_id, number=command.number)
        tx.emit(TallyChanged(tally_id=command.tally_id, number=command.number), version=total)
        tx.tell(NoteTally(tally_id=command.tally_id, number=command.number))
    return TallyView(tally_id=command.tally_id, total=total, version=total)


async def get_tally(query: GetTally, ctx: Context) -> TallyView:
    """Read."""
    total = await ctx.db.fetchval(TOTAL, tally_id=query.tally_id)
    return TallyView(tally_id=query.tally_id, total=total or 0)


def a_tallying_plugin() -> Plugin:
    """Return the sample with its usual command and query."""
    plugin = a_plugin()
    plugin.command(AddToTally, add_to_tally, allow=PUBLIC)
    plugin.query(GetTally, get_tally, allow=PUBLIC)
    return plugin


async def note_change(event: TallyChanged, ctx: Context) -> None:
    """Write an event down."""
    async with ctx.transaction() as tx:
        await tx.execute(NOTE, tally_id=event.tally_id, number=event.number)


async def no_keys() -> Mapping[str, bytes]:
    """No gateway published a key."""
    return {}


def a_runtime(plugin: Plugin, database: Database, **overrides: Any) -> PluginRuntime:
    """Return the runtime of a plugin on a database that is open."""
    options: dict[str, Any] = {
        "settings": NoSettings(),
        "resources": {},
        "caller": FakeNeighbours(),
        "tokens": TokenVerifier(no_keys),
        "telemetry": Telemetry(),
        "askers": {},
        "wake": lambda: None,
        **overrides,
    }
    return PluginRuntime(plugin, database=database, **options)


@asynccontextmanager
async def opened(url: str, pool: PoolSettings = SMALL_POOL) -> AsyncIterator[Database]:
    """Open a database for a while."""
    database = await open_database(url, pool)
    try:
        yield database
    finally:
        await database.close()


def a_spec(plugin: Plugin, message: type[Message], kind: str = "command") -> HandlerSpec:
    """Return the declared handler of a message."""
    return next(s for s in plugin.of_kind(kind) if s.message is describe(message))


def an_envelope(message: type[Message], identity: UUID | None = None, **overrides: Any) -> Envelope:
    """Return an envelope as another part would write it."""
    options: dict[str, Any] = {
        "id": identity or new_uuid7(),
        "type": describe(message).full_name,
        "source": "test",
        "time": datetime.now(UTC),
        "correlation_id": "test",
        "is_keyed": True,
        **overrides,
    }
    return Envelope(**options)


async def asked(
    runtime: PluginRuntime, message: Command[Any] | Query[Any], identity: UUID | None = None
) -> Any:
    """Answer a request as the bus would, keyed by its identity; returns the decoded view."""
    kind = type(message)
    spec = next(s for s in runtime.plugin.handlers if s.message is describe(kind))
    envelope = an_envelope(kind, identity, is_keyed=identity is not None)
    reply: Reply = await runtime.answer(spec, encode(message), envelope)
    return decoder(describe(kind).reply)(reply.payload)


async def published(
    connection: Connection, message: Message, identity: UUID | None = None, **headers: str
) -> None:
    """Put an event or a told command into its stream, as the relay would."""
    described = describe(type(message))
    if described.kind == "evt":
        subject = described.event_subject(described.key_of(message))
    else:
        subject = described.work_subject
    told = an_envelope(type(message), identity).to_headers() | headers
    await connection.client.publish(subject, encode(message), headers=told)


async def eventually(
    condition: Callable[[], Awaitable[Any]], *, within: float = 10.0, what: str = ""
) -> Any:
    """Wait until a condition holds and return its value; fails after ``within`` seconds."""
    until = time.monotonic() + within
    while True:
        found = await condition()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"this did not come about within {within} s: {what or condition}")
        await asyncio.sleep(0.02)


async def drop_streams(connection: Connection, *names: str) -> None:
    """Remove streams that are there."""
    for name in names or SAMPLE_STREAMS:
        try:
            await jetstream_request(connection, f"STREAM.DELETE.{name}")
        except JetStreamError as error:
            assert error.code == 10059  # noqa: PT017  any other refusal is a failure of the test


async def run_sql(url: str, sql: str, *args: Any) -> Any:
    """Run one statement on a connection of its own; returns its rows."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(sql, *args)
    finally:
        await connection.close()
