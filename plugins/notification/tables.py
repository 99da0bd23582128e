"""The tables of notification. No column holds personal data: names and addresses are asked for when needed."""

from typing import Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

metadata: Final = MetaData()

notifications: Final = Table(
    "notifications",
    metadata,
    Column("notification_id", Uuid, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("topic", Text, nullable=False),
    Column("locale", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("reply_code", Integer),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("settled_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("notification_id", name="notifications_pk"),
    UniqueConstraint("event_id", "user_id", "topic", name="notifications_event_uq"),
    CheckConstraint("state IN ('queued', 'sent', 'failed')", name="notifications_state_ck"),
    CheckConstraint(
        "(state = 'queued') = (settled_at IS NULL)", name="notifications_settled_at_ck"
    ),
    CheckConstraint("(state = 'failed') = (reason IS NOT NULL)", name="notifications_reason_ck"),
    Index("notifications_user_ix", "user_id", "created_at", "notification_id"),
)

vendor_owners: Final = Table(
    "vendor_owners",
    metadata,
    Column("vendor_id", Uuid, nullable=False),
    Column("owner_id", Uuid, nullable=False),
    PrimaryKeyConstraint("vendor_id", name="vendor_owners_pk"),
)
