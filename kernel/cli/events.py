"""``realserv events``: the facts."""

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import rich_click as click

from kernel.cli.options import configured, running_configuration

if TYPE_CHECKING:
    from kernel.config import Configuration


@click.group()
def events() -> None:
    """Look at the facts that plugins have told.

    Example: realserv events tail --plugin order
    """


@events.command()
@click.option(
    "--plugin", "plugins", multiple=True, help="Only this plugin's facts; may be repeated."
)
@click.option("--from", "first", type=click.IntRange(min=1), help="Begin at this sequence.")
@click.option(
    "--last",
    "last_few",
    type=click.IntRange(min=0, max=10_000),
    default=10,
    show_default=True,
    help="Without --from begin with the last so many of each plugin.",
)
@click.option("--follow", "is_following", is_flag=True, help="Go on until interrupted.")
@configured
def tail(
    plugins: tuple[str, ...],
    first: int | None,
    last_few: int,
    profile: str,
    configs: tuple[Path, ...],
    *,
    is_following: bool,
) -> None:
    """Print facts as JSON, one a line.

    Example: realserv events tail --plugin order --follow
    """
    configuration = running_configuration(profile, configs)
    with suppress(KeyboardInterrupt):
        asyncio.run(_tail(configuration, plugins, first, last_few, is_following=is_following))


async def _tail(
    configuration: "Configuration",
    names: tuple[str, ...],
    first: int | None,
    last_few: int,
    *,
    is_following: bool,
) -> None:
    from kernel.cli.fact_tail import facts
    from kernel.cli.reach import open_bus
    from kernel.cli.switching import require_plugin
    from kernel.graph import find_plugins

    installed = find_plugins()
    chosen = [require_plugin(name, installed).name for name in names or sorted(installed)]
    async with open_bus(configuration) as bus:
        found = facts(bus, chosen, first=first, last_few=last_few, is_following=is_following)
        async for fact in found:
            click.echo(msgspec.json.encode(fact).decode())
