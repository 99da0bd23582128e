"""The tables of identity. Personal data stands in ``users``: email, email_key, name, phone."""

from typing import Final

from sqlalchemy import (
    ARRAY,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)

metadata: Final = MetaData()

users: Final = Table(
    "users",
    metadata,
    Column("user_id", Uuid, nullable=False),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("phone", Text),
    Column("roles", ARRAY(Text), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("user_id", name="users_pk"),
    UniqueConstraint("email_key", name="users_email_key_uq"),
    CheckConstraint("status IN ('active', 'suspended')", name="users_status_ck"),
    CheckConstraint(
        "cardinality(roles) > 0 AND roles <@ "
        "ARRAY['buyer', 'vendor', 'support', 'finance', 'viewer', 'admin']",
        name="users_roles_ck",
    ),
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("session_id", Uuid, nullable=False),
    Column("user_id", Uuid, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    Column("revoked_for", Text),
    PrimaryKeyConstraint("session_id", name="sessions_pk"),
    ForeignKeyConstraint(["user_id"], ["users.user_id"], name="sessions_user_fk"),
    CheckConstraint("status IN ('open', 'revoked')", name="sessions_status_ck"),
    CheckConstraint("revoked_for IN ('log_out', 'reuse')", name="sessions_revoked_for_ck"),
    CheckConstraint(
        "(status = 'revoked') = (revoked_at IS NOT NULL)", name="sessions_revoked_at_ck"
    ),
    Index("sessions_user_ix", "user_id"),
    Index("sessions_expires_ix", "expires_at"),
)

refresh_tokens: Final = Table(
    "refresh_tokens",
    metadata,
    Column("token_hash", LargeBinary, nullable=False),
    Column("session_id", Uuid, nullable=False),
    Column("issued_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("spent_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("token_hash", name="refresh_tokens_pk"),
    ForeignKeyConstraint(
        ["session_id"],
        ["sessions.session_id"],
        name="refresh_tokens_session_fk",
        ondelete="CASCADE",
    ),
    Index("refresh_tokens_session_ix", "session_id"),
    Index("refresh_tokens_expires_ix", "expires_at"),
)
