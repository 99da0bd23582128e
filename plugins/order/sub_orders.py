"""Sub-orders: one vendor's part of an order."""

from dataclasses import dataclass
from datetime import datetime

from kernel.money import Money, total
from plugins.order.contract import OrderedLine, SubOrderAssigned, SubOrderStatus
from plugins.order.errors import IllegalMoveError
from plugins.order.moves import SUB_ORDER_MOVES


@dataclass(slots=True, kw_only=True)
class SubOrder:
    """One vendor's part of an order."""

    sub_order_id: str
    vendor_id: str
    lines: tuple[OrderedLine, ...]
    delivery: Money
    reservation_id: str
    status: SubOrderStatus = "waiting"
    assignment: int = 0
    """How many vendors were asked to take it."""
    asked: tuple[str, ...] = ()
    accept_by: datetime | None = None

    @property
    def amount(self) -> Money:
        """What this part costs: lines, tax and its delivery fee."""
        return total([line.amount + line.tax for line in self.lines]) + self.delivery

    def moves_to(self, end: SubOrderStatus) -> bool:
        """Tell whether a step changes anything; raises IllegalMoveError when it must not be taken."""
        if self.status == end:
            return False
        if not SUB_ORDER_MOVES.allows(self.status, end):
            raise IllegalMoveError(f"A sub-order that is {self.status} cannot become {end}")
        return True

    def apply_assignment(self, fact: SubOrderAssigned) -> None:
        """Fold in that a vendor is asked."""
        self.status = "assigned"
        self.vendor_id = fact.vendor_id
        self.lines = fact.lines
        self.assignment = fact.assignment
        self.asked = (*self.asked, fact.vendor_id)
        self.accept_by = fact.accept_by
        self.reservation_id = fact.reservation_id or self.reservation_id
