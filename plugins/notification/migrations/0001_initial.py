"""The tables of notification."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column("notification_id", sa.Uuid, nullable=False),
        sa.Column("event_id", sa.Uuid, nullable=False),
        sa.Column("user_id", sa.Uuid, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("locale", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("reply_code", sa.Integer),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("notification_id", name="notifications_pk"),
        sa.UniqueConstraint("event_id", "user_id", "topic", name="notifications_event_uq"),
        sa.CheckConstraint("state IN ('queued', 'sent', 'failed')", name="notifications_state_ck"),
        sa.CheckConstraint(
            "(state = 'queued') = (settled_at IS NULL)", name="notifications_settled_at_ck"
        ),
        sa.CheckConstraint(
            "(state = 'failed') = (reason IS NOT NULL)", name="notifications_reason_ck"
        ),
    )
    op.create_index(
        "notifications_user_ix", "notifications", ["user_id", "created_at", "notification_id"]
    )
    op.create_table(
        "vendor_owners",
        sa.Column("vendor_id", sa.Uuid, nullable=False),
        sa.Column("owner_id", sa.Uuid, nullable=False),
        sa.PrimaryKeyConstraint("vendor_id", name="vendor_owners_pk"),
    )


def downgrade() -> None:
    op.drop_table("vendor_owners")
    op.drop_table("notifications")
