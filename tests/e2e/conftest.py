"""One running system for each topology, started once, and the people of its market.

``REALSERV_E2E_TOPOLOGIES=one-local,split`` runs in these alone.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from kernel.testing.market import Market, Shop
from kernel.testing.system import ADMIN_EMAIL, ADMIN_PASSWORD, System, Topology, running_system

TOPOLOGIES: Final = ("one-local", "one-bus", "split")
HERE: Final = Path(__file__).parent
TALKATIVE: Final = {"telemetry": {"log_level": "debug"}}
"""Whatever can be logged is, so that the logs can be searched for what must not stand there."""
Rows = Callable[..., Awaitable[list[Any]]]


def pytest_configure(config: pytest.Config) -> None:
    """Name the mark by which a test says where it runs."""
    config.addinivalue_line("markers", "topologies(*names): run in these topologies alone")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what asks for a topology in each of them."""
    if "topology" in metafunc.fixturenames:
        chosen = os.environ.get("REALSERV_E2E_TOPOLOGIES", ",".join(TOPOLOGIES)).split(",")
        metafunc.parametrize("topology", chosen, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop what does not fit its topology."""
    dropped = [item for item in items if HERE in item.path.parents and not _fits(item)]
    for item in dropped:
        items.remove(item)
    config.hook.pytest_deselected(items=dropped)


def _fits(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("topologies")
    return marker is None or item.callspec.params["topology"] in marker.args  # type: ignore[attr-defined]  # only such tests carry the mark


@pytest.fixture(scope="session")
async def system(topology: Topology) -> AsyncIterator[System]:
    """The system of a topology."""
    async with running_system(topology, overrides=TALKATIVE) as running:
        yield running


@pytest.fixture(scope="session")
async def market(system: System) -> Market:
    """The system as people see it."""
    return await Market.enter(system.http, ADMIN_EMAIL, ADMIN_PASSWORD)


@pytest.fixture(scope="session")
async def shop(market: Market) -> Shop:
    """An approved vendor with room for many orders."""
    return await market.shop()


@pytest.fixture
def rows(system: System) -> Rows:
    """A way to look into the plugins' databases: ``await rows("order", "SELECT …", …)``."""

    async def fetch(plugin: str, sql: str, *arguments: object) -> list[Any]:
        connection = await asyncpg.connect(system.database_url(plugin))
        try:
            found: list[Any] = await connection.fetch(sql, *arguments)
            return found
        finally:
            await connection.close()

    return fetch
