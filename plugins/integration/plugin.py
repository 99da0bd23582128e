"""The declaration of integration."""

from typing import Final

from kernel.http import Get
from kernel.plugin import INTERNAL, LOGGED_IN, Permission, Plugin
from plugins.integration import queries
from plugins.integration.adapters.local import open_distance_meter, open_geocoder
from plugins.integration.contract import (
    Geocode,
    GetProviderHealth,
    MeasureDistances,
    ReverseGeocode,
)
from plugins.integration.ports import DistanceMeter, Geocoder
from plugins.integration.settings import IntegrationSettings

plugin: Final = Plugin(
    "integration",
    "1.0.0",
    summary="Places, distances, and the health of outside providers",
    package="plugins.integration",
    settings=IntegrationSettings,
    permissions=(
        Permission(
            "providers:read",
            "See how outside providers do",
            roles=("support", "viewer", "admin"),
        ),
    ),
)
plugin.query(Geocode, queries.geocode, allow=LOGGED_IN, http=Get("/locations/geocode"))
plugin.query(
    ReverseGeocode, queries.reverse_geocode, allow=LOGGED_IN, http=Get("/locations/reverse")
)
plugin.query(MeasureDistances, queries.measure_distances, allow=INTERNAL)
plugin.query(
    GetProviderHealth,
    queries.provider_health,
    allow="providers:read",
    http=Get("/integration/providers"),
)
plugin.provides(Geocoder, open_geocoder)  # type: ignore[type-abstract]  # a port
plugin.provides(DistanceMeter, open_distance_meter)  # type: ignore[type-abstract]  # a port
