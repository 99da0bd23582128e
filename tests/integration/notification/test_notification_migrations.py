"""The version files of notification make the tables that the code names, and unmake them."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from kernel.migrator import downgrade, migrate, migration_states, plugin_migrations
from plugins.notification.plugin import plugin
from plugins.notification.tables import metadata

MIGRATIONS = plugin_migrations(plugin.name, plugin.package)


async def differences(database: str) -> list[Any]:
    def compare(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    engine = create_async_engine("postgresql+asyncpg://" + database.partition("://")[2])
    async with engine.connect() as connection:
        found = await connection.run_sync(compare)
    await engine.dispose()
    return [d for d in found if "alembic_version" not in str(d)]


async def test_migrating_makes_the_tables_that_the_code_names(database: str) -> None:
    await migrate(database, MIGRATIONS)

    assert await differences(database) == []


async def test_migrating_back_leaves_nothing_and_may_be_done_again(database: str) -> None:
    await migrate(database, MIGRATIONS)
    await downgrade(database, MIGRATIONS, "base")

    await migrate(database, MIGRATIONS)

    (state,) = await migration_states(database, MIGRATIONS)
    assert state.is_current
