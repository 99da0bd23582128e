"""The declaration of a plugin: one page that says all there is, and from which the rest is derived."""

import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from enum import Enum
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec

from bus.message import Command, Event, Message, MessageType, Query, describe
from kernel.context import Context, EffectContext, Projected
from kernel.http import Route
from kernel.settings import NoSettings, Settings
from kernel.upcasting import Upcast, Upcaster

C = TypeVar("C", bound=Command[Any])
Q = TypeVar("Q", bound=Query[Any])
E = TypeVar("E", bound=Event)
R = TypeVar("R")


class Access(Enum):
    """Who may send a message when it is no single permission."""

    PUBLIC = "public"
    """Anybody, logged in or not."""
    LOGGED_IN = "logged_in"
    """Every user who is logged in."""
    INTERNAL = "internal"
    """Plugins that declare it in ``asks`` or ``tells``; never over HTTP."""


PUBLIC: Final = Access.PUBLIC
LOGGED_IN: Final = Access.LOGGED_IN
INTERNAL: Final = Access.INTERNAL


class Permission(msgspec.Struct, frozen=True):
    """A permission, ``orders:create``, what it allows, and the roles that have it from the start."""

    name: str
    summary: str
    roles: tuple[str, ...] = ()


class OnRepeat(Enum):
    """What an effect does when it was started before and left no outcome."""

    SAME_KEY = "same_key"
    """Call again: the provider drops a repeat by the idempotency key, which is the intent's id."""
    ONCE_MORE = "once_more"
    """Call once more with the same message id and count a possible duplicate."""


class HandlerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One declared handler."""

    kind: Literal["command", "query", "react", "project", "effect", "job"]
    name: str
    function: Any
    message: MessageType | None = None
    http: Route | None = None
    allow: str | Access = Access.INTERNAL
    model: str = ""
    on_repeat: OnRepeat | Any = None
    schedule: str = ""
    timezone: str = "Asia/Kolkata"
    timeout: float = 10.0
    is_confidential: bool = False

    @property
    def summary(self) -> str:
        """The first sentence of the message's docstring, for reference pages."""
        text = inspect.getdoc(self.message.cls if self.message else self.function) or ""
        return text.partition("\n")[0]


class Resource(NamedTuple):
    """Something a plugin opens at start and closes at stop: an adapter, a pool of threads."""

    kind: type[Any]
    factory: Callable[[Any], AbstractAsyncContextManager[Any]]


class PermissionCatalogue:
    """All permissions that all plugins declare; a resource of every plugin."""

    def __init__(self, permissions: Iterable[Permission]) -> None:
        self._permissions = tuple(sorted(permissions, key=lambda permission: permission.name))

    def of_roles(self, roles: Iterable[str]) -> tuple[str, ...]:
        """Return the permissions that these roles have from the start, sorted."""
        held = set(roles)
        return tuple(p.name for p in self._permissions if held.intersection(p.roles))

    def names(self) -> tuple[str, ...]:
        """Return the names of all permissions, sorted."""
        return tuple(p.name for p in self._permissions)

    def all(self) -> tuple[Permission, ...]:
        """Return all permissions, sorted by name."""
        return self._permissions


class DeclarationError(TypeError):
    """A plugin's declaration contradicts itself."""


class Plugin:
    """A plugin's declaration. Handlers are added by the methods named after their kinds."""

    def __init__(
        self,
        name: str,
        version: str,
        *,
        summary: str,
        package: str,
        settings: type[Settings] = NoSettings,
        needs: Sequence[str] = (),
        wants: Sequence[str] = (),
        asks: Sequence[type[Message]] = (),
        tells: Sequence[type[Command[Any]]] = (),
        emits: Sequence[type[Event]] = (),
        permissions: Sequence[Permission] = (),
    ) -> None:
        self.name = name
        self.version = version
        self.summary = summary
        self.package = package
        self.settings = settings
        self.needs = tuple(needs)
        self.wants = tuple(wants)
        self.asks = tuple(asks)
        self.tells = tuple(tells)
        self.emits = tuple(emits)
        self.permissions = tuple(permissions)
        self.handlers: list[HandlerSpec] = []
        self.resources: list[Resource] = []
        self.start_hooks: list[Callable[[Context], Awaitable[None]]] = []
        self.upcasters: list[Upcaster] = []
        self.model_tables: dict[str, tuple[str, ...]] = {}

    def command(
        self,
        message: type[Command[R]],
        handler: Callable[[Any, Context], Awaitable[R]],
        *,
        allow: str | Access,
        http: Route | None = None,
        timeout: float = 10.0,
        is_confidential: bool = False,
    ) -> None:
        """Handle a command: one transaction on own data, applied once per message identity.

        Of a confidential command, whose body or reply holds a credential, nothing is kept: it takes
        no notice of an Idempotency-Key and a repeat is decided anew.
        """
        self._own(message, handler)
        self._add(
            "command",
            message,
            handler,
            allow=allow,
            http=http,
            timeout=timeout,
            is_confidential=is_confidential,
        )

    def query(
        self,
        message: type[Query[R]],
        handler: Callable[[Any, Context], Awaitable[R]],
        *,
        allow: str | Access,
        http: Route | None = None,
        timeout: float = 10.0,
    ) -> None:
        """Answer a query: reads only."""
        self._own(message, handler)
        self._add("query", message, handler, allow=allow, http=http, timeout=timeout)

    def react(self, event: type[E], handler: Callable[[E, Context], Awaitable[None]]) -> None:
        """Act on an event, own or another plugin's: once per event, in order per key."""
        self._add("react", event, handler)

    def project(self, event: type[E], projection: Callable[[E], Projected], *, model: str) -> None:
        """Fold an event into the read model ``model``: a pure function from event to writes."""
        self._add("project", event, projection, model=model)

    def model(self, name: str, *, tables: Sequence[str]) -> None:
        """Name the tables of a read model: its projections write these and nothing else.

        A replay makes them anew beside the live ones, so nothing may refer to them.
        """
        self.model_tables[name] = tuple(tables)

    def upcast(self, event: type[Event], function: Upcast, *, version: int) -> None:
        """Read facts of an older version: ``function`` makes a body of ``version`` one of the next."""
        self._own(event, function)
        self.upcasters.append(Upcaster(describe(event), version, function))

    def effect(
        self,
        intent: type[Command[Any]],
        handler: Callable[[Any, EffectContext], Awaitable[Command[Any] | None]],
        *,
        on_repeat: OnRepeat | Callable[[Any, EffectContext], Awaitable[Command[Any] | None]],
        timeout: float = 30.0,
    ) -> None:
        """Call one outside provider for an intent that this plugin tells itself.

        The returned command is told to this plugin as the outcome. ``on_repeat`` may be a look-up:
        it returns the outcome found at the provider, or None when the call never arrived there.
        """
        self._own(intent, handler)
        self._add("effect", intent, handler, on_repeat=on_repeat, timeout=timeout)

    def job(
        self,
        schedule: str,
        handler: Callable[[Context], Awaitable[None]],
        *,
        timezone: str = "Asia/Kolkata",
        timeout: float = 300.0,
    ) -> None:
        """Run by a cron schedule of 5 fields. Firings coalesce: one waiting at the most."""
        name = handler.__name__
        self.handlers.append(
            HandlerSpec(
                kind="job",
                name=name,
                function=handler,
                schedule=schedule,
                timezone=timezone,
                timeout=timeout,
            )
        )

    def provides(
        self, kind: type[R], factory: Callable[[Any], AbstractAsyncContextManager[R]]
    ) -> None:
        """Open ``factory(settings)`` at start, close it at stop; handlers get it by ``ctx.use(kind)``."""
        self.resources.append(Resource(kind, factory))

    def on_start(self, hook: Callable[[Context], Awaitable[None]]) -> None:
        """Run before the plugin is ready, on every host: idempotent work such as a first admin."""
        self.start_hooks.append(hook)

    def of_kind(self, *kinds: str) -> list[HandlerSpec]:
        """Return the handlers of these kinds, in the order of declaration."""
        return [spec for spec in self.handlers if spec.kind in kinds]

    def _own(self, message: type[Message], handler: Any) -> None:
        owner = describe(message).owner
        if owner != self.name:
            raise DeclarationError(
                f"{self.name} handles {message.__name__}, which belongs to {owner}"
            )

    def _add(self, kind: Any, message: type[Message], function: Any, **options: Any) -> None:
        described = describe(message)
        name = described.name
        if kind == "project":
            name = f"{options['model']}.{name}"
        if any(s.kind == kind and s.name == name and s.message is described for s in self.handlers):
            raise DeclarationError(f"{self.name} declares {kind} {message.__name__} twice")
        self.handlers.append(
            HandlerSpec(kind=kind, name=name, function=function, message=described, **options)
        )


def minutes(number: float) -> timedelta:
    """A duration in minutes."""
    return timedelta(minutes=number)
