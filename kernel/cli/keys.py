"""``realserv keys``: the keys by which the parts know each other on the bus."""

import asyncio
from pathlib import Path

import rich_click as click

from kernel.cli.options import configured, running_configuration


@click.group()
def keys() -> None:
    """Change the keys of the bus.

    Example: realserv keys rotate-bus order
    """


@keys.command("rotate-bus")
@click.argument("name")
@configured
def rotate_bus(name: str, profile: str, configs: tuple[Path, ...]) -> None:
    """Change a credential's key on the embedded NATS server while everything runs on.

    Both keys are let in until every host has gone over to the new one.

    Example: realserv keys rotate-bus order
    """
    from kernel.cli.reach import NotRunningError
    from kernel.config import EmbeddedSettings
    from kernel.embedded.key_rotation import KeyRotation
    from kernel.embedded.stack_folder import running_stack_info

    configuration = running_configuration(profile, configs)
    folder = Path(configuration.section("embedded", EmbeddedSettings).folder).resolve()
    info = running_stack_info(folder)
    if info is None:
        raise NotRunningError(f"No embedded servers run in {folder}. Start them: realserv up")
    asyncio.run(KeyRotation(info, name).run(click.echo))
