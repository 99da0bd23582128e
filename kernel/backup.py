"""A back-up of one market: all databases of one moment, the streams, and the secrets, sealed.

The databases are the truth: each outbox holds every fact with its place in the stream, so streams are
made from them again, and commands that are not known to be done are sent again. The databases'
snapshots are taken together; when a subscriber has seen a fact that its source's snapshot does not
hold, they are taken anew. The streams are read after that, so that they hold all that the databases
have seen.
"""

import asyncio
import gzip
import hashlib
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from bus.codec import to_plain
from bus.connection import Connection
from bus.jetstream import STREAM_NOT_FOUND, BatchReader, JetStreamError
from bus.streams import AUDIT_STREAM, DLQ_STREAM, event_stream, work_stream
from kernel.config import BusSettings, Configuration, KernelSettings
from kernel.embedded.private_files import private_folder, write_private
from kernel.errors import Conflict, Invalid
from kernel.plugin import Plugin
from kernel.postgres_programs import dump
from kernel.sealing import seal
from kernel.sql import statement

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
SEALED: Final = "sealed.bin"
HOME: Final = "kernel"
TRIES: Final = 50
MAKING: Final = ".making"

FACTS_HELD = statement(
    """
    SELECT coalesce(max(stream_seq), 0) + count(*) FILTER (WHERE sent_at IS NULL)
    FROM kernel.outbox WHERE kind = 'fact'
    """
)
FACTS_SEEN = statement(
    """
    SELECT 'EVT_' || upper(split_part(subscription, '.', 2)) AS stream, max(stream_seq) AS seen
    FROM kernel.positions GROUP BY 1
    UNION ALL
    SELECT stream, max(stream_seq) FROM kernel.models GROUP BY stream
    """
)


class BackupError(Conflict):
    """A back-up could not be made as it must be."""

    code = "kernel.backup_failed"
    title = "The back-up was not made"


class DamagedBackupError(Invalid):
    """A file of the back-up is missing or is not the one that was written."""

    code = "kernel.backup_damaged"
    title = "The back-up is damaged"


class BackedUpFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a back-up."""

    name: str
    file: str
    bytes: int
    sha256: str
    count: int = 0
    """Messages of a stream."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a back-up holds."""

    format: int
    made_at: datetime
    """The moment of the databases' snapshots."""
    realserv: str
    plugins: dict[str, str]
    """Versions."""
    databases: tuple[BackedUpFile, ...]
    streams: tuple[BackedUpFile, ...]
    sealed: BackedUpFile


Progress = Callable[[str], None]


def database_urls(configuration: Configuration, plugins: Mapping[str, Plugin]) -> dict[str, str]:
    """Return the addresses of the kernel's own database and the plugins'."""
    home = configuration.section("kernel", KernelSettings).database.reveal()
    return {HOME: home} | {name: configuration.plugin_database(name) for name in plugins}


async def back_up(
    configuration: Configuration,
    plugins: Mapping[str, Plugin],
    bus: Connection,
    folder: Path,
    passphrase: str,
    *,
    embedded: Path | None = None,
    progress: Progress = lambda _: None,
) -> Manifest:
    """Write a back-up into a new folder, which appears when it is whole.

    ``embedded`` is the folder of the embedded servers, whose generated secrets are sealed as well.
    Raises BackupError, ProgramError, PassphraseError.
    """
    if folder.exists():
        raise BackupError(f"{folder} is there already")
    secrets = seal(sealed_content(configuration, embedded), passphrase)
    draft = private_folder(folder.with_name(folder.name + MAKING))
    try:
        made_at = datetime.now(UTC)
        databases = await _dump_databases(database_urls(configuration, plugins), draft, progress)
        streams = await _export_streams(bus, plugins, draft, progress)
        sealed = draft / SEALED
        sealed.write_bytes(secrets)
        manifest = Manifest(
            format=FORMAT,
            made_at=made_at,
            realserv=version("realserv"),
            plugins={name: plugin.version for name, plugin in plugins.items()},
            databases=databases,
            streams=streams,
            sealed=_described("sealed", sealed),
        )
        text = msgspec.json.format(msgspec.json.encode(manifest), indent=2).decode()
        write_private(draft / MANIFEST, text + "\n")
        for path in draft.iterdir():
            path.chmod(0o600)
        draft.replace(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Return what a back-up holds; raises DamagedBackupError unless every file is the one written."""
    path = folder / MANIFEST
    if not path.exists():
        raise DamagedBackupError(f"{folder} is no back-up: it has no {MANIFEST}")
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise DamagedBackupError(f"{path} cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise DamagedBackupError(f"{path} is of format {manifest.format}; this code reads {FORMAT}")
    for part in (*manifest.databases, *manifest.streams, manifest.sealed):
        file = folder / part.file
        if not file.exists() or _described(part.name, file).sha256 != part.sha256:
            raise DamagedBackupError(f"{part.file} is missing or was changed")
    return manifest


def forget_old(parent: Path, *, days: int, now: datetime) -> list[Path]:
    """Remove the back-ups of a folder that are older than so many days, never the newest one."""
    made = {
        path.parent: msgspec.json.decode(path.read_bytes(), type=Manifest).made_at
        for path in parent.glob(f"*/{MANIFEST}")
    }
    newest = max(made, key=lambda path: made[path], default=None)
    old = [
        path
        for path, at in made.items()
        if path != newest and now - at > timedelta(days=days) - timedelta(hours=1)
    ]
    for path in old:
        shutil.rmtree(path)
    return sorted(old)


def sealed_content(configuration: Configuration, embedded: Path | None) -> bytes:
    """Return configuration, generated secrets and the bus's keys as one document."""
    files: dict[str, str] = {}
    if embedded is not None and (embedded / "secrets.json").exists():
        files["secrets.json"] = (embedded / "secrets.json").read_text()
    keys = configuration.section("bus", BusSettings).keys_dir
    for path in sorted(Path(keys).glob("*.nk")) if keys else ():
        files[f"keys/{path.name}"] = path.read_text()
    return msgspec.json.encode({"configuration": to_plain(configuration.data), "files": files})


async def _dump_databases(
    urls: Mapping[str, str], folder: Path, progress: Progress
) -> tuple[BackedUpFile, ...]:
    async with snapshots(urls) as taken:
        found = []
        for name, snapshot in taken.items():
            file = folder / f"{name}.dump"
            await dump(urls[name], file, snapshot=snapshot)
            found.append(_described(name, file))
            progress(f"database {name}")
        return tuple(found)


@asynccontextmanager
async def snapshots(urls: Mapping[str, str]) -> AsyncIterator[dict[str, str]]:
    """Hold snapshots of all databases in which nobody has seen a fact that its source does not hold."""
    async with AsyncExitStack() as stack:
        connections: dict[str, asyncpg.Connection] = {}
        for name, url in urls.items():
            connection = await asyncpg.connect(url, timeout=10)
            stack.push_async_callback(connection.close)
            connections[name] = connection
        for _ in range(TRIES):
            names = await asyncio.gather(*map(_take_snapshot, connections.values()))
            if await _is_consistent(connections):
                yield dict(zip(connections, names, strict=True))
                return
            await asyncio.gather(*(each.execute("ROLLBACK") for each in connections.values()))
        raise BackupError(f"in {TRIES} tries no moment was found at which all databases agree")


async def _take_snapshot(connection: asyncpg.Connection) -> str:
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    name: str = await connection.fetchval("SELECT pg_export_snapshot()")
    return name


async def _is_consistent(connections: Mapping[str, asyncpg.Connection]) -> bool:
    plugins = {name: each for name, each in connections.items() if name != HOME}
    held = {
        event_stream(name): await connection.fetchval(FACTS_HELD.sql)
        for name, connection in plugins.items()
    }
    for connection in plugins.values():
        for row in await connection.fetch(FACTS_SEEN.sql):
            if row["seen"] > held.get(row["stream"], row["seen"]):
                return False
    return True


async def _export_streams(
    bus: Connection, plugins: Mapping[str, Plugin], folder: Path, progress: Progress
) -> tuple[BackedUpFile, ...]:
    names = [stream(name) for name in plugins for stream in (event_stream, work_stream)]
    found = []
    for stream in (*names, DLQ_STREAM, AUDIT_STREAM):
        file = folder / f"{stream}.jsonl.gz"
        count = await _export(bus, stream, file)
        found.append(msgspec.structs.replace(_described(stream, file), count=count))
        progress(f"stream {stream}")
    return tuple(found)


async def _export(bus: Connection, stream: str, file: Path) -> int:
    reader, first, count = BatchReader(bus, stream), 1, 0
    with gzip.open(file, "wb") as lines:
        try:
            while batch := await reader.read(first):
                for message in batch:
                    line = {
                        "sequence": message.sequence,
                        "subject": message.subject,
                        "headers": message.headers,
                        "payload": b64encode(message.payload).decode(),
                    }
                    lines.write(msgspec.json.encode(line) + b"\n")
                first, count = batch[-1].sequence + 1, count + len(batch)
        except JetStreamError as error:
            if error.code != STREAM_NOT_FOUND:
                raise
    return count


def exported(file: Path) -> "list[dict[str, Any]]":
    """Return the messages of an exported stream."""
    with gzip.open(file, "rb") as lines:
        return [msgspec.json.decode(line) for line in lines]


def _described(name: str, file: Path) -> BackedUpFile:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return BackedUpFile(name=name, file=file.name, bytes=file.stat().st_size, sha256=digest)
