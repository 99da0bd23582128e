"""The published language of integration: places, distances, the health of providers."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from bus.message import Query, View
from kernel.geo import Latitude, Longitude, Pincode, Place
from kernel.text import Line

OWNER: Final = "integration"


class Located(View, frozen=True, kw_only=True):
    """A place that was found, and how exactly."""

    place: Place
    locality: str
    pincode: str
    city: str
    state_code: str
    precision: Literal["address", "locality", "pincode"]


class Geocode(Query[Located], frozen=True, kw_only=True):
    """Find a place by pin code, and by address text where a provider can; ``integration.place_not_found``."""

    pincode: Pincode
    text: Line | None = None


class ReverseGeocode(Query[Located], frozen=True, kw_only=True):
    """Find the locality nearest to a point; ``integration.place_not_found`` when none is near."""

    lat: Latitude
    lon: Longitude


class Distance(View, frozen=True, kw_only=True):
    """A distance and who measured it."""

    kilometres: float
    source: Literal["great_circle", "road"]


class Distances(View, frozen=True, kw_only=True):
    """One distance for each destination, in the order asked."""

    distances: tuple[Distance, ...]


class MeasureDistances(Query[Distances], frozen=True, kw_only=True):
    """Measure from one place to several."""

    origin: Place
    destinations: Annotated[tuple[Place, ...], Meta(min_length=1, max_length=100)]


class ProviderHealth(View, frozen=True, kw_only=True):
    """What calls to a provider have come to lately."""

    provider: str
    breaker: Literal["closed", "open", "half_open"]
    calls: int
    failures: int


class ProviderHealthList(View, frozen=True, kw_only=True):
    """All providers that this process calls."""

    providers: tuple[ProviderHealth, ...]


class GetProviderHealth(Query[ProviderHealthList], frozen=True, kw_only=True):
    """Tell how the outside providers do; for staff."""
