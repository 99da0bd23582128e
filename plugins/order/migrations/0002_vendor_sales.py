"""The read model of vendors' sales."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE vendor_sales (
            sub_order_id uuid CONSTRAINT vendor_sales_pkey PRIMARY KEY,
            order_id uuid NOT NULL,
            vendor_id uuid NOT NULL,
            ordered_on date NOT NULL,
            amount bigint NOT NULL,
            state text NOT NULL CONSTRAINT vendor_sales_state_check
                CHECK (state IN ('open', 'delivered', 'cancelled'))
        )
        """
    )
    op.execute("CREATE INDEX vendor_sales_by_day ON vendor_sales (vendor_id, ordered_on)")
    op.execute("CREATE INDEX vendor_sales_of_order ON vendor_sales (order_id)")


def downgrade() -> None:
    op.execute("DROP TABLE vendor_sales")
