"""``realserv why``: what led to something, and what came of it."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click
from rich.markup import escape
from rich.tree import Tree

from kernel.cli.moments import shown
from kernel.cli.options import configured, running_configuration
from kernel.cli.output import console, json_option, print_json

if TYPE_CHECKING:
    from kernel.causes import Handled, Step
    from kernel.config import Configuration


@click.command()
@click.argument("identity")
@configured
@json_option
def why(identity: str, profile: str, configs: tuple[Path, ...], *, is_json: bool) -> None:
    """Show the chain of causes around an order, event, message or intent: who, when, tries, timers, effects.

    IDENTITY is a message's ce-id, an id of the trade such as order_…, or a correlation id.

    Example: realserv why order_01k9z7x3c8e4m9r2t5v6w7y8z0
    """
    found = asyncio.run(_chain(running_configuration(profile, configs), identity))
    if is_json:
        print_json(found)
        return
    tree = Tree(escape(identity), guide_style="dim")
    correlations: dict[str, Tree] = {}
    for step in found:
        branch = correlations.get(step.correlation_id)
        if branch is None:
            title = f"[dim]correlation {escape(step.correlation_id or 'unknown')}[/dim]"
            branch = correlations[step.correlation_id] = tree.add(title)
        _grow(branch, step)
    console().print(tree)


async def _chain(configuration: "Configuration", identity: str) -> "list[Step]":
    from kernel.causes import Causes
    from kernel.cli.databases import open_databases
    from kernel.cli.reach import open_bus
    from kernel.graph import find_plugins

    plugins = find_plugins()
    async with (
        open_bus(configuration) as bus,
        open_databases(configuration, plugins) as databases,
    ):
        return await Causes(bus, databases, plugins).chain(identity)


def _grow(branch: Tree, step: "Step") -> None:
    twig = branch.add(line_of(step))
    for handled in step.handled:
        twig.add(handled_line(handled))
    if step.effect is not None:
        effect = step.effect
        repeats = (
            f", {effect.possible_duplicates} possible duplicates"
            if effect.possible_duplicates
            else ""
        )
        twig.add(
            escape(
                f"effect {effect.effect}: {effect.state}, {effect.attempts} tries{repeats} "
                f"{shown(effect.done_at or effect.started_at)}".rstrip()
            )
        )
    for caused in step.caused:
        _grow(twig, caused)


def line_of(step: "Step") -> str:
    """Return one line about a message, as markup."""
    parts = [f"[dim]{shown(step.said_at)}[/dim]", step.kind, f"[bold]{escape(step.type)}[/bold]"]
    if step.actor:
        parts.append(f"by {escape(step.actor)}")
    if step.stream_seq:
        parts.append(f"#{step.stream_seq}")
    if step.due_at:
        parts.append(f"due {escape(step.due_at)}")
    if not step.is_sent:
        parts.append("[red]not yet sent[/red]")
    parts.append(f"[dim]{escape(step.id)}[/dim]")
    if step.is_asked_for:
        parts.append("[cyan]<-[/cyan]")
    return " ".join(parts)


def handled_line(handled: "Handled") -> str:
    """Return one line about what a handler made of a message, as markup."""
    colour = {"done": "green", "waiting": "yellow", "retrying": "yellow"}.get(handled.state, "red")
    parts = [f"{escape(handled.handler)}: [{colour}]{handled.state}[/{colour}]"]
    if handled.at is not None:
        parts.append(shown(handled.at))
    if handled.failures:
        parts.append(f"after {handled.failures} failures")
    if handled.next_attempt_at is not None:
        parts.append(f"again {shown(handled.next_attempt_at)}")
    if handled.reason:
        parts.append(escape(handled.reason))
    return " ".join(parts)
