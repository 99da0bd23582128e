"""The read model ``sales``: one row per sub-order, folded from the order's own facts."""

from typing import Final

from sqlalchemy import bindparam, update
from sqlalchemy.dialects.postgresql import insert

from kernel.context import Write
from kernel.ids import to_uuid
from kernel.money import total
from kernel.sql import statement
from plugins.order.contract import (
    OrderCancelled,
    OrderPlaced,
    SubOrderAssigned,
    SubOrderCancelled,
    SubOrderDelivered,
)
from plugins.order.days import day_in_india
from plugins.order.tables import vendor_sales

ADD_SALE: Final = statement(insert(vendor_sales).on_conflict_do_nothing())
GIVE_SALE_TO: Final = statement(
    update(vendor_sales)
    .where(vendor_sales.c.sub_order_id == bindparam("key"))
    .values(vendor_id=bindparam("vendor_id"))
)
END_SALE: Final = statement(
    update(vendor_sales)
    .where(vendor_sales.c.sub_order_id == bindparam("key"))
    .values(state=bindparam("state"))
)
CANCEL_SALES: Final = statement(
    update(vendor_sales)
    .where(vendor_sales.c.order_id == bindparam("key"))
    .values(state=bindparam("state"))
)


def note_sales(event: OrderPlaced) -> list[Write]:
    """Each part is a sale of its first vendor, on the day in India on which it was ordered."""
    return [
        Write(
            ADD_SALE,
            {
                "sub_order_id": to_uuid(part.sub_order_id),
                "order_id": to_uuid(event.order_id),
                "vendor_id": to_uuid(part.vendor_id),
                "ordered_on": day_in_india(event.placed_at),
                "amount": total([line.amount for line in part.lines]).amount,
                "state": "open",
            },
        )
        for part in event.parts
    ]


def move_sale(event: SubOrderAssigned) -> list[Write]:
    """A sale is of the vendor who was asked last; the buyer's prices stay."""
    return [
        Write(
            GIVE_SALE_TO,
            {"key": to_uuid(event.sub_order_id), "vendor_id": to_uuid(event.vendor_id)},
        )
    ]


def deliver_sale(event: SubOrderDelivered) -> list[Write]:
    """It was delivered."""
    return [Write(END_SALE, {"key": to_uuid(event.sub_order_id), "state": "delivered"})]


def cancel_sale(event: SubOrderCancelled) -> list[Write]:
    """It will not be delivered."""
    return [Write(END_SALE, {"key": to_uuid(event.sub_order_id), "state": "cancelled"})]


def cancel_sales(event: OrderCancelled) -> list[Write]:
    """Nothing of the order will be delivered."""
    return [Write(CANCEL_SALES, {"key": to_uuid(event.order_id), "state": "cancelled"})]
