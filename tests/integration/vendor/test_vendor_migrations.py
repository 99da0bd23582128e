"""The migrations of vendor: they make the tables that the code speaks of, and take them away again."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine

from kernel.migrator import downgrade, migrate, plugin_migrations
from plugins.vendor.tables import metadata

MIGRATIONS = plugin_migrations("vendor", "plugins.vendor")


def differences(connection: Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return [
        difference
        for difference in compare_metadata(context, metadata)
        if "alembic_version" not in str(difference)
    ]


def rules(connection: Connection) -> dict[str, set[str | None]]:
    found = inspect(connection)
    return {
        table: {check["name"] for check in found.get_check_constraints(table)}
        for table in metadata.tables
    }


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def on(database: str, look: Any) -> Any:
    engine = create_async_engine("postgresql+asyncpg://" + database.partition("://")[2])
    async with engine.connect() as connection:
        found = await connection.run_sync(look)
    await engine.dispose()
    return found


async def test_the_migrated_tables_are_those_of_the_code(database: str) -> None:
    declared = {
        name: {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
        for name, table in metadata.tables.items()
    }

    await migrate(database, MIGRATIONS)

    assert await on(database, differences) == []
    assert await on(database, rules) == declared


async def test_a_downgrade_leaves_nothing_behind(database: str) -> None:
    await migrate(database, MIGRATIONS)

    await downgrade(database, MIGRATIONS, "base")

    assert await on(database, tables) == {"alembic_version"}
