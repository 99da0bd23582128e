"""``realserv asyncapi``: the bus's reference, from the declarations."""

import rich_click as click

from kernel.cli.output import print_json


@click.command()
def asyncapi() -> None:
    """Print the AsyncAPI 3.0 document of all installed plugins; nothing needs to run.

    Example: realserv asyncapi > asyncapi.json
    """
    from kernel.asyncapi import asyncapi_document
    from kernel.graph import find_plugins, start_order

    print_json(asyncapi_document(start_order(find_plugins())))
