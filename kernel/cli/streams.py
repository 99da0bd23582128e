"""``realserv streams``: streams and consumers as they must be, and as they are."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from bus.streams import Change
    from kernel.cli.stream_report import StreamState
    from kernel.config import Configuration


@click.group()
def streams() -> None:
    """Compare streams and consumers with the declarations, change them, and see what they hold.

    Example: realserv streams report
    """


@streams.command("plan")
@configured
@json_option
def plan_streams(profile: str, configs: tuple[Path, ...], *, is_json: bool) -> None:
    """Show what would be created or changed. Ends with 1 when there is anything.

    Example: realserv streams plan
    """
    changes = asyncio.run(_plan(running_configuration(profile, configs)))
    _print_changes(changes, is_json=is_json)
    if changes:
        raise SystemExit(1)


@streams.command("apply")
@configured
@json_option
def apply_streams(profile: str, configs: tuple[Path, ...], *, is_json: bool) -> None:
    """Create and change streams, consumers and the jobs' schedules; nothing is ever deleted.

    Example: realserv streams apply
    """
    _print_changes(asyncio.run(_apply(running_configuration(profile, configs))), is_json=is_json)


@streams.command("report")
@configured
@json_option
def report(profile: str, configs: tuple[Path, ...], *, is_json: bool) -> None:
    """Show what each stream holds, whose it is, and how far its consumers are behind.

    Example: realserv streams report --json
    """
    found = asyncio.run(_report(running_configuration(profile, configs)))
    if is_json:
        print_json(found)
        return
    print_table(
        ("stream", "owner", "declared", "messages", "bytes", "last", "consumer", "lag", "in hand"),
        (row for stream in found for row in _rows(stream)),
    )


def _rows(stream: "StreamState") -> list[tuple[str, ...]]:
    declared = "yes" if stream.is_declared else "no"
    head = (
        stream.name,
        stream.owner or "?",
        "differs" if stream.differences else declared,
        str(stream.messages),
        str(stream.bytes),
        str(stream.last),
    )
    consumers = [(each.name, str(each.lag), str(each.in_hand)) for each in stream.consumers]
    first, *others = consumers or [("", "", "")]
    return [(*head, *first), *(("",) * 6 + other for other in others)]


def _print_changes(changes: "list[Change]", *, is_json: bool) -> None:
    if is_json:
        print_json(changes)
    elif not changes:
        click.echo("Everything is as declared.")
    else:
        for change in changes:
            click.echo(f"{change.verb} {change.asset} {' '.join(change.differences)}".rstrip())


async def _plan(configuration: "Configuration") -> "list[Change]":
    from bus.streams import plan
    from kernel.cli.reach import open_bus
    from kernel.config import BusSettings
    from kernel.graph import find_plugins
    from kernel.preparation import assets_of

    replicas = configuration.section("bus", BusSettings).replicas
    async with open_bus(configuration) as bus:
        return await plan(bus, *assets_of(find_plugins().values(), replicas))


async def _apply(configuration: "Configuration") -> "list[Change]":
    from kernel.cli.reach import open_bus, open_home, operator_name
    from kernel.config import BusSettings
    from kernel.graph import find_plugins
    from kernel.preparation import DEPLOYER_CREDENTIAL, prepare_bus

    replicas = configuration.section("bus", BusSettings).replicas
    async with (
        open_home(configuration) as home,
        open_bus(configuration, DEPLOYER_CREDENTIAL) as bus,
    ):
        changes = await prepare_bus(bus, list(find_plugins().values()), replicas)
        for change in changes:
            await home.note(operator_name(), f"streams {change.verb}", change.asset)
        return changes


async def _report(configuration: "Configuration") -> "list[StreamState]":
    from kernel.cli.reach import open_bus
    from kernel.cli.stream_report import stream_states
    from kernel.config import BusSettings
    from kernel.graph import find_plugins
    from kernel.preparation import assets_of

    replicas = configuration.section("bus", BusSettings).replicas
    declared, _ = assets_of(find_plugins().values(), replicas)
    async with open_bus(configuration) as bus:
        return await stream_states(bus, declared)
