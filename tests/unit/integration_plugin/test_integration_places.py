"""The gazetteer, the great circle, and the questions about them."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.actor import Actor
from kernel.context import Context
from kernel.geo import Place
from kernel.ids import new_uuid7
from kernel.plugin import LOGGED_IN
from kernel.providers import ProviderGuard
from plugins.integration import queries
from plugins.integration.adapters.local import (
    Gazetteer,
    GreatCircleMeter,
    LocalGazetteer,
    open_distance_meter,
    open_geocoder,
    read_gazetteer,
)
from plugins.integration.contract import (
    Geocode,
    GetProviderHealth,
    MeasureDistances,
    ReverseGeocode,
)
from plugins.integration.errors import PlaceNotFoundError
from plugins.integration.plugin import plugin
from plugins.integration.ports import DistanceMeter, Geocoder
from plugins.integration.settings import IntegrationSettings

CHARMINAR = Place(17.3616, 78.4747)
GOLCONDA = Place(17.3833, 78.4011)
DELHI = Place(28.6139, 77.2090)
NEAR_MADHAPUR = Place(17.4440, 78.3780)


class LocalRuntime:
    """A runtime that offers integration's own resources and nothing else."""

    def __init__(self, resources: dict[type[Any], Any]) -> None:
        self._resources = resources

    def resource(self, kind: type[Any]) -> Any:
        return self._resources[kind]

    def now(self) -> datetime:
        return datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture
async def ctx() -> Any:
    async with AsyncExitStack() as stack:
        resources: dict[type[Any], Any] = {
            Geocoder: await stack.enter_async_context(open_geocoder(IntegrationSettings())),
            DistanceMeter: await stack.enter_async_context(
                open_distance_meter(IntegrationSettings())
            ),
        }
        runtime: Any = LocalRuntime(resources)
        yield Context(
            runtime,
            handler="test",
            message_id=new_uuid7(),
            actor=Actor(kind="user", id="user_1"),
            correlation_id="test",
        )


def test_the_shipped_gazetteer_lists_each_pin_code_once() -> None:
    pincodes = [row.pincode for row in read_gazetteer().places]

    assert len(pincodes) == len(set(pincodes)) > 100


def test_every_listed_point_lies_within_seventy_kilometres_of_the_charminar() -> None:
    farthest = max(
        CHARMINAR.distance_km(Place(row.lat, row.lon)) for row in read_gazetteer().places
    )

    assert farthest < 70


def test_no_two_pin_codes_share_a_point() -> None:
    points = [(row.lat, row.lon) for row in read_gazetteer().places]

    assert len(points) == len(set(points))


def test_a_gazetteer_with_an_impossible_pin_code_is_refused() -> None:
    rows = {
        "state_code": "36",
        "places": [{"pincode": "5000", "locality": "X", "lat": 17, "lon": 78, "city": "Y"}],
    }

    with pytest.raises(msgspec.ValidationError, match="pincode"):
        msgspec.convert(rows, Gazetteer)


async def test_a_pin_code_is_found_with_its_locality_and_state(ctx: Context) -> None:
    found = await queries.geocode(Geocode(pincode="500081", text="Cyber Towers"), ctx)

    assert (found.locality, found.city, found.state_code) == ("Madhapur", "Hyderabad", "36")
    assert found.place.distance_km(NEAR_MADHAPUR) < 1
    assert found.precision == "pincode"


async def test_an_unknown_pin_code_is_not_found(ctx: Context) -> None:
    with pytest.raises(PlaceNotFoundError) as refused:
        await queries.geocode(Geocode(pincode="110001"), ctx)

    assert refused.value.to_wire().status == 404
    assert refused.value.code == "integration.place_not_found"


async def test_a_point_is_named_after_the_nearest_locality(ctx: Context) -> None:
    found = await queries.reverse_geocode(
        ReverseGeocode(lat=NEAR_MADHAPUR.lat, lon=NEAR_MADHAPUR.lon), ctx
    )

    assert found.pincode == "500081"
    assert found.precision == "locality"


async def test_a_point_far_from_every_locality_is_not_found(ctx: Context) -> None:
    with pytest.raises(PlaceNotFoundError):
        await queries.reverse_geocode(ReverseGeocode(lat=DELHI.lat, lon=DELHI.lon), ctx)


async def test_how_near_the_nearest_must_be_is_a_setting() -> None:
    gazetteer = LocalGazetteer(read_gazetteer(), nearest_within_km=2000)

    found = await gazetteer.nearest(DELHI)

    assert found is not None
    assert found.state_code == "36"


@given(st.sampled_from(read_gazetteer().places))
async def test_each_listed_point_is_its_own_nearest_locality(row: Any) -> None:
    gazetteer = LocalGazetteer(read_gazetteer(), nearest_within_km=25)

    found = await gazetteer.nearest(Place(row.lat, row.lon))

    assert found is not None
    assert found.pincode == row.pincode


async def test_distances_come_in_the_order_asked_and_say_how_they_were_measured(
    ctx: Context,
) -> None:
    measured = await queries.measure_distances(
        MeasureDistances(origin=CHARMINAR, destinations=(GOLCONDA, DELHI, CHARMINAR)), ctx
    )

    kilometres = [distance.kilometres for distance in measured.distances]
    assert kilometres == pytest.approx([8.18, 1258.0, 0.0], abs=3.0)
    assert {distance.source for distance in measured.distances} == {"great_circle"}


@given(
    st.builds(Place, st.floats(-90, 90), st.floats(-180, 180)),
    st.builds(Place, st.floats(-90, 90), st.floats(-180, 180)),
)
async def test_the_way_there_is_as_long_as_the_way_back(here: Place, there: Place) -> None:
    (way_there,) = await GreatCircleMeter().measure(here, [there])
    (way_back,) = await GreatCircleMeter().measure(there, [here])

    assert way_there.kilometres == pytest.approx(way_back.kilometres, abs=0.002)
    assert 0 <= way_there.kilometres <= 20_016


async def test_staff_see_the_counters_of_each_provider_of_this_process(ctx: Context) -> None:
    guard = ProviderGuard("a-provider-of-this-test")

    health = await queries.provider_health(GetProviderHealth(), ctx)

    assert guard.name in [found.provider for found in health.providers]


def test_the_health_of_providers_is_for_staff_alone() -> None:
    allowed = {spec.name: spec.allow for spec in plugin.handlers}
    roles = {permission.name: permission.roles for permission in plugin.permissions}

    assert allowed["get_provider_health"] == "providers:read"
    assert allowed["geocode"] == allowed["reverse_geocode"] == LOGGED_IN
    assert roles["providers:read"] == ("support", "viewer", "admin")
