"""A tiny plugin with a route of every sort."""

from typing import Annotated, Any, ClassVar, Final, Literal

from msgspec import Meta

from bus.message import Command, Event, Nothing, Query, View
from kernel.http import Delete, Get, Live, Patch, Post, RawPost
from kernel.ids import id_meta
from kernel.money import Money
from kernel.plugin import LOGGED_IN, PUBLIC, Permission, Plugin
from kernel.quantity import Quantity
from kernel.text import Line

OWNER: Final = "sample"
THING: Final = "thing_01k9z7x3c8e4m9r2t5v6w7y8z0"

ThingId = Annotated[str, id_meta("thing")]


class ThingView(View, frozen=True, kw_only=True):
    """A thing."""

    thing_id: ThingId
    name: str
    price: Money
    version: int


class MakeThing(Command[ThingView], frozen=True, kw_only=True):
    """Make a thing of some quantity."""

    name: Line
    quantity: Quantity
    colour: Literal["red", "blue"] = "red"
    weight: Annotated[float, Meta(ge=0)] = 1.0


class RenameThing(Command[ThingView], frozen=True, kw_only=True):
    """Give a thing another name."""

    thing_id: ThingId
    name: Line


class DropThing(Command[Nothing], frozen=True, kw_only=True):
    """Throw a thing away."""

    thing_id: ThingId


class GetThing(Query[ThingView], frozen=True, kw_only=True):
    """Show a thing."""

    thing_id: ThingId


class ThingList(View, frozen=True, kw_only=True):
    """Some things."""

    items: tuple[ThingView, ...]
    next_cursor: str | None


class ListThings(Query[ThingList], frozen=True, kw_only=True):
    """List things."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    at_least: Quantity | None = None
    lat: float = 0.0
    available: bool | None = None
    q: Annotated[str, Meta(max_length=20)] | None = None


class Hooked(View, frozen=True, kw_only=True):
    """What was taken."""

    taken: bool


class TakeHook(Command[Hooked], frozen=True, kw_only=True):
    """Take a webhook."""

    body: bytes
    x_signature: Annotated[str, Meta(max_length=80)]
    x_event_id: str = ""


class Change(View, frozen=True, kw_only=True):
    """One step of a thing."""

    version: int
    name: str
    text: str


class Changes(View, frozen=True, kw_only=True):
    """Steps of a thing."""

    changes: tuple[Change, ...]


class FollowThing(Query[Changes], frozen=True, kw_only=True):
    """Follow a thing."""

    thing_id: ThingId
    after: Annotated[int, Meta(ge=0)] = 0


class Place(View, frozen=True, kw_only=True):
    """Where a picture is."""

    location: str


class GetPicture(Query[Place], frozen=True, kw_only=True):
    """Find the picture of a thing."""

    thing_id: ThingId


class Paper(View, frozen=True, kw_only=True):
    """A file."""

    content: bytes
    media_type: str
    filename: str


class GetPaper(Query[Paper], frozen=True, kw_only=True):
    """Print a thing."""

    thing_id: ThingId


class GiveKeys(Query[Nothing], frozen=True, kw_only=True):
    """Give the public keys."""


class ThingMade(Event, frozen=True, kw_only=True):
    """There is a thing."""

    KEY: ClassVar[str] = "thing_id"

    thing_id: ThingId


async def handled_elsewhere(message: Any, ctx: Any) -> Any:
    """The tests' bus answers instead."""
    raise AssertionError


def a_plugin() -> Plugin:
    """Declare the sample plugin."""
    plugin = Plugin(
        "sample",
        "1.0.0",
        summary="Things to try the gateway with",
        package="gateway.testing",
        emits=(ThingMade,),
        permissions=(Permission("things:write", "Change things", roles=("buyer",)),),
    )
    do: Any = handled_elsewhere
    plugin.command(MakeThing, do, allow="things:write", http=Post("/things", status=201))
    plugin.command(RenameThing, do, allow="things:write", http=Patch("/things/{thing_id}"))
    plugin.command(DropThing, do, allow="things:write", http=Delete("/things/{thing_id}"))
    plugin.query(GetThing, do, allow=LOGGED_IN, http=Get("/things/{thing_id}"))
    plugin.query(ListThings, do, allow=PUBLIC, http=Get("/things"))
    plugin.command(
        TakeHook,
        do,
        allow=PUBLIC,
        http=RawPost("/things/hooks", headers=("x-signature", "x-event-id")),
    )
    plugin.query(
        FollowThing,
        do,
        allow=LOGGED_IN,
        http=Live("/things/{thing_id}/live", key="thing_id", bells=("sample",)),
    )
    plugin.query(
        GetPicture, do, allow=PUBLIC, http=Get("/things/{thing_id}/picture", is_redirect=True)
    )
    plugin.query(GetPaper, do, allow=PUBLIC, http=Get("/things/{thing_id}/paper", is_download=True))
    plugin.query(GiveKeys, do, allow=PUBLIC)
    return plugin


def a_thing(**overrides: Any) -> ThingView:
    """Build a thing's view."""
    return ThingView(
        **{
            "thing_id": THING,
            "name": "Cement",
            "price": Money(38000),
            "version": 3,
            **overrides,
        }
    )
