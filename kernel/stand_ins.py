"""Local stand-ins of outside providers for development: a process each, found by entry point.

A stand-in says how it is started and which settings point the plugins at it; the supervisor knows
nothing else of it.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import msgspec

ENTRY_POINTS: Final = "realserv.stand_ins"


class StandInPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stand-in runs."""

    port: int
    folder: Path
    gateway_url: str
    secret: Callable[[str], str]
    """Returns a generated secret by its configuration path, ``plugins.payment.key_secret``."""
    setting: Callable[[str], Any]
    """Returns a configured value by its path, or None."""


class StandIn(msgspec.Struct, frozen=True, kw_only=True):
    """How one stand-in is started."""

    module: str
    """Run as ``python -m module``."""
    arguments: Callable[[StandInPlace], list[str]]
    environment: Callable[[StandInPlace], Mapping[str, str]] = lambda _: {}
    configuration: Callable[[StandInPlace], Mapping[str, Any]] = lambda _: {}


def find_stand_ins() -> dict[str, StandIn]:
    """Load all installed stand-ins by name."""
    return {entry.name: entry.load() for entry in entry_points(group=ENTRY_POINTS)}
