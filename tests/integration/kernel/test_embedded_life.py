"""The life of the embedded servers: stopped, killed, started again, refused."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import asyncpg
import nats
import pytest
import redis.asyncio

from kernel.embedded.errors import (
    AlreadyRunningError,
    DataMismatchError,
    PortInUseError,
    TooManyRestartsError,
)
from kernel.embedded.nats import NatsPermissions
from kernel.embedded.ports import free_port
from kernel.embedded.postgres import Postgres
from kernel.embedded.process import birth_mark
from kernel.embedded.stack import EmbeddedStack
from kernel.embedded.stack_folder import StackInfo, running_stack_info
from kernel.embedded.supervision import RestartPolicy

PARENT = """
import asyncio, sys, uvloop
from pathlib import Path
from kernel.embedded.stack import EmbeddedStack

async def main():
    async with EmbeddedStack(Path(sys.argv[1]), nats_users=("order",)) as stack:
        await stack.create_database("kept")
        print("ready", flush=True)
        await asyncio.Event().wait()

uvloop.run(main())
"""


def a_stack(folder: Path, *, nats_port: int = 0) -> EmbeddedStack:
    return EmbeddedStack(folder, nats_users=("order",), durable=False, nats_port=nats_port)


def pids_of(info: StackInfo) -> list[int]:
    return sorted(info.children.values())


async def databases_of(stack: EmbeddedStack) -> list[str]:
    connection = await asyncpg.connect(stack.postgres_url("postgres"))
    rows = await connection.fetch("select datname from pg_database where not datistemplate")
    await connection.close()
    return sorted(row["datname"] for row in rows)


async def all_gone(pids: list[int], *, within: float = 10) -> bool:
    async with asyncio.timeout(within):
        while any(birth_mark(pid) for pid in pids):  # noqa: ASYNC110  not our children
            await asyncio.sleep(0.02)
    return True


async def all_replaced(folder: Path, before: StackInfo, *, within: float = 20) -> None:
    async with asyncio.timeout(within):
        while not await asyncio.to_thread(is_replaced, folder, before):  # noqa: ASYNC110  asks as another process would
            await asyncio.sleep(0.02)


def is_replaced(folder: Path, before: StackInfo) -> bool:
    now = pids_of(running_stack_info(folder) or before)
    return len(now) == len(before.children) and not set(now) & set(pids_of(before))


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


async def test_a_second_start_finds_the_same_data_at_the_same_addresses(tmp_path: Path) -> None:
    durable = EmbeddedStack(tmp_path, nats_users=("order",))
    async with durable:
        first = durable.info()
        await durable.create_database("shop")
        client = await nats.connect(
            durable.nats_url, nkeys_seed=str(durable.nats_keys_dir / "admin.nk")
        )
        await client.jetstream().add_stream(name="KEPT", subjects=["kept.>"])
        await client.jetstream().publish("kept.fact", b"1")
        await client.close()
        async with redis.asyncio.from_url(durable.redis_url) as cache:
            await cache.set("kept", "1")

    again = EmbeddedStack(tmp_path, nats_users=("order",))
    async with again:
        second = again.info()
        databases = await databases_of(again)
        client = await nats.connect(
            again.nats_url, nkeys_seed=str(again.nats_keys_dir / "admin.nk")
        )
        stream = await client.jetstream().stream_info("KEPT")
        await client.close()
        async with redis.asyncio.from_url(again.redis_url) as cache:
            value = await cache.get("kept")

    assert second.addresses() == first.addresses()
    assert databases == ["postgres", "shop"]
    assert stream.state.messages == 1
    assert value == b"1"


async def test_secrets_and_folders_are_for_their_owner_only(tmp_path: Path) -> None:
    async with a_stack(tmp_path / "data") as stack:
        keys = sorted(path.name for path in stack.nats_keys_dir.iterdir())
        open_to_others = [
            path
            for path in stack.folder.rglob("*")
            if path.lstat().st_mode & 0o077 and not path.is_symlink()
        ]

    assert keys == ["admin.nk", "cli.nk", "deployer.nk", "order.nk"]
    assert open_to_others == []


async def test_other_commands_find_a_running_stack_and_only_a_running_one(tmp_path: Path) -> None:
    before = running_stack_info(tmp_path)

    async with a_stack(tmp_path) as stack:
        during = running_stack_info(tmp_path)
    after = running_stack_info(tmp_path)

    assert before is None
    assert during is not None
    assert during.pid == os.getpid()
    assert during.postgres_url("shop") == stack.postgres_url("shop")
    assert after is None


async def test_a_second_instance_on_the_same_folder_is_refused_by_name(tmp_path: Path) -> None:
    async with a_stack(tmp_path) as stack:
        with pytest.raises(AlreadyRunningError) as refusal:
            await a_stack(tmp_path).start()

        still_there = running_stack_info(tmp_path)

    assert refusal.value.pid == os.getpid()
    assert stack.nats_url in str(refusal.value)
    assert stack.postgres.password not in str(refusal.value)
    assert still_there is not None


async def test_a_configured_port_in_use_stops_nothing_half_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        with pytest.raises(PortInUseError, match=str(port)):
            await a_stack(tmp_path, nats_port=port).start()

    assert running_stack_info(tmp_path) is None


async def test_a_remembered_port_that_somebody_took_is_replaced(tmp_path: Path) -> None:
    async with a_stack(tmp_path) as stack:
        taken = stack.nats.port
        postgres_port = stack.postgres.port

    with socket.create_server(("127.0.0.1", taken)):
        async with a_stack(tmp_path) as again:
            ports = (again.nats.port, again.postgres.port)

    assert ports[0] != taken
    assert ports[1] == postgres_port


async def test_when_one_server_fails_to_start_the_others_are_stopped(tmp_path: Path) -> None:
    async with a_stack(tmp_path):
        pass
    version = tmp_path / "postgres" / "data" / "PG_VERSION"
    version.write_text("12\n")
    broken = a_stack(tmp_path)

    with pytest.raises(DataMismatchError, match="made by PostgreSQL 12"):
        await broken.start()

    running = [server for server in (broken.nats, broken.redis) if server and server.process]
    assert not any(server.process and server.process.is_running for server in running)
    assert running_stack_info(tmp_path) is None


async def test_a_start_that_is_cancelled_leaves_nothing_behind(tmp_path: Path) -> None:
    stack = a_stack(tmp_path)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stack.start(), timeout=0.15)

    assert running_stack_info(tmp_path) is None
    async with a_stack(tmp_path) as again:
        assert await databases_of(again) == ["postgres"]
    assert not list(tmp_path.glob("postgres/data-in-the-making-*"))


async def test_a_server_that_keeps_dying_is_given_up_by_name(tmp_path: Path) -> None:
    async with a_stack(tmp_path) as stack:
        keeper = asyncio.create_task(
            stack.keep_running(policy=RestartPolicy(restarts=0), on_failure=lambda _: None)
        )

        kill_all([stack.info().children["redis"]])

        with pytest.raises(TooManyRestartsError, match="redis ended again"):
            await asyncio.wait_for(keeper, timeout=5)


async def test_a_password_that_does_not_fit_the_data_is_explained(tmp_path: Path) -> None:
    async with a_stack(tmp_path):
        pass
    (tmp_path / "secrets.json").unlink()

    with pytest.raises(DataMismatchError, match="does not open the data"):
        await a_stack(tmp_path).start()


async def test_killing_the_parent_ends_all_servers_and_the_next_start_goes_on(
    tmp_path: Path,
) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    await parent.stdout.readline()
    info = running_stack_info(tmp_path)
    assert info is not None

    parent.kill()
    await parent.wait()
    async with a_stack(tmp_path) as stack:
        databases = await databases_of(stack)
        addresses = stack.info().addresses()

    assert len(info.children) == 3
    assert await all_gone(pids_of(info))
    assert databases == ["kept", "postgres"]
    assert addresses == info.addresses()


async def test_servers_that_are_killed_come_back_at_the_same_address(tmp_path: Path) -> None:
    async with a_stack(tmp_path) as stack:
        await stack.create_database("kept")
        before = stack.info()
        failures: list[Exception] = []
        keeper = asyncio.create_task(
            stack.keep_running(policy=RestartPolicy(first_pause=0.01), on_failure=failures.append)
        )

        kill_all(pids_of(before))
        await all_replaced(tmp_path, before)
        databases = await databases_of(stack)
        keeper.cancel()

    assert len(failures) == 3
    assert databases == ["kept", "postgres"]
    assert stack.info().addresses() == before.addresses()


async def test_a_stale_postmaster_file_with_a_pid_that_lives_does_not_block(tmp_path: Path) -> None:
    async with a_stack(tmp_path) as stack:
        await stack.create_database("kept")
        pid_file = tmp_path / "postgres" / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines(keepends=True)
    pid_file.write_text("".join(("1\n", *lines[1:])))

    async with a_stack(tmp_path) as again:
        databases = await databases_of(again)

    assert databases == ["kept", "postgres"]


async def test_a_long_folder_name_does_not_break_the_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)

    async with EmbeddedStack(folder, nats_users=(), durable=False, redis=False) as stack:
        databases = await databases_of(stack)
        children = stack.info().children

    assert databases == ["postgres"]
    assert sorted(children) == ["nats", "postgres"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lays root down")
async def test_where_namespaces_are_refused_root_starts_postgres_as_a_system_user(
    tmp_path: Path,
) -> None:
    server = Postgres(tmp_path / "postgres", port=free_port(), durable=False, run_as="nobody")

    await server.start()
    try:
        assert server.process is not None
        owner = Path(f"/proc/{server.process.pid}").stat().st_uid
        await server.create_database("shop")
    finally:
        await server.stop()

    assert owner != 0


async def test_users_are_let_in_and_held_to_their_permissions_without_a_restart(
    tmp_path: Path,
) -> None:
    async with a_stack(tmp_path) as stack:
        server = stack.nats.process
        await stack.nats.add_users(
            ["payment"], {"payment": NatsPermissions(publish=("pay.>",), subscribe=("_INBOX.>",))}
        )
        errors: asyncio.Queue[Exception] = asyncio.Queue()

        client = await nats.connect(
            stack.nats_url, nkeys_seed=str(stack.nats_keys_dir / "payment.nk"), error_cb=errors.put
        )
        await client.publish("pay.out", b"")
        await client.publish("order.place", b"")
        refusal = await asyncio.wait_for(errors.get(), timeout=5)
        await client.close()

    assert stack.nats.process is server
    assert "order.place" in str(refusal)
    assert errors.empty()
