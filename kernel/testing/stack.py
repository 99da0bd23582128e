"""Real servers for tests: started once for a session, thrown away after it."""

import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final
from uuid import uuid4

from kernel.embedded.stack import EmbeddedStack
from kernel.embedded.stack_folder import is_running

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  the folder made in it has a random name and mode 0700
PREFIX: Final = "realserv-test-"
ENOUGH: Final = 4 * 1024**3


def plugin_names() -> tuple[str, ...]:
    """Return the names of all installed plugins, without importing one."""
    return tuple(sorted({entry.name for entry in entry_points(group="realserv.plugins")}))


@contextmanager
def throwaway_folder() -> Iterator[Path]:
    """Yield a folder that vanishes at the end; in memory where the system offers enough of it.

    A database is some 300 files, and making those on a disk is what costs tests their time.
    """
    in_memory = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > ENOUGH
    place = SHARED_MEMORY if in_memory else Path(tempfile.gettempdir())
    clear_remains(place)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=place) as folder:
        yield Path(folder)


def clear_remains(place: Path, *, older_than: float = 60.0) -> None:
    """Remove the folders of test runs that were killed; those of living ones are locked or young."""
    for folder in place.glob(f"{PREFIX}*"):
        if _is_remains(folder, older_than=older_than):
            shutil.rmtree(folder, ignore_errors=True)


def _is_remains(folder: Path, *, older_than: float) -> bool:
    try:
        found = folder.stat()
        return (
            found.st_uid == os.geteuid()
            and time.time() - found.st_mtime > older_than
            and not is_running(folder)
        )
    except FileNotFoundError:
        return False


@asynccontextmanager
async def running_stack(
    folder: Path, *, durable: bool = False, nats_users: Sequence[str] | None = None
) -> AsyncIterator[EmbeddedStack]:
    """Run PostgreSQL, NATS and Redis under the folder, on free ports, with a NATS user per plugin.

    Unless ``durable``, nothing is synced to disk: fast, and all the same as long as the machine stays up.
    """
    users = ("gateway", "kernel", *plugin_names()) if nats_users is None else nats_users
    async with EmbeddedStack(folder, nats_users=users, durable=durable) as stack:
        yield stack


@asynccontextmanager
async def fresh_database(stack: EmbeddedStack, *, prefix: str = "test") -> AsyncIterator[str]:
    """Make an empty database of a name of its own, yield its address, and drop it at the end."""
    name = f"{prefix}_{uuid4().hex}"
    await stack.create_database(name)
    try:
        yield stack.postgres_url(name)
    finally:
        await stack.drop_database(name)
