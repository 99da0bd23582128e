"""Live streams: server-sent events, resumable by version.

A bell only says that something happened; what happened is asked from the plugin's query again, as
the same caller, so that ownership is checked every time and facts never leave raw.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final, Literal

import msgspec
import structlog

from bus.errors import ServiceError
from bus.message import slot_of
from gateway.access import Verified
from gateway.binding import UnreachableFieldError
from gateway.errors import TokenExpiredError, TooManyStreamsError
from gateway.exchange import Exchange
from gateway.operation import House, Operation
from gateway.problems import problem_of
from kernel.errors import FieldFault, Invalid
from kernel.ids import new_uuid7
from kernel.plugin import HandlerSpec, Plugin

log = structlog.get_logger("gateway.live")

EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"
RETRY_MS: Final = 2000
AWAY_RETRY_SECONDS: Final = 2.0
"""How soon a stream asks again when the plugin was away."""
_version: Final = re.compile(r"[0-9]{1,18}").fullmatch
_name_is_safe: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}").fullmatch


class _Change(msgspec.Struct, frozen=True):
    version: int
    name: str


class _Changes(msgspec.Struct, frozen=True):
    changes: tuple[msgspec.Raw, ...]


_decode_changes: Final = msgspec.json.Decoder(_Changes).decode
_decode_change: Final = msgspec.json.Decoder(_Change).decode
_encode: Final = msgspec.json.Encoder().encode


class LiveOperation(Operation):
    """A route that answers with a stream of changes."""

    def __init__(self, plugin: Plugin, spec: HandlerSpec, house: House) -> None:
        super().__init__(plugin, spec, house)
        names = set(self.message.cls.__struct_fields__)
        if "after" not in names or self.route.key not in self.route.path_fields:
            raise UnreachableFieldError(
                f"{self.name} needs the field after, and its key in the path, to be followed"
            )
        self._key_position = self.route.path_fields.index(self.route.key)

    async def follow(self, exchange: Exchange, path: Sequence[str], traceparent: str) -> None:
        """Stream changes until the caller hangs up, may no longer see them, or the process stops.

        The first question is asked before the stream opens: its refusal is an ordinary answer.
        """
        self.require_enabled()
        caller = await self.admit(exchange)
        stream = _Stream(self, exchange, caller, path, traceparent)
        stream.payload()  # refuses a key that is none, before it becomes a part of a subject
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._place())
            key = path[self._key_position]
            for subject in self._subjects(key):
                await stack.enter_async_context(self.house.bell.listen(subject, stream.ring))
            first = await stream.ask()
            await exchange.open_stream(EVENT_STREAM)
            await exchange.write(b"retry: %d\n\n" % RETRY_MS + first)
            if exchange.method != "HEAD":
                await stream.run()
            await exchange.close_stream()

    def _subjects(self, key: str) -> list[str]:
        return [f"evt.{bell}.*.*.{slot_of(key)}.{key}" for bell in self.route.bells]

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        house = self.house
        if house.live_streams >= house.settings.live_streams:
            raise TooManyStreamsError
        house.live_streams += 1
        try:
            yield
        finally:
            house.live_streams -= 1


class _Stream:
    """One open stream: where it stands, and what wakes it."""

    def __init__(
        self,
        operation: LiveOperation,
        exchange: Exchange,
        caller: Verified | None,
        path: Sequence[str],
        traceparent: str,
    ) -> None:
        self._operation = operation
        self._house = operation.house
        self._exchange = exchange
        self._caller = caller
        self._path = path
        self._traceparent = traceparent
        self._after = _start(exchange)
        self._query = [(n, text) for n, text in exchange.query() if n != "after"]
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """Wake the stream: something happened."""
        self._rung.set()

    def payload(self) -> bytes:
        """Return the question for what is new; raises Invalid."""
        query = [*self._query, ("after", str(self._after))]
        return self._operation.binder.bind(self._path, query, b"")

    async def ask(self) -> bytes:
        """Ask for what is new; return it as event-stream text, and move on behind it."""
        operation = self._operation
        payload = self.payload()
        envelope = operation.envelope(
            self._exchange, self._caller, self._traceparent, message_id=new_uuid7()
        )
        reply = await self._house.caller.call(
            operation.message, payload, envelope, operation.route.timeout
        )
        written: list[bytes] = []
        for raw in _decode_changes(reply.payload).changes:
            change = _decode_change(raw)
            written.append(_event(bytes(raw), change))
            self._after = max(self._after, change.version)
        return b"".join(written)

    async def run(self) -> None:
        """Ask on every bell and heartbeat until the stream has to end."""
        gone = asyncio.ensure_future(self._exchange.gone())
        stopped = asyncio.ensure_future(self._house.stop.wait())
        try:
            pause = self._heartbeat
            while True:
                await self._wait(pause, gone, stopped)
                if gone.done() or stopped.done():
                    return
                self._rung.clear()
                try:
                    self._require_admission()
                    news = await self.ask()
                    pause = self._heartbeat
                except ServiceError as error:
                    if not _is_passing(error):
                        await self._exchange.write(self._refusal(error))
                        return
                    news, pause = b"", AWAY_RETRY_SECONDS
                await self._exchange.write(news or b": still here\n\n")
        finally:
            for task in (gone, stopped):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    @property
    def _heartbeat(self) -> float:
        return self._house.settings.live_heartbeat.total_seconds()

    async def _wait(
        self, pause: float, gone: "asyncio.Future[None]", stopped: "asyncio.Future[Literal[True]]"
    ) -> None:
        if self._caller is not None:
            pause = min(pause, max(0.0, self._caller.expires_at - time.time()))
        rung = asyncio.ensure_future(self._rung.wait())
        try:
            await asyncio.wait(
                (rung, gone, stopped), timeout=pause, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            rung.cancel()

    def _require_admission(self) -> None:
        self._operation.require_enabled()
        if self._caller is not None and self._caller.expires_at <= time.time():
            raise TokenExpiredError

    def _refusal(self, error: ServiceError) -> bytes:
        problem = problem_of(
            error, instance=self._exchange.path, correlation_id=self._exchange.correlation_id
        )
        return b"event: error\ndata: " + _encode(problem) + b"\n\n"


def _start(exchange: Exchange) -> int:
    """Return the version behind which the stream begins: Last-Event-ID, else ``?after=``."""
    text = exchange.header(b"last-event-id") or dict(exchange.query()).get("after", "") or "0"
    if not _version(text):
        raise Invalid(
            "Last-Event-ID is no version that this stream gave",
            errors=(FieldFault("after", "expected a version"),),
        )
    return int(text)


def _is_passing(error: ServiceError) -> bool:
    wire = error.to_wire()
    return wire.retryable and wire.code != "kernel.plugin_disabled"


def _event(data: bytes, change: _Change) -> bytes:
    name = change.name if _name_is_safe(change.name) else "change"
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (change.version, name.encode(), data)
