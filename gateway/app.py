"""The gateway's application: routes from declarations, on Litestar.

The API is one mounted ASGI application with a router of its own. Litestar's HTTP handlers would
build a request object, an exit stack and a response object for each call, of which the gateway
needs none: it is a third faster without (``bench/gateway_ladder.py``).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import ASGIRouteHandler
from litestar.types import Receive, Scope, Send

from bus.envelope import Caller
from bus.errors import InternalError, ServiceError
from gateway.access import AccessTokens
from gateway.cors import Cors
from gateway.endpoint import ApiEndpoint, Front, Page, PageEndpoint
from gateway.errors import MalformedRequestError, NoSuchRouteError
from gateway.exchange import Answer, Exchange
from gateway.keys import KeyRing, find_query
from gateway.live import LiveOperation
from gateway.openapi import openapi_document
from gateway.operation import House, Operation
from gateway.pages import fixed_page, health_page, readiness_page, static_pages
from gateway.ports import Bell, Health, Limits, Metrics, Observer, Surface, TokenMint, Unobserved
from gateway.problems import problem_answer
from gateway.routing import Router
from gateway.settings import GatewaySettings
from kernel.http import API_PREFIX

Endpoint = Callable[[Any, Receive, Send], Awaitable[None]]


def build_gateway(
    settings: GatewaySettings,
    surface: Surface,
    caller: Caller,
    mint: TokenMint,
    bell: Bell,
    health: Health,
    stop: asyncio.Event,
    *,
    limits: Limits | None = None,
    observer: Observer | None = None,
) -> Litestar:
    """Return the public application. Raises for declarations that cannot be served."""
    plugins = surface.plugins()
    keys = KeyRing(
        caller,
        find_query(plugins, settings.jwks_query),
        refresh_seconds=settings.keys_refresh.total_seconds(),
    )
    house = House(
        settings=settings,
        surface=surface,
        caller=caller,
        tokens=AccessTokens(keys, issuer=settings.issuer, size=settings.verified_tokens),
        mint=mint,
        bell=bell,
        stop=stop,
        limits=limits,
    )
    front = Front(Cors(settings.cors_origins), settings.compress_from, observer or Unobserved())
    readiness = readiness_page(health, is_detailed=False)
    document = msgspec.json.format(msgspec.json.encode(openapi_document(plugins)), indent=1)
    pages = {
        "/health": health_page(health),
        "/ready": readiness,
        "/health/ready": readiness,
        "/schema/openapi.json": fixed_page(document),
        **static_pages(),
    }
    api = _handler(API_PREFIX, ApiEndpoint(api_router(house), front), is_mount=True)
    return _application([api, *_page_handlers(pages, front)], front)


def build_internal(health: Health, metrics: Metrics) -> Litestar:
    """Return the application of the internal listener: details that nobody outside should see."""
    front = Front(Cors(()), compress_from=1 << 30, observer=Unobserved())

    async def counters(exchange: Exchange) -> Answer:
        return Answer(200, await metrics.exposition(), b"text/plain; version=0.0.4; charset=utf-8")

    readiness = readiness_page(health, is_detailed=True)
    pages = {
        "/metrics": counters,
        "/health": health_page(health),
        "/ready": readiness,
        "/health/ready": readiness,
    }
    return _application(_page_handlers(pages, front), front)


def api_router(house: House) -> Router[Operation]:
    """Return all declared routes; raises when two declarations claim the same one."""
    router: Router[Operation] = Router()
    for plugin in house.surface.plugins():
        for spec in plugin.of_kind("command", "query"):
            if spec.http is not None:
                kind = LiveOperation if spec.http.is_live else Operation
                router.add(spec.http.method, spec.http.path, kind(plugin, spec, house))
    return router


def _page_handlers(pages: Mapping[str, Page], front: Front) -> list[ASGIRouteHandler]:
    return [_handler(path, PageEndpoint(page, front)) for path, page in pages.items()]


def _handler(path: str, endpoint: Endpoint, *, is_mount: bool = False) -> ASGIRouteHandler:
    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        await endpoint(scope, receive, send)

    handler = ASGIRouteHandler(path, name=path, is_mount=is_mount, copy_scope=False)
    return handler(serve)


def _application(handlers: list[ASGIRouteHandler], front: Front) -> Litestar:
    def refuse(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        exchange = front.exchange(request.scope, request.receive, request.send)
        answer = problem_answer(_translated(error), exchange)
        headers = exchange.headers_of(answer)
        return Response(
            answer.body,
            status_code=answer.status,
            media_type=answer.media_type.decode(),
            headers={name.decode(): value.decode() for name, value in headers},
        )

    return Litestar(
        handlers,
        exception_handlers={Exception: refuse},
        openapi_config=None,
        logging_config=None,
    )


def _translated(error: Exception) -> ServiceError:
    """What Litestar refuses before any endpoint: no such path, or a request it cannot read."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        return NoSuchRouteError()
    return MalformedRequestError() if status < 500 else InternalError()
