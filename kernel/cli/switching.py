"""Plugins switched on and off by operators, never behind the back of those that need them."""

from collections.abc import Mapping
from typing import NamedTuple

from packaging.requirements import Requirement

from kernel.config import Configuration, KernelSettings
from kernel.errors import Conflict, NotFound
from kernel.graph import dependents_of, start_order
from kernel.home import Home
from kernel.plugin import Plugin
from kernel.switchboard import Switchboard


class UnknownPluginError(NotFound):
    """No plugin of this name is installed."""

    code = "kernel.plugin_unknown"
    title = "There is no such plugin"


class PluginNeededError(Conflict):
    """Other plugins that are on need the one that is to be switched off."""

    code = "kernel.plugin_needed"
    title = "Other plugins need this one"


class Switched(NamedTuple):
    """What a command switched, and what it leaves waiting."""

    names: tuple[str, ...]
    waits_for: tuple[str, ...] = ()


class Switches:
    """The switches as one operator sees and moves them."""

    def __init__(
        self, home: Home, configuration: Configuration, plugins: Mapping[str, Plugin], operator: str
    ) -> None:
        poll = configuration.section("kernel", KernelSettings).switch_poll_seconds
        self.board = Switchboard(home, configuration, plugins.values(), poll_seconds=poll)
        self._home = home
        self._plugins = plugins
        self._operator = operator

    async def load(self) -> None:
        """Read how the switches stand."""
        await self.board.load()

    async def disable(self, name: str, *, reason: str, is_cascade: bool) -> Switched:
        """Switch a plugin off, and those that need it when ``is_cascade``; else PluginNeededError."""
        needed_by = self._switched_on(
            dependents_of(require_plugin(name, self._plugins).name, self._plugins.values())
        )
        if needed_by and not is_cascade:
            raise PluginNeededError(
                f"{name} is needed by {', '.join(sorted(needed_by))}. To switch them off too: "
                f"realserv plugin disable {name} --cascade"
            )
        names = tuple(p for p in reversed(self._order()) if p == name or p in needed_by)
        for each in names:
            because = (
                reason if each == name else f"needs {name}" + (f": {reason}" if reason else "")
            )
            await self._home.override(
                each, is_enabled=False, reason=because, operator=self._operator
            )
        return Switched(names)

    async def enable(self, name: str, *, reason: str, is_cascade: bool) -> Switched:
        """Switch a plugin on, and what it needs when ``is_cascade``; else it waits for that."""
        needs = self._needs_of(require_plugin(name, self._plugins).name)
        off = needs - self._switched_on(needs)
        names = tuple(p for p in self._order() if p == name or (is_cascade and p in off))
        for each in names:
            because = reason if each == name else f"needed by {name}"
            await self._home.override(
                each, is_enabled=True, reason=because, operator=self._operator
            )
        return Switched(names, () if is_cascade else tuple(sorted(off)))

    async def reset(self, name: str) -> bool:
        """Let the configuration decide again; returns whether there was an override.

        Raises PluginNeededError when the default is off and plugins that are on need it.
        """
        state = self.board.states()[require_plugin(name, self._plugins).name]
        needed_by = self._switched_on(dependents_of(name, self._plugins.values()))
        if not state.default and state.is_enabled and needed_by:
            raise PluginNeededError(
                f"{name} is off by default, and {', '.join(sorted(needed_by))} need it. "
                f"To switch them off too: realserv plugin disable {name} --cascade"
            )
        return await self._home.reset(name, operator=self._operator)

    def _switched_on(self, names: set[str]) -> set[str]:
        return {name for name in names if self.board.state_of(name) == "enabled"}

    def _needs_of(self, name: str) -> set[str]:
        found: set[str] = set()
        frontier = {name}
        while frontier:
            frontier = {
                Requirement(text).name for each in frontier for text in self._plugins[each].needs
            } - found
            found |= frontier
        return found

    def _order(self) -> list[str]:
        return [plugin.name for plugin in start_order(self._plugins)]


def require_plugin(name: str, plugins: Mapping[str, Plugin]) -> Plugin:
    """Return a plugin; raises UnknownPluginError that names those there are."""
    found = plugins.get(name)
    if found is None:
        raise UnknownPluginError(
            f"There is no plugin {name}. Installed are {', '.join(sorted(plugins))}"
        )
    return found
