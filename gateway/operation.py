"""One route: what is done with a request, in order, from its first byte to its answer."""

import asyncio
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from bus import codec
from bus.envelope import VERSION, Caller, Envelope, Reply
from gateway.access import AccessTokens, Verified
from gateway.address import TrustedProxies
from gateway.binding import Binder, require_json
from gateway.errors import (
    IdempotencyKeyError,
    PluginDisabledError,
    ReplyError,
    TokenMissingError,
)
from gateway.exchange import Answer, Exchange
from gateway.keyed import keyed_uuid
from gateway.ports import Bell, Limits, Surface, TokenMint
from gateway.settings import GatewaySettings
from kernel.plugin import Access, HandlerSpec, Plugin
from kernel.runtime import PermissionDeniedError

ANYBODY: Final = "anonymous"
REVALIDATE: Final = (b"cache-control", b"private, no-cache")
DISABLED_RETRY_SECONDS: Final = 5.0
_key_is_safe: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,126}[\x21-\x7e])?").fullmatch
_trace_is_safe: Final = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_location_is_safe: Final = re.compile(r"(?:https?://|/)[\x21-\x7e]*").fullmatch


class House:
    """What all operations share."""

    def __init__(
        self,
        *,
        settings: GatewaySettings,
        surface: Surface,
        caller: Caller,
        tokens: AccessTokens,
        mint: TokenMint,
        bell: Bell,
        stop: asyncio.Event,
        limits: Limits | None,
    ) -> None:
        self.settings = settings
        self.surface = surface
        self.caller = caller
        self.tokens = tokens
        self.mint = mint
        self.bell = bell
        self.stop = stop
        self.limits = limits
        self.proxies = TrustedProxies(settings.trusted_proxies)
        self.bus_token_reuse = settings.bus_token_reuse.total_seconds()
        self.body_timeout = settings.body_timeout.total_seconds()
        self.live_streams = 0


class InternalRouteError(TypeError):
    """A message that is for plugins only was given an HTTP route."""


class Operation:
    """A declared route, with all that can be known before its first request."""

    def __init__(self, plugin: Plugin, spec: HandlerSpec, house: House) -> None:
        if spec.message is None or spec.http is None:
            raise InternalRouteError(f"{plugin.name}.{spec.name} has no route")
        if spec.allow is Access.INTERNAL:
            raise InternalRouteError(f"{spec.message.full_name} is for plugins only")
        self.house = house
        self.plugin = plugin.name
        self.message = spec.message
        self.name = spec.message.full_name
        self.route = spec.http
        self.binder = Binder(spec.message, spec.http)
        self._permission = spec.allow if isinstance(spec.allow, str) else ""
        self._needs_caller = spec.allow is not Access.PUBLIC
        self._takes_body = spec.http.method != "GET"
        self._is_command = spec.kind == "command"
        self._timeout = spec.http.timeout
        self._timeout_ms = int(spec.http.timeout * 1000)
        self._decode_reply = codec.decoder(spec.message.reply)

    async def handle(self, exchange: Exchange, path: Sequence[str], traceparent: str) -> Answer:
        """Answer a request; every refusal is raised as ServiceError."""
        self.require_enabled()
        if self._takes_body:
            exchange.declared_length(self.house.settings.body_limit)
        caller = await self.admit(exchange)
        message_id, is_keyed = self._identify(exchange, caller)
        payload = await self._bind(exchange, path)
        envelope = self.envelope(
            exchange, caller, traceparent, message_id=message_id, is_keyed=is_keyed
        )
        reply = await self.house.caller.call(self.message, payload, envelope, self._timeout)
        return self._answer(exchange, reply)

    def require_enabled(self) -> None:
        """Refuse while the plugin is switched off."""
        if self.house.surface.state_of(self.plugin) != "enabled":
            raise PluginDisabledError(
                f"{self.plugin} is switched off", retry_after=DISABLED_RETRY_SECONDS
            )

    async def admit(self, exchange: Exchange) -> Verified | None:
        """Return the caller, None for nobody; whoever may not call is refused.

        A token that does not hold is refused on public routes as well: its sender believes to be
        somebody.
        """
        house = self.house
        authorization = exchange.headers.get(b"authorization")
        if house.limits is not None and (
            authorization is None or not house.tokens.knows(authorization)
        ):
            await house.limits.by_address(self._address(exchange))
        caller = None if authorization is None else await house.tokens.verify(authorization)
        if house.limits is not None and caller is not None:
            await house.limits.by_actor(caller.actor, self.name)
        if caller is None:
            if self._needs_caller:
                raise TokenMissingError
        elif self._permission and self._permission not in caller.actor.permissions:
            raise PermissionDeniedError(f"This needs the permission {self._permission}")
        return caller

    def envelope(
        self,
        exchange: Exchange,
        caller: Verified | None,
        traceparent: str,
        *,
        message_id: UUID,
        is_keyed: bool = False,
    ) -> Envelope:
        """Return the metadata of a request on the bus."""
        house = self.house
        token = ""
        if caller is not None:
            token = caller.bus_token(house.mint, time.time(), house.bus_token_reuse)
        return Envelope(
            id=message_id,
            type=self.name,
            source="gateway",
            time=datetime.now(UTC),
            correlation_id=exchange.correlation_id,
            traceparent=traceparent,
            actor=ANYBODY if caller is None else caller.name,
            token=token,
            timeout_ms=self._timeout_ms,
            is_keyed=is_keyed,
        )

    def _address(self, exchange: Exchange) -> str:
        client = exchange.scope.get("client")
        peer = client[0] if client else ""
        return self.house.proxies.caller(peer, exchange.header(b"x-forwarded-for"))

    def _identify(self, exchange: Exchange, caller: Verified | None) -> tuple[UUID, bool]:
        key = exchange.headers.get(b"idempotency-key")
        if key is None or not self._is_command or self.route.is_raw:
            return exchange.fallback_id, False
        text = key.decode("latin-1")
        if not _key_is_safe(text):
            raise IdempotencyKeyError("Give 1 to 128 printable characters")
        actor = ANYBODY if caller is None else caller.name
        return keyed_uuid(actor, self.name, text), True

    async def _bind(self, exchange: Exchange, path: Sequence[str]) -> bytes:
        if not self._takes_body:
            return self.binder.bind(path, exchange.query(), b"")
        body = await exchange.body(self.house.settings.body_limit, self.house.body_timeout)
        if self.route.is_raw:
            return self.binder.bind_raw(path, exchange.headers, body)
        if body:
            require_json(exchange.header(b"content-type"), exchange.header(b"content-encoding"))
        return self.binder.bind(path, exchange.query(), body)

    def _answer(self, exchange: Exchange, reply: Reply) -> Answer:
        route = self.route
        if route.is_redirect:
            return self._redirect(reply)
        if route.is_download:
            return self._download(reply)
        if route.status == 204:
            return Answer(204)
        version = reply.headers.get(VERSION)
        if version is None:
            return Answer(route.status, reply.payload)
        tag = f'"{version}"'.encode()
        if route.method == "GET" and _matches(exchange.headers.get(b"if-none-match"), tag):
            return Answer(304, headers=((b"etag", tag),), cache=REVALIDATE)
        return Answer(route.status, reply.payload, headers=((b"etag", tag),), cache=REVALIDATE)

    def _redirect(self, reply: Reply) -> Answer:
        location = self._decode_reply(reply.payload).location
        if not _location_is_safe(location):
            raise ReplyError(f"{self.name} redirects to no web address")
        return Answer(303, headers=((b"location", location.encode()),))

    def _download(self, reply: Reply) -> Answer:
        view = self._decode_reply(reply.payload)
        content = view.content if isinstance(view.content, bytes) else view.content.encode()
        name = re.sub(r"[^\w.() -]", "_", view.filename, flags=re.ASCII)
        disposition = (b"content-disposition", f'attachment; filename="{name}"'.encode())
        return Answer(200, content, view.media_type.encode("latin-1"), (disposition,))


def trace_of(exchange: Exchange) -> str:
    """Return the caller's trace header when it is well-formed, else an empty text."""
    given = exchange.headers.get(b"traceparent")
    return given.decode() if given is not None and _trace_is_safe(given) else ""


def _matches(if_none_match: bytes | None, tag: bytes) -> bool:
    if if_none_match is None:
        return False
    tags = [item.strip().removeprefix(b"W/") for item in if_none_match.split(b",")]
    return tag in tags or b"*" in tags
