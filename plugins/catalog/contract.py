"""The published language of catalog: what is sold, by whom, at which price, and how much is there."""

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal

from msgspec import Meta

from bus.message import Command, Event, Nothing, Query, View
from kernel.ids import id_meta
from kernel.money import Money
from kernel.paging import Cursor, Limit
from kernel.quantity import Quantity, QuantityChange, StockLevel
from kernel.text import END, Line, Paragraph

OWNER: Final = "catalog"

ProductId = Annotated[str, id_meta("product")]
OfferId = Annotated[str, id_meta("offer")]
ReservationId = Annotated[str, id_meta("reservation")]
VendorId = Annotated[str, id_meta("vendor")]
OrderId = Annotated[str, id_meta("order")]
Kind = Literal["material", "labour"]
Category = Annotated[str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*" + END, max_length=40)]
Unit = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_-]{0,15}" + END, examples=["bag", "kg", "day"])]
Hsn = Annotated[str, Meta(pattern=r"^[0-9]{4,8}" + END, examples=["2523"])]
Sku = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,39}" + END)]
Sort = Literal["relevance", "price", "-price", "name", "newest"]
StockReason = Literal["received", "returned", "damaged", "lost", "counted", "sold_elsewhere"]


class CreatedProduct(View, frozen=True, kw_only=True):
    """A new product."""

    product_id: ProductId


class CreateProduct(Command[CreatedProduct], frozen=True, kw_only=True):
    """Describe a material or a labour skill that vendors may offer."""

    name: Line
    category: Category
    kind: Kind
    unit: Unit
    hsn: Hsn
    description: Paragraph = ""
    brand: Line | None = None


class CreatedOffer(View, frozen=True, kw_only=True):
    """A new offer."""

    offer_id: OfferId


class CreateOffer(Command[CreatedOffer], frozen=True, kw_only=True):
    """Offer a product at a price. Only a vendor's owner, for an approved vendor; one SKU once per vendor."""

    product_id: ProductId
    vendor_id: VendorId
    sku: Sku
    price: Money
    min_quantity: Quantity
    stock: StockLevel


class OwnOffer(View, frozen=True, kw_only=True):
    """An offer as its vendor sees it."""

    offer_id: OfferId
    product_id: ProductId
    product_name: str
    vendor_id: VendorId
    sku: str
    price: Money
    min_quantity: Quantity
    on_hand: StockLevel
    reserved: StockLevel
    available: StockLevel
    paused: bool
    version: int


class ChangeOffer(Command[OwnOffer], frozen=True, kw_only=True):
    """Change the price or the least quantity of an offer, pause it or take it up again."""

    offer_id: OfferId
    price: Money | None = None
    min_quantity: Quantity | None = None
    paused: bool | None = None


class MoveStock(Command[OwnOffer], frozen=True, kw_only=True):
    """Note that stock came or went; refused with ``catalog.stock_short`` below what is reserved."""

    offer_id: OfferId
    delta: QuantityChange
    reason: StockReason


class OwnOffers(View, frozen=True, kw_only=True):
    """A page of offers."""

    items: tuple[OwnOffer, ...]
    next_cursor: str | None = None


class ListOwnOffers(Query[OwnOffers], frozen=True, kw_only=True):
    """List the offers of the caller's vendors."""

    limit: Limit = 20
    cursor: Cursor | None = None


class PricePoint(View, frozen=True, kw_only=True):
    """A price and since when it holds."""

    price: Money
    since: datetime


class PriceHistoryView(View, frozen=True, kw_only=True):
    """The prices of an offer, newest first."""

    offer_id: OfferId
    prices: tuple[PricePoint, ...]


class PriceHistory(Query[PriceHistoryView], frozen=True, kw_only=True):
    """Give the prices that an offer has had."""

    offer_id: OfferId


class Listing(View, frozen=True, kw_only=True):
    """A product in a list, with the best of its open offers."""

    product_id: ProductId
    name: str
    category: str
    kind: Kind
    unit: str
    brand: str | None
    price: Money | None
    """The lowest price of an open offer; None when nobody offers it."""
    available: StockLevel
    """The largest amount that one open offer can deliver."""
    offers: int


class FacetValue(View, frozen=True, kw_only=True):
    """One value of a facet and how many products of the result have it."""

    value: str
    count: int


class Facets(View, frozen=True, kw_only=True):
    """How the whole result, not only the page, divides."""

    category: tuple[FacetValue, ...]
    kind: tuple[FacetValue, ...]
    brand: tuple[FacetValue, ...]


class ProductList(View, frozen=True, kw_only=True):
    """A page of products."""

    items: tuple[Listing, ...]
    next_cursor: str | None
    facets: Facets


class ListProducts(Query[ProductList], frozen=True, kw_only=True):
    """Search the catalogue by text and filters; prices are in paise."""

    q: Annotated[str, Meta(max_length=100)] | None = None
    category: Category | None = None
    kind: Kind | None = None
    min_price: Annotated[int, Meta(ge=0)] | None = None
    max_price: Annotated[int, Meta(ge=0)] | None = None
    available: bool | None = None
    sort: Sort = "relevance"
    limit: Limit = 20
    cursor: Cursor | None = None


class PublicOffer(View, frozen=True, kw_only=True):
    """An open offer of a product."""

    offer_id: OfferId
    price: Money
    min_quantity: Quantity
    available: StockLevel
    vendor: "OfferVendor"


class OfferVendor(View, frozen=True, kw_only=True):
    """Who offers."""

    vendor_id: VendorId
    name: str


class ProductView(View, frozen=True, kw_only=True):
    """A product with its open offers, cheapest first."""

    product_id: ProductId
    name: str
    category: str
    kind: Kind
    unit: str
    hsn: str
    description: str
    brand: str | None
    offers: tuple[PublicOffer, ...]


class GetProduct(Query[ProductView], frozen=True, kw_only=True):
    """Show a product and who offers it."""

    product_id: ProductId


class QuotedOffer(View, frozen=True, kw_only=True):
    """What an order line needs to know of an open offer."""

    offer_id: OfferId
    product_id: ProductId
    vendor_id: VendorId
    kind: Kind
    unit: str
    hsn: str
    price: Money
    min_quantity: Quantity
    available: StockLevel


class QuotedOffers(View, frozen=True, kw_only=True):
    """The open offers that were asked for; paused and unknown ones are left out."""

    offers: tuple[QuotedOffer, ...]


class QuoteOffers(Query[QuotedOffers], frozen=True, kw_only=True):
    """Give open offers by their ids, and all open offers of products."""

    offer_ids: Annotated[tuple[OfferId, ...], Meta(max_length=200)] = ()
    product_ids: Annotated[tuple[ProductId, ...], Meta(max_length=200)] = ()


class StockLine(View, frozen=True, kw_only=True):
    """A quantity of one offer."""

    offer_id: OfferId
    quantity: Quantity


class Reservation(View, frozen=True, kw_only=True):
    """Stock held until ``expires_at`` unless it is committed."""

    reservation_id: ReservationId
    expires_at: datetime


class ReserveStock(Command[Reservation], frozen=True, kw_only=True):
    """Hold stock, all lines or none, for ``hold_seconds`` at the most.

    Refused with ``catalog.stock_short`` naming the lines, ``catalog.offer_not_open``.
    """

    lines: Annotated[tuple[StockLine, ...], Meta(min_length=1, max_length=200)]
    hold_seconds: Annotated[int, Meta(ge=1, le=7 * 86_400)] = 120


class KeepStock(Command[Reservation], frozen=True, kw_only=True):
    """Prolong a reservation for an order that waits for its payment; told by the placing transaction."""

    reservation_id: ReservationId
    order_id: OrderId
    until: datetime


class CommitStock(Command[Reservation], frozen=True, kw_only=True):
    """Deduct a reservation for a confirmed order; a lapsed one is taken anew if stock is there.

    Answered by ``StockCommitted`` or ``StockShort``.
    """

    reservation_id: ReservationId
    order_id: OrderId
    lines: Annotated[tuple[StockLine, ...], Meta(min_length=1, max_length=200)]


class ReleaseStock(Command[Reservation], frozen=True, kw_only=True):
    """Give back what these lines of a reservation hold, or restore what they deducted.

    Answered by ``StockReleased``. Releasing a line twice is the same as once.
    """

    reservation_id: ReservationId
    order_id: OrderId
    offer_ids: Annotated[tuple[OfferId, ...], Meta(min_length=1, max_length=200)]


class LapseReservation(Command[Nothing], frozen=True, kw_only=True):
    """Free what a reservation still holds when its time is over; the timer of catalog itself."""

    reservation_id: ReservationId


class OfferPublished(Event, frozen=True, kw_only=True):
    """A vendor offers a product."""

    KEY: ClassVar[str] = "offer_id"

    offer_id: OfferId
    product_id: ProductId
    vendor_id: VendorId
    sku: str
    price: Money
    min_quantity: Quantity
    stock: StockLevel


class OfferChanged(Event, frozen=True, kw_only=True):
    """An offer's least quantity or openness changed."""

    KEY: ClassVar[str] = "offer_id"

    offer_id: OfferId
    product_id: ProductId
    min_quantity: Quantity
    paused: bool


class PriceChanged(Event, frozen=True, kw_only=True):
    """An offer has another price."""

    KEY: ClassVar[str] = "offer_id"

    offer_id: OfferId
    product_id: ProductId
    old_price: Money
    new_price: Money


class StockMoved(Event, frozen=True, kw_only=True):
    """Stock came or went by a vendor's hand; ``on_hand`` is what is there after it."""

    KEY: ClassVar[str] = "offer_id"

    offer_id: OfferId
    delta: QuantityChange
    reason: StockReason
    on_hand: StockLevel


class StockReserved(Event, frozen=True, kw_only=True):
    """Stock is held."""

    KEY: ClassVar[str] = "reservation_id"

    reservation_id: ReservationId
    lines: tuple[StockLine, ...]
    expires_at: datetime


class StockKept(Event, frozen=True, kw_only=True):
    """A reservation belongs to an order now and holds until ``expires_at``."""

    KEY: ClassVar[str] = "reservation_id"

    reservation_id: ReservationId
    order_id: OrderId
    expires_at: datetime


class StockCommitted(Event, frozen=True, kw_only=True):
    """The stock of a confirmed order has been deducted."""

    KEY: ClassVar[str] = "reservation_id"

    reservation_id: ReservationId
    order_id: OrderId
    lines: tuple[StockLine, ...]


class StockShort(Event, frozen=True, kw_only=True):
    """An order's stock is gone for good; the order must be compensated.

    Said again whenever the order asks again; what the other lines hold stays theirs until released.
    """

    KEY: ClassVar[str] = "reservation_id"

    reservation_id: ReservationId
    order_id: OrderId
    offer_ids: tuple[OfferId, ...]


class StockReleased(Event, frozen=True, kw_only=True):
    """Held or deducted stock is free again; ``order_id`` is None when a reservation lapsed.

    ``ended`` names lines that had lapsed before: they freed nothing now and are never taken anew.
    """

    KEY: ClassVar[str] = "reservation_id"

    reservation_id: ReservationId
    order_id: OrderId | None
    lines: tuple[StockLine, ...]
    was_committed: bool
    ended: tuple[OfferId, ...] = ()


class StockLow(Event, frozen=True, kw_only=True):
    """An offer's stock fell to a tenth of what it was when last filled, or below its least quantity."""

    KEY: ClassVar[str] = "offer_id"

    offer_id: OfferId
    vendor_id: VendorId
    available: StockLevel
