"""The operator's ways to the running system: its database and, under the credential ``cli``, its bus."""

import asyncio
import getpass
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from bus.connection import Connection
from kernel.config import BusSettings, Configuration, KernelSettings
from kernel.database import PoolSettings, open_database
from kernel.errors import Unavailable
from kernel.home import Home
from kernel.hosted import open_connection

CREDENTIAL: Final = "cli"
PROBE_SECONDS: Final = 2.0
NATS_PORT: Final = 4222
POSTGRES_PORT: Final = 5432
SMALL_POOL: Final = PoolSettings(min_size=0, max_size=2)


class NotRunningError(Unavailable):
    """There is no running system where the configuration points."""

    code = "kernel.not_running"
    title = "RealServ is not running here"


def operator_name() -> str:
    """Return who gives the command, for the record of operators' acts."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def require_addresses(configuration: Configuration) -> None:
    """Raise NotRunningError unless the configuration knows where the servers are."""
    if not configuration.data.get("bus", {}).get("servers"):
        raise NotRunningError(
            "RealServ is not running in this folder. Start it: realserv up. Or say where it is: "
            "REALSERV__BUS__SERVERS, REALSERV__KERNEL__DATABASE, REALSERV__DATABASE__URL"
        )


@asynccontextmanager
async def open_home(configuration: Configuration) -> AsyncIterator[Home]:
    """Open the kernel's own database; raises NotRunningError, DatabaseUnavailable."""
    require_addresses(configuration)
    address = configuration.section("kernel", KernelSettings).database.reveal()
    await require_listener(address, POSTGRES_PORT, "PostgreSQL")
    database = await open_database(address, SMALL_POOL, name="realserv-cli")
    try:
        yield Home(database)
    finally:
        await database.close()


@asynccontextmanager
async def open_bus(
    configuration: Configuration, credential: str = CREDENTIAL
) -> AsyncIterator[Connection]:
    """Connect to NATS as the operator; raises NotRunningError, DisconnectedError.

    Under the credential ``deployer`` streams can be changed and messages taken out of them.
    """
    require_addresses(configuration)
    bus = configuration.section("bus", BusSettings)
    await require_listener(bus.servers, NATS_PORT, "NATS")
    connection = await open_connection(bus, credential, CREDENTIAL)
    try:
        yield connection
    finally:
        await connection.close()


async def require_listener(addresses: str, port: int, server: str) -> None:
    """Raise NotRunningError unless somebody listens at one of these addresses."""
    places = [place_of(address.strip(), port) for address in addresses.split(",")]
    if not any(await asyncio.gather(*(listens(*place) for place in places))):
        named = ", ".join(f"{host}:{number}" for host, number in places)
        raise NotRunningError(
            f"{server} does not answer at {named}. Is RealServ running? Start it: realserv up"
        )


def place_of(address: str, port: int) -> tuple[str, int]:
    """Return host and port of an address; of PostgreSQL's socket, its folder and its number."""
    parts = urlsplit(address)
    asked = dict(parse_qsl(parts.query))
    host = asked.get("host") or parts.hostname or "127.0.0.1"
    return host, int(asked.get("port") or parts.port or port)


async def listens(host: str, port: int) -> bool:
    """Tell whether somebody takes connections there; a host that is a folder holds a socket."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            if host.startswith("/"):
                _, writer = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
            else:
                _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
