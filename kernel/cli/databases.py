"""The databases of all installed plugins, opened for a while by an operator's command."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from kernel.cli.reach import POSTGRES_PORT, SMALL_POOL, require_addresses, require_listener
from kernel.config import Configuration
from kernel.database import Database, open_database


@asynccontextmanager
async def open_databases(
    configuration: Configuration, plugins: Iterable[str]
) -> AsyncIterator[Mapping[str, Database]]:
    """Open a plugin's database each; raises NotRunningError, DatabaseUnavailable."""
    require_addresses(configuration)
    async with AsyncExitStack() as stack:
        databases: dict[str, Database] = {}
        for name in plugins:
            address = configuration.plugin_database(name)
            if not databases:
                await require_listener(address, POSTGRES_PORT, "PostgreSQL")
            database = await open_database(address, SMALL_POOL, name="realserv-cli")
            stack.push_async_callback(database.close)
            databases[name] = database
        yield databases
