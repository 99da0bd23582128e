"""The commands and the environment of compose.yaml, run as processes beside embedded servers."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy import make_env
from kernel.embedded.ports import free_port
from kernel.embedded.process import ChildCommand, ChildProcess, run_to_end
from kernel.embedded.stack import EmbeddedStack
from kernel.testing.stack import running_stack, throwaway_folder
from tests.unit.deploy.deploy_files import HOSTS, ROOT, SERVICES, environment_of

WITHIN = 60.0


def env_file() -> dict[str, str]:
    lines = make_env.fresh_environment().splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def command_of(service: str, folder: Path, environment: Mapping[str, str]) -> ChildCommand:
    ready = str(folder / f"{service}.ready")
    words = [word.replace("/tmp/ready", ready) for word in SERVICES[service]["command"]]
    return ChildCommand(
        name=service,
        argv=(sys.executable, "-m", "kernel.cli", *words),
        log_file=folder / f"{service}.log",
        env={**os.environ, **environment},
    )


async def make_databases(servers: EmbeddedStack) -> None:
    text = (ROOT / "deploy" / "databases.sql").read_text()
    connection = await asyncpg.connect(servers.postgres_url("postgres"))
    for line in text.splitlines():
        if line.startswith("CREATE"):
            await connection.execute(line)
    await connection.close()


@pytest.fixture
async def api() -> AsyncIterator[httpx.AsyncClient]:
    """The API of one gateway and one of each plugin host, as compose starts them."""
    secrets = env_file()
    port, internal_port = free_port(), free_port()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(throwaway_folder())
        servers = await stack.enter_async_context(running_stack(folder / "servers"))
        await make_databases(servers)
        elsewhere = {
            "REALSERV__KERNEL__DATABASE": servers.postgres_url("kernel"),
            "REALSERV__DATABASE__URL": servers.postgres_url("{plugin}"),
            "REALSERV__REDIS__URL": servers.redis_url,
            "REALSERV__BUS__SERVERS": servers.nats_url,
            "REALSERV__BUS__KEYS_DIR": str(servers.nats_keys_dir),
            "REALSERV__GATEWAY__PORT": str(port),
            "REALSERV__GATEWAY__INTERNAL_PORT": str(internal_port),
        }
        migrating = {**environment_of("migrate", secrets), **elsewhere}
        await run_to_end(command_of("migrate", folder, migrating), within=WITHIN)
        for host in sorted(HOSTS, key="gateway".__eq__):
            command = command_of(host, folder, {**environment_of(host, secrets), **elsewhere})
            child = await ChildProcess.start(command)
            stack.push_async_callback(child.stop)
            ready = folder / f"{host}.ready"
            await child.wait_ready(partial(asyncio.to_thread, ready.exists), within=WITHIN)
        client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}")
        yield await stack.enter_async_context(client)


async def test_the_hosts_of_compose_serve_a_registration_together(api: httpx.AsyncClient) -> None:
    ready = await api.get("/ready")
    registered = await api.post(
        "/api/v1/identity/register",
        json={
            "email": "asha@example.com",
            "password": "a-long-passphrase",
            "name": "Asha",
            "role": "buyer",
        },
    )
    listed = await api.get("/api/v1/catalog/products")

    assert ready.status_code == 200
    assert registered.status_code == 201, registered.text
    assert listed.status_code == 200, listed.text
