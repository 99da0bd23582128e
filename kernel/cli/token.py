"""``realserv token``: a bus token in a user's name, for debugging with any NATS client."""

import asyncio
from pathlib import Path

import rich_click as click

from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json


@click.command()
@click.option("--as", "email", required=True, metavar="EMAIL", help="The user to speak as.")
@click.option(
    "--minutes",
    type=click.IntRange(1, 60),
    default=5,
    show_default=True,
    help="How long the token holds.",
)
@configured
@json_option
def token(
    email: str, minutes: int, profile: str, configs: tuple[Path, ...], *, is_json: bool
) -> None:
    """Print a bus token in a user's name. It is written down who asked for it.

    It holds on the bus only, as the header realserv-token; the HTTP API refuses it.

    Example: nats req qry.identity.get_me.v1 '{}' -H "realserv-token:$(realserv token --as EMAIL)"
    """
    from kernel.cli.operator_tokens import token_for

    issued = asyncio.run(token_for(running_configuration(profile, configs), email, minutes))
    if is_json:
        print_json(issued)
    else:
        click.echo(issued.token)
