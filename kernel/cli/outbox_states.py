"""How far each plugin's outbox is published, and who publishes it."""

from datetime import datetime
from typing import Final

import msgspec

from bus.connection import Connection
from bus.jetstream import STREAM_NOT_FOUND, BatchReader, JetStreamError, last_sequence
from bus.streams import event_stream
from kernel.database import Database
from kernel.dead_letters import identity_of
from kernel.relay import KNOWN_SEQUENCE, LOCK_KEY
from kernel.sql import statement

TAIL: Final = 256
"""Facts after the last known one that are compared with the outbox."""

WAITING = statement(
    """
    SELECT count(*) FILTER (WHERE kind = 'fact') AS facts,
        count(*) FILTER (WHERE kind <> 'fact') AS others, min(created_at) AS oldest_at
    FROM kernel.outbox WHERE sent_at IS NULL
    """
)
HOLDER = statement(
    """
    SELECT a.pid, a.backend_start FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.classid::bigint = :high AND l.objid::bigint = :low
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    """
)
KNOWN_AMONG = statement(
    """
    SELECT count(DISTINCT ce_id) FROM kernel.outbox
    WHERE kind = 'fact' AND ce_id = ANY(cast(:ce_ids AS uuid[]))
    """
)


class OutboxState(msgspec.Struct, frozen=True, kw_only=True):
    """One plugin's outbox."""

    plugin: str
    facts_waiting: int
    others_waiting: int
    oldest_at: datetime | None
    """Since when the oldest row waits."""
    published: int
    """The sequence of the last fact that is known to be in the stream."""
    stream_ends_at: int | None
    """The sequence of the newest fact in the stream; None when there is no stream."""
    relay_since: datetime | None
    """Since when a relay holds the lock; None when none does."""
    fault: str
    """Why no relay can publish, or an empty text."""


async def outbox_state(bus: Connection, plugin: str, database: Database) -> OutboxState:
    """Look at one plugin's outbox, its stream and its relay's lock."""
    waiting = await database.fetchrow(WAITING)
    holder = await database.fetchrow(HOLDER, high=LOCK_KEY >> 32, low=LOCK_KEY & 0xFFFFFFFF)
    known = await database.fetchval(KNOWN_SEQUENCE)
    newest = await _newest(bus, plugin)
    return OutboxState(
        plugin=plugin,
        facts_waiting=waiting["facts"] if waiting else 0,
        others_waiting=waiting["others"] if waiting else 0,
        oldest_at=waiting["oldest_at"] if waiting else None,
        published=known,
        stream_ends_at=newest,
        relay_since=holder["backend_start"] if holder else None,
        fault=await _fault(bus, plugin, database, known, newest),
    )


async def _newest(bus: Connection, plugin: str) -> int | None:
    try:
        return await last_sequence(bus, event_stream(plugin))
    except JetStreamError as error:
        if error.code == STREAM_NOT_FOUND:
            return None
        raise


async def _fault(
    bus: Connection, plugin: str, database: Database, known: int, newest: int | None
) -> str:
    """Return what a relay would stand still for."""
    stream = event_stream(plugin)
    if newest is None:
        return f"{stream} does not exist. Run: realserv migrate"
    if newest < known:
        return f"{stream} ends at {newest}: its store was lost. Run: realserv recover --from-outbox"
    if newest > known:
        tail = await BatchReader(bus, stream).read(known + 1, batch=TAIL)
        ours = [identity for m in tail if (identity := identity_of(m.headers)) is not None]
        if await database.fetchval(KNOWN_AMONG, ce_ids=ours) < len(tail):
            return (
                f"{stream} holds facts that the outbox does not know: the database was restored to "
                "an earlier time. Run: realserv recover --from-streams"
            )
    return ""
