"""Preparing servers for the code: databases migrated, streams and consumers applied, schedules set.

This runs under the deployer's credential; plugins never create or delete.
"""

from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

from bus.connection import Connection
from bus.streams import (
    Change,
    ConsumerSpec,
    StreamSpec,
    apply,
    plugin_streams,
    reaction_consumers,
    shared_streams,
    worker_consumer,
)
from kernel.config import BusSettings, Configuration, KernelSettings
from kernel.hosted import open_connection
from kernel.jobs import ensure_schedules
from kernel.migrator import HOME, STORE, migrate, plugin_migrations
from kernel.plugin import Plugin
from kernel.reactions import sources_of
from kernel.upcasting import upcasters_of

DEPLOYER_CREDENTIAL = "deployer"
Progress = Callable[[str], None]


def assets_of(
    plugins: Iterable[Plugin], replicas: int
) -> tuple[list[StreamSpec], list[ConsumerSpec]]:
    """Return all streams and consumers that the declarations ask for."""
    streams, consumers = shared_streams(replicas), []
    chosen = list(plugins)
    upcasters = upcasters_of(chosen)
    for plugin in chosen:
        streams += plugin_streams(plugin.name, replicas)
        consumers.append(worker_consumer(plugin.name))
        for source, specs in sources_of(plugin.of_kind("react")).items():
            events = [spec.message for spec in specs if spec.message is not None]
            older = upcasters.older(events)
            consumers += reaction_consumers(plugin.name, source, events, older)
    return streams, consumers


async def prepare(
    configuration: Configuration,
    plugins: Iterable[Plugin],
    *,
    create_database: Callable[[str], Awaitable[None]] | None = None,
    progress: Progress = lambda _: None,
) -> list[Change]:
    """Bring databases and bus to what the code needs; running it again changes nothing."""
    chosen = list(plugins)
    kernel = configuration.section("kernel", KernelSettings)
    targets = [("kernel", kernel.database.reveal(), [HOME])]
    targets += [
        (
            p.name,
            configuration.plugin_database(p.name),
            [STORE, plugin_migrations(p.name, p.package)],
        )
        for p in chosen
    ]
    for name, url, sets in targets:
        if create_database is not None:
            await create_database(urlsplit(url).path.lstrip("/"))
        await migrate(url, *sets)
        progress(f"database {name}")
    bus = configuration.section("bus", BusSettings)
    connection = await open_connection(bus, DEPLOYER_CREDENTIAL, "deployer")
    try:
        return await prepare_bus(connection, chosen, bus.replicas, progress)
    finally:
        await connection.close()


async def prepare_bus(
    connection: Connection,
    plugins: list[Plugin],
    replicas: int,
    progress: Progress = lambda _: None,
) -> list[Change]:
    """Apply streams and consumers, and put the jobs' schedules in them."""
    streams, consumers = assets_of(plugins, replicas)
    changes = await apply(connection, streams, consumers)
    progress("streams")
    for plugin in plugins:
        await ensure_schedules(connection, plugin)
    progress("schedules")
    return changes
