"""Plugins found by entry point and put in the order of their needs; three different errors."""

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from bus.errors import ServiceError
from bus.message import MessageType, describe
from kernel.plugin import Plugin
from kernel.upcasting import UpcastChainError, upcasters_of

ENTRY_POINTS: Final = "realserv.plugins"


class PluginError(ServiceError):
    """The plugins do not fit together."""

    code = "kernel.plugin_error"
    title = "The plugins do not fit together"


class MissingPluginError(PluginError):
    """A plugin needs one that is configured nowhere."""

    code = "kernel.plugin_missing"


class IncompatiblePluginError(PluginError):
    """A plugin needs another version of one that is there."""

    code = "kernel.plugin_incompatible"


class CircularPluginsError(PluginError):
    """Plugins need each other in a circle; the circle is named."""

    code = "kernel.plugins_circular"


class BrokenPluginError(PluginError):
    """A plugin cannot be loaded, or its declaration names what is not there."""

    code = "kernel.plugin_broken"


def find_plugins() -> dict[str, Plugin]:
    """Load the declarations of all installed plugins, by name."""
    found = {}
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda entry: entry.name):
        plugin = _load(entry)
        if plugin.name != entry.name:
            raise BrokenPluginError(f"entry point {entry.name} declares plugin {plugin.name}")
        found[plugin.name] = plugin
    try:
        upcasters_of(found.values())
    except UpcastChainError as error:
        raise BrokenPluginError(str(error)) from error
    return found


def _load(entry: EntryPoint) -> Plugin:
    try:
        plugin = entry.load()
    except Exception as error:
        raise BrokenPluginError(
            f"plugin {entry.name} cannot be loaded from {entry.value}: {error!r}"
        ) from error
    if not isinstance(plugin, Plugin):
        raise BrokenPluginError(f"{entry.value} is not a Plugin")
    return plugin


def start_order(plugins: Mapping[str, Plugin]) -> list[Plugin]:
    """Return plugins so that each comes after all it needs, otherwise by name.

    Raises MissingPluginError, IncompatiblePluginError or CircularPluginsError.
    """
    needs = {name: _needs(plugin, plugins) for name, plugin in plugins.items()}
    ordered: list[str] = []
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        if name in path:
            circle = [*path[path.index(name) :], name]
            raise CircularPluginsError(f"plugins need each other: {' -> '.join(circle)}")
        path.append(name)
        for needed in sorted(needs[name]):
            visit(needed)
        path.pop()
        done.add(name)
        ordered.append(name)

    for name in sorted(plugins):
        visit(name)
    return [plugins[name] for name in ordered]


def _needs(plugin: Plugin, plugins: Mapping[str, Plugin]) -> list[str]:
    names = []
    for text in plugin.needs:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            raise BrokenPluginError(f"{plugin.name} needs {text!r}: {error}") from error
        other = plugins.get(requirement.name)
        if other is None:
            raise MissingPluginError(
                f"{plugin.name} needs {requirement.name}, which is not installed"
            )
        if not requirement.specifier.contains(other.version):
            raise IncompatiblePluginError(
                f"{plugin.name} needs {text}, but {other.name} is {other.version}"
            )
        names.append(requirement.name)
    return names


def dependents_of(name: str, plugins: Iterable[Plugin]) -> set[str]:
    """Return all plugins that need this one, directly or through others."""
    by_name = {plugin.name: plugin for plugin in plugins}
    found: set[str] = set()
    frontier = {name}
    while frontier:
        frontier = {
            plugin.name
            for plugin in by_name.values()
            if plugin.name not in found
            and frontier & {Requirement(text).name for text in plugin.needs}
        }
        found |= frontier
    return found


def askers_of(plugins: Iterable[Plugin]) -> dict[MessageType, frozenset[str]]:
    """Return for every message the plugins that declare to ask or tell it."""
    found: dict[MessageType, set[str]] = {}
    for plugin in plugins:
        for kind in (*plugin.asks, *plugin.tells):
            found.setdefault(describe(kind), set()).add(plugin.name)
    return {message: frozenset(names) for message, names in found.items()}
