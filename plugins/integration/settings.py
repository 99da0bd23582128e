"""Settings of integration."""

from typing import Annotated

from msgspec import Meta

from kernel.settings import Settings


class IntegrationSettings(Settings, frozen=True, kw_only=True):
    """How places are found."""

    nearest_within_km: Annotated[float, Meta(gt=0, le=500)] = 25.0
    """How far the nearest known locality may be from a point that is looked up in reverse."""
