"""Granian's embedded server in our own event loop, kept behind this one module.

Its own worker manager does not stop while a live stream is open, and the embedded server calls
itself experimental; nothing else here knows which server it is.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces, TaskImpl
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

LISTENING_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.02
BODY_BUFFER: Final = 64 * 1024
THREADS_END_SECONDS: Final = 0.25
"""Granian's threads end a moment after it says so; met by the interpreter's end, they abort the process."""


class PortInUseError(OSError):
    """Another program listens where this one should."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(errno.EADDRINUSE, f"another program listens on {host}:{port}")
        self.host = host
        self.port = port


class ServerFailedError(RuntimeError):
    """The server ended by itself."""


def check_port_free(host: str, port: int) -> None:
    """Raise PortInUseError when any program listens there.

    Hosts of one system share the port, and would share it with a forgotten one unnoticed; so the
    supervisor calls this before it starts the first of them.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(host, port) from error
            raise


@asynccontextmanager
async def serving(
    app: Any,
    host: str,
    port: int,
    stop: asyncio.Event,
    *,
    backlog: int = 4096,
    stop_within: float = 8.0,
) -> AsyncIterator[None]:
    """Serve an ASGI application while the context is open.

    Leaving sets ``stop``, which ends live streams; then the server stops listening and lets requests
    in flight finish, for ``stop_within`` seconds at the most.
    """
    server = _server(app, host, port, backlog)
    task = asyncio.create_task(server.serve(), name=f"http {host}:{port}")
    try:
        await _until_listening(task, host, port)
        yield
    finally:
        stop.set()
        await _stop(server, task, stop_within)


def _server(app: Any, host: str, port: int, backlog: int) -> Server:
    return Server(
        app,
        host,
        port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
        websockets=False,
        backlog=backlog,
        backpressure=backlog,
        task_impl=TaskImpl.asyncio,
        # Each request gets a context of its own only by asyncio's tasks: the current span, the log's
        # bound keys. The level silences the line that says the embedded server is experimental.
        log_level=LogLevels.error,
        log_dictconfig={"incremental": True, "formatters": {}, "handlers": {}, "loggers": {}},
    )


async def _until_listening(task: "asyncio.Task[None]", host: str, port: int) -> None:
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  compared, not bound
    async with asyncio.timeout(LISTENING_SECONDS):
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if task.done():
                raise _reason(task, host, port)
            with suppress(OSError):
                _, writer = await asyncio.open_connection(target, port)
                writer.close()
                await writer.wait_closed()
                return


def _reason(task: "asyncio.Task[None]", host: str, port: int) -> Exception:
    error = task.exception()
    text = str(error).partition("\n")[0]
    if f"os error {errno.EADDRINUSE}" in text:
        return PortInUseError(host, port)
    failure = ServerFailedError(f"the server on {host}:{port} ended: {text}")
    failure.__cause__ = error
    return failure


async def _stop(server: Server, task: "asyncio.Task[None]", seconds: float) -> None:
    server.stop()  # type: ignore[no-untyped-call]  # Granian's
    done, _ = await asyncio.wait((task,), timeout=seconds)
    if not done:
        logging.getLogger("gateway.serving").warning(
            "requests were still open after %s seconds; they are dropped", seconds
        )
        for worker in server.wrks:
            worker.kill()  # type: ignore[no-untyped-call]  # Granian's
        task.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(THREADS_END_SECONDS)
