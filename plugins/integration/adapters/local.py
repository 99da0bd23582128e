"""The ports filled without any provider: a gazetteer that ships with the plugin, and the great circle."""

import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from kernel.geo import Latitude, Longitude, Pincode, Place
from plugins.integration.contract import Distance, Located
from plugins.integration.ports import DistanceMeter, Geocoder
from plugins.integration.settings import IntegrationSettings

GAZETTEER: Final = Path(__file__).parent.parent / "gazetteer.toml"


class GazetteerRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pin code with a typical point in it."""

    pincode: Pincode
    locality: str
    lat: Latitude
    lon: Longitude
    city: str


class Gazetteer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file as it is written."""

    state_code: str
    places: tuple[GazetteerRow, ...]


class LocalGazetteer:
    """A Geocoder over a short list of pin codes. It reads no addresses: the text narrows nothing."""

    def __init__(self, gazetteer: Gazetteer, *, nearest_within_km: float) -> None:
        self._state_code = gazetteer.state_code
        self._rows = gazetteer.places
        self._by_pincode = {row.pincode: row for row in gazetteer.places}
        self._nearest_within_km = nearest_within_km

    async def locate(self, pincode: str, text: str | None) -> Located | None:
        """Find a pin code."""
        row = self._by_pincode.get(pincode)
        return None if row is None else self._located(row, "pincode")

    async def nearest(self, place: Place) -> Located | None:
        """Find the nearest listed point; of equally near ones the lower pin code."""
        distance, _, row = min(
            (place.distance_km(Place(row.lat, row.lon)), row.pincode, row) for row in self._rows
        )
        return self._located(row, "locality") if distance <= self._nearest_within_km else None

    def _located(self, row: GazetteerRow, precision: Literal["locality", "pincode"]) -> Located:
        return Located(
            place=Place(row.lat, row.lon),
            locality=row.locality,
            pincode=row.pincode,
            city=row.city,
            state_code=self._state_code,
            precision=precision,
        )


class GreatCircleMeter:
    """A DistanceMeter as the crow flies, to the metre."""

    async def measure(self, origin: Place, destinations: Sequence[Place]) -> tuple[Distance, ...]:
        """Measure along great circles."""
        return tuple(
            Distance(kilometres=round(origin.distance_km(place), 3), source="great_circle")
            for place in destinations
        )


def read_gazetteer(path: Path = GAZETTEER) -> Gazetteer:
    """Read the list that ships with the plugin; raises msgspec.ValidationError naming what is wrong."""
    return msgspec.convert(tomllib.loads(path.read_text("utf-8")), Gazetteer)


@asynccontextmanager
async def open_geocoder(settings: IntegrationSettings) -> AsyncIterator[Geocoder]:
    """Open the local gazetteer."""
    yield LocalGazetteer(read_gazetteer(), nearest_within_km=settings.nearest_within_km)


@asynccontextmanager
async def open_distance_meter(settings: IntegrationSettings) -> AsyncIterator[DistanceMeter]:
    """Open the great-circle meter."""
    yield GreatCircleMeter()
