"""A database for each test, on a PostgreSQL of this run alone."""

from collections.abc import AsyncIterator

import pytest

from kernel.embedded.stack import EmbeddedStack
from kernel.testing.stack import fresh_database, running_stack, throwaway_folder


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[EmbeddedStack]:
    """Real servers, thrown away after the run."""
    with throwaway_folder() as folder:
        async with running_stack(folder) as running:
            yield running


@pytest.fixture
async def database(stack: EmbeddedStack) -> AsyncIterator[str]:
    """The address of an empty database that only this test sees."""
    async with fresh_database(stack) as address:
        yield address
