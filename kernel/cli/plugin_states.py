"""What the operator sees of plugins and switches while the system runs."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Literal

import click
import msgspec

from bus.errors import ServiceError
from kernel.cli.census import hosts_by_plugin, instances
from kernel.cli.reach import open_bus, open_home, operator_name
from kernel.cli.switching import Switches
from kernel.config import Configuration
from kernel.graph import find_plugins
from kernel.plugin import Plugin
from kernel.switchboard import SwitchState, spread_news

SwitchText = Literal["enabled", "disabled"]
PluginState = Literal["running", "missing", "disabled", "stopping"]


class OverrideRow(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator decided, why, and who it was."""

    switch: SwitchText
    reason: str
    set_by: str


class PluginStateRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``realserv plugin list``.

    ``missing`` is on and answered by no host; ``stopping`` is off and still answers somewhere.
    """

    plugin: str
    version: str
    default: SwitchText
    override: OverrideRow | None
    state: PluginState
    hosts: tuple[str, ...]

    @property
    def override_text(self) -> str:
        """The override in one cell."""
        if self.override is None:
            return "-"
        why = f": {self.override.reason}" if self.override.reason else ""
        return f"{self.override.switch} by {self.override.set_by}{why}"


async def plugin_states(configuration: Configuration) -> list[PluginStateRow]:
    """Return all installed plugins as they stand; raises NotRunningError."""
    plugins = find_plugins()
    async with open_home(configuration) as home, open_bus(configuration) as bus:
        switches = Switches(home, configuration, plugins, operator_name())
        await switches.load()
        hosts = hosts_by_plugin(await instances(bus))
    return state_rows(plugins, switches.board.states(), hosts)


def state_rows(
    plugins: Mapping[str, Plugin],
    states: Mapping[str, SwitchState],
    hosts: Mapping[str, tuple[str, ...]],
) -> list[PluginStateRow]:
    """Put declarations, switches and answers side by side, by name."""
    return [
        PluginStateRow(
            plugin=name,
            version=plugins[name].version,
            default=_switch(is_on=states[name].default),
            override=_override(states[name]),
            state=_state(is_on=states[name].is_enabled, is_answered=bool(hosts.get(name))),
            hosts=hosts.get(name, ()),
        )
        for name in sorted(plugins)
    ]


@asynccontextmanager
async def moving_switches(configuration: Configuration) -> AsyncIterator[Switches]:
    """Yield the switches, then tell every host to look; without the bus they look by themselves."""
    async with open_home(configuration) as home:
        switches = Switches(home, configuration, find_plugins(), operator_name())
        await switches.load()
        yield switches
    try:
        async with open_bus(configuration) as bus:
            await spread_news(bus)
    except ServiceError as error:
        click.echo(f"The news could not be spread, hosts look by themselves: {error}", err=True)


def _switch(*, is_on: bool) -> SwitchText:
    return "enabled" if is_on else "disabled"


def _override(state: SwitchState) -> OverrideRow | None:
    if state.override is None:
        return None
    return OverrideRow(
        switch=_switch(is_on=state.override.is_enabled),
        reason=state.override.reason,
        set_by=state.override.set_by,
    )


def _state(*, is_on: bool, is_answered: bool) -> PluginState:
    if is_on:
        return "running" if is_answered else "missing"
    return "stopping" if is_answered else "disabled"
