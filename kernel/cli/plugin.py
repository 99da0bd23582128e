"""``realserv plugin``: what is installed and running, switched on and off, and made anew."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from kernel.cli.options import configured, running_configuration
from kernel.cli.output import json_option, print_json, print_table

if TYPE_CHECKING:
    from kernel.cli.plugin_page import PluginPage
    from kernel.cli.switching import Switched
    from kernel.config import Configuration

reason_option = click.option("--reason", default="", help="Why, for those who look later.")


@click.group()
def plugin() -> None:
    """See, switch and make plugins.

    Example: realserv plugin list
    """


@plugin.command("list")
@configured
@json_option
def list_plugins(profile: str, configs: tuple[Path, ...], *, is_json: bool) -> None:
    """List plugins: the default, an operator's override, and on which hosts each runs.

    Example: realserv plugin list --json
    """
    from kernel.cli.plugin_states import plugin_states

    states = asyncio.run(plugin_states(running_configuration(profile, configs)))
    if is_json:
        print_json(states)
        return
    print_table(
        ("plugin", "version", "default", "override", "state", "hosts"),
        (
            (s.plugin, s.version, s.default, s.override_text, s.state, ", ".join(s.hosts) or "-")
            for s in states
        ),
    )


@plugin.command()
@click.argument("name")
@json_option
def show(name: str, *, is_json: bool) -> None:
    """Show all that a plugin declares: what it needs, says and answers, its permissions and settings.

    Example: realserv plugin show order
    """
    from kernel.cli.plugin_page import page_of
    from kernel.cli.switching import require_plugin
    from kernel.graph import find_plugins

    page = page_of(require_plugin(name, find_plugins()))
    if is_json:
        print_json(page)
    else:
        _print_page(page)


@plugin.command()
@click.argument("name")
@reason_option
@click.option("--cascade", "is_cascade", is_flag=True, help="Switch on what it needs, too.")
@configured
def enable(
    name: str, profile: str, configs: tuple[Path, ...], reason: str, *, is_cascade: bool
) -> None:
    """Switch a plugin on, on every host, without a restart.

    Example: realserv plugin enable notification
    """
    configuration = running_configuration(profile, configs)
    done = asyncio.run(_enable(configuration, name, reason, is_cascade=is_cascade))
    click.echo(f"enabled: {', '.join(done.names)}")
    if done.waits_for:
        click.echo(
            f"{name} is not ready without {', '.join(done.waits_for)}, off now. "
            f"To switch them on too: realserv plugin enable {name} --cascade",
            err=True,
        )


@plugin.command()
@click.argument("name")
@reason_option
@click.option("--cascade", "is_cascade", is_flag=True, help="Switch off those that need it, too.")
@configured
def disable(
    name: str, profile: str, configs: tuple[Path, ...], reason: str, *, is_cascade: bool
) -> None:
    """Switch a plugin off, on every host: work in flight ends, nothing is lost, routes answer 503.

    What others need is refused with their names unless --cascade takes them along.

    Example: realserv plugin disable notification --reason "mail server moves"
    """
    configuration = running_configuration(profile, configs)
    done = asyncio.run(_disable(configuration, name, reason, is_cascade=is_cascade))
    click.echo(f"disabled: {', '.join(done.names)}")


@plugin.command()
@click.argument("name")
@configured
def reset(name: str, profile: str, configs: tuple[Path, ...]) -> None:
    """Drop an operator's override: the configuration decides again.

    Example: realserv plugin reset notification
    """
    configuration = running_configuration(profile, configs)
    had_override = asyncio.run(_reset(configuration, name))
    default = "enabled" if configuration.is_enabled(name) else "disabled"
    if had_override:
        click.echo(f"{name}: override dropped, by default it is {default}")
    else:
        click.echo(f"{name}: there was no override, by default it is {default}")


@plugin.command("new")
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="here",
    help="The folder in which the plugin's folder is made.",
)
@click.option("--summary", default="", help="One sentence on what the plugin is for.")
def new_plugin(name: str, into: Path, summary: str) -> None:
    """Make a plugin in a distribution of its own: it starts, migrates, has tests and a README.

    Example: realserv plugin new loyalty
    """
    from kernel.scaffold import make_plugin

    folder = make_plugin(name, into=into, summary=summary)
    click.echo(f"made {folder}")
    click.echo(f"next: uv pip install -e {folder} && realserv plugin show {name}")


async def _enable(
    configuration: "Configuration", name: str, reason: str, *, is_cascade: bool
) -> "Switched":
    from kernel.cli.plugin_states import moving_switches

    async with moving_switches(configuration) as switches:
        return await switches.enable(name, reason=reason, is_cascade=is_cascade)


async def _disable(
    configuration: "Configuration", name: str, reason: str, *, is_cascade: bool
) -> "Switched":
    from kernel.cli.plugin_states import moving_switches

    async with moving_switches(configuration) as switches:
        return await switches.disable(name, reason=reason, is_cascade=is_cascade)


async def _reset(configuration: "Configuration", name: str) -> bool:
    from kernel.cli.plugin_states import moving_switches

    async with moving_switches(configuration) as switches:
        return await switches.reset(name)


def _print_page(page: "PluginPage") -> None:
    click.secho(f"{page.name} {page.version}", bold=True)
    click.echo(page.summary)
    click.echo()
    for label, names in (
        ("needs", page.needs),
        ("wants", page.wants),
        ("asks", page.asks),
        ("tells", page.tells),
        ("emits", page.emits),
    ):
        click.echo(f"{label:<6} {', '.join(names) or '-'}")
    click.echo()
    if page.permissions:
        print_table(
            ("permission", "allows", "roles"),
            ((p.name, p.summary, ", ".join(p.roles) or "-") for p in page.permissions),
        )
    if page.routes:
        print_table(
            ("route", "message", "allowed to"),
            ((f"{r.method} {r.path}", r.message, r.allow) for r in page.routes),
        )
    if page.subjects:
        print_table(
            ("subject", "does", ""), ((s.subject, s.does, s.summary) for s in page.subjects)
        )
    if page.settings:
        print_table(
            (f"setting of [plugins.{page.name}]", "type", "default", ""),
            (
                (s.name, s.kind, "required" if s.is_required else str(s.default), s.sentence)
                for s in page.settings
            ),
        )
