"""What the gateway needs of the kernel's host: small Protocols, so that it runs and is tested without it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

import msgspec

from bus.actor import Actor
from kernel.plugin import Plugin

PluginState = Literal["enabled", "disabled"]


class Surface(Protocol):
    """All plugins that are configured anywhere, and whether each is on."""

    def plugins(self) -> Sequence[Plugin]:
        """Return the declarations of all that is configured; the routes are built from them once."""

    def state_of(self, plugin_name: str) -> PluginState:
        """Tell whether a plugin is on. Called for every request, so it must be a look-up."""


class Bell(Protocol):
    """Tells that something happened to an aggregate; what happened is asked for."""

    def listen(self, subject: str, ring: Callable[[], None]) -> AbstractAsyncContextManager[object]:
        """Call ``ring`` for every message on a subject, from entering until leaving the context."""


class PartHealth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One dependency: whether it answers, how fast, and why not."""

    name: str
    status: Literal["up", "degraded", "down"]
    latency_ms: float | None = None
    reason: str = ""


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the process may be given work; ``degraded`` may, with something optional away."""

    status: Literal["ready", "degraded", "not_ready"]
    parts: tuple[PartHealth, ...] = ()


class Health(Protocol):
    """The state of this process and of what it depends on."""

    async def health(self) -> bool:
        """Tell whether the process works at all."""

    async def ready(self, *, is_detailed: bool) -> Readiness:
        """Tell whether every hard dependency answers; the parts only when detailed."""


class TokenMint(Protocol):
    """Signs the short token with which the gateway speaks on the bus as a caller it has verified."""

    def mint(self, actor: Actor) -> str:
        """Return a token that lives longer than ``bus_token_reuse`` plus the longest request."""


class Metrics(Protocol):
    """The counters of this process, or of all."""

    async def exposition(self) -> bytes:
        """Return them in Prometheus' text format."""


class Limits(Protocol):
    """Rate limits. Both raise RateLimited with ``retry_after``."""

    async def by_address(self, address: str) -> None:
        """Count a request whose token is not known to be valid yet."""

    async def by_actor(self, actor: Actor, operation: str) -> None:
        """Count a request of a verified caller, or of nobody, for an operation."""


class Observation(Protocol):
    """One request being watched."""

    traceparent: str
    """The trace that the message on the bus continues, or an empty text."""

    def end(self, status: int) -> None:
        """Note with which status the request was answered."""


class Observer(Protocol):
    """Counts, times and traces requests."""

    def begin(self, operation: str, traceparent: str) -> Observation:
        """Start to watch a request for an operation, continuing the caller's trace if it has one."""


class Unobserved:
    """An Observation and Observer that hands the caller's trace on and counts nothing."""

    __slots__ = ("traceparent",)

    def __init__(self, traceparent: str = "") -> None:
        self.traceparent = traceparent

    def begin(self, operation: str, traceparent: str) -> "Unobserved":
        """Hand the trace on."""
        return Unobserved(traceparent) if traceparent else self

    def end(self, status: int) -> None:
        """Note nothing."""
