"""The legal moves of orders and sub-orders, and the delivery status that is derived from them."""

from collections.abc import Collection
from typing import Final

from kernel.moves import Moves, legal_moves
from plugins.order.contract import DeliveryStatus, OrderStatus, SubOrderStatus

ORDER_MOVES: Final[Moves[OrderStatus]] = legal_moves(
    {
        "placed": {"confirmed", "cancelled"},
        "confirmed": {"completed", "cancelled"},
        "completed": set(),
        "cancelled": set(),
    }
)
SUB_ORDER_MOVES: Final[Moves[SubOrderStatus]] = legal_moves(
    {
        "waiting": {"assigned", "cancelled"},
        "assigned": {"accepted", "rejected", "cancelled"},
        "accepted": {"dispatched", "cancelled"},
        "rejected": {"assigned", "cancelled"},
        "dispatched": {"delivered"},
        "delivered": set(),
        "cancelled": set(),
    }
)
ON_THE_WAY: Final = frozenset({"dispatched", "delivered"})


def delivery_status_of(statuses: Collection[SubOrderStatus]) -> DeliveryStatus:
    """Derive the delivery status of an order from the statuses of its parts."""
    live = set(statuses) - {"cancelled"}
    if not live:
        return "cancelled"
    if live == {"waiting"}:
        return "waiting"
    if live == {"delivered"}:
        return "delivered"
    return "on_the_way" if live & ON_THE_WAY else "preparing"
