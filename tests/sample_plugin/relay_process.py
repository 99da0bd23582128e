"""A process that publishes the sample's outbox, to be killed or stopped: ``DATABASE NATS SEED MODE``."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from bus.connection import connect
from kernel.database import Database, PoolSettings, open_database
from kernel.relay import MARK_SENT, Relay
from kernel.sql import Statement
from kernel.telemetry import Telemetry
from tests.sample_plugin.contract import AddToTally
from tests.sample_plugin.stage import a_runtime, a_tallying_plugin, asked


class DyingDatabase(Database):
    """Dies by kill -9 when it is to note what was published."""

    async def execute(self, statement: Statement, **params: Any) -> int:
        """Run a write, or die."""
        if statement is MARK_SENT:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().execute(statement, **params)


async def main(url: str, servers: str, seed: str, mode: str) -> None:
    """Commit ten commands, or publish what is there."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    database = await open_database(url, PoolSettings(max_size=2))
    if mode == "die before publishing":
        runtime = a_runtime(a_tallying_plugin(), database)
        for _ in range(10):
            await asked(runtime, AddToTally(tally_id="t"))
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "die before marking":
        database = DyingDatabase(database.pool, PoolSettings())
    connection = await connect(servers, name="relay-process", seed_file=Path(seed))
    relay = Relay("sample", database, url, connection, Telemetry())
    await relay.start()
    await until(relay, is_leader=True)
    print("leads", flush=True)  # noqa: T201  the parent waits for this line
    await until(relay, is_leader=False)
    print("lost", flush=True)  # noqa: T201  as above
    await asyncio.Event().wait()


async def until(relay: Relay, *, is_leader: bool) -> None:
    """Wait until the relay leads or has lost the lead."""
    while relay.is_leader != is_leader:  # noqa: ASYNC110  the relay tells nobody of it
        await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
