"""Parts of a host that are no plugins, such as the gateway: found by entry point, handed ports."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.metadata import entry_points
from typing import Final, Protocol

import msgspec

from bus.envelope import Caller
from kernel.config import Configuration
from kernel.graph import BrokenPluginError
from kernel.health import HostHealth
from kernel.metrics import MetricsGatherer
from kernel.plugin import Plugin
from kernel.switchboard import Switchboard
from kernel.telemetry import Telemetry
from kernel.tokens import TokenMint

ENTRY_POINTS: Final = "realserv.parts"


class Bell(Protocol):
    """Core subscriptions, as a bell only."""

    def listen(self, subject: str, ring: Callable[[], None]) -> AbstractAsyncContextManager[object]:
        """Call ``ring`` for every message on a subject, from entering until leaving the context."""


class PartPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What a host gives its parts."""

    configuration: Configuration
    plugins: Sequence[Plugin]
    switchboard: Switchboard
    caller: Caller
    mint: TokenMint
    bell: Bell
    health: HostHealth
    metrics: MetricsGatherer
    telemetry: Telemetry


class Part(Protocol):
    """Something that a host starts after its plugins and stops before them."""

    async def start(self) -> None:
        """Begin."""

    def end_streams(self) -> None:
        """End what would keep the stop waiting."""

    async def stop(self) -> None:
        """Take no more, finish what was taken."""


PartFactory = Callable[[PartPorts], Part]


def find_part(name: str) -> PartFactory:
    """Load a part by name; raises BrokenPluginError."""
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        factory: PartFactory = entry.load()
        return factory
    raise BrokenPluginError(f"the part {name} is not installed")
