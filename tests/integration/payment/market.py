"""Payment at work: its real handlers on PostgreSQL, its work queue done as the worker does it, webhooks by HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar, Request, Response, post

from bus.envelope import read_envelope
from bus.errors import ServiceError
from bus.message import Command
from kernel.effects import EffectRunner
from kernel.ids import new_uuid7, to_wire
from kernel.money import Money
from kernel.settings import Secret
from kernel.sql import statement
from kernel.testing import PluginHarness, SpokenRow, an_actor
from plugins.payment.contract import (
    CancelPayment,
    CountWebhooks,
    CreatePayment,
    GetPayment,
    PaymentView,
    ReceiveRazorpayWebhook,
    VerifyPayment,
)
from plugins.payment.plugin import plugin
from plugins.payment.signatures import sign
from tests.integration.payment.conftest import OPTIONS, StandIn

RUPEES_500 = Money(50_000)
LEDGER = statement(
    """
    SELECT account, CAST(sum(amount) AS bigint) AS balance FROM ledger_lines
    GROUP BY account ORDER BY account
    """
)
UNBALANCED = statement(
    "SELECT count(*) FROM (SELECT FROM ledger_lines GROUP BY entry_id HAVING sum(amount) <> 0) AS bad"
)
BUYER = to_wire("user", new_uuid7())


async def eventually(is_true: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds; raises TimeoutError after 10 s."""
    async with asyncio.timeout(10):
        while True:
            if await is_true():
                return
            await asyncio.sleep(0.05)


class Market:
    """One payment plugin, one stand-in, and the hands between them."""

    def __init__(self, harness: PluginHarness, standin: StandIn) -> None:
        self.harness = harness
        self.standin = standin
        self.webhook_statuses: list[int] = []
        self._effects = EffectRunner(harness.runtime)
        self._specs = {
            spec.message.work_subject: spec
            for spec in plugin.of_kind("command", "effect")
            if spec.message is not None
        }
        self._lock = asyncio.Lock()

    async def create(self, *, method: str = "razorpay", amount: Money = RUPEES_500) -> str:
        """Have a payment created as an order does; nothing of the work queue is done yet."""
        payment_id = to_wire("payment", new_uuid7())
        await self.harness.tell(
            CreatePayment(
                payment_id=payment_id,
                order_id=to_wire("order", new_uuid7()),
                buyer_id=BUYER,
                method=method,  # type: ignore[arg-type]  # the tests name known methods
                amount=amount,
                pay_by=None,
            ),
            times=2,
        )
        return payment_id

    async def create_ready(self) -> str:
        """Have a payment created and opened at the provider."""
        payment_id = await self.create()
        await self.work()
        return payment_id

    async def cancel(self, payment_id: str) -> None:
        """Have a payment cancelled as an order does."""
        view = await self.view(payment_id)
        await self.harness.tell(
            CancelPayment(payment_id=payment_id, order_id=view.order_id, reason="order_cancelled"),
            times=2,
        )

    async def view(self, payment_id: str) -> PaymentView:
        """Ask for a payment as its buyer does."""
        return await self.harness.ask(
            GetPayment(payment_id=payment_id), actor=an_actor(BUYER, "payments:read")
        )

    async def pay(self, payment_id: str, **how: Any) -> dict[str, Any]:
        """Pay at the provider's checkout page."""
        view = await self.view(payment_id)
        return await self.standin.pay(view.provider_order_id or "", **how)

    async def verify(
        self, payment_id: str, paid: dict[str, Any], *, user_id: str = BUYER
    ) -> PaymentView:
        """Send the checkout page's answer as the buyer's browser does."""
        return await self.harness.ask(
            VerifyPayment(
                payment_id=payment_id,
                razorpay_order_id=paid["razorpay_order_id"],
                razorpay_payment_id=paid["razorpay_payment_id"],
                razorpay_signature=paid["razorpay_signature"],
            ),
            actor=an_actor(user_id, "payments:pay"),
        )

    async def work(self) -> None:
        """Do all that stands in the work queue, every message twice, until nothing is left."""
        async with self._lock:
            while rows := [row for row in await self.harness.spoken() if row.kind == "tell"]:
                for row in rows:
                    await self.do(row)
                    await self.do(row)

    async def do(self, row: SpokenRow) -> None:
        """Do one message of the work queue."""
        spec = self._specs[row.subject]
        envelope = read_envelope(row.headers)
        if spec.kind == "effect":
            await self._effects.run(spec, row.payload, envelope)
        else:
            await self.harness.runtime.do(spec, row.payload, envelope)

    async def until(self, payment_id: str, status: str) -> PaymentView:
        """Work until the payment has a status."""

        async def has_status() -> bool:
            await self.work()
            return (await self.view(payment_id)).status == status

        await eventually(has_status)
        return await self.view(payment_id)

    async def until_delivered(self) -> None:
        """Wait until every webhook of the stand-in was answered, then do the work."""

        async def is_delivered() -> bool:
            return all(news["is_done"] for news in (await self.standin.books())["webhooks"])

        await eventually(is_delivered)
        await self.work()

    async def take_webhook(self, body: bytes, headers: dict[str, str]) -> int:
        """Take a webhook as the gateway does; returns the HTTP status."""
        command = ReceiveRazorpayWebhook(
            body=body,
            x_razorpay_signature=headers.get("x-razorpay-signature", ""),
            x_razorpay_event_id=headers.get("x-razorpay-event-id", ""),
        )
        try:
            await self.harness.ask(command)
        except ServiceError as error:
            self.webhook_statuses.append(error.to_wire().status)
        else:
            self.webhook_statuses.append(200)
        return self.webhook_statuses[-1]

    async def take_signed(self, body: bytes) -> int:
        """Take a webhook that the provider signed, whatever it says."""
        signature = sign(Secret(OPTIONS.webhook_secret), body)
        status = await self.take_webhook(body, {"x-razorpay-signature": signature})
        await self.work()
        return status

    async def outcomes(self) -> list[str]:
        """What became of the webhooks, in no order."""
        counts = await self.harness.ask(
            CountWebhooks(), actor=an_actor(BUYER, "payments:read_any", roles=("finance",))
        )
        return [item.outcome for item in counts.items for _ in range(item.count)]

    async def waiting(self) -> SpokenRow:
        """Return the one message that stands in the work queue, to be done by ``do``."""
        [row] = [row for row in await self.harness.spoken() if row.kind == "tell"]
        return row

    async def balances(self) -> dict[str, int]:
        """The accounts of the ledger that are not empty."""
        rows = await self.harness.runtime.database.fetch(LEDGER)
        return {row["account"]: row["balance"] for row in rows if row["balance"]}

    async def unbalanced(self) -> int:
        """How many entries do not add up to zero."""
        count: int = await self.harness.runtime.database.fetchval(UNBALANCED)
        return count

    async def told(self, kind: type[Command[Any]]) -> int:
        """How often a command was told."""
        return len(await self.harness.said(kind))


@asynccontextmanager
async def webhook_listener(market: Market, port: int) -> AsyncIterator[None]:
    """Listen for the stand-in's webhooks."""

    @post("/webhooks")
    async def receive(request: Request[Any, Any, Any]) -> Response[None]:
        status = await market.take_webhook(await request.body(), dict(request.headers))
        return Response(None, status_code=status)

    app = Litestar([receive], openapi_config=None, logging_config=None)
    server = Server(
        app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False
    )
    task = asyncio.create_task(server.serve())
    try:
        yield
    finally:
        server.stop()  # type: ignore[no-untyped-call]  # Granian leaves it untyped
        await task
