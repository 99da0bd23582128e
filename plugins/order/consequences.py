"""What follows from each fact of an order: who is told, which deadline starts or ends.

Everything goes out with the transaction that stores the fact. Compensation is written here once:
whatever cancelled an order, its stock, its capacity and its money go back the same way.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Final, get_args

from kernel.context import Tx
from plugins.catalog.contract import CommitStock, KeepStock, ReleaseStock, StockLine
from plugins.order.contract import (
    CancelReason,
    ExpireAcceptance,
    ExpirePayment,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderPlaced,
    ReassignSubOrder,
    SubOrderAccepted,
    SubOrderAssigned,
    SubOrderCancelled,
    SubOrderRejected,
)
from plugins.order.days import day_in_india
from plugins.order.domain import Order
from plugins.order.facts import Change, Fact, OrderFact
from plugins.order.settings import OrderSettings
from plugins.order.store import OrderStore
from plugins.order.sub_orders import SubOrder
from plugins.payment.contract import (
    CancelPayment,
    CollectCash,
    CreatePayment,
    PaymentCaptured,
    RefundReason,
)
from plugins.vendor.contract import CapacityNeed, CommitCapacity, ReleaseCapacity

OWN_FACTS: Final = get_args(OrderFact)
REFUND_REASONS: Final[dict[CancelReason, RefundReason]] = {
    "buyer": "order_cancelled",
    "operator": "operator",
    "payment_late": "payment_late",
    "stock_short": "stock_short",
    "no_vendor": "no_vendor",
}
"""Why money goes back. A payment that failed has told so itself, and takes no more money."""


async def save(tx: Tx, order: Order, settings: OrderSettings) -> None:
    """Store the changes of an order, publish its facts and have done what follows from them."""
    await OrderStore(tx).save(order)
    publish(tx, order, settings)


def publish(tx: Tx, order: Order, settings: OrderSettings) -> None:
    """Publish the new facts of an order and have done what follows from them."""
    for change in order.changes:
        if isinstance(change.fact, OWN_FACTS):
            tx.emit(change.fact, version=change.version)
        _follow(tx, order, change, settings)


def _follow(tx: Tx, order: Order, change: Change, settings: OrderSettings) -> None:
    fact: Fact = change.fact
    match fact:
        case OrderPlaced():
            _open_payment(tx, order, settings)
        case OrderConfirmed():
            _commit_all(tx, order)
        case SubOrderAssigned():
            _await_acceptance(tx, order, fact, change.at)
        case SubOrderAccepted():
            part = order.parts[fact.sub_order_id]
            tx.cancel(acceptance_timer(part.sub_order_id, part.assignment))
        case SubOrderRejected():
            _seek_vendor(tx, order, fact)
        case SubOrderCancelled():
            _release(tx, order, [order.parts[fact.sub_order_id]])
        case OrderCompleted():
            _collect(tx, order, fact)
        case OrderCancelled():
            _undo(tx, order, fact)
        case PaymentCaptured():
            _return_unwanted(tx, order)


def payment_timer(order_id: str) -> str:
    """Return the id of the timer that ends the waiting for a payment."""
    return f"payment-{order_id}"


def acceptance_timer(sub_order_id: str, assignment: int) -> str:
    """Return the id of the timer that ends the waiting for one vendor's answer."""
    return f"acceptance-{sub_order_id}-{assignment}"


def _open_payment(tx: Tx, order: Order, settings: OrderSettings) -> None:
    tx.tell(
        CreatePayment(
            payment_id=order.payment_id,
            order_id=order.order_id,
            buyer_id=order.buyer_id,
            method=order.payment_method,
            amount=order.total,
            pay_by=order.pay_by,
        )
    )
    if order.pay_by is not None:
        tx.tell(
            KeepStock(
                reservation_id=order.reservation_id,
                order_id=order.order_id,
                until=order.pay_by + settings.stock_grace,
            )
        )
        tx.later(
            ExpirePayment(order_id=order.order_id),
            at=order.pay_by,
            id=payment_timer(order.order_id),
        )


def _commit_all(tx: Tx, order: Order) -> None:
    tx.tell(_commit_stock(order, order.reservation_id, order.parts.values()))
    tx.tell(_commit_capacity(order.parts.values(), order.placed_at))
    if order.pay_by is not None:
        tx.cancel(payment_timer(order.order_id))


def _collect(tx: Tx, order: Order, fact: OrderCompleted) -> None:
    if order.payment_method == "cod":
        tx.tell(
            CollectCash(payment_id=order.payment_id, order_id=order.order_id, amount=fact.total)
        )


def _return_unwanted(tx: Tx, order: Order) -> None:
    if order.status == "cancelled":
        tx.tell(
            CancelPayment(
                payment_id=order.payment_id, order_id=order.order_id, reason="payment_late"
            )
        )


def _await_acceptance(tx: Tx, order: Order, fact: SubOrderAssigned, at: datetime) -> None:
    tx.later(
        ExpireAcceptance(
            order_id=order.order_id, sub_order_id=fact.sub_order_id, assignment=fact.assignment
        ),
        at=fact.accept_by,
        id=acceptance_timer(fact.sub_order_id, fact.assignment),
    )
    if fact.assignment > 1:
        part = order.parts[fact.sub_order_id]
        tx.tell(_commit_stock(order, part.reservation_id, [part]))
        tx.tell(_commit_capacity([part], at))


def _seek_vendor(tx: Tx, order: Order, fact: SubOrderRejected) -> None:
    part = order.parts[fact.sub_order_id]
    tx.cancel(acceptance_timer(fact.sub_order_id, fact.assignment))
    tx.tell(_release_stock(order, part.reservation_id, [part]))
    tx.tell(ReleaseCapacity(sub_order_ids=(part.sub_order_id,), vendor_id=fact.vendor_id))
    tx.tell(
        ReassignSubOrder(
            order_id=order.order_id, sub_order_id=fact.sub_order_id, assignment=fact.assignment
        )
    )


def _undo(tx: Tx, order: Order, fact: OrderCancelled) -> None:
    if order.pay_by is not None:
        tx.cancel(payment_timer(order.order_id))
    for part in order.parts.values():
        if part.assignment:
            tx.cancel(acceptance_timer(part.sub_order_id, part.assignment))
    _release(tx, order, order.parts.values())
    if fact.reason in REFUND_REASONS:
        tx.tell(
            CancelPayment(
                payment_id=order.payment_id,
                order_id=order.order_id,
                reason=REFUND_REASONS[fact.reason],
            )
        )


def _release(tx: Tx, order: Order, parts: Iterable[SubOrder]) -> None:
    by_reservation: defaultdict[str, list[SubOrder]] = defaultdict(list)
    for part in parts:
        by_reservation[part.reservation_id].append(part)
    for reservation_id, held in by_reservation.items():
        tx.tell(_release_stock(order, reservation_id, held))
    released = [part.sub_order_id for held in by_reservation.values() for part in held]
    tx.tell(ReleaseCapacity(sub_order_ids=tuple(released)))


def _commit_stock(order: Order, reservation_id: str, parts: Iterable[SubOrder]) -> CommitStock:
    return CommitStock(
        reservation_id=reservation_id,
        order_id=order.order_id,
        lines=tuple(
            StockLine(offer_id=line.offer_id, quantity=line.quantity)
            for part in parts
            for line in part.lines
        ),
    )


def _release_stock(order: Order, reservation_id: str, parts: Iterable[SubOrder]) -> ReleaseStock:
    return ReleaseStock(
        reservation_id=reservation_id,
        order_id=order.order_id,
        offer_ids=tuple(line.offer_id for part in parts for line in part.lines),
    )


def _commit_capacity(parts: Iterable[SubOrder], at: datetime) -> CommitCapacity:
    return CommitCapacity(
        needs=tuple(
            CapacityNeed(sub_order_id=part.sub_order_id, vendor_id=part.vendor_id) for part in parts
        ),
        day=day_in_india(at).isoformat(),
    )
