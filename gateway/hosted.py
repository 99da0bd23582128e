"""The gateway as the kernel's hosts find it: their ports put into the shapes that the gateway asks for."""

from collections.abc import Sequence

from gateway.part import GatewayPart
from gateway.ports import PartHealth, PluginState, Readiness
from gateway.settings import GatewaySettings
from gateway.telemetry import RequestTelemetry
from kernel.health import HostHealth
from kernel.parts import PartPorts
from kernel.plugin import Plugin
from kernel.switchboard import Switchboard


class SwitchedSurface:
    """All installed plugins, on or off as the switchboard says."""

    def __init__(self, plugins: Sequence[Plugin], switchboard: Switchboard) -> None:
        self._plugins = plugins
        self._switchboard = switchboard

    def plugins(self) -> Sequence[Plugin]:
        """Return all declarations."""
        return self._plugins

    def state_of(self, plugin_name: str) -> PluginState:
        """Tell whether a plugin is on."""
        return self._switchboard.state_of(plugin_name)


class HealthOfHost:
    """The host's checks as the gateway answers them."""

    def __init__(self, health: HostHealth) -> None:
        self._health = health

    async def health(self) -> bool:
        """The process works when it can answer this."""
        return True

    async def ready(self, *, is_detailed: bool) -> Readiness:
        """Tell whether every hard dependency answers."""
        if self._health.is_draining:
            return Readiness(status="not_ready")
        found = await self._health.dependencies()
        status = "ready"
        if any(one.status == "degraded" for one in found):
            status = "degraded"
        if any(one.status == "down" for one in found if one.is_hard):
            status = "not_ready"
        parts = tuple(
            PartHealth(
                name=one.name, status=one.status, latency_ms=one.latency_ms, reason=one.reason
            )
            for one in found
        )
        return Readiness(status=status, parts=parts if is_detailed else ())  # type: ignore[arg-type]  # one of the three above


def open_gateway(ports: PartPorts) -> GatewayPart:
    """Build the gateway of a host; raises ConfigurationError."""
    settings = ports.configuration.section("gateway", GatewaySettings)
    return GatewayPart(
        settings,
        surface=SwitchedSurface(ports.plugins, ports.switchboard),
        caller=ports.caller,
        mint=ports.mint,
        bell=ports.bell,
        health=HealthOfHost(ports.health),
        metrics=ports.metrics,
        observer=RequestTelemetry(ports.telemetry.registry),
    )
