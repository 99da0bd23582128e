"""What must hold of the data at any time: each plugin says it in its module ``invariants``."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec

import msgspec

from kernel.database import Database
from kernel.plugin import Plugin
from kernel.sql import Statement


class Invariant(msgspec.Struct, frozen=True):
    """A sentence that must be true, and a statement that counts the rows that belie it."""

    sentence: str
    violations: Statement


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """Whether one sentence is true of one plugin's data."""

    plugin: str
    sentence: str
    violations: int


def invariants_of(plugin: Plugin) -> tuple[Invariant, ...]:
    """Return what a plugin says must hold; nothing when it has no such module."""
    name = f"{plugin.package}.invariants"
    if find_spec(name) is None:
        return ()
    found: tuple[Invariant, ...] = import_module(name).INVARIANTS
    return found


async def holdings(
    plugins: Mapping[str, Plugin], databases: Mapping[str, Database]
) -> list[Holding]:
    """Look at all databases."""
    return [
        Holding(
            plugin=name,
            sentence=invariant.sentence,
            violations=await databases[name].fetchval(invariant.violations),
        )
        for name, plugin in plugins.items()
        for invariant in invariants_of(plugin)
    ]
