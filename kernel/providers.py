"""Calls to the outside world: each provider has a guard that keeps its trouble from becoming ours.

A guard gives every call a time-out, a bounded number of calls at once, a circuit breaker, and, for
calls that are declared repeatable, retries with full jitter. An adapter owns one guard per provider::

    guard = ProviderGuard("razorpay", timeout=8.0, concurrency=16, retries=2)
    order = await guard.call(self._fetch_order, order_id, is_repeatable=True)
"""

import asyncio
import random
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ClassVar, Final, Literal, TypeVar, TypeVarTuple
from weakref import WeakSet

import httpx
import msgspec
import stamina
from purgatory.domain.model import CLOSED, HALF_OPENED, OPENED, OpenedState
from purgatory.domain.model import Context as Circuit

from kernel.errors import NothingHappened, ServiceError, Unavailable

T = TypeVar("T")
Args = TypeVarTuple("Args")
BreakerState = Literal["closed", "open", "half_open"]

_STATES: Final[dict[str, BreakerState]] = {
    CLOSED: "closed",
    OPENED: "open",
    HALF_OPENED: "half_open",
}


class ProviderUnavailable(Unavailable):
    """An outside provider does not answer, answers too late or with an error of its own."""

    code: ClassVar[str] = "kernel.provider_unavailable"
    title: ClassVar[str] = "An outside provider is not available now"


class ProviderNotReachedError(ProviderUnavailable, NothingHappened):
    """No connection to an outside provider could be made, so the call has not arrived there."""

    code: ClassVar[str] = "kernel.provider_not_reached"
    title: ClassVar[str] = "An outside provider cannot be reached"


class ProviderRestingError(ProviderUnavailable, NothingHappened):
    """An outside provider failed too often and is left alone until ``retry_after``. Nothing was sent."""

    code: ClassVar[str] = "kernel.provider_resting"
    title: ClassVar[str] = "An outside provider is left alone for a while"


class ProviderBusyError(NothingHappened):
    """As many calls to a provider are under way and waiting as are allowed. Nothing was sent."""

    code: ClassVar[str] = "kernel.provider_busy"
    title: ClassVar[str] = "Too many calls to an outside provider are under way"


class ProviderSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls to one provider have come to in this process since it started."""

    provider: str
    breaker: BreakerState
    calls: int
    """Calls that were sent, each retry counted."""
    failures: int
    """Calls that failed by the provider's fault: time-outs, lost connections, 5xx."""
    retries: int
    refusals: int
    """Calls that were not sent, because the circuit was open or too many were under way."""
    in_flight: int


def is_fault(error: Exception) -> bool:
    """Tell whether an error says that the provider is in trouble, rather than being its answer.

    Lost connections, time-outs, HTTP 429 and 5xx, and our own retryable errors are faults.
    """
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return status >= 500 or status == 429
    if isinstance(error, ServiceError):
        return error.retryable
    return isinstance(error, OSError | TimeoutError | httpx.TransportError)


def is_unreached(error: Exception) -> bool:
    """Tell whether a fault says that there was not even a connection."""
    return isinstance(
        error,
        ConnectionRefusedError
        | socket.gaierror
        | httpx.ConnectError
        | httpx.ConnectTimeout
        | httpx.PoolTimeout,
    )


class Breaker:
    """A circuit breaker: opens after so many faults in a rolling window, then rests, then tries one call.

    purgatory moves the circuit between closed, open and half-open. It counts consecutive faults
    only and lets every caller through once half-open, so the window and the single trial are ours.
    """

    def __init__(
        self,
        name: str,
        *,
        faults: int,
        window: float,
        rest: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._circuit = Circuit(name, threshold=1, ttl=rest)
        self._faults = faults
        self._window = window
        self._rest = rest
        self._clock = clock
        self._faulted_at: deque[float] = deque(maxlen=faults)
        self._is_on_trial = False

    @property
    def state(self) -> BreakerState:
        """Closed lets all calls through, open none, half-open one at a time."""
        return _STATES[self._circuit.state]

    def admit(self) -> bool:
        """Let a call through and tell whether it is the trial; raises ProviderRestingError."""
        try:
            self._circuit.handle_new_request()
        except OpenedState as opened:
            left = opened.opened_at + self._rest - time.time()
            raise self._refusal(max(left, 0.0)) from None
        finally:
            self._circuit.messages.clear()
        if self.state == "closed":
            return False
        if self._is_on_trial:
            raise self._refusal(1.0)
        self._is_on_trial = True
        return True

    def succeeded(self, *, is_trial: bool) -> None:
        """Take note of an answer; the trial's closes the circuit."""
        if is_trial:
            self._is_on_trial = False
            self._circuit.handle_end_request()
            self._circuit.messages.clear()

    def failed(self, error: Exception, *, is_trial: bool) -> None:
        """Take note of a fault; the trial's opens the circuit again, as does the last one allowed."""
        if is_trial:
            self._is_on_trial = False
            self._open(error)
        elif self.state == "closed":
            now = self._clock()
            self._faulted_at.append(now)
            is_full = len(self._faulted_at) == self._faults
            if is_full and now - self._faulted_at[0] <= self._window:
                self._open(error)

    def abandoned(self, *, is_trial: bool) -> None:
        """Take note that the caller went away, which says nothing of the provider."""
        if is_trial:
            self._is_on_trial = False

    def _open(self, error: Exception) -> None:
        self._circuit.handle_exception(error)
        self._circuit.messages.clear()
        self._faulted_at.clear()

    def _refusal(self, retry_after: float) -> ProviderRestingError:
        return ProviderRestingError(
            f"{self._circuit.name} failed too often and is left alone for a while",
            retry_after=round(retry_after, 1),
        )


class ProviderGuard:
    """Everything between an adapter and its provider. One per provider and process."""

    def __init__(
        self,
        name: str,
        *,
        timeout: float = 10.0,
        concurrency: int = 8,
        waiting: int = 32,
        retries: int = 0,
        backoff: float = 0.1,
        backoff_limit: float = 5.0,
        breaker_faults: int = 5,
        breaker_window: float = 60.0,
        breaker_rest: float = 60.0,
        is_fault: Callable[[Exception], bool] = is_fault,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.timeout = timeout
        """Seconds for one try, and as many again to wait for a place among the calls under way."""
        self.breaker = Breaker(
            name, faults=breaker_faults, window=breaker_window, rest=breaker_rest, clock=clock
        )
        self._places = asyncio.Semaphore(concurrency)
        self._most = concurrency + waiting
        self._present = 0
        self._retries = retries
        self._backoff = backoff
        self._backoff_limit = backoff_limit
        self._is_fault = is_fault
        self._calls = self._failures = self._retried = self._refusals = self._in_flight = 0
        _guards.add(self)

    async def call(
        self,
        function: Callable[[*Args], Awaitable[T]],
        *args: *Args,
        is_repeatable: bool = False,
        timeout: float | None = None,
    ) -> T:
        """Call the provider. Faults are raised as ProviderUnavailable, the provider's answers as they are.

        Only a call that may arrive twice without harm is repeatable. Whether a call that failed has
        arrived is unknown, unless the error is a ``NothingHappened`` too.
        """
        limit = self.timeout if timeout is None else timeout
        if not is_repeatable or self._retries == 0:
            return await self._try(function, args, limit)
        waits = Backoff(self._backoff, self._backoff_limit)
        async for attempt in stamina.retry_context(
            on=waits.after, attempts=self._retries + 1, timeout=None
        ):
            with attempt:
                self._retried += attempt.num > 1
                return await self._try(function, args, limit)
        raise AssertionError("stamina ends by an answer or an error")

    def snapshot(self) -> ProviderSnapshot:
        """Return the counters, for metrics and health."""
        return ProviderSnapshot(
            provider=self.name,
            breaker=self.breaker.state,
            calls=self._calls,
            failures=self._failures,
            retries=self._retried,
            refusals=self._refusals,
            in_flight=self._in_flight,
        )

    async def _try(
        self, function: Callable[[*Args], Awaitable[T]], args: tuple[*Args], limit: float
    ) -> T:
        async with self._place(limit):
            is_trial = self._admit()
            self._calls += 1
            try:
                async with asyncio.timeout(limit):
                    answer = await function(*args)
            except Exception as error:
                if not self._is_fault(error):
                    self.breaker.succeeded(is_trial=is_trial)
                    raise
                self._failures += 1
                self.breaker.failed(error, is_trial=is_trial)
                raise self._translate(error) from error
            except BaseException:
                self.breaker.abandoned(is_trial=is_trial)
                raise
            self.breaker.succeeded(is_trial=is_trial)
            return answer

    def _admit(self) -> bool:
        try:
            return self.breaker.admit()
        except ProviderRestingError:
            self._refusals += 1
            raise

    @asynccontextmanager
    async def _place(self, limit: float) -> AsyncIterator[None]:
        """Take one of the places; refuse at once when even the queue for them is full."""
        if self._present >= self._most:
            self._refusals += 1
            raise ProviderBusyError(f"{self.name} is busy", retry_after=1.0)
        self._present += 1
        try:
            try:
                async with asyncio.timeout(limit):
                    await self._places.acquire()
            except TimeoutError:
                self._refusals += 1
                raise ProviderBusyError(f"{self.name} is busy", retry_after=1.0) from None
            self._in_flight += 1
            try:
                yield
            finally:
                self._in_flight -= 1
                self._places.release()
        finally:
            self._present -= 1

    def _translate(self, error: Exception) -> ServiceError:
        if isinstance(error, ServiceError):
            return error
        # Only the kind of error is told: a provider's text may hold an address or a key.
        text = f"{self.name} failed: {type(error).__name__}"
        if is_unreached(error):
            return ProviderNotReachedError(text, retry_after=5.0)
        return ProviderUnavailable(text, retry_after=5.0)

    def __repr__(self) -> str:
        return f"ProviderGuard({self.name!r}, {self.breaker.state})"


class Backoff:
    """The pauses between the tries of one call: doubling, with full jitter, never less than the provider asks."""

    def __init__(
        self,
        first: float,
        limit: float,
        random_between: Callable[[float, float], float] | None = None,
    ) -> None:
        self._next = first
        self._limit = limit
        self._random_between = random_between or random.uniform

    def after(self, error: Exception) -> bool | float:
        """Return the seconds to wait after this error, or False when another try is useless."""
        if not isinstance(error, ServiceError) or not error.retryable:
            return False
        if isinstance(error, ProviderRestingError):
            return False
        asked = 0.0 if isinstance(error, ProviderUnavailable) else error.retry_after or 0.0
        if asked > self._limit:
            return False
        ceiling = min(self._next, self._limit)
        self._next = ceiling * 2
        return max(asked, self._random_between(0.0, ceiling))


_guards: Final[WeakSet[ProviderGuard]] = WeakSet()


def provider_snapshots() -> tuple[ProviderSnapshot, ...]:
    """Return the counters of every guard that lives in this process, by name."""
    return tuple(sorted((guard.snapshot() for guard in _guards), key=lambda found: found.provider))
