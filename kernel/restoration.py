"""A market made again from a back-up, and the proof that this works.

Databases are filled from their dumps; streams are made from the outboxes, every fact at its sequence;
commands, timers and dead letters that were waiting are put back. The exported streams serve as the
witness: what they say at a sequence must be what the outbox says.
"""

from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import msgspec

from bus.envelope import CE_ID
from bus.jetstream import publish
from bus.streams import DLQ_STREAM, event_stream
from kernel.backup import HOME, Manifest, database_urls, exported, read_manifest
from kernel.config import BusSettings, Configuration
from kernel.database import Database, PoolSettings, open_database
from kernel.dead_letter_office import FIRST_DIED
from kernel.dead_letters import ORIGIN
from kernel.embedded.private_files import private_folder, write_private
from kernel.embedded.stack import EmbeddedStack
from kernel.embedded.stack_folder import running_stack_info
from kernel.errors import Conflict
from kernel.grants import GATEWAY, grants_of
from kernel.hosted import open_connection
from kernel.invariants import holdings
from kernel.migrator import HOME as HOME_TABLES
from kernel.migrator import STORE, migrate, plugin_migrations
from kernel.plugin import Plugin
from kernel.postgres_programs import restore
from kernel.recovery import recover_from_outbox, require_whole
from kernel.sealing import unseal
from kernel.sql import statement

POOL: Final = PoolSettings(min_size=0, max_size=2)
Progress = Callable[[str], None]
CreateDatabase = Callable[[str], Awaitable[None]]

RECORDED_AMONG = statement(
    """
    SELECT stream_seq, ce_id FROM kernel.outbox
    WHERE kind = 'fact' AND stream_seq IS NOT NULL ORDER BY stream_seq
    """
)


class RestoreRefusedError(Conflict):
    """There is something already where the back-up is to go."""

    code = "kernel.restore_refused"
    title = "The back-up was not restored"


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at in a restored back-up."""

    part: str
    sentence: str
    violations: int


async def restore_backup(
    folder: Path,
    configuration: Configuration,
    plugins: Mapping[str, Plugin],
    *,
    create_database: CreateDatabase | None = None,
    progress: Progress = lambda _: None,
) -> Manifest:
    """Fill empty databases and empty streams; no host may run. Raises RestoreRefusedError."""
    manifest = read_manifest(folder)
    urls = database_urls(configuration, plugins)
    dumps = {part.name: folder / part.file for part in manifest.databases if part.name in urls}
    for name in dumps:
        if create_database is not None:
            await create_database(urlsplit(urls[name]).path.lstrip("/"))
        await _require_empty(name, urls[name])
    for name, file in dumps.items():
        await restore(urls[name], file)
        progress(f"database {name}")
    await migrate(urls[HOME], HOME_TABLES)
    for name, plugin in plugins.items():
        if create_database is not None:
            await create_database(urlsplit(urls[name]).path.lstrip("/"))
        await migrate(urls[name], STORE, plugin_migrations(name, plugin.package))
    await recover_from_outbox(configuration, plugins)
    progress("streams")
    await _put_back_letters(folder, manifest, configuration, plugins)
    progress("dead letters")
    return manifest


async def verify_backup(
    folder: Path, plugins: Mapping[str, Plugin], *, progress: Progress = lambda _: None
) -> list[Proof]:
    """Restore into servers of its own, which vanish again, and look whether all that must hold holds.

    Raises DamagedBackupError, ProgramError, RecoveryError.
    """
    read_manifest(folder)
    progress("checksums")
    with TemporaryDirectory(prefix="realserv-verify-") as scratch:
        async with embedded_servers(Path(scratch), plugins, durable=False) as (
            configuration,
            servers,
        ):
            manifest = await restore_backup(
                folder,
                configuration,
                plugins,
                create_database=servers.create_database,
                progress=progress,
            )
            return await _proofs(folder, manifest, configuration, plugins)


async def restore_embedded(
    folder: Path,
    target: Path,
    passphrase: str,
    plugins: Mapping[str, Plugin],
    *,
    progress: Progress = lambda _: None,
) -> Manifest:
    """Make the folder of embedded servers from a back-up; start it with ``realserv up`` afterwards.

    Raises RestoreRefusedError when the folder holds data, PassphraseError.
    """
    if running_stack_info(target) is not None or (target / "postgres" / "data").exists():
        raise RestoreRefusedError(f"{target} holds a market already: stop it and move it away")
    manifest = read_manifest(folder)
    unsealed = unsealed_content(folder / manifest.sealed.file, passphrase)
    private_folder(target)
    for name, text in unsealed["files"].items():
        place = target / ("nats" if name.startswith("keys/") else ".") / name
        private_folder(place.parent)
        write_private(place, text)
    async with embedded_servers(target, plugins, durable=True) as (configuration, servers):
        return await restore_backup(
            folder,
            configuration,
            plugins,
            create_database=servers.create_database,
            progress=progress,
        )


def unsealed_content(file: Path, passphrase: str) -> dict[str, Any]:
    """Return the configuration and the secret files of a back-up; raises PassphraseError."""
    content: dict[str, Any] = msgspec.json.decode(unseal(file.read_bytes(), passphrase))
    return content


@asynccontextmanager
async def embedded_servers(
    folder: Path, plugins: Mapping[str, Plugin], *, durable: bool
) -> AsyncIterator[tuple[Configuration, EmbeddedStack]]:
    """Run PostgreSQL and NATS of a folder for a while, without hosts."""
    async with EmbeddedStack(
        folder,
        nats_users=(GATEWAY, *plugins),
        nats_permissions=grants_of(plugins.values()),
        durable=durable,
        redis=False,
    ) as servers:
        data = {
            "kernel": {"database": servers.postgres_url(HOME)},
            "bus": {"servers": servers.nats_url, "keys_dir": str(servers.nats_keys_dir)},
            "database": {"url": servers.postgres_url("{plugin}")},
        }
        yield Configuration(data, "restoration"), servers


async def _require_empty(name: str, url: str) -> None:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        tables = await connection.fetchval(
            "SELECT count(*) FROM pg_tables WHERE schemaname IN ('public', 'kernel')"
        )
    finally:
        await connection.close()
    if tables:
        raise RestoreRefusedError(f"the database of {name} is not empty: drop it and make it anew")


async def _put_back_letters(
    folder: Path, manifest: Manifest, configuration: Configuration, plugins: Mapping[str, Plugin]
) -> None:
    """Publish the dead letters of work queues again; the copies of events came from the outboxes."""
    (part,) = [part for part in manifest.streams if part.name == DLQ_STREAM]
    bus = configuration.section("bus", BusSettings)
    letters = [
        letter
        for letter in exported(folder / part.file)
        if letter["headers"].get(ORIGIN, "").startswith("work.")
    ]
    for plugin in sorted({letter["subject"].split(".")[1] for letter in letters} & plugins.keys()):
        connection = await open_connection(bus, plugin, f"{plugin}.restoration")
        try:
            for letter in letters:
                if letter["subject"].split(".")[1] == plugin:
                    await publish(
                        connection,
                        letter["subject"],
                        b64decode(letter["payload"]),
                        _letter_headers(letter),
                    )
        finally:
            await connection.close()


def _letter_headers(letter: Mapping[str, Any]) -> dict[str, str]:
    headers = letter["headers"]
    kept = {name: value for name, value in headers.items() if not name.startswith("Nats-")}
    return {
        FIRST_DIED: headers["Nats-Time-Stamp"],
        **kept,
        "Nats-Msg-Id": f"restored-{letter['sequence']}",
    }


async def _proofs(
    folder: Path, manifest: Manifest, configuration: Configuration, plugins: Mapping[str, Plugin]
) -> list[Proof]:
    async with AsyncExitStack() as stack:
        databases: dict[str, Database] = {}
        for name in plugins:
            database = await open_database(
                configuration.plugin_database(name), POOL, name="verification"
            )
            stack.push_async_callback(database.close)
            databases[name] = database
        found = [await _outbox_proof(folder, manifest, name, databases[name]) for name in plugins]
        return found + [
            Proof(part=held.plugin, sentence=held.sentence, violations=held.violations)
            for held in await holdings(plugins, databases)
        ]


async def _outbox_proof(folder: Path, manifest: Manifest, plugin: str, database: Database) -> Proof:
    """Compare the outbox with the stream as it was exported, sequence by sequence."""
    last = await require_whole(database, plugin)
    witnesses = [part for part in manifest.streams if part.name == event_stream(plugin)]
    said = {
        message["sequence"]: message["headers"].get(CE_ID)
        for part in witnesses
        for message in exported(folder / part.file)
    }
    recorded = {
        row["stream_seq"]: str(row["ce_id"]) for row in await database.fetch(RECORDED_AMONG)
    }
    wrong = sum(said.get(sequence) != identity for sequence, identity in recorded.items())
    return Proof(
        part=plugin,
        sentence=f"the {last} facts of the outbox stand at their sequences in the stream",
        violations=wrong,
    )
