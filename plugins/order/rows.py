"""Rows to orders and back: the columns that make an order, and the two directions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from bus.message import describe
from kernel.context import Row
from kernel.ids import to_uuid, to_wire
from kernel.money import Money
from kernel.quantity import Quantity
from plugins.order.contract import DeliveryAddress, OrderedLine
from plugins.order.domain import Order
from plugins.order.facts import Change
from plugins.order.sub_orders import SubOrder
from plugins.order.tables import order_lines, orders, sub_orders

ORDER_COLUMNS: Final = tuple(orders.c)
LINE_COLUMNS: Final = (
    order_lines.c.offer_id,
    order_lines.c.product_id,
    order_lines.c.hsn,
    order_lines.c.unit,
    order_lines.c.quantity,
    order_lines.c.unit_price,
    order_lines.c.amount,
    order_lines.c.tax_rate_bp,
    order_lines.c.tax.label("line_tax"),
)
PART_COLUMNS: Final = (
    sub_orders.c.sub_order_id,
    sub_orders.c.vendor_id,
    sub_orders.c.status.label("part_status"),
    sub_orders.c.delivery.label("part_delivery"),
    sub_orders.c.reservation_id.label("part_reservation_id"),
    sub_orders.c.assignment,
    sub_orders.c.asked,
    sub_orders.c.accept_by,
    *LINE_COLUMNS,
)


def order_of(row: Row, part_rows: Iterable[Row]) -> Order:
    """Build an order from its row and from one row for each line, in the order of parts and lines."""
    return Order(
        order_id=to_wire("order", row["order_id"]),
        buyer_id=to_wire("user", row["buyer_id"]),
        address=address_of(row),
        parts={part.sub_order_id: part for part in _parts(part_rows)},
        subtotal=Money(row["subtotal"]),
        tax=Money(row["tax"]),
        delivery=Money(row["delivery"]),
        discount=Money(row["discount"]),
        total=Money(row["total"]),
        payment_id=to_wire("payment", row["payment_id"]),
        payment_method=row["payment_method"],
        payment_status=row["payment_status"],
        reservation_id=to_wire("reservation", row["reservation_id"]),
        placed_at=row["placed_at"],
        pay_by=row["pay_by"],
        status=row["status"],
        cancel_reason=row["cancel_reason"],
        version=row["version"],
    )


def address_of(row: Row) -> DeliveryAddress:
    """Return the address in an order's row."""
    return DeliveryAddress(
        line1=row["line1"],
        city=row["city"],
        pincode=row["pincode"],
        lat=row["lat"],
        lon=row["lon"],
    )


def line_of(row: Row) -> OrderedLine:
    """Return the line in a row."""
    return OrderedLine(
        offer_id=to_wire("offer", row["offer_id"]),
        product_id=to_wire("product", row["product_id"]),
        hsn=row["hsn"],
        unit=row["unit"],
        quantity=Quantity(row["quantity"]),
        unit_price=Money(row["unit_price"]),
        amount=Money(row["amount"]),
        tax_rate_bp=row["tax_rate_bp"],
        tax=Money(row["line_tax"]),
    )


def order_row(order: Order) -> dict[str, Any]:
    """Return the row of an order."""
    return {
        "order_id": to_uuid(order.order_id),
        "buyer_id": to_uuid(order.buyer_id),
        "status": order.status,
        "delivery_status": order.delivery_status,
        "payment_id": to_uuid(order.payment_id),
        "payment_method": order.payment_method,
        "payment_status": order.payment_status,
        "reservation_id": to_uuid(order.reservation_id),
        "subtotal": order.subtotal.amount,
        "tax": order.tax.amount,
        "delivery": order.delivery.amount,
        "discount": order.discount.amount,
        "total": order.total.amount,
        "line1": order.address.line1,
        "city": order.address.city,
        "pincode": order.address.pincode,
        "lat": order.address.lat,
        "lon": order.address.lon,
        "placed_at": order.placed_at,
        "pay_by": order.pay_by,
        "cancel_reason": order.cancel_reason,
        "version": order.version,
    }


def part_row(part: SubOrder) -> dict[str, Any]:
    """Return what changes in the row of a sub-order, with its key."""
    return {
        "sub_order_id": to_uuid(part.sub_order_id),
        "vendor_id": to_uuid(part.vendor_id),
        "status": part.status,
        "reservation_id": to_uuid(part.reservation_id),
        "assignment": part.assignment,
        "asked": [to_uuid(vendor_id) for vendor_id in part.asked],
        "accept_by": part.accept_by,
    }


def line_rows(part: SubOrder) -> Iterator[dict[str, Any]]:
    """Return the rows of a sub-order's lines."""
    for position, line in enumerate(part.lines):
        yield {
            "sub_order_id": to_uuid(part.sub_order_id),
            "position": position,
            "offer_id": to_uuid(line.offer_id),
            "product_id": to_uuid(line.product_id),
            "hsn": line.hsn,
            "unit": line.unit,
            "quantity": line.quantity.thousandths,
            "unit_price": line.unit_price.amount,
            "amount": line.amount.amount,
            "tax_rate_bp": line.tax_rate_bp,
            "tax": line.tax.amount,
        }


def history_row(order_id: UUID, change: Change) -> Mapping[str, Any]:
    """Return the row of one step."""
    fact = change.fact
    return {
        "order_id": order_id,
        "version": change.version,
        "name": describe(type(fact)).name,
        "at": change.at,
        "sub_order_id": _uuid_in(fact, "sub_order_id"),
        "vendor_id": _uuid_in(fact, "vendor_id"),
        "reason": getattr(fact, "reason", None),
        "note": change.note,
    }


def _uuid_in(fact: object, field: str) -> UUID | None:
    value = getattr(fact, field, None)
    return to_uuid(value) if value is not None else None


def _parts(rows: Iterable[Row]) -> Iterator[SubOrder]:
    for _, group in groupby(rows, key=lambda row: row["sub_order_id"]):
        lines: Sequence[Row] = list(group)
        first = lines[0]
        yield SubOrder(
            sub_order_id=to_wire("suborder", first["sub_order_id"]),
            vendor_id=to_wire("vendor", first["vendor_id"]),
            lines=tuple(line_of(row) for row in lines),
            delivery=Money(first["part_delivery"]),
            reservation_id=to_wire("reservation", first["part_reservation_id"]),
            status=first["part_status"],
            assignment=first["assignment"],
            asked=tuple(to_wire("vendor", vendor_id) for vendor_id in first["asked"]),
            accept_by=first["accept_by"],
        )
