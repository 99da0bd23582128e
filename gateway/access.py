"""Who is calling: access tokens, verified once and remembered until they expire."""

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

import jwt
import msgspec

from bus.actor import Actor
from gateway.errors import TokenExpiredError, TokenInvalidError
from gateway.keys import KeyRing
from gateway.ports import TokenMint

AUDIENCE: Final = "api"
ALGORITHM: Final = "EdDSA"
MAX_TOKEN: Final = 16 * 1024
REQUIRED: Final = ("sub", "sid", "exp", "iss", "aud", "roles", "permissions")


class _Claims(msgspec.Struct, frozen=True):
    sub: str
    sid: str
    exp: float
    roles: tuple[str, ...]
    permissions: frozenset[str]


class Verified:
    """A caller whose access token holds, and the bus token that speaks for it."""

    __slots__ = ("_bus_token", "_bus_token_until", "actor", "expires_at", "name")

    def __init__(self, actor: Actor, expires_at: float) -> None:
        self.actor = actor
        self.name = str(actor)
        self.expires_at = expires_at
        self._bus_token = ""
        self._bus_token_until = 0.0

    def bus_token(self, mint: TokenMint, now: float, reuse_seconds: float) -> str:
        """Return a bus token of this caller, signed anew when the last one has served its time."""
        if now >= self._bus_token_until:
            self._bus_token = mint.mint(self.actor)
            self._bus_token_until = now + reuse_seconds
        return self._bus_token


class AccessTokens:
    """Verifies bearer tokens. What holds is remembered by digest, never the token itself."""

    def __init__(
        self,
        keys: KeyRing,
        *,
        issuer: str,
        size: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._size = size
        self._clock = clock
        self._known: OrderedDict[bytes, Verified] = OrderedDict()

    async def verify(self, authorization: bytes) -> Verified:
        """Return the caller of an Authorization header; raises TokenExpired- or TokenInvalidError."""
        digest = blake2b(authorization, digest_size=16).digest()
        verified = self._known.get(digest)
        if verified is None:
            verified = await self._verify_unknown(authorization)
            self._known[digest] = verified
            if len(self._known) > self._size:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(digest)
        if verified.expires_at <= self._clock():
            del self._known[digest]
            raise TokenExpiredError
        return verified

    def knows(self, authorization: bytes) -> bool:
        """Tell whether this header was verified before, without verifying it."""
        return blake2b(authorization, digest_size=16).digest() in self._known

    async def _verify_unknown(self, authorization: bytes) -> Verified:
        scheme, _, token = authorization.partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer" or not token or len(token) > MAX_TOKEN:
            raise TokenInvalidError("Authorization must be one bearer token")
        try:
            claims = await self._claims(token.decode("ascii"))
        except jwt.ExpiredSignatureError as error:
            raise TokenExpiredError from error
        except (jwt.PyJWTError, msgspec.ValidationError, ValueError) as error:
            raise TokenInvalidError from error
        actor = Actor(
            kind="user",
            id=claims.sub,
            roles=claims.roles,
            permissions=claims.permissions,
            session=claims.sid,
        )
        return Verified(actor, claims.exp)

    async def _claims(self, token: str) -> _Claims:
        header = jwt.get_unverified_header(token)
        kid = header.get("kid")
        if header.get("alg") != ALGORITHM or not isinstance(kid, str):
            raise TokenInvalidError
        key = await self._keys.find(kid)
        if key is None:
            raise TokenInvalidError
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=self._issuer,
            options={
                "require": list(REQUIRED),
                "strict_aud": True,
                "verify_exp": True,
                "verify_iat": False,
            },
        )
        return msgspec.convert(claims, _Claims)
