"""Which plugins are on: the configuration's default, overridden by operators, the same on every host.

The rows of the kernel's database are the truth; a core message spreads the news, and every host
compares by itself every two seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Literal, NamedTuple

import nats.errors
import structlog

from bus.connection import Connection
from bus.errors import ServiceError
from kernel.config import Configuration
from kernel.home import SWITCH_SUBJECT, Home, Override
from kernel.plugin import Plugin

log = structlog.get_logger("kernel.switchboard")

PluginSwitch = Literal["enabled", "disabled"]


class SwitchState(NamedTuple):
    """A plugin's default, what an operator decided, and what follows."""

    default: bool
    override: Override | None

    @property
    def is_enabled(self) -> bool:
        """Whether the plugin is to run."""
        return self.override.is_enabled if self.override is not None else self.default


class Switchboard:
    """Knows for every plugin whether it is on, and tells listeners when that changes."""

    def __init__(
        self,
        home: Home,
        configuration: Configuration,
        plugins: Iterable[Plugin],
        *,
        poll_seconds: float,
    ) -> None:
        self._home = home
        self._poll_seconds = poll_seconds
        self._defaults = {p.name: configuration.is_enabled(p.name) for p in plugins}
        self._overrides: dict[str, Override] = {}
        self._listeners: list[Callable[[], Awaitable[None]]] = []
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._subscription: Any = None

    def states(self) -> dict[str, SwitchState]:
        """Return the state of every plugin."""
        return {
            name: SwitchState(default, self._overrides.get(name))
            for name, default in self._defaults.items()
        }

    def state_of(self, plugin_name: str) -> PluginSwitch:
        """Tell whether a plugin is on."""
        override = self._overrides.get(plugin_name)
        is_on = override.is_enabled if override else self._defaults.get(plugin_name, False)
        return "enabled" if is_on else "disabled"

    def on_change(self, listener: Callable[[], Awaitable[None]]) -> None:
        """Call ``listener`` after every change."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Read the rows; raises DatabaseUnavailable."""
        self._overrides = await self._home.overrides()

    async def start(self, connection: Connection) -> None:
        """Follow changes from now on."""
        self._subscription = await connection.client.subscribe(SWITCH_SUBJECT, cb=self._told)
        connection.on_reconnect(self._news.set)
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        """Follow no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _told(self, message: Any) -> None:
        self._news.set()

    async def _follow(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            try:
                found = await self._home.overrides()
            except ServiceError as error:
                log.warning("switches_unread", error=error.code)
                continue
            if found != self._overrides:
                self._overrides = found
                log.info("plugins_switched", overrides={k: v.is_enabled for k, v in found.items()})
                for listener in self._listeners:
                    await listener()


async def spread_news(connection: Connection) -> None:
    """Tell every host that a switch was moved; losing this costs two seconds, not correctness."""
    try:
        await connection.client.publish(SWITCH_SUBJECT, b"")
        await connection.flush()
    except (nats.errors.Error, ServiceError) as error:
        log.info("news_lost", error=repr(error))
