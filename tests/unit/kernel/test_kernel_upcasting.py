"""Facts of older versions brought up to today's, and chains that do not lead there."""

from typing import Annotated, Any, ClassVar

import msgspec
import pytest
from msgspec import Meta

from bus.codec import decoder
from bus.errors import UndecodableError
from bus.jetstream import StoredMessage
from bus.message import Event, describe
from bus.streams import reaction_consumers
from kernel.context import Write
from kernel.models import Projector
from kernel.plugin import DeclarationError, Plugin
from kernel.sql import statement
from kernel.upcasting import UpcastChainError, Upcaster, Upcasters

OWNER = "weather"
STORE = statement("INSERT INTO readings (place, celsius) VALUES (:place, :celsius)")


class Measured(Event, frozen=True, kw_only=True):
    """A temperature, in its third form: a place with a country, and a scale in the name."""

    KEY: ClassVar[str] = "place"
    VERSION: ClassVar[int] = 3

    place: Annotated[str, Meta(max_length=40)]
    celsius: float


def name_place(body: dict[str, Any]) -> dict[str, Any]:
    return {"place": f"{body['town']}, IN", "degrees": body["degrees"]}


def name_scale(body: dict[str, Any]) -> dict[str, Any]:
    return {"place": body["place"], "celsius": body["degrees"]}


def a_chain() -> Upcasters:
    message = describe(Measured)
    return Upcasters([Upcaster(message, 1, name_place), Upcaster(message, 2, name_scale)])


def measured(version: int, body: dict[str, Any]) -> StoredMessage:
    subject = f"evt.weather.measured.v{version}.4.x"
    return StoredMessage(version, subject, {}, msgspec.json.encode(body))


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (1, {"town": "Pune", "degrees": 31.5}),
        (2, {"place": "Pune, IN", "degrees": 31.5}),
        (3, {"place": "Pune, IN", "celsius": 31.5}),
    ],
)
def test_a_fact_of_any_version_is_read_as_todays(version: int, body: dict[str, Any]) -> None:
    message = measured(version, body)

    stem, payload = a_chain().read(message.subject, message.payload)

    assert stem == "evt.weather.measured.v3"
    assert decoder(Measured)(payload) == Measured(place="Pune, IN", celsius=31.5)


def test_a_projection_sees_todays_facts_only() -> None:
    plugin = Plugin("weather", "1.0.0", summary="Weather.", package="weather", emits=(Measured,))
    plugin.upcast(Measured, name_place, version=1)
    plugin.upcast(Measured, name_scale, version=2)
    plugin.project(
        Measured, lambda e: [Write(STORE, {"place": e.place, "celsius": e.celsius})], model="m"
    )
    projector = Projector(plugin.of_kind("project"), Upcasters(plugin.upcasters))

    writes = projector.writes(
        [measured(1, {"town": "Pune", "degrees": 1}), measured(3, {"place": "X", "celsius": 2})]
    )

    assert [write.params["celsius"] for write in writes] == [1, 2]


def test_subscriptions_are_fed_the_older_versions_as_well() -> None:
    events = [describe(Measured)]

    first, *_ = reaction_consumers("diary", "weather", events, a_chain().older(events))

    assert {subject[:23] for subject in first.filter_subjects} == {
        "evt.weather.measured.v3",
        "evt.weather.measured.v1",
        "evt.weather.measured.v2",
    }


def test_a_body_that_an_upcaster_cannot_read_is_undecodable() -> None:
    message = measured(1, {"village": "Pune"})

    with pytest.raises(UndecodableError, match=r"weather\.measured\.v1 cannot be upcast"):
        a_chain().read(message.subject, message.payload)


def test_other_facts_pass_untouched() -> None:
    assert a_chain().read("evt.weather.stormed.v1.0.x", b"{ }") == (
        "evt.weather.stormed.v1",
        b"{ }",
    )


@pytest.mark.parametrize(
    ("versions", "fault"),
    [
        ((1,), "no upcaster from version 2 to 3"),
        ((3,), "would never end"),
        ((1, 2, 7), "would never end"),
        ((0, 1, 2), "would never end"),
        ((1, 2, 2), "upcast twice"),
    ],
)
def test_a_chain_that_does_not_lead_to_today_is_refused(
    versions: tuple[int, ...], fault: str
) -> None:
    declared = [Upcaster(describe(Measured), version, name_scale) for version in versions]

    with pytest.raises(UpcastChainError, match=fault):
        Upcasters(declared)


def test_only_the_owner_of_an_event_declares_its_upcasters() -> None:
    plugin = Plugin("diary", "1.0.0", summary="Diary.", package="diary")

    with pytest.raises(DeclarationError, match="belongs to weather"):
        plugin.upcast(Measured, name_place, version=1)
