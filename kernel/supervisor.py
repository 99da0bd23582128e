"""``realserv up``: embedded servers, stand-ins and hosts as children of one process.

It has no product code of its own. Whatever ends it, its children end as well.
"""

import asyncio
import os
import secrets as randomness
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, get_args

import httpx
import msgspec
import structlog
import tomlkit

from kernel.config import (
    Configuration,
    ConfigurationError,
    EmbeddedSettings,
    load_configuration,
    merge,
)
from kernel.embedded.errors import AlreadyRunningError
from kernel.embedded.ports import free_port, is_free
from kernel.embedded.private_files import write_private
from kernel.embedded.process import ChildCommand
from kernel.embedded.secrets import Secrets
from kernel.embedded.stack import EmbeddedStack
from kernel.embedded.stack_folder import running_stack_info
from kernel.embedded.supervision import ProbedChild, RestartPolicy, keep_running
from kernel.grants import GATEWAY, grants_of
from kernel.graph import find_plugins
from kernel.plugin import Plugin
from kernel.preparation import prepare
from kernel.settings import Secret
from kernel.stand_ins import StandIn, StandInPlace, find_stand_ins

log = structlog.get_logger("kernel.supervisor")

READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 10.0
GENERATED: Final = "generated.toml"
HOST_POLICY: Final = RestartPolicy(restarts=10, seconds=60.0)
Progress = Callable[[str], None]


class PortTakenError(ConfigurationError):
    """The gateway's port is in use by another program."""

    code = "kernel.port_in_use"
    title = "A port is in use"


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """Which host processes there are: the parts of each. An empty tuple of plugins means all."""

    name: str
    plugins: tuple[str, ...] = ()
    has_gateway: bool = True
    environment: Mapping[str, str] = {}


class Supervisor:
    """Starts everything, keeps it running, stops it in reverse order."""

    def __init__(
        self,
        *,
        profile: str = "development",
        extra: Sequence[Path] = (),
        overrides: Mapping[str, Any] | None = None,
        layouts: Sequence[Layout] | None = None,
        progress: Progress = lambda _: None,
        durable: bool = True,
    ) -> None:
        self.profile = profile
        self._extra = tuple(extra)
        self._overrides: dict[str, Any] = dict(overrides or {})
        self._layouts = layouts
        self._progress = progress
        self._durable = durable
        self._stack = AsyncExitStack()
        self.plugins: dict[str, Plugin] = find_plugins()
        data = load_configuration(profile=profile, extra=extra, overrides=self._overrides).data
        self.base = Configuration(data, profile)
        self.embedded = self.base.section("embedded", EmbeddedSettings)
        self.folder = Path(self.embedded.folder).resolve()
        self.servers: EmbeddedStack | None = None
        self.hosts: dict[str, ProbedChild] = {}
        self.layouts: dict[str, Layout] = {}
        self.stand_in_ports: dict[str, int] = {}
        self.configuration = self.base
        self._keepers: dict[str, asyncio.Task[None]] = {}

    @property
    def gateway_url(self) -> str:
        """The address of the API."""
        gateway = self.configuration.data.get("gateway", {})
        return f"http://{gateway.get('host', '127.0.0.1')}:{gateway.get('port', 8000)}"

    @property
    def internal_url(self) -> str:
        """The address of the internal listener."""
        gateway = self.configuration.data.get("gateway", {})
        host = gateway.get("internal_host", "127.0.0.1")
        return f"http://{host}:{gateway.get('internal_port', 9090)}"

    @property
    def generated_file(self) -> Path:
        """The private file with generated addresses and secrets, read by every child."""
        return self.folder / GENERATED

    async def start(self) -> None:
        """Start all and return when the gateway is ready; what was begun is undone on failure."""
        async with AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Drain and stop everything, in reverse order."""
        for keeper in self._keepers.values():
            keeper.cancel()
        await asyncio.gather(*self._keepers.values(), return_exceptions=True)
        await self._stack.aclose()

    async def _start(self, stack: AsyncExitStack) -> None:
        self._require_not_running()
        self._require_free_ports()
        generated = await self._start_servers(stack)
        secrets = Secrets(self.folder)
        merge(generated, self._generated_secrets(secrets))
        self._require_valid(generated)
        stand_ins = find_stand_ins() if self.embedded.stand_ins else {}
        places = self._places(stand_ins, secrets)
        for name, stand_in in stand_ins.items():
            merge(generated, stand_in.configuration(places[name]))
        self._write(generated)
        self._progress("configuration")
        create = self.servers.create_database if self.servers else None
        await prepare(
            self.configuration,
            self.plugins.values(),
            create_database=create,
            progress=self._progress,
        )
        for name, stand_in in stand_ins.items():
            await self._start_child(stack, self._stand_in(name, stand_in, places[name]))
            self._progress(f"stand-in {name}")
        stack.push_async_callback(self._stop_hosts)
        await self._start_hosts()
        if any(layout.has_gateway for layout in self.layouts.values()):
            await self._until_ready()

    async def start_host(self, layout: Layout) -> ProbedChild:
        """Start one host process and keep it running."""
        child = self._host(layout)
        self.layouts[layout.name] = layout
        self.hosts[layout.name] = child
        await child.start()
        self._keepers[layout.name] = asyncio.create_task(_keep(child))
        return child

    async def stop_host(self, name: str) -> None:
        """Stop one host process; ``start_host`` with its layout brings it back."""
        keeper = self._keepers.pop(name)
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await self.hosts.pop(name).stop()

    async def _start_hosts(self) -> None:
        """Start all hosts, as many at once as there are cores."""
        turns = asyncio.Semaphore(os.cpu_count() or 1)

        async def start(layout: Layout) -> None:
            async with turns:
                await self.start_host(layout)
            self._progress(f"host {layout.name}")

        tasks = [asyncio.create_task(start(layout)) for layout in self._host_layouts()]
        try:
            await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _stop_hosts(self) -> None:
        """Stop all hosts; those that serve HTTP first, for what they still answer needs the others."""
        for has_gateway in (True, False):
            await asyncio.gather(
                *(
                    host.stop()
                    for name, host in self.hosts.items()
                    if self.layouts[name].has_gateway is has_gateway
                )
            )

    async def wait_for_failure(self) -> None:
        """Wait until a child has failed too often; raises what it failed with."""
        if self.servers is not None:
            task = asyncio.create_task(
                self.servers.keep_running(
                    on_failure=lambda error: log.error("server_failed", error=str(error))
                )
            )
            self._keepers["servers"] = task
        done, _ = await asyncio.wait(self._keepers.values(), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def _require_not_running(self) -> None:
        """Name the process that runs this folder already, for its ports would only be the symptom."""
        info = running_stack_info(self.folder)
        if info is not None:
            addresses = (self.gateway_url, *info.addresses())
            raise AlreadyRunningError(self.folder, pid=info.pid, addresses=addresses)

    def _require_free_ports(self) -> None:
        gateway = self.base.data.get("gateway", {})
        for key, default in (("port", 8000), ("internal_port", 9090)):
            port = int(gateway.get(key, default))
            if not is_free(port):
                raise PortTakenError(
                    [
                        (
                            f"gateway.{key}: port {port} is in use. Stop what listens there, or "
                            f"choose another: REALSERV__GATEWAY__{key.upper()}=<port>"
                        )
                    ]
                )

    async def _start_servers(self, stack: AsyncExitStack) -> dict[str, Any]:
        """Start the embedded servers unless the configuration names others; returns their addresses."""
        data = self.base.data
        if data.get("bus", {}).get("servers") and data.get("database", {}).get("url"):
            return {}
        settings = self.embedded
        servers = EmbeddedStack(
            self.folder,
            nats_users=(GATEWAY, *self.plugins),
            nats_permissions=grants_of(self.plugins.values()),
            postgres_port=settings.postgres_port,
            nats_port=settings.nats_port,
            redis_port=settings.redis_port,
            durable=self._durable,
        )
        await stack.enter_async_context(servers)
        self.servers = servers
        self._progress("servers")
        return {
            "kernel": {"database": servers.postgres.local_url("kernel")},
            "bus": {"servers": servers.nats_url, "keys_dir": str(servers.nats_keys_dir)},
            "database": {"url": servers.postgres.local_url("{plugin}")},
            "redis": {"url": servers.redis_url},
        }

    def _generated_secrets(self, secrets: Secrets) -> dict[str, Any]:
        """Make every secret that a plugin requires and nobody configured; kept for the next start."""
        if self.profile in ("production", "staging"):
            return {}
        generated: dict[str, Any] = {}
        for plugin in self.plugins.values():
            given = self.base.plugin_section(plugin.name)
            for field in msgspec.structs.fields(plugin.settings):
                if not field.required or field.encode_name in given:
                    continue
                path = f"plugins.{plugin.name}.{field.encode_name}"
                if field.type is Secret:
                    value: Any = secrets.get(path, new_secret)
                elif Secret in _inner_types(field.type):
                    value = [secrets.get(path, new_secret)]
                else:
                    continue
                merge(generated, {"plugins": {plugin.name: {field.encode_name: value}}})
        return generated

    def _require_valid(self, generated: Mapping[str, Any]) -> None:
        data: dict[str, Any] = {}
        merge(data, self.base.data)
        merge(data, generated)
        faults = Configuration(data).check({n: p.settings for n, p in self.plugins.items()})
        if faults:
            raise ConfigurationError(faults)

    def _places(
        self, stand_ins: Mapping[str, StandIn], secrets: Secrets
    ) -> dict[str, StandInPlace]:
        places = {}
        taken: list[int] = []
        for name in stand_ins:
            port = free_port(taken=taken)
            taken.append(port)
            self.stand_in_ports[name] = port
            places[name] = StandInPlace(
                port=port,
                folder=self.folder,
                gateway_url=self.gateway_url,
                secret=lambda path: self._secret(path, secrets),
                setting=self._setting,
            )
        return places

    def _secret(self, path: str, secrets: Secrets) -> str:
        value = self._setting(path)
        if isinstance(value, list | tuple):
            value = value[0]
        return str(value) if value else secrets.get(path, new_secret)

    def _setting(self, path: str) -> Any:
        value: Any = self.base.data
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    def _write(self, generated: Mapping[str, Any]) -> None:
        """Write what children and other commands need to find this system: also where it listens."""
        whole: dict[str, Any] = {"gateway": dict(self.base.data.get("gateway", {}))}
        merge(whole, generated)
        merge(whole, self._overrides)
        write_private(self.generated_file, tomlkit.dumps(whole))
        self.configuration = load_configuration(
            profile=self.profile, extra=(*self._extra, self.generated_file)
        )

    def _host_layouts(self) -> Sequence[Layout]:
        if self._layouts is not None:
            return self._layouts
        count = self.embedded.hosts or os.cpu_count() or 1
        return [Layout(name=f"host{number}") for number in range(1, count + 1)]

    def _host(self, layout: Layout) -> ProbedChild:
        ready_file = self.folder / f"{layout.name}.ready"
        ready_file.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "kernel.cli", "run", "--profile", self.profile]
        for path in (*self._extra, self.generated_file):
            argv += ["--config", str(path)]
        argv += ["--name", layout.name, "--ready-file", str(ready_file)]
        if layout.has_gateway:
            argv.append("--gateway")
        argv += ["--plugins", ",".join(layout.plugins) if layout.plugins else "all"]

        async def is_ready() -> bool:
            pid = child.process.pid if child.process is not None else 0
            return ready_file.exists() and ready_file.read_text() == str(pid)

        command = ChildCommand(
            name=layout.name,
            argv=tuple(argv),
            log_file=self.folder / f"{layout.name}.log",
            env={**os.environ, **layout.environment},
        )
        child = ProbedChild(command, probe=is_ready, within=READY_SECONDS, stop_limit=STOP_SECONDS)
        return child

    def _stand_in(self, name: str, stand_in: StandIn, place: StandInPlace) -> ProbedChild:
        async def listens() -> bool:
            _, writer = await asyncio.open_connection("127.0.0.1", place.port)
            writer.close()
            return True

        command = ChildCommand(
            name=f"stand-in {name}",
            argv=(sys.executable, "-m", stand_in.module, *stand_in.arguments(place)),
            log_file=self.folder / f"{name}.log",
            env={**os.environ, **stand_in.environment(place)},
        )
        return ProbedChild(command, probe=listens, within=READY_SECONDS, stop_limit=5.0)

    async def _start_child(self, stack: AsyncExitStack, child: ProbedChild) -> None:
        stack.push_async_callback(child.stop)
        await child.start()
        self._keepers[child.name] = asyncio.create_task(_keep(child))

    async def _until_ready(self) -> None:
        async with httpx.AsyncClient(timeout=2) as client, asyncio.timeout(READY_SECONDS):
            while True:
                try:
                    answer = await client.get(f"{self.gateway_url}/ready")
                    if answer.status_code == 200:
                        return
                except httpx.HTTPError as error:
                    log.debug("not_ready_yet", error=repr(error))
                await asyncio.sleep(0.1)


async def _keep(child: ProbedChild) -> None:
    await keep_running(
        child,
        policy=HOST_POLICY,
        on_failure=lambda error: log.error("child_failed", child=child.name, error=str(error)),
    )


def new_secret() -> str:
    """Return 256 bits of randomness in base64."""
    return b64encode(randomness.token_bytes(32)).decode()


def _inner_types(kind: Any) -> set[Any]:
    found: set[Any] = set()
    for inner in get_args(kind):
        found.add(inner)
        found |= _inner_types(inner)
    return found
