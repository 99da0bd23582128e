"""The questions about places, distances and providers."""

from kernel.context import Context
from kernel.geo import Place
from kernel.providers import provider_snapshots
from plugins.integration.contract import (
    Distances,
    Geocode,
    GetProviderHealth,
    Located,
    MeasureDistances,
    ProviderHealth,
    ProviderHealthList,
    ReverseGeocode,
)
from plugins.integration.errors import PlaceNotFoundError
from plugins.integration.ports import DistanceMeter, Geocoder


async def geocode(query: Geocode, ctx: Context) -> Located:
    """Find a pin code."""
    found = await ctx.use(Geocoder).locate(query.pincode, query.text)  # type: ignore[type-abstract]  # a port
    if found is None:
        raise PlaceNotFoundError(f"The pin code {query.pincode} is not known")
    return found


async def reverse_geocode(query: ReverseGeocode, ctx: Context) -> Located:
    """Find the locality nearest to a point."""
    found = await ctx.use(Geocoder).nearest(Place(query.lat, query.lon))  # type: ignore[type-abstract]  # a port
    if found is None:
        raise PlaceNotFoundError("No known locality lies near this point")
    return found


async def measure_distances(query: MeasureDistances, ctx: Context) -> Distances:
    """Measure from one place to several."""
    measured = await ctx.use(DistanceMeter).measure(query.origin, query.destinations)  # type: ignore[type-abstract]  # a port
    return Distances(distances=measured)


async def provider_health(query: GetProviderHealth, ctx: Context) -> ProviderHealthList:
    """Tell how the providers do that this process calls; nothing is sent to them for it."""
    return ProviderHealthList(
        providers=tuple(
            ProviderHealth(
                provider=found.provider,
                breaker=found.breaker,
                calls=found.calls,
                failures=found.failures,
            )
            for found in provider_snapshots()
        )
    )
