"""Calls to plugins: the short way to one in this process that is ready, else over NATS.

Both ways have the same codec, counts, limits, deadlines and errors, so that what works in one
process works in many.
"""

from bus.envelope import Caller, Envelope, Reply
from bus.errors import RemoteError, ServiceError
from bus.message import MessageType
from bus.requests import Endpoint


class LocalRegistry:
    """The endpoints of the plugins that are ready in this process."""

    def __init__(self) -> None:
        self._endpoints: dict[MessageType, Endpoint] = {}

    def add(self, endpoints: dict[MessageType, Endpoint]) -> None:
        """A plugin is ready."""
        self._endpoints.update(endpoints)

    def remove(self, endpoints: dict[MessageType, Endpoint]) -> None:
        """A plugin is no longer ready; endpoints that took the place of these stay."""
        for message, endpoint in endpoints.items():
            if self._endpoints.get(message) is endpoint:
                del self._endpoints[message]

    def find(self, message: MessageType) -> Endpoint | None:
        """Return the endpoint of a message, when its plugin is ready here."""
        return self._endpoints.get(message)


class LocalFirstCaller:
    """Prefers a plugin of this process."""

    def __init__(self, registry: LocalRegistry, remote: Caller) -> None:
        self._registry = registry
        self._remote = remote

    async def call(
        self, message: MessageType, payload: bytes, envelope: Envelope, timeout: float
    ) -> Reply:
        """Send one request; see ``Caller.call``."""
        endpoint = self._registry.find(message)
        if endpoint is None:
            return await self._remote.call(message, payload, envelope, timeout)
        try:
            return await endpoint.run(payload, envelope)
        except ServiceError as error:
            raise RemoteError(error.to_wire()) from error
