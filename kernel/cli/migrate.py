"""``realserv migrate``: databases and bus brought to what the code needs."""

import asyncio
from pathlib import Path

import rich_click as click

from kernel.cli.options import configured, running_configuration
from kernel.graph import find_plugins
from kernel.preparation import prepare


@click.command()
@configured
def migrate(profile: str, configs: tuple[Path, ...]) -> None:
    """Migrate all databases, apply streams and consumers, set the jobs' schedules.

    Example: realserv migrate --profile production
    """
    configuration = running_configuration(profile, configs)
    changes = asyncio.run(prepare(configuration, find_plugins().values(), progress=click.echo))
    for change in changes:
        click.echo(f"{change.verb} {change.asset} {' '.join(change.differences)}")
