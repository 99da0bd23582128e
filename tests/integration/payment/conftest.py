"""A stand-in per test over real HTTP on the loopback, and the adapter that talks to it."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, NamedTuple

import httpx
import pytest

from kernel.embedded.ports import free_port
from kernel.settings import Secret
from plugins.payment.adapters.razorpay import RazorpayProvider, razorpay
from plugins.payment.settings import PaymentSettings
from plugins.payment.standin.app import serving
from plugins.payment.standin.office import Options

OPTIONS = Options(
    key_id="rzp_test_1",
    key_secret="the key's secret",
    webhook_url="",
    webhook_secret="the webhook's secret",
    old_webhook_secret="the former secret",
)


class StandIn(NamedTuple):
    """A running stand-in and the client of its own surface."""

    base_url: str
    control: httpx.AsyncClient

    async def pay(self, order_id: str, **how: Any) -> dict[str, Any]:
        """Pay as a buyer would; returns what the checkout page hands to the browser."""
        return await self.do(f"/standin/orders/{order_id}/pay", **how)

    async def do(self, path: str, **body: Any) -> dict[str, Any]:
        response = await self.control.post(path, json=body)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    async def set(self, path: str, **body: Any) -> None:
        (await self.control.put(path, json=body)).raise_for_status()

    async def books(self) -> dict[str, list[dict[str, Any]]]:
        books: dict[str, list[dict[str, Any]]] = (await self.control.get("/standin/books")).json()
        return books


def settings_for(base_url: str, **overrides: Any) -> PaymentSettings:
    given: dict[str, Any] = {
        "key_id": OPTIONS.key_id,
        "key_secret": Secret(OPTIONS.key_secret),
        "webhook_secrets": (
            Secret(OPTIONS.webhook_secret),
            Secret(OPTIONS.old_webhook_secret),
        ),
        "base_url": base_url,
        "timeout": timedelta(seconds=2),
        "retries": 2,
    }
    return PaymentSettings(**given | overrides)


@pytest.fixture
def webhook_port() -> int:
    """Where webhooks would be delivered."""
    return free_port()


@pytest.fixture
async def standin(webhook_port: int) -> AsyncIterator[StandIn]:
    """A stand-in with empty books."""
    options = Options(
        key_id=OPTIONS.key_id,
        key_secret=OPTIONS.key_secret,
        webhook_url=f"http://127.0.0.1:{webhook_port}/webhooks",
        webhook_secret=OPTIONS.webhook_secret,
        old_webhook_secret=OPTIONS.old_webhook_secret,
    )
    port = free_port(taken=[webhook_port])
    async with (
        serving(options, port) as base_url,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as control,
    ):
        yield StandIn(base_url, control)


@pytest.fixture
async def provider(standin: StandIn) -> AsyncIterator[RazorpayProvider]:
    """The adapter, pointed at the stand-in."""
    async with razorpay(settings_for(standin.base_url)) as opened:
        yield opened
