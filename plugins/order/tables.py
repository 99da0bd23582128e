"""The tables of the order plugin, as SQLAlchemy Core knows them; ``migrations`` creates them."""

from typing import Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
)

metadata: Final = MetaData()

orders: Final = Table(
    "orders",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("buyer_id", Uuid),
    Column("status", Text),
    Column("delivery_status", Text),
    Column("payment_id", Uuid),
    Column("payment_method", Text),
    Column("payment_status", Text),
    Column("reservation_id", Uuid),
    Column("subtotal", BigInteger),
    Column("tax", BigInteger),
    Column("delivery", BigInteger),
    Column("discount", BigInteger),
    Column("total", BigInteger),
    Column("line1", Text),
    Column("city", Text),
    Column("pincode", Text),
    Column("lat", Float),
    Column("lon", Float),
    Column("placed_at", DateTime(timezone=True)),
    Column("pay_by", DateTime(timezone=True)),
    Column("cancel_reason", Text),
    Column("version", Integer),
)

sub_orders: Final = Table(
    "sub_orders",
    metadata,
    Column("sub_order_id", Uuid, primary_key=True),
    Column("order_id", Uuid),
    Column("position", Integer),
    Column("vendor_id", Uuid),
    Column("status", Text),
    Column("delivery", BigInteger),
    Column("reservation_id", Uuid),
    Column("assignment", Integer),
    Column("asked", ARRAY(Uuid)),
    Column("accept_by", DateTime(timezone=True)),
    Column("placed_at", DateTime(timezone=True)),
)

order_lines: Final = Table(
    "order_lines",
    metadata,
    Column("sub_order_id", Uuid, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("offer_id", Uuid),
    Column("product_id", Uuid),
    Column("hsn", Text),
    Column("unit", Text),
    Column("quantity", BigInteger),
    Column("unit_price", BigInteger),
    Column("amount", BigInteger),
    Column("tax_rate_bp", Integer),
    Column("tax", BigInteger),
)

order_history: Final = Table(
    "order_history",
    metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("name", Text),
    Column("at", DateTime(timezone=True)),
    Column("sub_order_id", Uuid),
    Column("vendor_id", Uuid),
    Column("reason", Text),
    Column("note", Text),
)

vendor_sales: Final = Table(
    "vendor_sales",
    metadata,
    Column("sub_order_id", Uuid, primary_key=True),
    Column("order_id", Uuid),
    Column("vendor_id", Uuid),
    Column("ordered_on", Date),
    Column("amount", BigInteger),
    Column("state", Text),
)
"""The read model ``sales``: folded from facts, and made anew by ``realserv replay order``."""
