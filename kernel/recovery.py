"""Recovery of a lost stream store: each stream of facts is filled again from its plugin's outbox.

The outbox keeps every fact with the sequence that it had. Each is published at that very place or
the recovery stops; what others have seen by sequence therefore stays true.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from bus.connection import Connection
from bus.errors import ServiceError
from bus.jetstream import BatchReader, Stored, StoredMessage, last_sequence
from bus.streams import REACT, ConsumerSpec, apply, delete_consumer, event_stream, reaction_part
from kernel.config import BusSettings, Configuration
from kernel.database import Database, PoolSettings, open_database
from kernel.dead_letters import identity_of
from kernel.graph import PluginError
from kernel.hosted import open_connection
from kernel.jobs import ensure_schedules
from kernel.plugin import Plugin
from kernel.preparation import DEPLOYER_CREDENTIAL, assets_of
from kernel.reactions import subscription_name
from kernel.relay import BATCH, KNOWN_SEQUENCE, LOCK_KEY, MARK_SENT, UNSENT, FactPublisher
from kernel.sql import statement

PATIENCE_SECONDS: Final = 15
TRIES: Final = 10
CHUNK: Final = 1_000
POOL: Final = PoolSettings(min_size=0, max_size=2)
Progress = Callable[[str, int, int], None]
"""Called with a plugin, how many of its facts are in place, and how many there are."""

RECORDED = statement(
    """
    SELECT count(*) AS facts, count(DISTINCT stream_seq) AS places,
        coalesce(min(stream_seq), 1) AS first, coalesce(max(stream_seq), 0) AS last
    FROM kernel.outbox WHERE stream_seq IS NOT NULL AND kind = 'fact'
    """
)
RECORDED_FACTS = statement(
    """
    SELECT id, created_at, ce_id, subject, headers, payload, stream_seq FROM kernel.outbox
    WHERE stream_seq > :after AND kind = 'fact' ORDER BY stream_seq LIMIT 256
    """
)
FARTHEST_READER = statement(
    """
    SELECT greatest(
        (SELECT coalesce(max(stream_seq), 0) FROM kernel.positions
         WHERE subscription = :subscription),
        (SELECT coalesce(max(stream_seq), 0) FROM kernel.models WHERE stream = :stream)
    )
    """
)
POSITION_OF_PART = statement(
    "SELECT stream_seq FROM kernel.positions WHERE subscription = :subscription AND part = :part"
)
SENT_LATELY = statement(
    """
    SELECT id, created_at, ce_id, subject FROM (
        SELECT id, created_at, ce_id, subject, kind, max(id) OVER (PARTITION BY subject) AS newest
        FROM kernel.outbox
        WHERE kind IN ('timer', 'cancel') AND sent_at IS NOT NULL
            AND created_at > now() - interval '35 days'
    ) AS timed WHERE kind = 'timer' AND id = newest
    UNION ALL
    SELECT id, created_at, ce_id, subject FROM kernel.outbox
    WHERE (kind = 'tell' OR kind = 'dead' AND cast(:with_copies AS boolean)) AND sent_at IS NOT NULL
        AND created_at > now() - interval '35 days'
    ORDER BY id
    """
)
"""Of a timer that was set several times only the last setting counts, and a cancelled one not at all."""
DONE = statement(
    """
    SELECT message_id FROM kernel.inbox WHERE message_id = ANY(cast(:ids AS uuid[]))
    UNION
    SELECT intent_id FROM kernel.effects
    WHERE intent_id = ANY(cast(:ids AS uuid[])) AND state = 'done'
    """
)
SEND_AGAIN = statement(
    """
    UPDATE kernel.outbox AS o SET sent_at = NULL
    FROM unnest(cast(:ids AS bigint[]), cast(:times AS timestamptz[])) AS again (id, created_at)
    WHERE o.id = again.id AND o.created_at = again.created_at
    """
)


class RecoveryError(ServiceError):
    """What is there does not fit together, and nothing was guessed."""

    code = "kernel.recovery_refused"
    title = "The recovery stopped"


class Refilled(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one plugin's stream."""

    plugin: str
    facts: int
    """Facts that the stream holds now."""
    published: int
    """Of these, how many were missing."""
    assumed: int
    """Facts that others had seen and the outbox had not noted: put back in the outbox's order."""
    sent_again: int
    """Commands, timers and copies of dead letters that are not known to be done."""


class Site:
    """The databases and connections that a recovery works on."""

    def __init__(
        self, configuration: Configuration, plugins: Mapping[str, Plugin], deployer: Connection
    ) -> None:
        self.configuration = configuration
        self.plugins = plugins
        self.deployer = deployer
        self.bus = configuration.section("bus", BusSettings)
        self.databases: dict[str, Database] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, configuration: Configuration, plugins: Mapping[str, Plugin]
    ) -> AsyncIterator["Site"]:
        """Open every plugin's database, and the bus under the deployer's credential."""
        async with AsyncExitStack() as stack:
            bus = configuration.section("bus", BusSettings)
            deployer = await open_connection(bus, DEPLOYER_CREDENTIAL, "recovery")
            stack.push_async_callback(deployer.close)
            site = cls(configuration, plugins, deployer)
            for name in plugins:
                url = configuration.plugin_database(name)
                database = await open_database(url, POOL, name="recovery")
                stack.push_async_callback(database.close)
                site.databases[name] = database
            yield site

    @asynccontextmanager
    async def speaking_as(self, plugin: str) -> AsyncIterator[Connection]:
        """Connect under a plugin's own credential: nobody else may publish its facts."""
        connection = await open_connection(self.bus, plugin, f"{plugin}.recovery")
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def relay_lock(self, plugin: str) -> AsyncIterator[None]:
        """Be the plugin's relay for a while; raises RecoveryError while another one is at work."""
        session = await asyncpg.connect(self.configuration.plugin_database(plugin))
        try:
            await session.execute(f"SET lock_timeout = '{PATIENCE_SECONDS}s'")
            try:
                await session.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
            except asyncpg.LockNotAvailableError:
                raise RecoveryError(
                    f"the relay of {plugin} is at work. Stop the hosts first, or: "
                    f"realserv plugin disable {plugin} --cascade"
                ) from None
            yield
        finally:
            await session.close(timeout=5)

    def consumers_of(self, source: str) -> list[ConsumerSpec]:
        """Return the durables of all ordered subscriptions to a plugin's facts."""
        _, consumers = assets_of(self.plugins.values(), self.bus.replicas)
        stream = event_stream(source)
        return [one for one in consumers if one.stream == stream and REACT in one.name]

    async def forget_subscriptions(self, source: str) -> None:
        """Remove the durables on a plugin's facts; who pulls waits until they are back."""
        for consumer in self.consumers_of(source):
            await delete_consumer(self.deployer, consumer.stream, consumer.name)

    async def restore_subscriptions(self, source: str) -> None:
        """Make missing durables, each at its subscriber's own position in the database."""
        for consumer in self.consumers_of(source):
            subscriber, part = reaction_part(consumer.name)
            position = await self.databases[subscriber].fetchval(
                POSITION_OF_PART, subscription=subscription_name(subscriber, source), part=part
            )
            placed = msgspec.structs.replace(consumer, start=(position or 0) + 1)
            await apply(self.deployer, [], [placed])

    async def farthest_reader(self, source: str) -> tuple[str, int]:
        """Return who has seen most of a plugin's facts, and up to which sequence."""
        seen = [("nobody", 0)]
        for subscriber, database in self.databases.items():
            position = await database.fetchval(
                FARTHEST_READER,
                subscription=subscription_name(subscriber, source),
                stream=event_stream(source),
            )
            seen.append((subscriber, position))
        return max(seen, key=lambda reader: reader[1])


def chosen_plugins(plugins: Mapping[str, Plugin], names: Sequence[str]) -> list[Plugin]:
    """Return the named plugins, all when none is named; raises PluginError for unknown ones."""
    unknown = sorted(set(names) - set(plugins))
    if unknown:
        raise PluginError(f"not installed: {', '.join(unknown)}")
    return [plugins[name] for name in (names or plugins)]


async def recover_from_outbox(
    configuration: Configuration,
    plugins: Mapping[str, Plugin],
    names: Sequence[str] = (),
    progress: Progress = lambda *_: None,
) -> list[Refilled]:
    """Make the streams again, with every fact at its sequence, and send what is not known done.

    It may be run again, and while hosts run: their relays stand still until their stream is whole.
    Raises RecoveryError, before anything is changed, for an outbox that has a gap.
    """
    chosen = chosen_plugins(plugins, names)
    async with Site.open(configuration, plugins) as site:
        for plugin in chosen:
            await require_whole(site.databases[plugin.name], plugin.name)
        streams, consumers = assets_of(plugins.values(), site.bus.replicas)
        await apply(site.deployer, streams, [])
        for plugin in chosen:
            await ensure_schedules(site.deployer, plugin)
        found = [await _recover(site, plugin.name, progress) for plugin in chosen]
        await apply(site.deployer, [], consumers)
        return found


async def require_whole(database: Database, plugin: str) -> int:
    """Return the last recorded sequence; raises RecoveryError unless all before it are recorded once."""
    row = await database.fetchrow(RECORDED)
    if row is None or not row["facts"]:
        return 0
    last: int = row["last"]
    if row["first"] != 1 or row["facts"] != last or row["places"] != last:
        raise RecoveryError(
            f"the outbox of {plugin} knows {row['facts']} facts at {row['places']} places from "
            f"{row['first']} to {last}: some are missing. Restore the back-up of this database first"
        )
    return last


async def _recover(site: Site, plugin: str, progress: Progress) -> Refilled:
    database = site.databases[plugin]
    async with site.speaking_as(plugin) as connection:
        refill = Refill(plugin, database, connection, progress)
        reader, seen = await site.farthest_reader(plugin)
        assumed = 0
        if not await refill.is_whole() or seen > refill.last:
            async with site.relay_lock(plugin):
                await site.forget_subscriptions(plugin)
                await refill.run()
                assumed = await refill.put_back_unnoted(reader, seen)
        await site.restore_subscriptions(plugin)
    again = await _send_again(site, plugin, with_copies=refill.published > 0)
    return Refilled(
        plugin=plugin,
        facts=refill.last,
        published=refill.published,
        assumed=assumed,
        sent_again=again,
    )


class Refill:
    """Publishes one plugin's recorded facts at their places. The relay's lock must be held."""

    def __init__(
        self,
        plugin: str,
        database: Database,
        connection: Connection,
        progress: Progress = lambda *_: None,
    ) -> None:
        self.last = 0
        """The sequence up to which the stream is known to be right."""
        self.published = 0
        self._plugin = plugin
        self._stream = event_stream(plugin)
        self._database = database
        self._connection = connection
        self._reader = BatchReader(connection, self._stream)
        self._publisher = FactPublisher(connection)
        self._progress = progress

    async def is_whole(self) -> bool:
        """Tell whether nothing is missing; raises RecoveryError when the stream holds other facts."""
        known: int = await self._database.fetchval(KNOWN_SEQUENCE)
        newest = await last_sequence(self._connection, self._stream)
        if newest > known:
            raise RecoveryError(
                f"{self._stream} ends at {newest}, and the outbox knows {known}: it is the database "
                f"that is behind. Run: realserv recover --from-streams {self._plugin}"
            )
        while self.last < newest:
            await self._verify()
        return self.last == known

    async def run(self) -> None:
        """Publish what is missing, each fact under the sequence before it; raises RecoveryError."""
        known: int = await self._database.fetchval(KNOWN_SEQUENCE)
        tries = 0
        try:
            while self.last < known:
                rows = await self._database.fetch(RECORDED_FACTS, after=self.last)
                before = self.last
                await self._publish(rows)
                self._progress(self._plugin, self.last, known)
                tries = 0 if self.last > before else tries + 1
                if tries == TRIES:
                    raise RecoveryError(
                        f"{self._stream} takes no fact at {self.last + 1}. Is anybody else writing?"
                    )
        finally:
            await self._publisher.close()

    async def put_back_unnoted(self, reader: str, seen: int) -> int:
        """Publish facts that others had seen before the outbox noted where they stood.

        The relay publishes in the order of ids, so that order is taken for theirs.
        """
        missing = seen - self.last
        if missing <= 0:
            return 0
        unsent = await self._database.fetch(UNSENT)
        rows = [row for row in unsent if row["kind"] == "fact"][:missing]
        if len(rows) < missing:
            raise RecoveryError(
                f"{reader} has seen fact {seen} of {self._plugin}, whose outbox ends at {self.last}: "
                f"the database of {self._plugin} is older than its stream was. Restore a newer one"
            )
        outcomes = await self._publisher.publish(rows, self.last)
        await self._publisher.close()
        stored = [outcome for outcome in outcomes if isinstance(outcome, Stored)]
        await self._database.execute(
            MARK_SENT,
            ids=[row["id"] for row in rows[: len(stored)]],
            times=[row["created_at"] for row in rows[: len(stored)]],
            seqs=[outcome.sequence for outcome in stored],
        )
        if len(stored) < missing:
            raise RecoveryError(
                f"{self._stream} took only {len(stored)} of {missing} facts; repeat"
            )
        self.last += missing
        self.published += missing
        return missing

    async def _publish(self, rows: Sequence[Any]) -> None:
        for row, outcome in zip(rows, await self._publisher.publish(rows, self.last), strict=True):
            if not isinstance(outcome, Stored) or outcome.sequence != row["stream_seq"]:
                await self._catch_up()
                return
            self.last = outcome.sequence
            self.published += 1

    async def _catch_up(self) -> None:
        """After a lost acknowledgement: look what was stored, and that it is what must stand there."""
        newest = await last_sequence(self._connection, self._stream)
        while self.last < newest:
            self.published += await self._verify()

    async def _verify(self) -> int:
        """Compare what stands next in the stream with the outbox; raises RecoveryError."""
        messages = await self._reader.read(self.last + 1, batch=BATCH)
        rows = await self._database.fetch(RECORDED_FACTS, after=self.last)
        recorded = {row["stream_seq"]: row["ce_id"] for row in rows}
        same = [message for message in messages if _is_recorded(message, recorded)]
        if not messages or len(same) < len(messages):
            raise RecoveryError(
                f"{self._stream} holds another fact at {self.last + len(same) + 1} than the outbox of "
                f"{self._plugin}: they are not of one history"
            )
        self.last = messages[-1].sequence
        return len(messages)


def _is_recorded(message: StoredMessage, recorded: Mapping[int, UUID]) -> bool:
    return recorded.get(message.sequence) == identity_of(message.headers)


async def _send_again(site: Site, plugin: str, *, with_copies: bool) -> int:
    """Hand to the relay once more what its receiver is not known to have done; returns how many."""
    database = site.databases[plugin]
    rows = await database.fetch(SENT_LATELY, with_copies=with_copies)
    count = 0
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        done = await _done_among(site, chunk)
        undone = [row for row in chunk if row["ce_id"] not in done]
        await database.execute(
            SEND_AGAIN,
            ids=[row["id"] for row in undone],
            times=[row["created_at"] for row in undone],
        )
        count += len(undone)
    return count


async def _done_among(site: Site, rows: Sequence[Any]) -> set[UUID]:
    done: set[UUID] = set()
    for receiver, database in site.databases.items():
        ids = [row["ce_id"] for row in rows if row["subject"].split(".")[1] == receiver]
        if ids:
            found = await database.fetch(DONE, ids=ids)
            done.update(row["message_id"] for row in found)
    return done
