"""The configuration as it is in force: what is given, masked, over the defaults of the declarations."""

from collections.abc import Mapping
from typing import Any

import msgspec
import tomlkit

from bus.codec import to_plain
from kernel.cli.plugin_page import default_of
from kernel.config import SECTIONS, Configuration, masked, merge
from kernel.plugin import Plugin
from kernel.settings import Settings


def settings_in_force(
    configuration: Configuration, plugins: Mapping[str, Plugin]
) -> dict[str, Any]:
    """Return all settings as plain data. Only given values can be secret: a secret has no default."""
    found: dict[str, Any] = {name: defaults_of(kind) for name, kind in SECTIONS.items()}
    found["plugins"] = {
        name: {"enabled": True, **defaults_of(plugin.settings)}
        for name, plugin in sorted(plugins.items())
    }
    merge(found, masked(configuration.data))
    return found


def defaults_of(kind: type[Settings]) -> dict[str, Any]:
    """Return the fields that have a default, with it."""
    return {
        field.encode_name: to_plain(default_of(field))
        for field in msgspec.structs.fields(kind)
        if not field.required
    }


def as_toml(data: Mapping[str, Any]) -> str:
    """Return settings as TOML, in which an empty value cannot stand and is left out."""
    return tomlkit.dumps(_without_none(data)).rstrip()


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_without_none(inner) for inner in value if inner is not None]
    return value
