"""A whole system for tests: servers, stand-ins and hosts as real processes, in any topology."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import httpx

from kernel.config import merge
from kernel.embedded.ports import free_port
from kernel.supervisor import Layout, Supervisor
from kernel.testing.stack import plugin_names, throwaway_folder

Topology = Literal["one-local", "one-bus", "split"]
ADMIN_EMAIL = "admin@realserv.example"
ADMIN_PASSWORD = "an admin of the tests 1"  # noqa: S105  of throw-away systems only


class System:
    """A running system and the ways to it."""

    def __init__(self, supervisor: Supervisor, client: httpx.AsyncClient, folder: Path) -> None:
        self.supervisor = supervisor
        self.http = client
        self.folder = folder

    @property
    def url(self) -> str:
        """The address of the API, with its version."""
        return f"{self.supervisor.gateway_url}/api/v1"

    def pid_of(self, host: str) -> int:
        """Return the pid of a host process."""
        process = self.supervisor.hosts[host].process
        if process is None:
            raise LookupError(f"{host} is not running")
        return process.pid

    def hosts_of(self, plugin: str) -> list[str]:
        """Return the names of the hosts that have a plugin."""
        layouts = self.supervisor.layouts.items()
        return [name for name, layout in layouts if plugin in layout.plugins or not layout.plugins]

    @asynccontextmanager
    async def without(self, plugin: str) -> AsyncIterator[None]:
        """Do without a plugin's hosts for a while."""
        names = self.hosts_of(plugin)
        await asyncio.gather(*(self.supervisor.stop_host(name) for name in names))
        try:
            yield
        finally:
            layouts = self.supervisor.layouts
            await asyncio.gather(*(self.supervisor.start_host(layouts[name]) for name in names))

    async def command(self, *arguments: str) -> str:
        """Run ``realserv`` against this system; returns what it prints, raises when it fails."""
        supervisor = self.supervisor
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "kernel.cli", *arguments),
            *("--profile", supervisor.profile, "--config", str(supervisor.generated_file)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, complaint = await process.communicate()
        if process.returncode != 0:
            raise RuntimeError(f"realserv {arguments[0]}: {complaint.decode()}")
        return printed.decode()

    def database_url(self, plugin: str) -> str:
        """Return the address of a plugin's database."""
        return self.supervisor.configuration.plugin_database(plugin)

    @property
    def mail_folder(self) -> Path:
        """Where the mail sink keeps what it took."""
        return self.supervisor.folder / "mail"

    @property
    def provider_url(self) -> str:
        """The address of the payment provider's stand-in."""
        return f"http://127.0.0.1:{self.supervisor.stand_in_ports['razorpay']}"


def layouts_of(topology: Topology, environment: Mapping[str, str]) -> list[Layout]:
    """Return the host processes of a topology."""
    if topology != "split":
        return [Layout(name="host1", environment=environment)]
    split = [
        Layout(
            name=f"{plugin}-{number}", plugins=(plugin,), has_gateway=False, environment=environment
        )
        for plugin in plugin_names()
        for number in (1, 2)
    ]
    gateways = [
        Layout(name=f"gateway-{number}", plugins=("none",), environment=environment)
        for number in (1, 2)
    ]
    return [*split, *gateways]


@asynccontextmanager
async def running_system(
    topology: Topology = "one-local",
    *,
    overrides: Mapping[str, Any] | None = None,
    layouts: Sequence[Layout] | None = None,
    durable: bool = False,
) -> AsyncIterator[System]:
    """Start a system on free ports and data of its own, yield it, and stop it."""
    with throwaway_folder() as folder:
        port = free_port()
        settings: dict[str, Any] = {
            "embedded": {"folder": str(folder)},
            "gateway": {"port": port, "internal_port": free_port(taken=[port])},
            "bus": {"local_calls": topology == "one-local"},
            "database": {"pool": {"max_size": 3}},
            "plugins": {"identity": {"admin_email": ADMIN_EMAIL, "admin_password": ADMIN_PASSWORD}},
        }
        merge(settings, overrides or {})
        environment = {
            name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")
        }
        supervisor = Supervisor(
            profile="test",
            overrides=settings,
            layouts=layouts if layouts is not None else layouts_of(topology, environment),
            durable=durable,
        )
        await supervisor.start()
        try:
            async with httpx.AsyncClient(
                base_url=f"{supervisor.gateway_url}/api/v1",
                timeout=20,
                limits=httpx.Limits(max_connections=100),
            ) as client:
                yield System(supervisor, client, folder)
        finally:
            await supervisor.stop()
