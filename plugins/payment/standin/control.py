"""The stand-in's own surface, ``/standin``: buyers who pay, webhooks that go astray, books to look into."""

from typing import Any, Literal

import msgspec
from litestar import Controller, get, post, put
from litestar.params import FromPath

from plugins.payment.standin.api import Call, TheOffice
from plugins.payment.standin.books import Payment, Refund
from plugins.payment.standin.courier import Road
from plugins.payment.standin.faults import Faults
from plugins.payment.standin.refusals import no_such_id
from plugins.payment.standin.requests import Strict, read


class Pay(Strict):
    """What a buyer does at the checkout page."""

    method: Literal["upi", "card", "netbanking", "wallet"] = "upi"
    outcome: Literal["success", "fail"] = "success"
    late_authorize: float | None = None
    """Report a failure now, and a success after so many seconds."""
    capture: bool = False
    """The provider captures by itself, as somebody at its dashboard could."""
    force: bool = False
    """Pay though the order is paid or being paid."""
    keep_second: bool = False
    """Leave a second success alone, where the provider would give it back."""


class Paid(msgspec.Struct):
    """What the checkout page hands to the buyer's browser; no signature without a success."""

    razorpay_payment_id: str
    razorpay_order_id: str
    razorpay_signature: str | None
    status: str


class Late(Strict):
    """How a late authorisation ends."""

    capture: bool = False
    keep_second: bool = False


class Settle(Strict):
    """How a pending refund ends."""

    outcome: Literal["processed", "failed"] = "processed"


class Control(Controller):
    """For tests and demonstrations only."""

    path = "/standin"

    @get("/health")
    async def health(self) -> dict[str, str]:
        """Answer."""
        return {"status": "ok"}

    @get("/books")
    async def books(self, office: TheOffice) -> dict[str, Any]:
        """Return all that the provider knows."""
        ledger = office.books.ledger
        return {
            "orders": list(ledger.orders.values()),
            "payments": list(ledger.payments.values()),
            "refunds": list(ledger.refunds.values()),
            "webhooks": office.courier.sent,
        }

    @post("/orders/{order_id:str}/pay", status_code=200)
    async def pay(self, request: Call, office: TheOffice, order_id: FromPath[str]) -> Paid:
        """Pay an order as its buyer would."""
        data = read(Pay, await request.body())
        is_late = data.late_authorize is not None
        payment = office.books.pay(
            order_id,
            data.method,
            is_success=data.outcome == "success" and not is_late,
            is_forced=data.force,
            is_captured_by_provider=data.capture,
            is_second_kept=data.keep_second,
        )
        if data.late_authorize is not None:
            office.authorize_later(payment.id, data.late_authorize)
        is_signed = payment.status != "failed"
        return Paid(
            payment.id,
            order_id,
            office.checkout_signature(order_id, payment.id) if is_signed else None,
            payment.status,
        )

    @post("/payments/{payment_id:str}/authorize", status_code=200)
    async def authorize(
        self, request: Call, office: TheOffice, payment_id: FromPath[str]
    ) -> Payment:
        """Have a failed payment authorised after all."""
        data = read(Late, await request.body())
        return office.books.authorize_late(
            payment_id, is_captured_by_provider=data.capture, is_second_kept=data.keep_second
        )

    @post("/payments/{payment_id:str}/expire", status_code=200)
    async def expire(self, office: TheOffice, payment_id: FromPath[str]) -> Payment:
        """Have an authorisation run out."""
        return office.books.expire(payment_id)

    @post("/refunds/{refund_id:str}/settle", status_code=200)
    async def settle(self, request: Call, office: TheOffice, refund_id: FromPath[str]) -> Refund:
        """End a pending refund."""
        data = read(Settle, await request.body())
        return office.books.settle_refund(refund_id, is_processed=data.outcome == "processed")

    @put("/road")
    async def set_road(self, request: Call, office: TheOffice) -> Road:
        """Say how webhooks travel from now on."""
        data = read(Road, await request.body())
        office.courier.road = data
        return data

    @post("/road/release", status_code=200)
    async def release(self, office: TheOffice) -> dict[str, int]:
        """Deliver the webhooks that were held, newest first."""
        return {"released": office.courier.release()}

    @post("/webhooks/{event_id:str}/deliver", status_code=200)
    async def deliver(self, office: TheOffice, event_id: FromPath[str]) -> dict[str, str]:
        """Deliver one event again."""
        if not office.courier.deliver_again(event_id):
            raise no_such_id()
        return {"delivered": event_id}

    @put("/faults")
    async def set_faults(self, request: Call, office: TheOffice) -> Faults:
        """Say what goes wrong from now on."""
        data = read(Faults, await request.body())
        office.faults = data
        return data
