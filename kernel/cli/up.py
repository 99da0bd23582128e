"""``realserv up``: everything on one machine with one command."""

import asyncio
import shutil
import signal
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import rich_click as click
from rich.console import Console
from rich.panel import Panel
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from kernel.cli.options import configured
from kernel.cli.root import ENTRY_POINTS
from kernel.config import TelemetrySettings, load_configuration
from kernel.logs import configure_logs
from kernel.supervisor import Supervisor

SEED: Final = "seed"
"""The command that fills an empty market; contributed by the demonstration, if that is installed."""


@click.command()
@configured
@click.option("--nats", help="Use these NATS servers instead of the embedded one.")
@click.option("--database", help="Use this PostgreSQL, an address with {plugin} for the name.")
@click.option("--redis", help="Use this Redis instead of the embedded one.")
@click.option("--hosts", type=int, help="Host processes; one per core when left out.")
def up(
    profile: str,
    configs: tuple[Path, ...],
    nats: str | None,
    database: str | None,
    redis: str | None,
    hosts: int | None,
) -> None:
    """Start everything here: servers, stand-ins, hosts, the demonstration catalogue.

    Example: realserv up
    """
    overrides: dict[str, Any] = {}
    if nats:
        overrides["bus"] = {"servers": nats}
    if database:
        overrides["database"] = {"url": database}
        overrides["kernel"] = {"database": database.replace("{plugin}", "kernel")}
    if redis:
        overrides["redis"] = {"url": redis}
    if hosts:
        overrides["embedded"] = {"hosts": hosts}
    base = load_configuration(profile=profile, extra=configs, overrides=overrides)
    configure_logs(base.section("telemetry", TelemetrySettings), service="supervisor")
    asyncio.run(_up(profile, configs, overrides))


async def _up(profile: str, configs: tuple[Path, ...], overrides: dict[str, Any]) -> None:
    console = Console(stderr=False)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for request in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(request, stop.set)
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
    ) as progress:
        task = progress.add_task("starting", total=None)
        supervisor = Supervisor(
            profile=profile,
            extra=configs,
            overrides=overrides,
            progress=lambda step: progress.update(task, description=f"started: {step}"),
        )
        starting = asyncio.create_task(supervisor.start())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            return
        starting.result()
    try:
        if supervisor.embedded.demo and entry_points(group=ENTRY_POINTS, name=SEED):
            await _seed(supervisor, configs, stopping, console)
        if stopping.done():
            return
        console.print(Panel(_welcome(supervisor), title="RealServ is up", expand=False))
        failing = asyncio.create_task(supervisor.wait_for_failure())
        await asyncio.wait((failing, stopping), return_when=asyncio.FIRST_COMPLETED)
        if failing.done():
            failing.result()
        failing.cancel()
    finally:
        console.print("stopping: draining, then the servers")
        await supervisor.stop()


async def _seed(
    supervisor: Supervisor,
    configs: tuple[Path, ...],
    stopping: "asyncio.Task[bool]",
    console: Console,
) -> None:
    """Load the demonstration catalogue by a process of its own; the system runs on without it."""
    argv = [sys.executable, "-m", "kernel.cli", SEED, "--if-empty", "--profile", supervisor.profile]
    for path in (*configs, supervisor.generated_file):
        argv += ["--config", str(path)]
    child = await asyncio.create_subprocess_exec(*argv)
    ended = asyncio.create_task(child.wait())
    await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        child.terminate()
        await ended
    elif child.returncode:
        console.print(f"The demonstration catalogue was not loaded (exit {child.returncode}).")


def _welcome(supervisor: Supervisor) -> str:
    identity = supervisor.configuration.data.get("plugins", {}).get("identity", {})
    email = identity.get("admin_email", "admin@realserv.example")
    lines = [
        f"API            {supervisor.gateway_url}/api/v1",
        f"API page       {supervisor.gateway_url}/schema",
        f"Metrics        {supervisor.internal_url}/metrics",
        f"Admin          {email}",
        f"Password       {identity.get('admin_password', '')}",
        f"NATS           {supervisor.configuration.data['bus']['servers']}",
        f'nats CLI       eval "$({_own_command()} nats-context)"',
        f"Logs and data  {supervisor.folder}",
    ]
    return "\n".join(lines)


def _own_command() -> str:
    """Return how this very command is called from here: a fresh clone has it in its venv only."""
    return "realserv" if shutil.which("realserv") else sys.argv[0]
