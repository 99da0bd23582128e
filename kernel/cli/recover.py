"""``realserv recover``: what was lost, made again from what is left."""

import asyncio
from pathlib import Path

import rich_click as click

from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json, print_table
from kernel.cli.progress import fact_progress
from kernel.cli.reach import open_home, operator_name
from kernel.config import Configuration
from kernel.graph import find_plugins
from kernel.recovery import Refilled, recover_from_outbox


@click.command()
@click.argument("plugins", nargs=-1)
@click.option("--from-outbox", is_flag=True, help="The stream store was lost.")
@configured
@json_option
def recover(
    plugins: tuple[str, ...],
    profile: str,
    configs: tuple[Path, ...],
    *,
    from_outbox: bool,
    is_json: bool,
) -> None:
    """Make lost streams again from the outboxes: of these plugins, or of all.

    Example: realserv recover --from-outbox
    """
    if not from_outbox:
        raise click.UsageError("Say what is whole: --from-outbox.")
    configuration = running_configuration(profile, configs)
    found = asyncio.run(_from_outbox(configuration, plugins))
    if is_json:
        print_json(found)
        return
    for line in found:
        if line.assumed:
            click.echo(
                f"{line.plugin}: others had read {line.assumed} facts before the outbox noted where "
                "they stood; they stand in the order of the outbox now.",
                err=True,
            )
    print_table(
        ("plugin", "facts", "published", "sent again"),
        ((f.plugin, str(f.facts), str(f.published), str(f.sent_again)) for f in found),
    )


async def _from_outbox(configuration: Configuration, plugins: tuple[str, ...]) -> list[Refilled]:
    async with open_home(configuration) as home:
        await home.note(operator_name(), "recover --from-outbox", " ".join(plugins) or "all")
    with fact_progress() as progress:
        return await recover_from_outbox(configuration, find_plugins(), plugins, progress)
