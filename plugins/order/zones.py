"""Delivery zones: which places are served, and what a delivery there costs."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Final

import msgspec
import shapely
from msgspec import Meta

from kernel.money import Money
from plugins.order.contract import DeliveryAddress
from plugins.order.settings import OrderSettings

ZONES_FILE: Final = "zones.toml"
Degrees = tuple[float, float]


class ZoneRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A zone as the data file gives it; the outline is a ring of (longitude, latitude)."""

    zone_id: str
    name: str
    fee_per_vendor: Annotated[int, Meta(ge=0)]
    pincode_prefixes: Annotated[tuple[str, ...], Meta(min_length=1)]
    outline: Annotated[tuple[Degrees, ...], Meta(min_length=3)]


class ZoneFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole data file."""

    zones: Annotated[tuple[ZoneRow, ...], Meta(min_length=1)]


class Zone:
    """An area that is served, with the fee of one vendor's delivery."""

    __slots__ = ("_area", "_prefixes", "fee_per_vendor", "name", "zone_id")

    def __init__(self, row: ZoneRow) -> None:
        self.zone_id = row.zone_id
        self.name = row.name
        self.fee_per_vendor = Money(row.fee_per_vendor)
        self._prefixes = row.pincode_prefixes
        self._area = shapely.Polygon(row.outline)
        if not self._area.is_valid:
            raise ValueError(f"the outline of zone {row.zone_id} crosses itself")
        shapely.prepare(self._area)

    def holds(self, address: DeliveryAddress) -> bool:
        """Tell whether both the pin code and the place belong to this zone, its edge included."""
        if not address.pincode.startswith(self._prefixes):
            return False
        return bool(shapely.intersects_xy(self._area, address.lon, address.lat))


class Zones:
    """All zones; the first that holds an address is its zone."""

    def __init__(self, zones: Sequence[Zone]) -> None:
        self._zones = tuple(zones)

    def zone_of(self, address: DeliveryAddress) -> Zone | None:
        """Return the zone of an address, or None when it is not served."""
        for zone in self._zones:
            if zone.holds(address):
                return zone
        return None


def load_zones() -> Zones:
    """Read the data file; raises msgspec.ValidationError or ValueError when it is wrong."""
    text = files("plugins.order").joinpath(ZONES_FILE).read_text(encoding="utf-8")
    return Zones([Zone(row) for row in msgspec.toml.decode(text, type=ZoneFile).zones])


@asynccontextmanager
async def open_zones(_settings: OrderSettings) -> AsyncIterator[Zones]:
    """Provide the zones to the plugin's handlers."""
    yield load_zones()
