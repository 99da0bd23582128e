"""``realserv up`` as a process: it stops in time, finds its data again, and says what is wrong."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import pytest

from kernel.config import load_configuration
from kernel.embedded.ports import free_port
from kernel.testing.market import Market, Person, an_order, until
from kernel.testing.stack import throwaway_folder
from kernel.testing.system import ADMIN_EMAIL, ADMIN_PASSWORD

PATIENCE: Final = 20.0
"""Seconds after which a process that does not stop fails its test: twice what is promised, for busy machines."""


@pytest.fixture
def home() -> Iterator[dict[str, str]]:
    """The environment of a system of its own: data folder, ports, administrator."""
    with throwaway_folder() as folder:
        port = free_port()
        yield {
            **os.environ,
            "REALSERV_PROFILE": "test",
            "REALSERV__EMBEDDED__FOLDER": str(folder / "data"),
            "REALSERV__EMBEDDED__HOSTS": "1",
            "REALSERV__GATEWAY__PORT": str(port),
            "REALSERV__GATEWAY__INTERNAL_PORT": str(free_port(taken=[port])),
            "REALSERV__PLUGINS__IDENTITY__ADMIN_EMAIL": ADMIN_EMAIL,
            "REALSERV__PLUGINS__IDENTITY__ADMIN_PASSWORD": ADMIN_PASSWORD,
        }


class Up:
    """A running ``realserv up``."""

    def __init__(self, process: asyncio.subprocess.Process, http: httpx.AsyncClient) -> None:
        self.process = process
        self.http = http

    async def end(self, request: signal.Signals) -> float:
        """Ask it to stop; returns the seconds that took."""
        clock = asyncio.get_running_loop().time
        asked = clock()
        self.process.send_signal(request)
        await asyncio.wait_for(self.process.wait(), PATIENCE)
        return clock() - asked


async def started(environment: Mapping[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "kernel.cli", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )


async def complaint_of(environment: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Run a command that must fail; returns its exit code and all that it printed."""
    process = await started(environment, *arguments)
    printed, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    return process.returncode, " ".join(printed.decode().split())


@asynccontextmanager
async def up(environment: Mapping[str, str]) -> AsyncIterator[Up]:
    """Start a system and wait until it is ready; in the end it is asked to stop if it still runs."""
    url = f"http://127.0.0.1:{environment['REALSERV__GATEWAY__PORT']}"
    process = await started(environment, "up")
    try:
        async with httpx.AsyncClient(base_url=f"{url}/api/v1", timeout=20) as http:

            async def is_ready() -> bool:
                if process.returncode is not None:
                    assert process.stdout is not None
                    raise RuntimeError((await process.stdout.read()).decode())
                try:
                    return (await http.get(f"{url}/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(is_ready, within=90)
            yield Up(process, http)
    finally:
        if process.returncode is None:
            process.terminate()
            await asyncio.wait_for(process.wait(), PATIENCE)


async def an_order_of_its_own(http: httpx.AsyncClient) -> tuple[Person, str]:
    """Open a market, and place an order in it."""
    market = await Market.enter(http, ADMIN_EMAIL, ADMIN_PASSWORD)
    shop, buyer = await market.shop(), await market.buyer()
    order = await buyer.post("/orders", an_order(await shop.stocked()))
    return buyer, order["order_id"]


async def test_it_stops_with_a_live_stream_open_and_finds_its_data_again(
    home: dict[str, str],
) -> None:
    async with up(home) as first:
        buyer, order_id = await an_order_of_its_own(first.http)
        headers = {"Authorization": f"Bearer {buyer.tokens['access_token']}"}
        path = f"/orders/{order_id}/live"
        async with first.http.stream("GET", path, headers=headers, timeout=60) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            await first.end(signal.SIGINT)

    async with up(home) as second:
        buyer.http = second.http
        await buyer.log_in()
        order = await buyer.get(f"/orders/{order_id}")

    assert first.process.returncode == 0
    assert order["status"] == "confirmed"


async def test_a_killed_supervisor_takes_its_children_along(home: dict[str, str]) -> None:
    async with up(home) as first:
        _, order_id = await an_order_of_its_own(first.http)
        first.process.kill()
        await first.process.wait()

    async with up(home) as second:
        market = await Market.enter(second.http, ADMIN_EMAIL, ADMIN_PASSWORD)
        order = await market.admin.get(f"/orders/{order_id}")

    assert order["order_id"] == order_id


async def test_a_running_instance_is_found_and_named(home: dict[str, str]) -> None:
    async with up(home) as first:
        code, complaint = await complaint_of(home, "up")
        served = await first.http.get("/catalog/products")
        await first.end(signal.SIGTERM)

    assert code == 1
    assert "already running" in complaint
    assert str(first.process.pid) in complaint
    assert f"127.0.0.1:{home['REALSERV__GATEWAY__PORT']}" in complaint
    assert "Traceback" not in complaint
    assert served.status_code == 200
    assert first.process.returncode == 0


async def test_a_port_in_use_is_named(home: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(home["REALSERV__GATEWAY__PORT"])))
        taken.listen()

        code, complaint = await complaint_of(home, "up")

    assert code == 2
    assert f"port {home['REALSERV__GATEWAY__PORT']} is in use" in complaint
    assert "REALSERV__GATEWAY__PORT" in complaint


async def test_all_faults_of_the_configuration_are_named_at_once(home: dict[str, str]) -> None:
    wrong = {
        "REALSERV__PLUGINS__ORDER__PAYMNT_WINDOW": "PT15M",
        "REALSERV__PLUGINS__CATALOG__CHECKS_PER_SECOND": "many",
        "REALSERV__GATEWEY__PORT": "8000",
    }

    code, complaint = await complaint_of({**home, **wrong}, "up")

    assert code == 2
    assert "plugins.order.paymnt_window is not known" in complaint
    assert "plugins.catalog.checks_per_second" in complaint
    assert "[gatewey] is not known" in complaint


async def test_a_missing_secret_is_named_and_not_made_up_in_production(
    home: dict[str, str],
) -> None:
    bare = {k: v for k, v in home.items() if not k.startswith("REALSERV__PLUGINS__IDENTITY")}

    code, complaint = await complaint_of({**bare, "REALSERV_PROFILE": "production"}, "up")

    assert code == 2
    assert "plugins.identity.signing_key is missing" in complaint
    assert "plugins.identity.admin_password is missing" in complaint
    assert "plugins.payment.key_secret is missing" in complaint


async def test_a_database_of_a_newer_version_is_refused(home: dict[str, str]) -> None:
    async with up(home) as first:
        generated = Path(home["REALSERV__EMBEDDED__FOLDER"]) / "generated.toml"
        address = load_configuration(profile="test", extra=[generated]).plugin_database("order")
        connection = await asyncpg.connect(address)
        moved = await connection.execute("UPDATE alembic_version SET version_num = '9999'")
        await connection.close()
        await first.end(signal.SIGTERM)

    code, complaint = await complaint_of(home, "up")

    assert moved == "UPDATE 1"
    assert code == 1
    assert "order" in complaint
    assert "newer version" in complaint
    assert "Traceback" not in complaint
