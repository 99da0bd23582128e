from collections.abc import AsyncIterator

import httpx
import pytest

from tests.unit.gateway.sample import Stage


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with stage.client() as client:
        yield client
