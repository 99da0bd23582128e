"""Questions about orders: one statement each, and who may ask."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Final
from uuid import UUID

from sqlalchemy import Text, and_, bindparam, cast, select, tuple_

from kernel.context import Context, Row
from kernel.errors import invalid_field
from kernel.ids import to_uuid, to_wire
from kernel.money import Money
from kernel.paging import open_cursor, seal_cursor
from kernel.sql import statement
from plugins.order.contract import (
    FollowOrder,
    GetOrder,
    GetOrderHistory,
    HistoryEntry,
    Inbox,
    InboxItem,
    ListOrders,
    ListSubOrders,
    OrderHistory,
    OrderList,
    OrderSummary,
    OrderView,
)
from plugins.order.errors import InboxNotFoundError, OrderNotFoundError
from plugins.order.rows import LINE_COLUMNS, address_of, line_of
from plugins.order.sourcing import vendors_of_caller
from plugins.order.store import read_order
from plugins.order.tables import order_history, order_lines, orders, sub_orders
from plugins.order.views import line_view, order_view

END_OF_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)
LAST_ID: Final = UUID(int=(1 << 128) - 1)
ADDRESS_SHOWN: Final = frozenset({"accepted", "dispatched", "delivered"})

ORDERS_OF_BUYER: Final = statement(
    select(
        orders.c.order_id,
        orders.c.status,
        orders.c.delivery_status,
        orders.c.total,
        orders.c.placed_at,
    )
    .where(
        orders.c.buyer_id == bindparam("buyer_id"),
        tuple_(orders.c.placed_at, orders.c.order_id)
        < tuple_(
            bindparam("before", type_=orders.c.placed_at.type),
            bindparam("before_id", type_=orders.c.order_id.type),
        ),
        cast(bindparam("status"), Text).is_(None) | (orders.c.status == bindparam("status")),
    )
    .order_by(orders.c.placed_at.desc(), orders.c.order_id.desc())
    .limit(bindparam("rows"))
)
_PAGE = (
    select(sub_orders)
    .where(
        sub_orders.c.vendor_id == bindparam("vendor_id"),
        sub_orders.c.status != "waiting",
        tuple_(sub_orders.c.placed_at, sub_orders.c.sub_order_id)
        < tuple_(
            bindparam("before", type_=sub_orders.c.placed_at.type),
            bindparam("before_id", type_=sub_orders.c.sub_order_id.type),
        ),
        cast(bindparam("status"), Text).is_(None) | (sub_orders.c.status == bindparam("status")),
    )
    .order_by(sub_orders.c.placed_at.desc(), sub_orders.c.sub_order_id.desc())
    .limit(bindparam("rows"))
    .cte("page")
)
INBOX_OF_VENDOR: Final = statement(
    select(
        _PAGE.c.sub_order_id,
        _PAGE.c.order_id,
        _PAGE.c.status,
        _PAGE.c.accept_by,
        _PAGE.c.placed_at,
        orders.c.line1,
        orders.c.city,
        orders.c.pincode,
        orders.c.lat,
        orders.c.lon,
        *LINE_COLUMNS,
    )
    .join_from(_PAGE, orders, orders.c.order_id == _PAGE.c.order_id)
    .join(order_lines, order_lines.c.sub_order_id == _PAGE.c.sub_order_id)
    .order_by(_PAGE.c.placed_at.desc(), _PAGE.c.sub_order_id.desc(), order_lines.c.position)
)
HISTORY_OF_ORDER: Final = statement(
    select(
        orders.c.buyer_id,
        order_history.c.version,
        order_history.c.name,
        order_history.c.at,
        order_history.c.sub_order_id,
        order_history.c.vendor_id,
        order_history.c.reason,
        order_history.c.note,
    )
    .join_from(
        orders,
        order_history,
        and_(
            order_history.c.order_id == orders.c.order_id,
            order_history.c.version > bindparam("after"),
        ),
        isouter=True,
    )
    .where(orders.c.order_id == bindparam("order_id"))
    .order_by(order_history.c.version)
)


async def get_order(query: GetOrder, ctx: Context) -> OrderView:
    """Show an order to its buyer or to staff."""
    order = await read_order(ctx.db, query.order_id)
    _require_reader(order.buyer_id, ctx)
    return order_view(order)


async def list_orders(query: ListOrders, ctx: Context) -> OrderList:
    """List the caller's orders, newest first."""
    before, before_id = _position(query.cursor)
    rows = await ctx.db.fetch(
        ORDERS_OF_BUYER,
        buyer_id=to_uuid(ctx.actor.id),
        before=before,
        before_id=before_id,
        status=query.status,
        rows=query.limit + 1,
    )
    items = tuple(_summary(row) for row in rows[: query.limit])
    return OrderList(
        items=items,
        next_cursor=_cursor(items[-1].placed_at, items[-1].order_id)
        if len(rows) > query.limit
        else None,
    )


async def list_sub_orders(query: ListSubOrders, ctx: Context) -> Inbox:
    """List a vendor's sub-orders from their assignment on, newest first."""
    if not ctx.actor.may("suborders:read_any") and query.vendor_id not in await vendors_of_caller(
        ctx
    ):
        raise InboxNotFoundError
    before, before_id = _position(query.cursor)
    rows = await ctx.db.fetch(
        INBOX_OF_VENDOR,
        vendor_id=to_uuid(query.vendor_id),
        before=before,
        before_id=before_id,
        status=query.status,
        rows=query.limit + 1,
    )
    items = [
        _inbox_item(list(lines)) for _, lines in groupby(rows, key=lambda row: row["sub_order_id"])
    ]
    shown = tuple(items[: query.limit])
    return Inbox(
        items=shown,
        next_cursor=_cursor(shown[-1].placed_at, shown[-1].sub_order_id)
        if len(items) > query.limit
        else None,
    )


async def order_history_after(query: GetOrderHistory | FollowOrder, ctx: Context) -> OrderHistory:
    """Give the steps of an order after a version; its live stream asks the same again and again."""
    rows = await ctx.db.fetch(HISTORY_OF_ORDER, order_id=to_uuid(query.order_id), after=query.after)
    if not rows:
        raise OrderNotFoundError
    _require_reader(to_wire("user", rows[0]["buyer_id"]), ctx)
    return OrderHistory(
        order_id=query.order_id,
        changes=tuple(_entry(row) for row in rows if row["version"] is not None),
    )


def _require_reader(buyer_id: str, ctx: Context) -> None:
    if buyer_id != ctx.actor.id and not ctx.actor.may("orders:read_any"):
        raise OrderNotFoundError


def _position(cursor: str | None) -> tuple[datetime, UUID]:
    if cursor is None:
        return END_OF_TIME, LAST_ID
    placed_at, identity = open_cursor(cursor, datetime, str)
    if placed_at.tzinfo is None:
        raise invalid_field("cursor", "is not a cursor that this list gave")
    return placed_at, to_uuid(identity)


def _cursor(placed_at: datetime, identity: str) -> str:
    return seal_cursor(placed_at.isoformat(), identity)


def _summary(row: Row) -> OrderSummary:
    return OrderSummary(
        order_id=to_wire("order", row["order_id"]),
        status=row["status"],
        delivery_status=row["delivery_status"],
        total=Money(row["total"]),
        placed_at=row["placed_at"],
    )


def _inbox_item(rows: Sequence[Row]) -> InboxItem:
    first = rows[0]
    return InboxItem(
        sub_order_id=to_wire("suborder", first["sub_order_id"]),
        order_id=to_wire("order", first["order_id"]),
        status=first["status"],
        lines=tuple(line_view(line_of(row)) for row in rows),
        pincode=first["pincode"],
        delivery_address=address_of(first) if first["status"] in ADDRESS_SHOWN else None,
        accept_by=first["accept_by"],
        placed_at=first["placed_at"],
    )


def _entry(row: Row) -> HistoryEntry:
    sub_order_id, vendor_id = row["sub_order_id"], row["vendor_id"]
    return HistoryEntry(
        version=row["version"],
        name=row["name"],
        at=row["at"],
        sub_order_id=to_wire("suborder", sub_order_id) if sub_order_id else None,
        vendor_id=to_wire("vendor", vendor_id) if vendor_id else None,
        reason=row["reason"],
        note=row["note"],
    )
