"""How the facts of a payment are told to the world; some concern nobody else."""

from bus.message import Event
from plugins.payment.contract import (
    FailureReason,
    PaymentAuthorized,
    PaymentCaptured,
    PaymentFailed,
    PaymentRequested,
    RefundFailed,
    RefundRequested,
    RefundSettled,
)
from plugins.payment.facts import Fact, PaymentState


def announcement(payment: PaymentState, fact: Fact) -> Event | None:
    """Return the event of a fact that was just folded into the payment, or None."""
    match fact.kind:
        case "opened" if not payment.is_cancelled:
            return PaymentRequested(
                payment_id=payment.payment_id,
                order_id=payment.order_id,
                method=payment.method,
                amount=payment.amount,
            )
        case "refused" | "attempt_failed" | "released" | "cancelled":
            return _failure(payment, fact)
        case "authorized":
            return PaymentAuthorized(
                payment_id=payment.payment_id, order_id=payment.order_id, amount=fact.amount
            )
        case "captured":
            return PaymentCaptured(
                payment_id=payment.payment_id,
                order_id=payment.order_id,
                buyer_id=payment.buyer_id,
                method=payment.method,
                amount=fact.amount,
            )
        case "refund_requested" | "refund_settled" | "refund_failed":
            return _refund(payment, fact)
        case _:
            return None


def _failure(payment: PaymentState, fact: Fact) -> PaymentFailed | None:
    """A failed attempt is no news once the payment is paid or cancelled, nor a cancelling that refunds."""
    reason: FailureReason
    match fact.kind:
        case "refused":
            reason, is_news = "provider", True
        case "cancelled":
            reason = "expired" if fact.reason == "payment_late" else "cancelled"
            is_news = not payment.captured
        case kind:
            reason = "declined" if kind == "attempt_failed" else "provider"
            is_news = not (payment.captured or payment.is_cancelled)
    if not is_news:
        return None
    return PaymentFailed(
        payment_id=payment.payment_id,
        order_id=payment.order_id,
        buyer_id=payment.buyer_id,
        reason=reason,
        is_final=fact.kind in ("refused", "cancelled"),
    )


def _refund(payment: PaymentState, fact: Fact) -> Event:
    refund_id = fact.refund_id or ""
    if fact.kind == "refund_requested":
        return RefundRequested(
            payment_id=payment.payment_id,
            order_id=payment.order_id,
            refund_id=refund_id,
            amount=fact.amount,
            reason=fact.reason or "operator",
        )
    if fact.kind == "refund_settled":
        return RefundSettled(
            payment_id=payment.payment_id,
            order_id=payment.order_id,
            buyer_id=payment.buyer_id,
            refund_id=refund_id,
            amount=fact.amount,
        )
    return RefundFailed(
        payment_id=payment.payment_id,
        order_id=payment.order_id,
        refund_id=refund_id,
        amount=fact.amount,
    )
