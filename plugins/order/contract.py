"""The published language of order: quotes, orders, sub-orders, their steps and facts."""

from datetime import date, datetime
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from bus.message import Command, Event, Nothing, Query, View
from kernel.geo import Latitude, Longitude, Pincode
from kernel.ids import id_meta
from kernel.money import ZERO, Money
from kernel.paging import Cursor, Limit
from kernel.quantity import Quantity
from kernel.text import Line, Paragraph

OWNER: Final = "order"

OrderId = Annotated[str, id_meta("order")]
SubOrderId = Annotated[str, id_meta("suborder")]
OfferId = Annotated[str, id_meta("offer")]
ProductId = Annotated[str, id_meta("product")]
VendorId = Annotated[str, id_meta("vendor")]
UserId = Annotated[str, id_meta("user")]
PaymentId = Annotated[str, id_meta("payment")]
ReservationId = Annotated[str, id_meta("reservation")]
OrderStatus = Literal["placed", "confirmed", "completed", "cancelled"]
SubOrderStatus = Literal[
    "waiting", "assigned", "accepted", "dispatched", "delivered", "rejected", "cancelled"
]
DeliveryStatus = Literal["waiting", "preparing", "on_the_way", "delivered", "cancelled"]
PaymentMethod = Literal["cod", "razorpay"]
CancelReason = Literal[
    "buyer", "payment_failed", "payment_late", "stock_short", "no_vendor", "operator"
]
RejectReason = Literal["vendor", "late"]
After = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""The version behind which a history begins."""


class DeliveryAddress(View, frozen=True, kw_only=True):
    """Where to deliver. Personal data: it stays in the order's own columns."""

    line1: Line
    city: Line
    pincode: Pincode
    lat: Latitude
    lon: Longitude


class OfferLine(View, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A quantity of a chosen offer, or of a product whose vendor the market chooses.

    Exactly one of ``offer_id`` and ``product_id`` is given.
    """

    quantity: Quantity
    offer_id: OfferId | None = None
    product_id: ProductId | None = None


Lines = Annotated[tuple[OfferLine, ...], Meta(min_length=1, max_length=200)]


class QuoteView(View, frozen=True, kw_only=True):
    """What an order would cost now; ``total`` = subtotal + tax + delivery - discount."""

    serviceable: bool
    subtotal: Money
    tax: Money
    delivery: Money
    discount: Money
    total: Money


class QuoteOrder(Query[QuoteView], frozen=True, kw_only=True):
    """Say whether an address is served, and what these lines would cost there."""

    lines: Lines
    delivery_address: DeliveryAddress


class OrderLineView(View, frozen=True, kw_only=True):
    """A line as sold: price and tax rate are frozen."""

    offer_id: OfferId
    product_id: ProductId
    hsn: str
    unit: str
    quantity: Quantity
    unit_price: Money
    amount: Money
    tax_rate_bp: int
    tax: Money


class SubOrderView(View, frozen=True, kw_only=True):
    """One vendor's part of an order."""

    sub_order_id: SubOrderId
    vendor_id: VendorId
    status: SubOrderStatus
    lines: tuple[OrderLineView, ...]
    accept_by: datetime | None = None


class OrderPaymentView(View, frozen=True, kw_only=True):
    """What the order knows of its payment."""

    payment_id: PaymentId
    method: PaymentMethod
    status: Literal["pending", "captured", "failed", "refunded", "cash_due", "cash_collected"]


class OrderView(View, frozen=True, kw_only=True):
    """An order as its buyer sees it."""

    order_id: OrderId
    status: OrderStatus
    delivery_status: DeliveryStatus
    subtotal: Money
    tax: Money
    delivery: Money
    discount: Money
    total: Money
    sub_orders: tuple[SubOrderView, ...]
    payment: OrderPaymentView
    delivery_address: DeliveryAddress
    placed_at: datetime
    pay_by: datetime | None = None
    cancel_reason: CancelReason | None = None
    version: int


class PlaceOrder(Command[OrderView], frozen=True, kw_only=True):
    """Place an order for materials and labour; one sub-order per vendor."""

    lines: Lines
    delivery_address: DeliveryAddress
    payment_method: PaymentMethod


class GetOrder(Query[OrderView], frozen=True, kw_only=True):
    """Show an order to its buyer or to staff; vendors see their part in their inbox."""

    order_id: OrderId


class OrderSummary(View, frozen=True, kw_only=True):
    """An order in a list."""

    order_id: OrderId
    status: OrderStatus
    delivery_status: DeliveryStatus
    total: Money
    placed_at: datetime


class OrderList(View, frozen=True, kw_only=True):
    """A page of orders, newest first."""

    items: tuple[OrderSummary, ...]
    next_cursor: str | None = None


class ListOrders(Query[OrderList], frozen=True, kw_only=True):
    """List the caller's orders."""

    status: OrderStatus | None = None
    limit: Limit = 20
    cursor: Cursor | None = None


class InboxItem(View, frozen=True, kw_only=True):
    """A sub-order as its vendor sees it; the address only once it is accepted."""

    sub_order_id: SubOrderId
    order_id: OrderId
    status: SubOrderStatus
    lines: tuple[OrderLineView, ...]
    pincode: str
    delivery_address: DeliveryAddress | None
    accept_by: datetime | None
    placed_at: datetime


class Inbox(View, frozen=True, kw_only=True):
    """A page of a vendor's sub-orders, newest first."""

    items: tuple[InboxItem, ...]
    next_cursor: str | None = None


class ListSubOrders(Query[Inbox], frozen=True, kw_only=True):
    """List the sub-orders of a vendor, to its owner or staff."""

    vendor_id: VendorId
    status: SubOrderStatus | None = None
    limit: Limit = 20
    cursor: Cursor | None = None


class SalesOfDay(View, frozen=True, kw_only=True):
    """What was ordered of a vendor on one day in India: goods and work, without GST and delivery fees.

    ``delivered`` and ``cancelled`` are what became of it until now; the rest is on its way.
    """

    day: date
    sub_orders: int
    ordered: Money
    delivered: Money
    cancelled: Money


class SalesByDay(View, frozen=True, kw_only=True):
    """A vendor's sales, newest day first; days without any are left out."""

    vendor_id: VendorId
    days: tuple[SalesOfDay, ...]


class ListSales(Query[SalesByDay], frozen=True, kw_only=True):
    """List a vendor's sales by day, to its owner or staff; a year at the most, else the last 30 days."""

    vendor_id: VendorId
    since: date | None = None
    until: date | None = None


class HistoryEntry(View, frozen=True, kw_only=True):
    """One step of an order: ``version`` counts them, ``name`` is the fact's name."""

    version: int
    name: str
    at: datetime
    sub_order_id: SubOrderId | None = None
    vendor_id: VendorId | None = None
    reason: str | None = None
    note: str | None = None
    """What the one who cancelled or refused wrote; kept in the order's own columns only."""


class OrderHistory(View, frozen=True, kw_only=True):
    """All steps of an order, oldest first."""

    order_id: OrderId
    changes: tuple[HistoryEntry, ...]


class GetOrderHistory(Query[OrderHistory], frozen=True, kw_only=True):
    """Give the steps of an order after a version; 0 gives all."""

    order_id: OrderId
    after: After = 0


class FollowOrder(Query[OrderHistory], frozen=True, kw_only=True):
    """Give the steps of an order after a version, for its live stream."""

    order_id: OrderId
    after: After = 0


class CancelOrder(Command[OrderView], frozen=True, kw_only=True):
    """Cancel an order of which nothing is dispatched; stock, capacity and money go back."""

    order_id: OrderId
    reason: Paragraph


class AcceptSubOrder(Command[SubOrderView], frozen=True, kw_only=True):
    """The vendor takes the sub-order."""

    order_id: OrderId
    sub_order_id: SubOrderId


class RejectSubOrder(Command[SubOrderView], frozen=True, kw_only=True):
    """The vendor refuses the sub-order; another vendor is sought."""

    order_id: OrderId
    sub_order_id: SubOrderId
    reason: Line | None = None


class DispatchSubOrder(Command[SubOrderView], frozen=True, kw_only=True):
    """The goods or workers are on their way."""

    order_id: OrderId
    sub_order_id: SubOrderId


class DeliverSubOrder(Command[SubOrderView], frozen=True, kw_only=True):
    """The goods are handed over, or the work is done."""

    order_id: OrderId
    sub_order_id: SubOrderId


class ExpirePayment(Command[Nothing], frozen=True, kw_only=True):
    """The payment deadline passed (timer)."""

    order_id: OrderId


class ExpireAcceptance(Command[Nothing], frozen=True, kw_only=True):
    """The acceptance deadline of one assignment passed (timer)."""

    order_id: OrderId
    sub_order_id: SubOrderId
    assignment: int


class ReassignSubOrder(Command[Nothing], frozen=True, kw_only=True):
    """Seek another vendor for a rejected sub-order (told by its rejection)."""

    order_id: OrderId
    sub_order_id: SubOrderId
    assignment: int


class OrderedLine(View, frozen=True, kw_only=True):
    """A line as the facts tell it."""

    offer_id: OfferId
    product_id: ProductId
    hsn: str
    unit: str
    quantity: Quantity
    unit_price: Money
    amount: Money
    tax_rate_bp: int
    tax: Money


class OrderedPart(View, frozen=True, kw_only=True):
    """A sub-order as the facts tell it."""

    sub_order_id: SubOrderId
    vendor_id: VendorId
    lines: tuple[OrderedLine, ...]
    delivery: Money = ZERO
    """This part's share of the order's delivery fee."""


class OrderPlaced(Event, frozen=True, kw_only=True):
    """The buyer has committed; stock is held until ``pay_by`` (None: cash on delivery)."""

    KEY: ClassVar[str] = "order_id"

    order_id: OrderId
    buyer_id: UserId
    payment_id: PaymentId
    payment_method: PaymentMethod
    reservation_id: ReservationId
    parts: tuple[OrderedPart, ...]
    pincode: str
    subtotal: Money
    tax: Money
    delivery: Money
    discount: Money
    total: Money
    placed_at: datetime
    pay_by: datetime | None


class OrderConfirmed(Event, frozen=True, kw_only=True):
    """The order is paid, or to be paid in cash."""

    KEY: ClassVar[str] = "order_id"

    order_id: OrderId
    buyer_id: UserId
    confirmed_at: datetime


class SubOrderAssigned(Event, frozen=True, kw_only=True):
    """A vendor is asked to take a sub-order; ``assignment`` counts the vendors asked."""

    KEY: ClassVar[str] = "order_id"

    order_id: OrderId
    buyer_id: UserId
    sub_order_id: SubOrderId
    vendor_id: VendorId
    assignment: int
    lines: tuple[OrderedLine, ...]
    accept_by: datetime
    reservation_id: ReservationId | None = None
    """The reservation that holds these lines; None: that of the order."""


class SubOrderAccepted(Event, frozen=True, kw_only=True):
    """The vendor takes it."""

    KEY: ClassVar[str] = "order_id"

    order_id: OrderId
    buyer_id: UserId
    sub_order_id: SubOrderId
    vendor_id: VendorId


class SubOrderRejected(Event, frozen=True, kw_only=True):
    """The vendor refused, or was too late."""

    KEY: ClassVar[str] = "order_id"

    order_id: OrderId
    buyer_id: UserId
    sub_order_id: SubOrderId
    vendor_id: VendorId
    assignment: int
    reason: RejectReason


class SubOrderDispatched(Event, frozen=True, kw_only=True):
    """It is on its way."""

    KEY: ClassVar[str] = "order_id"

    order_id: OrderId
    buyer_id: UserId
    sub_order_id: SubOrderId
    vendor_id: VendorId


class SubOrderDelivered(Event, frozen=True, kw_only=True):
    """It arrived."""

    KEY: ClassVar[str] = "order_id"

    order_id: OrderId
    buyer_id: UserId
    sub_order_id: SubOrderId
    vendor_id: VendorId


class SubOrderCancelled(Event, frozen=True, kw_only=True):
    """A part will not be delivered, while other parts are on their way or have arrived.

    ``amount`` is what the order costs less by it: lines, tax and its delivery fee.
    """

    KEY: ClassVar[str] = "order_id"

    order_id: OrderId
    buyer_id: UserId
    payment_id: PaymentId
    sub_order_id: SubOrderId
    vendor_id: VendorId
    amount: Money
    reason: CancelReason


class OrderCompleted(Event, frozen=True, kw_only=True):
    """Every sub-order is delivered; ``total`` is without the parts that were cancelled."""

    KEY: ClassVar[str] = "order_id"

    order_id: OrderId
    buyer_id: UserId
    payment_id: PaymentId
    total: Money


class OrderCancelled(Event, frozen=True, kw_only=True):
    """Nothing more will be delivered; what was paid is refunded."""

    KEY: ClassVar[str] = "order_id"

    order_id: OrderId
    buyer_id: UserId
    payment_id: PaymentId
    reason: CancelReason
