"""Integration's questions through the kernel: permissions, and plugins as callers."""

from collections.abc import AsyncIterator

import pytest

from bus.errors import ServiceError
from kernel.geo import Place
from kernel.testing import PluginHarness, an_actor
from plugins.integration.contract import (
    Geocode,
    GetProviderHealth,
    MeasureDistances,
    ReverseGeocode,
)
from plugins.integration.plugin import plugin

USER = an_actor("user_buyer")
STAFF = an_actor("user_staff", "providers:read", roles=("support",))
CHARMINAR = Place(17.3616, 78.4747)


@pytest.fixture
async def harness(database: str) -> AsyncIterator[PluginHarness]:
    async with PluginHarness.open(plugin, database) as opened:
        yield opened


async def test_a_user_finds_a_pin_code_and_back(harness: PluginHarness) -> None:
    found = await harness.ask(Geocode(pincode="500002"), actor=USER)

    back = await harness.ask(ReverseGeocode(lat=found.place.lat, lon=found.place.lon), actor=USER)
    assert (found.locality, back.locality) == ("Charminar", "Charminar")


@pytest.mark.parametrize("query", [Geocode(pincode="500002"), ReverseGeocode(lat=17.36, lon=78.47)])
async def test_places_are_told_to_nobody_without_a_log_in(
    harness: PluginHarness, query: Geocode | ReverseGeocode
) -> None:
    with pytest.raises(ServiceError) as refused:
        await harness.ask(query)

    assert refused.value.to_wire().status == 401


async def test_plugins_may_measure(harness: PluginHarness) -> None:
    measured = await harness.ask(MeasureDistances(origin=CHARMINAR, destinations=(CHARMINAR,)))

    assert measured.distances[0].kilometres == 0


async def test_users_may_not_measure(harness: PluginHarness) -> None:
    harness.runtime.askers = {}

    with pytest.raises(ServiceError) as refused:
        await harness.ask(MeasureDistances(origin=CHARMINAR, destinations=(CHARMINAR,)), actor=USER)

    assert refused.value.to_wire().status == 403


async def test_the_health_of_providers_is_denied_to_buyers(harness: PluginHarness) -> None:
    with pytest.raises(ServiceError) as refused:
        await harness.ask(GetProviderHealth(), actor=USER)

    assert refused.value.to_wire().code == "kernel.permission_denied"


async def test_staff_read_the_health_of_providers(harness: PluginHarness) -> None:
    health = await harness.ask(GetProviderHealth(), actor=STAFF)

    assert all(found.breaker in ("closed", "open", "half_open") for found in health.providers)
