"""Fixtures for all tests: real servers, started once per test process when the first test asks for them."""

import re
from collections.abc import AsyncIterator
from typing import Final

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]  # xdist has no types
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # as above

from kernel.embedded.stack import EmbeddedStack
from kernel.testing.stack import fresh_database, running_stack, throwaway_folder

IN_TOPOLOGY: Final = re.compile(r"^tests/e2e/.*\[(one-local|one-bus|split)[-\]]")


class FilesAndTopologies(LoadFileScheduling):  # type: ignore[misc]  # as above
    """Gives whole files to the workers; all tests of running systems go to one of them.

    So each topology is started once, one after the other. (``--dist loadgroup`` would be made for
    this, but xdist 3.8 writes the group where pytest 9.2 no longer reads it.)
    """

    def _split_scope(self, nodeid: str) -> str:
        return "topologies" if IN_TOPOLOGY.search(nodeid) else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Take the place of ``--dist loadfile``."""
    return FilesAndTopologies(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[EmbeddedStack]:
    """PostgreSQL, NATS and Redis of this test process alone, on ports and data of their own."""
    with throwaway_folder() as folder:
        async with running_stack(folder) as running:
            yield running


@pytest.fixture
async def database(stack: EmbeddedStack) -> AsyncIterator[str]:
    """The address of an empty database that only this test sees."""
    async with fresh_database(stack) as address:
        yield address
