"""A tiny plugin, a hand-written bus, and tokens: what the gateway's tests stand on."""

import asyncio
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar, Final, Literal, cast

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from litestar import Litestar
from msgspec import Meta

from bus.actor import Actor
from bus.codec import encode
from bus.envelope import Caller, Envelope, Reply
from bus.message import Command, Event, MessageType, Nothing, Query, View
from gateway.app import build_gateway
from gateway.ports import PartHealth, PluginState, Readiness
from gateway.settings import GatewaySettings
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
        package="tests.unit.gateway",
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


class Call(msgspec.Struct, frozen=True):
    """One request that reached the bus."""

    message: MessageType
    payload: bytes
    envelope: Envelope
    timeout: float

    @property
    def fields(self) -> dict[str, Any]:
        """The payload as plain data."""
        plain: dict[str, Any] = msgspec.json.decode(self.payload)
        return plain


class HandBus:
    """A Caller that answers what it was told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.key_calls = 0
        self.answers: dict[type, Any] = {}
        self.keys: Any = {"keys": []}

    async def call(
        self, message: MessageType, payload: bytes, envelope: Envelope, timeout: float
    ) -> Reply:
        """Answer, or raise what was told to."""
        if message.cls is GiveKeys:
            self.key_calls += 1
            return _reply_of(self.keys)
        self.calls.append(Call(message, payload, envelope, timeout))
        answer = self.answers[message.cls]
        return _reply_of(answer(payload) if callable(answer) else answer)

    @property
    def last(self) -> Call:
        """The last request but for keys."""
        return self.calls[-1]


def _reply_of(answer: Any) -> Reply:
    if isinstance(answer, Exception):
        raise answer
    version = getattr(answer, "version", None)
    return Reply(encode(answer), {} if version is None else {"realserv-version": str(version)})


class HandSurface:
    """A Surface whose plugins the test switches."""

    def __init__(self, *plugins: Plugin) -> None:
        self._plugins = plugins
        self.off: set[str] = set()

    def plugins(self) -> tuple[Plugin, ...]:
        """All."""
        return self._plugins

    def state_of(self, plugin_name: str) -> PluginState:
        """On unless switched off."""
        return "disabled" if plugin_name in self.off else "enabled"


class HandBell:
    """A Bell that the test rings."""

    def __init__(self) -> None:
        self.listening: dict[str, list[Callable[[], None]]] = {}

    @asynccontextmanager
    async def listen(self, subject: str, ring: Callable[[], None]) -> AsyncIterator[None]:
        """Listen until left."""
        self.listening.setdefault(subject, []).append(ring)
        try:
            yield
        finally:
            self.listening[subject].remove(ring)

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return sum(len(rings) for rings in self.listening.values())

    def ring(self) -> None:
        """Ring everywhere."""
        for rings in self.listening.values():
            for ring in rings:
                ring()


class HandHealth:
    """A Health that says what the test wants."""

    def __init__(self) -> None:
        self.works = True
        self.readiness = Readiness(
            status="degraded",
            parts=(PartHealth(name="redis", status="down", reason="connection refused"),),
        )

    async def health(self) -> bool:
        """As told."""
        return self.works

    async def ready(self, *, is_detailed: bool) -> Readiness:
        """As told."""
        return self.readiness


class HandMint:
    """A TokenMint that counts."""

    def __init__(self) -> None:
        self.minted: list[Actor] = []

    def mint(self, actor: Actor) -> str:
        """Sign nothing."""
        self.minted.append(actor)
        return f"bus-token-{len(self.minted)}-of-{actor.id}"


class HandMetrics:
    """Metrics with one line."""

    async def exposition(self) -> bytes:
        """One line."""
        return b"realserv_up 1\n"


class Issuer:
    """Signs access tokens as identity does."""

    def __init__(self, kid: str = "key-1") -> None:
        self.kid = kid
        self.key = Ed25519PrivateKey.generate()

    @property
    def jwks(self) -> dict[str, Any]:
        """The public half."""
        x = urlsafe_b64encode(self.key.public_key().public_bytes_raw()).decode().rstrip("=")
        return {
            "keys": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "alg": "EdDSA",
                    "use": "sig",
                    "kid": self.kid,
                    "x": x,
                }
            ]
        }

    def token(self, **overrides: Any) -> str:
        """Sign a token; a claim given as None is left out."""
        claims = {
            "sub": "user_01k9z7x3c8e4m9r2t5v6w7y8z0",
            "sid": "session_01k9z7x3c8e4m9r2t5v6w7y8z0",
            "iss": "realserv",
            "aud": "api",
            "exp": int(time.time()) + 600,
            "roles": ["buyer"],
            "permissions": ["things:write"],
            **overrides,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(kept, self.key, algorithm="EdDSA", headers={"kid": self.kid})


class Stage:
    """A gateway with all its ports in the test's hands."""

    def __init__(self, **settings: Any) -> None:
        self.bus = HandBus()
        self.issuer = Issuer()
        self.bus.keys = self.issuer.jwks
        self.surface = HandSurface(a_plugin())
        self.bell = HandBell()
        self.health = HandHealth()
        self.mint = HandMint()
        self.stop = asyncio.Event()
        self.settings = GatewaySettings(**{"jwks_query": "sample.give_keys", **settings})
        self.bus.answers = {
            MakeThing: a_thing(),
            RenameThing: a_thing(),
            DropThing: Nothing(),
            GetThing: a_thing(),
            ListThings: ThingList(items=(), next_cursor=None),
            TakeHook: Hooked(taken=True),
            FollowThing: Changes(changes=()),
            GetPicture: Place(location="https://pictures.example/1.png"),
            GetPaper: Paper(content=b"%PDF", media_type="application/pdf", filename="a b.pdf"),
        }

    def app(self, caller: Caller | None = None, **options: Any) -> Litestar:
        """Build it."""
        return build_gateway(
            self.settings,
            self.surface,
            caller or self.bus,
            self.mint,
            self.bell,
            self.health,
            self.stop,
            **options,
        )

    def client(self, **options: Any) -> httpx.AsyncClient:
        """A client that calls the application without sockets."""
        transport = httpx.ASGITransport(app=cast("Any", self.app(**options)))
        return httpx.AsyncClient(transport=transport, base_url="http://gateway")

    def authorization(self, **claims: Any) -> dict[str, str]:
        """The header of a caller who holds."""
        return {"Authorization": f"Bearer {self.issuer.token(**claims)}"}


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
