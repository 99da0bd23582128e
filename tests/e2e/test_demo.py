"""``realserv seed`` and ``realserv demo`` against a whole system, as commands of their own."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from kernel.testing.system import System, running_system
from plugins.catalog.contract import ProductList
from plugins.demo.api import Api
from plugins.demo.books import Summary
from plugins.demo.catalogue import demo_catalogue
from plugins.demo.cli import Seeded

SECONDS = 90.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    output: bytes
    complaint: str


class Shell:
    """Runs commands where the system's generated configuration is known."""

    def __init__(self, system: System) -> None:
        self.system = system

    async def run(self, *words: str, config: Path | None = None) -> Ended:
        """Run ``realserv`` to its end."""
        generated = config or self.system.supervisor.generated_file
        command = (*words, "--profile", "test", "--config", str(generated))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kernel.cli",
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, complaint = await asyncio.wait_for(process.communicate(), SECONDS)
        return Ended(process.returncode or 0, output, complaint.decode())


@pytest.fixture(scope="module")
async def shell() -> AsyncIterator[Shell]:
    """A system of its own, empty at first."""
    async with running_system("one-local") as system:
        yield Shell(system)


@pytest.fixture(scope="module")
async def first(shell: Shell) -> Seeded:
    """What seeding an empty market did."""
    ended = await shell.run("seed", "--if-empty", "--json")
    assert ended.code == 0, ended.complaint
    return msgspec.json.decode(ended.output, type=Seeded)


async def test_an_empty_market_gets_the_whole_catalogue(shell: Shell, first: Seeded) -> None:
    catalogue = demo_catalogue()

    page = await Api(shell.system.http).get("/catalog/products", ProductList, limit=100)

    offers = sum(len(vendor.offers) for vendor in catalogue.vendors)
    assert (first.products, first.vendors, first.offers) == (len(catalogue.products), 6, offers)
    assert len(page.items) == len(catalogue.products)
    assert sum(item.offers for item in page.items) == offers


@pytest.mark.usefixtures("first")
async def test_seeding_a_second_time_adds_nothing(shell: Shell) -> None:
    again = await shell.run("seed", "--json")
    unless_empty = await shell.run("seed", "--if-empty", "--json")

    seeded = msgspec.json.decode(again.output, type=Seeded)
    assert (seeded.products, seeded.vendors, seeded.offers) == (0, 0, 0)
    assert seeded.present > 0
    assert msgspec.json.decode(unless_empty.output, type=Seeded).skipped


@pytest.mark.usefixtures("first")
async def test_a_day_of_the_market_adds_up(shell: Shell) -> None:
    ended = await shell.run("demo", "--orders", "9", "--json")

    assert ended.code == 0, ended.complaint
    summary = msgspec.json.decode(ended.output, type=Summary)
    assert summary.faults == ()
    assert summary.orders == sum(row.orders for row in summary.by_status) == 9
    assert {row.status for row in summary.by_status} == {"completed", "cancelled"}
    assert summary.reassigned >= 1
    assert summary.cash.amount > 0
    assert summary.paid.amount > 0


async def test_a_system_that_is_not_there_ends_in_one_line(shell: Shell, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.toml"
    nowhere.write_text(
        "[gateway]\nport = 9\n[bus]\nservers = 'nats://127.0.0.1:9'\n"
        "[plugins.identity]\nadmin_password = 'an admin of nowhere'\n"
    )

    ended = await shell.run("seed", config=nowhere)

    assert ended.code == 1
    assert ended.complaint.strip().startswith("No system answers at http://127.0.0.1:9/api/v1")
    assert len(ended.complaint.strip().splitlines()) == 1


async def test_a_system_whose_administrator_is_not_known_is_a_matter_of_configuration(
    shell: Shell, tmp_path: Path
) -> None:
    unknown = tmp_path / "unknown.toml"
    unknown.write_text("[bus]\nservers = 'nats://127.0.0.1:9'\n")

    ended = await shell.run("demo", config=unknown)

    assert ended.code == 2
    assert "plugins.identity.admin_password" in ended.complaint
