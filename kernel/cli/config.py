"""``realserv config``: what is in force."""

from pathlib import Path

import rich_click as click

from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json


@click.group()
def config() -> None:
    """Look at the configuration.

    Example: realserv config show
    """


@config.command()
@configured
@json_option
def show(profile: str, configs: tuple[Path, ...], *, is_json: bool) -> None:
    """Print the configuration in force, defaults included, secrets masked, as TOML or JSON.

    Example: realserv config show --profile production --json
    """
    from kernel.cli.settings_in_force import as_toml, settings_in_force
    from kernel.graph import find_plugins

    found = settings_in_force(running_configuration(profile, configs), find_plugins())
    if is_json:
        print_json(found)
    else:
        click.echo(as_toml(found))
