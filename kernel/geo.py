"""Places on the earth and the distance between them."""

from math import asin, cos, radians, sin, sqrt
from typing import Annotated

from msgspec import Meta, Struct

from kernel.text import END

Latitude = Annotated[float, Meta(ge=-90, le=90, examples=[17.4435])]
Longitude = Annotated[float, Meta(ge=-180, le=180, examples=[78.3772])]
Pincode = Annotated[str, Meta(pattern=rf"^[1-9][0-9]{{5}}{END}", examples=["500081"])]
EARTH_RADIUS_KM = 6371.0088


class Place(Struct, frozen=True):
    """A point in degrees, WGS 84."""

    lat: Latitude
    lon: Longitude

    def distance_km(self, other: "Place") -> float:
        """Return the great-circle distance in kilometres (haversine)."""
        north, east = radians(other.lat - self.lat), radians(other.lon - self.lon)
        half = (
            sin(north / 2) ** 2
            + cos(radians(self.lat)) * cos(radians(other.lat)) * sin(east / 2) ** 2
        )
        return 2 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, half)))
