"""Fixtures for all tests: real servers, started once per test process when the first test asks for them."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kernel.embedded.stack import EmbeddedStack
from kernel.testing.stack import fresh_database, running_stack


@pytest.fixture(scope="session")
async def stack() -> AsyncIterator[EmbeddedStack]:
    """PostgreSQL, NATS and Redis of this test process alone, on ports and data of their own."""
    with tempfile.TemporaryDirectory(prefix="realserv-") as folder:
        async with running_stack(Path(folder)) as running:
            yield running


@pytest.fixture
async def database(stack: EmbeddedStack) -> AsyncIterator[str]:
    """The address of an empty database that only this test sees."""
    async with fresh_database(stack) as address:
        yield address
