"""``realserv nats-context``: point the ``nats`` command line at the running system."""

import os
import shlex
from pathlib import Path
from typing import Final

import rich_click as click

from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json

NAME: Final = "realserv"


@click.command("nats-context")
@click.option("--save", "is_saved", is_flag=True, help="Write a context for the nats CLI.")
@configured
@json_option
def nats_context(profile: str, configs: tuple[Path, ...], *, is_saved: bool, is_json: bool) -> None:
    """Print the lines that point the nats CLI at the running system, or save them as its context.

    Example: eval "$(realserv nats-context)" && nats micro ls
    """
    from kernel.cli.reach import CREDENTIAL, require_addresses
    from kernel.config import BusSettings

    configuration = running_configuration(profile, configs)
    require_addresses(configuration)
    bus = configuration.section("bus", BusSettings)
    seed = Path(bus.keys_dir, f"{CREDENTIAL}.nk").resolve() if bus.keys_dir else None
    context = {"description": "RealServ", "url": bus.servers} | (
        {"nkey": str(seed)} if seed else {}
    )
    if is_saved:
        path = save_context(context)
        click.echo(f"saved {path}", err=True)
        click.echo(f"nats --context {NAME} micro ls")
    elif is_json:
        print_json(context)
    else:
        click.echo(f"export NATS_URL={shlex.quote(bus.servers)}")
        if seed is not None:
            click.echo(f"export NATS_NKEY={shlex.quote(str(seed))}")


def save_context(context: dict[str, str]) -> Path:
    """Write the context where the nats CLI looks for it; the seed itself stays in its own file."""
    from kernel.embedded.private_files import write_private
    from kernel.embedded.stack_folder import as_text

    config = os.environ.get("XDG_CONFIG_HOME")
    folder = (Path(config) if config else Path.home() / ".config") / "nats" / "context"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}.json"
    write_private(path, as_text(context))
    return path
