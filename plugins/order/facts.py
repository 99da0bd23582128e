"""The facts of which an order is made: its own, and those of its payment."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from plugins.order.contract import (
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderPlaced,
    SubOrderAccepted,
    SubOrderAssigned,
    SubOrderCancelled,
    SubOrderDelivered,
    SubOrderDispatched,
    SubOrderRejected,
    SubOrderStatus,
)
from plugins.payment.contract import PaymentCaptured, PaymentFailed, RefundSettled

PartFact = SubOrderAccepted | SubOrderRejected | SubOrderDispatched | SubOrderDelivered
OrderFact = (
    OrderPlaced
    | OrderConfirmed
    | SubOrderAssigned
    | PartFact
    | SubOrderCancelled
    | OrderCompleted
    | OrderCancelled
)
PaymentFact = PaymentCaptured | PaymentFailed | RefundSettled
Fact = OrderFact | PaymentFact

STATUS_AFTER: Final[Mapping[type[PartFact | SubOrderCancelled], SubOrderStatus]] = {
    SubOrderAccepted: "accepted",
    SubOrderRejected: "rejected",
    SubOrderDispatched: "dispatched",
    SubOrderDelivered: "delivered",
    SubOrderCancelled: "cancelled",
}


class Change(NamedTuple):
    """One step of an order: its number, when, the fact, and what a person wrote about it."""

    version: int
    at: datetime
    fact: Fact
    note: str | None = None
