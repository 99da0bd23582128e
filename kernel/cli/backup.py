"""``realserv backup``: everything of one moment in one folder, and the proof that it can be restored."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import rich_click as click

from kernel.cli.moments import INDIA
from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from kernel.backup import Manifest
    from kernel.config import Configuration

PASSPHRASE: Final = "REALSERV_BACKUP_PASSPHRASE"  # noqa: S105  the variable's name
BACKUPS: Final = Path("backups")


@click.group(invoke_without_command=True)
@click.option("--to", "folder", type=click.Path(path_type=Path), help="A new folder for it.")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="DAYS",
    help="Afterwards remove back-ups beside it that are older than so many days.",
)
@configured
@json_option
@click.pass_context
def backup(
    ctx: click.Context,
    folder: Path | None,
    keep: int | None,
    profile: str,
    configs: tuple[Path, ...],
    *,
    is_json: bool,
) -> None:
    """Back up all databases, streams, configuration and keys; the system may be at work.

    Secrets are sealed with the passphrase in REALSERV_BACKUP_PASSPHRASE; dumps are not, so keep the
    folder private. Without --to it goes to backups/ under the current time.

    Example: realserv backup --to /var/backups/realserv/monday --keep 7
    """
    if ctx.invoked_subcommand is not None:
        return
    from kernel.backup import forget_old

    passphrase = passphrase_of(os.environ.get(PASSPHRASE, ""))
    now = datetime.now(UTC)
    place = folder or BACKUPS / now.astimezone(INDIA).strftime("%Y-%m-%dT%H-%M-%S")
    place = place.absolute()
    configuration = running_configuration(profile, configs)
    manifest = asyncio.run(_back_up(configuration, place, passphrase))
    removed = forget_old(place.parent, days=keep, now=now) if keep else []
    if is_json:
        print_json(manifest)
    else:
        total = sum(part.bytes for part in (*manifest.databases, *manifest.streams))
        click.echo(f"{place}: {len(manifest.databases)} databases, {total:,} bytes")
        for path in removed:
            click.echo(f"removed {path}")


@backup.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@json_option
def verify(folder: Path, *, is_json: bool) -> None:
    """Restore a back-up into servers that vanish again, and check that all that must hold holds.

    The running system is not touched. Ends with 1 when anything is wrong.

    Example: realserv backup verify backups/2026-05-01T02-00-00
    """
    from kernel.graph import find_plugins
    from kernel.restoration import verify_backup

    proofs = asyncio.run(
        verify_backup(folder, find_plugins(), progress=lambda step: click.echo(step, err=True))
    )
    if is_json:
        print_json(proofs)
    else:
        print_table(
            ("", "part", "what must hold"),
            ((str(p.violations) if p.violations else "ok", p.part, p.sentence) for p in proofs),
        )
    if any(proof.violations for proof in proofs):
        raise SystemExit(1)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@configured
def restore(folder: Path, profile: str, configs: tuple[Path, ...]) -> None:
    """Make everything again from a back-up: the embedded servers' folder, or configured empty servers.

    No host may run, and nothing that is there is overwritten.

    Example: realserv restore backups/2026-05-01T02-00-00
    """
    manifest = asyncio.run(_restore(folder, profile, configs))
    click.echo(f"restored to {manifest.made_at.astimezone(INDIA):%Y-%m-%d %H:%M:%S %Z}")


def passphrase_of(given: str) -> str:
    """Return the passphrase; raises UsageError when there is none."""
    if not given:
        raise click.UsageError(f"{PASSPHRASE} must hold the passphrase by which secrets are sealed")
    return given


async def _back_up(configuration: "Configuration", place: Path, passphrase: str) -> "Manifest":
    from kernel.backup import back_up
    from kernel.cli.reach import open_bus, open_home, operator_name
    from kernel.config import EmbeddedSettings
    from kernel.graph import find_plugins

    embedded = Path(configuration.section("embedded", EmbeddedSettings).folder).resolve()
    async with open_home(configuration) as home, open_bus(configuration) as bus:
        await home.note(operator_name(), "backup", str(place))
        return await back_up(
            configuration,
            find_plugins(),
            bus,
            place,
            passphrase,
            embedded=embedded if embedded.exists() else None,
            progress=lambda step: click.echo(step, err=True),
        )


async def _restore(folder: Path, profile: str, configs: tuple[Path, ...]) -> "Manifest":
    from kernel.config import EmbeddedSettings, load_configuration
    from kernel.graph import find_plugins
    from kernel.restoration import restore_backup, restore_embedded

    def progress(step: str) -> None:
        click.echo(step, err=True)

    configuration = load_configuration(profile=profile, extra=configs)
    plugins = find_plugins()
    if configuration.data.get("bus", {}).get("servers"):
        return await restore_backup(folder, configuration, plugins, progress=progress)
    target = Path(configuration.section("embedded", EmbeddedSettings).folder).resolve()
    passphrase = passphrase_of(os.environ.get(PASSPHRASE, ""))
    return await restore_embedded(folder, target, passphrase, plugins, progress=progress)
