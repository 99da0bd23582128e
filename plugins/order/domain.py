"""Orders: a verb checks whether its step is legal and records facts; ``apply`` alone changes the state.

So an order is always what its facts make of it, and recovery folds the very same way.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from kernel.money import Money, total
from plugins.order.contract import (
    CancelReason,
    DeliveryAddress,
    DeliveryStatus,
    OrderCancelled,
    OrderCompleted,
    OrderConfirmed,
    OrderedLine,
    OrderPlaced,
    OrderStatus,
    PaymentMethod,
    RejectReason,
    SubOrderAccepted,
    SubOrderAssigned,
    SubOrderCancelled,
    SubOrderDelivered,
    SubOrderDispatched,
    SubOrderRejected,
)
from plugins.order.errors import IllegalMoveError, SubOrderNotFoundError, TooLateToCancelError
from plugins.order.facts import STATUS_AFTER, Change, Fact
from plugins.order.moves import ON_THE_WAY, ORDER_MOVES, SUB_ORDER_MOVES, delivery_status_of
from plugins.order.sub_orders import SubOrder
from plugins.payment.contract import PaymentCaptured, PaymentFailed, RefundSettled

PaymentState = Literal["pending", "captured", "failed", "refunded", "cash_due", "cash_collected"]
UNPAID: Final = frozenset({"pending", "cash_due"})


@dataclass(slots=True, kw_only=True)
class Order:
    """An order with its parts. Personal data stands in ``address`` alone, which no fact carries."""

    order_id: str
    buyer_id: str
    address: DeliveryAddress
    parts: dict[str, SubOrder]
    subtotal: Money
    tax: Money
    delivery: Money
    discount: Money
    total: Money
    payment_id: str
    payment_method: PaymentMethod
    payment_status: PaymentState
    reservation_id: str
    placed_at: datetime
    pay_by: datetime | None
    status: OrderStatus = "placed"
    cancel_reason: CancelReason | None = None
    version: int = 0
    changes: list[Change] = field(default_factory=list)

    @classmethod
    def place(cls, fact: OrderPlaced, address: DeliveryAddress) -> "Order":
        """Begin an order; its stock is reserved and its capacity taken already."""
        order = cls.begin(fact, address)
        order.changes.append(Change(1, fact.placed_at, fact))
        return order

    @classmethod
    def begin(cls, fact: OrderPlaced, address: DeliveryAddress) -> "Order":
        """Fold the first fact."""
        return cls(
            order_id=fact.order_id,
            buyer_id=fact.buyer_id,
            address=address,
            parts={
                part.sub_order_id: SubOrder(
                    sub_order_id=part.sub_order_id,
                    vendor_id=part.vendor_id,
                    lines=part.lines,
                    delivery=part.delivery,
                    reservation_id=fact.reservation_id,
                )
                for part in fact.parts
            },
            subtotal=fact.subtotal,
            tax=fact.tax,
            delivery=fact.delivery,
            discount=fact.discount,
            total=fact.total,
            payment_id=fact.payment_id,
            payment_method=fact.payment_method,
            payment_status="cash_due" if fact.payment_method == "cod" else "pending",
            reservation_id=fact.reservation_id,
            placed_at=fact.placed_at,
            pay_by=fact.pay_by,
            version=1,
        )

    @classmethod
    def fold(cls, first: OrderPlaced, facts: Iterable[Fact], address: DeliveryAddress) -> "Order":
        """Rebuild an order from its facts, own and payment's, in the order of their versions."""
        order = cls.begin(first, address)
        for fact in facts:
            order.apply(fact)
        return order

    def apply(self, fact: Fact) -> None:
        """Fold in one fact. What it says has happened: nothing is checked here."""
        self.version += 1
        match fact:
            case OrderConfirmed():
                self.status = "confirmed"
            case OrderCompleted():
                self.status = "completed"
            case OrderCancelled():
                self._apply_cancelling(fact)
            case SubOrderAssigned():
                self.parts[fact.sub_order_id].apply_assignment(fact)
            case PaymentCaptured():
                self.payment_status = "cash_collected" if fact.method == "cod" else "captured"
            case PaymentFailed():
                self.payment_status = "failed"
            case RefundSettled():
                self.payment_status = "refunded"
            case OrderPlaced():
                raise ValueError("an order is placed once; its first fact begins it")
            case _:
                part = self.parts[fact.sub_order_id]
                part.status = STATUS_AFTER[type(fact)]
                part.accept_by = None

    # Queries about the state

    @property
    def is_on_the_way(self) -> bool:
        """Whether anything was dispatched or delivered."""
        return any(part.status in ON_THE_WAY for part in self.parts.values())

    @property
    def amount_due(self) -> Money:
        """What the buyer owes or paid for: the total without the parts that were cancelled singly."""
        gone = [part.amount for part in self.parts.values() if part.status == "cancelled"]
        return self.total - total(gone)

    @property
    def delivery_status(self) -> DeliveryStatus:
        """The one word that a buyer sees, derived from the parts that are still to come or came."""
        return delivery_status_of({part.status for part in self.parts.values()})

    def part(self, sub_order_id: str, vendors: Collection[str] | None = None) -> SubOrder:
        """Return a part, if it is with one of these vendors (None: any); raises SubOrderNotFoundError."""
        part = self.parts.get(sub_order_id)
        if part is None or (vendors is not None and part.vendor_id not in vendors):
            raise SubOrderNotFoundError
        return part

    # Verbs of the buyer and of the payment

    def confirm(self, *, at: datetime, accept_by: datetime) -> None:
        """The order holds: ask each vendor to take its part. Confirming twice is confirming once."""
        if not self._moves_to("confirmed"):
            return
        self._record(
            OrderConfirmed(order_id=self.order_id, buyer_id=self.buyer_id, confirmed_at=at), at
        )
        for part in self.parts.values():
            self._assign(part, part.vendor_id, part.lines, None, at=at, accept_by=accept_by)

    def cancel(self, reason: CancelReason, *, at: datetime, note: str | None = None) -> None:
        """Cancel all of it; raises TooLateToCancelError when something is on its way."""
        if self.status != "cancelled" and self.is_on_the_way:
            raise TooLateToCancelError
        if self._moves_to("cancelled"):
            self._record(
                OrderCancelled(
                    order_id=self.order_id,
                    buyer_id=self.buyer_id,
                    payment_id=self.payment_id,
                    reason=reason,
                ),
                at,
                note,
            )

    def take_payment(self, fact: PaymentCaptured, *, at: datetime, accept_by: datetime) -> None:
        """Note the money. It confirms an order that waited; of a cancelled one it must go back."""
        if self.payment_status in UNPAID or self.payment_status == "failed" or self._is_cancelled:
            self._record(fact, at)
            if self.status == "placed":
                self.confirm(at=at, accept_by=accept_by)

    def fail_payment(self, fact: PaymentFailed, *, at: datetime) -> None:
        """Note that no payment will come; an order of which nothing is on its way ends with it."""
        if not fact.is_final or self.payment_status not in UNPAID:
            return
        self._record(fact, at)
        if not self._is_cancelled and not self.is_on_the_way:
            self.cancel("payment_failed", at=at)

    def note_refund(self, fact: RefundSettled, *, at: datetime) -> None:
        """Note that a cancelled order's money went back. Other refunds, of money paid twice, change nothing."""
        if self._is_cancelled and self.payment_status != "refunded":
            self._record(fact, at)

    def expire_payment(self, *, at: datetime) -> None:
        """The payment deadline passed: an order that still waits is cancelled."""
        if self.status == "placed":
            self.cancel("payment_late", at=at)

    # Verbs of the vendor

    def accept(self, part: SubOrder, *, at: datetime) -> None:
        """The vendor takes it."""
        if part.moves_to("accepted"):
            self._record_step(SubOrderAccepted, part, at)

    def reject(
        self, part: SubOrder, reason: RejectReason, *, at: datetime, note: str | None = None
    ) -> None:
        """The vendor does not take it; another one is to be sought."""
        if part.moves_to("rejected"):
            self._record(
                SubOrderRejected(
                    order_id=self.order_id,
                    buyer_id=self.buyer_id,
                    sub_order_id=part.sub_order_id,
                    vendor_id=part.vendor_id,
                    assignment=part.assignment,
                    reason=reason,
                ),
                at,
                note,
            )

    def expire_acceptance(self, part: SubOrder, assignment: int, *, at: datetime) -> None:
        """The vendor of this assignment was too late, if it is still the one that is asked."""
        if part.status == "assigned" and part.assignment == assignment:
            self.reject(part, "late", at=at)

    def dispatch(self, part: SubOrder, *, at: datetime) -> None:
        """The goods or workers set out."""
        if part.moves_to("dispatched"):
            self._record_step(SubOrderDispatched, part, at)

    def deliver(self, part: SubOrder, *, at: datetime) -> None:
        """They arrived; with the last part the order is complete."""
        if part.moves_to("delivered"):
            self._record_step(SubOrderDelivered, part, at)
            self._complete_if_done(at)

    # Verbs of the market

    def seeks_vendor(self, part: SubOrder, assignment: int) -> bool:
        """Tell whether the refusal of this assignment still waits for another vendor."""
        return part.status == "rejected" and part.assignment == assignment

    def reassign(
        self,
        part: SubOrder,
        vendor_id: str,
        lines: tuple[OrderedLine, ...],
        reservation_id: str,
        *,
        at: datetime,
        accept_by: datetime,
    ) -> None:
        """Ask another vendor to take a refused part."""
        if part.moves_to("assigned"):
            self._assign(part, vendor_id, lines, reservation_id, at=at, accept_by=accept_by)

    def give_up(self, parts: Collection[SubOrder], reason: CancelReason, *, at: datetime) -> None:
        """Nobody can deliver these parts.

        While nothing is on its way the whole order is cancelled: the buyer wanted all of it, and all
        money goes back. Afterwards these parts alone are, and the rest goes on.
        """
        lost = [part for part in parts if SUB_ORDER_MOVES.allows(part.status, "cancelled")]
        if self.status not in ("placed", "confirmed") or not lost:
            return
        if not self.is_on_the_way:
            self.cancel(reason, at=at)
            return
        for part in lost:
            self._record(
                SubOrderCancelled(
                    order_id=self.order_id,
                    buyer_id=self.buyer_id,
                    payment_id=self.payment_id,
                    sub_order_id=part.sub_order_id,
                    vendor_id=part.vendor_id,
                    amount=part.amount,
                    reason=reason,
                ),
                at,
            )
        self._complete_if_done(at)

    def run_short(self, reservation_id: str, offer_ids: Iterable[str], *, at: datetime) -> None:
        """Stock that was sold is gone. What is on its way was evidently there."""
        short = set(offer_ids)
        hit = [
            part
            for part in self.parts.values()
            if part.reservation_id == reservation_id
            and part.status != "rejected"
            and any(line.offer_id in short for line in part.lines)
        ]
        self.give_up(hit, "stock_short", at=at)

    # Inner steps

    @property
    def _is_cancelled(self) -> bool:
        return self.status == "cancelled"

    def _moves_to(self, end: OrderStatus) -> bool:
        if self.status == end:
            return False
        if not ORDER_MOVES.allows(self.status, end):
            raise IllegalMoveError(f"An order that is {self.status} cannot become {end}")
        return True

    def _assign(
        self,
        part: SubOrder,
        vendor_id: str,
        lines: tuple[OrderedLine, ...],
        reservation_id: str | None,
        *,
        at: datetime,
        accept_by: datetime,
    ) -> None:
        self._record(
            SubOrderAssigned(
                order_id=self.order_id,
                buyer_id=self.buyer_id,
                sub_order_id=part.sub_order_id,
                vendor_id=vendor_id,
                assignment=part.assignment + 1,
                lines=lines,
                accept_by=accept_by,
                reservation_id=reservation_id,
            ),
            at,
        )

    def _complete_if_done(self, at: datetime) -> None:
        statuses = {part.status for part in self.parts.values()}
        if "delivered" in statuses <= {"delivered", "cancelled"} and self._moves_to("completed"):
            self._record(
                OrderCompleted(
                    order_id=self.order_id,
                    buyer_id=self.buyer_id,
                    payment_id=self.payment_id,
                    total=self.amount_due,
                ),
                at,
            )

    def _apply_cancelling(self, fact: OrderCancelled) -> None:
        self.status = "cancelled"
        self.cancel_reason = fact.reason
        for part in self.parts.values():
            part.status = "cancelled"
            part.accept_by = None

    def _record_step(
        self,
        kind: type[SubOrderAccepted | SubOrderDispatched | SubOrderDelivered],
        part: SubOrder,
        at: datetime,
    ) -> None:
        self._record(
            kind(
                order_id=self.order_id,
                buyer_id=self.buyer_id,
                sub_order_id=part.sub_order_id,
                vendor_id=part.vendor_id,
            ),
            at,
        )

    def _record(self, fact: Fact, at: datetime, note: str | None = None) -> None:
        self.apply(fact)
        self.changes.append(Change(self.version, at, fact, note))
