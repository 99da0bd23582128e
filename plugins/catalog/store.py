"""Products, vendors and offers in PostgreSQL: rows from and to what handlers speak of."""

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from kernel.context import Reader, Row, Tx
from kernel.ids import to_uuid, to_wire
from kernel.money import Money
from kernel.quantity import MAX_THOUSANDTHS, Quantity, StockLevel
from kernel.sql import statement
from plugins.catalog.contract import CreateOffer, CreateProduct, OwnOffer
from plugins.catalog.errors import OfferIsStale, OfferNotFound, ProductNotFound, SkuTaken
from plugins.catalog.tables import offers, prices, products, stocks, vendors
from plugins.vendor.contract import Standing, VendorStatus

NEW_PRODUCT: Final = statement(insert(products))
PRODUCT_EXISTS: Final = statement(
    select(products.c.product_id).where(products.c.product_id == bindparam("product_id"))
)

_new_vendor = upsert(vendors)
VENDOR_SEEN: Final = statement(
    _new_vendor.on_conflict_do_update(
        index_elements=[vendors.c.vendor_id],
        set_={"owner_id": _new_vendor.excluded.owner_id, "name": _new_vendor.excluded.name},
    )
)
VENDOR_STATUS: Final = statement(
    _new_vendor.on_conflict_do_update(
        index_elements=[vendors.c.vendor_id], set_={"status": _new_vendor.excluded.status}
    )
)

VENDOR_KNOWN: Final = statement(
    select(vendors.c.vendor_id)
    .where(vendors.c.vendor_id == bindparam("vendor_id"))
    .where(vendors.c.owner_id == bindparam("owner_id"))
    .where(vendors.c.name == bindparam("name"))
)

NEW_OFFER: Final = statement(
    upsert(offers).on_conflict_do_nothing(constraint="uq_offers_sku").returning(offers.c.offer_id)
)
NEW_STOCK: Final = statement(insert(stocks))
NEW_PRICE: Final = statement(insert(prices))
OWN_OFFER_COLUMNS: Final = (
    offers.c.offer_id,
    offers.c.product_id,
    products.c.name.label("product_name"),
    offers.c.vendor_id,
    offers.c.sku,
    offers.c.price,
    offers.c.min_quantity,
    stocks.c.on_hand,
    stocks.c.reserved,
    offers.c.paused,
    offers.c.version,
)
OWN_OFFERS: Final = (
    select(*OWN_OFFER_COLUMNS)
    .join_from(offers, vendors, offers.c.vendor_id == vendors.c.vendor_id)
    .join(products, offers.c.product_id == products.c.product_id)
    .join(stocks, offers.c.offer_id == stocks.c.offer_id)
    .where(vendors.c.owner_id == bindparam("owner_id"))
)
OWN_OFFER: Final = statement(OWN_OFFERS.where(offers.c.offer_id == bindparam("offer_id")))
CHANGED_OFFER: Final = statement(
    update(offers)
    .where(offers.c.offer_id == bindparam("for_offer"))
    .where(offers.c.version == bindparam("seen_version"))
    .values(
        price=bindparam("price"),
        min_quantity=bindparam("min_quantity"),
        paused=bindparam("paused"),
        version=offers.c.version + 1,
    )
)


MAX_STOCK: Final = MAX_THOUSANDTHS
"""The most that an offer holds."""


def level(thousandths: int) -> StockLevel:
    """Return a stock level; what was restored above the largest level is told as the largest."""
    return StockLevel(min(thousandths, MAX_THOUSANDTHS))


def own_offer(row: Row) -> OwnOffer:
    """Return an offer as its vendor sees it."""
    return OwnOffer(
        offer_id=to_wire("offer", row["offer_id"]),
        product_id=to_wire("product", row["product_id"]),
        product_name=row["product_name"],
        vendor_id=to_wire("vendor", row["vendor_id"]),
        sku=row["sku"],
        price=Money(row["price"]),
        min_quantity=Quantity(row["min_quantity"]),
        on_hand=level(row["on_hand"]),
        reserved=level(row["reserved"]),
        available=level(row["on_hand"] - row["reserved"]),
        paused=row["paused"],
        version=row["version"],
    )


class ProductStore:
    """Products, written once."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def add(self, product_id: str, product: CreateProduct, *, by: str, at: datetime) -> None:
        """Store a new product."""
        await self._tx.execute(
            NEW_PRODUCT,
            product_id=to_uuid(product_id),
            name=product.name,
            category=product.category,
            kind=product.kind,
            unit=product.unit,
            hsn=product.hsn,
            description=product.description,
            brand=product.brand,
            created_by=by,
            created_at=at,
        )

    async def check(self, product_id: str) -> None:
        """Raise ProductNotFound when there is no such product."""
        if await self._tx.fetchval(PRODUCT_EXISTS, product_id=to_uuid(product_id)) is None:
            raise ProductNotFound


class VendorStore:
    """What catalog keeps of vendors: whose they are, their names, whether they may sell.

    The status follows the vendor plugin's events. A reply to a question only begins it: an answer
    that is older than an event must not overwrite it.
    """

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def note(self, standing: Standing) -> None:
        """Take over owner and name; the status only of a vendor not yet known."""
        known = {
            "vendor_id": to_uuid(standing.vendor_id),
            "owner_id": standing.owner_id,
            "name": standing.name,
        }
        if await self._tx.fetchval(VENDOR_KNOWN, **known) is None:
            await self._tx.execute(VENDOR_SEEN, **known, status=standing.status)

    async def set_status(self, vendor_id: str, owner_id: str, status: VendorStatus) -> None:
        """Take over a status from an event; a vendor without offers gets its name with the first."""
        await self._tx.execute(
            VENDOR_STATUS, vendor_id=to_uuid(vendor_id), owner_id=owner_id, name="", status=status
        )


class OfferStore:
    """Offers with their price history."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx

    async def add(self, offer_id: str, offer: CreateOffer, *, by: str, at: datetime) -> None:
        """Store a new offer with its first price and an empty stock; raises SkuTaken."""
        key = to_uuid(offer_id)
        added = await self._tx.fetchval(
            NEW_OFFER,
            offer_id=key,
            product_id=to_uuid(offer.product_id),
            vendor_id=to_uuid(offer.vendor_id),
            sku=offer.sku,
            price=offer.price.amount,
            currency=offer.price.currency,
            min_quantity=offer.min_quantity.thousandths,
            paused=False,
            version=1,
            created_at=at,
        )
        if added is None:
            raise SkuTaken
        await self._tx.execute(NEW_STOCK, offer_id=key, on_hand=0, reserved=0, filled=0)
        await self._price(key, 1, offer.price, by=by, at=at)

    async def save(self, changed: OwnOffer, *, was: OwnOffer, by: str, at: datetime) -> None:
        """Store price, least quantity and pause; raises OfferIsStale when ``was`` is not the latest."""
        key = to_uuid(changed.offer_id)
        touched = await self._tx.execute(
            CHANGED_OFFER,
            for_offer=key,
            seen_version=was.version,
            price=changed.price.amount,
            min_quantity=changed.min_quantity.thousandths,
            paused=changed.paused,
        )
        if not touched:
            raise OfferIsStale
        if changed.price != was.price:
            await self._price(key, changed.version, changed.price, by=by, at=at)

    async def _price(
        self, offer_id: UUID, version: int, price: Money, *, by: str, at: datetime
    ) -> None:
        await self._tx.execute(
            NEW_PRICE,
            offer_id=offer_id,
            offer_version=version,
            price=price.amount,
            currency=price.currency,
            since=at,
            changed_by=by,
        )


async def get_own_offer(reader: Reader, offer_id: str, *, owner_id: str) -> OwnOffer:
    """Return the offer of one of the owner's vendors; raises OfferNotFound."""
    row = await reader.fetchrow(OWN_OFFER, offer_id=to_uuid(offer_id), owner_id=owner_id)
    if row is None:
        raise OfferNotFound
    return own_offer(row)
