"""Tokens: access tokens that carry what a user may do, and random refresh tokens that renew them."""

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from plugins.identity.contract import PublicKey
from plugins.identity.settings import IdentitySettings

AUDIENCE: Final = "api"
REFRESH_TOKEN_BYTES: Final = 32


class TokenSource(NamedTuple):
    """Where refresh tokens come from: unguessable texts, a new one at each draw."""

    draw: Callable[[], str]


class AccessTokens:
    """Signs access tokens: JWT with EdDSA, checked by anybody who has the public key."""

    def __init__(self, seed: bytes, *, issuer: str, lifetime: timedelta) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._issuer = issuer
        self.lifetime = lifetime
        self.public_key: Final = _public_key(self._key)

    def issue(
        self,
        *,
        user_id: str,
        session_id: str,
        roles: Sequence[str],
        permissions: Sequence[str],
        at: datetime,
    ) -> str:
        """Return a token for one user in one session."""
        issued_at = int(at.timestamp())
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": user_id,
            "sid": session_id,
            "roles": list(roles),
            "permissions": list(permissions),
            "iat": issued_at,
            "exp": issued_at + int(self.lifetime.total_seconds()),
        }
        return jwt.encode(claims, self._key, "EdDSA", headers={"kid": self.public_key.kid})


def digest(refresh_token: str) -> bytes:
    """Return what is stored of a refresh token. It has 256 random bits, so that no salt is needed."""
    return hashlib.sha256(refresh_token.encode()).digest()


def _public_key(key: Ed25519PrivateKey) -> PublicKey:
    x = _base64url(key.public_key().public_bytes_raw())
    canonical = msgspec.json.encode({"crv": "Ed25519", "kty": "OKP", "x": x})
    return PublicKey(kid=_base64url(hashlib.sha256(canonical).digest()), x=x)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@asynccontextmanager
async def access_tokens(settings: IdentitySettings) -> AsyncIterator[AccessTokens]:
    """Give the signer; its key id is the key's RFC 7638 thumbprint."""
    yield AccessTokens(
        settings.signing_seed(), issuer=settings.issuer, lifetime=settings.access_token_lifetime
    )


@asynccontextmanager
async def token_source(_: IdentitySettings) -> AsyncIterator[TokenSource]:
    """Give the operating system's randomness."""
    yield TokenSource(lambda: secrets.token_urlsafe(REFRESH_TOKEN_BYTES))
