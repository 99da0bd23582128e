"""Runs migrations: expand first, contract later; each set has its version table in its own schema."""

import asyncio
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

from kernel.errors import ServiceError

_ADVISORY_LOCK = 0x5265616C


class MigrationError(ServiceError):
    """The database's version and the code's do not fit together."""

    code = "kernel.migration_error"
    title = "The database does not fit the code"


@dataclass(frozen=True)
class MigrationSet:
    """One folder of version files, and the schema that holds its tables and version."""

    name: str
    folder: Path
    schema: str

    @property
    def version_table(self) -> str:
        """The table that remembers the version."""
        return "alembic_version"


@dataclass(frozen=True)
class MigrationState:
    """Where a database stands."""

    name: str
    current: str | None
    head: str | None

    @property
    def is_current(self) -> bool:
        """Whether nothing is to be done."""
        return self.current == self.head


STORE = MigrationSet("kernel", Path(str(files("kernel"))) / "migrations" / "store", "kernel")
HOME = MigrationSet("home", Path(str(files("kernel"))) / "migrations" / "home", "public")


def plugin_migrations(name: str, package: str) -> MigrationSet:
    """The migrations of a plugin's own tables."""
    return MigrationSet(name, Path(str(files(package))) / "migrations", "public")


async def migrate(url: str, *sets: MigrationSet) -> None:
    """Bring a database to the newest version; safe beside itself. Refuses a database of a newer version."""
    await _with_connection(url, lambda connection: _upgrade_all(connection, sets))


async def downgrade(url: str, migrations: MigrationSet, revision: str) -> None:
    """Take a database back to a revision, ``base`` for before the first."""

    def run(connection: Connection) -> None:
        command.downgrade(_config(connection, migrations), revision)

    await _with_connection(url, run)


async def migration_states(url: str, *sets: MigrationSet) -> list[MigrationState]:
    """Tell where a database stands; raises MigrationError when it is of a newer version."""
    found: list[MigrationState] = []

    def run(connection: Connection) -> None:
        found.extend(_state(connection, migrations) for migrations in sets)

    await _with_connection(url, run)
    return found


def _upgrade_all(connection: Connection, sets: tuple[MigrationSet, ...]) -> None:
    connection.execute(text(f"SELECT pg_advisory_lock({_ADVISORY_LOCK})"))
    try:
        for migrations in sets:
            if not _state(connection, migrations).is_current:
                connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {migrations.schema}"))
                connection.commit()
                command.upgrade(_config(connection, migrations), "head")
    finally:
        connection.execute(text(f"SELECT pg_advisory_unlock({_ADVISORY_LOCK})"))
        connection.commit()


def _state(connection: Connection, migrations: MigrationSet) -> MigrationState:
    scripts = ScriptDirectory.from_config(_config(connection, migrations))
    context = MigrationContext.configure(
        connection,
        opts={
            "version_table": migrations.version_table,
            "version_table_schema": migrations.schema,
        },
    )
    current = context.get_current_revision()
    connection.commit()
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise MigrationError(
            f"The database of {migrations.name} is at version {current}, which this code does not "
            f"know: it was written by a newer version. Start that version, or restore a back-up."
        )
    return MigrationState(migrations.name, current, scripts.get_current_head())


def _config(connection: Connection, migrations: MigrationSet) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(str(files("kernel"))) / "migrations"))
    config.set_main_option("version_locations", str(migrations.folder))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    config.attributes["schema"] = migrations.schema
    config.attributes["version_table"] = migrations.version_table
    return config


async def _with_connection(url: str, run: Any) -> None:
    # asyncpg reads the address itself, as it does for the pools: with sslmode and sslrootcert.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url)
    )
    try:
        async with engine.connect() as connection:
            await connection.run_sync(run)
            await connection.commit()
    except OSError as error:
        raise MigrationError(f"The database cannot be reached: {error}") from error
    finally:
        await engine.dispose()


def run_migrations(url: str, *sets: MigrationSet) -> None:
    """As ``migrate``, for callers without an event loop."""
    asyncio.run(migrate(url, *sets))
