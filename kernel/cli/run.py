"""``realserv run``: one host process."""

import asyncio
import gc
import os
import signal
from pathlib import Path

import rich_click as click
import structlog
import uvloop

from kernel.cli.options import configured
from kernel.config import Configuration, TelemetrySettings, load_configuration
from kernel.host import Host
from kernel.logs import configure_logs
from kernel.tracing import tracing

log = structlog.get_logger("kernel.run")


@click.command()
@configured
@click.option("--gateway", "has_gateway", is_flag=True, help="Serve HTTP in this process.")
@click.option("--plugins", default="all", show_default=True, help="Names, separated by commas.")
@click.option("--name", default="", help="The host's name in logs and metrics.")
@click.option(
    "--ready-file", type=click.Path(path_type=Path), help="Written with the pid when ready."
)
def run(
    profile: str,
    configs: tuple[Path, ...],
    plugins: str,
    name: str,
    ready_file: Path | None,
    *,
    has_gateway: bool,
) -> None:
    """Run one host: any set of plugins, and the gateway if asked to.

    Example: realserv run --gateway --plugins order,payment
    """
    configuration = load_configuration(profile=profile, extra=configs)
    settings = configuration.section("telemetry", TelemetrySettings)
    configure_logs(settings, service=name or "host")
    chosen = None if plugins == "all" else [p for p in plugins.split(",") if p and p != "none"]
    uvloop.run(
        _serve(configuration, chosen, name, ready_file, has_gateway=has_gateway), debug=False
    )


async def _serve(
    configuration: Configuration,
    plugins: list[str] | None,
    name: str,
    ready_file: Path | None,
    *,
    has_gateway: bool,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for request in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(request, stop.set)
    settings = configuration.section("telemetry", TelemetrySettings)
    with tracing(settings, service=name or "host"):
        parts = ("gateway",) if has_gateway else ()
        host = Host(configuration, plugins=plugins, parts=parts, name=name)
        await host.start()
        gc.collect()
        gc.freeze()
        if ready_file is not None:
            ready_file.write_text(str(os.getpid()))
        log.info("host_ready", host=host.name)
        try:
            await stop.wait()
        finally:
            await host.stop()
            if ready_file is not None:
                ready_file.unlink(missing_ok=True)
