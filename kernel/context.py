"""What a handler is given: who acts, how long there is, and the ports to data and bus."""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import UUID

from bus.actor import Actor
from bus.message import Command, Event, Query
from kernel.errors import ServiceError
from kernel.ids import derived_uuid, time_of, to_wire
from kernel.settings import Settings
from kernel.sql import Statement

R = TypeVar("R")
S = TypeVar("S", bound=Settings)
T = TypeVar("T")

Row = Mapping[str, Any]


class Write(NamedTuple):
    """One write of a projection: a statement and its parameters."""

    statement: Statement
    params: Mapping[str, Any]


Projected = Sequence[Write]


class Reader(Protocol):
    """Reads of the plugin's own database."""

    async def fetch(self, statement: Statement, **params: Any) -> Sequence[Row]:
        """Return all rows."""

    async def fetchrow(self, statement: Statement, **params: Any) -> Row | None:
        """Return the first row, or None."""

    async def fetchval(self, statement: Statement, **params: Any) -> Any:
        """Return the first column of the first row, or None."""


class Tx(Reader, Protocol):
    """The one transaction of a handler. It commits when the handler returns, with outbox and reply."""

    async def execute(self, statement: Statement, **params: Any) -> int:
        """Run a write; returns the number of rows that it touched."""

    async def executemany(self, statement: Statement, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run one write for many rows in one round trip."""

    def emit(self, event: Event, *, version: int | None = None) -> None:
        """Publish a fact with this transaction; ``version`` is the aggregate's after it."""

    def tell(self, command: Command[Any]) -> None:
        """Have a command done by its owner, durably, at least once and in no order."""

    def later(self, command: Command[Any], *, at: datetime, id: str) -> None:  # noqa: A002  the timer's own name
        """Have a command of this plugin done at a time; ``id`` replaces and cancels it."""

    def cancel(self, id: str) -> None:  # noqa: A002
        """Cancel a timer, best effort: its handler must look at the state."""

    def refuse(self, error: ServiceError) -> None:
        """Commit what was written, but answer this error; nothing is stored for a repeat."""


class Runtime(Protocol):
    """The ports behind a context; the kernel has one, the test kit another."""

    def settings(self) -> Settings:
        """The plugin's settings."""

    def resource(self, kind: type[T]) -> T:
        """A resource that the plugin provides."""

    @property
    def reader(self) -> Reader:
        """Reads of the plugin's database outside a transaction."""

    def ask(
        self, ctx: "Context", message: Any, ordinal: int, timeout: float | None
    ) -> Awaitable[Any]:
        """Send a request and wait for its reply."""

    def transaction(self, ctx: "Context") -> AbstractAsyncContextManager[Tx]:
        """Open the handler's transaction."""

    def now(self) -> datetime:
        """The clock."""


class Context:
    """The surroundings of one handling of one message."""

    def __init__(
        self,
        runtime: Runtime,
        *,
        handler: str,
        message_id: UUID,
        actor: Actor,
        correlation_id: str,
        causation_id: str = "",
        deadline: float | None = None,
        token: str = "",
    ) -> None:
        self._runtime = runtime
        self.handler = handler
        self.message_id = message_id
        self.actor = actor
        self.correlation_id = correlation_id
        self.causation_id = causation_id
        self.deadline = deadline
        """When the caller stops waiting, on the event loop's clock; None for durable work."""
        self.token = token
        self._ordinal = 0
        self._asks = 0

    def now(self) -> datetime:
        """The time, aware UTC."""
        return self._runtime.now()

    def new_uuid(self) -> UUID:
        """Make the next id that derives from this message; a second run makes the same."""
        self._ordinal += 1
        return derived_uuid(
            time_of(self.message_id), str(self.message_id), self.handler, str(self._ordinal)
        )

    def new_id(self, prefix: str) -> str:
        """Make the next prefixed id that derives from this message."""
        return to_wire(prefix, self.new_uuid())

    def settings(self, kind: type[S]) -> S:
        """The plugin's settings."""
        found = self._runtime.settings()
        if not isinstance(found, kind):
            raise TypeError(f"the settings are {type(found).__name__}, not {kind.__name__}")
        return found

    def use(self, kind: type[T]) -> T:
        """A resource that the plugin provides."""
        return self._runtime.resource(kind)

    @property
    def db(self) -> Reader:
        """Reads of the plugin's own database, outside a transaction."""
        return self._runtime.reader

    def ask(self, message: Query[R] | Command[R], *, timeout: float | None = None) -> Awaitable[R]:
        """Ask another plugin and wait. Only what is declared, and not while a transaction is open.

        A command's identity derives from this message and the order of the calls to ``ask``, so a
        second run repeats the first run's commands rather than adding to them.
        """
        self._asks += 1
        return self._runtime.ask(self, message, self._asks, timeout)

    def transaction(self) -> AbstractAsyncContextManager[Tx]:
        """Open the one transaction of this handling."""
        return self._runtime.transaction(self)


class EffectContext(Context):
    """What an effect is given besides: the intent's identity at the provider."""

    is_repeat: bool = False

    @property
    def idempotency_key(self) -> str:
        """The key under which the provider knows this intent: 36 characters, the same on every try."""
        return str(self.message_id)

    def transaction(self) -> AbstractAsyncContextManager[Tx]:
        """An effect writes no business state."""
        raise TypeError("an effect opens no transaction; return the outcome as a command")


__all__ = ["Context", "EffectContext", "Projected", "Reader", "Row", "Tx", "Write"]
