"""The provider's own HTTP surface, ``/v1``."""

from collections.abc import Sequence
from typing import Annotated, Any

from litestar import Controller, Request, get, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter

from plugins.payment.standin.books import Order, Payment, Refund
from plugins.payment.standin.office import Office
from plugins.payment.standin.requests import CaptureRequest, OrderRequest, RefundRequest, read

Page = Annotated[int, QueryParameter(ge=0, le=10_000)]
Count = Annotated[int, QueryParameter(ge=1, le=100)]
Call = Request[Any, Any, Any]
TheOffice = NamedDependency[Office]


def check_credentials(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Every call needs the key."""
    office: Office = connection.app.state.office
    office.check_credentials(connection.headers.get("authorization", ""))


def collection(items: Sequence[Any], count: int, skip: int) -> dict[str, Any]:
    """Return a page of a list, as Razorpay shapes it."""
    page = list(items)[skip : skip + count]
    return {"entity": "collection", "count": len(page), "items": page}


class RazorpayApi(Controller):
    """Orders, payments and refunds."""

    path = "/v1"
    guards = (check_credentials,)

    @post("/orders", status_code=200)
    async def open_order(self, request: Call, office: TheOffice) -> Order:
        """Open an order."""
        await office.faults.before()
        order = office.books.open_order(read(OrderRequest, await request.body()))
        office.faults.after()
        return order

    @get("/orders")
    async def orders(
        self,
        office: TheOffice,
        receipt: FromQuery[str | None] = None,
        count: Count = 10,
        skip: Page = 0,
    ) -> dict[str, Any]:
        """List orders, newest first."""
        await office.faults.before()
        newest = reversed(office.books.ledger.orders.values())
        found = [order for order in newest if receipt in (None, order.receipt)]
        return collection(found, count, skip)

    @get("/orders/{order_id:str}")
    async def order(self, office: TheOffice, order_id: FromPath[str]) -> Order:
        """Return an order."""
        await office.faults.before()
        return office.books.order(order_id)

    @get("/orders/{order_id:str}/payments")
    async def payments_of_order(
        self, office: TheOffice, order_id: FromPath[str], count: Count = 10, skip: Page = 0
    ) -> dict[str, Any]:
        """List the payments that were tried on an order."""
        await office.faults.before()
        return collection(office.books.payments_of(order_id), count, skip)

    @get("/payments")
    async def payments(
        self, office: TheOffice, count: Count = 10, skip: Page = 0
    ) -> dict[str, Any]:
        """List payments, newest first."""
        await office.faults.before()
        return collection(list(reversed(office.books.ledger.payments.values())), count, skip)

    @get("/payments/{payment_id:str}")
    async def payment(self, office: TheOffice, payment_id: FromPath[str]) -> Payment:
        """Return a payment."""
        await office.faults.before()
        return office.books.payment(payment_id)

    @post("/payments/{payment_id:str}/capture", status_code=200)
    async def capture(self, request: Call, office: TheOffice, payment_id: FromPath[str]) -> Payment:
        """Capture an authorised payment."""
        await office.faults.before()
        payment = office.books.capture(payment_id, read(CaptureRequest, await request.body()))
        office.faults.after()
        return payment

    @post("/payments/{payment_id:str}/refund", status_code=200)
    async def refund(self, request: Call, office: TheOffice, payment_id: FromPath[str]) -> Refund:
        """Give captured money back."""
        key = request.headers.get("x-refund-idempotency")
        body = read(RefundRequest, await request.body())
        refund = await office.refund(payment_id, body, key)
        office.faults.after()
        return refund

    @get("/payments/{payment_id:str}/refunds")
    async def refunds_of_payment(
        self, office: TheOffice, payment_id: FromPath[str], count: Count = 10, skip: Page = 0
    ) -> dict[str, Any]:
        """List the refunds of a payment."""
        await office.faults.before()
        return collection(office.books.refunds_of(payment_id), count, skip)

    @get("/payments/{payment_id:str}/refunds/{refund_id:str}")
    async def refund_of_payment(
        self, office: TheOffice, payment_id: FromPath[str], refund_id: FromPath[str]
    ) -> Refund:
        """Return a refund of a payment."""
        await office.faults.before()
        office.books.payment(payment_id)
        return office.books.refund_by_id(refund_id)

    @get("/refunds")
    async def refunds(self, office: TheOffice, count: Count = 10, skip: Page = 0) -> dict[str, Any]:
        """List refunds, newest first."""
        await office.faults.before()
        return collection(list(reversed(office.books.ledger.refunds.values())), count, skip)

    @get("/refunds/{refund_id:str}")
    async def one_refund(self, office: TheOffice, refund_id: FromPath[str]) -> Refund:
        """Return a refund."""
        await office.faults.before()
        return office.books.refund_by_id(refund_id)
