"""Request and reply: the caller's side and the server's, both with deadlines and clear errors."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Final

import nats.errors
import structlog

from bus.codec import MAX_PAYLOAD
from bus.connection import Connection
from bus.envelope import Envelope, Reply, read_request
from bus.errors import (
    ERROR_HEADER,
    DeadlineError,
    DisconnectedError,
    InternalError,
    MessageTooLargeError,
    NoResponderError,
    OverloadedError,
    ServiceError,
    decode_error,
    encode_error,
)
from bus.message import MessageType
from bus.provenance import is_request

log = structlog.get_logger("bus.requests")

MAX_IN_FLIGHT: Final = 512
"""Requests that one plugin of one process works on at a time; the next one is refused."""

Handle = Callable[[bytes, Envelope], Awaitable[Reply]]


class NatsCaller:
    """Sends requests over NATS; one subscription takes all replies, each on a subject nobody can guess.

    Waiters hear at once when the connection breaks: the client library would let them wait for
    their whole deadline.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[str, tuple[str, asyncio.Future[Any]]] = {}
        self._inbox = ""
        self._opening: asyncio.Task[None] | None = None
        connection.on_disconnect(self._lost)
        connection.on_denial(self._denied)
        connection.ask_before_renewal(lambda: not self._waiting)

    async def call(
        self, message: MessageType, payload: bytes, envelope: Envelope, timeout: float
    ) -> Reply:
        """Send one request and wait for the answer; see ``Caller.call`` for what it raises."""
        return await self.request(message.subject, payload, envelope.to_headers(), timeout)

    async def request(
        self, subject: str, payload: bytes, headers: dict[str, str], timeout: float
    ) -> Reply:
        """Send to a subject as it is."""
        loop = asyncio.get_running_loop()
        await self._connection.until_open()
        if not self._inbox:
            await self._open()
        token = token_hex(8)
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting[token] = (subject, future)
        timer = loop.call_later(timeout, _expire, future)
        try:
            await self._connection.client.publish(
                subject, payload, reply=self._inbox + token, headers=headers
            )
            message = await future
        except nats.errors.MaxPayloadError as error:
            raise MessageTooLargeError from error
        except nats.errors.Error as error:
            raise DisconnectedError(retry_after=1) from error
        finally:
            timer.cancel()
            del self._waiting[token]
        answered = message.headers or {}
        if not message.data and answered.get("Status") == "503":
            raise NoResponderError(f"Nobody answers {subject} now", retry_after=1)
        if ERROR_HEADER in answered:
            raise decode_error(message.data, answered)
        return Reply(message.data, answered)

    async def _open(self) -> None:
        """Subscribe to the replies, once for all who ask at the same time."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._subscribe())
        try:
            await asyncio.shield(self._opening)
        except nats.errors.Error as error:
            self._opening = None
            raise DisconnectedError(retry_after=1) from error

    async def _subscribe(self) -> None:
        inbox = self._connection.client.new_inbox() + "."
        await self._connection.client.subscribe(f"{inbox}*", cb=self._answered)
        self._inbox = inbox

    async def _answered(self, message: Any) -> None:
        _, future = self._waiting.get(message.subject.rpartition(".")[2], ("", None))
        if future is not None and not future.done():
            future.set_result(message)

    def _denied(self, refused: str) -> None:
        for subject, future in self._waiting.values():
            if subject.lower() == refused and not future.done():
                future.set_exception(self._connection.not_granted("publish to", subject))

    def _lost(self) -> None:
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(
                    DeadlineError("The connection broke; whether it was done is unknown")
                )


def _expire(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(DeadlineError())


@dataclass
class EndpointStats:
    """What one endpoint has done since it was opened; times in nanoseconds."""

    requests: int = 0
    errors: int = 0
    last_error: str = ""
    processing_ns: int = 0


@dataclass
class Endpoint:
    """One subject served by a plugin."""

    name: str
    subject: str
    handle: Handle
    metadata: dict[str, str] = field(default_factory=dict)
    max_in_flight: int = MAX_IN_FLIGHT
    stats: EndpointStats = field(default_factory=EndpointStats)
    in_flight: int = 0

    async def run(self, payload: bytes, envelope: Envelope) -> Reply:
        """Handle one request, counting it, or refuse it at once when too many are in hand.

        Raises ServiceError and nothing else.
        """
        started = time.perf_counter_ns()
        self.stats.requests += 1
        if self.in_flight >= self.max_in_flight:
            self.stats.errors += 1
            self.stats.last_error = OverloadedError.code
            raise OverloadedError(retry_after=1)
        self.in_flight += 1
        try:
            return await self.handle(payload, envelope)
        except ServiceError as error:
            self.stats.errors += 1
            self.stats.last_error = error.to_wire().code
            raise
        except Exception as error:
            self.stats.errors += 1
            self.stats.last_error = InternalError.code
            log.exception("endpoint_broke", subject=self.subject)
            raise InternalError from error
        finally:
            self.in_flight -= 1
            self.stats.processing_ns += time.perf_counter_ns() - started


class RequestServer:
    """Serves the endpoints of one plugin: as many at a time as is bounded, drained on stop."""

    def __init__(
        self,
        connection: Connection,
        queue: str,
        endpoints: list[Endpoint],
    ) -> None:
        self.connection = connection
        self.endpoints = endpoints
        self.started_at = datetime.now(UTC)
        self._queue = queue
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: list[Any] = []

    @property
    def in_flight(self) -> int:
        """Requests being worked on."""
        return len(self._tasks)

    async def start(self) -> None:
        """Subscribe, and return when the server has seen it: a racing caller finds a responder.

        Raises NotGrantedError when this credential may not answer one of the subjects.
        """
        for endpoint in self.endpoints:
            subscription = await self.connection.client.subscribe(
                endpoint.subject, queue=self._queue, cb=self._receiver(endpoint)
            )
            self._subscriptions.append(subscription)
        await self.connection.require_heard(endpoint.subject for endpoint in self.endpoints)

    async def stop(self, timeout: float = 8.0) -> None:
        """Take no more, finish what was taken, send the answers."""
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            try:
                await subscription.drain()
            except nats.errors.Error:
                log.warning("drain_failed", queue=self._queue)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout)
        for task in self._tasks:
            task.cancel()
        if self.connection.is_connected:
            await self.connection.flush()

    def _receiver(self, endpoint: Endpoint) -> Callable[[Any], Awaitable[None]]:
        async def receive(message: Any) -> None:
            if not is_request(message.reply):
                log.error("forged_request", subject=endpoint.subject, reply=message.reply)
                return
            task = asyncio.create_task(self._answer(endpoint, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return receive

    async def _answer(self, endpoint: Endpoint, message: Any) -> None:
        try:
            envelope = read_request(message.headers or {})
            payload, headers = await endpoint.run(message.data, envelope)
            if len(payload) > MAX_PAYLOAD:
                raise MessageTooLargeError("The answer is too large")
        except ServiceError as error:
            payload, headers = encode_error(error)
        await self._respond(message, payload, headers)

    async def _respond(self, message: Any, payload: bytes, headers: Mapping[str, str]) -> None:
        try:
            await self.connection.client.publish(
                message.reply, payload, headers=dict(headers) or None
            )
        except nats.errors.Error as error:
            log.warning("answer_lost", subject=message.subject, error=repr(error))
