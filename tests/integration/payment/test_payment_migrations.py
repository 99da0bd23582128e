"""The migrations of payment: they make the tables that the code speaks of, and take them away again."""

from typing import Any

from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine

from kernel.migrator import downgrade, migrate, plugin_migrations
from plugins.payment.tables import METADATA

MIGRATIONS = plugin_migrations("payment", "plugins.payment")


def columns(connection: Connection) -> dict[str, dict[str, bool]]:
    found = inspect(connection)
    return {
        table: {column["name"]: column["nullable"] for column in found.get_columns(table)}
        for table in found.get_table_names()
        if table != "alembic_version"
    }


async def on(database: str, look: Any) -> Any:
    engine = create_async_engine("postgresql+asyncpg://" + database.partition("://")[2])
    async with engine.connect() as connection:
        found = await connection.run_sync(look)
    await engine.dispose()
    return found


async def test_the_tables_are_those_of_the_code(database: str) -> None:
    await migrate(database, MIGRATIONS)

    expected = {
        name: {column.name: bool(column.nullable) for column in table.columns}
        for name, table in METADATA.tables.items()
    }
    assert await on(database, columns) == expected


async def test_a_downgrade_leaves_nothing_behind(database: str) -> None:
    await migrate(database, MIGRATIONS)

    await downgrade(database, MIGRATIONS, "base")

    assert await on(database, columns) == {}
