"""``realserv dlq``: what could not be handled, once more or away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from kernel.cli.moments import MOMENT, shown
from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from kernel.config import Configuration
    from kernel.dead_letter_office import Act, Choice, DeadLetter, DeadLetterOffice


@click.group()
def dlq() -> None:
    """Look at dead letters, messages that could not be handled; have them handled again or discard them.

    Example: realserv dlq list
    """


def choosing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose dead letters."""
    for option in (
        click.option("--until", type=MOMENT, help="Only what died before this."),
        click.option("--since", type=MOMENT, help="Only what died since: a time, or an age: 2h."),
        click.option("--cause", default="", help="Only where the reason holds this text."),
        click.option("--key", default="", help="Only this key, such as an order's id."),
        click.option("--handler", default="", help="Only what this handler could not handle."),
        click.option("--plugin", default="", help="Only what this plugin could not handle."),
    ):
        function = option(function)
    return function


def acting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of commands that change something."""
    for option in (
        click.option("--all", "is_all", is_flag=True, help="All there are, without choosing."),
        click.option(
            "--rate",
            type=click.FloatRange(min=0.01, max=1000),
            default=20.0,
            show_default=True,
            help="At most so many a second.",
        ),
        click.option("--dry-run", "is_dry_run", is_flag=True, help="Only say what would be done."),
    ):
        function = option(function)
    return function


@dlq.command("list")
@choosing
@click.option("--all", "is_all", is_flag=True, help="Also copies of what was handled since.")
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
    limit: int,
    profile: str,
    configs: tuple[Path, ...],
    *,
    is_all: bool,
    is_json: bool,
    **chosen: Any,
) -> None:
    """List dead letters, oldest first: when, who, why, what it waits for, and the message's identity.

    Example: realserv dlq list --plugin notification --since 2h --json
    """
    configuration = running_configuration(profile, configs)
    found = asyncio.run(_letters(configuration, choice_of(**chosen)))
    wanted = [letter for letter in found if is_all or letter.state != "settled"][-limit:]
    if is_json:
        print_json(wanted)
    elif not wanted:
        click.echo("There are no dead letters.")
    else:
        _print_letters(wanted)


@dlq.command("show")
@click.argument("identity")
@configured
@json_option
def show(identity: str, profile: str, configs: tuple[Path, ...], *, is_json: bool) -> None:
    """Show one dead letter by the ce-id of its message, with headers and content. Is written down.

    Example: realserv dlq show 01999b3e-7c00-7abc-8def-0123456789ab
    """

    async def contents() -> Any:
        async with _office(running_configuration(profile, configs)) as office:
            return await office.contents(identity)

    found = asyncio.run(contents())
    if is_json:
        print_json(found)
        return
    for content in found:
        _print_letters([content.letter])
        for name, value in sorted(content.headers.items()):
            click.echo(f"{name}: {value}")
        click.echo(f"\n{content.payload}\n")


@dlq.command("redrive")
@click.argument("identities", nargs=-1)
@choosing
@acting
@configured
@json_option
def redrive(
    identities: tuple[str, ...],
    rate: float,
    profile: str,
    configs: tuple[Path, ...],
    *,
    is_all: bool,
    is_dry_run: bool,
    is_json: bool,
    **chosen: Any,
) -> None:
    """Have dead letters handled once more, by ce-id or by choice; in order for each key.

    What is older than 30 days is refused. Every act is written down. Exit code 1 when anything was refused.

    Example: realserv dlq redrive --plugin payment --cause unavailable --dry-run
    """
    choice = _meant(identities, is_all=is_all, **chosen)
    _act(
        running_configuration(profile, configs),
        lambda office: office.redrive(choice, rate=rate, is_dry_run=is_dry_run),
        is_dry_run=is_dry_run,
        is_json=is_json,
    )


@dlq.command("discard")
@click.argument("identities", nargs=-1)
@click.option("--reason", required=True, help="Why; it is written down.")
@choosing
@acting
@configured
@json_option
def discard(
    identities: tuple[str, ...],
    reason: str,
    rate: float,
    profile: str,
    configs: tuple[Path, ...],
    *,
    is_all: bool,
    is_dry_run: bool,
    is_json: bool,
    **chosen: Any,
) -> None:
    """Give dead letters up for good, by ce-id or by choice; what waits behind a parked event goes on.

    Example: realserv dlq discard 01999b3e-7c00-7abc-8def-0123456789ab --reason "refunded by hand"
    """
    if not reason.strip():
        raise click.UsageError("--reason must say why")
    choice = _meant(identities, is_all=is_all, **chosen)
    _act(
        running_configuration(profile, configs),
        lambda office: office.discard(
            choice, reason=reason.strip(), rate=rate, is_dry_run=is_dry_run
        ),
        is_dry_run=is_dry_run,
        is_json=is_json,
    )


def choice_of(
    *,
    plugin: str,
    handler: str,
    key: str,
    cause: str,
    since: datetime | None,
    until: datetime | None,
    identities: tuple[str, ...] = (),
) -> "Choice":
    """Return what the options choose."""
    from kernel.dead_letter_office import Choice

    return Choice(
        plugin=plugin,
        handler=handler,
        key=key,
        cause=cause,
        since=since,
        until=until,
        identities=identities,
    )


def _meant(identities: tuple[str, ...], *, is_all: bool, **chosen: Any) -> "Choice":
    choice = choice_of(identities=identities, **chosen)
    if choice.is_everything and not is_all:
        raise click.UsageError("Say which: ce-ids, options that choose, or --all")
    return choice


async def _letters(configuration: "Configuration", choice: "Choice") -> "list[DeadLetter]":
    async with _office(configuration) as office:
        return await office.letters(choice)


def _act(
    configuration: "Configuration",
    begin: "Callable[[DeadLetterOffice], AsyncIterator[Act]]",
    *,
    is_dry_run: bool,
    is_json: bool,
) -> None:
    async def run() -> "list[Act]":
        async with _office(configuration) as office:
            acts = []
            async for act in begin(office):
                acts.append(act)
                if not is_json:
                    would = "would be " if is_dry_run and not act.is_refused else ""
                    letter = act.letter
                    click.echo(
                        f"{would}{act.result}: {letter.plugin}.{letter.handler} "
                        f"{letter.message} {letter.key} {letter.message_id}"
                    )
            return acts

    acts = asyncio.run(run())
    refused = sum(act.is_refused for act in acts)
    if is_json:
        print_json(acts)
    else:
        click.echo(f"{len(acts) - refused} of {len(acts)}" + (" (dry run)" if is_dry_run else ""))
    if refused:
        raise SystemExit(1)


@asynccontextmanager
async def _office(configuration: "Configuration") -> "AsyncIterator[DeadLetterOffice]":
    from kernel.cli.databases import open_databases
    from kernel.cli.reach import open_bus, open_home, operator_name
    from kernel.dead_letter_office import DeadLetterOffice
    from kernel.graph import find_plugins

    plugins = find_plugins()
    operator = operator_name()
    async with (
        open_home(configuration) as home,
        open_bus(configuration) as bus,
        open_databases(configuration, plugins) as databases,
    ):

        async def note(act: str, thing: str) -> None:
            await home.note(operator, act, thing)

        yield DeadLetterOffice(bus, databases, plugins, note)


def _print_letters(letters: "list[DeadLetter]") -> None:
    print_table(
        ("time", "plugin", "handler", "message", "key", "ce-id", "state", "tries", "reason"),
        (
            (
                shown(letter.stored_at),
                letter.plugin,
                letter.handler,
                letter.message,
                letter.key or next(iter(letter.mentions), ""),
                letter.message_id,
                _state(letter),
                str(letter.failures),
                letter.reason,
            )
            for letter in letters
        ),
    )


def _state(letter: "DeadLetter") -> str:
    if letter.next_attempt_at is None:
        return letter.state
    return f"{letter.state} {shown(letter.next_attempt_at)}"
