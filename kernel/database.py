"""One execution path to PostgreSQL: asyncpg runs statements that were compiled at import.

A database holds a plugin's own tables in schema ``public`` and the kernel's in schema ``kernel``.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from kernel.context import Row
from kernel.errors import Unavailable
from kernel.settings import Settings
from kernel.sql import Statement

APPLICATION = "realserv"
_tracer = trace.get_tracer("realserv")


class DatabaseUnavailable(Unavailable):
    """The plugin's database cannot be reached, or has no connection to give in time."""

    code = "kernel.database_unavailable"
    title = "The database is not available now"


class PoolSettings(Settings, frozen=True, kw_only=True):
    """How a plugin's host keeps connections to its database."""

    min_size: int = 1
    """Connections kept open."""
    max_size: int = 5
    """Connections at the most."""
    connect_timeout: float = 2.0
    """Seconds to open a connection."""
    acquire_timeout: float = 10.0
    """Seconds to wait for a free connection."""
    idle_lifetime: float = 30.0
    """Seconds after which an idle connection is closed."""
    statement_timeout: float = 30.0
    """Seconds a statement may take."""


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg ships no types
    """A pooled connection that needs no clean-up round trip: nothing of ours leaves session state."""

    def get_reset_query(self) -> str:
        return ""


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda data: msgspec.json.decode(data[1:]),
        format="binary",
    )


async def run_statement(
    method: Callable[..., Awaitable[Any]], statement: Statement, params: Mapping[str, Any]
) -> Any:
    """Run a statement on a connection, within a span when the trace is recorded."""
    arguments = statement.arguments(params)
    if not trace.get_current_span().is_recording():
        return await method(statement.sql, *arguments)
    attributes = {"db.system.name": "postgresql", "db.query.text": statement.sql[:1000]}
    with _tracer.start_as_current_span("sql", kind=SpanKind.CLIENT, attributes=attributes):
        return await method(statement.sql, *arguments)


class Database:
    """A pool of connections to one plugin's database; also the reads outside a transaction."""

    def __init__(self, pool: asyncpg.Pool, settings: PoolSettings) -> None:
        self.pool = pool
        self._settings = settings

    async def fetch(self, statement: Statement, **params: Any) -> Sequence[Row]:
        """Return all rows."""
        async with self.connection() as connection:
            rows: Sequence[Row] = await run_statement(connection.fetch, statement, params)
            return rows

    async def fetchrow(self, statement: Statement, **params: Any) -> Row | None:
        """Return the first row, or None."""
        async with self.connection() as connection:
            row: Row | None = await run_statement(connection.fetchrow, statement, params)
            return row

    async def fetchval(self, statement: Statement, **params: Any) -> Any:
        """Return the first column of the first row, or None."""
        async with self.connection() as connection:
            return await run_statement(connection.fetchval, statement, params)

    async def execute(self, statement: Statement, **params: Any) -> int:
        """Run one write in a transaction of its own; for the kernel's bookkeeping."""
        async with self.connection() as connection:
            return affected(await run_statement(connection.execute, statement, params))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Borrow a connection; raises DatabaseUnavailable when there is none to be had."""
        try:
            connection = await self.pool.acquire(timeout=self._settings.acquire_timeout)
        except (OSError, TimeoutError, asyncpg.PostgresConnectionError) as error:
            raise DatabaseUnavailable from error
        except (asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError) as error:
            raise DatabaseUnavailable from error
        try:
            yield connection
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError) as error:
            raise DatabaseUnavailable from error
        finally:
            await self.pool.release(connection)

    async def close(self) -> None:
        """Close all connections, waiting for what they do."""
        await self.pool.close()


async def open_database(
    url: str, settings: PoolSettings, *, name: str = APPLICATION, search_path: str = "public"
) -> Database:
    """Open a pool; raises DatabaseUnavailable when the server cannot be reached."""
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=settings.min_size,
            max_size=settings.max_size,
            timeout=settings.connect_timeout,
            command_timeout=settings.statement_timeout,
            max_inactive_connection_lifetime=settings.idle_lifetime,
            connection_class=_Connection,
            init=_prepare,
            server_settings={
                "application_name": name,
                "search_path": search_path,
                "timezone": "UTC",
                # Statements are few and prepared; planning one anew for each array costs more than
                # it gains (a quote of two offers: 3 000/s, with this 7 000/s).
                "plan_cache_mode": "force_generic_plan",
            },
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DatabaseUnavailable(f"The database cannot be opened: {error}") from error
    return Database(pool, settings)


class TransactionReader:
    """Reads and writes on the connection of an open transaction."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def fetch(self, statement: Statement, **params: Any) -> Sequence[Row]:
        """Return all rows."""
        rows: Sequence[Row] = await run_statement(self.connection.fetch, statement, params)
        return rows

    async def fetchrow(self, statement: Statement, **params: Any) -> Row | None:
        """Return the first row, or None."""
        row: Row | None = await run_statement(self.connection.fetchrow, statement, params)
        return row

    async def fetchval(self, statement: Statement, **params: Any) -> Any:
        """Return the first column of the first row, or None."""
        return await run_statement(self.connection.fetchval, statement, params)

    async def execute(self, statement: Statement, **params: Any) -> int:
        """Run a write; returns the number of rows that it touched."""
        return affected(await run_statement(self.connection.execute, statement, params))

    async def executemany(self, statement: Statement, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run one write for many rows in one round trip."""
        await self.connection.executemany(statement.sql, [statement.arguments(row) for row in rows])


def affected(status: str) -> int:
    """Read the number of rows from PostgreSQL's command tag, such as ``UPDATE 3``."""
    last = status.rpartition(" ")[2]
    return int(last) if last.isdigit() else 0
