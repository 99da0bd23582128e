"""The stand-in as an ASGI application, and as a server in a running loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, Request, Response
from litestar.di import Provide
from litestar.exceptions import HTTPException

from plugins.payment.standin.api import RazorpayApi
from plugins.payment.standin.control import Control
from plugins.payment.standin.office import Office, Options
from plugins.payment.standin.refusals import Refusal

Call = Request[Any, Any, Any]


def refuse(_: Call, refusal: Refusal) -> Response[bytes]:
    """Answer a refusal in the provider's shape."""
    content = msgspec.json.encode(refusal.to_json())
    return Response(content, status_code=refusal.status, media_type="application/json")


def refuse_http(call: Call, error: HTTPException) -> Response[bytes]:
    """Answer what never reached a handler: an unknown address is 400 at Razorpay, like most of its refusals."""
    text = "The requested URL was not found on the server."
    description = text if error.status_code in (404, 405) else error.detail
    return refuse(call, Refusal(description, status=400 if error.status_code < 500 else 500))


def build_app(options: Options) -> Litestar:
    """Build the application around one office."""
    office = Office(options)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        await office.open()
        yield
        await office.close()

    def the_office() -> Office:
        return office

    async def keep(_: Call) -> None:
        office.keep()

    app = Litestar(
        route_handlers=[RazorpayApi, Control],
        dependencies={"office": Provide(the_office, sync_to_thread=False)},
        exception_handlers={Refusal: refuse, HTTPException: refuse_http},
        lifespan=[lifespan],
        after_response=keep,
        openapi_config=None,
        logging_config=None,
    )
    app.state.office = office
    return app


THREADS_END_SECONDS = 0.25
"""Granian's threads end a moment after it says so; met by the interpreter's end, they abort the process."""


@asynccontextmanager
async def serving(options: Options, port: int) -> AsyncIterator[str]:
    """Serve on a port of the loopback and yield the address of ``/v1``; stop at the end."""
    server = Server(
        build_app(options),
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        log_enabled=False,
    )
    task = asyncio.create_task(server.serve())
    try:
        await _until_listening(port)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # Granian leaves it untyped
        await task
        await asyncio.sleep(THREADS_END_SECONDS)


async def _until_listening(port: int) -> None:
    """Wait until somebody answers on the port; raises TimeoutError after 10 s."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return
