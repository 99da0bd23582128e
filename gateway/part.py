"""The gateway as a part of a host: both listeners, started and stopped together."""

import asyncio
from contextlib import AsyncExitStack

from bus.envelope import Caller
from gateway.app import build_gateway, build_internal
from gateway.ports import Bell, Health, Limits, Metrics, Observer, Surface, TokenMint
from gateway.serving import serving
from gateway.settings import GatewaySettings


class GatewayPart:
    """Serves the API and the internal listener from ``start`` to ``stop``."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        surface: Surface,
        caller: Caller,
        mint: TokenMint,
        bell: Bell,
        health: Health,
        metrics: Metrics,
        limits: Limits | None = None,
        observer: Observer | None = None,
        serves_internal: bool = True,
    ) -> None:
        self._settings = settings
        self._stop = asyncio.Event()
        self._stack = AsyncExitStack()
        self.app = build_gateway(
            settings,
            surface,
            caller,
            mint,
            bell,
            health,
            self._stop,
            limits=limits,
            observer=observer,
        )
        self.internal = build_internal(health, metrics) if serves_internal else None

    async def start(self) -> None:
        """Listen. Raises PortInUseError; what was started by then is stopped again."""
        settings = self._settings
        within = settings.stop_within.total_seconds()
        async with AsyncExitStack() as stack:
            if self.internal is not None:
                await stack.enter_async_context(
                    serving(
                        self.internal,
                        settings.internal_host,
                        settings.internal_port,
                        asyncio.Event(),
                        stop_within=1.0,
                    )
                )
            await stack.enter_async_context(
                serving(
                    self.app,
                    settings.host,
                    settings.port,
                    self._stop,
                    backlog=settings.backlog,
                    stop_within=within,
                )
            )
            self._stack = stack.pop_all()

    def end_streams(self) -> None:
        """End live streams; the listeners stay."""
        self._stop.set()

    async def stop(self) -> None:
        """End live streams, stop listening, let requests in flight finish. Copes with no start."""
        self._stop.set()
        await self._stack.aclose()
