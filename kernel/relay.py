"""The relay: publishes a plugin's outbox, facts once and in order, the rest at least once.

One relay per plugin works at a time: it holds an advisory lock on a session that PostgreSQL ends
after 5 s of silence, so that a stopped process loses it. Even two of them could not double or
reorder a fact: each publish names the sequence and the fact that it must follow, and the server
refuses the second.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import asyncpg
import msgspec
import nats.errors
import structlog

from bus.connection import Connection
from bus.errors import DeadlineError, DisconnectedError
from bus.jetstream import BatchReader, JetStreamError, Stored, last_sequence, publish, stored
from bus.jetstream import request as jetstream_request
from bus.streams import event_stream, work_stream
from kernel.database import Database
from kernel.dead_letters import identity_of
from kernel.sql import statement
from kernel.telemetry import Telemetry

log = structlog.get_logger("kernel.relay")

LOCK_KEY: Final = 0x52454C4159
BATCH: Final = 256
POLL_SECONDS: Final = 0.5
RETRY_SECONDS: Final = 1.0
ACK_SECONDS: Final = 3.0
HOUSEKEEPING_SECONDS: Final = 3600.0

UNSENT = statement(
    """
    (SELECT id, created_at, kind, ce_id, subject, headers, payload FROM kernel.outbox
     WHERE sent_at IS NULL AND kind = 'fact' ORDER BY id LIMIT 256)
    UNION ALL
    (SELECT id, created_at, kind, ce_id, subject, headers, payload FROM kernel.outbox
     WHERE sent_at IS NULL AND kind <> 'fact' ORDER BY id LIMIT 256)
    ORDER BY id
    """
)
"""Facts and others each up to a batch, so that what cannot be sent of one holds up none of the other."""
MARK_SENT = statement(
    """
    WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true) AS setting)
    UPDATE kernel.outbox AS o SET sent_at = now(), stream_seq = sent.seq
    FROM relaxed, unnest(
        cast(:ids AS bigint[]), cast(:times AS timestamptz[]), cast(:seqs AS bigint[])
    ) AS sent (id, created_at, seq)
    WHERE o.id = sent.id AND o.created_at = sent.created_at
    """
)
"""Marks need not wait for the disk: one that a power cut takes is found again in the stream, or by the inbox."""
MARK_FOUND = statement(
    """
    UPDATE kernel.outbox AS o SET sent_at = coalesce(o.sent_at, now()), stream_seq = found.seq
    FROM unnest(cast(:ce_ids AS uuid[]), cast(:seqs AS bigint[])) AS found (ce_id, seq)
    WHERE o.ce_id = found.ce_id AND o.kind = 'fact' RETURNING o.ce_id
    """
)
KNOWN_SEQUENCE = statement("SELECT coalesce(max(stream_seq), 0) FROM kernel.outbox")
ENSURE_PARTITIONS = statement("SELECT kernel.ensure_partitions()")
FORGET_SENT = statement(
    """
    DELETE FROM kernel.outbox
    WHERE kind <> 'fact' AND sent_at IS NOT NULL AND created_at < now() - interval '35 days'
    """
)
FORGET_HANDLED = statement("DELETE FROM kernel.inbox WHERE created_at < now() - interval '35 days'")


class StreamMismatchError(RuntimeError):
    """The stream of facts and the outbox are not of one history. The message names the way out."""


class Relay:
    """Publishes the outbox of one plugin from this process, when it is this process's turn."""

    def __init__(
        self,
        plugin: str,
        database: Database,
        url: str,
        connection: Connection,
        telemetry: Telemetry,
    ) -> None:
        self.plugin = plugin
        self.fault: str | None = None
        """Why the relay stands still, when only an operator can help."""
        self.is_leader = False
        self._database = database
        self._url = url
        self._connection = connection
        self._telemetry = telemetry
        self._woken = asyncio.Event()
        self._stopping = False
        self._stop_asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._bell: Any = None
        self._last = 0
        self._is_certain = False
        self._reader = BatchReader(connection, event_stream(plugin))
        self._publisher = FactPublisher(connection)

    async def start(self) -> None:
        """Begin to contend for the lock, and publish while it is held."""
        self._bell = await self._connection.client.subscribe(f"wake.{self.plugin}", cb=self._rung)
        self._connection.on_reconnect(self._doubt)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Publish what is committed so far, then let go of the lock."""
        self._connection.forget(self._doubt)
        self._stopping = True
        self._stop_asked.set()
        self._woken.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=5)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._bell is not None and self._connection.is_connected:
            await self._bell.unsubscribe()
        await self._publisher.close()

    def wake(self) -> None:
        """Something was committed: publish it now, here or wherever the lock is held."""
        if self.is_leader:
            self._woken.set()
        elif self._connection.is_connected:
            task = asyncio.get_running_loop().create_task(self._ring())
            task.add_done_callback(_note_failure)

    def _doubt(self) -> None:
        """The server may have come back without its store: compare before anything is published."""
        self._is_certain = False
        self._woken.set()

    async def _ring(self) -> None:
        await self._connection.client.publish(f"wake.{self.plugin}", b"")

    async def _rung(self, message: Any) -> None:
        self._woken.set()

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._lead()
            except StreamMismatchError as error:
                self.fault = str(error)
                log.critical("relay_stands_still", plugin=self.plugin, reason=self.fault)
            except (
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                nats.errors.Error,
                JetStreamError,
                DeadlineError,
                DisconnectedError,
            ) as error:
                log.warning("relay_interrupted", plugin=self.plugin, error=repr(error))
            except Exception:
                log.exception("relay_broke", plugin=self.plugin)
            finally:
                self.is_leader = False
            await self._pause(RETRY_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until the stop: a relay that does not lead holds nobody up."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop_asked.wait()

    async def _lead(self) -> None:
        session = await asyncpg.connect(
            self._url,
            timeout=5,
            command_timeout=10,
            server_settings={
                "application_name": f"relay-{self.plugin}",
                "idle_session_timeout": "5s",
                "tcp_user_timeout": "10s",
            },
        )
        try:
            while not await session.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_KEY):
                await self._pause(RETRY_SECONDS)
                if self._stopping:
                    return
            await self._catch_up()
            self.fault = None
            self.is_leader = True
            await self._publish_until_stopped(session)
        finally:
            self.is_leader = False
            await session.close(timeout=2)

    async def _publish_until_stopped(self, session: asyncpg.Connection) -> None:
        loop = asyncio.get_running_loop()
        beat_at = tidy_at = loop.time()
        while True:
            self._woken.clear()
            if not self._is_certain:
                await self._catch_up()
            published = await self._publish_batch()
            if loop.time() >= beat_at:
                await session.fetchval("SELECT 1")
                beat_at = loop.time() + 1.0
            if loop.time() >= tidy_at:
                await self._tidy()
                tidy_at = loop.time() + HOUSEKEEPING_SECONDS
            if published == BATCH:
                continue
            if self._stopping:
                return
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def _tidy(self) -> None:
        await self._database.fetchval(ENSURE_PARTITIONS)
        await self._database.execute(FORGET_SENT)
        await self._database.execute(FORGET_HANDLED)

    async def _publish_batch(self) -> int:
        """Publish what waits; returns the larger count of facts and of others that were found."""
        rows = await self._database.fetch(UNSENT)
        facts = [row for row in rows if row["kind"] == "fact"]
        others = [row for row in rows if row["kind"] != "fact"]
        self._telemetry.outbox_waiting.labels(self.plugin).set(len(facts) + len(others))
        if not facts and not others:
            return 0
        sent_facts, sent_others = await asyncio.gather(
            self._publish_facts(facts), self._publish_others(others)
        )
        sent = sent_facts + sent_others
        if sent:
            await self._database.execute(
                MARK_SENT,
                ids=[row["id"] for row, _ in sent],
                times=[row["created_at"] for row, _ in sent],
                seqs=[seq for _, seq in sent],
            )
            for row, _ in sent:
                self._telemetry.outbox_sent.labels(self.plugin, row["kind"]).inc()
        if len(sent_facts) < len(facts):
            await self._catch_up()
        if len(sent_others) < len(others):
            await asyncio.sleep(RETRY_SECONDS / 2)
        return max(len(facts), len(others))

    async def _publish_facts(self, rows: Sequence[Any]) -> list[tuple[Any, int | None]]:
        """Publish in order, each naming the sequence before it; stop counting at the first refusal."""
        sent: list[tuple[Any, int | None]] = []
        if not rows:
            return sent
        for row, outcome in zip(rows, await self._publisher.publish(rows, self._last), strict=True):
            if isinstance(outcome, Stored) and outcome.is_duplicate:
                sent.append((row, outcome.sequence))
                break
            if not isinstance(outcome, Stored):
                log.warning("fact_refused", plugin=self.plugin, reason=repr(outcome))
                break
            self._last = outcome.sequence
            sent.append((row, outcome.sequence))
        return sent

    async def _publish_others(self, rows: Sequence[Any]) -> list[tuple[Any, int | None]]:
        """Publish durable commands and timers; the server drops repeats of an id for two minutes.

        Of several settings and cancellings of one timer only the last one is carried out.
        """
        last = {row["subject"]: row["id"] for row in rows if row["kind"] in ("timer", "cancel")}
        stale = [row for row in rows if last.get(row["subject"], row["id"]) != row["id"]]
        wanted = [row for row in rows if last.get(row["subject"], row["id"]) == row["id"]]
        outcomes = await asyncio.gather(
            *(self._publish_one(row) for row in wanted), return_exceptions=True
        )
        sent: list[tuple[Any, int | None]] = []
        unsent_subjects = set()
        for row, outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                log.warning("publish_failed", subject=row["subject"], error=repr(outcome))
                unsent_subjects.add(row["subject"])
            else:
                sent.append((row, None))
        sent += [(row, None) for row in stale if row["subject"] not in unsent_subjects]
        return sent

    async def _publish_one(self, row: Any) -> None:
        if row["kind"] == "cancel":
            await self._cancel(row)
            return
        headers = {**row["headers"], "Nats-Msg-Id": str(row["ce_id"])}
        await publish(
            self._connection, row["subject"], row["payload"].encode(), headers, timeout=ACK_SECONDS
        )

    async def _cancel(self, row: Any) -> None:
        stream = work_stream(self.plugin)
        await jetstream_request(
            self._connection, f"STREAM.PURGE.{stream}", {"filter": row["subject"]}
        )

    async def _catch_up(self) -> None:
        """Learn what the stream already holds and mark it, so that nothing is published twice."""
        self._is_certain = True
        known: int = await self._database.fetchval(KNOWN_SEQUENCE)
        newest = await last_sequence(self._connection, event_stream(self.plugin))
        if newest < known:
            raise StreamMismatchError(
                f"{event_stream(self.plugin)} ends at {newest}, the outbox knows {known}: the stream "
                f"store was lost. Run: realserv recover --from-outbox {self.plugin}"
            )
        while known < newest:
            messages = await self._reader.read(known + 1)
            if not messages:
                raise DeadlineError("the stream's tail cannot be read yet")
            found = {identity_of(message.headers): message.sequence for message in messages}
            ours = [identity for identity in found if identity is not None]
            marked = await self._database.fetch(
                MARK_FOUND, ce_ids=ours, seqs=[found[identity] for identity in ours]
            )
            unknown = len(messages) - len({row["ce_id"] for row in marked})
            if unknown:
                raise StreamMismatchError(
                    f"{event_stream(self.plugin)} holds {unknown} facts that the outbox does not "
                    "know: the database was restored to an earlier time. "
                    f"Run: realserv recover --from-streams {self.plugin}"
                )
            known = messages[-1].sequence
        self._last = newest


class FactPublisher:
    """Publishes a run of facts without waiting for each acknowledgement before the next publish."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._prefix = ""
        self._subscription: Any = None
        self._count = 0

    async def publish(self, rows: Sequence[Any], last: int) -> list[Stored | BaseException]:
        """Return for each row where it stands, or why it is not known to be stored."""
        await self._listen()
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[bytes]] = []
        tokens: list[str] = []
        for offset, row in enumerate(rows):
            self._count += 1
            token = str(self._count)
            future: asyncio.Future[bytes] = loop.create_future()
            self._waiting[token] = future
            futures.append(future)
            tokens.append(token)
            await self._connection.client.publish(
                row["subject"],
                row["payload"].encode(),
                reply=f"{self._prefix}.{token}",
                headers={**row["headers"], **_place(rows, offset, last)},
            )
        await asyncio.wait(futures, timeout=ACK_SECONDS)
        for token in tokens:
            self._waiting.pop(token, None)
        return [_outcome(future) for future in futures]

    async def close(self) -> None:
        """Listen no more."""
        if self._subscription is not None and self._connection.is_connected:
            await self._subscription.unsubscribe()
        self._subscription = None

    async def _listen(self) -> None:
        if self._subscription is None:
            self._prefix = self._connection.client.new_inbox()
            self._subscription = await self._connection.client.subscribe(
                f"{self._prefix}.*", cb=self._acknowledged
            )

    async def _acknowledged(self, message: Any) -> None:
        future = self._waiting.get(message.subject.rpartition(".")[2])
        if future is not None and not future.done():
            future.set_result(message.data)


def _place(rows: Sequence[Any], offset: int, last: int) -> dict[str, str]:
    """Return the headers that let a fact be stored at its place only: after this very fact, at this number.

    The number alone would let two relays whose lists differ by one row store one fact twice.
    """
    headers = {
        "Nats-Msg-Id": str(rows[offset]["ce_id"]),
        "Nats-Expected-Last-Sequence": str(last + offset),
    }
    if offset:
        headers["Nats-Expected-Last-Msg-Id"] = str(rows[offset - 1]["ce_id"])
    return headers


def _outcome(future: "asyncio.Future[bytes]") -> Stored | BaseException:
    if not future.done():
        future.cancel()
        return DeadlineError("no acknowledgement")
    payload = future.result()
    if not payload:
        return DisconnectedError("no stream takes the subject")
    try:
        return stored(payload)
    except (JetStreamError, msgspec.DecodeError) as error:
        return error


def _note_failure(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.info("wake_lost", error=repr(task.exception()))
