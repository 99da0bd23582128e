"""A plugin without bus: its handlers run with the real inbox, transaction and outbox on PostgreSQL.

What it asks of other plugins is answered by functions of the test; what it says stands in the
outbox and is returned as typed messages.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from bus.actor import ANONYMOUS, Actor
from bus.codec import convert, decoder, encode
from bus.envelope import Envelope, Reply
from bus.errors import NoResponderError, RemoteError, ServiceError
from bus.message import Command, Event, Message, MessageType, Query, describe
from kernel.context import Write
from kernel.database import Database, PoolSettings, open_database
from kernel.ids import new_uuid7
from kernel.migrator import STORE, migrate, plugin_migrations
from kernel.plugin import HandlerSpec, PermissionCatalogue, Plugin
from kernel.runtime import PluginRuntime
from kernel.settings import Settings
from kernel.sql import statement
from kernel.telemetry import Telemetry
from kernel.testing.breaking import Break, BreakingDatabase
from kernel.tokens import TokenVerifier
from kernel.unit_of_work import EventMark, InboxMark

R = TypeVar("R")
M = TypeVar("M", bound=Message)
Answerer = Callable[[Any], Any]

SPOKEN = statement(
    "SELECT id, kind, ce_id, subject, headers, payload FROM kernel.outbox ORDER BY id"
)
ENSURE_POSITION = statement(
    """
    INSERT INTO kernel.positions (subscription, part) VALUES (:subscription, 0)
    ON CONFLICT DO NOTHING
    """
)
POSITION = statement(
    "SELECT stream_seq FROM kernel.positions WHERE subscription = :subscription AND part = 0"
)
EVERYBODY = frozenset({"test"})


class SpokenRow(NamedTuple):
    """One outbox row: what the plugin said, typed where the message class is known to the test."""

    kind: str
    subject: str
    headers: Mapping[str, str]
    payload: bytes

    def read(self, kind: type[M]) -> M:
        """Decode as a message class."""
        message: M = decoder(kind)(self.payload)
        return message


class FakeNeighbours:
    """Answers asks by hand-written functions, ``{QuoteOffers: lambda query: QuotedOffers(...)}``.

    A command asked twice with one identity is answered once and remembered, as a real plugin does.
    """

    def __init__(self, answers: Mapping[type[Message], Answerer] | None = None) -> None:
        self.answers: dict[type[Message], Answerer] = dict(answers or {})
        self.asked: list[Any] = []
        self._stored: dict[UUID, Any] = {}

    async def call(
        self, message: MessageType, payload: bytes, envelope: Envelope, timeout: float
    ) -> Reply:
        """Answer one ask; raises NoResponderError for what the test did not foresee."""
        answer = self.answers.get(message.cls)
        if answer is None:
            raise NoResponderError(f"nobody answers {message.full_name}")
        if envelope.is_keyed and envelope.id in self._stored:
            return Reply(encode(self._stored[envelope.id]), {})
        request = decoder(message.cls)(payload)
        self.asked.append(request)
        try:
            found = answer(request)
            if isinstance(found, Awaitable):
                found = await found
        except ServiceError as error:
            raise RemoteError(error.to_wire()) from error
        if envelope.is_keyed:
            self._stored[envelope.id] = found
        return Reply(encode(found), {})


def an_actor(user_id: str, *permissions: str, roles: Iterable[str] = ("buyer",)) -> Actor:
    """Return a logged-in user."""
    return Actor(
        kind="user", id=user_id, roles=tuple(roles), permissions=frozenset(permissions), session="s"
    )


class _TestTokens(TokenVerifier):
    def __init__(self) -> None:
        super().__init__(self._none)
        self.actors: dict[str, Actor] = {}

    async def _none(self) -> Mapping[str, bytes]:
        return {}

    async def verify(self, token: str) -> Actor:
        return self.actors[token]


class PluginHarness:
    """One plugin on a database of its own. Use ``async with PluginHarness.open(...) as harness``."""

    def __init__(self, plugin: Plugin, runtime: PluginRuntime, tokens: _TestTokens) -> None:
        self.plugin = plugin
        self.runtime = runtime
        self.neighbours: FakeNeighbours = runtime.caller  # type: ignore[assignment]  # opened with one
        self._tokens = tokens
        self._read_up_to = 0
        self.clock_offset = timedelta()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        plugin: Plugin,
        database_url: str,
        *,
        settings: Mapping[str, Any] | Settings | None = None,
        answers: Mapping[type[Message], Answerer] | None = None,
        resources: Mapping[type[Any], Any] | None = None,
        pool: PoolSettings | None = None,
    ) -> AsyncIterator["PluginHarness"]:
        """Migrate the database, open the plugin's resources (those given replace its own) and start it."""
        await migrate(database_url, STORE, plugin_migrations(plugin.name, plugin.package))
        built = (
            settings
            if isinstance(settings, Settings)
            else convert(dict(settings or {}), plugin.settings)
        )
        async with AsyncExitStack() as stack:
            database = await open_database(database_url, pool or PoolSettings())
            stack.push_async_callback(database.close)
            found: dict[type[Any], Any] = {
                PermissionCatalogue: PermissionCatalogue(plugin.permissions),
                Database: database,
            }
            for resource in plugin.resources:
                if resources is None or resource.kind not in resources:
                    found[resource.kind] = await stack.enter_async_context(resource.factory(built))
            found.update(resources or {})
            tokens = _TestTokens()
            runtime = PluginRuntime(
                plugin,
                settings=built,
                database=database,
                resources=found,
                caller=FakeNeighbours(answers),
                tokens=tokens,
                telemetry=Telemetry(),
                askers={s.message: EVERYBODY for s in plugin.handlers if s.message},
                wake=lambda: None,
            )
            harness = cls(plugin, runtime, tokens)
            runtime.clock = lambda: datetime.now(UTC) + harness.clock_offset
            for hook in plugin.start_hooks:
                await hook(runtime.start_context())
            yield harness

    async def ask(
        self,
        message: Command[R] | Query[R],
        *,
        actor: Actor | None = None,
        key: str | None = None,
    ) -> R:
        """Send a request as the gateway would: with permission checks. ``key`` is an Idempotency-Key.

        Without an actor it comes from another plugin (INTERNAL) or from nobody (PUBLIC).
        """
        described = describe(type(message))
        spec = self._spec(described, "command", "query")
        token = ""
        if actor is not None:
            token = f"token-of-{actor.id}-{hash(actor)}"
            self._tokens.actors[token] = actor
        envelope = Envelope(
            id=_identity(described.full_name, key) if key else new_uuid7(),
            type=described.full_name,
            source="test",
            time=datetime.now(UTC),
            correlation_id="test",
            actor=str(actor or ANONYMOUS),
            token=token,
            is_keyed=key is not None,
        )
        reply = await self.runtime.answer(spec, encode(message), envelope)
        answer: R = decoder(described.reply)(reply.payload)
        return answer

    async def tell(
        self,
        command: Command[Any],
        *,
        key: str | None = None,
        actor: Actor | None = None,
        times: int = 1,
    ) -> None:
        """Deliver a told command, ``times`` over with one identity; each must succeed."""
        described = describe(type(command))
        spec = self._spec(described, "command")
        envelope = self._durable(described, key, actor)
        for _ in range(times):
            await self.runtime.do(spec, encode(command), envelope)

    async def deliver(self, event: Event, *, key: str | None = None, times: int = 1) -> None:
        """Deliver an event to the plugin's reaction, ``times`` over as one delivery repeated."""
        described = describe(type(event))
        spec = self._spec(described, "react")
        subscription = f"{self.plugin.name}.{described.owner}"
        await self.runtime.database.execute(ENSURE_POSITION, subscription=subscription)
        position = await self.runtime.database.fetchval(POSITION, subscription=subscription)
        envelope = self._durable(described, key, None)
        for _ in range(times):
            mark = EventMark(subscription, 0, position + 1, described.key_of(event))
            await self.runtime.run(spec, event, envelope, mark, ANONYMOUS, None)

    async def perform(self, intent: Command[Any], *, key: str | None = None) -> Command[Any] | None:
        """Call an effect's function for an intent; returns the outcome that it would tell."""
        described = describe(type(intent))
        spec = self._spec(described, "effect")
        context = self.runtime.effect_context(spec, self._durable(described, key, None))
        outcome: Command[Any] | None = await spec.function(intent, context)
        return outcome

    @contextmanager
    def breaking(self, place: int, how: Break) -> Iterator[None]:
        """Break whatever is handled inside at its n-th statement; see ``kernel.testing.breaking``."""
        whole = self.runtime.database
        self.runtime.database = BreakingDatabase(whole, place, how)
        try:
            yield
        finally:
            self.runtime.database = whole

    def project(self, event: Event) -> list[Write]:
        """Return the writes of all projections of an event."""
        described = describe(type(event))
        specs = [s for s in self.plugin.of_kind("project") if s.message is described]
        return [write for spec in specs for write in spec.function(event)]

    async def run_job(self, name: str) -> None:
        """Run a job once."""
        spec = next(s for s in self.plugin.of_kind("job") if s.name == name)
        envelope = Envelope(
            id=new_uuid7(),
            type=f"{self.plugin.name}.{name}",
            source=self.plugin.name,
            time=datetime.now(UTC),
            correlation_id="test",
        )
        mark = InboxMark(envelope.id, name, b"")
        await self.runtime.run(spec, None, envelope, mark, ANONYMOUS, None)

    async def spoken(self) -> list[SpokenRow]:
        """Return what was said since the last call, in the order of the outbox."""
        rows = await self.runtime.database.fetch(SPOKEN)
        new = [row for row in rows if row["id"] > self._read_up_to]
        self._read_up_to = max((row["id"] for row in rows), default=self._read_up_to)
        return [
            SpokenRow(row["kind"], row["subject"], row["headers"], row["payload"].encode())
            for row in new
        ]

    async def said(self, kind: type[M]) -> list[M]:
        """Return all messages of a class that were ever said, oldest first."""
        described = describe(kind)
        rows = await self.runtime.database.fetch(SPOKEN)
        return [
            decoder(kind)(row["payload"].encode())
            for row in rows
            if row["headers"]["ce-type"] == described.full_name
        ]

    def _durable(self, described: MessageType, key: str | None, actor: Actor | None) -> Envelope:
        return Envelope(
            id=_identity(described.full_name, key) if key else new_uuid7(),
            type=described.full_name,
            source="test",
            time=datetime.now(UTC),
            correlation_id="test",
            actor=str(actor) if actor else "",
            is_keyed=True,
        )

    def _spec(self, described: MessageType, *kinds: str) -> HandlerSpec:
        for spec in self.plugin.of_kind(*kinds):
            if spec.message is described:
                return spec
        raise LookupError(f"{self.plugin.name} declares no {kinds} for {described.full_name}")


def _identity(*parts: str) -> UUID:
    digest = bytearray(blake2b("\x1f".join(parts).encode(), digest_size=16).digest())
    digest[:6] = (1_760_000_000_000).to_bytes(6, "big")
    digest[6] = digest[6] & 0x0F | 0x70
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))
