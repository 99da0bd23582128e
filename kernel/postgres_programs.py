"""``pg_dump`` and ``pg_restore``: of the wheel, or of the system, never older than the server."""

import asyncio
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from kernel.embedded.errors import BinaryMissingError
from kernel.embedded.postgres import installed_release
from kernel.errors import Unavailable

_VERSION: Final = re.compile(r"\b(\d+)(?:\.\d+)?\b")


class ProgramError(Unavailable):
    """A program of PostgreSQL is missing, too old, or failed."""

    code = "kernel.postgres_program"
    title = "A program of PostgreSQL failed"


async def dump(url: str, file: Path, *, snapshot: str) -> None:
    """Write one database as it is in a snapshot, in PostgreSQL's custom format."""
    major = await server_major(url)
    options = ("--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}")
    await _run("pg_dump", major, url, (*options, f"--file={file}"))


async def restore(url: str, file: Path) -> None:
    """Fill an empty database, all or nothing."""
    major = await server_major(url)
    options = ("--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction")
    await _run("pg_restore", major, url, (*options, str(file)))


async def server_major(url: str) -> int:
    """Return the server's major version."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return int(connection.get_server_version().major)
    finally:
        await connection.close()


async def find_program(name: str, major: int) -> str:
    """Return a program that understands a server of this version; raises ProgramError."""
    candidates = [path] if (path := shutil.which(name)) else []
    with suppress(BinaryMissingError):
        candidates.insert(0, installed_release().program(name))
    for candidate in candidates:
        process = await asyncio.create_subprocess_exec(
            candidate, "--version", stdout=asyncio.subprocess.PIPE
        )
        answer, _ = await process.communicate()
        found = _VERSION.search(answer.decode())
        if found and int(found[1]) >= major:
            return candidate
    raise ProgramError(f"{name} of PostgreSQL {major} or newer is not installed")


async def _run(name: str, major: int, url: str, options: tuple[str, ...]) -> None:
    address, password = without_password(url)
    process = await asyncio.create_subprocess_exec(
        await find_program(name, major),
        f"--dbname={address}",
        "--no-password",
        *options,
        env={**os.environ, "PGPASSWORD": password},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaint = await process.communicate()
    if process.returncode:
        raise ProgramError(f"{name}: {complaint.decode(errors='replace').strip()[-600:]}")


def without_password(url: str) -> tuple[str, str]:
    """Return the address without its password, which command lines would show to all, and it."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    name, _, password = user.partition(":")
    netloc = f"{name}@{place}" if user else place
    return urlunsplit(parts._replace(netloc=netloc)), unquote(password)
