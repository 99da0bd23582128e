"""What the gateway costs: its route with a caller in the same process, beside bare Litestar.

Both run on the same embedded Granian, one process each, asked by the same client in a third one:
``python -m bench.gateway_ladder``. It takes about ten seconds. Ratios count, figures do not: they
depend on the machine and on what else runs there.
"""

import argparse
import asyncio
import multiprocessing
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import uvloop
from litestar import Litestar, Request, Response, get, post

from bus.envelope import Envelope, Reply
from bus.message import MessageType
from gateway.serving import serving
from gateway.testing.sample import THING
from gateway.testing.stage import Issuer, Stage, free_port

CONNECTIONS: Final = 32
SECONDS: Final = 1.5
ROUNDS: Final = 2
BODY: Final = (
    b'{"thing_id":"thing_01k9z7x3c8e4m9r2t5v6w7y8z0","name":"Cement",'
    b'"price":{"amount":38000,"currency":"INR"},"version":3}'
)
POSTED: Final = b'{"name":"Cement","quantity":2.5,"colour":"blue","weight":50}'


class Echo:
    """A Caller that answers at once, as a plugin in the same process would at best."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._reply = Reply(BODY, {"realserv-version": "3"})

    async def call(
        self, message: MessageType, payload: bytes, envelope: Envelope, timeout: float
    ) -> Reply:
        """Decode as a plugin does, and answer."""
        if message.name == "give_keys":
            return await self._stage.bus.call(message, payload, envelope, timeout)
        message.decode(payload)
        return self._reply


def bare_litestar(issuer: Issuer) -> Litestar:
    """The baseline: ready bytes, what Litestar encodes, and a POST that reads its body unparsed."""

    @get("/bytes/{thing_id:str}")
    async def ready(thing_id: str) -> Response[bytes]:
        return Response(BODY, media_type="application/json")

    @get("/encoded/{thing_id:str}")
    async def encoded(thing_id: str) -> dict[str, Any]:
        return {"thing_id": thing_id, "name": "Cement", "price": {"amount": 38000}, "version": 3}

    @post("/posted", status_code=201)
    async def posted(request: Request[Any, Any, Any]) -> Response[bytes]:
        await request.body()
        return Response(BODY, media_type="application/json")

    return Litestar([ready, encoded, posted], openapi_config=None, logging_config=None)


def gateway(issuer: Issuer) -> Litestar:
    """The gateway, with all that it does but the bus."""
    stage = Stage()
    stage.bus.keys = issuer.jwks
    return stage.app(caller=Echo(stage))


def serve(make: Callable[[Issuer], Litestar], issuer: Issuer, port: int) -> None:
    """Serve one application until the process is ended."""

    async def forever() -> None:
        stop = asyncio.Event()
        async with serving(make(issuer), "127.0.0.1", port, stop):
            await stop.wait()

    with suppress(KeyboardInterrupt):
        uvloop.run(forever())


async def rate(port: int, request: Callable[[int], bytes], seconds: float) -> float:
    """Return the requests per second that keep-alive connections get answered."""
    end = time.perf_counter() + seconds
    answered = 0

    async def connection(first: int) -> None:
        nonlocal answered
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        number = first
        while time.perf_counter() < end:
            number += CONNECTIONS
            writer.write(request(number))
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 20"):
                raise RuntimeError(head.decode() + (await reader.read(2000)).decode())
            at = head.index(b"content-length: ") + 16
            await reader.readexactly(int(head[at : head.index(b"\r", at)]))
            answered += 1
        writer.close()

    await asyncio.gather(*(connection(first) for first in range(CONNECTIONS)))
    return answered / seconds


def get_request(path: str, token: str = "") -> Callable[[int], bytes]:
    """Build GETs; ids differ, so that no router's cache of paths helps."""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    stem = THING[:-5]

    def build(number: int) -> bytes:
        target = f"{path}{stem}{number % 100_000:05d}"
        return f"GET {target} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n".encode()

    return build


def post_request(path: str, token: str) -> Callable[[int], bytes]:
    """Build POSTs with a key of their own."""

    def build(number: int) -> bytes:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nIdempotency-Key: key-{number}\r\n"
            f"Content-Length: {len(POSTED)}\r\n\r\n"
        )
        return head.encode() + POSTED

    return build


def main() -> None:
    """Measure the ladder and print it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=SECONDS)
    seconds = arguments.parse_args().seconds
    issuer = Issuer()
    token = issuer.token()
    ports = free_port(), free_port()
    context = multiprocessing.get_context("fork")
    servers = [
        context.Process(target=serve, args=(make, issuer, port), daemon=True)
        for make, port in zip((bare_litestar, gateway), ports, strict=True)
    ]
    for server in servers:
        server.start()
    ladder = {
        "bare Litestar, ready bytes": (ports[0], get_request("/bytes/")),
        "bare Litestar, encoded": (ports[0], get_request("/encoded/")),
        "bare Litestar, POST": (ports[0], post_request("/posted", token)),
        "gateway, read by id": (ports[1], get_request("/api/v1/things/", token)),
        "gateway, validated POST": (ports[1], post_request("/api/v1/things", token)),
    }
    try:
        best = uvloop.run(climb(ladder, ports, seconds))
    finally:
        for server in servers:
            server.terminate()
            server.join(5)
    for name, reached in best.items():
        base = "bare Litestar, POST" if "POST" in name else "bare Litestar, ready bytes"
        print(f"{name:28} {reached:9.0f}/s   {reached / best[base]:5.2f} of {base}")


async def climb(
    ladder: dict[str, tuple[int, Callable[[int], bytes]]], ports: tuple[int, ...], seconds: float
) -> dict[str, float]:
    """Return the best of the rounds of each rung; rounds alternate, so that noise meets all alike."""
    for port in ports:
        await until_listening(port)
    best = dict.fromkeys(ladder, 0.0)
    for _ in range(ROUNDS):
        for name, (port, request) in ladder.items():
            best[name] = max(best[name], await rate(port, request, seconds))
    return best


async def until_listening(port: int) -> None:
    """Wait for a server, 10 seconds at the most."""
    async with asyncio.timeout(10):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    main()
