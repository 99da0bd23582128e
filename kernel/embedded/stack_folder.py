"""Who holds a data folder, and where the servers are that it runs.

The folder belongs to one process at a time, which holds a lock on it for life; ``stack.json`` tells
the other commands where the servers are.
"""

import asyncio
import fcntl
import os
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from kernel.embedded.errors import AlreadyRunningError

LOCK_FILE: Final = "stack.lock"
INFO_FILE: Final = "stack.json"


class StackInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Where the servers of a running stack are; holds credentials, so its file is private."""

    pid: int
    started_at: datetime
    folder: str
    nats_url: str
    nats_monitor_url: str
    nats_keys_dir: str
    postgres_host: str
    postgres_port: int
    postgres_user: str
    postgres_password: str
    redis_url: str | None
    children: dict[str, int]

    def postgres_url(self, database: str) -> str:
        """Return the address of one database, with the credential in it."""
        credential = f"{self.postgres_user}:{self.postgres_password}"
        return f"postgresql://{credential}@{self.postgres_host}:{self.postgres_port}/{database}"

    def addresses(self) -> tuple[str, ...]:
        """The servers' addresses without credentials, for people."""
        redis = () if self.redis_url is None else (f"redis://{self.redis_url.rpartition('@')[2]}",)
        return (
            self.nats_url,
            f"postgresql://{self.postgres_host}:{self.postgres_port}",
            *redis,
        )


def is_running(folder: Path) -> bool:
    """Say whether a living process holds this folder."""
    lock_file = folder / LOCK_FILE
    if not lock_file.exists():
        return False
    with lock_file.open("rb") as lock:
        return not _locks(lock)


def running_stack_info(folder: Path) -> StackInfo | None:
    """Return where the servers of this folder are; None unless a living process runs them."""
    return read_info(folder) if is_running(folder) else None


async def taken_lock(folder: Path) -> BinaryIO:
    """Return the folder's lock, held until it is closed; raises AlreadyRunningError."""
    lock_file = folder / LOCK_FILE
    lock_file.touch(mode=0o600)
    lock = lock_file.open("r+b", buffering=0)
    # Who only looks whether somebody runs holds the lock for a moment, too: so ask again.
    for pause in (0.01, 0.05, 0.2):
        if _locks(lock):
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n".encode())
            return lock
        await asyncio.sleep(pause)
    holder = lock.read(32).strip()
    lock.close()
    info = read_info(folder)
    raise AlreadyRunningError(
        folder,
        pid=int(holder) if holder.isdigit() else None,
        addresses=() if info is None else info.addresses(),
    )


def _locks(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read_info(folder: Path) -> StackInfo | None:
    """Return what the process that holds the folder has written; None before it has."""
    path = folder / INFO_FILE
    if not path.exists():
        return None
    return msgspec.json.decode(path.read_bytes(), type=StackInfo)


def as_text(value: object) -> str:
    """Return the value as JSON that people can read, too."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
