"""``realserv doctor``: what is wrong here, and what to do."""

import asyncio
from pathlib import Path
from typing import Final

import rich_click as click

from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json, print_table

EXIT_FAULTS: Final = 1


@click.command()
@configured
@json_option
def doctor(profile: str, configs: tuple[Path, ...], *, is_json: bool) -> None:
    """Check configuration, ports, servers, credentials, migrations, streams, plugins and disk.

    Says what to do about each fault. Ends with 0 when nothing is wrong, with 1 when something is.

    Example: realserv doctor --json
    """
    from kernel.cli.diagnosis import examine

    found = asyncio.run(examine(running_configuration(profile, configs)))
    if is_json:
        print_json(found)
    else:
        print_table(
            ("", "check", "found", "what to do"),
            ((f.status, f.check, f.found, f.advice or "-") for f in found),
        )
    if any(finding.status == "fault" for finding in found):
        raise SystemExit(EXIT_FAULTS)
