"""The tables of catalog. Amounts of stock are thousandths, prices paise."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
)

metadata: Final = MetaData()

products: Final = Table(
    "products",
    metadata,
    Column("product_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("hsn", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("brand", Text),
    Column("created_by", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

vendors: Final = Table(
    "vendors",
    metadata,
    Column("vendor_id", Uuid, primary_key=True),
    Column("owner_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
)

offers: Final = Table(
    "offers",
    metadata,
    Column("offer_id", Uuid, primary_key=True),
    Column("product_id", Uuid, nullable=False),
    Column("vendor_id", Uuid, nullable=False),
    Column("sku", Text, nullable=False),
    Column("price", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("min_quantity", BigInteger, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

prices: Final = Table(
    "prices",
    metadata,
    Column("offer_id", Uuid, primary_key=True),
    Column("offer_version", Integer, primary_key=True),
    Column("price", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False),
    Column("changed_by", Text, nullable=False),
)

stocks: Final = Table(
    "stocks",
    metadata,
    Column("offer_id", Uuid, primary_key=True),
    Column("on_hand", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("filled", BigInteger, nullable=False),
)

stock_movements: Final = Table(
    "stock_movements",
    metadata,
    Column("movement_id", BigInteger, primary_key=True),
    Column("offer_id", Uuid, nullable=False),
    Column("on_hand_change", BigInteger, nullable=False),
    Column("reserved_change", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("reservation_id", Uuid),
    Column("moved_by", Text, nullable=False),
    Column("moved_at", DateTime(timezone=True), nullable=False),
)

reservations: Final = Table(
    "reservations",
    metadata,
    Column("reservation_id", Uuid, primary_key=True),
    Column("order_id", Uuid),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
)

reservation_lines: Final = Table(
    "reservation_lines",
    metadata,
    Column("reservation_id", Uuid, primary_key=True),
    Column("offer_id", Uuid, primary_key=True),
    Column("quantity", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
)

listing_changes: Final = Table(
    "listing_changes",
    metadata,
    Column("change_id", BigInteger, primary_key=True),
    Column("product_id", Uuid, nullable=False),
    Column("tx", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
)
