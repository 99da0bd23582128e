"""Service discovery by ADR-32: ``$SRV.PING|INFO|STATS`` answered from the live registry.

We own the subscriptions (a library's service cannot take an endpoint away again), so that a plugin
switched off vanishes from ``nats micro ls`` at once.
"""

from collections.abc import Mapping
from typing import Any, Final

from bus.codec import encode
from bus.connection import Connection
from bus.requests import RequestServer

PREFIX: Final = "$SRV"
VERBS: Final = ("PING", "INFO", "STATS")


class ServiceAnnouncer:
    """Answers discovery for one plugin of one process."""

    def __init__(
        self,
        server: RequestServer,
        *,
        name: str,
        instance: str,
        version: str,
        description: str,
        metadata: Mapping[str, str],
        queue: str,
    ) -> None:
        self._server = server
        self._identity = {
            "name": name,
            "id": instance,
            "version": version,
            "metadata": dict(metadata),
        }
        self._description = description
        self._queue = queue
        self._subscriptions: list[Any] = []

    @property
    def _connection(self) -> Connection:
        return self._server.connection

    async def start(self) -> None:
        """Answer from now on."""
        name, instance = self._identity["name"], self._identity["id"]
        for verb in VERBS:
            for subject in (
                f"{PREFIX}.{verb}",
                f"{PREFIX}.{verb}.{name}",
                f"{PREFIX}.{verb}.{name}.{instance}",
            ):
                subscription = await self._connection.client.subscribe(
                    subject, cb=self._answerer(verb)
                )
                self._subscriptions.append(subscription)
        await self._connection.flush()

    async def stop(self) -> None:
        """Answer no more."""
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        self._subscriptions.clear()

    def _answerer(self, verb: str) -> Any:
        build = {"PING": self.ping, "INFO": self.info, "STATS": self.stats}[verb]

        async def answer(message: Any) -> None:
            if message.reply:
                await self._connection.client.publish(message.reply, encode(build()))

        return answer

    def ping(self) -> dict[str, Any]:
        """Return who answers."""
        return {"type": "io.nats.micro.v1.ping_response", **self._identity}

    def info(self) -> dict[str, Any]:
        """Return what is served."""
        return {
            "type": "io.nats.micro.v1.info_response",
            **self._identity,
            "description": self._description,
            "endpoints": [
                {
                    "name": endpoint.name,
                    "subject": endpoint.subject,
                    "queue_group": self._queue,
                    "metadata": endpoint.metadata,
                }
                for endpoint in self._server.endpoints
            ],
        }

    def stats(self) -> dict[str, Any]:
        """Return what has been done; times in nanoseconds."""
        return {
            "type": "io.nats.micro.v1.stats_response",
            **self._identity,
            "started": self._server.started_at.isoformat().replace("+00:00", "Z"),
            "endpoints": [
                {
                    "name": endpoint.name,
                    "subject": endpoint.subject,
                    "queue_group": self._queue,
                    "num_requests": endpoint.stats.requests,
                    "num_errors": endpoint.stats.errors,
                    "last_error": endpoint.stats.last_error,
                    "processing_time": endpoint.stats.processing_ns,
                    "average_processing_time": endpoint.stats.processing_ns
                    // max(1, endpoint.stats.requests),
                }
                for endpoint in self._server.endpoints
            ],
        }
