"""``realserv dlq``: what could not be handled."""

import asyncio
from pathlib import Path

import rich_click as click

from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json, print_table


@click.group()
def dlq() -> None:
    """Look at dead letters: copies of messages that could not be handled.

    Example: realserv dlq list
    """


@dlq.command("list")
@click.option("--plugin", default="", help="Only what this plugin could not handle.")
@click.option("--handler", default="", help="Only what this handler could not handle.")
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    help="The newest so many.",
)
@configured
@json_option
def list_dead_letters(
    plugin: str,
    handler: str,
    limit: int,
    profile: str,
    configs: tuple[Path, ...],
    *,
    is_json: bool,
) -> None:
    """List dead letters, oldest first: when, who, why, and the identity of the message.

    Example: realserv dlq list --plugin notification --json
    """
    from kernel.cli.dead_letter_list import dead_letters

    configuration = running_configuration(profile, configs)
    found = asyncio.run(dead_letters(configuration, plugin, handler, limit))
    if is_json:
        print_json(found)
    elif not found:
        click.echo("There are no dead letters.")
    else:
        print_table(
            ("time", "plugin", "handler", "message", "ce-id", "reason"),
            (
                (
                    letter.stored_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
                    letter.plugin,
                    letter.handler,
                    letter.message,
                    letter.message_id,
                    letter.reason,
                )
                for letter in found
            ),
        )
