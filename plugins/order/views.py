"""What of an order is shown, and to whom."""

from plugins.order.contract import (
    OrderedLine,
    OrderLineView,
    OrderPaymentView,
    OrderView,
    SubOrderView,
)
from plugins.order.domain import Order
from plugins.order.sub_orders import SubOrder


def order_view(order: Order) -> OrderView:
    """Show an order as its buyer sees it."""
    return OrderView(
        order_id=order.order_id,
        status=order.status,
        delivery_status=order.delivery_status,
        subtotal=order.subtotal,
        tax=order.tax,
        delivery=order.delivery,
        discount=order.discount,
        total=order.total,
        sub_orders=tuple(sub_order_view(part) for part in order.parts.values()),
        payment=OrderPaymentView(
            payment_id=order.payment_id, method=order.payment_method, status=order.payment_status
        ),
        delivery_address=order.address,
        placed_at=order.placed_at,
        pay_by=order.pay_by,
        cancel_reason=order.cancel_reason,
        version=order.version,
    )


def sub_order_view(part: SubOrder) -> SubOrderView:
    """Show one vendor's part."""
    return SubOrderView(
        sub_order_id=part.sub_order_id,
        vendor_id=part.vendor_id,
        status=part.status,
        lines=tuple(line_view(line) for line in part.lines),
        accept_by=part.accept_by,
    )


def line_view(line: OrderedLine) -> OrderLineView:
    """Show a line as sold."""
    return OrderLineView(
        offer_id=line.offer_id,
        product_id=line.product_id,
        hsn=line.hsn,
        unit=line.unit,
        quantity=line.quantity,
        unit_price=line.unit_price,
        amount=line.amount,
        tax_rate_bp=line.tax_rate_bp,
        tax=line.tax,
    )
