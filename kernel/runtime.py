"""Runs one plugin's handlers: actor, deadline, transaction, mark and reply around each of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, TypeVar, cast
from uuid import UUID

import structlog

from bus.actor import ANONYMOUS, Actor, parse_actor
from bus.codec import decoder, encode
from bus.envelope import VERSION, Caller, Envelope, Reply
from bus.errors import DeadlineError, InternalError, ServiceError
from bus.message import Command, MessageType, describe
from kernel.context import Context, EffectContext, Reader, Tx
from kernel.database import Database
from kernel.errors import Denied, Unauthenticated
from kernel.ids import derived_uuid, new_uuid7, time_of
from kernel.outbox import Cause
from kernel.plugin import Access, HandlerSpec, Plugin
from kernel.settings import Settings
from kernel.telemetry import Telemetry
from kernel.tokens import TokenVerifier
from kernel.unit_of_work import (
    AlreadyDone,
    Answer,
    Handling,
    InboxMark,
    Mark,
    NoMark,
    Scope,
    TransactionMisuseError,
    UndeclaredMessageError,
    translate_database_error,
)
from kernel.upcasting import NO_UPCASTERS, Upcasters

T = TypeVar("T")
log = structlog.get_logger("kernel.runtime")

GATEWAY: Final = "gateway"
"""The source that the gateway names."""
ASK_TIMEOUT: Final = 5.0
"""Seconds that an ask waits when the handler names no time and its caller has more left."""
OPERATOR: Final = "operator"
"""The source of an operator's own requests. Internal messages answer it as well: the command line
connects under a credential of its own, and what that may publish is the NATS grant's to say."""


class PermissionDeniedError(Denied):
    """The actor lacks the permission that the message needs."""

    code = "kernel.permission_denied"
    title = "You lack the permission for this"


class NotForUsersError(Denied):
    """The message is spoken between plugins only."""

    code = "kernel.internal_message"
    title = "This message is not for users"


class TokenRequiredError(Unauthenticated):
    """The message needs an actor, and the request carried no token."""

    code = "kernel.token_required"
    title = "Log in first"


class PluginRuntime:
    """One plugin, provisioned: its settings, database, resources and ways to others."""

    def __init__(
        self,
        plugin: Plugin,
        *,
        settings: Settings,
        database: Database,
        resources: Mapping[type[Any], Any],
        caller: Caller,
        tokens: TokenVerifier,
        telemetry: Telemetry,
        askers: Mapping[MessageType, frozenset[str]],
        wake: Callable[[], None],
        upcasters: Upcasters = NO_UPCASTERS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.plugin = plugin
        self.upcasters = upcasters
        self.settings = settings
        self.database = database
        self.resources = resources
        self.caller = caller
        self.tokens = tokens
        self.telemetry = telemetry
        self.askers = askers
        self.wake = wake
        self.clock = clock
        self.asks = frozenset(plugin.asks)
        self.scope = Scope(
            plugin=plugin.name,
            emits=frozenset(plugin.emits),
            tells=frozenset(plugin.tells),
            effects=frozenset(
                cast("type[Command[Any]]", spec.message.cls)
                for spec in plugin.of_kind("effect")
                if spec.message is not None
            ),
        )

    async def answer(self, spec: HandlerSpec, payload: bytes, envelope: Envelope) -> Reply:
        """Answer one request. Raises ServiceError and nothing else."""
        with self.telemetry.handling(self.plugin.name, spec, envelope) as outcome:
            try:
                actor = await self._actor_of_request(spec, envelope)
                message = decoder(spec.message.cls)(payload) if spec.message else None
                deadline = None
                if envelope.timeout_ms is not None:
                    deadline = asyncio.get_running_loop().time() + envelope.timeout_ms / 1000
                if spec.kind == "query":
                    return await self._query(spec, message, envelope, actor, deadline)
                return await self._command(spec, message, payload, envelope, actor, deadline)
            except ServiceError as error:
                outcome.fail(error.to_wire().code)
                raise
            except (UndeclaredMessageError, TransactionMisuseError):
                outcome.defect()
                raise InternalError from None
            except Exception as error:
                translated = translate_database_error(error)
                outcome.defect() if translated is None else outcome.fail(translated.code)
                raise translated or InternalError() from error

    async def do(self, spec: HandlerSpec, payload: bytes, envelope: Envelope) -> None:
        """Do a told command. Having done it before is success; what the handler raises is raised."""
        message = decoder(spec.message.cls)(payload) if spec.message else None
        mark = InboxMark(envelope.id, spec.name, payload, keeps_reply=False)
        await self.run(spec, message, envelope, mark, parse_actor(envelope.actor), None)

    async def run(
        self,
        spec: HandlerSpec,
        message: Any,
        envelope: Envelope,
        mark: Mark,
        actor: Actor,
        deadline: float | None,
        token: str = "",
    ) -> Answer | None:
        """Run a writing handler in its one transaction; AlreadyDone gives the stored answer."""
        cause = Cause(
            message_id=envelope.id,
            handler=f"{self.plugin.name}.{spec.name}",
            source=self.plugin.name,
            correlation_id=envelope.correlation_id,
            actor=str(actor),
            traceparent=envelope.traceparent,
        )
        handling = Handling(self.database, self.scope, cause, mark, self.clock(), self.wake)
        context = self._context(spec, envelope, actor, deadline, token, handling)
        try:
            call = spec.function(context) if message is None else spec.function(message, context)
            reply = await within(deadline, spec.timeout, call)
            answer = None
            if spec.kind == "command":
                answer = Answer(encode(reply).decode(), getattr(reply, "version", None))
            await handling.finish(answer)
        except AlreadyDone as done:
            return Answer(done.reply, done.version) if done.reply is not None else None
        finally:
            await handling.abandon()
        return answer

    async def _query(
        self,
        spec: HandlerSpec,
        message: Any,
        envelope: Envelope,
        actor: Actor,
        deadline: float | None,
    ) -> Reply:
        context = self._context(spec, envelope, actor, deadline, envelope.token, None)
        view = await within(deadline, spec.timeout, spec.function(message, context))
        return _reply(encode(view), getattr(view, "version", None))

    async def _command(
        self,
        spec: HandlerSpec,
        message: Any,
        payload: bytes,
        envelope: Envelope,
        actor: Actor,
        deadline: float | None,
    ) -> Reply:
        mark: Mark = NoMark()
        if envelope.is_keyed and not spec.is_confidential:
            mark = InboxMark(envelope.id, spec.name, payload)
            # A repeat by a person is common and answered before anything is asked; one by a plugin
            # is rare, and found when the transaction claims the identity.
            if envelope.source == GATEWAY:
                try:
                    await mark.recall(self.database)
                except AlreadyDone as done:
                    return _reply((done.reply or "{}").encode(), done.version)
        try:
            answer = await self.run(spec, message, envelope, mark, actor, deadline, envelope.token)
        except ServiceError:
            if isinstance(mark, InboxMark):
                # The twin of this request may have succeeded meanwhile, and be the very reason of
                # the refusal; then its reply is the answer to both.
                try:
                    await mark.recall(self.database)
                except AlreadyDone as done:
                    return _reply((done.reply or "{}").encode(), done.version)
            raise
        if answer is None:
            return _reply(b"{}", None)
        return _reply(answer.payload.encode(), answer.version)

    def _context(
        self,
        spec: HandlerSpec,
        envelope: Envelope,
        actor: Actor,
        deadline: float | None,
        token: str,
        handling: Handling | None,
    ) -> Context:
        return Context(
            _Ports(self, handling),
            handler=f"{self.plugin.name}.{spec.name}",
            message_id=envelope.id,
            actor=actor,
            correlation_id=envelope.correlation_id,
            causation_id=envelope.causation_id,
            deadline=deadline,
            token=token,
        )

    def effect_context(self, spec: HandlerSpec, envelope: Envelope) -> EffectContext:
        """Return the surroundings of an effect: it may ask, read and call its provider."""
        return EffectContext(
            _Ports(self, None),
            handler=f"{self.plugin.name}.{spec.name}",
            message_id=envelope.id,
            actor=parse_actor(envelope.actor),
            correlation_id=envelope.correlation_id,
            causation_id=envelope.causation_id,
        )

    def start_context(self) -> Context:
        """Return the surroundings of a start hook: its one transaction commits when its block ends."""
        return Context(
            _StartPorts(self),
            handler=f"{self.plugin.name}.start",
            message_id=new_uuid7(),
            actor=Actor(kind="plugin", id=self.plugin.name),
            correlation_id=f"start-{self.plugin.name}",
        )

    async def _actor_of_request(self, spec: HandlerSpec, envelope: Envelope) -> Actor:
        actor = await self.tokens.verify(envelope.token) if envelope.token else ANONYMOUS
        if spec.allow is Access.PUBLIC:
            return actor
        if spec.allow is Access.INTERNAL:
            askers = self.askers.get(spec.message, frozenset()) if spec.message else frozenset()
            if envelope.source in askers or envelope.source == OPERATOR:
                return actor if envelope.token else parse_actor(envelope.actor)
            raise NotForUsersError
        if actor.kind == "anonymous":
            raise TokenRequiredError
        if isinstance(spec.allow, str) and not actor.may(spec.allow):
            raise PermissionDeniedError(f"This needs the permission {spec.allow}")
        return actor


class _Ports:
    """The ``Runtime`` of one handling."""

    __slots__ = ("_handling", "_runtime")

    def __init__(self, runtime: PluginRuntime, handling: Handling | None) -> None:
        self._runtime = runtime
        self._handling = handling

    def settings(self) -> Settings:
        return self._runtime.settings

    def resource(self, kind: type[T]) -> T:
        found: T = self._runtime.resources[kind]
        return found

    @property
    def reader(self) -> Reader:
        return self._runtime.database

    def now(self) -> datetime:
        return self._runtime.clock()

    def transaction(self, ctx: Context) -> AbstractAsyncContextManager[Tx]:
        if self._handling is None:
            raise TransactionMisuseError("a query opens no transaction")
        return self._handling.transaction()

    async def ask(self, ctx: Context, message: Any, ordinal: int, timeout: float | None) -> Any:
        kind = type(message)
        runtime = self._runtime
        if kind not in runtime.asks:
            raise UndeclaredMessageError(f"{runtime.plugin.name} does not ask {kind.__name__}")
        if self._handling is not None and self._handling.is_open:
            raise TransactionMisuseError(f"{ctx.handler} asks while its transaction is open")
        described = describe(kind)
        left = timeout or ASK_TIMEOUT
        if ctx.deadline is not None:
            left = min(left, ctx.deadline - asyncio.get_running_loop().time())
        if left <= 0:
            raise DeadlineError
        is_command = issubclass(kind, Command)
        payload = encode(message)
        envelope = Envelope(
            id=ask_identity(ctx, ordinal, payload) if is_command else ctx.message_id,
            type=described.full_name,
            source=runtime.plugin.name,
            time=runtime.clock(),
            correlation_id=ctx.correlation_id,
            causation_id=str(ctx.message_id),
            traceparent=runtime.telemetry.traceparent(),
            actor=str(ctx.actor),
            token=ctx.token,
            timeout_ms=int(left * 1000),
            is_keyed=is_command,
        )
        reply = await runtime.caller.call(described, payload, envelope, left)
        return decoder(described.reply)(reply.payload)


class _StartPorts(_Ports):
    """The ``Runtime`` of a start hook, which no message caused and which commits by itself."""

    def __init__(self, runtime: PluginRuntime) -> None:
        super().__init__(runtime, None)

    @asynccontextmanager
    async def transaction(self, ctx: Context) -> AsyncIterator[Tx]:
        runtime = self._runtime
        cause = Cause(
            message_id=ctx.message_id,
            handler=ctx.handler,
            source=runtime.plugin.name,
            correlation_id=ctx.correlation_id,
            actor=str(ctx.actor),
            traceparent="",
        )
        handling = Handling(
            runtime.database, runtime.scope, cause, NoMark(), runtime.clock(), runtime.wake
        )
        try:
            async with handling.transaction() as work:
                yield work
            await handling.finish(None)
        finally:
            await handling.abandon()


def ask_identity(ctx: Context, ordinal: int, payload: bytes) -> UUID:
    """Return the identity of the n-th ask of a handling: the same on every run that asks the same.

    A second run may see another world and ask for something else; that is another request.
    """
    digest = blake2b(payload, digest_size=16).hexdigest()
    return derived_uuid(
        time_of(ctx.message_id), str(ctx.message_id), ctx.handler, "ask", str(ordinal), digest
    )


async def within(deadline: float | None, limit: float, call: Awaitable[T]) -> T:
    """Wait until the deadline, or at most ``limit`` seconds when there is none; DeadlineError."""
    if deadline is None:
        deadline = asyncio.get_running_loop().time() + limit
    try:
        async with asyncio.timeout_at(deadline):
            return await call
    except TimeoutError as error:
        raise DeadlineError from error


def _reply(payload: bytes, version: int | None) -> Reply:
    return Reply(payload, {} if version is None else {VERSION: str(version)})
