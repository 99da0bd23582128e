"""Breaks a handling at any of its statements, as a crash, a cancellation or a lost connection would.

A handler survives when, wherever it breaks, all of its writes stand or none, and a second delivery
ends as the first would have::

    for place in range(1, 9):
        with harness.breaking(place, BREAKS["loses its connection after"]):
            ...
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import asyncpg

from kernel.database import Database, PoolSettings

Step = Callable[[Any], Awaitable[None]]
STATEMENTS: Final = ("execute", "fetch", "fetchrow", "fetchval", "executemany")


class Break(NamedTuple):
    """What happens right before a statement is sent, or right after it was done."""

    before: Step | None
    after: Step | None


class BrokenHereError(RuntimeError):
    """The break of a test."""


class BreakingDatabase(Database):
    """A database that breaks at its n-th statement, counted from 1; BEGIN and COMMIT count."""

    def __init__(self, database: Database, place: int, how: Break) -> None:
        super().__init__(database.pool, PoolSettings())
        self.place = place
        self.how = how
        self.count = 0

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Borrow a connection that breaks."""
        async with super().connection() as connection:
            yield _BreakingConnection(connection, self)


class _BreakingConnection:
    """Breaks at one statement, and is an asyncpg connection otherwise."""

    def __init__(self, connection: Any, owner: BreakingDatabase) -> None:
        self._connection = connection
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if name not in STATEMENTS:
            return found

        async def run(*arguments: Any) -> Any:
            owner = self._owner
            owner.count += 1
            is_here = owner.count == owner.place
            if is_here and owner.how.before is not None:
                await owner.how.before(self._connection)
            result = await found(*arguments)
            if is_here and owner.how.after is not None:
                await owner.how.after(self._connection)
            return result

        return run


async def _raise(connection: Any) -> None:
    raise BrokenHereError("broken here")


async def _cancel(connection: Any) -> None:
    task = asyncio.current_task()
    if task is None:
        raise BrokenHereError("there is no task to cancel")
    task.cancel()
    await asyncio.sleep(0)


async def _lose(connection: Any) -> None:
    connection.terminate()


async def _lose_the_answer(connection: Any) -> None:
    connection.terminate()
    raise asyncpg.ConnectionDoesNotExistError("the answer was lost")


BREAKS: Final = {
    "raises before": Break(_raise, None),
    "raises after": Break(None, _raise),
    "is cancelled before": Break(_cancel, None),
    "is cancelled after": Break(None, _cancel),
    "loses its connection before": Break(_lose, None),
    "loses its connection after": Break(None, _lose_the_answer),
}
"""All ways to break, by name."""
