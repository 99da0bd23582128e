"""Real servers for tests: started once for a session, thrown away after it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path
from uuid import uuid4

from kernel.embedded.stack import EmbeddedStack


def plugin_names() -> tuple[str, ...]:
    """Return the names of all installed plugins, without importing one."""
    return tuple(sorted({entry.name for entry in entry_points(group="realserv.plugins")}))


@asynccontextmanager
async def running_stack(
    folder: Path, *, durable: bool = False, nats_users: Sequence[str] | None = None
) -> AsyncIterator[EmbeddedStack]:
    """Run PostgreSQL, NATS and Redis under the folder, on free ports, with a NATS user per plugin.

    Unless ``durable``, nothing is synced to disk: fast, and all the same as long as the machine stays up.
    """
    users = ("gateway", "kernel", *plugin_names()) if nats_users is None else nats_users
    async with EmbeddedStack(folder, nats_users=users, durable=durable) as stack:
        yield stack


@asynccontextmanager
async def fresh_database(stack: EmbeddedStack, *, prefix: str = "test") -> AsyncIterator[str]:
    """Make an empty database of a name of its own, yield its address, and drop it at the end."""
    name = f"{prefix}_{uuid4().hex}"
    await stack.create_database(name)
    try:
        yield stack.postgres_url(name)
    finally:
        await stack.drop_database(name)
