"""A back-up of a market at work can be restored, and is refused when it is not what was written."""

import gzip
import os
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from bus.connection import connect
from bus.envelope import CE_ID
from bus.jetstream import BatchReader, StoredMessage, publish
from kernel.backup import BackupError, DamagedBackupError, read_manifest, snapshots
from kernel.dead_letter_office import FIRST_DIED
from kernel.dead_letters import ORIGIN
from kernel.embedded.stack import EmbeddedStack
from kernel.graph import find_plugins
from kernel.ids import new_uuid7
from kernel.restoration import embedded_servers, unsealed_content, verify_backup
from kernel.sealing import PassphraseError
from kernel.testing.market import Market, an_order, status_of, until
from kernel.testing.system import ADMIN_EMAIL, ADMIN_PASSWORD, System, running_system
from tests.sample_plugin.stage import run_sql

PASSPHRASE = "a passphrase of the tests"
PLUGINS = find_plugins()
LETTER = str(new_uuid7())
A_FACT = """
    INSERT INTO kernel.outbox (kind, ce_id, subject, headers, payload)
    VALUES ('fact', $1, 'evt.sample.x.v1.0.t', '{}', '{}')
"""


@pytest.fixture(scope="module")
async def system() -> AsyncIterator[System]:
    async with running_system() as running:
        market = await Market.enter(running.http, ADMIN_EMAIL, ADMIN_PASSWORD)
        buyer, shop = await market.buyer(), await market.shop()
        offer = await shop.stocked()
        placed = await buyer.post("/orders", an_order(offer), key="backup-1")
        await until(
            lambda: status_of(buyer, placed["order_id"]), lambda status: status[0] == "confirmed"
        )
        await bury(running)
        yield running


async def bury(system: System) -> None:
    bus = system.supervisor.configuration.data["bus"]
    seed = Path(bus["keys_dir"], "admin.nk")
    connection = await connect(bus["servers"], name="test", seed_file=seed)
    headers = {CE_ID: LETTER, ORIGIN: "work.catalog.do.lapse_reservation_v1"}
    await publish(connection, "dlq.catalog.lapse_reservation", b"{}", headers)
    await connection.close()


async def realserv(system: System, *words: str, **environment: str) -> tuple[int, str]:
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "kernel.cli", *words),
        env={**os.environ, "REALSERV_BACKUP_PASSPHRASE": PASSPHRASE, **environment},
        stdout=PIPE,
        stderr=PIPE,
    )
    printed, complaint = await process.communicate()
    return process.returncode or 0, (printed + complaint).decode()


@pytest.fixture(scope="module")
async def taken(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("backups") / "first"
    supervisor = system.supervisor
    where = ("--profile", supervisor.profile, "--config", str(supervisor.generated_file))
    code, said = await realserv(
        system,
        *("backup", "--to", str(folder), *where),
        REALSERV__EMBEDDED__FOLDER=str(supervisor.folder),
    )
    assert code == 0, said
    return folder


async def rows_of(url: str, query: str) -> list[dict[str, Any]]:
    connection = await asyncpg.connect(url)
    try:
        return [dict(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_a_verified_backup_holds_all_that_must_hold(taken: Path) -> None:
    proofs = await verify_backup(taken, PLUGINS)

    assert {proof.part for proof in proofs} == PLUGINS.keys()
    assert {"catalog", "payment"} <= {p.part for p in proofs if "outbox" not in p.sentence}
    assert [proof for proof in proofs if proof.violations] == []


async def test_a_restored_market_has_its_orders_its_facts_and_its_secrets(
    system: System, taken: Path, tmp_path: Path
) -> None:
    target = tmp_path / "market"
    code, said = await realserv(
        system,
        *("restore", str(taken), "--profile", "test"),
        REALSERV__EMBEDDED__FOLDER=str(target),
    )
    again, refusal = await realserv(
        system,
        *("restore", str(taken), "--profile", "test"),
        REALSERV__EMBEDDED__FOLDER=str(target),
    )

    assert code == 0, said
    assert (again, "holds a market already" in refusal) == (1, True)
    query = "SELECT * FROM orders ORDER BY order_id"
    facts = "SELECT stream_seq, ce_id::text FROM kernel.outbox WHERE kind = 'fact' AND stream_seq IS NOT NULL ORDER BY 1"
    before = await rows_of(system.database_url("order"), query)
    recorded = await rows_of(system.database_url("order"), facts)
    async with embedded_servers(target, PLUGINS, durable=False) as (configuration, servers):
        after = await rows_of(configuration.plugin_database("order"), query)
        stored = await facts_in_stream(servers, "order")
        letters = [
            (message.headers[CE_ID], FIRST_DIED in message.headers)
            for message in await messages_in(servers, "DLQ")
        ]
    assert before == after != []
    assert stored == {row["stream_seq"]: row["ce_id"] for row in recorded}
    secrets = [
        msgspec.json.decode((folder / "secrets.json").read_bytes())
        for folder in (system.supervisor.folder, target)
    ]
    assert secrets[1].items() >= secrets[0].items() != set()
    assert letters == [(LETTER, True)]


async def facts_in_stream(servers: EmbeddedStack, plugin: str) -> dict[int, str]:
    found = await messages_in(servers, f"EVT_{plugin.upper()}")
    return {message.sequence: message.headers[CE_ID] for message in found}


async def messages_in(servers: EmbeddedStack, stream: str) -> list[StoredMessage]:
    seed = servers.nats.keys.seed_file("cli")
    connection = await connect(servers.nats_url, name="test", seed_file=seed)
    try:
        return await BatchReader(connection, stream).read(1)
    finally:
        await connection.close()


async def test_nobody_else_may_read_a_backup_and_its_secrets_are_sealed(taken: Path) -> None:
    manifest = read_manifest(taken)

    files = list(taken.iterdir())
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert len(files) == len(manifest.databases) + len(manifest.streams) + 2
    with pytest.raises(PassphraseError):
        unsealed_content(taken / manifest.sealed.file, "another passphrase")
    content = unsealed_content(taken / manifest.sealed.file, PASSPHRASE)
    assert {"secrets.json", "keys/order.nk", "keys/admin.nk"} <= content["files"].keys()


async def test_a_changed_file_is_named_before_anything_is_done(taken: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in taken.iterdir():
        os.link(path, copy / path.name)
    (copy / "EVT_ORDER.jsonl.gz").unlink()
    with gzip.open(copy / "EVT_ORDER.jsonl.gz", "wb") as file:
        file.write(b"{}\n")

    with pytest.raises(DamagedBackupError, match=r"EVT_ORDER\.jsonl\.gz"):
        await verify_backup(copy, PLUGINS)


async def test_a_backup_without_a_passphrase_is_refused(system: System, tmp_path: Path) -> None:
    code, said = await realserv(
        system, "backup", "--to", str(tmp_path / "x"), REALSERV_BACKUP_PASSPHRASE=""
    )

    assert (code, (tmp_path / "x").exists()) == (2, False)
    assert "REALSERV_BACKUP_PASSPHRASE" in said


async def test_no_snapshot_is_taken_in_which_a_fact_is_seen_before_it_is_said(
    sample_url: str,
) -> None:
    await run_sql(sample_url, "INSERT INTO kernel.positions VALUES ('sample.sample', 0, 1)")

    with pytest.raises(BackupError, match="no moment"):
        async with snapshots({"sample": sample_url}):
            pass
    await run_sql(sample_url, A_FACT, new_uuid7())
    async with snapshots({"sample": sample_url}) as taken:
        assert taken.keys() == {"sample"}
