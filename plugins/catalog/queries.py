"""What catalog answers from PostgreSQL, one statement per question. The list is answered by ``search``."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Uuid, and_, any_, bindparam, or_, select

from kernel.context import Context, Row
from kernel.ids import to_uuid, to_wire
from kernel.money import Money
from kernel.paging import open_cursor, seal_cursor
from kernel.quantity import Quantity
from kernel.sql import statement
from plugins.catalog.contract import (
    GetProduct,
    ListOwnOffers,
    ListProducts,
    OfferVendor,
    OwnOffers,
    PriceHistory,
    PriceHistoryView,
    PricePoint,
    ProductList,
    ProductView,
    PublicOffer,
    QuotedOffer,
    QuotedOffers,
    QuoteOffers,
)
from plugins.catalog.errors import OfferNotFound, ProductNotFound
from plugins.catalog.search.listings import FreshListings
from plugins.catalog.store import OWN_OFFERS, level, own_offer
from plugins.catalog.tables import offers, prices, products, stocks, vendors

MANAGE: Final = "offers:manage"
MOST_OFFERS_SHOWN: Final = 100
MOST_OFFERS_QUOTED: Final = 2500
"""So many quoted offers stay below the 1 MiB that a message may have."""

_available = (stocks.c.on_hand - stocks.c.reserved).label("available")
_open_offers = (
    select(
        offers.c.offer_id,
        offers.c.product_id,
        offers.c.vendor_id,
        vendors.c.name.label("vendor_name"),
        offers.c.price,
        offers.c.min_quantity,
        _available,
    )
    .join_from(
        offers,
        vendors,
        and_(vendors.c.vendor_id == offers.c.vendor_id, vendors.c.status == "approved"),
    )
    .join(stocks, stocks.c.offer_id == offers.c.offer_id)
    .where(~offers.c.paused)
)
_shown = _open_offers.where(offers.c.product_id == bindparam("product_id")).subquery("shown")
PRODUCT_WITH_OFFERS: Final = statement(
    select(
        products.c.name,
        products.c.category,
        products.c.kind,
        products.c.unit,
        products.c.hsn,
        products.c.description,
        products.c.brand,
        _shown.c.offer_id,
        _shown.c.vendor_id,
        _shown.c.vendor_name,
        _shown.c.price,
        _shown.c.min_quantity,
        _shown.c.available,
    )
    .select_from(products.outerjoin(_shown, _shown.c.product_id == products.c.product_id))
    .where(products.c.product_id == bindparam("product_id"))
    .order_by(_shown.c.price, _shown.c.offer_id)
    .limit(MOST_OFFERS_SHOWN)
)
QUOTED: Final = statement(
    _open_offers.add_columns(products.c.kind, products.c.unit, products.c.hsn)
    .join(products, products.c.product_id == offers.c.product_id)
    .where(
        or_(
            offers.c.offer_id == any_(bindparam("offer_ids", type_=ARRAY(Uuid))),
            offers.c.product_id == any_(bindparam("product_ids", type_=ARRAY(Uuid))),
        )
    )
    .order_by(offers.c.price, offers.c.offer_id)
    .limit(MOST_OFFERS_QUOTED)
)
OWN_OFFERS_PAGE: Final = statement(
    OWN_OFFERS.where(
        or_(
            bindparam("after", type_=Uuid).is_(None),
            offers.c.offer_id < bindparam("after", type_=Uuid),
        )
    )
    .order_by(offers.c.offer_id.desc())
    .limit(bindparam("rows", type_=BigInteger))
)
PRICES: Final = statement(
    select(prices.c.price, prices.c.since)
    .join_from(prices, offers, prices.c.offer_id == offers.c.offer_id)
    .join(vendors, vendors.c.vendor_id == offers.c.vendor_id)
    .where(prices.c.offer_id == bindparam("offer_id"))
    .where(vendors.c.owner_id == bindparam("owner_id"))
    .order_by(prices.c.offer_version.desc())
    .limit(1000)
)
"""The last thousand prices; an offer always has at least one."""


async def list_products(query: ListProducts, ctx: Context) -> ProductList:
    """Search the catalogue. Who may change offers sees own changes at once."""
    listings = ctx.use(FreshListings)
    return await listings.search(query, ctx.db, must_be_fresh=ctx.actor.may(MANAGE))


async def get_product(query: GetProduct, ctx: Context) -> ProductView:
    """Show a product with its open offers, cheapest first."""
    rows = await ctx.db.fetch(PRODUCT_WITH_OFFERS, product_id=to_uuid(query.product_id))
    if not rows:
        raise ProductNotFound
    product = rows[0]
    return ProductView(
        product_id=query.product_id,
        name=product["name"],
        category=product["category"],
        kind=product["kind"],
        unit=product["unit"],
        hsn=product["hsn"],
        description=product["description"],
        brand=product["brand"],
        offers=tuple(_public_offer(row) for row in rows if row["offer_id"] is not None),
    )


async def quote_offers(query: QuoteOffers, ctx: Context) -> QuotedOffers:
    """Give open offers by their ids, and all open offers of products, cheapest first."""
    rows = await ctx.db.fetch(
        QUOTED, offer_ids=_uuids(query.offer_ids), product_ids=_uuids(query.product_ids)
    )
    return QuotedOffers(offers=tuple(_quoted_offer(row) for row in rows))


async def list_own_offers(query: ListOwnOffers, ctx: Context) -> OwnOffers:
    """List the offers of the caller's vendors, in the order of their ids."""
    after = to_uuid(open_cursor(query.cursor, str)[0]) if query.cursor else None
    rows = await ctx.db.fetch(
        OWN_OFFERS_PAGE, owner_id=ctx.actor.id, after=after, rows=query.limit + 1
    )
    items = tuple(own_offer(row) for row in rows[: query.limit])
    more = len(rows) > query.limit
    return OwnOffers(items=items, next_cursor=seal_cursor(items[-1].offer_id) if more else None)


async def price_history(query: PriceHistory, ctx: Context) -> PriceHistoryView:
    """Give the prices of an own offer, newest first."""
    rows = await ctx.db.fetch(PRICES, offer_id=to_uuid(query.offer_id), owner_id=ctx.actor.id)
    if not rows:
        raise OfferNotFound
    return PriceHistoryView(
        offer_id=query.offer_id,
        prices=tuple(PricePoint(price=Money(row["price"]), since=row["since"]) for row in rows),
    )


def _uuids(ids: Sequence[str]) -> list[UUID]:
    return [to_uuid(value) for value in ids]


def _public_offer(row: Row) -> PublicOffer:
    return PublicOffer(
        offer_id=to_wire("offer", row["offer_id"]),
        price=Money(row["price"]),
        min_quantity=Quantity(row["min_quantity"]),
        available=level(row["available"]),
        vendor=OfferVendor(vendor_id=to_wire("vendor", row["vendor_id"]), name=row["vendor_name"]),
    )


def _quoted_offer(row: Row) -> QuotedOffer:
    return QuotedOffer(
        offer_id=to_wire("offer", row["offer_id"]),
        product_id=to_wire("product", row["product_id"]),
        vendor_id=to_wire("vendor", row["vendor_id"]),
        kind=row["kind"],
        unit=row["unit"],
        hsn=row["hsn"],
        price=Money(row["price"]),
        min_quantity=Quantity(row["min_quantity"]),
        available=level(row["available"]),
    )
