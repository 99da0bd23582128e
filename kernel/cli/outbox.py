"""``realserv outbox``: what waits to be published."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from kernel.cli.moments import shown
from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from kernel.cli.outbox_states import OutboxState
    from kernel.config import Configuration


@click.command()
@click.argument("plugins", nargs=-1, metavar="[PLUGIN]...")
@configured
@json_option
def outbox(
    plugins: tuple[str, ...], profile: str, configs: tuple[Path, ...], *, is_json: bool
) -> None:
    """Show what waits in each plugin's outbox, since when, and whether a relay publishes it.

    Ends with 1 when a relay stands still.

    Example: realserv outbox order
    """
    found = asyncio.run(_states(running_configuration(profile, configs), plugins))
    if is_json:
        print_json(found)
    else:
        print_table(
            ("plugin", "facts", "others", "oldest", "published", "stream", "relay since", "fault"),
            (
                (
                    state.plugin,
                    str(state.facts_waiting),
                    str(state.others_waiting),
                    shown(state.oldest_at),
                    str(state.published),
                    "-" if state.stream_ends_at is None else str(state.stream_ends_at),
                    shown(state.relay_since) or "nobody",
                    state.fault,
                )
                for state in found
            ),
        )
    if any(state.fault for state in found):
        raise SystemExit(1)


async def _states(configuration: "Configuration", names: tuple[str, ...]) -> "list[OutboxState]":
    from kernel.cli.databases import open_databases
    from kernel.cli.outbox_states import outbox_state
    from kernel.cli.reach import open_bus
    from kernel.cli.switching import require_plugin
    from kernel.graph import find_plugins

    installed = find_plugins()
    chosen = [require_plugin(name, installed).name for name in names or sorted(installed)]
    async with (
        open_bus(configuration) as bus,
        open_databases(configuration, chosen) as databases,
    ):
        return [await outbox_state(bus, name, database) for name, database in databases.items()]
