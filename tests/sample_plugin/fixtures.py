"""Fixtures for tests on real servers; a ``conftest.py`` names those that it wants."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import structlog

from bus.connection import Connection, connect
from bus.message import describe
from bus.streams import apply, plugin_streams, reaction_consumers, shared_streams, worker_consumer
from kernel.database import Database
from kernel.embedded.nats import NatsServer
from kernel.embedded.ports import free_port
from kernel.embedded.stack import EmbeddedStack
from kernel.migrator import STORE, migrate, plugin_migrations
from tests.sample_plugin.contract import TallyChanged, TallyClosed
from tests.sample_plugin.stage import drop_streams, opened


def _drop(_: Any, __: str, ___: Any) -> Any:
    raise structlog.DropEvent


TEMPLATE = "sample_template"
ADMIN = "admin"


@pytest.fixture(autouse=True, scope="package")
def quiet_logs() -> Iterator[None]:
    """Write no log lines: drawing the trace-backs of planned failures takes longer than the tests."""
    structlog.configure(processors=[_drop])
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
async def template(stack: EmbeddedStack) -> str:
    """A migrated database that others are copied from."""
    await stack.create_database(TEMPLATE)
    url = stack.postgres_url(TEMPLATE)
    await migrate(url, STORE, plugin_migrations("sample", "tests.sample_plugin"))
    return TEMPLATE


@pytest.fixture
async def sample_url(stack: EmbeddedStack, template: str) -> AsyncIterator[str]:
    """The address of a migrated database that only this test sees."""
    name = f"sample_{uuid4().hex}"
    server = await asyncpg.connect(stack.postgres_url("postgres"))
    try:
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield stack.postgres_url(name)
        await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await server.close()


@pytest.fixture
async def sample_database(sample_url: str) -> AsyncIterator[Database]:
    """A pool on a migrated database that only this test sees."""
    async with opened(sample_url) as database:
        yield database


async def lay_out(connection: Connection) -> None:
    """Make the streams and consumers of the sample anew."""
    events = [describe(TallyChanged), describe(TallyClosed)]
    await drop_streams(connection)
    await apply(
        connection,
        [*plugin_streams("sample"), *(s for s in shared_streams() if s.name == "DLQ")],
        [worker_consumer("sample"), *reaction_consumers("sample", "sample", events)],
    )


@pytest.fixture
async def bus(stack: EmbeddedStack) -> AsyncIterator[Connection]:
    """A connection to NATS, with empty streams of the sample."""
    connection = await connect(
        stack.nats_url, name="test", seed_file=stack.nats.keys.seed_file(ADMIN)
    )
    await lay_out(connection)
    try:
        yield connection
        await drop_streams(connection)
    finally:
        await connection.close()


@pytest.fixture
async def own_nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """A NATS server that this test may kill."""
    server = NatsServer(
        tmp_path / "nats", port=free_port(), monitor_port=free_port(), durable=False
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def own_bus(own_nats: NatsServer) -> AsyncIterator[Connection]:
    """A connection to the server that this test may kill, with the sample's streams."""
    connection = await connect(own_nats.url, name="test", seed_file=own_nats.keys.seed_file(ADMIN))
    await lay_out(connection)
    try:
        yield connection
    finally:
        await connection.close()
