"""The public keys of access tokens, asked from identity and remembered."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import jwt
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bus.envelope import Caller, Envelope
from bus.errors import ServiceError, UndecodableError
from bus.message import MessageType
from gateway.errors import KeysUnavailableError
from kernel.ids import new_uuid7
from kernel.plugin import Plugin

log = structlog.get_logger("gateway.keys")

FETCH_TIMEOUT: Final = 2.0
RETRY_SECONDS: Final = 1.0
"""An unknown key id makes the gateway ask again, but not more often than this."""


class JwksQueryError(LookupError):
    """No configured plugin declares the query that the gateway's settings name."""


class _Key(msgspec.Struct, frozen=True):
    kid: str
    kty: str
    crv: str
    x: str


class _KeySet(msgspec.Struct, frozen=True):
    keys: tuple[_Key, ...]


_decode_keys: Final = msgspec.json.Decoder(_KeySet).decode


def find_query(plugins: Iterable[Plugin], name: str) -> MessageType:
    """Return the newest version of a query by its name, ``identity.get_public_keys``."""
    found = [
        spec.message
        for plugin in plugins
        for spec in plugin.of_kind("query")
        if spec.message is not None and f"{spec.message.owner}.{spec.message.name}" == name
    ]
    if not found:
        raise JwksQueryError(f"no configured plugin answers the query {name}")
    return max(found, key=lambda message: message.version)


class KeyRing:
    """Public keys by id. Keys once seen serve on while identity is away."""

    def __init__(
        self,
        caller: Caller,
        query: MessageType,
        *,
        refresh_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._caller = caller
        self._query = query
        self._refresh_seconds = refresh_seconds
        self._clock = clock
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._asked_at = float("-inf")
        self._fetched_at = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return a key, or None when identity has none of this id.

        Raises KeysUnavailableError when no key was ever seen and identity does not answer.
        """
        if kid not in self._keys or self._clock() - self._fetched_at > self._refresh_seconds:
            await self._refresh()
        if not self._keys:
            raise KeysUnavailableError(retry_after=RETRY_SECONDS)
        return self._keys.get(kid)

    async def _refresh(self) -> None:
        began = self._clock()
        async with self._lock:
            if self._asked_at >= began or self._clock() - self._asked_at < RETRY_SECONDS:
                return
            try:
                self._keys = await self._fetch()
                self._fetched_at = self._clock()
            except ServiceError as error:
                log.warning("public_keys_not_fetched", code=error.to_wire().code)
            finally:
                self._asked_at = self._clock()

    async def _fetch(self) -> dict[str, Ed25519PublicKey]:
        message_id = new_uuid7()
        envelope = Envelope(
            id=message_id,
            type=self._query.full_name,
            source="gateway",
            time=datetime.now(UTC),
            correlation_id=str(message_id),
            actor="plugin:gateway",
            timeout_ms=int(FETCH_TIMEOUT * 1000),
        )
        reply = await self._caller.call(self._query, b"{}", envelope, FETCH_TIMEOUT)
        try:
            return {key.kid: _public_key(key) for key in _decode_keys(reply.payload).keys}
        except (msgspec.DecodeError, jwt.InvalidKeyError) as error:
            raise UndecodableError("The reply holds no Ed25519 keys") from error


def _public_key(key: _Key) -> Ed25519PublicKey:
    found = jwt.algorithms.OKPAlgorithm.from_jwk(json.dumps(msgspec.to_builtins(key)))
    if not isinstance(found, Ed25519PublicKey):
        raise jwt.InvalidKeyError("not the public half of an Ed25519 key")
    return found
