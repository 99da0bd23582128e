"""The provider's books: orders, payments and refunds, with the rules under which they change."""

import secrets
import string
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any, Final, Literal, TypeVar

import msgspec

from plugins.payment.standin.refusals import Refusal, no_such_id
from plugins.payment.standin.requests import (
    CaptureRequest,
    OrderRequest,
    RefundRequest,
    check_idempotency_key,
    check_notes,
    check_order,
    check_text,
)

T = TypeVar("T")
Announce = Callable[[str, Mapping[str, Any]], None]
_ALPHABET: Final = string.ascii_letters + string.digits


def new_id(prefix: str) -> str:
    """Return an id as Razorpay shapes them: ``order_`` and 14 letters or digits."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(14))}"


def _now() -> int:
    return int(time.time())


class Order(msgspec.Struct, kw_only=True):
    """What is to be paid once, by any number of tries."""

    id: str
    entity: str = "order"
    amount: int
    amount_paid: int = 0
    amount_due: int
    currency: str = "INR"
    receipt: str | None = None
    status: Literal["created", "attempted", "paid"] = "created"
    attempts: int = 0
    notes: Any = []
    """A map, or ``[]`` when there are none: so the provider writes it."""
    created_at: int


class Payment(msgspec.Struct, kw_only=True):
    """One try to pay."""

    id: str
    entity: str = "payment"
    amount: int
    currency: str = "INR"
    status: Literal["created", "authorized", "captured", "refunded", "failed"]
    order_id: str
    method: str
    captured: bool = False
    amount_refunded: int = 0
    refund_status: Literal["partial", "full"] | None = None
    email: str = "buyer@standin.example"
    contact: str = "+919000000000"
    notes: Any = []
    fee: int | None = None
    tax: int | None = None
    error_code: str | None = None
    error_description: str | None = None
    error_reason: str | None = None
    acquirer_data: dict[str, str | None] = {}
    created_at: int


class Refund(msgspec.Struct, kw_only=True):
    """Money given back."""

    id: str
    entity: str = "refund"
    amount: int
    currency: str = "INR"
    payment_id: str
    receipt: str | None = None
    status: Literal["pending", "processed", "failed"] = "pending"
    speed_requested: str = "normal"
    speed_processed: str = "normal"
    notes: Any = []
    acquirer_data: dict[str, str | None] = {}
    created_at: int


class KeptRefund(msgspec.Struct):
    """What was asked under an idempotency key, and the refund that came of it."""

    digest: str
    refund_id: str


class Ledger(msgspec.Struct):
    """Everything that a restart must keep."""

    orders: dict[str, Order] = {}
    payments: dict[str, Payment] = {}
    refunds: dict[str, Refund] = {}
    keys: dict[str, KeptRefund] = {}
    automatic: list[str] = []
    """Orders whose payments the provider captures by itself."""


class Books:
    """Applies the provider's rules and announces what happened."""

    def __init__(self, ledger: Ledger, announce: Announce) -> None:
        self.ledger = ledger
        self._announce = announce

    # Look-ups

    def order(self, order_id: str) -> Order:
        """Return an order or refuse."""
        return _found(self.ledger.orders, order_id)

    def payment(self, payment_id: str) -> Payment:
        """Return a payment or refuse."""
        return _found(self.ledger.payments, payment_id)

    def refund_by_id(self, refund_id: str) -> Refund:
        """Return a refund or refuse."""
        return _found(self.ledger.refunds, refund_id)

    def payments_of(self, order_id: str) -> list[Payment]:
        """Return the payments tried on an order, newest first."""
        self.order(order_id)
        return [p for p in reversed(self.ledger.payments.values()) if p.order_id == order_id]

    def refunds_of(self, payment_id: str) -> list[Refund]:
        """Return the refunds of a payment, newest first."""
        self.payment(payment_id)
        return [r for r in reversed(self.ledger.refunds.values()) if r.payment_id == payment_id]

    # What the merchant does

    def open_order(self, request: OrderRequest) -> Order:
        """Open an order. Without ``unique_receipt`` the same receipt opens a second one."""
        check_order(request)
        if request.unique_receipt and request.receipt is not None:
            for order in self.ledger.orders.values():
                if order.receipt == request.receipt:
                    return self._same_order(order, request)
        order = Order(
            id=new_id("order"),
            amount=request.amount,
            amount_due=request.amount,
            receipt=request.receipt,
            notes=request.notes or [],
            created_at=_now(),
        )
        self.ledger.orders[order.id] = order
        if request.payment is None or request.payment.capture == "automatic":
            self.ledger.automatic.append(order.id)
        return order

    def _same_order(self, order: Order, request: OrderRequest) -> Order:
        if order.amount != request.amount:
            raise Refusal("Order with this receipt already exists.", field="receipt")
        return order

    def capture(self, payment_id: str, request: CaptureRequest) -> Payment:
        """Capture the whole authorised amount, once."""
        payment = self.payment(payment_id)
        if payment.captured:
            raise Refusal("This payment has already been captured", reason="invalid_state")
        if payment.status != "authorized":
            raise Refusal(
                "Only payments which have been authorized and not yet captured can be captured",
                reason="invalid_state",
            )
        if (request.amount, request.currency) != (payment.amount, payment.currency):
            raise Refusal("Capture amount must be equal to the amount authorized", field="amount")
        if self.order(payment.order_id).status == "paid":
            raise Refusal("Order is already paid", reason="invalid_state")
        self._capture(payment)
        return payment

    def refund(self, payment_id: str, request: RefundRequest, key: str | None) -> Refund:
        """Give captured money back; the same key and body again is the same refund."""
        check_idempotency_key(key)
        check_text(request.receipt, "receipt")
        check_notes(request.notes)
        digest = sha256(payment_id.encode() + msgspec.json.encode(request)).hexdigest()
        kept = self.ledger.keys.get(key or "")
        if kept is not None:
            if kept.digest != digest:
                raise Refusal(
                    "Different request with the same idempotency key has already been processed.",
                    reason="NA",
                )
            return self.refund_by_id(kept.refund_id)
        payment = self.payment(payment_id)
        amount = self._refundable(payment, request.amount)
        refund = self._give_back(payment, amount, request.receipt, request.speed)
        if key:
            self.ledger.keys[key] = KeptRefund(digest, refund.id)
        return refund

    def _refundable(self, payment: Payment, asked: int | None) -> int:
        if not payment.captured:
            raise Refusal(
                "The payment status should be captured for action to be taken",
                reason="invalid_state",
            )
        left = payment.amount - payment.amount_refunded
        if left == 0:
            raise Refusal("The payment has been fully refunded already", reason="invalid_state")
        amount = left if asked is None else asked
        if amount < 100:
            raise Refusal("The amount must be at least INR 1.00", field="amount")
        if amount > left:
            raise Refusal(
                "The refund amount provided is greater than amount captured", field="amount"
            )
        return amount

    # What buyers, banks and the provider itself do

    def pay(
        self,
        order_id: str,
        method: str,
        *,
        is_success: bool,
        is_forced: bool = False,
        is_captured_by_provider: bool = False,
        is_second_kept: bool = False,
    ) -> Payment:
        """Try to pay an order. ``is_forced`` lets a second success through, as a race of banks does;
        the provider gives it back by itself, unless ``is_second_kept``.
        """
        order = self.order(order_id)
        if not is_forced:
            self._check_payable(order)
        payment = Payment(
            id=new_id("pay"),
            amount=order.amount,
            status="created",
            order_id=order.id,
            method=method,
            created_at=_now(),
        )
        self.ledger.payments[payment.id] = payment
        order.attempts += 1
        if order.status == "created":
            order.status = "attempted"
        if is_success:
            self._succeed(payment, is_captured_by_provider, is_second_kept)
        else:
            self._fail(payment)
        return payment

    def authorize_late(
        self,
        payment_id: str,
        *,
        is_captured_by_provider: bool = False,
        is_second_kept: bool = False,
    ) -> Payment:
        """The bank says yes after all, though the payment was reported as failed."""
        payment = self.payment(payment_id)
        if payment.status != "failed":
            raise Refusal("Only a failed payment can be authorised late", reason="invalid_state")
        payment.error_code = payment.error_description = payment.error_reason = None
        self._succeed(payment, is_captured_by_provider, is_second_kept)
        return payment

    def expire(self, payment_id: str) -> Payment:
        """Give back an authorisation that nobody captured in time."""
        payment = self.payment(payment_id)
        if payment.status != "authorized":
            raise Refusal("Only an authorised payment can expire", reason="invalid_state")
        refund = self._give_back(payment, payment.amount, None, "normal")
        self.settle_refund(refund.id, is_processed=True)
        return payment

    def settle_refund(self, refund_id: str, *, is_processed: bool) -> Refund:
        """End a pending refund."""
        refund = self.refund_by_id(refund_id)
        if refund.status != "pending":
            return refund
        payment = self.payment(refund.payment_id)
        if is_processed:
            refund.status = "processed"
            refund.acquirer_data = {"arn": str(10**13 + secrets.randbelow(10**13))}
        else:
            refund.status = "failed"
            payment.amount_refunded -= refund.amount
            payment.refund_status = "partial" if payment.amount_refunded else None
            payment.status = "captured" if payment.captured else "authorized"
        self._announce(f"refund.{refund.status}", {"refund": refund, "payment": payment})
        return refund

    def _check_payable(self, order: Order) -> None:
        if order.status == "paid":
            raise Refusal("Order is already paid", reason="invalid_state")
        if any(p.status == "authorized" for p in self.payments_of(order.id)):
            raise Refusal(
                "A payment on this order is authorized; another one is not allowed",
                reason="invalid_state",
            )

    def _succeed(
        self, payment: Payment, is_captured_by_provider: bool, is_second_kept: bool
    ) -> None:
        was_paid = self.order(payment.order_id).status == "paid"
        payment.status = "authorized"
        payment.acquirer_data = {"rrn": str(secrets.randbelow(10**12)).zfill(12)}
        self._announce("payment.authorized", {"payment": payment})
        if is_captured_by_provider or payment.order_id in self.ledger.automatic:
            self._capture(payment)
        if was_paid and not is_second_kept:
            refund = self._give_back(payment, payment.amount, None, "normal")
            self.settle_refund(refund.id, is_processed=True)

    def _fail(self, payment: Payment) -> None:
        payment.status = "failed"
        payment.error_code = "BAD_REQUEST_ERROR"
        payment.error_description = "Payment was unsuccessful due to a temporary issue."
        payment.error_reason = "payment_failed"
        self._announce("payment.failed", {"payment": payment})

    def _capture(self, payment: Payment) -> None:
        order = self.order(payment.order_id)
        payment.status = "captured"
        payment.captured = True
        payment.fee = payment.amount // 50
        payment.tax = payment.fee * 18 // 118
        order.status = "paid"
        order.amount_paid = order.amount
        order.amount_due = 0
        self._announce("payment.captured", {"payment": payment})
        self._announce("order.paid", {"payment": payment, "order": order})

    def _give_back(self, payment: Payment, amount: int, receipt: str | None, speed: str) -> Refund:
        refund = Refund(
            id=new_id("rfnd"),
            amount=amount,
            payment_id=payment.id,
            receipt=receipt,
            speed_requested=speed,
            created_at=_now(),
        )
        self.ledger.refunds[refund.id] = refund
        payment.amount_refunded += amount
        is_full = payment.amount_refunded == payment.amount
        payment.refund_status = "full" if is_full else "partial"
        if is_full:
            payment.status = "refunded"
        self._announce("refund.created", {"refund": refund, "payment": payment})
        return refund


def _found(shelf: Mapping[str, T], name: str) -> T:
    if name not in shelf:
        raise no_such_id()
    return shelf[name]
