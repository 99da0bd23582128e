"""The operator's commands against real servers and hosts, as a person gives them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from bus.connection import connect
from bus.envelope import TOKEN
from bus.errors import RemoteError
from bus.jetstream import publish
from bus.requests import NatsCaller
from kernel.database import PoolSettings, open_database
from kernel.dead_letters import ORIGIN, REASON
from kernel.sql import statement
from kernel.testing.system import ADMIN_EMAIL, System, running_system

ACTS = statement("SELECT act, object FROM operator_acts ORDER BY id")


class Ended(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return msgspec.json.decode(self.out)


@pytest.fixture(scope="module")
async def system() -> AsyncIterator[System]:
    async with running_system() as running:
        yield running


async def realserv(system: System, *words: str, **environment: str) -> Ended:
    gateway = system.supervisor.configuration.data["gateway"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "kernel.cli",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "REALSERV_PROFILE": "test",
            "REALSERV__EMBEDDED__FOLDER": str(system.supervisor.folder),
            "REALSERV__GATEWAY__PORT": str(gateway["port"]),
            "REALSERV__GATEWAY__INTERNAL_PORT": str(gateway["internal_port"]),
            **environment,
        },
    )
    out, err = await process.communicate()
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def state_of(system: System, plugin: str) -> dict[str, Any]:
    rows = (await realserv(system, "plugin", "list", "--json")).data
    found: dict[str, Any] = next(row for row in rows if row["plugin"] == plugin)
    return found


async def until_status(system: System, path: str, status: int) -> httpx.Response:
    async with asyncio.timeout(15):
        while True:
            answer = await system.http.get(path)
            if answer.status_code == status:
                return answer
            await asyncio.sleep(0.1)


async def test_the_list_names_every_plugin_with_its_hosts(system: System) -> None:
    found = (await realserv(system, "plugin", "list", "--json")).data

    assert {row["plugin"] for row in found} == set(system.supervisor.plugins)
    assert {(row["state"], *row["hosts"]) for row in found} == {("running", "host1")}


async def test_what_others_need_is_not_switched_off_behind_their_back(system: System) -> None:
    ended = await realserv(system, "plugin", "disable", "vendor")

    assert ended.code == 1
    assert "vendor is needed by catalog, order" in ended.err
    assert (await state_of(system, "vendor"))["state"] == "running"


async def test_a_plugin_that_is_switched_off_answers_503_until_it_is_on_again(
    system: System,
) -> None:
    path = "/catalog/products"

    off = await realserv(
        system, "plugin", "disable", "catalog", "--cascade", "--reason", "stock-taking"
    )
    await until_status(system, path, 503)
    state = await state_of(system, "order")
    on = await realserv(system, "plugin", "enable", "order", "--cascade")
    await until_status(system, path, 200)
    await realserv(system, "plugin", "reset", "order")
    await realserv(system, "plugin", "reset", "catalog")

    assert (off.code, off.out) == (0, "disabled: order, catalog\n")
    assert state["override"]["switch"] == "disabled"
    assert state["override"]["reason"] == "needs catalog: stock-taking"
    assert (on.code, on.out) == (0, "enabled: catalog, order\n")
    assert (await state_of(system, "order"))["override"] is None


async def test_an_unknown_plugin_is_refused_in_one_line(system: System) -> None:
    ended = await realserv(system, "plugin", "disable", "nonsense")

    assert ended.code == 1
    assert ended.err.startswith("There is no plugin nonsense. Installed are catalog,")
    assert ended.err.count("\n") == 1


async def test_a_token_speaks_for_its_user_on_the_bus_and_is_written_down(system: System) -> None:
    issued = (await realserv(system, "token", "--as", ADMIN_EMAIL, "--minutes", "2", "--json")).data
    bus = system.supervisor.configuration.data["bus"]
    seed = Path(bus["keys_dir"], "cli.nk")
    connection = await connect(bus["servers"], name="test-cli", seed_file=seed)
    caller = NatsCaller(connection)

    reply = await caller.request("qry.identity.get_me.v1", b"{}", {TOKEN: issued["token"]}, 5)
    with pytest.raises(RemoteError) as refusal:
        await caller.request("qry.identity.get_me.v1", b"{}", {}, 5)
    over_http = await system.http.get(
        "/identity/me", headers={"Authorization": f"Bearer {issued['token']}"}
    )
    await connection.close()

    me = msgspec.json.decode(reply.payload)
    kernel = system.supervisor.configuration.data["kernel"]["database"]
    database = await open_database(kernel, PoolSettings())
    acts = [(row["act"], row["object"]) for row in await database.fetch(ACTS)]
    await database.close()
    assert me["email"] == ADMIN_EMAIL
    assert refusal.value.wire.status == 401
    assert over_http.status_code == 401
    assert ("token for 2 min", me["user_id"]) in acts


async def test_nobody_gets_a_token_for_a_user_that_does_not_exist(system: System) -> None:
    ended = await realserv(system, "token", "--as", "nobody@realserv.example")

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1


async def test_the_nats_context_lets_the_operator_in(system: System, tmp_path: Path) -> None:
    ended = await realserv(system, "nats-context", "--save", XDG_CONFIG_HOME=str(tmp_path))
    context = msgspec.json.decode((tmp_path / "nats" / "context" / "realserv.json").read_bytes())
    lines = await realserv(system, "nats-context")

    connection = await connect(context["url"], name="test-context", seed_file=Path(context["nkey"]))
    is_connected = connection.is_connected
    await connection.close()

    assert ended.code == 0
    assert is_connected
    assert lines.out == f"export NATS_URL={context['url']}\nexport NATS_NKEY={context['nkey']}\n"


async def test_dead_letters_are_listed_by_plugin_and_handler(system: System) -> None:
    bus = system.supervisor.configuration.data["bus"]
    connection = await connect(
        bus["servers"], name="test-dlq", seed_file=Path(bus["keys_dir"], "admin.nk")
    )
    headers = {
        "ce-id": "01999b3e-7c00-7abc-8def-0123456789ab",
        "ce-type": "order.order_placed.v1",
        ORIGIN: "EVT_ORDER",
        REASON: "order.illegal_move: no",
    }
    await publish(connection, "dlq.vendor.order_placed", b"{}", headers)
    await publish(connection, "dlq.payment.order_placed", b"{}", headers)
    await connection.close()

    found = await realserv(system, "dlq", "list", "--plugin", "vendor", "--json")
    none = await realserv(system, "dlq", "list", "--plugin", "vendor", "--handler", "other")
    table = await realserv(system, "dlq", "list", "--limit", "1")

    assert [
        (row["plugin"], row["handler"], row["reason"], row["message_id"]) for row in found.data
    ] == [("vendor", "order_placed", "order.illegal_move: no", headers["ce-id"])]
    assert none.out == "There are no dead letters.\n"
    assert "payment" in table.out
    assert "vendor" not in table.out


async def test_the_doctor_finds_nothing_wrong_with_a_healthy_system(system: System) -> None:
    ended = await realserv(system, "doctor", "--json")

    assert [row for row in ended.data if row["status"] == "fault"] == []
    assert ended.code == 0


async def test_the_doctor_names_a_credential_that_others_can_read(system: System) -> None:
    seed = Path(system.supervisor.configuration.data["bus"]["keys_dir"], "order.nk")
    seed.chmod(0o644)

    ended = await realserv(system, "doctor", "--json")
    seed.chmod(0o600)

    assert ended.code == 1
    assert [row["advice"] for row in ended.data if row["status"] == "fault"] == [
        f"chmod 600 {seed}"
    ]


async def test_the_doctor_says_which_stream_is_missing(system: System) -> None:
    bus = system.supervisor.configuration.data["bus"]
    connection = await connect(
        bus["servers"], name="test-doctor", seed_file=Path(bus["keys_dir"], "deployer.nk")
    )
    await connection.client.request("$JS.API.STREAM.DELETE.AUDIT", b"", timeout=5)
    await connection.close()

    ended = await realserv(system, "doctor", "--json")
    mended = await realserv(system, "migrate")

    assert ended.code == 1
    assert [(row["found"], row["advice"]) for row in ended.data if row["status"] == "fault"] == [
        ("to create: AUDIT", "run: realserv migrate")
    ]
    assert "create AUDIT" in mended.out


async def test_the_configuration_is_shown_without_secrets(system: System) -> None:
    ended = await realserv(system, "config", "show", "--json")

    section = system.supervisor.configuration.data["plugins"]["identity"]
    assert ended.data["plugins"]["identity"]["signing_key"] == "***"
    assert section["signing_key"] not in ended.out
    assert ended.data["database"]["url"].startswith("postgresql://***@")
