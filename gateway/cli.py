"""``realserv openapi``: the HTTP API's reference, from the declarations."""

import rich_click as click


@click.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of all installed plugins; nothing needs to run.

    Example: realserv openapi > openapi.json
    """
    from gateway.openapi import openapi_document
    from kernel.cli.output import print_json
    from kernel.graph import find_plugins, start_order

    print_json(openapi_document(start_order(find_plugins())))
