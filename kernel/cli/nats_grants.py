"""``realserv nats-grants``: what each credential of the bus may do, for a NATS server of one's own."""

from pathlib import Path

import msgspec
import rich_click as click

from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json


@click.command("nats-grants")
@click.option(
    "--keys",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the seeds; those that are missing are made. Else bus.keys_dir.",
)
@configured
@json_option
def nats_grants(
    keys: Path | None, profile: str, configs: tuple[Path, ...], *, is_json: bool
) -> None:
    """Print the accounts block of a NATS server: public keys, and what the declarations allow each.

    With --json the subjects alone, by credential.

    Example: realserv nats-grants --keys /etc/realserv/keys > /etc/nats/accounts.conf
    """
    from kernel.config import BusSettings, ConfigurationError
    from kernel.embedded.nats import UserKeys
    from kernel.grants import accounts_block, grants_of
    from kernel.graph import find_plugins

    plugins = find_plugins().values()
    if is_json:
        print_json(msgspec.to_builtins(grants_of(plugins)))
        return
    if keys is None:
        bus = running_configuration(profile, configs).section("bus", BusSettings)
        if not bus.keys_dir:
            raise ConfigurationError(["bus.keys_dir is empty: name a folder with --keys"])
        keys = Path(bus.keys_dir)
    click.echo(accounts_block(UserKeys(keys), plugins), nl=False)
