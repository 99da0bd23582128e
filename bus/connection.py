"""Connections to NATS that never give up, spread their reconnects, and fail fast while they are down."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import nats
import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError

from bus.errors import DisconnectedError

log = structlog.get_logger("bus.connection")

RECONNECT_MIN: Final = 0.05
RECONNECT_MAX: Final = 1.0
PING_SECONDS: Final = 2
FIRST_CONNECT_SECONDS: Final = 10.0

Listener = Callable[[], None]


class Connection:
    """One connection to NATS under one credential; listeners hear of every reconnect."""

    def __init__(self, client: Client, name: str) -> None:
        self.client = client
        self.name = name
        self.slow_consumers = 0
        self.is_closing = False
        self._listeners: list[Listener] = []
        self._mourners: list[Listener] = []

    @property
    def is_connected(self) -> bool:
        """Whether messages can be sent now."""
        return bool(self.client.is_connected)

    def on_reconnect(self, listener: Listener) -> None:
        """Call ``listener`` after every reconnect."""
        self._listeners.append(listener)

    def on_disconnect(self, listener: Listener) -> None:
        """Call ``listener`` whenever the connection breaks."""
        self._mourners.append(listener)

    def forget(self, listener: Listener) -> None:
        """Stop calling a listener."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    async def flush(self, timeout: int = 2) -> None:
        """Wait until the server has seen what was sent; raises DisconnectedError."""
        try:
            await self.client.flush(timeout=timeout)
        except (NatsError, TimeoutError) as error:
            raise DisconnectedError from error

    async def close(self) -> None:
        """Send what is buffered and close."""
        self.is_closing = True
        if self.client.is_connected:
            try:
                await self.client.flush(timeout=1)
            except (NatsError, TimeoutError):
                log.warning("flush_before_close_failed", connection=self.name)
        await self.client.close()

    def _disconnected(self) -> None:
        for listener in list(self._mourners):
            listener()

    def _reconnected(self) -> None:
        for listener in list(self._listeners):
            listener()


async def connect(
    servers: str, *, name: str, seed_file: Path | None = None, seed: str | None = None
) -> Connection:
    """Open a connection; raises DisconnectedError when none comes about within 10 s.

    Once open it reconnects for ever, after a random wait, so that a restart of the server does not
    meet everybody at the same moment. While it is down, sending fails at once.
    """
    client = Client()
    connection = Connection(client, name)

    async def disconnected() -> None:
        client.options["reconnect_time_wait"] = random.uniform(RECONNECT_MIN, RECONNECT_MAX)  # noqa: S311  spreads load
        if not client.is_closed and not connection.is_closing:
            log.warning("bus_disconnected", connection=name)
        connection._disconnected()

    async def reconnected() -> None:
        log.info("bus_reconnected", connection=name)
        connection._reconnected()

    async def failed(error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            connection.slow_consumers += 1
        log.warning("bus_error", connection=name, error=repr(error))

    options: dict[str, Any] = {
        "servers": [server.strip() for server in servers.split(",")],
        "name": name,
        "allow_reconnect": True,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": random.uniform(RECONNECT_MIN, RECONNECT_MAX),  # noqa: S311  spreads load
        "connect_timeout": 2,
        "ping_interval": PING_SECONDS,
        "max_outstanding_pings": 2,
        "pending_size": -1,
        "disconnected_cb": disconnected,
        "reconnected_cb": reconnected,
        "error_cb": failed,
        "inbox_prefix": f"_INBOX_{name.replace('.', '_').replace('-', '_')}".encode(),
    }
    if seed_file is not None:
        options["nkeys_seed"] = str(seed_file)
    elif seed is not None:
        options["nkeys_seed_str"] = seed
    try:
        async with asyncio.timeout(FIRST_CONNECT_SECONDS):
            await client.connect(**options)
    except (NatsError, TimeoutError, OSError) as error:
        await client.close()
        raise DisconnectedError(f"NATS cannot be reached as {name}: {error!r}") from error
    return connection
