"""Hand-written ports, tokens, and a gateway built from them."""

import asyncio
import socket
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from litestar import Litestar

from bus.actor import Actor
from bus.codec import encode
from bus.envelope import Caller, Envelope, Reply
from bus.message import MessageType, Nothing
from gateway.app import build_gateway
from gateway.ports import PartHealth, PluginState, Readiness
from gateway.settings import GatewaySettings
from gateway.testing.sample import (
    Changes,
    DropThing,
    FollowThing,
    GetPaper,
    GetPicture,
    GetThing,
    GiveKeys,
    Hooked,
    ListThings,
    MakeThing,
    Paper,
    Place,
    RenameThing,
    TakeHook,
    ThingList,
    a_plugin,
    a_thing,
)
from kernel.plugin import Plugin


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
        self.before_answer: Callable[[], Awaitable[None]] | None = None

    async def call(
        self, message: MessageType, payload: bytes, envelope: Envelope, timeout: float
    ) -> Reply:
        """Answer, or raise what was told to."""
        if message.cls is GiveKeys:
            self.key_calls += 1
            return _reply_of(self.keys)
        self.calls.append(Call(message, payload, envelope, timeout))
        if self.before_answer is not None:
            await self.before_answer()
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


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
