"""A host: one process, one event loop, any set of parts; plugins supervised, switched and drained."""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from bus.connection import Connection
from bus.requests import NatsCaller
from kernel.calls import LocalFirstCaller, LocalRegistry
from kernel.config import BusSettings, Configuration, ConfigurationError, KernelSettings
from kernel.database import PoolSettings, open_database
from kernel.graph import askers_of, find_plugins, start_order
from kernel.health import HostHealth
from kernel.home import Home
from kernel.hosted import PING, HostedPlugin, Neighbourhood, open_connection, seed_file
from kernel.metrics import MetricsAnswerer, MetricsGatherer
from kernel.parts import Part, PartPorts, find_part
from kernel.plugin import PermissionCatalogue, Plugin
from kernel.switchboard import Switchboard
from kernel.telemetry import Telemetry
from kernel.tokens import TokenMint, TokenVerifier
from kernel.upcasting import upcasters_of

log = structlog.get_logger("kernel.host")

BACK_OFF: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
INTENSITY: Final = (10, 60.0)
"""More failed starts than this in so many seconds, and the plugin waits for the longest back-off."""
WATCH_SECONDS: Final = 1.0
KEY_REFRESH_SECONDS: Final = 6 * 3600.0
GATEWAY_CREDENTIAL: Final = "gateway"


class Host:
    """Runs a set of plugins, and the gateway if asked to."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        plugins: Sequence[str] | None = None,
        parts: Sequence[str] = (),
        name: str = "",
    ) -> None:
        self.configuration = configuration
        self.name = name or f"{socket.gethostname()}-{os.getpid()}"
        self.telemetry = Telemetry()
        self.health = HostHealth()
        self.registry = LocalRegistry()
        self._installed = find_plugins()
        self._chosen = self._choose(plugins)
        self._part_names = tuple(parts)
        self._parts: list[Part] = []
        self._stack = AsyncExitStack()
        self.hosted: dict[str, HostedPlugin] = {}
        self.switchboard: Switchboard | None = None
        self._keepers: dict[str, asyncio.Task[None]] = {}

    def _choose(self, names: Sequence[str] | None) -> list[Plugin]:
        ordered = start_order(self._installed)
        if names is None:
            return ordered
        unknown = set(names) - set(self._installed)
        if unknown:
            raise ConfigurationError(
                [f"plugin {name} is not installed" for name in sorted(unknown)]
            )
        return [plugin for plugin in ordered if plugin.name in names]

    async def start(self) -> None:
        """Start what is chosen and switched on; returns when all of it is ready or has failed once.

        Raises ConfigurationError with all faults, or what a part of the host itself fails with. A
        plugin that fails does not take the host down: it is tried again with back-off.
        """
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()

    async def _start(self, stack: AsyncExitStack) -> None:
        configuration = self.configuration
        faults = configuration.check(
            {p.name: p.settings for p in self._installed.values()},
            only={plugin.name for plugin in self._chosen},
        )
        if faults:
            raise ConfigurationError(faults)
        kernel = configuration.section("kernel", KernelSettings)
        bus = configuration.section("bus", BusSettings)
        database = await open_database(
            kernel.database.reveal(), PoolSettings(max_size=2), name=f"kernel@{self.name}"
        )
        stack.push_async_callback(database.close)
        home = Home(database)
        connection = await open_connection(bus, GATEWAY_CREDENTIAL, f"host.{self.name}")
        stack.push_async_callback(connection.close)
        follower = asyncio.create_task(_follow_seed(connection, seed_file(bus, GATEWAY_CREDENTIAL)))
        stack.push_async_callback(_cancelled, follower)
        board = Switchboard(
            home,
            configuration,
            self._installed.values(),
            poll_seconds=kernel.switch_poll_seconds,
        )
        await board.load()
        self.switchboard = board
        shared = Neighbourhood(
            host=self.name,
            configuration=configuration,
            permissions=PermissionCatalogue(
                permission
                for plugin in self._installed.values()
                for permission in plugin.permissions
            ),
            askers=askers_of(self._installed.values()),
            registry=self.registry,
            tokens=TokenVerifier(home.gateway_keys),
            telemetry=self.telemetry,
            upcasters=upcasters_of(self._installed.values()),
        )
        self.hosted = {plugin.name: HostedPlugin(plugin, shared) for plugin in self._chosen}
        self._watch_dependencies(connection, database.fetchval)
        await MetricsAnswerer(connection, self.telemetry, self.name).start()
        board.on_change(self._follow_switches)
        await board.start(connection)
        stack.push_async_callback(board.stop)
        stack.push_async_callback(self._stop_plugins)
        await self._start_plugins()
        await self._start_parts(stack, home, board, connection)

    def _watch_dependencies(self, connection: Connection, fetch: Callable[..., Any]) -> None:
        async def bus_check() -> str:
            if not connection.is_connected:
                return "not connected"
            await connection.flush()
            return ""

        async def database_check() -> str:
            await fetch(PING)
            return ""

        self.health.add("nats", bus_check, is_hard=True)
        self.health.add("database", database_check, is_hard=True)
        for name, hosted in self.hosted.items():
            self.health.add(f"plugin.{name}", self._plugin_check(hosted), is_hard=False)

    def _plugin_check(self, hosted: HostedPlugin) -> Any:
        async def check() -> str:
            if self.switchboard and self.switchboard.state_of(hosted.plugin.name) == "disabled":
                return "switched off"
            return await hosted.check()

        return check

    async def _start_parts(
        self, stack: AsyncExitStack, home: Home, board: Switchboard, connection: Connection
    ) -> None:
        if not self._part_names:
            return
        mint = TokenMint()
        await home.publish_key(mint, self.name)
        refresher = asyncio.create_task(_refresh_key(home, mint, self.name))
        stack.push_async_callback(_cancelled, refresher)
        bus = self.configuration.section("bus", BusSettings)
        remote = NatsCaller(connection)
        ports = PartPorts(
            configuration=self.configuration,
            plugins=list(self._installed.values()),
            switchboard=board,
            caller=LocalFirstCaller(self.registry, remote) if bus.local_calls else remote,
            mint=mint,
            bell=CoreBell(connection),
            health=self.health,
            metrics=MetricsGatherer(connection, self.telemetry, self.name),
            telemetry=self.telemetry,
        )
        for name in self._part_names:
            part = find_part(name)(ports)
            await part.start()
            self._parts.append(part)
            stack.push_async_callback(part.stop)

    async def stop(self) -> None:
        """Not ready, end live streams, stop listening, drain, stop plugins in reverse order."""
        self.health.is_draining = True
        for part in self._parts:
            part.end_streams()
        await self._stack.aclose()
        log.info("host_stopped", host=self.name)

    async def _start_plugins(self) -> None:
        for name, hosted in self.hosted.items():
            if self._is_on(name):
                await _try_start(hosted)
        for name, hosted in self.hosted.items():
            self._keepers[name] = asyncio.create_task(self._keep(hosted))

    async def _stop_plugins(self) -> None:
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        for hosted in reversed(list(self.hosted.values())):
            await hosted.stop()

    async def _follow_switches(self) -> None:
        for hosted in self.hosted.values():
            is_on = self._is_on(hosted.plugin.name)
            if not is_on and hosted.state == "ready":
                await hosted.stop()
            elif is_on and hosted.state == "stopped":
                await _try_start(hosted)

    async def _keep(self, hosted: HostedPlugin) -> None:
        """Start a plugin that failed again, after waits that grow, without touching its neighbours."""
        failures: deque[float] = deque(maxlen=INTENSITY[0])
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if hosted.has_new_seed:
                await _try_renewal(hosted.plugin.name, hosted.renew)
            if not self._is_on(hosted.plugin.name) or hosted.state != "failed":
                continue
            wait = BACK_OFF[min(len(failures), len(BACK_OFF) - 1)]
            if len(failures) == INTENSITY[0] and time.monotonic() - failures[0] < INTENSITY[1]:
                wait = BACK_OFF[-1]
            await asyncio.sleep(wait)
            if await _try_start(hosted):
                failures.clear()
            else:
                failures.append(time.monotonic())

    def _is_on(self, name: str) -> bool:
        return self.switchboard is not None and self.switchboard.state_of(name) == "enabled"


class CoreBell:
    """Core subscriptions, as a bell only: what happened is asked for."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def listen(self, subject: str, ring: Callable[[], None]) -> AsyncIterator[None]:
        """Call ``ring`` for every message on a subject, from entering until leaving the context."""

        async def rung(message: Any) -> None:
            ring()

        subscription = await self._connection.client.subscribe(subject, cb=rung)
        try:
            yield
        finally:
            if self._connection.is_connected:
                await subscription.unsubscribe()


async def _try_start(hosted: HostedPlugin) -> bool:
    try:
        await hosted.start()
    except Exception as error:  # noqa: BLE001  whatever a plugin fails with stays with the plugin
        reason = f"{type(error).__name__}: {error}"
        log.error("plugin_failed", plugin=hosted.plugin.name, error=reason)  # noqa: TRY400  for people
        return False
    return True


async def _try_renewal(holder: str, renew: Callable[[], Awaitable[None]]) -> bool:
    try:
        await renew()
    except Exception as error:  # noqa: BLE001  the old key serves on, and a second later is another try
        log.warning("key_not_renewed", holder=holder, error=repr(error))
        return False
    return True


async def _follow_seed(connection: Connection, seed: Path | None) -> None:
    """Renew the connection whenever its seed's file holds another one."""
    known = seed.read_bytes() if seed is not None else b""
    while seed is not None:
        await asyncio.sleep(WATCH_SECONDS)
        found = seed.read_bytes() if seed.exists() else known
        if found != known and await _try_renewal(GATEWAY_CREDENTIAL, connection.renew):
            known = found


async def _refresh_key(home: Home, mint: TokenMint, holder: str) -> None:
    while True:
        await asyncio.sleep(KEY_REFRESH_SECONDS)
        try:
            await home.publish_key(mint, holder)
        except Exception:
            log.exception("key_not_refreshed")


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
