"""The tables of vendor. Personal data stands in ``vendors``: name, gstin, pan, suspended_for."""

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    text,
)

metadata: Final = MetaData()

vendors: Final = Table(
    "vendors",
    metadata,
    Column("vendor_id", Uuid, nullable=False),
    Column("owner_id", Uuid, nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("lat", Double, nullable=False),
    Column("lon", Double, nullable=False),
    Column("service_radius_km", Double, nullable=False),
    Column("orders_per_day", Integer, nullable=False),
    Column("gstin", Text),
    Column("pan", Text),
    Column("state_code", Text, nullable=False),
    Column("suspended_for", Text),
    Column("version", Integer, nullable=False),
    Column("registered_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("vendor_id", name="vendors_pk"),
    CheckConstraint("status IN ('pending', 'approved', 'suspended')", name="vendors_status_ck"),
    CheckConstraint("orders_per_day > 0", name="vendors_orders_per_day_ck"),
    CheckConstraint("service_radius_km > 0", name="vendors_service_radius_ck"),
    Index("vendors_owner_ix", "owner_id"),
)

capacity_takes: Final = Table(
    "capacity_takes",
    metadata,
    Column("sub_order_id", Uuid, nullable=False),
    Column("vendor_id", Uuid, nullable=False),
    Column("day", Date, nullable=False),
    Column("status", Text, nullable=False),
    Column("lapses_at", DateTime(timezone=True), nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("sub_order_id", "vendor_id", name="capacity_takes_pk"),
    ForeignKeyConstraint(["vendor_id"], ["vendors.vendor_id"], name="capacity_takes_vendor_fk"),
    CheckConstraint("status IN ('held', 'committed', 'released')", name="capacity_takes_status_ck"),
    Index(
        "capacity_takes_held_ix",
        "vendor_id",
        "day",
        "lapses_at",
        postgresql_where=text("status = 'held'"),
    ),
    Index(
        "capacity_takes_changed_ix",
        "changed_at",
        postgresql_where=text("status <> 'committed'"),
    ),
)

# How many takes are committed, so that a busy day need not be counted at every order.
capacity_days: Final = Table(
    "capacity_days",
    metadata,
    Column("vendor_id", Uuid, nullable=False),
    Column("day", Date, nullable=False),
    Column("committed", Integer, nullable=False),
    PrimaryKeyConstraint("vendor_id", "day", name="capacity_days_pk"),
    ForeignKeyConstraint(["vendor_id"], ["vendors.vendor_id"], name="capacity_days_vendor_fk"),
    CheckConstraint("committed >= 0", name="capacity_days_committed_ck"),
)
