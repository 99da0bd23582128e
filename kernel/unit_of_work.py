"""One message, one transaction: state, outbox and the mark that the message was handled, or nothing."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import asyncpg

from bus.message import Command, Event, describe
from kernel.database import Database, DatabaseUnavailable, TransactionReader
from kernel.errors import Conflict, Invalid, ServiceError
from kernel.outbox import INSERT_ROWS, Cause, OutboxWriter, insert_arguments
from kernel.sql import statement

CLAIM_MESSAGE = statement(
    """
    INSERT INTO kernel.inbox (message_id, handler, body_hash) VALUES (:message_id, :handler, :body_hash)
    ON CONFLICT DO NOTHING
    """
)
STORED_REPLY = statement(
    """
    SELECT body_hash, reply, reply_version FROM kernel.inbox
    WHERE message_id = :message_id AND handler = :handler
    """
)
STORE_REPLY = statement(
    """
    UPDATE kernel.inbox SET reply = :reply, reply_version = :reply_version
    WHERE message_id = :message_id AND handler = :handler
    """
)
DROP_CLAIM = statement(
    "DELETE FROM kernel.inbox WHERE message_id = :message_id AND handler = :handler"
)
CLAIM_EVENT = statement(
    """
    UPDATE kernel.positions SET stream_seq = :stream_seq
    WHERE subscription = :subscription AND part = :part AND stream_seq < :stream_seq
    RETURNING EXISTS (
        SELECT FROM kernel.parked WHERE subscription = :subscription AND key = :key
    ) AS is_parked
    """
)
HAS_POSITION = statement(
    "SELECT FROM kernel.positions WHERE subscription = :subscription AND part = :part"
)


class AlreadyDone(Exception):  # noqa: N818  control flow of the kernel, no failure
    """The message was handled before; ``reply`` is what was answered then, as JSON text."""

    def __init__(self, reply: str | None = None, version: int | None = None) -> None:
        super().__init__("already done")
        self.reply = reply
        self.version = version


class KeyIsParked(Exception):  # noqa: N818
    """An earlier event of the same key is parked; this one must wait behind it."""


class IdentityMismatchError(Invalid):
    """The same Idempotency-Key or message id came with another body."""

    code = "kernel.identity_reused"
    title = "This idempotency key was used for another request"


class TransactionMisuseError(RuntimeError):
    """A handler used its transaction in a way the kernel does not allow: a defect."""


class Answer(NamedTuple):
    """What a handler's reply is stored as."""

    payload: str
    version: int | None


class Mark(Protocol):
    """How it is noted, in the handler's own transaction, that a message was handled."""

    async def claim(self, connection: asyncpg.Connection) -> None:
        """Begin: raises AlreadyDone when it was handled."""

    async def settle(self, connection: asyncpg.Connection, answer: Answer | None) -> None:
        """End: note it as handled."""


class NoMark:
    """For a message whose random identity nobody can repeat."""

    async def claim(self, connection: asyncpg.Connection) -> None:
        """Nothing was noted."""

    async def settle(self, connection: asyncpg.Connection, answer: Answer | None) -> None:
        """Nothing is noted."""


class InboxMark:
    """One row per message identity, with the reply that a repeat is answered, if anybody waits for one."""

    def __init__(
        self, message_id: UUID, handler: str, payload: bytes, *, keeps_reply: bool = True
    ) -> None:
        self.message_id = message_id
        self.handler = handler
        self._keeps_reply = keeps_reply
        self.body_hash = blake2b(payload, digest_size=16).digest()

    async def claim(self, connection: asyncpg.Connection) -> None:
        """Insert the row; a second handling waits here until the first has committed."""
        status = await connection.execute(
            CLAIM_MESSAGE.sql, self.message_id, self.handler, self.body_hash
        )
        if status.endswith(" 0"):
            row = await connection.fetchrow(STORED_REPLY.sql, self.message_id, self.handler)
            if row is None:
                raise BusyRows("the mark of this message was removed just now")
            self._recall(row)

    async def recall(self, database: Database) -> None:
        """Raise AlreadyDone when the message was handled before, outside any transaction."""
        row = await database.fetchrow(
            STORED_REPLY, message_id=self.message_id, handler=self.handler
        )
        if row is not None:
            self._recall(row)

    def _recall(self, row: Mapping[str, Any]) -> None:
        if row["body_hash"] != self.body_hash:
            raise IdentityMismatchError
        raise AlreadyDone(row["reply"], row["reply_version"])

    async def settle(self, connection: asyncpg.Connection, answer: Answer | None) -> None:
        """Store the reply; without one (a refusal that keeps its writes) forget the claim."""
        if answer is None:
            await connection.execute(DROP_CLAIM.sql, self.message_id, self.handler)
            return
        if not self._keeps_reply:
            return
        arguments = STORE_REPLY.arguments(
            {
                "reply": answer.payload,
                "reply_version": answer.version,
                "message_id": self.message_id,
                "handler": self.handler,
            }
        )
        await connection.execute(STORE_REPLY.sql, *arguments)


class EventMark:
    """The position of one partition of a subscription, moved past the event."""

    def __init__(self, subscription: str, part: int, stream_seq: int, key: str) -> None:
        self.subscription = subscription
        self.part = part
        self.stream_seq = stream_seq
        self.key = key

    async def claim(self, connection: asyncpg.Connection) -> None:
        """Move the position; raises AlreadyDone behind it, KeyIsParked when the key waits."""
        arguments = CLAIM_EVENT.arguments(
            {
                "stream_seq": self.stream_seq,
                "subscription": self.subscription,
                "part": self.part,
                "key": self.key,
            }
        )
        row = await connection.fetchrow(CLAIM_EVENT.sql, *arguments)
        if row is None:
            if await connection.fetchrow(HAS_POSITION.sql, self.subscription, self.part) is None:
                raise TransactionMisuseError(f"{self.subscription}/{self.part} has no position")
            raise AlreadyDone
        if row["is_parked"]:
            raise KeyIsParked

    async def settle(self, connection: asyncpg.Connection, answer: Answer | None) -> None:
        """The position moved with the claim."""


class Scope(NamedTuple):
    """What the plugin may say: declared events and commands, and which of them are its effects."""

    plugin: str
    emits: frozenset[type[Event]]
    tells: frozenset[type[Command[Any]]]
    effects: frozenset[type[Command[Any]]]


class UndeclaredMessageError(RuntimeError):
    """A handler says something that its plugin's declaration does not name: a defect."""


class UnitOfWork(TransactionReader):
    """The ``Tx`` of one handling. It is finished by the kernel when the handler has returned."""

    def __init__(self, connection: asyncpg.Connection, scope: Scope, writer: OutboxWriter) -> None:
        super().__init__(connection)
        self._scope = scope
        self._writer = writer
        self.is_open = True
        self.refusal: ServiceError | None = None

    def emit(self, event: Event, *, version: int | None = None) -> None:
        """Publish a fact with this transaction."""
        if type(event) not in self._scope.emits:
            raise UndeclaredMessageError(
                f"{self._scope.plugin} does not emit {type(event).__name__}"
            )
        self._writer.emit(event, version)

    def tell(self, command: Command[Any]) -> None:
        """Have a command done by its owner, durably."""
        kind = type(command)
        if kind in self._scope.effects:
            self._writer.tell(command, is_intent=True)
        elif kind in self._scope.tells or describe(kind).owner == self._scope.plugin:
            self._writer.tell(command)
        else:
            raise UndeclaredMessageError(f"{self._scope.plugin} does not tell {kind.__name__}")

    def later(self, command: Command[Any], *, at: datetime, id: str) -> None:  # noqa: A002
        """Have an own command done at a time."""
        if describe(type(command)).owner != self._scope.plugin:
            raise UndeclaredMessageError(
                f"{type(command).__name__} is not {self._scope.plugin}'s own"
            )
        self._writer.later(command, at, id)

    def cancel(self, id: str) -> None:  # noqa: A002
        """Cancel a timer, best effort."""
        self._writer.cancel(self._scope.plugin, id)

    def refuse(self, error: ServiceError) -> None:
        """Commit what was written and answer this error; no reply is stored for a repeat."""
        self.refusal = error

    async def finish(self, mark: Mark, answer: Answer | None) -> None:
        """Write mark and outbox, and commit."""
        await mark.settle(self.connection, answer)
        if self._writer.rows:
            await self.connection.execute(INSERT_ROWS.sql, *insert_arguments(self._writer.rows))
        if await self.connection.execute("COMMIT") != "COMMIT":
            raise TransactionMisuseError("a statement failed before, so nothing was committed")

    @property
    def has_messages(self) -> bool:
        """Whether the relay has something to do."""
        return bool(self._writer.rows)


class Handling:
    """One run of one handler: at most one transaction, finished or rolled back at the end."""

    def __init__(
        self,
        database: Database,
        scope: Scope,
        cause: Cause,
        mark: Mark,
        now: datetime,
        wake: Callable[[], None],
    ) -> None:
        self._database = database
        self._scope = scope
        self._mark = mark
        self._wake = wake
        self._writer = OutboxWriter(cause, now)
        self._lease: Any = None
        self._failure: BaseException | None = None
        self.work: UnitOfWork | None = None

    @property
    def is_open(self) -> bool:
        """Whether a transaction stands open, be it that its block has ended."""
        return self.work is not None

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[UnitOfWork]:
        """Open the one transaction; raises AlreadyDone when the message was handled before.

        What is raised in it rolls it back, even when the handler catches it further out.
        """
        try:
            work = await self._begin()
            try:
                yield work
            finally:
                work.is_open = False
        except BaseException as error:
            self._failure = error
            raise

    async def _begin(self) -> UnitOfWork:
        if self.work is not None:
            raise TransactionMisuseError("a handler has one transaction")
        lease = self._database.connection()
        connection = await lease.__aenter__()
        self._lease = lease
        self.work = UnitOfWork(connection, self._scope, self._writer)
        await connection.execute("BEGIN")
        await self._mark.claim(connection)
        return self.work

    async def finish(self, answer: Answer | None) -> None:
        """Commit; without a transaction of the handler's own, one is opened for the mark.

        Raises the refusal that the handler asked for, and what broke its transaction.
        """
        if self._failure is not None:
            raise self._failure
        if self.work is None:
            if isinstance(self._mark, NoMark):
                return
            await self._begin()
        work = self.work
        if work is None:
            raise TransactionMisuseError("the transaction was lost")
        await work.finish(self._mark, None if work.refusal else answer)
        self.work = None
        await self._give_back()
        if work.has_messages:
            self._wake()
        if work.refusal is not None:
            raise work.refusal

    async def abandon(self) -> None:
        """Roll back whatever is open; for every way out but ``finish``."""
        work, self.work = self.work, None
        try:
            if work is not None and not work.connection.is_closed():
                await work.connection.execute("ROLLBACK")
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            if work is not None:
                work.connection.terminate()
        finally:
            await self._give_back()

    async def _give_back(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.__aexit__(None, None, None)


def translate_database_error(error: BaseException) -> ServiceError | None:
    """Return what a database error means to a caller, or None when it is a defect of ours."""
    if isinstance(
        error,
        asyncpg.PostgresConnectionError
        | asyncpg.InterfaceError
        | asyncpg.OperatorInterventionError
        | ConnectionError
        | TimeoutError,
    ):
        return DatabaseUnavailable()
    if isinstance(error, asyncpg.SerializationError | asyncpg.DeadlockDetectedError):
        return BusyRows()
    return None


class BusyRows(Conflict):
    """Two transactions met on the same rows; the same request will do."""

    code = "kernel.busy"
    status = 503
    retryable = True
    title = "Somebody else is changing the same thing"
