"""Children that are started again when they end unasked: with growing pauses, and not for ever."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from kernel.embedded.errors import (
    ChildExitedError,
    ChildNotReadyError,
    EmbeddedError,
    TooManyRestartsError,
)
from kernel.embedded.process import ChildCommand, ChildProcess, Probe

OnFailure = Callable[[EmbeddedError], None]
"""Told of each unasked end and of each start that did not succeed."""


class Restartable(Protocol):
    """A child that can be started and stopped again and again. ``stop`` copes with a half-done start."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def process(self) -> ChildProcess | None:
        """The running child; None before the first start."""

    async def start(self) -> None:
        """Start, and return when it is ready."""

    async def stop(self) -> None:
        """Stop and wait for the end."""


class ProbedChild:
    """A child that is ready when its probe says so: one host of ``realserv up``, for instance."""

    def __init__(
        self, command: ChildCommand, *, probe: Probe, within: float, stop_limit: float = 30.0
    ) -> None:
        self.name = command.name
        self.process: ChildProcess | None = None
        self._command = command
        self._probe = probe
        self._within = within
        self._stop_limit = stop_limit

    async def start(self) -> None:
        """Start, and return when the probe says yes."""
        self.process = await ChildProcess.start(self._command)
        await self.process.wait_ready(self._probe, within=self._within)

    async def stop(self) -> None:
        """Ask it to stop and wait; it is killed after the limit."""
        if self.process is not None:
            await self.process.stop(limit=self._stop_limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How soon and how often: at most ``restarts`` within ``seconds``, pauses doubling in between."""

    restarts: int = 5
    seconds: float = 60.0
    first_pause: float = 0.1
    longest_pause: float = 5.0


USUAL_POLICY: Final = RestartPolicy()


@dataclass(slots=True)
class RestartHistory:
    """The restarts of one child that still count."""

    policy: RestartPolicy
    _moments: deque[float] = field(default_factory=deque)

    def next_pause(self, now: float) -> float | None:
        """Note one more restart and return the seconds to wait before it; None when it is one too many."""
        while self._moments and now - self._moments[0] > self.policy.seconds:
            self._moments.popleft()
        if len(self._moments) >= self.policy.restarts:
            return None
        pause = self.policy.first_pause * 2.0 ** len(self._moments)
        self._moments.append(now)
        return min(pause, self.policy.longest_pause)


async def keep_running(
    child: Restartable,
    *,
    policy: RestartPolicy,
    on_failure: OnFailure,
    on_restart: Callable[[], None] = lambda: None,
) -> None:
    """Start the child again whenever it ends unasked; returns when it was stopped on request.

    Raises TooManyRestartsError when the policy is used up. Cancel this before stopping the child, or
    it may come back.
    """
    history = RestartHistory(policy)
    clock = asyncio.get_running_loop().time
    assert child.process is not None, "the child must have been started"
    failure: EmbeddedError | None = await child.process.wait_for_failure()
    while failure is not None:
        on_failure(failure)
        pause = history.next_pause(clock())
        if pause is None:
            raise TooManyRestartsError(
                child.name, restarts=policy.restarts, seconds=policy.seconds
            ) from failure
        await asyncio.sleep(pause)
        failure = await _run_once(child, on_restart)


async def _run_once(child: Restartable, on_restart: Callable[[], None]) -> EmbeddedError | None:
    """Start the child and wait until it ends; returns why it must be started again."""
    try:
        await child.start()
    except (ChildExitedError, ChildNotReadyError) as failure:
        await child.stop()
        return failure
    on_restart()
    assert child.process is not None
    return await child.process.wait_for_failure()
