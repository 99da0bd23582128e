"""Whether this process works and may be given work: database and bus are needed, the rest degrades."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import msgspec
import structlog

log = structlog.get_logger("kernel.health")

CHECK_SECONDS: Final = 2.0
Check = Callable[[], Awaitable[str]]
"""Returns why the dependency does not answer, or an empty text when it does."""


class DependencyHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One dependency as it was found."""

    name: str
    status: Literal["up", "degraded", "down"]
    is_hard: bool
    latency_ms: float
    reason: str = ""


class HostHealth:
    """The checks of one process."""

    def __init__(self) -> None:
        self._checks: dict[str, tuple[Check, bool]] = {}
        self.is_draining = False

    def add(self, name: str, check: Check, *, is_hard: bool) -> None:
        """Watch a dependency; only a hard one makes the process unready."""
        self._checks[name] = (check, is_hard)

    def remove(self, name: str) -> None:
        """Watch it no more."""
        self._checks.pop(name, None)

    async def dependencies(self) -> list[DependencyHealth]:
        """Check all dependencies at the same time."""
        checks = list(self._checks.items())
        return list(await asyncio.gather(*(_look(name, *check) for name, check in checks)))

    async def is_ready(self) -> bool:
        """Tell whether work may be given to this process."""
        if self.is_draining:
            return False
        return all(d.status != "down" for d in await self.dependencies() if d.is_hard)


async def _look(name: str, check: Check, is_hard: bool) -> DependencyHealth:
    started = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            reason = await check()
    except TimeoutError:
        reason = f"no answer within {CHECK_SECONDS:.0f} s"
    except Exception as error:  # noqa: BLE001  whatever a check raises is the answer
        reason = f"{type(error).__name__}: {error}"
    return DependencyHealth(
        name=name,
        status="up" if not reason else ("down" if is_hard else "degraded"),
        is_hard=is_hard,
        latency_ms=round((time.perf_counter() - started) * 1000, 2),
        reason=reason,
    )
