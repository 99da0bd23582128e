"""Where orders are kept: loaded under a lock, saved with a version guard and their history."""

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update

from kernel.context import Reader, Tx
from kernel.ids import to_uuid
from kernel.sql import statement
from plugins.order.contract import SubOrderAssigned
from plugins.order.domain import Order
from plugins.order.errors import ChangedMeanwhileError, OrderNotFoundError
from plugins.order.rows import (
    ORDER_COLUMNS,
    PART_COLUMNS,
    history_row,
    line_rows,
    order_of,
    order_row,
    part_row,
)
from plugins.order.tables import order_history, order_lines, orders, sub_orders

WHOLE_ORDER: Final = statement(
    select(*ORDER_COLUMNS, *PART_COLUMNS)
    .join_from(orders, sub_orders, sub_orders.c.order_id == orders.c.order_id)
    .join(order_lines, order_lines.c.sub_order_id == sub_orders.c.sub_order_id)
    .where(orders.c.order_id == bindparam("order_id"))
    .order_by(sub_orders.c.position, order_lines.c.position)
)
ORDER_FOR_UPDATE: Final = statement(
    select(*ORDER_COLUMNS).where(orders.c.order_id == bindparam("order_id")).with_for_update()
)
PARTS_OF_ORDER: Final = statement(
    select(*PART_COLUMNS)
    .join_from(sub_orders, order_lines, order_lines.c.sub_order_id == sub_orders.c.sub_order_id)
    .where(sub_orders.c.order_id == bindparam("order_id"))
    .order_by(sub_orders.c.position, order_lines.c.position)
)
INSERT_ORDER: Final = statement(insert(orders))
INSERT_SUB_ORDER: Final = statement(insert(sub_orders))
INSERT_LINE: Final = statement(insert(order_lines))
INSERT_HISTORY: Final = statement(insert(order_history))
UPDATE_ORDER: Final = statement(
    update(orders)
    .where(orders.c.order_id == bindparam("key"), orders.c.version == bindparam("loaded_version"))
    .values(
        status=bindparam("status"),
        delivery_status=bindparam("delivery_status"),
        payment_status=bindparam("payment_status"),
        cancel_reason=bindparam("cancel_reason"),
        version=bindparam("version"),
    )
)
UPDATE_SUB_ORDER: Final = statement(
    update(sub_orders)
    .where(sub_orders.c.sub_order_id == bindparam("key"))
    .values(
        vendor_id=bindparam("vendor_id"),
        status=bindparam("status"),
        reservation_id=bindparam("reservation_id"),
        assignment=bindparam("assignment"),
        asked=bindparam("asked"),
        accept_by=bindparam("accept_by"),
    )
)
UPDATE_LINE_OFFER: Final = statement(
    update(order_lines)
    .where(
        order_lines.c.sub_order_id == bindparam("key"),
        order_lines.c.position == bindparam("place"),
    )
    .values(offer_id=bindparam("offer_id"))
)


async def read_order(reader: Reader, order_id: str) -> Order:
    """Return an order as it stands now, for questions; raises OrderNotFoundError."""
    rows = await reader.fetch(WHOLE_ORDER, order_id=to_uuid(order_id))
    if not rows:
        raise OrderNotFoundError
    return order_of(rows[0], rows)


class OrderStore:
    """The orders, within one transaction."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def get(self, order_id: str) -> Order:
        """Return an order and lock it until the transaction ends; raises OrderNotFoundError.

        Two statements: a join under one lock would show the parts as they were before the wait.
        """
        key = to_uuid(order_id)
        row = await self._tx.fetchrow(ORDER_FOR_UPDATE, order_id=key)
        if row is None:
            raise OrderNotFoundError
        return order_of(row, await self._tx.fetch(PARTS_OF_ORDER, order_id=key))

    async def add(self, order: Order) -> None:
        """Store a new order with its parts, lines and history."""
        await self._tx.execute(INSERT_ORDER, **order_row(order))
        await self._tx.executemany(INSERT_SUB_ORDER, list(_new_part_rows(order)))
        lines = [row for part in order.parts.values() for row in line_rows(part)]
        await self._tx.executemany(INSERT_LINE, lines)
        await self._add_history(order)

    async def save(self, order: Order) -> None:
        """Store the changes of an order; raises ChangedMeanwhileError when it is not as loaded."""
        if not order.changes:
            return
        touched = await self._tx.execute(
            UPDATE_ORDER,
            key=to_uuid(order.order_id),
            loaded_version=order.changes[0].version - 1,
            status=order.status,
            delivery_status=order.delivery_status,
            payment_status=order.payment_status,
            cancel_reason=order.cancel_reason,
            version=order.version,
        )
        if touched != 1:
            raise ChangedMeanwhileError
        await self._tx.executemany(UPDATE_SUB_ORDER, [_changed(row) for row in _part_rows(order)])
        moved = list(_moved_line_rows(order))
        if moved:
            await self._tx.executemany(UPDATE_LINE_OFFER, moved)
        await self._add_history(order)

    async def _add_history(self, order: Order) -> None:
        key = to_uuid(order.order_id)
        rows = [history_row(key, change) for change in order.changes]
        await self._tx.executemany(INSERT_HISTORY, rows)


def _part_rows(order: Order) -> Iterator[dict[str, Any]]:
    return (part_row(part) for part in order.parts.values())


def _new_part_rows(order: Order) -> Iterator[dict[str, Any]]:
    key = to_uuid(order.order_id)
    for position, part in enumerate(order.parts.values()):
        yield {
            **part_row(part),
            "order_id": key,
            "position": position,
            "delivery": part.delivery.amount,
            "placed_at": order.placed_at,
        }


def _changed(row: dict[str, Any]) -> dict[str, Any]:
    return {"key": row.pop("sub_order_id"), **row}


def _moved_line_rows(order: Order) -> Iterator[dict[str, Any]]:
    for change in order.changes:
        fact = change.fact
        if isinstance(fact, SubOrderAssigned) and fact.assignment > 1:
            for place, line in enumerate(fact.lines):
                yield {
                    "key": to_uuid(fact.sub_order_id),
                    "place": place,
                    "offer_id": to_uuid(line.offer_id),
                }
