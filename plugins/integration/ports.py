"""The roles that outside providers fill: who finds places, and who measures distances."""

from collections.abc import Sequence
from typing import Protocol

from kernel.geo import Place
from plugins.integration.contract import Distance, Located


class Geocoder(Protocol):
    """Finds places. Answers None for what it does not know; raises Unavailable when it is away."""

    async def locate(self, pincode: str, text: str | None) -> Located | None:
        """Find a pin code; a geocoder that reads addresses narrows it by the text."""

    async def nearest(self, place: Place) -> Located | None:
        """Find the locality nearest to a point."""


class DistanceMeter(Protocol):
    """Measures how far places lie from each other; raises Unavailable when it is away."""

    async def measure(self, origin: Place, destinations: Sequence[Place]) -> tuple[Distance, ...]:
        """Return one distance for each destination, in their order."""
