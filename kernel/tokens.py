"""Bus tokens: a gateway says for whom it asks, and every plugin verifies it.

Each gateway process has a key pair of its own and publishes the public half in the kernel's
database; nobody else can speak as a user.
"""

import time
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bus.actor import Actor
from kernel.errors import Unauthenticated

AUDIENCE: Final = "bus"
ISSUER: Final = "realserv-gateway"
LIFETIME: Final = timedelta(minutes=5)
KEY_LIFETIME: Final = timedelta(days=2)
REFRESH_SECONDS: Final = 0.5
CACHE_SIZE: Final = 8192


class BusTokenError(Unauthenticated):
    """The bus token is expired, forged, or signed by a key that no gateway published."""

    code = "kernel.bus_token_invalid"
    title = "The token does not hold on the bus"


class TokenMint:
    """Signs bus tokens with a key that lives as long as the process."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()
        digest = blake2b(self.public_key, digest_size=12).digest()
        self.kid = urlsafe_b64encode(digest).decode().rstrip("=")

    def mint(self, actor: Actor, lifetime: timedelta = LIFETIME) -> str:
        """Return a token for an actor."""
        now = datetime.now(UTC)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + lifetime,
            "sub": actor.id,
            "kind": actor.kind,
            "roles": list(actor.roles),
            "permissions": sorted(actor.permissions),
            "sid": actor.session,
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": self.kid})


class TokenVerifier:
    """Verifies bus tokens against the gateways' published keys; verified ones are remembered."""

    def __init__(self, fetch_keys: Callable[[], Awaitable[Mapping[str, bytes]]]) -> None:
        self._fetch_keys = fetch_keys
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._fetched_at = float("-inf")
        self._known: OrderedDict[str, tuple[Actor, float]] = OrderedDict()

    async def verify(self, token: str) -> Actor:
        """Return the actor of a token; raises BusTokenError."""
        known = self._known.get(token)
        if known is not None and known[1] > time.time():
            return known[0]
        claims = await self._claims(token)
        actor = Actor(
            kind=claims["kind"],
            id=claims["sub"],
            roles=tuple(claims["roles"]),
            permissions=frozenset(claims["permissions"]),
            session=claims["sid"],
        )
        self._known[token] = (actor, float(claims["exp"]))
        while len(self._known) > CACHE_SIZE:
            self._known.popitem(last=False)
        return actor

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            kid = str(jwt.get_unverified_header(token).get("kid", ""))
            key = self._keys.get(kid) or await self._find(kid)
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=["EdDSA"],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={"require": ["exp", "sub", "kind", "roles", "permissions", "sid"]},
            )
        except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError) as error:
            raise BusTokenError from error
        return claims

    async def _find(self, kid: str) -> Ed25519PublicKey:
        if time.monotonic() - self._fetched_at > REFRESH_SECONDS:
            keys = await self._fetch_keys()
            self._fetched_at = time.monotonic()
            self._keys = {k: Ed25519PublicKey.from_public_bytes(v) for k, v in keys.items()}
        if kid not in self._keys:
            raise BusTokenError("The token's key was published by no gateway")
        return self._keys[kid]
