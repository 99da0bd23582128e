"""All embedded servers of one data folder: started together, kept running, stopped together."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self

import msgspec

from kernel.embedded.errors import ChildExitedError
from kernel.embedded.nats import NatsPermissions, NatsServer
from kernel.embedded.ports import LOOPBACK, free_port, is_free, require_free
from kernel.embedded.postgres import SUPERUSER, Postgres
from kernel.embedded.private_files import private_folder, write_private
from kernel.embedded.redis import Redis
from kernel.embedded.stack_folder import INFO_FILE, StackInfo, as_text, taken_lock
from kernel.embedded.supervision import (
    USUAL_POLICY,
    OnFailure,
    Restartable,
    RestartPolicy,
    keep_running,
)

PORTS_FILE: Final = "ports.json"
PURPOSES: Final = {
    "postgres": "PostgreSQL",
    "nats": "NATS",
    "nats_monitor": "NATS monitoring",
    "redis": "Redis",
}


class EmbeddedServer(Restartable, Protocol):
    """What the stack asks of each server."""

    async def end_leftover(self) -> None:
        """End the server that a killed parent may have left on this data."""


class EmbeddedStack:
    """PostgreSQL, NATS and Redis of one folder, as an async context manager.

    A port of 0 means: the one used last time when it is still free, else any free one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nats_users: Sequence[str],
        nats_permissions: Mapping[str, NatsPermissions] | None = None,
        postgres_port: int = 0,
        nats_port: int = 0,
        redis_port: int = 0,
        durable: bool = True,
        redis: bool = True,
    ) -> None:
        self.folder = private_folder(folder)
        self._configured = {"postgres": postgres_port, "nats": nats_port, "nats_monitor": 0}
        if redis:
            self._configured["redis"] = redis_port
        self._lock: BinaryIO | None = None
        self.nats = NatsServer(
            self.folder / "nats",
            port=nats_port,
            monitor_port=0,
            users=nats_users,
            permissions=nats_permissions,
            durable=durable,
        )
        self.postgres = Postgres(self.folder / "postgres", port=postgres_port, durable=durable)
        self.redis = (
            Redis(self.folder / "redis", port=redis_port, durable=durable) if redis else None
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def nats_url(self) -> str:
        """The address of NATS; clients also need a seed of ``nats_keys_dir``."""
        return self.nats.url

    @property
    def nats_keys_dir(self) -> Path:
        """The folder of the users' seeds, ``<user>.nk`` each."""
        return self.nats.keys.folder

    @property
    def redis_url(self) -> str:
        """The address of Redis, with the credential in it."""
        assert self.redis is not None, "this stack was asked for without Redis"
        return self.redis.url

    def postgres_url(self, database: str) -> str:
        """Return the address of one database, with the credential in it."""
        return self.postgres.url(database)

    async def create_database(self, name: str) -> None:
        """Make an empty database unless there is one of this name."""
        await self.postgres.create_database(name)

    async def drop_database(self, name: str) -> None:
        """Drop a database with all that it holds; sessions on it are ended."""
        await self.postgres.drop_database(name)

    async def start(self) -> None:
        """Start all servers at once; when one fails, those that run are stopped and its error is raised."""
        self._lock = await taken_lock(self.folder)
        try:
            await asyncio.gather(*(server.end_leftover() for server in self._servers()))
            self._choose_ports()
            await self._start_servers()
        except BaseException:
            await self.stop()
            raise
        self._publish_info()

    async def stop(self) -> None:
        """Stop what runs, in reverse order, and give the folder back."""
        if self._lock is None:
            return
        async with AsyncExitStack() as last_things:
            last_things.callback(self._give_back)
            for server in self._servers():
                last_things.push_async_callback(server.stop)

    async def keep_running(
        self,
        *,
        policy: RestartPolicy = USUAL_POLICY,
        on_failure: OnFailure,
    ) -> None:
        """Start servers again that end unasked, until cancelled; raises TooManyRestartsError.

        Clients see a lost connection and come back to the same address. Cancel this before ``stop``.
        """
        async with _together() as group:
            for server in self._servers():
                group.create_task(
                    keep_running(
                        server, policy=policy, on_failure=on_failure, on_restart=self._publish_info
                    )
                )

    def info(self) -> StackInfo:
        """Return where everything is; ``children`` are those that are ready now."""
        return StackInfo(
            pid=os.getpid(),
            started_at=datetime.now(UTC),
            folder=str(self.folder),
            nats_url=self.nats.url,
            nats_monitor_url=self.nats.monitor_url,
            nats_keys_dir=str(self.nats_keys_dir),
            postgres_host=LOOPBACK,
            postgres_port=self.postgres.port,
            postgres_user=SUPERUSER,
            postgres_password=self.postgres.password,
            redis_url=None if self.redis is None else self.redis.url,
            children={
                server.name: server.process.pid
                for server in self._servers()
                if server.process is not None and server.process.is_ready
            },
        )

    def _publish_info(self) -> None:
        write_private(self.folder / INFO_FILE, as_text(self.info()))

    def _give_back(self) -> None:
        (self.folder / INFO_FILE).unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
        self._lock = None

    def _servers(self) -> tuple[EmbeddedServer, ...]:
        always = (self.nats, self.postgres)
        return always if self.redis is None else (*always, self.redis)

    async def _start_servers(self) -> None:
        async with _together() as group:
            for server in self._servers():
                group.create_task(self._start_server(server))

    async def _start_server(self, server: EmbeddedServer) -> None:
        """Start one server; a free port that was snatched away meanwhile is replaced by another."""
        for _ in range(2):
            try:
                return await server.start()
            except ChildExitedError:
                if not self._move_from_taken_ports(server):
                    raise
        return await server.start()

    def _choose_ports(self) -> None:
        remembered = _read_ports(self.folder / PORTS_FILE)
        chosen: dict[str, int] = {}
        for name, configured in self._configured.items():
            chosen[name] = _choose_port(
                name, configured=configured, remembered=remembered.get(name), taken=chosen.values()
            )
        self._use_ports(chosen)

    def _move_from_taken_ports(self, server: EmbeddedServer) -> bool:
        """Take other ports for those of this server that are taken; False when there are none to replace."""
        ports = self._ports()
        lost = [
            name
            for name in ports
            if name.partition("_")[0] == server.name
            and not self._configured[name]
            and not is_free(ports[name])
        ]
        for name in lost:
            ports[name] = free_port(taken=ports.values())
        self._use_ports(ports)
        return bool(lost)

    def _ports(self) -> dict[str, int]:
        ports = {
            "postgres": self.postgres.port,
            "nats": self.nats.port,
            "nats_monitor": self.nats.monitor_port,
        }
        return ports if self.redis is None else {**ports, "redis": self.redis.port}

    def _use_ports(self, ports: Mapping[str, int]) -> None:
        self.postgres.port = ports["postgres"]
        self.nats.port = ports["nats"]
        self.nats.monitor_port = ports["nats_monitor"]
        if self.redis is not None:
            self.redis.port = ports["redis"]
        write_private(self.folder / PORTS_FILE, as_text(ports))


@asynccontextmanager
async def _together() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks side by side; the first failure ends the others and is raised as it is, not in a group."""
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _choose_port(
    name: str, *, configured: int, remembered: int | None, taken: Collection[int]
) -> int:
    if configured:
        return require_free(configured, purpose=PURPOSES[name], setting=f"embedded.{name}_port")
    if remembered is not None and remembered not in taken and is_free(remembered):
        return remembered
    return free_port(taken=taken)


def _read_ports(path: Path) -> dict[str, int]:
    """Return the ports used last time; a file that cannot be read only costs the same addresses again."""
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, int])
    except msgspec.DecodeError:
        return {}
