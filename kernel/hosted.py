"""A plugin in this process: provisioned, started, drained and stopped; a half-done start is undone."""

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import structlog

from bus.codec import schema_hook
from bus.connection import Connection, connect
from bus.discovery import ServiceAnnouncer
from bus.envelope import Caller
from bus.message import MessageType
from bus.requests import Endpoint, NatsCaller, RequestServer
from bus.tls import TlsFiles
from kernel.calls import LocalFirstCaller, LocalRegistry
from kernel.config import (
    BusSettings,
    Configuration,
    ConfigurationError,
    DatabaseSettings,
    decode_settings,
)
from kernel.database import Database, open_database
from kernel.migrator import STORE, MigrationError, migration_states, plugin_migrations
from kernel.models import ModelFold, models_of
from kernel.plugin import HandlerSpec, PermissionCatalogue, Plugin
from kernel.reactions import ParkedSweeper, Subscription, sources_of
from kernel.relay import Relay
from kernel.runtime import PluginRuntime
from kernel.settings import Settings
from kernel.sql import statement
from kernel.telemetry import Telemetry
from kernel.tokens import TokenVerifier
from kernel.upcasting import NO_UPCASTERS, Upcasters
from kernel.work import Worker

log = structlog.get_logger("kernel.hosted")

HostedState = Literal["stopped", "starting", "ready", "draining", "failed"]
PING = statement("SELECT 1")
DRAIN_SECONDS: Final = 8.0


class Neighbourhood(msgspec.Struct, frozen=True, kw_only=True):
    """What all plugins of a host share."""

    host: str
    configuration: Configuration
    permissions: PermissionCatalogue
    askers: Mapping[MessageType, frozenset[str]]
    registry: LocalRegistry
    tokens: TokenVerifier
    telemetry: Telemetry
    upcasters: Upcasters = NO_UPCASTERS


class HostedPlugin:
    """One plugin's life in this process."""

    def __init__(self, plugin: Plugin, neighbourhood: Neighbourhood) -> None:
        self.plugin = plugin
        self.state: HostedState = "stopped"
        self.reason = ""
        self._shared = neighbourhood
        self._stack = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._seed = b""
        self.relay: Relay | None = None
        self.serve: Connection | None = None
        self.call: Connection | None = None
        self.database: Database | None = None
        self._folds: list[ModelFold] = []

    async def start(self) -> None:
        """Provision and start; on any failure everything begun is undone and the error raised."""
        async with self._lock:
            if self.state == "ready":
                return
            self.state, self.reason = "starting", ""
            try:
                async with AsyncExitStack() as stack:
                    await self._start(stack)
                    self._stack = stack.pop_all()
            except BaseException as error:
                self.state, self.reason = "failed", f"{type(error).__name__}: {error}"
                raise
            self.state = "ready"
            log.info("plugin_ready", plugin=self.plugin.name, version=self.plugin.version)

    async def stop(self) -> None:
        """Drain and stop, in the reverse order of the start."""
        async with self._lock:
            if self.state not in ("ready", "failed"):
                return
            self.state = "draining"
            try:
                await self._stack.aclose()
            finally:
                self._stack = AsyncExitStack()
                self.state = "stopped"
            log.info("plugin_stopped", plugin=self.plugin.name)

    @property
    def has_new_seed(self) -> bool:
        """Whether the plugin works under another key than its seed's file holds now."""
        if self.state != "ready":
            return False
        try:
            return self._seed != self._seed_now()
        except (ConfigurationError, OSError):
            return False

    async def renew(self) -> None:
        """Start beside itself under the seed that is there now, then end what was before.

        Nothing goes unanswered: requests find one of the two at any time.
        """
        async with self._lock:
            if self.state != "ready":
                return
            kept = (self._stack, self._seed, self.relay, self.serve, self.call, self.database)
            try:
                async with AsyncExitStack() as stack:
                    await self._start(stack)
                    self._stack = stack.pop_all()
            except BaseException:
                self._stack, self._seed, self.relay, self.serve, self.call, self.database = kept
                raise
            await kept[0].aclose()
            log.info("plugin_renewed", plugin=self.plugin.name)

    def _seed_now(self) -> bytes:
        bus = self._shared.configuration.section("bus", BusSettings)
        seed = seed_file(bus, self.plugin.name)
        return seed.read_bytes() if seed is not None else b""

    async def check(self) -> str:
        """Return why the plugin cannot work, or an empty text."""
        if self.state != "ready" or self.database is None or self.serve is None:
            return self.reason or self.state
        if not self.serve.is_connected:
            return "not connected to NATS"
        if self.relay is not None and self.relay.fault:
            return self.relay.fault
        faults = [fold.fault for fold in self._folds if fold.fault]
        if faults:
            return faults[0]
        await self.database.fetchval(PING)
        return ""

    async def _start(self, stack: AsyncExitStack) -> None:
        plugin, shared = self.plugin, self._shared
        configuration = shared.configuration
        settings, faults = decode_settings(
            plugin.settings, configuration.plugin_section(plugin.name), f"plugins.{plugin.name}"
        )
        if settings is None:
            raise ConfigurationError(faults)
        url = configuration.plugin_database(plugin.name)
        await _require_current(plugin, url)
        pool = configuration.section("database", DatabaseSettings).pool
        database = await open_database(url, pool, name=f"{plugin.name}@{shared.host}")
        stack.push_async_callback(database.close)
        bus = configuration.section("bus", BusSettings)
        self._seed = self._seed_now()
        serve = await open_connection(bus, plugin.name, f"{plugin.name}.serve")
        stack.push_async_callback(serve.close)
        call = await open_connection(bus, plugin.name, f"{plugin.name}.call")
        stack.push_async_callback(call.close)
        self.database, self.serve, self.call = database, serve, call

        resources = await self._open_resources(stack, settings, database)
        relay = Relay(plugin.name, database, url, call, shared.telemetry)
        remote = NatsCaller(call)
        caller: Caller = LocalFirstCaller(shared.registry, remote) if bus.local_calls else remote
        runtime = PluginRuntime(
            plugin,
            settings=settings,
            database=database,
            resources=resources,
            caller=caller,
            tokens=shared.tokens,
            telemetry=shared.telemetry,
            askers=shared.askers,
            wake=relay.wake,
            upcasters=shared.upcasters,
        )
        await relay.start()
        stack.push_async_callback(relay.stop)
        self.relay = relay
        for hook in plugin.start_hooks:
            await hook(runtime.start_context())
        await self._consume(stack, runtime, serve)
        await self._serve(stack, runtime, serve)

    async def _open_resources(
        self, stack: AsyncExitStack, settings: Settings, database: Database
    ) -> dict[type[Any], Any]:
        resources: dict[type[Any], Any] = {
            PermissionCatalogue: self._shared.permissions,
            Database: database,
        }
        for resource in self.plugin.resources:
            resources[resource.kind] = await stack.enter_async_context(resource.factory(settings))
        return resources

    async def _consume(
        self, stack: AsyncExitStack, runtime: PluginRuntime, connection: Connection
    ) -> None:
        plugin = self.plugin
        self._folds = []
        for (model, source), specs in models_of(plugin.of_kind("project")).items():
            fold = ModelFold(runtime, connection, model, source, specs)
            await fold.start()
            stack.push_async_callback(fold.stop)
            self._folds.append(fold)
        subscriptions = [
            Subscription(runtime, connection, source, specs)
            for source, specs in sources_of(plugin.of_kind("react")).items()
        ]
        if subscriptions:
            sweeper = ParkedSweeper(runtime, subscriptions)
            sweeper.start()
            stack.push_async_callback(sweeper.stop)
        for subscription in subscriptions:
            await subscription.start()
        stack.push_async_callback(_stop_all, subscriptions)
        if plugin.of_kind("command", "effect", "job"):
            worker = Worker(runtime, connection)
            worker.start()
            stack.push_async_callback(worker.stop)

    async def _serve(
        self, stack: AsyncExitStack, runtime: PluginRuntime, connection: Connection
    ) -> None:
        plugin, shared = self.plugin, self._shared
        endpoints = endpoints_of(runtime)
        stack.push_async_callback(_until_idle, endpoints.values())
        server = RequestServer(connection, plugin.name, list(endpoints.values()))
        await server.start()
        stack.push_async_callback(server.stop)
        announcer = ServiceAnnouncer(
            server,
            name=plugin.name,
            instance=f"{shared.host}-{secrets.token_hex(4)}",
            version=plugin.version,
            description=plugin.summary,
            metadata={"host": shared.host},
            queue=plugin.name,
        )
        await announcer.start()
        stack.push_async_callback(announcer.stop)
        shared.registry.add(endpoints)
        stack.callback(shared.registry.remove, endpoints)


async def _until_idle(endpoints: Iterable[Endpoint]) -> None:
    """Wait for the calls of this process's own parts, as the server waits for those over the bus."""
    until = asyncio.get_running_loop().time() + DRAIN_SECONDS
    while any(endpoint.in_flight for endpoint in endpoints):
        if asyncio.get_running_loop().time() > until:
            log.warning("calls_cancelled", count=sum(e.in_flight for e in endpoints))
            return
        await asyncio.sleep(0.005)


async def _stop_all(subscriptions: list[Subscription]) -> None:
    await asyncio.gather(*(subscription.stop() for subscription in subscriptions))


async def _require_current(plugin: Plugin, url: str) -> None:
    states = await migration_states(url, STORE, plugin_migrations(plugin.name, plugin.package))
    behind = [state.name for state in states if not state.is_current]
    if behind:
        raise MigrationError(
            f"The database of {plugin.name} is behind ({', '.join(behind)}). Run: realserv migrate"
        )


def endpoints_of(runtime: PluginRuntime) -> dict[MessageType, Endpoint]:
    """Return the endpoints of a plugin's commands and queries."""
    return {
        spec.message: _endpoint(runtime, spec)
        for spec in runtime.plugin.of_kind("command", "query")
        if spec.message is not None
    }


def _endpoint(runtime: PluginRuntime, spec: HandlerSpec) -> Endpoint:
    message = spec.message
    if message is None:
        raise TypeError(f"{spec.name} has no message")
    return Endpoint(
        name=f"{message.name}_v{message.version}",
        subject=message.subject,
        handle=lambda payload, envelope: runtime.answer(spec, payload, envelope),
        metadata={
            "kind": spec.kind,
            "summary": spec.summary,
            "request": message_schema(message.cls),
            "reply": message_schema(message.reply),
        },
    )


def message_schema(kind: Any) -> str:
    """Return a JSON schema as text, for ``nats micro info``."""
    return msgspec.json.encode(msgspec.json.schema(kind, schema_hook=schema_hook)).decode()


async def open_connection(bus: BusSettings, credential: str, name: str) -> Connection:
    """Connect under a credential of the configured folder; without a folder, under none."""
    seed = seed_file(bus, credential)
    return await connect(bus.servers, name=name, seed_file=seed, tls=bus_tls(bus))


def seed_file(bus: BusSettings, credential: str) -> Path | None:
    """Return where a credential's seed is, None without a folder of them; raises ConfigurationError."""
    seed = Path(bus.keys_dir) / f"{credential}.nk" if bus.keys_dir else None
    if seed is not None and not seed.exists():
        raise ConfigurationError([f"bus.keys_dir: there is no {seed.name} in it"])
    return seed


def bus_tls(bus: BusSettings) -> TlsFiles | None:
    """Return the files of TLS, None for none; raises ConfigurationError for what is no pair or not there."""
    named = {"tls_ca": bus.tls_ca, "tls_cert": bus.tls_cert, "tls_key": bus.tls_key}
    faults = [
        f"bus.{key}: there is no file {at}"
        for key, at in named.items()
        if at and not Path(at).is_file()
    ]
    if bool(bus.tls_cert) is not bool(bus.tls_key):
        faults.append("bus.tls_cert and bus.tls_key: both or neither must be named")
    if bus.tls_cert and not bus.tls_ca:
        faults.append("bus.tls_ca is empty, so bus.tls_cert would show to nobody")
    if faults:
        raise ConfigurationError(faults)
    return TlsFiles(bus.tls_ca, bus.tls_cert, bus.tls_key) if bus.tls_ca else None
