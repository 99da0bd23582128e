"""The pull loop: keeps requests open at a consumer, notices silence, and settles every delivery.

The client library's own ``fetch`` stalls after an empty answer and loses its pull when the server
restarts; this loop keeps one inbox open, asks for more before it runs dry, and begins a new session
when heartbeats stop or the connection comes back.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import nats.errors
import structlog

from bus.connection import Connection

log = structlog.get_logger("bus.puller")

ACK_WAIT: Final = 10.0
"""Seconds after which the server gives an unsettled delivery to somebody else: how long an ordered
part stands still when its process is killed."""
HEARTBEAT: Final = 5.0
EXPIRES: Final = 30.0
SILENCE: Final = 3 * HEARTBEAT


class ConsumerGoneError(RuntimeError):
    """The consumer or its stream was deleted, or refuses the request."""


class Delivery:
    """One delivery of a message. Exactly one of ``ack``, ``retry`` and ``terminate`` settles it."""

    __slots__ = (
        "_connection",
        "_reply",
        "attempt",
        "data",
        "headers",
        "is_acked",
        "stored_at",
        "stream_seq",
        "subject",
    )

    def __init__(self, connection: Connection, message: Any) -> None:
        fields = message.reply.split(".")
        offset = -5 if len(fields) == 9 else -6
        self._connection = connection
        self._reply: str = message.reply
        self.subject: str = message.subject
        self.data: bytes = message.data
        self.headers: Mapping[str, str] = message.headers or {}
        self.stored_at = datetime.fromtimestamp(int(fields[offset + 3]) / 1e9, UTC)
        """When the stream stored it: for a fired schedule, when it fired."""
        self.attempt = int(fields[offset])
        """How often the server has delivered it, this time included."""
        self.stream_seq = int(fields[offset + 1])
        self.is_acked = False

    async def ack(self) -> None:
        """It is done. May be said again: a killed server forgets what it heard last."""
        self.is_acked = True
        await self._send(b"+ACK")

    async def retry(self, delay: float) -> None:
        """Deliver it again after ``delay`` seconds; 0 gives it to somebody else at once."""
        await self._send(b'-NAK {"delay": %d}' % int(delay * 1e9) if delay > 0 else b"-NAK")

    async def terminate(self, reason: str) -> None:
        """Never deliver it again."""
        await self._send(b"+TERM " + reason.encode()[:200])

    async def working(self) -> None:
        """Ask the server for another ``ACK_WAIT``."""
        await self._send(b"+WPI")

    async def _send(self, verdict: bytes) -> None:
        try:
            await self._connection.client.publish(self._reply, verdict)
        except nats.errors.Error as error:
            log.warning("settle_lost", verdict=verdict[:4].decode(), error=repr(error))


Handle = Callable[[Delivery], Awaitable[None]]


class Puller:
    """Feeds one durable consumer's messages to ``handle``, ``concurrency`` at a time.

    ``handle`` settles its delivery; while it runs the server is told so. If it is cancelled the
    message goes back untouched: cancellation is not failure.
    """

    def __init__(
        self,
        connection: Connection,
        stream: str,
        consumer: str,
        handle: Handle,
        *,
        concurrency: int = 1,
        batch: int = 0,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._consumer = consumer
        self._handle = handle
        self._concurrency = concurrency
        self._batch = batch or max(2, 2 * concurrency)
        self._queue: asyncio.Queue[Delivery] = asyncio.Queue()
        self._stopping = False
        self._renew = asyncio.Event()
        self._open = 0
        self._last_sign = 0.0
        self._inbox = ""
        self._failure: str | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._loop_task: asyncio.Task[None] | None = None
        self._in_hand: set[Delivery] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._done: deque[Delivery] = deque(maxlen=self._batch)

    @property
    def name(self) -> str:
        """Stream and consumer, for logs."""
        return f"{self._stream}/{self._consumer}"

    def start(self) -> None:
        """Begin to pull."""
        self._connection.on_reconnect(self._kick)
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._concurrency)]
        self._loop_task = asyncio.create_task(self._sessions())

    async def stop(self, timeout: float = 8.0) -> None:
        """Stop asking, give back what nobody has begun, wait for what is in hand."""
        self._stopping = True
        self._connection.forget(self._kick)
        self._renew.set()
        if self._loop_task is not None:
            await asyncio.wait([self._loop_task], timeout=2)
        while not self._queue.empty():
            await self._queue.get_nowait().retry(0)
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            log.warning("handlers_cancelled", consumer=self.name, count=len(self._in_hand))
        for task in (*self._workers, *([self._loop_task] if self._loop_task else [])):
            task.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def _kick(self) -> None:
        self._renew.set()

    async def _sessions(self) -> None:
        while not self._stopping:
            if not self._connection.is_connected:
                await asyncio.sleep(0.1)
                continue
            try:
                await self._session()
            except nats.errors.Error as error:
                log.warning("pull_session_failed", consumer=self.name, error=repr(error))
            if self._failure is not None:
                log.error("consumer_gone", consumer=self.name, reason=self._failure)
                self._failure = None
                await asyncio.sleep(2.0)
            elif not self._stopping:
                await asyncio.sleep(0.1)

    async def _session(self) -> None:
        loop = asyncio.get_running_loop()
        self._open, self._last_sign = 0, loop.time()
        self._renew.clear()
        self._inbox = self._connection.client.new_inbox()
        subscription = await self._connection.client.subscribe(self._inbox, cb=self._received)
        try:
            for delivery in tuple(self._done):
                await delivery.ack()
            await self._ask()
            while not self._stopping and not self._renew.is_set():
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        await self._renew.wait()
                except TimeoutError:
                    if loop.time() - self._last_sign > SILENCE:
                        return
        finally:
            if not self._connection.client.is_closed:
                await subscription.unsubscribe()

    async def _ask(self) -> None:
        wanted = self._batch - self._open - self._queue.qsize()
        if self._stopping or wanted < max(1, self._batch // 2):
            return
        self._open += wanted
        request = {
            "batch": wanted,
            "expires": int(EXPIRES * 1e9),
            "idle_heartbeat": int(HEARTBEAT * 1e9),
        }
        await self._connection.client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}",
            msgspec.json.encode(request),
            reply=self._inbox,
        )

    async def _received(self, message: Any) -> None:
        self._last_sign = asyncio.get_running_loop().time()
        status = (message.headers or {}).get("Status")
        if status == "100":
            return
        if not status:
            self._open -= 1
            self._queue.put_nowait(Delivery(self._connection, message))
            return
        pending = message.headers.get("Nats-Pending-Messages", "0")
        self._open = max(0, self._open - int(pending))
        description = message.headers.get("Description", "")
        if status == "400" or "Deleted" in description:
            self._failure = f"{status} {description}"
            self._renew.set()
        elif status in ("409", "503"):
            self._renew.set()
        else:
            if self._open < 0 or pending == "0":
                self._open = 0
            await self._ask()

    async def _work(self) -> None:
        while True:
            delivery = await self._queue.get()
            self._in_hand.add(delivery)
            self._idle.clear()
            try:
                try:
                    await self._ask()
                except nats.errors.Error:
                    self._renew.set()
                await self._handle_with_heartbeat(delivery)
                if delivery.is_acked:
                    self._done.append(delivery)
            except asyncio.CancelledError:
                await delivery.retry(0)
                raise
            except Exception:
                log.exception("delivery_broke", consumer=self.name, subject=delivery.subject)
                await delivery.retry(1.0)
            finally:
                self._in_hand.discard(delivery)
                if not self._in_hand:
                    self._idle.set()

    async def _handle_with_heartbeat(self, delivery: Delivery) -> None:
        async def beat() -> None:
            while True:
                await asyncio.sleep(ACK_WAIT / 3)
                await delivery.working()

        heart = asyncio.create_task(beat())
        try:
            await self._handle(delivery)
        finally:
            heart.cancel()
