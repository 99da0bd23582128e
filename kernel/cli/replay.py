"""``realserv replay``: read models made anew from the facts."""

from datetime import datetime
from pathlib import Path
from typing import Any

import rich_click as click
import uvloop

from kernel.cli.moments import MOMENT
from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json, print_table
from kernel.cli.progress import fact_progress
from kernel.cli.reach import open_home, operator_name
from kernel.config import Configuration
from kernel.graph import PluginError, find_plugins
from kernel.replay import Replayed, replay
from kernel.upcasting import upcasters_of


class Place(click.ParamType[int | datetime]):
    """A sequence of a stream, or a time."""

    name = "seq|time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | datetime:
        """Return a number as a sequence, all else as a moment."""
        if isinstance(value, int | datetime):
            return value
        return max(1, int(value)) if value.isdigit() else MOMENT.convert(value, param, ctx)


@click.command("replay")
@click.argument("plugin")
@click.option("--model", help="Only this read model.")
@click.option(
    "--from",
    "start",
    type=Place(),
    default=1,
    help="Leave out what came before this sequence or time.",
)
@click.option("--dry-run", is_flag=True, help="Compare with the live model, and change nothing.")
@configured
@json_option
def replay_command(
    plugin: str,
    model: str | None,
    start: int | datetime,
    profile: str,
    configs: tuple[Path, ...],
    *,
    dry_run: bool,
    is_json: bool,
) -> None:
    """Make the read models of a plugin anew from the facts, while everything runs.

    Example: realserv replay order --model sales --dry-run
    """
    configuration = running_configuration(profile, configs)
    found = uvloop.run(_replay(configuration, plugin, model, start, is_dry=dry_run))
    if is_json:
        print_json(found)
        return
    print_table(
        ("model", "facts", "rows", "facts/s", "before", "now"),
        (
            (
                line.model,
                f"{line.facts:,}",
                f"{line.rows:,}",
                f"{line.rate:,.0f}",
                "the same" if line.is_same else "different",
                "made anew" if line.is_switched else "as it was",
            )
            for line in found
        ),
    )


async def _replay(
    configuration: Configuration,
    name: str,
    model: str | None,
    start: int | datetime,
    *,
    is_dry: bool,
) -> list[Replayed]:
    plugins = find_plugins()
    if name not in plugins:
        raise PluginError(f"{name} is not installed")
    async with open_home(configuration) as home:
        if not is_dry:
            await home.note(operator_name(), "replay", f"{name} {model or ''}".strip())
    with fact_progress() as progress:
        return await replay(
            configuration,
            plugins[name],
            upcasters_of(plugins.values()),
            model=model,
            start=start,
            is_dry=is_dry,
            progress=progress,
        )
